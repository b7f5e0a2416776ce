//! The reference service: a small product backend, and what `covet new` starts from.
//!
//! | you want | look in |
//! |---|---|
//! | how it is put together | [`app`] |
//! | registering, logging in by token or cookie, my sessions | [`auth`] |
//! | users | [`users`] |
//! | permissions and roles, and who has which | [`access`], [`admin`] |
//! | keys for programs of a user's | [`api_keys`] |
//! | notes | [`notes`] |
//! | orders and money | [`orders`] |
//! | the live feed | [`events`] |
//! | a few numbers for everybody | [`stats`] |
//! | pages, preconditions, field checks | [`web`] |
//! | what is cached, and how it ends | `cached.rs` |
//! | doing a repeated request once | [`idempotency`] |
//! | what is kept of a user: export, erasure, for how long | [`privacy`] |
//! | what the business wants to know | [`metrics`] |
//! | what is cleaned up every hour | `upkeep.rs` |
//! | the tables | `migrations/` |
//!
//! A feature's folder has its type, its SQL (`store.rs`) and its handlers.

pub mod access;
pub mod admin;
pub mod api_keys;
pub mod auth;
mod cached;
pub mod events;
pub mod idempotency;
pub mod metrics;
pub mod notes;
pub mod openapi;
pub mod orders;
pub mod privacy;
pub mod state;
pub mod stats;
#[cfg(test)]
mod test_db;
mod upkeep;
pub mod users;
pub mod web;

use std::time::Duration;

use covet::prelude::*;

use crate::admin::AdminSettings;
use crate::auth::TokenSessions;
use crate::metrics::Business;
use crate::privacy::RetentionSettings;
use crate::state::Api;

/// The service, ready to run.
pub fn app() -> App {
    App::new("covet-api")
        .version(env!("CARGO_PKG_VERSION"))
        .commit(option_env!("GIT_COMMIT"))
        .settings::<AdminSettings>()
        .settings::<RetentionSettings>()
        .access_tokens()
        .sessions()
        .openapi(openapi::document)
        .migrations(schema())
        .routes(routes)
        .jobs(upkeep::handlers)
        .periodic("appoint_first_admin", Duration::from_secs(10), admin::appoint_first)
        .periodic("count_sessions", Duration::from_secs(10), count_sessions)
}

/// The tables: the files in `migrations/`, embedded.
#[must_use]
pub fn schema() -> covet::data::Migrations {
    migrations!()
}

/// Every route of the service.
pub fn routes(context: &Context) -> Router {
    let api = Api::new(context);
    let control = access::control(context, &api);
    Router::new()
        .merge(auth::routes())
        .merge(api_keys::routes())
        .merge(users::routes())
        .merge(admin::routes())
        .merge(privacy::routes())
        .merge(notes::routes())
        .merge(orders::routes())
        .merge(events::routes())
        .merge(stats::routes(context))
        .with_state(api)
        .access_control(control)
}

/// Tells the metrics how many logins are open.
async fn count_sessions(context: Context) -> covet::Result<()> {
    let by_token = TokenSessions(context.db()).count_open(context.clock().now()).await?;
    match context.sessions().count().await {
        Ok(by_cookie) => Business::new(context.metrics()).business_active_sessions().set((by_token + by_cookie) as f64),
        // The health check tells of it, and the metric stands still: half of the truth would look like a mass logout.
        Err(error) => tracing::debug!(%error, "sessions by cookie could not be counted"),
    }
    Ok(())
}
