//! The tests of `tests/api`, with the service on PostgreSQL.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, and its helpers with it")]

/// The tests' database: one of its own, on a PostgreSQL server.
mod database {
    pub(crate) use covet_testkit::Database as Server;

    /// An empty database. Gone when dropped.
    pub(crate) struct Database(Server);

    impl Database {
        pub(crate) async fn create() -> Self {
            Self(Server::create().await.unwrap())
        }

        /// The value for `DATABASE_URL`.
        pub(crate) fn url(&self) -> String {
            self.0.url()
        }
    }
}

#[path = "api/access.rs"]
mod access;
#[path = "api/admin.rs"]
mod admin;
#[path = "api/api_keys.rs"]
mod api_keys;
#[path = "api/attacks/all.rs"]
mod attacks;
#[path = "api/audit.rs"]
mod audit;
#[path = "api/auth.rs"]
mod auth;
#[path = "api/business.rs"]
mod business;
#[path = "api/cached.rs"]
mod cached;
#[path = "api/events.rs"]
mod events;
#[path = "api/migrations.rs"]
mod migrations;
#[path = "api/notes.rs"]
mod notes;
#[path = "api/openapi.rs"]
mod openapi;
#[path = "api/orders.rs"]
mod orders;
#[path = "api/privacy.rs"]
mod privacy;
#[path = "api/sessions.rs"]
mod sessions;
#[path = "api/support.rs"]
mod support;
#[path = "api/tokens.rs"]
mod tokens;
#[path = "api/users.rs"]
mod users;
