//! One attempt of a call: its span, its time limit, its metrics.

use std::time::Duration;

use covet_core::clock::Clock;
use covet_telemetry::traces::{self, Attributes, Kind, OpenSpan, Status, Traces};
use http::Version;

use crate::error::reason;
use crate::instruments;
use crate::retry::Outcome;
use crate::target::Target;

/// An attempt that is to be made.
pub(crate) struct Attempt<'a> {
    pub(crate) target: &'a Target,
    /// 1 for the first.
    pub(crate) number: u32,
    /// Until the answer's head.
    pub(crate) limit: Duration,
    pub(crate) clock: &'a Clock,
}

/// An attempt without an answer.
pub(crate) struct Failed {
    pub(crate) outcome: Outcome,
    pub(crate) reason: String,
    /// The limit, if it was that.
    pub(crate) timed_out: Option<Duration>,
}

impl Attempt<'_> {
    /// Makes it. The trace is handed on if there is a `hands_on`.
    pub(crate) async fn make(
        &self,
        http: &reqwest::Client,
        mut request: reqwest::Request,
        hands_on: Option<&Traces>,
    ) -> Result<reqwest::Response, Failed> {
        let mut span =
            Span(traces::recording().map(|here| self.span(here.begin(self.target.span_name(), Kind::Client))));
        if let Some(traces) = hands_on {
            let of_attempt = span.0.as_ref().map(OpenSpan::context);
            traces.hand_on(of_attempt, request.headers_mut());
        }
        let began = self.clock.monotonic();
        let outcome = match tokio::time::timeout(self.limit, http.execute(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(self.failed(error)),
            Err(_) => {
                let reason = "no answer in time".to_owned();
                Err(Failed { outcome: Outcome::Unknown, reason, timed_out: Some(self.limit) })
            }
        };
        let took = self.clock.monotonic().duration_since(began);
        match &outcome {
            Ok(response) => {
                instruments::attempted(self.target, response.status().as_str(), took);
                span.answered(response);
            }
            Err(failed) => {
                instruments::attempted(self.target, failed.kind(), took);
                span.failed(failed.kind());
            }
        }
        outcome
    }

    fn failed(&self, error: reqwest::Error) -> Failed {
        let timed_out = (error.is_timeout() && !error.is_connect()).then_some(self.limit);
        let outcome = match () {
            () if error.is_connect() => Outcome::NotSent,
            () if error.is_redirect() => Outcome::Refused,
            () => Outcome::Unknown,
        };
        Failed { outcome, reason: reason(error), timed_out }
    }

    fn span(&self, mut span: OpenSpan) -> OpenSpan {
        let mut attributes = Attributes::with_capacity(10);
        attributes.set("http.request.method", self.target.method.to_string());
        attributes.set("url.scheme", self.target.scheme);
        attributes.set("server.address", std::sync::Arc::clone(&self.target.host));
        attributes.set("server.port", self.target.port);
        if let Some(template) = &self.target.template {
            attributes.set("url.template", template.clone());
        }
        if self.number > 1 {
            attributes.set("http.request.resend_count", self.number - 1);
        }
        span.set_all(attributes);
        span
    }
}

impl Failed {
    /// For metrics and spans.
    fn kind(&self) -> &'static str {
        match self.outcome {
            _ if self.timed_out.is_some() => "timeout",
            Outcome::NotSent => "connect",
            Outcome::Refused => "redirect",
            _ => "broken",
        }
    }
}

/// The span of an attempt. Dropped before its end, it says that nobody waited any longer.
struct Span(Option<OpenSpan>);

impl Span {
    fn answered(&mut self, response: &reqwest::Response) {
        let Some(mut span) = self.0.take() else { return };
        let status = response.status();
        span.set("http.response.status_code", status.as_u16());
        span.set("network.protocol.version", protocol(response.version()));
        if status.is_client_error() || status.is_server_error() {
            span.set("error.type", status.as_str().to_owned());
            span.set_status(Status::Error("".into()));
        }
    }

    fn failed(&mut self, kind: &'static str) {
        if let Some(mut span) = self.0.take() {
            span.failed(kind);
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        self.failed("cancelled");
    }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        Version::HTTP_3 => "3",
        _ => "1.1",
    }
}
