//! The gauges of connections, read when somebody scrapes. Register it with `covet_telemetry`'s registry.

use covet_telemetry::metrics::{Collector, Exposition, catalog};

use crate::Db;

/// Tells `db_connections_active`, `db_connections_idle`, `db_connection_pool_size` and `db_connection_pool_overflow`.
#[derive(Debug, Clone)]
pub struct DatabaseCollector(Db);

impl DatabaseCollector {
    /// A collector for this database.
    #[must_use]
    pub fn new(db: Db) -> Self {
        Self(db)
    }
}

impl Collector for DatabaseCollector {
    fn name(&self) -> &'static str {
        "database"
    }

    fn collect(&self, out: &mut Exposition) {
        let connections = self.0.connections();
        let open = connections.active + connections.idle;
        for (metric, value) in [
            (catalog::DB_CONNECTIONS_ACTIVE, connections.active),
            (catalog::DB_CONNECTIONS_IDLE, connections.idle),
            (catalog::DB_CONNECTION_POOL_SIZE, open),
            (catalog::DB_CONNECTION_POOL_OVERFLOW, connections.waiting),
        ] {
            out.gauge(metric, &[], value as f64);
        }
    }
}
