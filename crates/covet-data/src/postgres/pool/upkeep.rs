//! What a pool needs from time to time. Called by the keeper (`keeper.rs`), on its runtime.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::{Pool, Purpose, State};
use crate::postgres::connection::{Connection, Ended};
use crate::postgres::session::LANE_LIMIT;

/// The server enforces the limits of statements. Who does not answer this long after them does not answer at all.
const HUNG_AFTER: Duration = Duration::from_secs(2);

/// How a pool is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::postgres) enum Condition {
    Well,
    /// No connection can be opened.
    Outage,
    Closed,
}

impl Pool {
    /// Takes out what has ended, ends what hangs or is unused for too long, and opens what is missing.
    pub(in crate::postgres) fn tend(self: &Arc<Self>) -> Condition {
        let now = self.clock.monotonic();
        let mut state = self.state();
        if state.closed {
            return Condition::Closed;
        }
        self.end_hung(&mut state, now);
        self.take_out_ended(&mut state);
        self.close_unused(&mut state, now);
        if state.outage.is_some() {
            return Condition::Outage;
        }
        let missing = self.limits.min.saturating_sub(state.count());
        let unserved =
            state.waiters.len().saturating_sub(state.opening).min(self.limits.max - state.count().min(self.limits.max));
        for _ in 0..missing.max(unserved) {
            self.open_one(&mut state, Purpose::Anybody);
        }
        Condition::Well
    }

    /// Tries to open a connection while there is an outage.
    pub(in crate::postgres) async fn probe(self: &Arc<Self>) {
        let opened = self.opener.open(self.server.load(Ordering::Relaxed), &self.keeper).await;
        self.opened(opened, Purpose::Anybody);
    }

    /// Ends connections whose server gives no answer, long after it should have stopped what runs on them by itself.
    fn end_hung(self: &Arc<Self>, state: &mut State, now: Instant) {
        let silent = |connection: &&Arc<Connection>| {
            let own = state.idle.iter().all(|idle| !Arc::ptr_eq(&idle.connection, connection));
            let busy = own && !connection.load.is_lane();
            let limit = if busy { self.limits.statement_timeout } else { LANE_LIMIT };
            connection.load.is_timed() && connection.wire.unanswered_for(now) > limit + HUNG_AFTER
        };
        let hung: Vec<_> = state.all.iter().filter(silent).cloned().collect();
        let Some(first) = hung.first() else { return self.ask_whether_hung(state, now) };
        // If it has answered others meanwhile, it is only these connections.
        let since = hung.iter().map(|connection| connection.wire.unanswered_for(now)).max().unwrap_or_default();
        if state.all.iter().any(|connection| connection.wire.has_answered_within(since, now)) {
            let server = self.opener.server_name(first.server);
            tracing::warn!(server, connections = hung.len(), "database connections give no answer and are closed");
            hung.iter().for_each(|connection| self.end_as_hung(connection));
            return;
        }
        self.give_up(state, first.server);
    }

    /// Ends all connections: the server gives no answer.
    fn give_up(self: &Arc<Self>, state: &mut State, server: usize) {
        let server = self.opener.server_name(server);
        tracing::error!(server, "the database server gives no answer; trying again and again");
        state.all.iter().for_each(|connection| self.end_as_hung(connection));
        self.begin_outage(state, format!("{server} gives no answer").into());
    }

    /// Ends a connection, and what runs on it. A server may never notice the former: a commit that waits for a replica waits
    /// on, beside whatever is opened in its place, until the server has no connections left.
    fn end_as_hung(self: &Arc<Self>, connection: &Arc<Connection>) {
        connection.kill(Ended::Hung);
        let (pool, connection) = (Arc::clone(self), Arc::clone(connection));
        tokio::spawn(async move { timeout(HUNG_AFTER, pool.cancel(&connection)).await });
    }

    /// Where something takes long on every connection that is in use, an unused one tells whether the server answers at
    /// all; where there is none, opening one.
    fn ask_whether_hung(self: &Arc<Self>, state: &State, now: Instant) {
        let Some(slow) = state.all.iter().find(|connection| connection.wire.unanswered_for(now) > HUNG_AFTER) else {
            return;
        };
        let idle = state.idle.iter().map(|idle| &idle.connection);
        let lanes = state.all.iter().filter(|connection| connection.load.is_lane() && connection.load.in_flight() == 0);
        match idle.chain(lanes).find(|connection| connection.is_usable()) {
            // It has been asked already.
            Some(unused) if !unused.wire.unanswered_for(now).is_zero() => {}
            Some(unused) => drop(unused.runtime.spawn(unused.answered())),
            None => self.ask_by_opening(slow.server, now),
        }
    }

    /// Opens a connection to the server, and closes it, to see whether it answers. Not more often than every now and then.
    fn ask_by_opening(self: &Arc<Self>, server: usize, asked: Instant) {
        if self.asks.swap(true, Ordering::AcqRel) {
            return;
        }
        let pool = Arc::clone(self);
        tokio::spawn(async move {
            if pool.opener.is_silent(server, &pool.keeper).await {
                let (mut state, now) = (pool.state(), pool.clock.monotonic());
                let since = now.saturating_duration_since(asked);
                let answered = state.all.iter().any(|connection| connection.wire.has_answered_within(since, now));
                if !answered && !state.closed && state.outage.is_none() {
                    pool.give_up(&mut state, server);
                }
            }
            tokio::time::sleep(HUNG_AFTER).await;
            pool.asks.store(false, Ordering::Release);
        });
    }

    fn take_out_ended(&self, state: &mut State) {
        let ended = |connection: &&Arc<Connection>| {
            connection.client.is_closed() || !connection.is_usable() && connection.load.in_flight() == 0
        };
        let ended: Vec<_> = state.all.iter().filter(ended).cloned().collect();
        for connection in ended {
            self.remove(state, &connection);
        }
    }

    fn close_unused(&self, state: &mut State, now: Instant) {
        let limit = self.limits.idle_timeout;
        while state.all.len() > self.limits.min {
            // Which of them have a runtime with callers cannot be told; the one unused for longest goes first.
            let idle = state.idle.iter().min_by_key(|idle| idle.since);
            let Some(idle) = idle.filter(|idle| now.saturating_duration_since(idle.since) > limit) else { break };
            let connection = Arc::clone(&idle.connection);
            self.remove(state, &connection);
        }
        while state.all.len() > self.limits.min
            && let Some(connection) = self.lanes.take_unused_for(limit, now)
        {
            self.remove(state, &connection);
        }
    }

    /// Finishes what waits and what runs, then closes all connections.
    pub(in crate::postgres) async fn close(self: &Arc<Self>) {
        self.state().closed = true;
        loop {
            let returned = self.returned.notified();
            let finished = {
                let mut state = self.state();
                while let Some(connection) = self.lanes.take_unused(0).or_else(|| self.lanes.drain_one()) {
                    self.hand_over(&mut state, connection);
                }
                self.take_out_ended(&mut state);
                state.waiters.retain(|waiter| !waiter.is_closed());
                state.waiters.is_empty() && state.opening == 0 && state.idle.len() == state.all.len()
            };
            if finished {
                break;
            }
            // Also looks by itself: a connection that breaks is not given back.
            let _ = timeout(Duration::from_millis(20), returned).await;
        }
        let all = {
            let mut state = self.state();
            state.idle.clear();
            std::mem::take(&mut state.all)
        };
        self.keeper.notify_one();
        for connection in all {
            let status = Arc::clone(&connection.status);
            // With the last client gone, the task says good-bye to the server and ends.
            drop(connection);
            let _ = timeout(Duration::from_secs(1), status.end()).await;
        }
    }
}
