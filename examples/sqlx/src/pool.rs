//! sqlx's pool as a part of the service: opened with its settings, watched by its health, told by its metrics, closed at its end.

use std::sync::{Arc, OnceLock};

use covet::Context;
use covet::data::settings::DatabaseSettings;
use covet::health::{Check, CheckFuture, Criticality, Outcome};
use covet::metrics::{Collector, Exposition};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

covet::telemetry::declare_metrics! {
    /// sqlx's pool.
    POOL;

    /// Connections of sqlx's pool in use.
    gauge ACTIVE = "orm_connections_active" {};
    /// Connections of sqlx's pool open and unused.
    gauge IDLE = "orm_connections_idle" {};
}

/// The pool, once the service has its settings.
#[derive(Debug, Clone, Default)]
pub struct Pool(Arc<OnceLock<PgPool>>);

impl Pool {
    /// Makes it with the settings of `Db`. It connects when it is used for the first time, so nothing is connected for
    /// commands that only look at the routes.
    ///
    /// # Panics
    /// When sqlx cannot use `DATABASE_URL`: it knows PostgreSQL here, and one host.
    pub fn open(&self, context: &Context) -> PgPool {
        let settings = context.settings::<DatabaseSettings>();
        let url = &settings.url;
        // sqlx does not look at it.
        assert!(url.scheme().starts_with("postgres"), "sqlx cannot use DATABASE_URL={url}: it is not PostgreSQL");
        let pool = PgPoolOptions::new()
            .max_connections(settings.pool_max.try_into().unwrap_or(u32::MAX))
            .acquire_timeout(settings.acquire_timeout)
            .idle_timeout(settings.idle_timeout)
            .connect_lazy(url.expose())
            .unwrap_or_else(|error| panic!("sqlx cannot use DATABASE_URL={url}: {error}"));
        context.health().register("pool", Criticality::Critical, PoolCheck(pool.clone()));
        context.metrics().declare_all(POOL);
        context.metrics().register(Arc::new(PoolCollector(pool.clone())));
        self.0.get_or_init(|| pool).clone()
    }

    /// Gives the connections back. Call it when the service has ended.
    pub async fn close(&self) {
        if let Some(pool) = self.0.get() {
            pool.close().await;
        }
    }
}

struct PoolCheck(PgPool);

impl Check for PoolCheck {
    fn check(&self) -> CheckFuture<'_> {
        Box::pin(async {
            match sqlx::query("SELECT 1").execute(&self.0).await {
                Ok(_) => Outcome::healthy().reading("connections_active", active(&self.0)),
                // The error may name hosts, and `/health` is for everybody.
                Err(error) => {
                    tracing::warn!(%error, "the pool does not answer");
                    Outcome::unhealthy("the database does not answer")
                }
            }
        })
    }
}

struct PoolCollector(PgPool);

impl Collector for PoolCollector {
    fn name(&self) -> &'static str {
        "sqlx_pool"
    }

    fn collect(&self, out: &mut Exposition) {
        out.gauge(ACTIVE, &[], active(&self.0));
        out.gauge(IDLE, &[], self.0.num_idle() as u64);
    }
}

fn active(pool: &PgPool) -> u64 {
    u64::from(pool.size()).saturating_sub(pool.num_idle() as u64)
}
