//! The request's part in a trace: joining it when it comes, its span when it has ended.
//!
//! Names and attributes are those of
//! [OpenTelemetry's conventions for HTTP](https://opentelemetry.io/docs/specs/semconv/http/http-spans/). The query is in
//! none of them: it may hold secrets.

use std::time::Instant;

use axum::extract::Request;
use covet_telemetry::traces::{Attributes, RequestTrace, Status, Traces};
use http::{Method, Version, header};

use super::{CLIENT_CLOSED_REQUEST, Exchange};

/// The request's place in a trace. `None`, and nothing is done, when traces are off.
#[inline]
pub(in crate::pipeline) fn join<B>(traces: &Traces, request: &Request<B>) -> Option<RequestTrace> {
    let trace = traces.join(request.headers())?;
    if trace.is_recorded() {
        set_server(&trace, request);
    }
    Some(trace)
}

/// Whom the client meant to reach.
#[cold]
fn set_server<B>(trace: &RequestTrace, request: &Request<B>) {
    let host = || request.headers().get(header::HOST)?.to_str().ok()?.parse().ok();
    if let Some(authority) = request.uri().authority().cloned().or_else(host) {
        trace.set_attribute("server.address", authority.host().to_owned());
        if let Some(port) = authority.port_u16() {
            trace.set_attribute("server.port", port);
        }
    }
}

impl Exchange {
    /// Records the request that has just ended, if it is to be.
    #[inline]
    pub(super) fn record(&self, status: u16, ended: Instant) {
        if self.scope.trace().is_some_and(|trace| trace.sampled || failed(status)) {
            self.record_span(status, ended);
        }
    }

    #[cold]
    fn record_span(&self, status: u16, ended: Instant) {
        let route = self.scope.route().map(|_| self.route().endpoint());
        let method = known(&self.method);
        let name = || match route {
            Some(route) => format!("{} {route}", method.unwrap_or("HTTP")),
            None => method.unwrap_or("HTTP").to_owned(),
        };
        let Some(mut span) = self.pipeline.traces.request_span(&self.scope, self.started, failed(status), name) else {
            return;
        };
        let mut attributes = Attributes::with_capacity(14);
        attributes.set("http.request.method", method.unwrap_or("_OTHER"));
        if method.is_none() {
            attributes.set("http.request.method_original", self.method.to_string());
        }
        if let Some(route) = route {
            attributes.set("http.route", route.to_owned());
        }
        attributes.set("url.path", self.path().to_owned());
        attributes.set("url.scheme", if self.https { "https" } else { "http" });
        if let Some(address) = self.pipeline.traces.client_address(self.scope.client()) {
            attributes.set("client.address", address);
        }
        attributes.set("network.protocol.version", version(self.version));
        if let Some(user_agent) = self.user_agent.as_ref().and_then(|value| value.to_str().ok()) {
            attributes.set("user_agent.original", user_agent.to_owned());
        }
        attributes.set("covet.request_id", self.scope.id().to_string());
        // The code of a client that went away is never on the wire.
        if status == CLIENT_CLOSED_REQUEST {
            attributes.set("error.type", "client_closed_request");
        } else {
            attributes.set("http.response.status_code", status);
        }
        if failed(status) {
            attributes.set("error.type", status.to_string());
            span.set_status(Status::Error("".into()));
        }
        span.set_all(attributes);
        span.end_at(ended);
    }
}

/// Whether it is our failure.
fn failed(status: u16) -> bool {
    status >= 500
}

/// The method, if it is one that the conventions know.
fn known(method: &Method) -> Option<&'static str> {
    const KNOWN: [&str; 9] = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "CONNECT"];
    KNOWN.into_iter().find(|known| *known == method.as_str())
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    }
}
