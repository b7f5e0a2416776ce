//! A connection that is kept: opened anew when it is lost, when its server hangs, and when another server has taken over.
//!
//! One task does it, so that callers neither open connections nor race for them. Between an outage and its end that task is
//! the circuit breaker: calls fail at once, and it alone tries, with growing pauses that differ from instance to instance.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use covet_core::backoff::Backoff;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::connect::{Connector, Live, Role};
use super::failure::{Failure, Outage};
use super::instruments::failed_over;
use super::sentinel::Sentinels;
use super::target::Host;

/// The first pause between two attempts to connect; it doubles up to `COVET_CACHE__BREAKER_PAUSE`.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// A connection that breaks sooner is not replaced at once.
const SHORT_LIFE: Duration = Duration::from_secs(1);
/// The sentinels are asked so often even if nothing seems to have happened.
const ROUND: Duration = Duration::from_secs(10);

/// What its task is to do.
const SUSPECTED: u8 = 1;
const USELESS: u8 = 2;
const NEWS: u8 = 4;

/// The connection, or why there is none. Dropped, it is closed.
pub(super) struct Kept {
    shared: Arc<Shared>,
    _end: DropGuard,
}

/// What the task works on.
struct Shared {
    /// What it is called in messages.
    name: String,
    state: ArcSwap<State>,
    /// Another state.
    changed: Notify,
    /// Calls without an answer, one after another.
    unanswered: AtomicU32,
    limits: Limits,
    orders: AtomicU8,
    ordered: Notify,
}

/// Tells the task that the master may be another one.
#[derive(Clone)]
pub(super) struct News(Arc<Shared>);

enum State {
    /// A moment: callers wait.
    Opening,
    Up(Arc<Live>),
    Down(Arc<Outage>),
}

/// When a connection is given up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) answer_timeout: Duration,
    /// Calls without an answer, one after another.
    pub(super) failures: u32,
    /// The longest pause between two attempts to connect.
    pub(super) pause: Duration,
}

/// Where the connection goes.
pub(super) enum Finder {
    /// Always to the same name.
    At(Arc<Connector>, Host, Role),
    /// To the master.
    Sentinels(Arc<Sentinels>),
}

/// Told when a connection is lost, could not be opened, or is there.
pub(super) type Listener = Arc<Notify>;

impl Kept {
    /// Begins to connect, on this runtime.
    pub(super) fn start(finder: Finder, limits: Limits, listener: Option<Listener>, runtime: &Handle) -> Self {
        let shared = Arc::new(Shared {
            name: finder.name(),
            state: ArcSwap::from_pointee(State::Opening),
            changed: Notify::new(),
            unanswered: AtomicU32::new(0),
            limits,
            orders: AtomicU8::new(0),
            ordered: Notify::new(),
        });
        if let Finder::Sentinels(sentinels) = &finder {
            sentinels.watch(News(Arc::clone(&shared)));
        }
        let end = CancellationToken::new();
        let backoff = Backoff::new(FIRST_PAUSE, shared.limits.pause);
        let keeper = Keeper { kept: Arc::clone(&shared), finder, listener, backoff, last: None };
        runtime.spawn(end.clone().run_until_cancelled_owned(keeper.keep()));
        Self { shared, _end: end.drop_guard() }
    }

    /// The server's address, or what it is for.
    pub(super) fn name(&self) -> &str {
        &self.shared.name
    }

    /// The connection. Waits only while one is being opened that may be there in a moment.
    pub(super) async fn live(&self) -> Result<Arc<Live>, Failure> {
        loop {
            if let Some(known) = self.known() {
                return known;
            }
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            // From now on a change is not missed.
            changed.as_mut().enable();
            if let Some(known) = self.known() {
                return known;
            }
            changed.await;
        }
    }

    /// The connection if it is there, or why there is none; `None` while it is being opened.
    fn known(&self) -> Option<Result<Arc<Live>, Failure>> {
        match &**self.shared.state.load() {
            State::Up(live) if !live.is_closed() => Some(Ok(Arc::clone(live))),
            State::Up(_) | State::Opening => None,
            State::Down(outage) => Some(Err(Failure::NotConnected(Arc::clone(outage)))),
        }
    }

    /// The connection if it is there now.
    pub(super) fn now(&self) -> Option<Arc<Live>> {
        self.known()?.ok()
    }

    pub(super) fn is_down(&self) -> bool {
        self.shared.is_down()
    }

    /// An answer came.
    pub(super) fn answered(&self) {
        if self.shared.unanswered.load(Ordering::Relaxed) > 0 {
            self.shared.unanswered.store(0, Ordering::Relaxed);
        }
    }

    /// An answer did not come in time: the server may hang, and is asked.
    pub(super) fn unanswered(&self) {
        let in_a_row = self.shared.unanswered.fetch_add(1, Ordering::Relaxed) + 1;
        self.shared.order(if in_a_row >= self.shared.limits.failures { USELESS } else { SUSPECTED });
    }

    /// This connection is of no use any more: it is broken, or its server takes no writes.
    pub(super) fn useless(&self, live: &Arc<Live>) {
        let current = self.shared.state.load();
        if matches!(&**current, State::Up(now) if Arc::ptr_eq(now, live)) {
            self.shared.state.compare_and_swap(&current, Arc::new(State::Opening));
            self.shared.order(USELESS);
        }
    }
}

impl News {
    /// Somebody says so.
    pub(super) fn tell(&self) {
        self.0.order(NEWS);
    }
}

impl Shared {
    fn is_down(&self) -> bool {
        matches!(&**self.state.load(), State::Down(_))
    }

    fn order(&self, order: u8) {
        self.orders.fetch_or(order, Ordering::Relaxed);
        self.ordered.notify_one();
    }

    fn set(&self, state: State) {
        self.state.store(Arc::new(state));
        self.changed.notify_waiters();
    }
}

impl Finder {
    fn name(&self) -> String {
        match self {
            Self::At(_, host, _) => host.to_string(),
            Self::Sentinels(sentinels) => format!("the master {}", sentinels.master_name()),
        }
    }

    async fn find(&self) -> Result<Live, Failure> {
        match self {
            Self::At(connector, host, role) => connector.open(host, *role, None).await,
            Self::Sentinels(sentinels) => sentinels.find().await,
        }
    }

    /// A connection to another server than this one, if that is right now.
    async fn find_other(&self, live: &Live) -> Option<Live> {
        match self {
            Self::At(..) => None,
            Self::Sentinels(sentinels) => sentinels.find_other(&live.host).await,
        }
    }
}

struct Keeper {
    kept: Arc<Shared>,
    finder: Finder,
    listener: Option<Listener>,
    backoff: Backoff,
    /// The server that it went to last.
    last: Option<Host>,
}

impl Keeper {
    async fn keep(mut self) {
        loop {
            match self.finder.find().await {
                Ok(live) => {
                    let live = Arc::new(live);
                    self.up(&live);
                    let since = Instant::now();
                    self.tend(live).await;
                    if since.elapsed() >= SHORT_LIFE {
                        self.backoff.reset();
                        if !self.kept.is_down() {
                            continue;
                        }
                    }
                }
                Err(failure) => self.down(failure),
            }
            self.rest().await;
        }
    }

    /// Watches over the connection until it has to be replaced.
    async fn tend(&mut self, mut live: Arc<Live>) {
        let kept = Arc::clone(&self.kept);
        loop {
            // Not all instances at once.
            let round = ROUND.mul_f64(0.5 + fastrand::f64());
            let orders = tokio::select! {
                () = live.closed() => USELESS,
                () = kept.ordered.notified() => kept.orders.swap(0, Ordering::Relaxed),
                () = sleep(round) => NEWS,
            };
            if orders & (NEWS | USELESS) != 0
                && let Some(other) = self.finder.find_other(&live).await
            {
                live = Arc::new(other);
                self.up(&live);
                continue;
            }
            if orders & USELESS != 0 {
                let unanswered = kept.unanswered.load(Ordering::Relaxed);
                if unanswered >= kept.limits.failures && !live.is_closed() {
                    let limit = kept.limits.answer_timeout;
                    let reason = format!("{}: {unanswered} calls in a row had no answer within {limit:?}", live.host);
                    self.down(Failure::outage(reason));
                } else {
                    kept.set(State::Opening);
                    self.tell();
                }
                return;
            }
            if orders & SUSPECTED != 0
                && let Err(failure) = live.answers(kept.limits.answer_timeout).await
            {
                self.down(failure);
                return;
            }
        }
    }

    /// A pause before the next attempt, which news end.
    async fn rest(&mut self) {
        let kept = &*self.kept;
        let over = Instant::now() + self.backoff.pause();
        loop {
            tokio::select! {
                () = sleep_until(over) => return,
                () = kept.ordered.notified() => {
                    if kept.orders.swap(0, Ordering::Relaxed) & NEWS != 0 {
                        return;
                    }
                }
            }
        }
    }

    fn up(&mut self, live: &Arc<Live>) {
        if let Some(last) = self.last.replace(live.host.clone())
            && last != live.host
        {
            tracing::info!(from = %last, to = %live.host, "Redis has another master now");
            failed_over();
        }
        if self.kept.is_down() {
            tracing::info!(server = %live.host, "Redis is reached again");
        }
        // What was ordered concerned the connection before; news may be newer than this one.
        self.kept.orders.fetch_and(NEWS, Ordering::Relaxed);
        self.kept.unanswered.store(0, Ordering::Relaxed);
        self.kept.set(State::Up(Arc::clone(live)));
        self.tell();
    }

    fn down(&self, failure: Failure) {
        let outage = match failure {
            Failure::NotConnected(outage) => outage,
            failure => Arc::new(Outage { reason: format!("{}: {failure}", self.kept.name), refused: false }),
        };
        if !self.kept.is_down() {
            tracing::warn!(error = outage.reason, "Redis is not reached; trying again and again");
        }
        self.kept.set(State::Down(outage));
        self.tell();
    }

    fn tell(&self) {
        if let Some(listener) = &self.listener {
            listener.notify_one();
        }
    }
}
