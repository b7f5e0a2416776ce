//! The health check `cache`. The service goes on without the cache, so Redis that is away degrades it and no more.
//!
//! | | status |
//! |---|---|
//! | in memory | healthy |
//! | Redis answers | healthy |
//! | Redis does not answer, or refuses | degraded |

use covet_core::health::{Check, CheckFuture, Outcome};

use crate::cache::Backend;
use crate::{Cache, Redis};

/// Register it as `cache`, not critical. The health registry limits its time.
#[derive(Debug, Clone)]
pub struct CacheCheck(Cache);

impl CacheCheck {
    /// A check of this cache.
    #[must_use]
    pub fn new(cache: Cache) -> Self {
        Self(cache)
    }

    async fn ask(&self, redis: &Redis) -> Outcome {
        let clock = self.0.clock();
        let began = clock.monotonic();
        let answer = redis.ping().await;
        let latency = clock.monotonic().saturating_duration_since(began);
        let outcome = match answer {
            Ok(()) => Outcome::healthy(),
            Err(error) => {
                tracing::warn!(%error, "the cache does not answer");
                Outcome::degraded(format!("Redis does not answer ({}); the service goes on without it", error.kind()))
            }
        };
        outcome.reading("latency_ms", latency.as_micros() as f64 / 1_000.0)
    }
}

impl Check for CacheCheck {
    fn check(&self) -> CheckFuture<'_> {
        Box::pin(async {
            let outcome = match &self.0.0.backend {
                Backend::Memory(_) => Outcome::healthy(),
                Backend::Redis(remote) => self.ask(remote.redis()).await,
            };
            outcome.reading("kind", self.0.kind())
        })
    }
}
