//! Taking part in callers' traces, and letting the services that are called take part: the headers `traceparent` and
//! `tracestate` of [W3C Trace Context](https://www.w3.org/TR/trace-context/) and `baggage` of
//! [W3C Baggage](https://www.w3.org/TR/baggage/).

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::context::{SpanId, TraceContext};
use super::here;
use super::span::{Attributes, Kind, Value};
use super::tracer::{OpenSpan, Place, Tracer};
use crate::logging::Personal;
use crate::request::{self, RequestScope};
use crate::settings::{Propagation, TraceSettings};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const BAGGAGE: HeaderName = HeaderName::from_static("baggage");

/// Longest `tracestate` or `baggage` that is handed on, in bytes: the limit of W3C Baggage.
const MAX_HEADER_BYTES: usize = 8192;

/// What a process does about traces. Clones do the same.
#[derive(Debug, Clone)]
pub struct Traces {
    tracer: Option<Tracer>,
    propagation: Propagation,
    trust_callers: bool,
    /// How much spans tell of a person; everything without it.
    personal: Option<Arc<Personal>>,
}

/// A request's part in a trace.
#[derive(Debug)]
pub struct RequestTrace {
    pub(crate) context: TraceContext,
    /// The caller's span.
    pub(crate) parent: Option<SpanId>,
    pub(crate) extra: Option<Box<Extra>>,
}

/// What few requests have: those that are recorded, or came with something to be handed on.
#[derive(Default)]
pub(crate) struct Extra {
    /// There if the request is recorded.
    pub(crate) tracer: Option<Tracer>,
    /// Attributes that its span will have.
    attributes: Mutex<Attributes>,
    tracestate: Option<HeaderValue>,
    baggage: Option<HeaderValue>,
}

impl fmt::Debug for Extra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Extra").field("recorded", &self.tracer.is_some()).finish_non_exhaustive()
    }
}

impl Extra {
    pub(crate) fn set_attribute(&self, name: Cow<'static, str>, value: Value) {
        if self.tracer.is_some() {
            self.attributes.lock().unwrap_or_else(PoisonError::into_inner).set(name, value);
        }
    }

    fn take_attributes(&self) -> Attributes {
        std::mem::take(&mut *self.attributes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl RequestTrace {
    /// Whether the request is recorded.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        self.extra.as_ref().is_some_and(|extra| extra.tracer.is_some())
    }

    /// Sets an attribute of the request's span, if the request is recorded.
    pub fn set_attribute(&self, name: impl Into<Cow<'static, str>>, value: impl Into<Value>) {
        if let Some(extra) = &self.extra {
            extra.set_attribute(name.into(), value.into());
        }
    }
}

/// A place in a trace without anything to record or hand on, for tests.
impl From<TraceContext> for RequestTrace {
    fn from(context: TraceContext) -> Self {
        Self { context, parent: None, extra: None }
    }
}

impl Traces {
    /// What the settings say. `tracer` is there when traces are on.
    #[must_use]
    pub fn new(settings: &TraceSettings, tracer: Option<Tracer>) -> Self {
        Self { tracer, propagation: settings.propagation(), trust_callers: settings.trust_callers, personal: None }
    }

    /// The same, saying no more of a client than the logs do.
    pub(crate) fn with_personal(self, personal: Arc<Personal>) -> Self {
        Self { personal: Some(personal), ..self }
    }

    /// Records nothing and hands nothing on.
    #[must_use]
    pub fn off() -> Self {
        let propagation = Propagation { trace_context: false, baggage: false };
        Self { tracer: None, propagation, trust_callers: false, personal: None }
    }

    /// A client's address as the personal-data policy of the logs lets it be written; `None` when it does not.
    #[must_use]
    pub fn client_address(&self, address: IpAddr) -> Option<String> {
        match &self.personal {
            Some(personal) => personal.address(address),
            None => Some(address.to_string()),
        }
    }

    /// True if requests may be recorded.
    #[must_use]
    pub fn are_recorded(&self) -> bool {
        self.tracer.is_some()
    }

    /// The part that a request with these headers has in a trace, and with it whether it is recorded. Costs a request
    /// that is not recorded no allocation, unless it came with `tracestate` or `baggage`; nothing when traces are off.
    #[must_use]
    #[inline]
    pub fn join(&self, headers: &HeaderMap) -> Option<RequestTrace> {
        if self.tracer.is_none() && !self.propagation.trace_context && !self.propagation.baggage {
            return None;
        }
        self.join_by(headers)
    }

    fn join_by(&self, headers: &HeaderMap) -> Option<RequestTrace> {
        let heard = |what: bool| what && self.trust_callers;
        let caller = match heard(self.propagation.trace_context) {
            true => headers.get(TRACEPARENT).and_then(|header| TraceContext::parse(header.as_bytes())),
            false => None,
        };
        // Who only hands on is no part of the trace.
        let context = match &self.tracer {
            Some(tracer) => tracer.place(caller),
            None => caller?,
        };
        let tracestate = caller.and_then(|_| joined(headers, &TRACESTATE));
        let baggage = heard(self.propagation.baggage).then(|| joined(headers, &BAGGAGE)).flatten();
        let tracer = self.tracer.as_ref().filter(|_| context.sampled);
        let extra = (tracer.is_some() || tracestate.is_some() || baggage.is_some())
            .then(|| Box::new(Extra { tracer: tracer.cloned(), attributes: Mutex::default(), tracestate, baggage }));
        Some(RequestTrace {
            context,
            parent: caller.filter(|_| self.tracer.is_some()).map(|caller| caller.span_id),
            extra,
        })
    }

    /// The span of a request that has ended, to be told what it was: if the request is recorded, or has `failed` and
    /// is recorded for that. `name` is called only then.
    pub fn request_span(
        &self,
        scope: &RequestScope,
        began: Instant,
        failed: bool,
        name: impl FnOnce() -> String,
    ) -> Option<OpenSpan> {
        let tracer = self.tracer.as_ref()?;
        let context = scope.trace()?;
        let recorded = context.sampled || (failed && tracer.keeps_error());
        if !recorded {
            return None;
        }
        let parent = scope.trace_parent();
        let place =
            Place { context: TraceContext { sampled: true, ..context }, parent, remote_parent: parent.is_some() };
        let mut span = tracer.begin(name(), Kind::Server, place, began);
        if let Some(extra) = scope.trace_extra() {
            span.span_mut().tracestate =
                extra.tracestate.as_ref().and_then(|state| state.to_str().ok()).map(Into::into);
            span.set_all(extra.take_attributes());
        }
        if !context.sampled {
            span.set("covet.sampled_by", "error");
        }
        Some(span)
    }

    /// Puts into the headers of a request to another service what lets it take part: the trace at hand, or the span
    /// `of` the call itself.
    pub fn hand_on(&self, of: Option<TraceContext>, headers: &mut HeaderMap) {
        let extra = |take: fn(&Extra) -> Option<HeaderValue>| {
            request::current(|scope| scope.trace_extra().and_then(take)).flatten()
        };
        if self.propagation.trace_context
            && let Some(context) = of.or_else(here::current)
            && let Ok(header) = HeaderValue::from_bytes(&context.traceparent())
        {
            headers.insert(TRACEPARENT, header);
            if let Some(state) = extra(|extra| extra.tracestate.clone()) {
                headers.insert(TRACESTATE, state);
            }
        }
        if self.propagation.baggage
            && let Some(baggage) = extra(|extra| extra.baggage.clone())
        {
            headers.insert(BAGGAGE, baggage);
        }
    }
}

/// All lines of a header as one, if they are not too long.
fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<HeaderValue> {
    let mut lines = headers.get_all(name).iter();
    let first = lines.next()?;
    let whole = match lines.next() {
        None => first.clone(),
        Some(second) => {
            let mut all = first.as_bytes().to_vec();
            for line in std::iter::once(second).chain(lines) {
                all.push(b',');
                all.extend_from_slice(line.as_bytes());
            }
            HeaderValue::from_bytes(&all).ok()?
        }
    };
    (!whole.is_empty() && whole.len() <= MAX_HEADER_BYTES).then_some(whole)
}
