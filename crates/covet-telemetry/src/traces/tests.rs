//! Requests, spans of `tracing` and calls together: what is recorded, and below what.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use covet_core::clock::Clock;
use covet_core::ids::RequestId;
use covet_core::settings::{Section, Sources};
use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;
use tracing::level_filters::LevelFilter;
use tracing::{Subscriber, error, error_span, info_span, instrument};
use tracing_subscriber::Registry as Spans;
use tracing_subscriber::layer::{Identity, SubscriberExt};

use super::*;
use crate::logging::Redaction;
use crate::request::{RequestScope, Surroundings, carry, enter};
use crate::settings::TraceSettings;

/// A process that traces, and what it has recorded.
struct Process {
    traces: Traces,
    tracer: Tracer,
    collected: Collected,
    clock: Clock,
}

impl Process {
    fn with(set: &[(&str, &str)]) -> Self {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318");
        let set = [endpoint].into_iter().chain(set.iter().copied());
        let settings = TraceSettings::load(Sources::of(set)).unwrap();
        let (clock, collected) = (Clock::system(), Collected::default());
        let tracer = Tracer::new(&settings, &clock, collected.sink());
        Self { traces: Traces::new(&settings, Some(tracer.clone())), tracer, collected, clock }
    }

    fn sampling(sampler: &str) -> Self {
        Self::with(&[("OTEL_TRACES_SAMPLER", sampler)])
    }

    /// A subscriber that records spans of level INFO.
    fn subscriber(&self) -> impl Subscriber + Send + Sync + use<> {
        let levels = "info".parse().unwrap();
        Spans::default().with(SpanLayer::new(
            self.tracer.clone(),
            levels,
            Arc::new(Redaction::new(&[])),
            Identity::new(),
            LevelFilter::INFO,
        ))
    }

    /// Handles a request with these headers, and ends it.
    fn request<R>(&self, headers: &HeaderMap, handle: impl FnOnce() -> R) -> R {
        let began = self.clock.monotonic();
        let scope = self.scope(headers);
        let answer =
            tracing::subscriber::with_default(self.subscriber(), || enter(&mut Some(Arc::clone(&scope)), handle));
        drop(self.traces.request_span(&scope, began, false, || "GET /".to_owned()));
        answer
    }

    fn scope(&self, headers: &HeaderMap) -> Arc<RequestScope> {
        let scope = RequestScope::new(RequestId::parse(b"r1").unwrap(), Ipv4Addr::LOCALHOST.into());
        Arc::new(match self.traces.join(headers) {
            Some(trace) => scope.with_trace(trace),
            None => scope,
        })
    }

    /// The recorded spans by name, each with the name of the span it is below.
    fn tree(&self) -> Vec<(String, Option<String>)> {
        let spans = self.collected.spans();
        let name_of = |id| spans.iter().find(|span| span.context.span_id == id).map(|span| span.name.to_string());
        let above = |span: &Span| span.parent.map(|id| name_of(id).unwrap_or_else(|| "a caller's".to_owned()));
        spans.iter().map(|span| (span.name.to_string(), above(span))).collect()
    }
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(*name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn below(name: &str, parent: &str) -> (String, Option<String>) {
    (name.to_owned(), Some(parent.to_owned()))
}

fn root(name: &str) -> (String, Option<String>) {
    (name.to_owned(), None)
}

/// A call that would have a span, as a statement of the database has.
fn call() {
    if let Some(here) = recording() {
        drop(here.ended("call", Kind::Client, Duration::from_micros(5)));
    }
}

const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[test]
fn spans_of_a_recorded_request_stand_below_each_other() {
    let process = Process::sampling("always_on");
    process.request(&HeaderMap::new(), || {
        call();
        info_span!("outer").in_scope(|| {
            call();
            info_span!("inner").in_scope(call);
        });
    });
    let expected = [
        below("call", "GET /"),
        below("call", "outer"),
        below("call", "inner"),
        below("inner", "outer"),
        below("outer", "GET /"),
        root("GET /"),
    ];
    assert_eq!(process.tree(), expected);
    let spans = process.collected.spans();
    assert!(spans.iter().all(|span| span.context.trace_id == spans[0].context.trace_id && span.context.sampled));
}

#[test]
fn a_request_that_is_not_recorded_makes_no_span_and_disables_those_of_its_code() {
    let process = Process::sampling("always_off");
    process.request(&HeaderMap::new(), || {
        let span = info_span!("disabled");
        assert!(span.is_disabled());
        span.in_scope(|| {
            call();
            assert!(recording().is_none());
            let trace = current().unwrap();
            assert!(!trace.sampled);
        });
    });
    assert_eq!(process.tree(), []);
}

#[test]
fn a_request_that_failed_is_recorded_alone_and_only_so_often() {
    let process = Process::with(&[("OTEL_TRACES_SAMPLER", "always_off"), ("COVET_TRACES__ERRORS_PER_SECOND", "3")]);
    for _ in 0..10 {
        let scope = process.scope(&HeaderMap::new());
        drop(process.traces.request_span(&scope, process.clock.monotonic(), true, || "GET /".to_owned()));
        drop(process.traces.request_span(&scope, process.clock.monotonic(), false, || unreachable!()));
    }
    let spans = process.collected.spans();
    // A second may begin between two of them.
    assert!((3..=5).contains(&spans.len()), "{}", spans.len());
    assert!(spans[0].context.sampled);
    assert_eq!(spans[0].attributes.get("covet.sampled_by").unwrap().as_str(), Some("error"));
}

#[test]
fn a_callers_trace_goes_on_with_his_decision() {
    for (sampler, flags, recorded) in [
        ("parentbased_always_on", "00", false),
        ("parentbased_always_off", "01", true),
        ("always_on", "00", true),
        ("always_off", "01", false),
    ] {
        let process = Process::sampling(sampler);
        let header = format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flags}");
        let trace = process.request(&headers(&[("traceparent", &header)]), || current().unwrap());
        assert_eq!(trace.trace_id.to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_ne!(trace.span_id.to_string(), "b7ad6b7169203331");
        let expected = if recorded { vec![below("GET /", "a caller's")] } else { vec![] };
        assert_eq!(process.tree(), expected, "{sampler} {flags}");
        assert!(process.collected.spans().iter().all(|span| span.remote_parent));
    }
}

#[test]
fn callers_are_not_heard_where_they_are_not_trusted() {
    let process =
        Process::with(&[("OTEL_TRACES_SAMPLER", "parentbased_always_off"), ("COVET_TRACES__TRUST_CALLERS", "no")]);
    let caller = headers(&[("traceparent", CALLER), ("tracestate", "a=1"), ("baggage", "user=7")]);
    let trace = process.request(&caller, || {
        let mut sent = HeaderMap::new();
        process.traces.hand_on(None, &mut sent);
        assert_eq!(sent.keys().map(http::HeaderName::as_str).collect::<Vec<_>>(), ["traceparent"]);
        current().unwrap()
    });
    assert_ne!(trace.trace_id.to_string(), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(process.tree(), []);
}

#[test]
fn what_a_caller_hands_on_is_handed_on() {
    let process = Process::sampling("always_on");
    let caller =
        headers(&[("traceparent", CALLER), ("tracestate", "a=1"), ("tracestate", "b=2"), ("baggage", "user=7")]);
    process.request(&caller, || {
        let mut sent = HeaderMap::new();
        process.traces.hand_on(None, &mut sent);
        assert_eq!(sent["traceparent"], current().unwrap().to_string());
        assert_eq!((&sent["tracestate"], &sent["baggage"]), (&"a=1,b=2".parse().unwrap(), &"user=7".parse().unwrap()));

        let of_call = recording().unwrap().begin("GET", Kind::Client);
        process.traces.hand_on(Some(of_call.context()), &mut sent);
        assert_eq!(sent["traceparent"], of_call.context().to_string());
    });
    assert_eq!(process.collected.spans().last().unwrap().tracestate.as_deref(), Some("a=1,b=2"));
}

#[test]
fn a_request_that_is_not_recorded_says_so_to_those_it_calls() {
    let process = Process::sampling("always_off");
    process.request(&HeaderMap::new(), || {
        let mut sent = HeaderMap::new();
        process.traces.hand_on(None, &mut sent);
        assert!(sent["traceparent"].to_str().unwrap().ends_with("-00"));
    });
}

#[test]
fn nothing_is_handed_on_against_the_settings() {
    for (propagators, expected) in
        [("none", vec![]), ("baggage", vec!["baggage"]), ("tracecontext", vec!["traceparent"])]
    {
        let process = Process::with(&[("OTEL_PROPAGATORS", propagators)]);
        process.request(&headers(&[("baggage", "user=7")]), || {
            let mut sent = HeaderMap::new();
            process.traces.hand_on(None, &mut sent);
            assert_eq!(sent.keys().map(http::HeaderName::as_str).collect::<Vec<_>>(), expected, "{propagators}");
        });
    }
}

#[test]
fn a_callers_trace_is_handed_on_without_recording_only_when_told_so() {
    let caller = headers(&[("traceparent", CALLER), ("tracestate", "a=1"), ("baggage", "user=7")]);
    let settings = |set: &[(&str, &str)]| TraceSettings::load(Sources::of(set.iter().copied())).unwrap();
    assert!(Traces::new(&settings(&[]), None).join(&caller).is_none());

    let traces = Traces::new(&settings(&[("OTEL_PROPAGATORS", "tracecontext,baggage")]), None);
    let scope = RequestScope::new(RequestId::parse(b"r1").unwrap(), Ipv4Addr::LOCALHOST.into());
    let scope = scope.with_trace(traces.join(&caller).unwrap());
    enter(&mut Some(Arc::new(scope)), || {
        assert!(recording().is_none());
        let mut sent = HeaderMap::new();
        traces.hand_on(None, &mut sent);
        for name in ["traceparent", "tracestate", "baggage"] {
            assert_eq!(sent[name], caller[name]);
        }
    });
}

#[test]
fn a_header_that_is_too_long_is_not_handed_on() {
    let process = Process::sampling("always_on");
    let long = "x".repeat(9_000);
    process.request(&headers(&[("baggage", &long)]), || {
        let mut sent = HeaderMap::new();
        process.traces.hand_on(None, &mut sent);
        assert!(!sent.contains_key("baggage"));
    });
}

#[test]
fn outside_of_a_request_the_outermost_span_begins_a_trace_and_decides_for_those_below() {
    for (sampler, recorded) in [("always_on", true), ("always_off", false)] {
        let process = Process::sampling(sampler);
        tracing::subscriber::with_default(process.subscriber(), || {
            assert!(current().is_none());
            info_span!("nightly").in_scope(|| {
                assert_eq!(current().unwrap().sampled, recorded);
                info_span!("step").in_scope(call);
            });
        });
        let expected = [below("call", "step"), below("step", "nightly"), root("nightly")];
        assert_eq!(process.tree(), if recorded { expected.to_vec() } else { vec![] });
    }
}

#[test]
fn levels_are_those_set() {
    let process = Process::sampling("always_on");
    process.request(&HeaderMap::new(), || {
        assert!(tracing::debug_span!("too fine").is_disabled());
        assert!(!error_span!("coarse").is_disabled());
    });
}

#[test]
fn fields_become_attributes_but_secrets_do_not() {
    let process = Process::sampling("always_on");
    process.request(&HeaderMap::new(), || {
        let span = info_span!(
            "charge",
            rows = 3_u64,
            share = 0.5,
            ok = true,
            user = %"ada",
            password = "hunter2",
            later = tracing::field::Empty,
            otel.name = "charge card",
            otel.kind = "client",
        );
        span.record("later", -7);
        span.in_scope(|| set_attribute("shop.items", 2_u64));
        set_attribute("of.request", "yes");
    });
    let spans = process.collected.spans();
    assert_eq!((&*spans[0].name, spans[0].kind), ("charge card", Kind::Client));
    let attributes: Vec<_> = spans[0].attributes.iter().collect();
    let expected: [(&str, &Value); 7] = [
        ("rows", &3_u64.into()),
        ("share", &0.5.into()),
        ("ok", &true.into()),
        ("user", &"ada".into()),
        ("password", &"[redacted]".into()),
        ("later", &Value::Integer(-7)),
        ("shop.items", &2_u64.into()),
    ];
    assert_eq!(attributes, expected);
    assert_eq!(spans[1].attributes.get("of.request"), Some(&"yes".into()));
}

#[instrument(err)]
fn fails() -> Result<(), std::fmt::Error> {
    Err(std::fmt::Error)
}

#[test]
fn an_error_that_is_logged_in_a_span_is_how_it_went() {
    let process = Process::sampling("always_on");
    process.request(&HeaderMap::new(), || {
        assert!(fails().is_err());
        info_span!("told").in_scope(|| error!(error = %std::fmt::Error, "no card"));
        info_span!("well").in_scope(|| tracing::info!("fine"));
        drop(info_span!("by field", otel.status_code = "error", otel.status_description = "declined"));
    });
    let spans = process.collected.spans();
    let statuses: Vec<_> = spans.iter().map(|span| span.status.clone()).collect();
    let failed = |text: &'static str| Status::Error(text.into());
    let formatting = std::fmt::Error.to_string();
    let expected = [
        Status::Error(formatting.clone().into()),
        Status::Error(format!("no card: {formatting}").into()),
        Status::Unset,
        failed("declined"),
        Status::Unset,
    ];
    assert_eq!(statuses, expected);
}

#[test]
fn a_value_may_log_and_ask_for_its_trace_while_it_is_recorded() {
    struct Curious;
    impl std::fmt::Debug for Curious {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            error!("asks");
            write!(f, "{}", current().is_some())
        }
    }
    let process = Process::sampling("always_on");
    process.request(&HeaderMap::new(), || {
        let span = info_span!("curious", later = tracing::field::Empty);
        span.in_scope(|| span.record("later", tracing::field::debug(Curious)));
    });
    assert_eq!(process.collected.spans()[0].attributes.get("later"), Some(&"true".into()));
}

#[test]
fn other_spans_can_be_linked() {
    let process = Process::sampling("always_on");
    process.request(&HeaderMap::new(), || {
        let (cause, effect) = (info_span!("cause"), info_span!("effect"));
        effect.follows_from(&cause);
        drop((effect, cause));
    });
    let spans = process.collected.spans();
    assert_eq!(spans[0].links, [spans[1].context]);
}

#[test]
fn a_span_entered_by_hand_is_above_what_is_done_in_it_but_not_above_spans_around_it() {
    let process = Process::sampling("always_on");
    process.request(&HeaderMap::new(), || {
        info_span!("around").in_scope(|| {
            let transaction = recording().unwrap().begin("transaction", Kind::Client);
            transaction.recording().enter(|| {
                call();
                info_span!("inside").in_scope(call);
            });
            call();
        });
    });
    let expected = [
        below("call", "transaction"),
        below("call", "inside"),
        below("inside", "transaction"),
        below("call", "around"),
        below("transaction", "around"),
        below("around", "GET /"),
        root("GET /"),
    ];
    assert_eq!(process.tree(), expected);
}

#[test]
fn another_thread_stands_where_it_was_sent_from() {
    let process = Process::sampling("always_on");
    process.request(&HeaderMap::new(), || {
        info_span!("here").in_scope(|| {
            let mut surroundings = Surroundings::here();
            std::thread::spawn(move || surroundings.enter(call)).join().unwrap();
        });
        let mut surroundings = Surroundings::here();
        std::thread::spawn(move || surroundings.enter(call)).join().unwrap();
        std::thread::spawn(call).join().unwrap();
    });
    assert_eq!(process.tree()[..2], [below("call", "here"), below("here", "GET /")]);
    assert_eq!(process.tree()[2..], [below("call", "GET /"), root("GET /")]);
}

#[tokio::test]
async fn a_spawned_task_that_is_carried_stands_where_it_was_spawned() {
    let process = Process::sampling("always_on");
    let task =
        process.request(&HeaderMap::new(), || info_span!("here").in_scope(|| tokio::spawn(carry(async { call() }))));
    task.await.unwrap();
    assert!(process.tree().contains(&below("call", "here")), "{:?}", process.tree());
}

proptest! {
    #[test]
    fn no_headers_make_joining_panic(parent: Vec<u8>, state: Vec<u8>, baggage: Vec<u8>) {
        let process = Process::sampling("parentbased_traceidratio");
        let mut headers = HeaderMap::new();
        for (name, value) in [("traceparent", parent), ("tracestate", state), ("baggage", baggage)] {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                headers.append(name, value);
            }
        }
        process.request(&headers, call);
    }
}
