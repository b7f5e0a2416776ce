//! The cells of one route: one row per method.

use std::sync::OnceLock;
use std::time::Duration;

use covet_telemetry::metrics::catalog;
use covet_telemetry::metrics::histogram::Durations;
use covet_telemetry::metrics::shard::Cells;
use http::Method;

/// Methods that have a label of their own. Any other token would let a client invent label values.
const METHODS: [&str; 10] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "OTHER"];

/// Codes with a cell of their own: those of RFC 9110 and its neighbours, and NGINX's 499. Any other code is counted
/// under the first of its class.
const STATUSES: [u16; 64] = [
    100, 101, 102, 103, 200, 201, 202, 203, 204, 205, 206, 207, 208, 226, 300, 301, 302, 303, 304, 305, 307, 308, 400,
    401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 412, 413, 414, 415, 416, 417, 418, 421, 422, 423, 424, 425,
    426, 428, 429, 431, 451, 499, 500, 501, 502, 503, 504, 505, 506, 507, 508, 510, 511, 599,
];

/// Cells after those of the statuses.
const STARTED: usize = STATUSES.len();
const FINISHED: usize = STARTED + 1;
const REQUEST_BYTES: usize = FINISHED + 1;
const RESPONSE_BYTES: usize = REQUEST_BYTES + 1;
const DURATIONS: usize = RESPONSE_BYTES + 1;

/// What is counted of one route.
#[derive(Debug)]
pub struct RouteMetrics {
    index: u32,
    endpoint: String,
    durations: Durations,
    methods: [OnceLock<Cells>; METHODS.len()],
}

impl RouteMetrics {
    pub(super) fn new(index: u32, endpoint: &str) -> Self {
        Self {
            index,
            endpoint: endpoint.to_owned(),
            durations: Durations::of(catalog::HTTP_REQUEST_DURATION_SECONDS),
            methods: [const { OnceLock::new() }; METHODS.len()],
        }
    }

    /// The number that a request's scope holds.
    pub(crate) fn index(&self) -> u32 {
        self.index
    }

    /// The path with its parameters, as declared.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Makes the cells of these methods before the first request.
    pub(crate) fn declare(&self, methods: &[Method]) {
        for method in methods {
            self.cells(method);
        }
    }

    /// A handler has been reached.
    pub(crate) fn started(&self, method: &Method) {
        self.cells(method).add(STARTED, 1);
    }

    /// The response is out, or never will be.
    pub(crate) fn finished(
        &self,
        method: &Method,
        status: u16,
        duration: Duration,
        request_bytes: u64,
        response_bytes: u64,
    ) {
        let lane = self.cells(method).lane();
        lane.add(status_cell(status), 1);
        lane.add(FINISHED, 1);
        if self.index == 0 {
            // No handler's stamp has counted it.
            lane.add(STARTED, 1);
        }
        if request_bytes > 0 {
            lane.add(REQUEST_BYTES, request_bytes);
        }
        lane.add(RESPONSE_BYTES, response_bytes);
        self.durations.record(lane, DURATIONS, duration);
    }

    /// Reads what has been counted, method by method.
    pub(super) fn readings(&self) -> impl Iterator<Item = Reading> {
        METHODS.iter().zip(&self.methods).filter_map(|(method, cells)| {
            let cells = cells.get()?;
            let mut buckets = Vec::new();
            let duration_seconds = self.durations.read(cells, DURATIONS, &mut buckets);
            let statuses = STATUSES.iter().enumerate().map(|(cell, status)| (*status, cells.sum(cell)));
            // Finished is read before started, so that a request between the two readings cannot make it negative.
            let finished = cells.sum(FINISHED);
            Some(Reading {
                method,
                statuses: statuses.filter(|(_, count)| *count > 0).collect(),
                finished,
                in_progress: cells.sum(STARTED).saturating_sub(finished),
                request_bytes: cells.sum(REQUEST_BYTES),
                response_bytes: cells.sum(RESPONSE_BYTES),
                buckets,
                duration_seconds,
            })
        })
    }

    fn cells(&self, method: &Method) -> &Cells {
        self.methods[method_index(method)].get_or_init(|| Cells::new(DURATIONS + self.durations.cells()))
    }
}

/// What has been counted of one route and method.
pub(super) struct Reading {
    pub(super) method: &'static str,
    /// Status and count, where the count is not 0.
    pub(super) statuses: Vec<(u16, u64)>,
    pub(super) finished: u64,
    pub(super) in_progress: u64,
    pub(super) request_bytes: u64,
    pub(super) response_bytes: u64,
    pub(super) buckets: Vec<u64>,
    pub(super) duration_seconds: f64,
}

pub(super) fn method_label(method: &Method) -> &'static str {
    METHODS[method_index(method)]
}

fn method_index(method: &Method) -> usize {
    match *method {
        Method::GET => 0,
        Method::HEAD => 1,
        Method::POST => 2,
        Method::PUT => 3,
        Method::PATCH => 4,
        Method::DELETE => 5,
        Method::OPTIONS => 6,
        Method::CONNECT => 7,
        Method::TRACE => 8,
        _ => 9,
    }
}

fn status_cell(status: u16) -> usize {
    match STATUSES.binary_search(&status) {
        Ok(cell) => cell,
        // 100 for 1xx, 200 for 2xx, …
        Err(_) => STATUSES.binary_search(&(status / 100 * 100)).unwrap_or(STATUSES.len() - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_cell_and_codes_are_sorted() {
        assert!(STATUSES.is_sorted());
        assert_eq!(STATUSES[status_cell(204)], 204);
        assert_eq!(STATUSES[status_cell(299)], 200);
        assert_eq!(STATUSES[status_cell(999)], 599);
    }

    #[test]
    fn a_request_is_in_progress_between_start_and_finish() {
        let route = RouteMetrics::new(1, "/api/users");
        route.started(&Method::GET);
        assert_eq!(route.readings().next().unwrap().in_progress, 1);
        route.finished(&Method::GET, 200, Duration::from_millis(7), 3, 40);
        let reading = route.readings().next().unwrap();
        assert_eq!((reading.in_progress, reading.finished, reading.response_bytes), (0, 1, 40));
        assert_eq!(reading.statuses, [(200, 1)]);
        assert_eq!(reading.buckets[1], 1);
    }

    #[test]
    fn an_invented_method_adds_no_label() {
        let invented = Method::from_bytes(b"BREW").unwrap();
        assert_eq!(method_label(&invented), "OTHER");
    }
}
