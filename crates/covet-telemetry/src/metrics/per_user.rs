//! How much each user does, as a distribution: how many users made how many calls in a minute. A label for each user
//! would make as many series as there are users.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, RandomState};
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metrics::{Counter, Histogram};

use super::series::KeyHash;
use super::shard::{MAX_CLAIMS, thread_shard};
use super::{Group, Kind, Merge, Metric, Origin, Registry};

/// How long calls are counted together.
pub const WINDOW: Duration = Duration::from_secs(60);

/// Users that one thread knows at a time: 64 KiB or so for a thousand.
const MAX_USERS: usize = 10_000;

const CALLS: [f64; 12] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0];

const CALLS_PER_USER: &Metric = &Metric {
    name: "app_api_calls_per_user",
    doc: "Calls of a user in a minute, for each user who made any.\n\n\
          Moved at the end of each minute, once for each user who was authenticated in a request of it. So `_count` are \
          users and `_sum` are calls: `increase(app_api_calls_per_user_count[5m]) / 5` is the number of active users, a \
          quantile is what a user of that rank does. An instance sees its own share of a user's calls.",
    kind: Kind::Histogram(&CALLS),
    labels: &[],
    merge: Merge::Sum,
    origin: Origin::Business,
};
const UNTRACKED_CALLS: &Metric = &Metric {
    name: "app_api_calls_untracked_total",
    doc: "Calls of users that are not in app_api_calls_per_user, because a thread had 10 000 other users in that minute.",
    kind: Kind::Counter,
    labels: &[],
    merge: Merge::Sum,
    origin: Origin::Business,
};
/// What is counted of users.
pub const USERS: &Group = &Group {
    doc: "Users.\n\nTold with the business at `/metrics/business`.",
    metrics: &[CALLS_PER_USER, UNTRACKED_CALLS],
};

/// Counts calls by user, and tells the distribution at the end of each window.
///
/// ```
/// use covet_telemetry::metrics::{Registry, per_user::CallsPerUser};
///
/// let registry = Registry::new();
/// let calls = CallsPerUser::new(&registry);
/// for user in ["ada", "bob", "ada"] {
///     calls.count(user);
/// }
/// calls.end_window();
///
/// let text = registry.render();
/// assert!(text.contains("app_api_calls_per_user_bucket{le=\"1.0\"} 1.0\n"));
/// assert!(text.contains("app_api_calls_per_user_count 2.0\n"));
/// assert!(text.contains("app_api_calls_per_user_sum 3.0\n"));
/// ```
#[derive(Debug)]
pub struct CallsPerUser {
    /// One for each shard of [`shard`](super::shard), so that no two threads want one lock.
    lanes: Box<[Mutex<Calls>]>,
    /// With a key of its own: who a user is cannot be told from the memory, and no user chosen to collide.
    hasher: RandomState,
    distribution: Histogram,
    untracked: Counter,
}

/// By the user's hash.
type Calls = HashMap<u64, u32, BuildHasherDefault<KeyHash>>;

impl CallsPerUser {
    /// The distribution, shown by `registry`.
    #[must_use]
    pub fn new(registry: &Registry) -> Self {
        registry.declare_all(USERS);
        Self {
            lanes: (0..=MAX_CLAIMS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            distribution: registry.histogram(CALLS_PER_USER, &[]),
            untracked: registry.counter(UNTRACKED_CALLS, &[]),
        }
    }

    /// A call of this user. Takes a lock that nobody else wants but once a minute.
    pub fn count(&self, user: &str) {
        let user = self.hasher.hash_one(user);
        let mut calls = lock(&self.lanes[thread_shard()]);
        if let Some(count) = calls.get_mut(&user) {
            *count = count.saturating_add(1);
        } else if calls.len() < MAX_USERS {
            calls.insert(user, 1);
        } else {
            self.untracked.increment(1);
        }
    }

    /// Tells the distribution of the calls since the last time. Call it every [`WINDOW`].
    pub fn end_window(&self) {
        let mut together = Calls::default();
        for lane in &self.lanes {
            // The next window will have about as many users. Their memory is taken here, not while they wait.
            let known = lock(lane).len();
            let next = Calls::with_capacity_and_hasher(known, BuildHasherDefault::default());
            let calls = mem::replace(&mut *lock(lane), next);
            for (user, count) in calls {
                let sum = together.entry(user).or_default();
                *sum = sum.saturating_add(count);
            }
        }
        for count in together.into_values() {
            self.distribution.record(f64::from(count));
        }
    }
}

fn lock(lane: &Mutex<Calls>) -> MutexGuard<'_, Calls> {
    lane.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::metrics::shard;

    #[test]
    fn a_user_of_several_threads_is_one_and_a_window_begins_at_nothing() {
        let registry = Registry::new();
        let calls = CallsPerUser::new(&registry);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    shard::claim();
                    for _ in 0..25 {
                        calls.count("ada");
                    }
                });
            }
        });
        calls.end_window();
        calls.count("ada");
        calls.end_window();
        calls.end_window();
        let text = registry.render();
        for line in [
            "app_api_calls_per_user_bucket{le=\"1.0\"} 1.0\n",
            "app_api_calls_per_user_bucket{le=\"50.0\"} 1.0\n",
            "app_api_calls_per_user_bucket{le=\"100.0\"} 2.0\n",
            "app_api_calls_per_user_count 2.0\n",
            "app_api_calls_per_user_sum 101.0\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }

    #[test]
    fn users_beyond_the_bound_are_counted_as_calls_only() {
        let registry = Registry::new();
        let calls = CallsPerUser::new(&registry);
        for user in 0..MAX_USERS + 7 {
            calls.count(&user.to_string());
        }
        calls.count("0");
        calls.end_window();
        let text = registry.render();
        assert!(text.contains("app_api_calls_per_user_count 10000.0\n"), "{text}");
        assert!(text.contains("app_api_calls_untracked_total 7.0\n"), "{text}");
    }
}
