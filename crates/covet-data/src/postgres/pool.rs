//! Who gets which connection.
//!
//! | a caller wants | and gets |
//! |---|---|
//! | a connection of its own ([`Pool::own`], `pool/own.rs`) | an unused one, else a new one, else its turn in a queue |
//! | to run something quick ([`Pool::lane`], `pool/lanes.rs`) | a place behind others on a lane, if little is ahead |
//!
//! Connections change between the two uses. What keeps the pool in shape (replacing what is lost, closing what is
//! unused, finding the server that takes writes) is in `keeper.rs`; opening is in `open.rs`.

mod lanes;
mod own;
mod upkeep;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use covet_core::clock::Clock;
use tokio::runtime::{Handle, Id};
use tokio::sync::{Notify, oneshot};
use tokio_postgres::SimpleQueryMessage;

use super::Access;
use super::connection::Connection;
use super::open::{Facts, Opener};
use crate::db::Connections;
use crate::instruments::connection_failed;
use crate::settings::DatabaseSettings;
use crate::{Error, Result};

use lanes::Lanes;
pub(super) use lanes::QUICK;
pub(super) use own::{Abandoned, Own};
pub(super) use upkeep::Condition;

/// The connections to the primary, or to one replica.
#[derive(Debug)]
pub(super) struct Pool {
    opener: Opener,
    limits: Limits,
    clock: Clock,
    lanes: Lanes,
    state: Mutex<State>,
    /// Wakes the keeper.
    keeper: Arc<Notify>,
    /// Tells who closes that something came back.
    returned: Notify,
    /// The host that was right last time.
    server: AtomicUsize,
    /// A connection is opened only to see whether the server answers.
    asks: AtomicBool,
    born: Instant,
}

#[derive(Debug, Clone)]
pub(super) struct Limits {
    pub(super) min: usize,
    pub(super) max: usize,
    pub(super) idle_timeout: Duration,
    pub(super) acquire_timeout: Duration,
    pub(super) statement_timeout: Duration,
    pub(super) transaction_idle_timeout: Duration,
    /// A pooler is in between: no lanes, and nothing about a session lasts.
    pub(super) pooled: bool,
    queue: usize,
}

#[derive(Debug, Default)]
struct State {
    /// Open, whatever they are used for.
    all: Vec<Arc<Connection>>,
    /// Unused, the last used at the end.
    idle: Vec<Idle>,
    opening: usize,
    waiters: VecDeque<oneshot::Sender<Result<Own>>>,
    /// Why no connection can be opened. Nobody waits then; the keeper tries.
    outage: Option<Arc<str>>,
    closed: bool,
}

#[derive(Debug)]
struct Idle {
    connection: Arc<Connection>,
    since: Instant,
}

/// What a new connection is for, if nobody waits for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Anybody,
    Lane(Access),
}

impl Limits {
    fn new(settings: &DatabaseSettings) -> Self {
        Self {
            min: settings.pool_min,
            max: settings.pool_max,
            idle_timeout: settings.idle_timeout,
            acquire_timeout: settings.acquire_timeout,
            statement_timeout: settings.statement_timeout,
            transaction_idle_timeout: settings.transaction_idle_timeout,
            pooled: settings.pgbouncer,
            queue: settings.queue_limit,
        }
    }
}

impl State {
    /// Takes an unused connection: one on the caller's runtime if there is one, of those the last used.
    fn take_idle(&mut self, here: Option<Id>) -> Option<Arc<Connection>> {
        self.idle.retain(|idle| idle.connection.is_usable());
        let here = self.idle.iter().rposition(|idle| idle.connection.is_on(here));
        let index = here.or(self.idle.len().checked_sub(1))?;
        Some(self.idle.remove(index).connection)
    }

    /// How many there are and will be in a moment.
    fn count(&self) -> usize {
        self.all.len() + self.opening
    }
}

impl Pool {
    /// Opens the first connection. The keeper opens the rest of the minimum.
    pub(super) async fn open(opener: Opener, settings: &DatabaseSettings, clock: Clock) -> Result<(Arc<Self>, Facts)> {
        let pool = Self::unopened(opener, settings, clock);
        let (first, facts) = pool.opener.open(0, &pool.keeper).await.inspect_err(connection_failed)?;
        pool.opened(Ok((first, facts)), Purpose::Anybody);
        Ok((pool, facts))
    }

    /// Without a connection yet: the keeper opens all.
    pub(super) fn unopened(opener: Opener, settings: &DatabaseSettings, clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            opener,
            limits: Limits::new(settings),
            born: clock.monotonic(),
            clock,
            lanes: Lanes::default(),
            state: Mutex::default(),
            keeper: Arc::new(Notify::new()),
            returned: Notify::new(),
            server: AtomicUsize::new(0),
            asks: AtomicBool::new(false),
        })
    }

    /// Told when there is something to do for the keeper.
    pub(super) fn keeper(&self) -> Arc<Notify> {
        Arc::clone(&self.keeper)
    }

    /// The hosts, for messages.
    pub(super) fn servers(&self) -> String {
        self.opener.servers()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// True if no connection can be had.
    pub(super) fn is_out(&self) -> bool {
        let state = self.state();
        state.closed || state.outage.is_some()
    }

    /// True if this is the pool of a replica that has been promoted: it is no replica, and nothing is wrong with it.
    pub(super) fn is_promoted(&self) -> bool {
        self.opener.is_promoted()
    }

    /// What a short query of our own returns in its only row. Not measured; gives up after a second.
    pub(super) async fn query(self: &Arc<Self>, sql: &str) -> Option<Vec<Option<String>>> {
        if self.is_out() {
            return None;
        }
        let asked = async {
            let own = self.own().await.ok()?;
            own.load.begin(self.clock.monotonic());
            let answers = own.client.simple_query(sql).await;
            own.load.end();
            answers.ok()?.iter().find_map(|answer| match answer {
                SimpleQueryMessage::Row(row) => {
                    Some((0..row.len()).map(|index| row.get(index).map(ToOwned::to_owned)).collect())
                }
                _ => None,
            })
        };
        tokio::time::timeout(Duration::from_secs(1), asked).await.ok().flatten()
    }

    /// None of its connections is used again: its server is not what it was.
    pub(super) fn forsake(&self) {
        self.state().all.iter().for_each(|connection| connection.doom());
        self.keeper.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Opens a connection in the background, on the runtime of the caller: for whoever waits, or else for this purpose.
    fn open_one(self: &Arc<Self>, state: &mut State, purpose: Purpose) {
        let Ok(runtime) = Handle::try_current() else { return };
        state.opening += 1;
        let opening = Opening(Arc::clone(self));
        runtime.spawn(async move {
            let pool = &opening.0;
            let opened = pool.opener.open(pool.server.load(Ordering::Relaxed), &pool.keeper).await;
            pool.opened(opened, purpose);
        });
    }

    fn opened(self: &Arc<Self>, opened: Result<(Arc<Connection>, Facts)>, purpose: Purpose) {
        let mut state = self.state();
        match opened {
            Ok(_) if state.closed => {}
            Ok((connection, _)) => {
                self.server.store(connection.server, Ordering::Relaxed);
                if state.outage.take().is_some() {
                    let server = self.opener.server_name(connection.server);
                    tracing::info!(server, "the database server is reached again");
                }
                state.all.push(Arc::clone(&connection));
                match purpose {
                    Purpose::Lane(access) if state.waiters.is_empty() => self.lanes.add(&connection, access),
                    _ => self.hand_over(&mut state, connection),
                }
            }
            Err(error) => {
                if !self.is_promoted() {
                    connection_failed(&error);
                }
                self.could_not_open(&mut state, &error);
            }
        }
    }

    /// While other connections are there, callers wait for those. Without one, nobody is kept waiting.
    fn could_not_open(&self, state: &mut State, error: &Error) {
        let told: Arc<str> = match error {
            Error::Connection(why) => why.as_str().into(),
            error => error.to_string().into(),
        };
        if state.all.iter().any(|connection| connection.is_usable()) {
            tracing::warn!(error = &*told, "no further connection to the database can be opened");
            return;
        }
        if state.outage.is_none() {
            if self.is_promoted() {
                tracing::info!(server = self.servers(), "this server is the primary: as a replica it is not read from");
            } else {
                tracing::error!(error = &*told, "the database server is not reached; trying again and again");
            }
        }
        self.begin_outage(state, told);
    }

    /// From now on callers are refused at once, until the keeper has reached the server.
    fn begin_outage(&self, state: &mut State, told: Arc<str>) {
        for waiter in std::mem::take(&mut state.waiters) {
            let _ = waiter.send(Err(Error::Connection(told.to_string())));
        }
        state.outage = Some(told);
        self.keeper.notify_one();
    }

    /// Gives an unused connection to who has waited longest, or keeps it.
    fn hand_over(self: &Arc<Self>, state: &mut State, connection: Arc<Connection>) {
        if !connection.is_usable() {
            return self.remove(state, &connection);
        }
        let mut own = Own::new(self, connection);
        while let Some(waiter) = state.waiters.pop_front() {
            match waiter.send(Ok(own)) {
                Err(Ok(returned)) => own = returned,
                Ok(()) | Err(Err(_)) => return,
            }
        }
        state.idle.push(Idle { connection: own.into_connection(), since: self.clock.monotonic() });
        self.returned.notify_waiters();
    }

    /// A connection comes back from its user.
    fn give_back(self: &Arc<Self>, connection: Arc<Connection>) {
        let mut state = self.state();
        if connection.is_usable() && state.all.iter().any(|known| Arc::ptr_eq(known, &connection)) {
            return self.hand_over(&mut state, connection);
        }
        self.remove(&mut state, &connection);
        self.grow(&mut state, self.limits.max);
        drop(state);
        self.returned.notify_waiters();
        self.keeper.notify_one();
    }

    fn remove(&self, state: &mut State, connection: &Arc<Connection>) {
        state.all.retain(|known| !Arc::ptr_eq(known, connection));
        state.idle.retain(|idle| !Arc::ptr_eq(&idle.connection, connection));
        self.lanes.remove(connection);
    }

    /// Opens one more connection if some wait that no opening one is for, up to so many in all.
    fn grow(self: &Arc<Self>, state: &mut State, most: usize) {
        if state.outage.is_none() && state.opening < state.waiters.len() && state.count() < most {
            self.open_one(state, Purpose::Anybody);
        }
    }

    /// Learns from an error of a statement. Returns another error if that says better what happened.
    pub(super) fn learn(&self, access: Access, connection: &Connection, error: &Error) -> Option<Error> {
        match (error, access) {
            (Error::ConnectionLost(_), _) => {
                connection.doom();
                self.keeper.notify_one();
                None
            }
            // None of the connections to this server is used again, and the keeper looks for the one that takes writes.
            (Error::ReadOnly, Access::Write) => {
                let server = self.opener.server_name(connection.server);
                tracing::warn!(server, "the database server takes no writes any more; looking for the one that does");
                let same = |known: &&Arc<Connection>| known.server == connection.server;
                self.state().all.iter().filter(same).for_each(|known| known.doom());
                self.keeper.notify_one();
                Some(Error::Connection(format!("{server} takes no writes any more")))
            }
            _ => None,
        }
    }

    /// Asks the server to stop what runs on this connection.
    async fn cancel(&self, connection: &Connection) {
        if let Err(error) = self.opener.cancel(connection).await {
            tracing::debug!(%error, "a statement could not be cancelled");
        }
    }

    /// How the connections stand.
    pub(super) fn connections(&self) -> Connections {
        let state = self.state();
        let waiting = state.waiters.iter().filter(|waiter| !waiter.is_closed()).count();
        let idle = (state.idle.len() + self.lanes.unused()).min(state.all.len());
        Connections { active: state.all.len() - idle, idle, waiting }
    }
}

/// A connection being opened. It counts until it is there, also if its runtime ends before.
struct Opening(Arc<Pool>);

impl Drop for Opening {
    fn drop(&mut self) {
        self.0.state().opening -= 1;
        self.0.returned.notify_waiters();
        self.0.keeper.notify_one();
    }
}

/// The runtime of the caller.
fn runtime() -> Option<Id> {
    Handle::try_current().ok().map(|handle| handle.id())
}
