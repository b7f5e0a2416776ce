//! The request at hand: what a log line, a span or a handler may ask about the request it serves, without a
//! parameter for it.
//!
//! The pipeline of `covet-http` makes one [`RequestScope`] a request and enters it around every poll, so it is
//! there after any `.await`. A task spawned by a handler leaves it; [`carry`] takes it along.

use std::any::Any;
use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use covet_core::ids::RequestId;

use crate::traces::{Extra, Recording, RequestTrace, SpanId, TraceContext, Value, below_request};

/// What is known of a request while it is served.
#[derive(Debug)]
pub struct RequestScope {
    id: RequestId,
    client: IpAddr,
    trace: Option<TraceContext>,
    trace_parent: Option<SpanId>,
    trace_extra: Option<Box<Extra>>,
    /// Index of the matched route plus one; 0 until a route's handler is reached.
    route: AtomicU32,
    user: OnceLock<Box<str>>,
    database: Tally,
    cache: Tally,
    beside: Beside,
}

thread_local! {
    static CURRENT: RefCell<Option<Arc<RequestScope>>> = const { RefCell::new(None) };
}

impl RequestScope {
    /// The scope of a request that has just arrived.
    #[must_use]
    pub fn new(id: RequestId, client: IpAddr) -> Self {
        Self::in_trace(id, client, None)
    }

    /// The scope of a request that is part of a trace, if there is one.
    #[must_use]
    #[inline]
    pub fn in_trace(id: RequestId, client: IpAddr, trace: Option<RequestTrace>) -> Self {
        let (trace, trace_parent, trace_extra) = match trace {
            Some(RequestTrace { context, parent, extra }) => (Some(context), parent, extra),
            None => (None, None, None),
        };
        Self {
            id,
            client,
            trace,
            trace_parent,
            trace_extra,
            route: AtomicU32::new(0),
            user: OnceLock::new(),
            database: Tally::default(),
            cache: Tally::default(),
            beside: Beside::default(),
        }
    }

    /// The same, as part of a trace.
    #[must_use]
    pub fn with_trace(mut self, trace: impl Into<RequestTrace>) -> Self {
        let RequestTrace { context, parent, extra } = trace.into();
        (self.trace, self.trace_parent, self.trace_extra) = (Some(context), parent, extra);
        self
    }

    /// The request's id.
    pub fn id(&self) -> &RequestId {
        &self.id
    }

    /// The client's address, as far as it can be trusted.
    pub fn client(&self) -> IpAddr {
        self.client
    }

    /// The trace that the request is part of, and the span that stands for it. `None` when there is none: traces are
    /// off. The span that a line of code runs in may be one below: [`traces::current`](crate::traces::current).
    pub fn trace(&self) -> Option<TraceContext> {
        self.trace
    }

    /// The caller's span, if it told of one.
    pub fn trace_parent(&self) -> Option<SpanId> {
        self.trace_parent
    }

    pub(crate) fn trace_extra(&self) -> Option<&Extra> {
        self.trace_extra.as_deref()
    }

    /// The request's span, if it is recorded.
    pub(crate) fn recording(&self) -> Option<Recording> {
        let tracer = self.trace_extra()?.tracer.as_ref()?;
        Some(Recording::new(tracer.clone(), self.trace?))
    }

    /// Sets an attribute of the request's span, if it is recorded.
    pub fn set_attribute(&self, name: impl Into<Cow<'static, str>>, value: impl Into<Value>) {
        if let Some(extra) = self.trace_extra() {
            extra.set_attribute(name.into(), value.into());
        }
    }

    /// Who asks, once authentication has told.
    pub fn user(&self) -> Option<&str> {
        self.user.get().map(AsRef::as_ref)
    }

    /// Says who asks. The first answer stays.
    pub fn set_user(&self, user: &str) {
        let _ = self.user.set(user.into());
    }

    /// Index of the matched route; `None` until a route's handler is reached.
    pub fn route(&self) -> Option<u32> {
        self.route.load(Ordering::Relaxed).checked_sub(1)
    }

    /// Says which route serves the request.
    pub fn set_route(&self, index: u32) {
        self.route.store(index + 1, Ordering::Relaxed);
    }

    /// The statements that the database ran for this request, and the time they took without waiting for a
    /// connection.
    pub fn database(&self) -> &Tally {
        &self.database
    }

    /// The operations that the cache did for this request, and the time they took.
    pub fn cache(&self) -> &Tally {
        &self.cache
    }

    /// What the pipeline keeps with a request for itself; `None` before it has been made. One value of one type.
    pub fn beside<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.beside.0.get()?.downcast_ref()
    }

    /// The same, made now if it is not there. `None` when there is a value of another type.
    pub fn beside_or<T: Any + Send + Sync>(&self, make: impl FnOnce() -> T) -> Option<&T> {
        self.beside.0.get_or_init(|| Box::new(make())).downcast_ref()
    }
}

/// Costs a request that does not use it no allocation.
#[derive(Default)]
struct Beside(OnceLock<Box<dyn Any + Send + Sync>>);

impl fmt::Debug for Beside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Beside").finish_non_exhaustive()
    }
}

/// How often something was done for a request, and how long that took together. What is done at the same time counts
/// for each.
#[derive(Debug, Default)]
pub struct Tally {
    count: AtomicU32,
    nanoseconds: AtomicU64,
}

impl Tally {
    /// Adds one that took this long.
    pub fn add(&self, took: Duration) {
        self.count.fetch_add(1, Ordering::Relaxed);
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// How many there were.
    pub fn count(&self) -> u32 {
        self.count.load(Ordering::Relaxed)
    }

    /// How long they took together.
    pub fn duration(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed))
    }
}

/// Asks the request that this code runs for. `None` outside a request.
pub fn current<R>(ask: impl FnOnce(&RequestScope) -> R) -> Option<R> {
    CURRENT.with(|current| current.try_borrow().ok()?.as_deref().map(ask))
}

/// The scope itself, to hold on to.
#[must_use]
pub fn current_scope() -> Option<Arc<RequestScope>> {
    CURRENT.with(|current| current.try_borrow().ok()?.clone())
}

/// Runs `work` inside `scope`, and puts back what was there before, also when `work` panics. The scope is
/// moved in and out of its slot, so entering costs no reference count.
pub fn enter<R>(scope: &mut Option<Arc<RequestScope>>, work: impl FnOnce() -> R) -> R {
    struct Leave<'a> {
        slot: &'a mut Option<Arc<RequestScope>>,
        before: Option<Arc<RequestScope>>,
    }
    impl Drop for Leave<'_> {
        fn drop(&mut self) {
            *self.slot = CURRENT.replace(self.before.take());
        }
    }
    let before = CURRENT.replace(scope.take());
    let _leave = Leave { slot: scope, before };
    work()
}

/// The request at hand and the span in it, to take along to another thread.
#[derive(Debug, Default)]
pub struct Surroundings {
    scope: Option<Arc<RequestScope>>,
    span: Option<Recording>,
}

impl Surroundings {
    /// Those of the code at hand.
    #[must_use]
    pub fn here() -> Self {
        Self { scope: current_scope(), span: below_request() }
    }

    /// Runs `work` as if it were called there.
    pub fn enter<R>(&mut self, work: impl FnOnce() -> R) -> R {
        let span = &self.span;
        enter(&mut self.scope, || match span {
            Some(span) => span.enter(work),
            None => work(),
        })
    }
}

/// Takes the current request, and the span in it, along into a spawned task.
///
/// ```no_run
/// # async fn send_mail() {}
/// # async fn example() {
/// tokio::spawn(covet_telemetry::request::carry(async { send_mail().await }));
/// # }
/// ```
pub fn carry<F: Future>(work: F) -> Carried<F> {
    Carried { surroundings: Surroundings::here(), work: Box::pin(work) }
}

/// See [`carry`].
#[derive(Debug)]
pub struct Carried<F> {
    surroundings: Surroundings,
    work: Pin<Box<F>>,
}

impl<F: Future> Future for Carried<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.get_mut();
        this.surroundings.enter(|| this.work.as_mut().poll(context))
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    fn scope(id: &str) -> Option<Arc<RequestScope>> {
        let id = RequestId::parse(id.as_bytes()).unwrap();
        Some(Arc::new(RequestScope::new(id, IpAddr::V4(Ipv4Addr::LOCALHOST))))
    }

    fn current_id() -> Option<String> {
        current(|scope| scope.id().to_string())
    }

    #[test]
    fn scopes_nest_and_are_left_even_by_a_panic() {
        let (mut outer, mut inner) = (scope("outer"), scope("inner"));
        enter(&mut outer, || {
            let caught = catch_unwind(AssertUnwindSafe(|| enter(&mut inner, || panic!("inside"))));
            assert!(caught.is_err());
            assert_eq!(current_id().as_deref(), Some("outer"));
        });
        assert_eq!(current_id(), None);
        assert!(outer.is_some() && inner.is_some());
    }

    #[test]
    fn what_is_done_at_once_counts_for_each() {
        let scope = scope("r1").unwrap();
        std::thread::scope(|threads| {
            for _ in 0..4 {
                threads.spawn(|| (0..1_000).for_each(|_| scope.database().add(Duration::from_micros(3))));
            }
        });
        assert_eq!((scope.database().count(), scope.database().duration()), (4_000, Duration::from_millis(12)));
        assert_eq!((scope.cache().count(), scope.cache().duration()), (0, Duration::ZERO));
    }

    #[test]
    fn code_inside_a_request_knows_its_trace() {
        let header = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let trace = TraceContext::parse(header).unwrap();
        let id = RequestId::parse(b"r1").unwrap();
        let scope = RequestScope::new(id, IpAddr::V4(Ipv4Addr::LOCALHOST)).with_trace(trace);
        assert_eq!(enter(&mut Some(Arc::new(scope)), crate::traces::current), Some(trace));
        assert_eq!(crate::traces::current(), None);
    }

    #[tokio::test]
    async fn a_spawned_task_has_the_request_only_when_carried() {
        let mut outer = scope("r1");
        let (carried, bare) =
            enter(&mut outer, || (tokio::spawn(carry(async { current_id() })), tokio::spawn(async { current_id() })));
        assert_eq!(carried.await.unwrap().as_deref(), Some("r1"));
        assert_eq!(bare.await.unwrap(), None);
    }
}
