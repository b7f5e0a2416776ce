//! The revoked logins that this process knows of: asked on every request, changed seldom.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock, RwLockWriteGuard};

use covet_telemetry::metrics::{Counter, Registry};
use uuid::Uuid;

use super::APP_AUTH_REVOCATIONS_GIVEN_UP_TOTAL;

/// Parts with a lock each, so that readers on many cores rarely touch the same one.
const PARTS: usize = 64;
/// What is over is looked for this often, when something is added.
const SWEPT_EVERY_SECONDS: i64 = 10;

/// A set of logins, each until a time in seconds since 1970.
pub(super) struct Known {
    parts: [RwLock<HashMap<Uuid, i64>>; PARTS],
    len: AtomicUsize,
    limit: usize,
    next_sweep: AtomicI64,
    given_up: Option<Counter>,
}

impl Known {
    pub(super) fn new(limit: u32) -> Self {
        Self {
            parts: std::array::from_fn(|_| RwLock::default()),
            len: AtomicUsize::new(0),
            limit: limit as usize,
            next_sweep: AtomicI64::new(i64::MIN),
            given_up: None,
        }
    }

    pub(super) fn counted(limit: u32, metrics: &Registry) -> Self {
        Self { given_up: Some(metrics.counter(APP_AUTH_REVOCATIONS_GIVEN_UP_TOTAL, &[])), ..Self::new(limit) }
    }

    /// What is over may still be in it: its tokens have expired anyhow.
    pub(super) fn contains(&self, login: Uuid) -> bool {
        if self.len.load(Ordering::Relaxed) == 0 {
            return false;
        }
        self.parts[part_of(login)].read().unwrap_or_else(PoisonError::into_inner).contains_key(&login)
    }

    /// Adds one, or prolongs it. Over the limit the one of its part that is over next makes room: of ended logins those
    /// whose tokens expire next can do least harm.
    pub(super) fn insert(&self, login: Uuid, until: i64, now: i64) {
        if now >= self.next_sweep.load(Ordering::Relaxed) {
            self.sweep(now);
        }
        let mut part = self.write(part_of(login));
        if let Some(known) = part.get_mut(&login) {
            *known = until.max(*known);
            return;
        }
        if self.len.load(Ordering::Relaxed) >= self.limit
            && let Some(next) = part.iter().min_by_key(|(_, until)| **until).map(|(login, _)| *login)
        {
            part.remove(&next);
            self.len.fetch_sub(1, Ordering::Relaxed);
            if let Some(counter) = &self.given_up {
                counter.increment(1);
            }
        }
        part.insert(login, until);
        self.len.fetch_add(1, Ordering::Relaxed);
    }

    /// Removes what is over.
    pub(super) fn sweep(&self, now: i64) {
        self.next_sweep.store(now.saturating_add(SWEPT_EVERY_SECONDS), Ordering::Relaxed);
        for index in 0..PARTS {
            let mut part = self.write(index);
            let before = part.len();
            part.retain(|_, until| *until > now);
            self.len.fetch_sub(before - part.len(), Ordering::Relaxed);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    fn write(&self, part: usize) -> RwLockWriteGuard<'_, HashMap<Uuid, i64>> {
        self.parts[part].write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// By the last byte, which is random in ids of version 7 too.
fn part_of(login: Uuid) -> usize {
    usize::from(login.as_bytes()[15]) % PARTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_many_logins_end_the_set_stays_within_its_bound() {
        let known = Known::new(1000);
        for number in 0..5000_u128 {
            known.insert(Uuid::from_u128(number), 2000 + number as i64, 1000);
        }
        assert!((1000..=1000 + PARTS).contains(&known.len()), "{}", known.len());
        assert!(
            known.contains(Uuid::from_u128(4999)) && !known.contains(Uuid::from_u128(0)),
            "the next to be over go first"
        );
        known.sweep(10_000);
        assert_eq!(known.len(), 0);
    }

    #[test]
    fn what_is_heard_twice_counts_once_and_lasts_until_the_later_time() {
        let known = Known::new(1000);
        let login = Uuid::from_u128(1);
        known.insert(login, 2000, 1000);
        known.insert(login, 1500, 1000);
        assert_eq!(known.len(), 1);
        known.sweep(1999);
        assert!(known.contains(login));
        known.sweep(2000);
        assert!(!known.contains(login));
    }
}
