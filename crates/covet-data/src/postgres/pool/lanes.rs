//! Connections on which quick statements of many callers follow one another.
//!
//! PostgreSQL runs the statements of a connection in order, so one that is slow holds up those behind it. Three rules keep
//! that short:
//!
//! - only a statement that tends to be quick goes on a lane ([`QUICK`]), and only while what is ahead of it is expected
//!   to take little ([`AHEAD`], then [`MOST_AHEAD`]);
//! - behind one that the server has not answered after 10 ms nobody queues any more ([`OVERDUE`], `wire.rs`);
//! - the server stops a statement on a lane after 50 ms (`session.rs`). It has done nothing then, and runs again on a
//!   connection of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::runtime::Id;

use super::{Access, Pool, Purpose, runtime};
use crate::postgres::connection::Connection;
use crate::postgres::load::{Left, Place};
use crate::postgres::session::Session;
use crate::statement::Estimate;

/// A statement that takes longer on average does not go on a lane.
pub(in crate::postgres) const QUICK: Duration = Duration::from_millis(5);
/// What may be ahead on a lane before another lane is looked for.
const AHEAD: Duration = Duration::from_millis(1);
/// What may be ahead where there is no other lane to be had.
const MOST_AHEAD: Duration = Duration::from_millis(20);
/// Behind a statement without an answer for so long nobody queues.
const OVERDUE: Duration = Duration::from_millis(10);
/// How often it is tried to have one more lane.
const RETRY: Duration = Duration::from_millis(5);

#[derive(Debug, Default)]
pub(super) struct Lanes {
    read: Kind,
    write: Kind,
}

#[derive(Debug, Default)]
struct Kind {
    connections: ArcSwap<Vec<Arc<Connection>>>,
    /// When one more was tried to be had, in microseconds of the pool's life.
    tried: AtomicU64,
}

/// A place on a lane. Dropped before its answer is there, it is kept until then.
#[derive(Debug)]
pub(in crate::postgres) struct OnLane {
    pool: Arc<Pool>,
    connection: Arc<Connection>,
    place: Option<Place>,
}

impl Pool {
    /// A place for a statement that is expected to be quick. `None`: there is none; it needs a connection of its own.
    pub(in crate::postgres) fn lane(self: &Arc<Self>, access: Access, expected: Estimate) -> Option<OnLane> {
        let (now, here) = (self.clock.monotonic(), runtime());
        let expected = expected.floor_micros();
        let lanes = self.lanes.of(access).connections.load();
        let enter = |connection: &Arc<Connection>, most| {
            let good = connection.is_usable() && connection.wire.silent_for() <= OVERDUE;
            let place = good.then(|| connection.load.enter(access, expected, most, now))??;
            Some(OnLane { pool: Arc::clone(self), connection: Arc::clone(connection), place: Some(place) })
        };
        let (mut local, mut distant) = (lanes.iter().filter(|lane| lane.is_on(here)), lanes.iter());
        // The first that has room, so that statements travel together.
        local
            .find_map(|lane| enter(lane, AHEAD))
            .or_else(|| self.one_more_lane(access, here, now).and_then(|lane| enter(&lane, AHEAD)))
            .or_else(|| distant.find_map(|lane| enter(lane, AHEAD)))
            .or_else(|| {
                let good = lanes.iter().filter(|lane| lane.wire.silent_for() <= OVERDUE);
                good.min_by_key(|lane| lane.load.backlog()).and_then(|lane| enter(lane, MOST_AHEAD))
            })
    }

    /// Makes a lane of an unused connection, or has one opened for later.
    fn one_more_lane(self: &Arc<Self>, access: Access, here: Option<Id>, now: Instant) -> Option<Arc<Connection>> {
        let kind = self.lanes.of(access);
        let lanes = kind.connections.load().len();
        if lanes >= (self.limits.max / 2).max(1) || !kind.may_try(self.age(now)) {
            return None;
        }
        let mut state = self.state();
        if state.closed || !state.waiters.is_empty() {
            return None;
        }
        let idle_here = state.idle.iter().any(|idle| idle.connection.is_on(here));
        let lane = if idle_here || lanes == 0 { state.take_idle(here) } else { None };
        if let Some(lane) = &lane {
            self.lanes.add(lane, access);
            // When this one is full, one more may be asked for at once.
            kind.tried.store(0, Ordering::Relaxed);
        }
        if !idle_here && state.count() < self.limits.max && state.outage.is_none() {
            self.open_one(&mut state, Purpose::Lane(access));
        }
        lane
    }

    /// Microseconds since the first connection was opened.
    fn age(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.born).as_micros()).unwrap_or(u64::MAX)
    }
}

impl Kind {
    fn may_try(&self, age: u64) -> bool {
        let tried = self.tried.load(Ordering::Relaxed);
        let retry = u64::try_from(RETRY.as_micros()).unwrap_or(u64::MAX);
        (tried == 0 || age.saturating_sub(tried) > retry)
            && self.tried.compare_exchange(tried, age.max(1), Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// Changes are made under the pool's lock.
impl Lanes {
    fn of(&self, access: Access) -> &Kind {
        match access {
            Access::Read => &self.read,
            Access::Write => &self.write,
        }
    }

    fn kinds(&self) -> [&Kind; 2] {
        [&self.read, &self.write]
    }

    /// Makes a lane of a connection that nobody uses.
    pub(super) fn add(&self, connection: &Arc<Connection>, access: Access) {
        // Sent before the first statement can be.
        connection.switch(Session::Lane(access));
        connection.load.become_lane(access);
        self.of(access).connections.rcu(|lanes| {
            let mut lanes = Vec::clone(lanes);
            lanes.push(Arc::clone(connection));
            lanes
        });
    }

    pub(super) fn remove(&self, connection: &Arc<Connection>) {
        for kind in self.kinds() {
            if kind.connections.load().iter().any(|lane| Arc::ptr_eq(lane, connection)) {
                kind.connections.rcu(|lanes| {
                    lanes.iter().filter(|lane| !Arc::ptr_eq(lane, connection)).cloned().collect::<Vec<_>>()
                });
            }
        }
    }

    /// Takes a lane on which nothing is, leaving so many lanes of each kind.
    pub(super) fn take_unused(&self, kept: usize) -> Option<Arc<Connection>> {
        self.kinds().into_iter().find_map(|kind| {
            let lanes = kind.connections.load();
            let takes = lanes.len() > kept;
            let unused = |lane: &&Arc<Connection>| lane.load.in_flight() == 0 && lane.load.drain() == Left::Free;
            let taken = lanes.iter().rev().filter(|_| takes).find(unused)?;
            self.remove(taken);
            taken.load.stop_being_lane();
            Some(Arc::clone(taken))
        })
    }

    /// Takes a lane that was unused for so long.
    pub(super) fn take_unused_for(&self, limit: Duration, now: Instant) -> Option<Arc<Connection>> {
        self.kinds().into_iter().find_map(|kind| {
            let lanes = kind.connections.load();
            let unused = |lane: &&Arc<Connection>| lane.load.unused_for(now).is_some_and(|unused| unused > limit);
            let taken = lanes.iter().filter(unused).find(|lane| lane.load.drain() == Left::Free)?;
            self.remove(taken);
            taken.load.stop_being_lane();
            Some(Arc::clone(taken))
        })
    }

    /// Has the lane with the least on it take nothing more. It is handed over when the last statement has its answer;
    /// given back here if there is none.
    pub(super) fn drain_one(&self) -> Option<Arc<Connection>> {
        let lanes = self.kinds().map(|kind| kind.connections.load_full());
        let emptiest = lanes.iter().flat_map(|lanes| lanes.iter()).min_by_key(|lane| lane.load.in_flight())?;
        self.remove(emptiest);
        if emptiest.load.drain() == Left::Kept {
            return None;
        }
        emptiest.load.stop_being_lane();
        Some(Arc::clone(emptiest))
    }

    /// Lanes on which nothing is.
    pub(super) fn unused(&self) -> usize {
        let unused = |kind: &Kind| kind.connections.load().iter().filter(|lane| lane.load.in_flight() == 0).count();
        self.kinds().into_iter().map(unused).sum()
    }
}

impl OnLane {
    pub(in crate::postgres) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// The answer is there. Returns since when it was this statement's turn.
    pub(in crate::postgres) fn leave(mut self, now: Instant) -> Instant {
        let Some(place) = self.place.take() else { return now };
        leave(&self.pool, &self.connection, place, now)
    }
}

fn leave(pool: &Arc<Pool>, connection: &Arc<Connection>, place: Place, now: Instant) -> Instant {
    let (began, left) = connection.load.leave(place, now);
    if left == Left::Free {
        connection.load.stop_being_lane();
        pool.give_back(Arc::clone(connection));
    }
    began
}

impl Drop for OnLane {
    fn drop(&mut self) {
        let Some(place) = self.place.take() else { return };
        let (pool, connection) = (Arc::clone(&self.pool), Arc::clone(&self.connection));
        let answered = connection.answered();
        self.connection.runtime.spawn(async move {
            answered.await;
            let now = pool.clock.monotonic();
            leave(&pool, &connection, place, now);
        });
    }
}
