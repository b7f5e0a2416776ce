//! SeaORM's connection, which is a pool, as a part of the service: opened with its settings, watched by its health, told by its
//! metrics, closed at its end.

use std::sync::{Arc, OnceLock};

use covet::Context;
use covet::data::settings::DatabaseSettings;
use covet::health::{Check, CheckFuture, Criticality, Outcome};
use covet::metrics::{Collector, Exposition};
use sea_orm::sqlx::postgres::PgPoolOptions;
use sea_orm::{DatabaseConnection, SqlxPostgresConnector};

covet::telemetry::declare_metrics! {
    /// SeaORM's pool.
    POOL;

    /// Connections of SeaORM's pool in use.
    gauge ACTIVE = "orm_connections_active" {};
    /// Connections of SeaORM's pool open and unused.
    gauge IDLE = "orm_connections_idle" {};
}

/// The connection, once the service has its settings.
#[derive(Debug, Clone, Default)]
pub struct Connection(Arc<OnceLock<DatabaseConnection>>);

impl Connection {
    /// Makes it with the settings of `Db`. It connects when it is used for the first time, so nothing is connected for
    /// commands that only look at the routes.
    ///
    /// # Panics
    /// When sqlx, which SeaORM is built on, cannot use `DATABASE_URL`: it knows PostgreSQL here, and one host.
    pub fn open(&self, context: &Context) -> DatabaseConnection {
        let settings = context.settings::<DatabaseSettings>();
        let url = &settings.url;
        // sqlx does not look at it.
        assert!(url.scheme().starts_with("postgres"), "SeaORM cannot use DATABASE_URL={url}: it is not PostgreSQL");
        let pool = PgPoolOptions::new()
            .max_connections(settings.pool_max.try_into().unwrap_or(u32::MAX))
            .acquire_timeout(settings.acquire_timeout)
            .idle_timeout(settings.idle_timeout)
            .connect_lazy(url.expose())
            .unwrap_or_else(|error| panic!("SeaORM cannot use DATABASE_URL={url}: {error}"));
        let connection = SqlxPostgresConnector::from_sqlx_postgres_pool(pool);
        context.health().register("pool", Criticality::Critical, PoolCheck(connection.clone()));
        context.metrics().declare_all(POOL);
        context.metrics().register(Arc::new(PoolCollector(connection.clone())));
        self.0.get_or_init(|| connection).clone()
    }

    /// Gives the connections back. Call it when the service has ended.
    pub async fn close(&self) {
        if let Some(connection) = self.0.get() {
            // It fails only where there is nothing to close.
            drop(connection.close_by_ref().await);
        }
    }
}

struct PoolCheck(DatabaseConnection);

impl Check for PoolCheck {
    fn check(&self) -> CheckFuture<'_> {
        Box::pin(async {
            match self.0.ping().await {
                Ok(()) => Outcome::healthy().reading("connections_active", active_and_idle(&self.0).0),
                // The error may name hosts, and `/health` is for everybody.
                Err(error) => {
                    tracing::warn!(%error, "the pool does not answer");
                    Outcome::unhealthy("the database does not answer")
                }
            }
        })
    }
}

struct PoolCollector(DatabaseConnection);

impl Collector for PoolCollector {
    fn name(&self) -> &'static str {
        "sea_orm_pool"
    }

    fn collect(&self, out: &mut Exposition) {
        let (active, idle) = active_and_idle(&self.0);
        out.gauge(ACTIVE, &[], active);
        out.gauge(IDLE, &[], idle);
    }
}

fn active_and_idle(connection: &DatabaseConnection) -> (u64, u64) {
    let pool = connection.get_postgres_connection_pool();
    let idle = pool.num_idle() as u64;
    (u64::from(pool.size()).saturating_sub(idle), idle)
}
