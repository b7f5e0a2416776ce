//! What handlers, tasks and checks reach.

use std::sync::Arc;
use std::time::Instant;

use covet_cache::{Cache, Ttl};
use covet_client::Client;
use covet_core::clock::Clock;
use covet_core::environment::Environment;
use covet_core::health;
use covet_core::lifecycle::Lifecycle;
use covet_core::settings::{Effective, Loaded, Section};
use covet_data::Db;
use covet_http::axum::extract::FromRef;
use covet_http::response_cache::{ResponseCache, ResponseCacheParts};
use covet_http::settings::HttpSettings;
use covet_identity::caller::Authentication;
use covet_identity::session::Sessions;
use covet_identity::token::AccessTokens;
use covet_jobs::Jobs;
use covet_telemetry::metrics;
use covet_telemetry::traces::Traces;

use crate::reload::Reloads;

/// Everything a handler can reach. Cheap to clone; all clones are the same.
///
/// It is a router's state:
///
/// ```
/// use covet::prelude::*;
///
/// fn routes(context: &Context) -> Router {
///     Router::new().route("/version", get(version)).with_state(context.clone())
/// }
///
/// async fn version(State(context): State<Context>) -> &'static str {
///     context.version()
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Context {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    pub(crate) commit: Option<&'static str>,
    pub(crate) settings: Arc<Loaded>,
    pub(crate) clock: Clock,
    pub(crate) started: Instant,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) health: health::Registry,
    pub(crate) metrics: metrics::Registry,
    pub(crate) traces: Traces,
    pub(crate) client: Client,
    pub(crate) db: Option<Db>,
    pub(crate) cache: Cache,
    pub(crate) sessions: Option<Sessions>,
    pub(crate) access_tokens: Option<AccessTokens>,
    pub(crate) reloads: Reloads,
    pub(crate) jobs: Option<Jobs>,
}

impl Context {
    pub(crate) fn new(inner: Inner) -> Self {
        Self { inner: Arc::new(inner) }
    }

    /// The service's name, as given to [`App::new`](crate::App::new).
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.inner.name
    }

    /// The service's version.
    #[must_use]
    pub fn version(&self) -> &'static str {
        self.inner.version
    }

    /// Development, staging or production.
    #[must_use]
    pub fn environment(&self) -> Environment {
        self.inner.settings.environment()
    }

    /// The section `S`.
    ///
    /// # Panics
    /// When `S` is neither Covet's nor given to [`App::settings`](crate::App::settings).
    #[must_use]
    pub fn settings<S: Section>(&self) -> &S {
        self.inner.settings.get()
    }

    /// The database.
    ///
    /// # Panics
    /// In a service that has said [`App::without_database`](crate::App::without_database).
    #[must_use]
    pub fn db(&self) -> &Db {
        self.inner.db.as_ref().expect("this service was built without a database (App::without_database)")
    }

    /// The cache: in Redis where `REDIS_URL` names one, else in memory.
    ///
    /// ```no_run
    /// use std::sync::Arc;
    ///
    /// use covet::cache::{Keyspace, Ttl};
    /// use covet::data::params;
    /// use covet::prelude::*;
    ///
    /// static NAMES: Keyspace<Vec<String>> = Keyspace::new("names", Ttl::Response);
    ///
    /// async fn names(State(context): State<Context>) -> Result<Json<Arc<Vec<String>>>, Error> {
    ///     let (cache, db) = (context.cache(), context.db());
    ///     let key = NAMES.key("all").tag("users");
    ///     let names = cache.get_or_load(&key, async || db.read().all("SELECT name FROM users", params![]).await).await?;
    ///     Ok(Json(names))
    /// }
    /// ```
    #[must_use]
    pub fn cache(&self) -> &Cache {
        &self.inner.cache
    }

    /// The sessions by cookie: a user's are listed and ended here.
    ///
    /// # Panics
    /// In a service that has not said [`App::sessions`](crate::App::sessions).
    #[must_use]
    pub fn sessions(&self) -> &Sessions {
        self.inner.sessions.as_ref().expect("this service was built without sessions (App::sessions)")
    }

    /// Issues, checks and revokes access tokens.
    ///
    /// # Panics
    /// In a service that has not said [`App::access_tokens`](crate::App::access_tokens).
    #[must_use]
    pub fn access_tokens(&self) -> &AccessTokens {
        let tokens = self.inner.access_tokens.as_ref();
        tokens.expect("this service was built without access tokens (App::access_tokens)")
    }

    /// The queue of jobs: they are added here, and those that were given up looked at.
    ///
    /// # Panics
    /// In a service that has said neither [`App::job`](crate::App::job) nor [`App::jobs`](crate::App::jobs), or has no database.
    #[must_use]
    pub fn jobs(&self) -> &Jobs {
        self.inner.jobs.as_ref().expect("this service was built without jobs (App::job) or without a database")
    }

    /// What is read again while the service runs: certificates and keys, and what is added.
    #[must_use]
    pub fn reloads(&self) -> &Reloads {
        &self.inner.reloads
    }

    /// A cache for the responses of routes, in [`cache`](Self::cache): how long they are good if they do not say it
    /// themselves. See [`ResponseCache`] for what else a route can say.
    ///
    /// ```
    /// use covet::cache::Ttl;
    /// use covet::prelude::*;
    ///
    /// fn routes(context: &Context) -> Router {
    ///     let prices = context.response_cache(Ttl::Response).tag("prices");
    ///     Router::new().route("/prices", get(async || "9.90").cached(prices))
    /// }
    /// ```
    pub fn response_cache(&self, ttl: Ttl) -> ResponseCache {
        let parts = ResponseCacheParts {
            cache: self.cache().clone(),
            clock: self.clock().clone(),
            lifecycle: self.lifecycle().clone(),
            settings: self.settings(),
            cache_settings: self.settings(),
            refresh_timeout: self.settings::<HttpSettings>().request_timeout,
        };
        ResponseCache::new(parts, ttl)
    }

    /// The time.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    /// The phases of the process: whether it is stopping, and what shutdown waits for.
    #[must_use]
    pub fn lifecycle(&self) -> &Lifecycle {
        &self.inner.lifecycle
    }

    /// The health checks; more can be registered at any time.
    #[must_use]
    pub fn health(&self) -> &health::Registry {
        &self.inner.health
    }

    /// The metrics, to register collectors of your own.
    #[must_use]
    pub fn metrics(&self) -> &metrics::Registry {
        &self.inner.metrics
    }

    /// Calls other services: with the trace and id of the request at hand, a deadline, retries within a budget.
    ///
    /// ```no_run
    /// use covet::prelude::*;
    ///
    /// async fn stock(State(context): State<Context>, Path(id): Path<u64>) -> Result<Json<u32>, Error> {
    ///     let url = format!("https://stock.internal/items/{id}/pieces");
    ///     let answer = context.client().get(url).template("/items/{id}/pieces").send().await?;
    ///     Ok(Json(answer.error_for_status()?.json().await?))
    /// }
    /// ```
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.inner.client
    }

    /// What is done about traces, for calls that go another way than [`client`](Self::client): [`Traces::hand_on`].
    #[must_use]
    pub fn traces(&self) -> &Traces {
        &self.inner.traces
    }

    /// The commit that the service was built from, if it was told.
    pub(crate) fn commit(&self) -> Option<&'static str> {
        self.inner.commit
    }

    /// Every setting in effect, secrets masked.
    pub(crate) fn effective_settings(&self) -> Effective {
        self.inner.settings.effective()
    }

    pub(crate) fn started(&self) -> Instant {
        self.inner.started
    }

    pub(crate) fn access_tokens_if_any(&self) -> Option<&AccessTokens> {
        self.inner.access_tokens.as_ref()
    }

    pub(crate) fn jobs_if_any(&self) -> Option<&Jobs> {
        self.inner.jobs.as_ref()
    }

    pub(crate) fn database(&self) -> Option<&Db> {
        self.inner.db.as_ref()
    }
}

impl FromRef<Context> for Sessions {
    fn from_ref(context: &Context) -> Self {
        context.sessions().clone()
    }
}

/// A service whose callers prove who they are in another way has a state of its own.
impl FromRef<Context> for Authentication {
    fn from_ref(context: &Context) -> Self {
        Self::by_session(context.sessions().clone())
    }
}
