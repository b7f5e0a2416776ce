//! When certificates and keys are read again: as soon as their files change, on SIGHUP, and every `COVET_RELOAD__INTERVAL`.
//!
//! Files are looked at every five seconds, because the directory of a mounted secret may be replaced as a whole, which a watch
//! on it would not survive. What cannot be read is told once and tried again at every look; meanwhile the old one stays.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use covet_core::lifecycle::Lifecycle;
use covet_core::reload::FileStamps;
pub use covet_core::reload::{Change, Reload, ReloadError};
use covet_core::settings::Loaded;
use covet_identity::session::{SessionSettings, Sessions};
use covet_identity::settings::AuthSettings;
use covet_identity::token::{AccessTokens, KeyRing};
use covet_telemetry::logging::{Actor, audit, vocabulary};
use covet_telemetry::metrics::Registry;
use tokio::sync::Notify;

use crate::settings::ReloadSettings;

covet_telemetry::declare_metrics! {
    /// Reloads.
    pub(crate) RELOADS;

    /// Certificates and keys that were read again because they had changed.
    ///
    /// `what`: `tls_certificate`, `access_token_keys`, `session_keys`, and names of the service's own. `status`: `success`,
    /// `failure` (the old one stays; counted once for each reason, however often it is tried again).
    counter APP_RELOADS_TOTAL = "app_reloads_total" {what, status};
    /// Whether the last attempt to read it failed: 1, else 0.
    ///
    /// Of several processes, the largest. At 1 the log has the reason, and what was there before is in use.
    gauge(largest) APP_RELOAD_FAILING = "app_reload_failing" {what};
}

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What is read again while the service runs. Cheap to clone.
///
/// ```
/// use std::path::PathBuf;
///
/// use covet::Context;
/// use covet::reload::{Change, Reload, ReloadError};
///
/// /// The licence of the shop.
/// struct Licence;
///
/// impl Reload for Licence {
///     fn name(&self) -> &'static str {
///         "licence"
///     }
///
///     fn files(&self) -> Vec<PathBuf> {
///         vec!["/run/secrets/licence".into()]
///     }
///
///     fn reload(&self) -> Result<Option<Change>, ReloadError> {
///         let text = std::fs::read_to_string("/run/secrets/licence")?;
///         // Check it, put it in place, and say what changed.
///         Ok(Change::between("of last year".into(), text))
///     }
/// }
///
/// fn watch(context: &Context) {
///     context.reloads().add(Licence);
/// }
/// ```
#[derive(Clone)]
pub struct Reloads {
    shared: Arc<Shared>,
}

struct Shared {
    watched: Mutex<Vec<Watched>>,
    now: Notify,
    metrics: Registry,
}

struct Watched {
    what: Arc<dyn Reload>,
    /// `None`: it has not been looked at.
    seen: Option<FileStamps>,
    /// Why it could not be read the last time.
    failing: Option<String>,
}

impl Reloads {
    pub(crate) fn new(metrics: &Registry) -> Self {
        metrics.declare_all(RELOADS);
        Self { shared: Arc::new(Shared { watched: Mutex::default(), now: Notify::new(), metrics: metrics.clone() }) }
    }

    /// Reads this again when its files change. Without files it is not looked at.
    pub fn add(&self, what: impl Reload) {
        let what: Arc<dyn Reload> = Arc::new(what);
        if what.files().is_empty() {
            return;
        }
        self.shared.metrics.gauge(APP_RELOAD_FAILING, &[what.name()]).set(0.0);
        self.watched().push(Watched { what, seen: None, failing: None });
    }

    /// Reads everything again now, as SIGHUP does.
    pub fn all_now(&self) {
        self.shared.now.notify_one();
    }

    /// Looks, for as long as the process works.
    pub(crate) async fn run(self, settings: ReloadSettings, lifecycle: Lifecycle) {
        let mut look = tokio::time::interval(LOOK_EVERY);
        let mut everything = tokio::time::interval(settings.interval);
        // The first look reads everything.
        everything.reset();
        loop {
            let all = tokio::select! {
                () = lifecycle.stopping().cancelled() => return,
                () = self.shared.now.notified() => {
                    tracing::info!("certificates and keys are read again");
                    true
                }
                _ = everything.tick() => true,
                _ = look.tick() => false,
            };
            let reloads = self.clone();
            // A file may lie on a network: whoever serves does not wait for it.
            if tokio::task::spawn_blocking(move || reloads.look(all)).await.is_err() {
                tracing::error!("certificates and keys were not looked at: the look ended early");
            }
        }
    }

    /// Reads again what has changed or failed; with `all`, everything.
    fn look(&self, all: bool) {
        for watched in self.watched().iter_mut() {
            let stamps = FileStamps::of(&watched.what.files());
            if all || watched.failing.is_some() || watched.seen.as_ref() != Some(&stamps) {
                watched.seen = Some(stamps);
                watched.reload(&self.shared.metrics);
            }
        }
    }

    fn watched(&self) -> std::sync::MutexGuard<'_, Vec<Watched>> {
        self.shared.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watched {
    fn reload(&mut self, metrics: &Registry) {
        let what = self.what.name();
        let count = |status| metrics.counter(APP_RELOADS_TOTAL, &[what, status]).increment(1);
        let record = || audit(vocabulary::CREDENTIAL_CHANGED).actor(Actor::Service).target("credential", what);
        let failing = match self.what.reload() {
            Ok(None) => None,
            Ok(Some(Change { from, to })) => {
                count("success");
                record().changed(from, to).log("read again: another is in place");
                None
            }
            Err(error) => {
                let reason = error.to_string();
                if self.failing.as_ref() != Some(&reason) {
                    count("failure");
                    tracing::error!(what, error = reason, "cannot be read again; the one before stays in place");
                    record().failure("unusable").log("read again: refused");
                }
                Some(reason)
            }
        };
        metrics.gauge(APP_RELOAD_FAILING, &[what]).set(if failing.is_some() { 1.0 } else { 0.0 });
        self.failing = failing;
    }
}

impl fmt::Debug for Reloads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.watched().iter().map(|watched| watched.what.name()).collect();
        f.debug_struct("Reloads").field("watched", &names).finish_non_exhaustive()
    }
}

/// `JWT_SECRET_KEY`.
pub(crate) struct AccessTokenKeys {
    pub(crate) tokens: AccessTokens,
    pub(crate) loaded: Arc<Loaded>,
}

impl Reload for AccessTokenKeys {
    fn name(&self) -> &'static str {
        "access_token_keys"
    }

    fn files(&self) -> Vec<std::path::PathBuf> {
        self.loaded.file_of("JWT_SECRET_KEY").into_iter().collect()
    }

    fn reload(&self) -> Result<Option<Change>, ReloadError> {
        let settings: AuthSettings = self.loaded.reread()?;
        let keys = KeyRing::parse(&settings.jwt_secret_key, self.loaded.environment())?;
        Ok(self.tokens.replace_keys(keys))
    }
}

/// `SECRET_KEY`.
pub(crate) struct SessionKeys {
    pub(crate) sessions: Sessions,
    pub(crate) loaded: Arc<Loaded>,
}

impl Reload for SessionKeys {
    fn name(&self) -> &'static str {
        "session_keys"
    }

    fn files(&self) -> Vec<std::path::PathBuf> {
        self.loaded.file_of("SECRET_KEY").into_iter().collect()
    }

    fn reload(&self) -> Result<Option<Change>, ReloadError> {
        let settings: SessionSettings = self.loaded.reread()?;
        Ok(self.sessions.replace_keys(&settings.secret_key, self.loaded.environment())?)
    }
}
