//! The way up: telemetry, database, migrations, checks.

use std::error::Error as StdError;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use covet_cache::settings::CacheSettings;
use covet_cache::{Cache, CacheCheck, CacheCollector, CacheParts};
use covet_client::settings::ClientSettings;
use covet_client::{Client, ClientParts};
use covet_core::clock::Clock;
use covet_core::environment::Environment;
use covet_core::health::{Criticality, HealthSettings, Registry as HealthRegistry};
use covet_core::lifecycle::Lifecycle;
use covet_core::settings::{Loaded, ServiceSettings};
use covet_data::migrate::{MigrationError, Migrator};
use covet_data::settings::DatabaseSettings;
use covet_data::{DatabaseCheck, DatabaseCollector, Db, Migrations};
use covet_http::pipeline::install_panic_hook;
use covet_http::settings::HttpSettings;
use covet_identity::session::{ActiveSessions, SessionParts, SessionSettings, Sessions};
use covet_identity::settings::AuthSettings;
use covet_identity::token::{AccessTokens, KeyRing, RevokedLogins, RevokedParts};
use covet_jobs::{InvalidSchedule, Jobs};
use covet_telemetry::metrics::{Collector, Registry as MetricsRegistry};
use covet_telemetry::settings::{HealthThresholds, LogSettings, MetricsSettings, TraceSettings};
use covet_telemetry::system::RuntimeCollector;
use covet_telemetry::system::checks::{DiskSpace, Memory};
use covet_telemetry::traces::Traces;
use covet_telemetry::{Service, Telemetry};

use crate::App;
use crate::context::{Context, Inner};
use crate::reload::{AccessTokenKeys, Reloads, SessionKeys};
use crate::settings::{MigrationSettings, WhenAhead};
use crate::table_news::TableNews;

/// Why the service cannot start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// Log file or metrics.
    #[error(transparent)]
    Telemetry(#[from] covet_telemetry::StartError),
    /// The database cannot be opened or migrated.
    #[error("database: {0}")]
    Database(#[from] covet_data::Error),
    /// The schema cannot be brought up to date.
    #[error("migrations: {0}")]
    Migrations(Box<MigrationError>),
    /// The schema is of a newer release.
    #[error(
        "migrations: {0}. If the newer ones leave this release working (docs/guides/migrations.md), \
         COVET_MIGRATIONS__WHEN_AHEAD=start lets it start"
    )]
    Ahead(Box<MigrationError>),
    /// The schema is behind, and may not be changed at start-up.
    #[error("{0} migrations are pending and COVET_MIGRATIONS__ON_START is false. Run `migrate up`, or set it to true")]
    Pending(usize),
    /// The cache's settings.
    #[error("cache: {0}")]
    Cache(#[from] covet_cache::Error),
    /// A port cannot be had.
    #[error(transparent)]
    Bind(#[from] covet_http::listener::BindError),
    /// Two handlers for one route, or a cache's tag that its path does not fit.
    #[error(transparent)]
    Routes(#[from] covet_http::routing::InvalidRoute),
    /// A schedule of jobs.
    #[error(transparent)]
    Schedule(#[from] InvalidSchedule),
    /// The CORS settings.
    #[error(transparent)]
    Cors(#[from] covet_http::pipeline::InvalidCors),
    /// Certificate or key.
    #[error(transparent)]
    Tls(#[from] covet_http::listener::tls::TlsError),
    /// No threads for the acceptors.
    #[error("cannot start the acceptors: {0}")]
    Threads(std::io::Error),
}

impl From<MigrationError> for StartError {
    fn from(error: MigrationError) -> Self {
        Self::Migrations(Box::new(error))
    }
}

/// What lives as long as the process.
pub(crate) struct Started {
    pub(crate) context: Context,
    pub(crate) telemetry: Telemetry,
    pub(super) runtimes: Arc<RuntimeCollector>,
    table_news: Option<TableNews>,
}

impl Started {
    /// Closes the pools, sends the last spans, at most for `spans_within`, hands the last counts to the other processes, and
    /// closes the log.
    pub(crate) async fn close(mut self, spans_within: Duration) {
        if let Some(news) = &self.table_news {
            news.flush().await;
        }
        self.context.cache().close().await;
        if let Some(db) = self.context.database() {
            db.close().await;
        }
        self.send_spans(spans_within).await;
        drop(self.telemetry.membership.take());
        self.telemetry.logging.shutdown(LOG_FLUSH);
    }

    /// Sends the spans that wait, at most for `within`.
    pub(super) async fn send_spans(&self, within: Duration) {
        let Some(export) = &self.telemetry.export else { return };
        if !export.shutdown(within).await {
            tracing::warn!(
                endpoint = %export.target().url,
                waited_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX),
                "the last spans could not be sent in time and are lost"
            );
        }
    }
}

/// Longest wait for the last log lines to be written.
pub(super) const LOG_FLUSH: Duration = Duration::from_secs(2);

/// Which service this is, for its telemetry.
pub(crate) fn service<'a>(app: &'a App, loaded: &Loaded) -> Service<'a> {
    Service { name: app.name, version: app.version, environment: loaded.environment() }
}

/// Begins telemetry and connects everything.
pub(super) async fn start(app: &App, loaded: Loaded) -> Result<Started, StartError> {
    let clock = Clock::system();
    let (log, metrics) = (loaded.get::<LogSettings>(), loaded.get::<MetricsSettings>());
    let telemetry = Telemetry::start(service(app, &loaded), log, metrics, loaded.get::<TraceSettings>(), &clock)?;
    install_panic_hook();
    raise_descriptor_limit();
    connect(app, loaded, telemetry, clock).await
}

/// Connects everything and brings the schema up to date.
pub(crate) async fn connect(
    app: &App,
    loaded: Loaded,
    telemetry: Telemetry,
    clock: Clock,
) -> Result<Started, StartError> {
    let started = clock.monotonic();
    let loaded = Arc::new(loaded);
    let runtimes = Arc::new(RuntimeCollector::new(&telemetry.registry));
    runtimes.add("main", tokio::runtime::Handle::current());
    telemetry.registry.register(Arc::clone(&runtimes) as Arc<dyn Collector>);
    #[cfg(feature = "jemalloc")]
    {
        crate::allocator::give_back_in_background();
        telemetry.registry.register(Arc::new(crate::allocator::AllocatorCollector::new(&telemetry.registry)));
    }
    let db =
        if app.database { Some(Db::connect(loaded.get::<DatabaseSettings>(), clock.clone()).await?) } else { None };
    if let (Some(db), Some(migrations)) = (&db, &app.migrations) {
        bring_up_to_date(db, migrations, loaded.get::<MigrationSettings>()).await?;
    }
    if let Some(db) = &db {
        telemetry.registry.register(Arc::new(DatabaseCollector::new(db.clone())));
    }
    let cache = Cache::connect(CacheParts {
        settings: loaded.get::<CacheSettings>(),
        service: app.name,
        metrics: &telemetry.registry,
        clock: &clock,
    })
    .await?;
    telemetry.registry.register(Arc::new(CacheCollector::new(&cache)));
    let table_news = db.as_ref().and_then(|db| TableNews::start(db, &cache));
    Client::declare_metrics(&telemetry.registry);
    let health = HealthRegistry::new(loaded.get::<HealthSettings>().clone(), clock.clone());
    register_checks(app, &loaded, &health, db.as_ref(), &cache);
    let sessions = sessions(app, &loaded, &cache, &telemetry.registry, &clock);
    if let Some(sessions) = &sessions {
        tokio::spawn(ActiveSessions::register(sessions, &telemetry.registry).keep_counted());
    }
    let access_tokens = match app.access_tokens {
        true => Some(access_tokens(&loaded, &cache, &telemetry.registry, &clock).await),
        false => None,
    };
    let reloads = Reloads::new(&telemetry.registry);
    if let Some(sessions) = &sessions {
        reloads.add(SessionKeys { sessions: sessions.clone(), loaded: Arc::clone(&loaded) });
    }
    if let Some(tokens) = &access_tokens {
        reloads.add(AccessTokenKeys { tokens: tokens.clone(), loaded: Arc::clone(&loaded) });
    }
    let jobs = jobs(app, db.as_ref(), &clock, &telemetry.registry);
    let context = Context::new(Inner {
        name: app.name,
        version: app.version,
        commit: app.commit,
        client: client(app, &loaded, &telemetry.traces, &clock),
        traces: telemetry.traces.clone(),
        settings: loaded,
        clock,
        started,
        lifecycle: Lifecycle::new(),
        health,
        metrics: telemetry.registry.clone(),
        db,
        cache,
        sessions,
        access_tokens,
        reloads,
        jobs,
    });
    Ok(Started { context, telemetry, runtimes, table_news })
}

/// Who calls other services.
fn client(app: &App, loaded: &Loaded, traces: &Traces, clock: &Clock) -> Client {
    Client::new(ClientParts {
        settings: loaded.get::<ClientSettings>(),
        environment: loaded.environment(),
        user_agent: format!("{}/{}", app.name, app.version),
        traces: traces.clone(),
        clock: clock.clone(),
    })
}

/// Sessions by cookie, where the service has said that it wants them.
fn sessions(app: &App, loaded: &Loaded, cache: &Cache, metrics: &MetricsRegistry, clock: &Clock) -> Option<Sessions> {
    let environment = loaded.environment();
    let parts = || SessionParts {
        settings: loaded.get::<SessionSettings>(),
        environment,
        idle: loaded.get::<CacheSettings>().session_ttl,
        tls: environment != Environment::Development || loaded.get::<HttpSettings>().tls_certificate.is_some(),
        redis: cache.redis().cloned(),
        addresses: loaded.get::<LogSettings>().ip_address,
        metrics,
        clock: clock.clone(),
    };
    app.sessions.then(|| Sessions::new(parts()).expect("the keys were checked with the settings"))
}

/// The queue of jobs, where the service has said that it does any.
fn jobs(app: &App, db: Option<&Db>, clock: &Clock, metrics: &MetricsRegistry) -> Option<Jobs> {
    let db = db.filter(|_| !app.jobs.is_empty())?;
    Some(Jobs::new(db.clone(), clock.clone(), metrics))
}

/// Access tokens, with the logins that any instance has ended.
async fn access_tokens(loaded: &Loaded, cache: &Cache, metrics: &MetricsRegistry, clock: &Clock) -> AccessTokens {
    let settings = loaded.get::<AuthSettings>();
    let revoked = RevokedLogins::start(RevokedParts { settings, cache, metrics, clock: clock.clone() }).await;
    AccessTokens::with_revoked(settings, key_ring(loaded), clock.clone(), revoked)
}

fn key_ring(loaded: &Loaded) -> KeyRing {
    let text = &loaded.get::<AuthSettings>().jwt_secret_key;
    KeyRing::parse(text, loaded.environment()).expect("the keys were checked with the settings")
}

async fn bring_up_to_date(db: &Db, migrations: &Migrations, settings: &MigrationSettings) -> Result<(), StartError> {
    let migrator = Migrator::new(db, migrations)?;
    let pending = match settings.on_start {
        true => migrator.up().await.map(|_| 0),
        false => migrator.pending().await,
    };
    match (pending, settings.when_ahead) {
        (Ok(0), _) => Ok(()),
        (Ok(count), _) => Err(StartError::Pending(count)),
        (Err(MigrationError::Ahead { database, program }), WhenAhead::Start) => {
            tracing::warn!(
                database,
                program,
                "the database has migrations of a newer release, which are taken as they are"
            );
            Ok(())
        }
        (Err(error @ MigrationError::Ahead { .. }), WhenAhead::Refuse) => Err(StartError::Ahead(Box::new(error))),
        (Err(error), _) => Err(error.into()),
    }
}

fn register_checks(app: &App, loaded: &Loaded, health: &HealthRegistry, db: Option<&Db>, cache: &Cache) {
    let thresholds = loaded.get::<HealthThresholds>();
    if let Some(db) = db {
        health.register("database", Criticality::Critical, DatabaseCheck::new(db.clone()));
    }
    health.register("cache", Criticality::NonCritical, CacheCheck::new(cache.clone()));
    let data = &loaded.get::<ServiceSettings>().data_dir;
    let disk = if data.exists() { data.clone() } else { PathBuf::from(".") };
    // All instances of a host fill up together: taking them all out would help nobody.
    health.register("disk_space", Criticality::NonCritical, DiskSpace::new(disk, thresholds));
    health.register("memory", Criticality::NonCritical, Memory::new(thresholds));
    for (name, criticality, check) in &app.checks {
        health.register_shared(name.clone(), *criticality, Arc::clone(check));
    }
}

/// As many connections as the system allows: the soft limit is often 1024, for the sake of `select`, which nobody
/// here uses.
fn raise_descriptor_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let raised =
        getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!(error = &error as &dyn StdError, "the limit of open files stays as it is");
    }
}

/// A context around a throw-away database, for commands that build the routes and look at them.
pub(super) async fn context_to_look_at(
    app: &App,
    loaded: Loaded,
) -> Result<(Context, tempfile::TempDir), Box<dyn StdError + Send + Sync>> {
    let clock = Clock::system();
    let directory = tempfile::tempdir()?;
    let db = match app.database {
        true => {
            let settings = DatabaseSettings::sqlite(directory.path().join("throw-away.db"));
            Some(Db::connect(&settings, clock.clone()).await?)
        }
        false => None,
    };
    let (cache, metrics) = (Cache::in_memory(), MetricsRegistry::new());
    let context = Context::new(Inner {
        name: app.name,
        version: app.version,
        commit: app.commit,
        sessions: sessions(app, &loaded, &cache, &metrics, &clock),
        access_tokens: app
            .access_tokens
            .then(|| AccessTokens::new(loaded.get::<AuthSettings>(), key_ring(&loaded), clock.clone())),
        reloads: Reloads::new(&metrics),
        health: HealthRegistry::new(loaded.get::<HealthSettings>().clone(), clock.clone()),
        client: client(app, &loaded, &Traces::off(), &clock),
        traces: Traces::off(),
        settings: Arc::new(loaded),
        started: clock.monotonic(),
        jobs: jobs(app, db.as_ref(), &clock, &metrics),
        clock,
        lifecycle: Lifecycle::new(),
        metrics,
        db,
        cache,
    });
    Ok((context, directory))
}
