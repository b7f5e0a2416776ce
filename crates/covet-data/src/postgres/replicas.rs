//! The replicas: which of them are fresh enough to read from.
//!
//! How far a replica is behind is told in time, without trusting anybody's clock: every half second the primary is asked
//! how far it has written, and the replica how far it has repeated that. It is behind by as long as it is since the
//! primary was where the replica is now. Where nothing is written, it is not behind.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::pool::Pool;
use super::position::{Lsn, Position};

/// Measurements of the primary that are kept: two minutes of them.
const KEPT: usize = 240;

/// All replicas; perhaps none.
#[derive(Debug)]
pub(super) struct Replicas {
    list: Vec<Replica>,
    /// Which one is next.
    turn: AtomicUsize,
    /// When the primary had written how far, oldest first.
    written: Mutex<VecDeque<(Instant, Lsn)>>,
    max_lag: Duration,
}

#[derive(Debug)]
struct Replica {
    pool: Arc<Pool>,
    /// It is not too far behind.
    fresh: AtomicBool,
    /// How far it has come, as far as is known.
    replayed: AtomicU64,
}

impl Replicas {
    pub(super) fn new(pools: Vec<Arc<Pool>>, max_lag: Duration) -> Arc<Self> {
        let replica = |pool| Replica { pool, fresh: AtomicBool::new(false), replayed: AtomicU64::new(0) };
        let list = pools.into_iter().map(replica).collect();
        Arc::new(Self { list, turn: AtomicUsize::new(0), written: Mutex::default(), max_lag })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) fn pools(&self) -> impl Iterator<Item = &Arc<Pool>> {
        self.list.iter().map(|replica| &replica.pool)
    }

    /// How many can be read from, of how many. One that has been promoted is none of them: whoever lists all servers
    /// as replicas, because each may be one, misses nothing.
    pub(super) fn fresh_of_all(&self) -> (usize, usize) {
        let replicas = self.list.iter().filter(|replica| !replica.pool.is_promoted());
        replicas.fold((0, 0), |(fresh, all), replica| (fresh + usize::from(replica.is_fresh(None)), all + 1))
    }

    /// One that is fresh enough, and has come at least as far as `position`; each time another.
    pub(super) fn choose(&self, position: Option<&Position>) -> Option<&Arc<Pool>> {
        if self.list.is_empty() {
            return None;
        }
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        let in_turn = (0..self.list.len()).map(|n| &self.list[(first.wrapping_add(n)) % self.list.len()]);
        in_turn.into_iter().find(|replica| replica.is_fresh(position)).map(|replica| &replica.pool)
    }

    fn written(&self) -> MutexGuard<'_, VecDeque<(Instant, Lsn)>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks all servers how far they are.
    pub(super) async fn measure(&self, primary: &Arc<Pool>) {
        let asked = primary.clock().monotonic();
        let answer = primary.query("SELECT pg_current_wal_lsn()::text").await;
        if let Some(lsn) = answer.and_then(|row| row.first()?.as_deref()?.parse().ok()) {
            let mut written = self.written();
            written.push_back((asked, lsn));
            if written.len() > KEPT {
                written.pop_front();
            }
        }
        join_all(self.list.iter().map(|replica| replica.measure(self))).await;
    }

    /// How far behind somebody is who has come to `replayed`.
    fn lag(&self, replayed: Lsn, now: Instant) -> Duration {
        let written = self.written();
        if written.back().is_none_or(|(_, newest)| *newest <= replayed) {
            return Duration::ZERO;
        }
        let there = written.iter().rev().find(|(_, lsn)| *lsn <= replayed);
        there.map_or(Duration::MAX, |(at, _)| now.saturating_duration_since(*at))
    }
}

impl Replica {
    fn is_fresh(&self, position: Option<&Position>) -> bool {
        let reached = position.and_then(Position::lsn).is_none_or(|lsn| self.replayed.load(Ordering::Acquire) >= lsn.0);
        reached && self.fresh.load(Ordering::Acquire) && !self.pool.is_out()
    }

    async fn measure(&self, all: &Replicas) {
        let answer = self.pool.query("SELECT pg_is_in_recovery()::int::text, pg_last_wal_replay_lsn()::text").await;
        let (in_recovery, replayed) = match answer.as_deref() {
            Some([in_recovery, replayed]) => (in_recovery.as_deref() == Some("1"), replayed.as_deref()),
            _ => (true, None),
        };
        let replayed: Option<Lsn> = replayed.and_then(|lsn| lsn.parse().ok());
        if let Some(replayed) = replayed {
            self.replayed.store(replayed.0, Ordering::Release);
        }
        if !in_recovery {
            // It has become a primary, and may from now on know what nobody else does.
            self.pool.forsake();
        }
        let lag = replayed.filter(|_| in_recovery).map(|replayed| all.lag(replayed, self.pool.clock().monotonic()));
        let fresh = lag.is_some_and(|lag| lag <= all.max_lag);
        if self.fresh.swap(fresh, Ordering::AcqRel) == fresh {
            return;
        }
        let server = self.pool.servers();
        if fresh {
            tracing::info!(server, "reads go to this replica");
        } else {
            let lag_ms = lag.map(|lag| u64::try_from(lag.as_millis()).unwrap_or(u64::MAX));
            tracing::warn!(
                server,
                lag_ms,
                "reads do not go to this replica any more: it is too far behind or not reached"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use covet_core::clock::Clock;

    use super::*;

    #[test]
    fn behind_is_since_the_primary_was_there() {
        let start = Clock::system().monotonic();
        let at = |seconds| start + Duration::from_secs(seconds);
        let replicas = Replicas::new(Vec::new(), Duration::from_secs(5));
        assert_eq!(replicas.lag(Lsn(0), at(0)), Duration::ZERO, "nothing is known of the primary");
        replicas.written().extend([(at(0), Lsn(100)), (at(1), Lsn(200)), (at(2), Lsn(200)), (at(3), Lsn(300))]);
        assert_eq!(replicas.lag(Lsn(300), at(4)), Duration::ZERO);
        assert_eq!(replicas.lag(Lsn(299), at(4)), Duration::from_secs(2));
        assert_eq!(replicas.lag(Lsn(200), at(4)), Duration::from_secs(2));
        assert_eq!(replicas.lag(Lsn(150), at(4)), Duration::from_secs(4));
        assert_eq!(replicas.lag(Lsn(99), at(4)), Duration::MAX);
    }
}
