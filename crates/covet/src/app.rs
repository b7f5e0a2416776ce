//! A service, put together: what `main` says.

use std::convert::Infallible;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use covet_core::health::{Check, Criticality};
use covet_core::settings::{Loader, Section};
use covet_data::Migrations;
use covet_http::axum::extract::Request;
use covet_http::axum::response::{IntoResponse, Response};
use covet_http::axum::routing::Route;
use covet_http::pipeline::BeforeLayers;
use covet_http::rate_limit::{Asking, Trusts};
use covet_identity::session::SessionSettings;
use covet_identity::settings::AuthSettings;
use covet_jobs::settings::JobSettings;
use covet_jobs::{Handlers, InvalidSchedule, Job, Schedule};
use tower::util::BoxCloneService;
use tower::{Layer, Service};
use utoipa::openapi::OpenApi;

use crate::periodic::PeriodicTask;
use crate::{Context, Error, Router, command, init};

type MakeRoutes = Box<dyn Fn(&Context) -> Router + Send + Sync>;
type MakeHandlers = Box<dyn Fn(&Context) -> Result<Handlers, InvalidSchedule> + Send + Sync>;
type AddLayer = Box<dyn Fn(Router) -> Router + Send + Sync>;
type ReadSection = Box<dyn Fn(&mut Loader) + Send + Sync>;

/// A service under construction.
///
/// ```no_run
/// use covet::prelude::*;
///
/// #[tokio::main]
/// async fn main() -> covet::Result {
///     App::new("shop").routes(routes).run().await
/// }
///
/// fn routes(_: &Context) -> Router {
///     Router::new().route("/", get(async || "hello"))
/// }
/// ```
#[must_use]
pub struct App {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    pub(crate) commit: Option<&'static str>,
    pub(crate) openapi: Option<fn() -> OpenApi>,
    pub(crate) routes: Vec<MakeRoutes>,
    pub(crate) migrations: Option<Migrations>,
    pub(crate) sections: Vec<ReadSection>,
    pub(crate) checks: Vec<(String, Criticality, Arc<dyn Check>)>,
    pub(crate) periodic: Vec<PeriodicTask>,
    pub(crate) jobs: Vec<MakeHandlers>,
    pub(crate) layers: Vec<AddLayer>,
    pub(crate) before: BeforeLayers,
    pub(crate) trusts: Vec<Trusts>,
    pub(crate) database: bool,
    pub(crate) sessions: bool,
    pub(crate) access_tokens: bool,
}

impl App {
    /// A service of this name. It appears in logs, metrics and the API description.
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            version: env!("CARGO_PKG_VERSION"),
            commit: None,
            openapi: None,
            routes: Vec::new(),
            migrations: None,
            sections: Vec::new(),
            checks: Vec::new(),
            periodic: Vec::new(),
            jobs: Vec::new(),
            layers: Vec::new(),
            before: BeforeLayers::default(),
            trusts: Vec::new(),
            database: true,
            sessions: false,
            access_tokens: false,
        }
    }

    /// The service's version: `env!("CARGO_PKG_VERSION")`. Shown by `--version`, `/health`, `app_version_info` and the
    /// API description.
    pub fn version(mut self, version: &'static str) -> Self {
        self.version = version;
        self
    }

    /// The commit that the service was built from: `option_env!("GIT_COMMIT")`, with that variable set where it is
    /// built. Shown on the operator's page.
    pub fn commit(mut self, commit: Option<&'static str>) -> Self {
        self.commit = commit;
        self
    }

    /// What the API description says beside its routes: title, security schemes, tags. A `#[derive(OpenApi)]` type's
    /// `openapi`, called when somebody asks for the description.
    pub fn openapi(mut self, document: fn() -> OpenApi) -> Self {
        self.openapi = Some(document);
        self
    }

    /// Adds routes. Called once at start-up, with everything connected.
    pub fn routes(mut self, make: impl Fn(&Context) -> Router + Send + Sync + 'static) -> Self {
        self.routes.push(Box::new(make));
        self
    }

    /// Puts a tower layer before every route of the service, inside Covet's own pipeline: it sees requests that have an
    /// id and are within limits. Layers for some routes go on [`Router::layer`].
    pub fn layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<Route> + Clone + Send + Sync + 'static,
        L::Service: Service<Request> + Clone + Send + Sync + 'static,
        <L::Service as Service<Request>>::Response: IntoResponse + 'static,
        <L::Service as Service<Request>>::Error: Into<Infallible> + 'static,
        <L::Service as Service<Request>>::Future: Send + 'static,
    {
        self.layers.push(Box::new(move |router| router.layer(layer.clone())));
        self
    }

    /// Puts a tower layer before everything, Covet's own pipeline too. It costs every request an allocation or two, and
    /// what it answers itself is neither counted nor logged.
    pub fn layer_before<L>(mut self, layer: L) -> Self
    where
        L: Layer<BoxCloneService<Request, Response, Infallible>> + Send + Sync + 'static,
        L::Service: Service<Request, Error = Infallible> + Clone + Send + 'static,
        <L::Service as Service<Request>>::Response: IntoResponse + 'static,
        <L::Service as Service<Request>>::Future: Send + 'static,
    {
        self.before.add(layer);
        self
    }

    /// Lets requests past every rate limit, beside those from the networks in `COVET_RATE_LIMIT__TRUSTED`: whenever one of these
    /// says yes. It is asked for each request, before anything is known of the caller, so it must be quick, and what it goes by
    /// must not be anybody's to send.
    ///
    /// ```
    /// use covet::prelude::*;
    ///
    /// // The gateway in front sets this header, and removes it from what comes from outside.
    /// let app = App::new("shop").trust_callers(|asking| asking.headers.contains_key("x-internal-caller"));
    /// ```
    pub fn trust_callers(mut self, trusts: impl Fn(&Asking<'_>) -> bool + Send + Sync + 'static) -> Self {
        self.trusts.push(Arc::new(trusts));
        self
    }

    /// The schema of the database: `migrations!()` embeds the folder `migrations/` beside `Cargo.toml`.
    pub fn migrations(mut self, migrations: Migrations) -> Self {
        self.migrations = Some(migrations);
        self
    }

    /// Reads a section of settings of your own.
    pub fn settings<S: Section + Send + Sync + 'static>(mut self) -> Self {
        self.sections.push(Box::new(|loader| {
            loader.section::<S>();
        }));
        self
    }

    /// Adds a health check that the service can go on without: its failure degrades `/health`.
    pub fn health(self, name: impl Into<String>, check: impl Check) -> Self {
        self.check(name.into(), Criticality::NonCritical, check)
    }

    /// Adds a health check that the service cannot go on without: its failure makes the instance not ready. Not for
    /// what all instances share: they would all be taken out at once.
    pub fn health_critical(self, name: impl Into<String>, check: impl Check) -> Self {
        self.check(name.into(), Criticality::Critical, check)
    }

    fn check(mut self, name: String, criticality: Criticality, check: impl Check) -> Self {
        self.checks.push((name, criticality, Arc::new(check)));
        self
    }

    /// Runs `work` every now and then, in every process that works. It must be harmless to run twice at once.
    pub fn periodic<F, Fut>(mut self, name: &'static str, every: Duration, work: F) -> Self
    where
        F: Fn(Context) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Error>> + Send + 'static,
    {
        self.periodic.push(PeriodicTask::new(name, every, work));
        self
    }

    /// Does jobs of this type, which are added by [`Context::jobs`]. In `serve` too, unless `COVET_WORKER__IN_PROCESS` is false, and in
    /// `worker`. Reads the section `jobs` of the settings. The tables are the service's: `services/api/migrations/0010_jobs`.
    ///
    /// ```no_run
    /// use covet::jobs::{Failure, Job, Run};
    /// use covet::prelude::*;
    /// use serde::{Deserialize, Serialize};
    ///
    /// /// Tells the warehouse of an order.
    /// #[derive(Serialize, Deserialize)]
    /// struct Ship {
    ///     order: i64,
    /// }
    ///
    /// impl Job for Ship {
    ///     type State = Context;
    ///     const NAME: &'static str = "ship";
    ///
    ///     async fn run(self, run: Run<Context>) -> Result<(), Failure> {
    ///         let url = format!("https://warehouse.internal/orders/{}", self.order);
    ///         let call = run.state().client().post(url).header("idempotency-key", run.id().to_string());
    ///         call.send().await?.error_for_status()?;
    ///         Ok(())
    ///     }
    /// }
    ///
    /// fn shop() -> App {
    ///     App::new("shop").migrations(migrations!("$CARGO_MANIFEST_DIR/src")).job::<Ship>().routes(|context| {
    ///         Router::new().route("/orders", post(order)).with_state(context.clone())
    ///     })
    /// }
    ///
    /// async fn order(State(context): State<Context>) -> Result<(), Error> {
    ///     let transaction = context.db().begin().await?;
    ///     // … INSERT INTO orders …
    ///     context.jobs().add(Ship { order: 7 }).within(&transaction).await?;
    ///     transaction.commit().await?;
    ///     Ok(())
    /// }
    /// ```
    pub fn job<J: Job<State = Context>>(self) -> Self {
        self.jobs(|context| Ok(Handlers::new().job::<J>(context.clone())))
    }

    /// Does jobs whose state is another than the [`Context`], and schedules of them. Called once at start-up, with everything connected.
    pub fn jobs(
        mut self,
        make: impl Fn(&Context) -> Result<Handlers, InvalidSchedule> + Send + Sync + 'static,
    ) -> Self {
        self.jobs.push(Box::new(make));
        match self.jobs.len() {
            1 => self.settings::<JobSettings>(),
            _ => self,
        }
    }

    /// Does a job by the clock: `App::schedule("0 2 * * *", NightlyReport)`, every night at two, UTC. Once for each time, however many
    /// processes there are. With a time zone, or another way with times that were missed: [`jobs`](Self::jobs) and [`Schedule`].
    pub fn schedule<J: Job + Clone + Sync>(self, pattern: &'static str, job: J) -> Self {
        self.jobs(move |_| Ok(Handlers::new().schedule(Schedule::new(pattern, job.clone())?)))
    }

    /// Gives the service sessions by cookie, in Redis where `REDIS_URL` names one, else in memory: handlers take a
    /// [`Session`](covet_identity::session::Session), everything else is behind [`Context::sessions`]. Reads the
    /// section `session` of the settings, and shows `app_active_sessions`.
    ///
    /// ```no_run
    /// use covet::identity::session::{Session, SessionOrNew};
    /// use covet::prelude::*;
    ///
    /// fn shop() -> App {
    ///     App::new("shop").sessions().routes(|context| {
    ///         Router::new().route("/session", get(who).post(log_in).delete(log_out)).with_state(context.clone())
    ///     })
    /// }
    ///
    /// async fn log_in(session: SessionOrNew) -> Result<(), Error> {
    ///     # let user = covet::ids::new_id(&covet::clock::Clock::system());
    ///     // After the password has been checked:
    ///     session.log_in(user).await?;
    ///     Ok(())
    /// }
    ///
    /// async fn who(session: Session) -> String {
    ///     format!("{:?}", session.user())
    /// }
    ///
    /// async fn log_out(session: Session) -> Result<(), Error> {
    ///     session.end().await?;
    ///     Ok(())
    /// }
    /// ```
    pub fn sessions(mut self) -> Self {
        self.sessions = true;
        self.settings::<SessionSettings>()
    }

    /// Gives the service access tokens: they are issued, checked and revoked by [`Context::access_tokens`], and their public
    /// keys are at `/.well-known/jwks.json`. Reads the section `auth` of the settings. The keys are read again when their
    /// file changes; ended logins are refused by all instances.
    ///
    /// ```no_run
    /// use covet::identity::caller::{Authentication, Caller};
    /// use covet::prelude::*;
    ///
    /// #[derive(Clone)]
    /// struct Shop(Context);
    ///
    /// impl covet::axum::extract::FromRef<Shop> for Authentication {
    ///     fn from_ref(shop: &Shop) -> Self {
    ///         Self::by_token(shop.0.access_tokens().clone())
    ///     }
    /// }
    ///
    /// fn shop() -> App {
    ///     App::new("shop").access_tokens().routes(|context| {
    ///         Router::new().route("/me", get(me).delete(log_out)).with_state(Shop(context.clone()))
    ///     })
    /// }
    ///
    /// async fn me(caller: Caller) -> String {
    ///     caller.user_id.to_string()
    /// }
    ///
    /// async fn log_out(State(Shop(context)): State<Shop>, caller: Caller) {
    ///     context.access_tokens().revoke(&[caller.session_id]).await;
    /// }
    /// ```
    pub fn access_tokens(mut self) -> Self {
        self.access_tokens = true;
        self.settings::<AuthSettings>()
    }

    /// Does without a database: none is opened, and `migrate` has nothing to do.
    pub fn without_database(mut self) -> Self {
        self.database = false;
        self
    }

    /// Reads the command line and does what it says; without a command, serves. Everything there is to say has been
    /// said on the terminal or in the log when it returns.
    ///
    /// # Errors
    /// None now; the type leaves room.
    pub async fn run(self) -> crate::Result<ExitCode> {
        if init::is_needed() {
            return Ok(init::supervise().await);
        }
        Ok(command::run(self).await)
    }
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("name", &self.name).field("version", &self.version).finish_non_exhaustive()
    }
}
