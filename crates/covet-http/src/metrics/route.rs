//! The cells of one route: one row per method.

use std::sync::OnceLock;
use std::time::Duration;

use covet_telemetry::metrics::catalog;
use covet_telemetry::metrics::exemplar::{Exemplar, Exemplars};
use covet_telemetry::metrics::histogram::Durations;
use covet_telemetry::metrics::shard::Cells;
use covet_telemetry::traces::TraceId;
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
const EXCEPTIONS: usize = RESPONSE_BYTES + 1;
const DURATIONS: usize = EXCEPTIONS + EXCEPTION_TYPES;

/// Types of exception of one route and method that have a cell of their own; what comes after is counted as `other`. They
/// are named by the code, so there are few.
const EXCEPTION_TYPES: usize = 16;

/// What is counted of one route.
#[derive(Debug)]
pub struct RouteMetrics {
    index: u32,
    endpoint: String,
    durations: Durations,
    methods: [OnceLock<MethodMetrics>; METHODS.len()],
}

/// What is counted of one route and method.
#[derive(Debug)]
struct MethodMetrics {
    cells: Cells,
    /// Of the durations.
    exemplars: Exemplars,
    /// Which type each cell of [`EXCEPTIONS`] is for, in the order in which they came.
    exceptions: [OnceLock<&'static str>; EXCEPTION_TYPES],
}

/// A request that has been answered, or never will be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Finished {
    pub(crate) status: u16,
    pub(crate) duration: Duration,
    pub(crate) request_bytes: u64,
    pub(crate) response_bytes: u64,
    /// The trace that is kept of it, and the time in milliseconds since 1970-01-01 UTC.
    pub(crate) sampled: Option<(TraceId, u64)>,
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
            self.of(method);
        }
    }

    /// A handler has been reached.
    pub(crate) fn started(&self, method: &Method) {
        self.of(method).cells.add(STARTED, 1);
    }

    /// The response is out, or never will be.
    pub(crate) fn finished(&self, method: &Method, finished: &Finished) {
        let of = self.of(method);
        let lane = of.cells.lane();
        lane.add(status_cell(finished.status), 1);
        lane.add(FINISHED, 1);
        if self.index == 0 {
            // No handler's stamp has counted it.
            lane.add(STARTED, 1);
        }
        if finished.request_bytes > 0 {
            lane.add(REQUEST_BYTES, finished.request_bytes);
        }
        lane.add(RESPONSE_BYTES, finished.response_bytes);
        let bucket = self.durations.record(lane, DURATIONS, finished.duration);
        if let Some((trace, unix_millis)) = finished.sampled {
            let exemplar = Exemplar { trace, value: finished.duration.as_secs_f64(), unix_millis };
            of.exemplars.offer(self.durations.buckets(), bucket, exemplar);
        }
    }

    /// The request ended in an error of this type.
    pub(crate) fn failed(&self, method: &Method, exception_type: &'static str) {
        let of = self.of(method);
        let own = of.exceptions[..EXCEPTION_TYPES - 1].iter();
        let place = own.take_while(|slot| *slot.get_or_init(|| exception_type) != exception_type).count();
        of.cells.add(EXCEPTIONS + place, 1);
    }

    /// Reads what has been counted, method by method.
    pub(super) fn readings(&self) -> impl Iterator<Item = Reading> {
        METHODS.iter().zip(&self.methods).filter_map(|(method, of)| {
            let of = of.get()?;
            let cells = &of.cells;
            let mut buckets = Vec::new();
            let duration_seconds = self.durations.read(cells, DURATIONS, &mut buckets);
            let statuses = STATUSES.iter().enumerate().map(|(cell, status)| (*status, cells.sum(cell)));
            let exceptions = of.exceptions.iter().enumerate().map(|(place, exception_type)| {
                (exception_type.get().copied().unwrap_or("other"), cells.sum(EXCEPTIONS + place))
            });
            // Finished is read before started, so that a request between the two readings cannot make it negative.
            let finished = cells.sum(FINISHED);
            Some(Reading {
                method,
                statuses: statuses.filter(|(_, count)| *count > 0).collect(),
                finished,
                in_progress: cells.sum(STARTED).saturating_sub(finished),
                request_bytes: cells.sum(REQUEST_BYTES),
                response_bytes: cells.sum(RESPONSE_BYTES),
                exceptions: exceptions.filter(|(_, count)| *count > 0).collect(),
                buckets,
                duration_seconds,
                exemplars: of.exemplars.read(),
            })
        })
    }

    fn of(&self, method: &Method) -> &MethodMetrics {
        self.methods[method_index(method)].get_or_init(|| MethodMetrics {
            cells: Cells::new(DURATIONS + self.durations.cells()),
            exemplars: Exemplars::default(),
            exceptions: [const { OnceLock::new() }; EXCEPTION_TYPES],
        })
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
    /// Type and count, where the count is not 0.
    pub(super) exceptions: Vec<(&'static str, u64)>,
    pub(super) buckets: Vec<u64>,
    pub(super) duration_seconds: f64,
    /// One for each bucket, or none at all.
    pub(super) exemplars: Vec<Option<Exemplar>>,
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

    #[global_allocator]
    static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

    #[test]
    fn every_code_has_a_cell_and_codes_are_sorted() {
        assert!(STATUSES.is_sorted());
        assert_eq!(STATUSES[status_cell(204)], 204);
        assert_eq!(STATUSES[status_cell(299)], 200);
        assert_eq!(STATUSES[status_cell(999)], 599);
    }

    fn finished(status: u16, duration: Duration) -> Finished {
        Finished { status, duration, request_bytes: 3, response_bytes: 40, sampled: None }
    }

    #[test]
    fn a_request_is_in_progress_between_start_and_finish() {
        let route = RouteMetrics::new(1, "/api/users");
        route.started(&Method::GET);
        assert_eq!(route.readings().next().unwrap().in_progress, 1);
        route.finished(&Method::GET, &finished(200, Duration::from_millis(7)));
        let reading = route.readings().next().unwrap();
        assert_eq!((reading.in_progress, reading.finished, reading.response_bytes), (0, 1, 40));
        assert_eq!(reading.statuses, [(200, 1)]);
        assert_eq!(reading.buckets[1], 1);
        assert!(reading.exemplars.is_empty());
    }

    #[test]
    fn the_bucket_of_a_sampled_request_shows_its_trace() {
        let route = RouteMetrics::new(1, "/");
        let trace = TraceId::new([7; 16]).unwrap();
        let request = finished(200, Duration::from_millis(7));
        route.finished(&Method::GET, &Finished { sampled: Some((trace, 1_000)), ..request });
        let exemplars = route.readings().next().unwrap().exemplars;
        assert_eq!(exemplars.len(), 12);
        assert_eq!(exemplars[1], Some(Exemplar { trace, value: 0.007, unix_millis: 1_000 }));
        assert_eq!(exemplars.iter().flatten().count(), 1);
    }

    #[test]
    fn exceptions_are_told_apart_by_type_up_to_a_bound() {
        const MORE: [&str; 20] =
            ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t"];
        let route = RouteMetrics::new(1, "/");
        for _ in 0..2 {
            for exception_type in MORE {
                route.failed(&Method::GET, exception_type);
            }
        }
        let exceptions = route.readings().next().unwrap().exceptions;
        assert_eq!(exceptions.len(), EXCEPTION_TYPES);
        assert!(exceptions[..EXCEPTION_TYPES - 1].iter().zip(MORE).all(|(counted, own)| *counted == (own, 2)));
        assert_eq!(exceptions.last(), Some(&("other", 10)));
    }

    #[test]
    fn counting_a_request_takes_no_memory() {
        let (route, trace) = (RouteMetrics::new(1, "/"), TraceId::new([7; 16]).unwrap());
        let mut unix_millis = 0;
        let mut request = || {
            unix_millis += 600;
            route.started(&Method::GET);
            route.failed(&Method::GET, "panic");
            let request = finished(503, Duration::from_millis(7));
            route.finished(&Method::GET, &Finished { sampled: Some((trace, unix_millis)), ..request });
        };
        request();
        let allocated = tikv_jemalloc_ctl::thread::allocatedp::read().unwrap();
        let before = allocated.get();
        (0..1000).for_each(|_| request());
        assert_eq!(allocated.get() - before, 0);
        drop(std::hint::black_box(vec![1_u8; 100]));
        assert!(allocated.get() - before >= 100, "the allocator is not measured");
    }

    #[test]
    fn an_invented_method_adds_no_label() {
        let invented = Method::from_bytes(b"BREW").unwrap();
        assert_eq!(METHODS[method_index(&invented)], "OTHER");
    }
}
