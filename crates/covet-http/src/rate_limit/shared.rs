//! What all instances count together: the same cells in Redis, each request one call of a script (`take.lua`).
//!
//! When Redis cannot be asked, the instance goes by what it has counted itself: a client may then make as many requests on
//! each instance as it may make on all of them, no request fails for it, and none waits longer than the cache's time limit.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use covet_cache::redis::Script;
use covet_cache::{CacheOperation, Redis};

use super::declared::Rule;
use super::quota::State;

pub(super) struct Shared {
    redis: Redis,
    script: Script,
    counted_local: AtomicU64,
    is_away: AtomicBool,
}

/// What the store says of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) let_in: bool,
    /// The store's time, in microseconds.
    pub(super) now: u64,
    /// The client's, one for each limit, by the store's time.
    pub(super) states: Vec<State>,
}

impl Shared {
    pub(super) fn new(redis: Redis) -> Self {
        let script = Script::new(include_str!("take.lua"));
        Self { redis, script, counted_local: AtomicU64::new(0), is_away: AtomicBool::new(false) }
    }

    /// False while asking would only cost time.
    pub(super) fn is_available(&self) -> bool {
        self.redis.is_available()
    }

    pub(super) fn count_local(&self) {
        self.counted_local.fetch_add(1, Relaxed);
    }

    pub(super) fn counted_local(&self) -> u64 {
        self.counted_local.load(Relaxed)
    }

    /// Asks for a request of `client` under these limits. `None` when there is no answer.
    pub(super) async fn take<'a>(
        &self,
        client: &str,
        limits: impl Iterator<Item = (&'a Rule, u32)> + Clone + Send,
    ) -> Option<Answer> {
        // The client in braces: its cells are in one slot of a cluster.
        let key = |rule: &Rule| self.redis.key("rate_limit", format_args!("{{{client}}}:{}", rule.name));
        let keys: Vec<_> = limits.clone().map(|(rule, _)| key(rule)).collect();
        let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        let numbers = limits.flat_map(|(rule, cost)| [rule.quota.interval(), rule.quota.burst().into(), cost.into()]);
        let arguments: Vec<_> = numbers.map(|number: u64| number.to_string()).collect();
        let arguments: Vec<&[u8]> = arguments.iter().map(String::as_bytes).collect();
        let answer = self.redis.script::<Vec<i64>>(CacheOperation::Increment, &self.script, &keys, &arguments).await;
        match answer {
            Ok(numbers) => {
                if self.is_away.swap(false, Relaxed) {
                    tracing::info!("rate limits are shared by all instances again");
                }
                Answer::read(&numbers, keys.len())
            }
            Err(error) => {
                if !self.is_away.swap(true, Relaxed) {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(error, "rate limits are counted by each instance alone until Redis answers");
                }
                None
            }
        }
    }
}

impl Answer {
    fn read(numbers: &[i64], count: usize) -> Option<Self> {
        let [let_in, now, states @ ..] = numbers else { return None };
        let time = |number: &i64| u64::try_from(*number).ok();
        let states: Option<Vec<_>> = states
            .chunks_exact(2)
            .map(|times| Some(State { start: time(&times[0])?, fresh_at: time(&times[1])? }))
            .collect();
        let states = states.filter(|states| states.len() == count)?;
        Some(Self { let_in: *let_in == 1, now: time(now)?, states })
    }
}

impl State {
    /// The same by another clock, which shows `to` when this one shows `from`.
    pub(super) fn moved(self, from: u64, to: u64) -> Self {
        let moved = |time: u64| (time + to).saturating_sub(from);
        Self { start: moved(self.start), fresh_at: moved(self.fresh_at) }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("redis", &self.redis).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use covet_cache::settings::CacheSettings;
    use covet_cache::{Cache, CacheParts};
    use covet_core::clock::Clock;
    use covet_telemetry::metrics::Registry;

    use super::*;
    use crate::rate_limit::client::By;
    use crate::rate_limit::quota::Quota;

    /// A client's states by the arithmetic of this process.
    struct Model<'a>(Vec<(&'a Rule, State)>);

    impl Model<'_> {
        fn take(&mut self, cost: u32, now: u64) -> bool {
            let mut charged = self.0.iter_mut().zip([cost, 1]);
            let let_in = charged.all(|((rule, state), cost)| rule.quota.ask(*state, cost, now).refused_for.is_none());
            if let_in {
                for ((rule, state), cost) in self.0.iter_mut().zip([cost, 1]) {
                    rule.quota.take(state, cost, now);
                }
            }
            let_in
        }
    }

    #[tokio::test]
    async fn the_script_counts_as_this_process_does() {
        let server = covet_testkit::Redis::start().await.unwrap();
        let mut settings = CacheSettings::at(&server.url());
        settings.timeout = Duration::from_secs(10);
        let (metrics, clock) = (Registry::new(), Clock::system());
        let parts = CacheParts { settings: &settings, service: "test", metrics: &metrics, clock: &clock };
        let cache = Cache::connect(parts).await.unwrap();
        let shared = Shared::new(cache.redis().unwrap().clone());
        // Two that are reached and come back in the time of a test.
        let fast = Rule::new("fast", Quota::new(20, Duration::from_millis(100), 10), By::Address);
        let slow = Rule::new("slow", Quota::new(100, Duration::from_secs(1), 40), By::Address);
        let mut model = Model(vec![(&fast, State::default()), (&slow, State::default())]);
        let (mut let_in, mut refused) = (0, 0);
        for n in 0..600_u64 {
            let cost = 1 + u32::try_from(n % 3).unwrap();
            let answer = shared.take("a", [(&fast, cost), (&slow, 1)].into_iter()).await.unwrap();
            assert_eq!(answer.let_in, model.take(cost, answer.now), "request {n}");
            for ((rule, state), told) in model.0.iter().zip(&answer.states) {
                let standing = |state: State| rule.quota.ask(state, 0, answer.now);
                assert_eq!(standing(*told), standing(*state), "request {n}, {}", rule.name);
            }
            let_in += usize::from(answer.let_in);
            refused += usize::from(!answer.let_in);
            if n % 100 == 99 {
                // Long enough for some to come back, then for all of them.
                tokio::time::sleep(Duration::from_millis(if n > 300 { 600 } else { 30 })).await;
            }
        }
        assert!(let_in > 10 && refused > 0, "{let_in} {refused}");
        let other = shared.take("b", [(&fast, 1), (&slow, 1)].into_iter()).await.unwrap();
        assert!(other.let_in, "another client");
        for key in server.cli(&["KEYS", "test:rate_limit:*"]).await.unwrap().lines() {
            let ttl: i64 = server.cli(&["PTTL", key]).await.unwrap().trim().parse().unwrap();
            // -2: it is gone already; -1 would be for ever.
            assert!(ttl == -2 || (0..=1_000).contains(&ttl), "{key} lives {ttl} ms");
        }
    }

    #[tokio::test]
    async fn a_cell_that_somebody_else_has_written_is_as_good_as_none() {
        let server = covet_testkit::Redis::start().await.unwrap();
        let settings = CacheSettings::at(&server.url());
        let (metrics, clock) = (Registry::new(), Clock::system());
        let parts = CacheParts { settings: &settings, service: "test", metrics: &metrics, clock: &clock };
        let cache = Cache::connect(parts).await.unwrap();
        let shared = Shared::new(cache.redis().unwrap().clone());
        let rule = Rule::new("all", Quota::new(5, Duration::from_secs(60), 5), By::Address);
        let key = format!("test:rate_limit:{{a}}:{}", rule.name);
        server.cli(&["SET", &key, "nonsense"]).await.unwrap();
        assert!(shared.take("a", [(&rule, 1)].into_iter()).await.unwrap().let_in);
        server.cli(&["DEL", &key]).await.unwrap();
        server.cli(&["LPUSH", &key, "of another kind"]).await.unwrap();
        assert_eq!(shared.take("a", [(&rule, 1)].into_iter()).await, None, "told in the log, counted by this instance");
    }

    #[test]
    fn an_answer_is_read_whole_or_not_at_all() {
        let answer = Answer::read(&[1, 1_000, 900, 2_000], 1).unwrap();
        assert_eq!(answer, Answer { let_in: true, now: 1_000, states: vec![State { start: 900, fresh_at: 2_000 }] });
        for wrong in [&[][..], &[1], &[1, 1_000], &[1, 1_000, 900], &[1, -5, 900, 2_000], &[1, 1_000, 1, 2, 3, 4]] {
            assert_eq!(Answer::read(wrong, 1), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_state_keeps_its_distances_by_another_clock() {
        let state = State { start: 1_000, fresh_at: 5_000 };
        assert_eq!(state.moved(4_000, 104_000), State { start: 101_000, fresh_at: 105_000 });
        assert_eq!(state.moved(4_000, 10), State { start: 0, fresh_at: 1_010 });
    }
}
