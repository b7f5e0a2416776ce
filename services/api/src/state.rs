//! What the handlers work with.

use std::sync::Arc;

use covet::Context;
use covet::axum::extract::FromRef;
use covet::cache::Cache;
use covet::clock::Clock;
use covet::data::{Db, Transaction};
use covet::identity::api_key::ApiKeys;
use covet::identity::audit::Trail;
use covet::identity::caller::Authentication;
use covet::identity::password::Passwords;
use covet::identity::session::Sessions;
use covet::identity::settings::AuthSettings;
use covet::identity::token::AccessTokens;
use covet::telemetry::settings::LogSettings;
use jiff::Timestamp;

use crate::api_keys::ApiKeyTable;
use crate::events::Feed;
use crate::metrics::{Business, Feature};

/// State of every handler. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Api {
    /// Where everything is kept.
    pub db: Db,
    /// What is kept for a while.
    pub cache: Cache,
    /// The time.
    pub clock: Clock,
    /// Hashes and verifies passwords.
    pub passwords: Passwords,
    /// Issues and verifies access tokens.
    pub tokens: AccessTokens,
    /// Logins by cookie.
    pub sessions: Sessions,
    /// Checks API keys.
    pub keys: ApiKeys,
    /// How long tokens are good.
    pub auth: Arc<AuthSettings>,
    /// Tells listeners what has changed.
    pub feed: Feed,
    /// Counts what the business wants to know.
    pub business: Business,
    /// Records who did what.
    pub trail: Trail,
}

impl Api {
    /// The state of a service that is about to serve.
    ///
    /// # Panics
    /// Not with settings that were read: the check here was made then.
    #[must_use]
    pub fn new(context: &Context) -> Self {
        let auth = context.settings::<AuthSettings>();
        let clock = context.clock().clone();
        Self {
            db: context.db().clone(),
            cache: context.cache().clone(),
            passwords: Passwords::new(auth).expect("checked with the settings"),
            keys: ApiKeys::new(ApiKeyTable(context.db().clone()), auth, clock.clone()),
            tokens: context.access_tokens().clone(),
            sessions: context.sessions().clone(),
            auth: Arc::new(auth.clone()),
            feed: Feed::new(clock.clone()),
            business: Business::new(context.metrics()),
            trail: trail(context),
            clock,
        }
    }

    /// Counts a use of a feature once the transaction is committed, also when the client does not wait for it.
    pub fn used(&self, transaction: &Transaction, feature: Feature) {
        let usage = self.business.business_feature_usage_total(feature).clone();
        transaction.after_commit(move || usage.increment(1));
    }

    /// The time, as precise as the database keeps it: what is answered now is what is read later.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let now = self.clock.now();
        Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
    }
}

/// The audit trail, which keeps as much of addresses as the log does.
pub(crate) fn trail(context: &Context) -> Trail {
    Trail::new(context.clock().clone(), context.settings::<LogSettings>().ip_address)
}

impl FromRef<Api> for Sessions {
    fn from_ref(api: &Api) -> Self {
        api.sessions.clone()
    }
}

impl FromRef<Api> for Authentication {
    fn from_ref(api: &Api) -> Self {
        Self::by_token_or_session(api.tokens.clone(), api.sessions.clone())
    }
}
