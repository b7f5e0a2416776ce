//! The health check `database`: one small read of the file, or one round trip to the server that takes writes.
//!
//! | | status |
//! |---|---|
//! | it answers, and so do all replicas | healthy |
//! | a replica is gone, or too far behind to be read from | degraded |
//! | the primary does not answer, and reads go on from replicas | degraded: an instance that is taken out reads nothing |
//! | nothing answers | unhealthy |

use covet_core::health::{Check, CheckFuture, Outcome};

use crate::db::Backend;
use crate::{Db, params};

/// Register it as `database`. The health registry limits its time.
#[derive(Debug, Clone)]
pub struct DatabaseCheck(Db);

impl DatabaseCheck {
    /// A check of this database.
    #[must_use]
    pub fn new(db: Db) -> Self {
        Self(db)
    }
}

impl Check for DatabaseCheck {
    fn check(&self) -> CheckFuture<'_> {
        Box::pin(async {
            let clock = self.0.clock();
            let started = clock.monotonic();
            let read = match self.0.backend() {
                // Reads the first page of the file, which SELECT 1 would not.
                Backend::Sqlite(_) => {
                    self.0.read().optional::<i32>("SELECT 1 FROM sqlite_schema LIMIT 1", params![]).await
                }
                Backend::Postgres(_) => self.0.write().optional::<i32>("SELECT 1", params![]).await,
            };
            let latency = clock.monotonic().saturating_duration_since(started);
            let replicas = self.0.replicas();
            let outcome = match (read, replicas) {
                (Ok(_), Some((fresh, all))) if fresh < all => {
                    let gone = all - fresh;
                    Outcome::degraded(format!("{gone} of {all} replicas cannot be read from: too far behind, or gone"))
                }
                (Ok(_), _) => Outcome::healthy(),
                (Err(error), replicas) => {
                    tracing::warn!(%error, "the database does not answer");
                    let told = format!("the database does not answer ({})", error.kind());
                    match replicas {
                        Some((fresh, _)) if fresh > 0 => {
                            Outcome::degraded(format!("{told}; only reads go on, from replicas"))
                        }
                        _ => Outcome::unhealthy(told),
                    }
                }
            };
            let outcome = match replicas {
                Some((fresh, all)) => outcome.reading("replicas_fresh", fresh).reading("replicas", all),
                None => outcome,
            };
            let connections = self.0.connections();
            outcome
                .reading("latency_ms", latency.as_micros() as f64 / 1_000.0)
                .reading("connections_active", connections.active)
                .reading("connections_idle", connections.idle)
        })
    }
}
