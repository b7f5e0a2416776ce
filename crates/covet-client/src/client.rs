//! [`Client`]: once a process; makes calls.

use std::fmt;
use std::sync::{Arc, OnceLock};

use covet_core::clock::Clock;
use covet_core::environment::Environment;
use covet_telemetry::metrics::Registry;
use covet_telemetry::traces::Traces;
use http::Method;
use reqwest::redirect;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;

use crate::plaintext::PlaintextRule;
use crate::retry::Budgets;
use crate::settings::ClientSettings;
use crate::{Call, Error, instruments};

/// Redirects that are followed, each only to where a call may go at all.
const REDIRECTS: usize = 5;

/// Calls other services. Clones are the same client: they share connections and retry budgets.
#[derive(Debug, Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

/// What a client is made of.
#[derive(Debug, Clone)]
pub struct ClientParts<'a> {
    /// Limits and retries.
    pub settings: &'a ClientSettings,
    /// Production calls by TLS only.
    pub environment: Environment,
    /// Who calls, as in `shop/1.2.3`.
    pub user_agent: String,
    /// What is handed on and recorded.
    pub traces: Traces,
    /// The time.
    pub clock: Clock,
}

pub(crate) struct Inner {
    pub(crate) settings: ClientSettings,
    pub(crate) plaintext: PlaintextRule,
    pub(crate) traces: Traces,
    pub(crate) clock: Clock,
    pub(crate) budgets: Budgets,
    user_agent: String,
    /// Made at the first call: reading the system's certificates takes some milliseconds, which a service that calls
    /// nobody need not wait for.
    http: OnceLock<Result<reqwest::Client, String>>,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Client {
    /// A client. Opens nothing.
    #[must_use]
    pub fn new(parts: ClientParts<'_>) -> Self {
        let ClientParts { settings, environment, user_agent, traces, clock } = parts;
        Self {
            inner: Arc::new(Inner {
                plaintext: PlaintextRule::new(environment, &settings.allow_plaintext),
                budgets: Budgets::new(settings),
                settings: settings.clone(),
                traces,
                clock,
                user_agent,
                http: OnceLock::new(),
            }),
        }
    }

    /// Declares the metrics of calls, so that they are shown before the first.
    pub fn declare_metrics(registry: &Registry) {
        registry.declare_all(instruments::ALL);
    }

    /// A `GET`.
    pub fn get(&self, url: impl reqwest::IntoUrl) -> Call {
        self.request(Method::GET, url)
    }

    /// A `HEAD`.
    pub fn head(&self, url: impl reqwest::IntoUrl) -> Call {
        self.request(Method::HEAD, url)
    }

    /// A `POST`.
    pub fn post(&self, url: impl reqwest::IntoUrl) -> Call {
        self.request(Method::POST, url)
    }

    /// A `PUT`.
    pub fn put(&self, url: impl reqwest::IntoUrl) -> Call {
        self.request(Method::PUT, url)
    }

    /// A `PATCH`.
    pub fn patch(&self, url: impl reqwest::IntoUrl) -> Call {
        self.request(Method::PATCH, url)
    }

    /// A `DELETE`.
    pub fn delete(&self, url: impl reqwest::IntoUrl) -> Call {
        self.request(Method::DELETE, url)
    }

    /// A request with this method. What is wrong with the URL is told when it is sent.
    pub fn request(&self, method: Method, url: impl reqwest::IntoUrl) -> Call {
        let http = self.inner.http.get_or_init(|| self.inner.make());
        let builder = http.as_ref().map(|http| http.request(method, url));
        Call::new(Arc::clone(&self.inner), builder.map_err(|reason| Error::Request(reason.clone())))
    }
}

impl Inner {
    fn make(&self) -> Result<reqwest::Client, String> {
        let tls = tls().map_err(|error| error.to_string())?;
        let plaintext = self.plaintext.clone();
        let follow = redirect::Policy::custom(move |attempt| match plaintext.check(attempt.url()) {
            Err(error) => attempt.error(error),
            Ok(()) if attempt.previous().len() > REDIRECTS => attempt.error("too many redirects"),
            Ok(()) => attempt.follow(),
        });
        let settings = &self.settings;
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            // What the environment says of proxies counts as far as it is a setting.
            .no_proxy()
            .redirect(follow)
            .referer(false)
            .user_agent(&self.user_agent)
            .connect_timeout(settings.connect_timeout)
            .pool_idle_timeout(settings.pool_idle_timeout)
            .pool_max_idle_per_host(settings.pool_max_idle);
        if let Some(proxy) = &settings.proxy {
            let no_proxy = settings.no_proxy.as_deref().and_then(reqwest::NoProxy::from_string);
            let proxy = reqwest::Proxy::https(proxy.expose()).map_err(crate::error::reason)?;
            builder = builder.proxy(proxy.no_proxy(no_proxy));
        }
        builder.build().map_err(crate::error::reason)
    }
}

/// TLS with the certificates that the system trusts. Where there are none, as in a container without any, nobody is
/// trusted: calls without TLS still work.
fn tls() -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let builder = match Verifier::new(provider) {
        Ok(verifier) => builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)),
        Err(error) => {
            tracing::warn!(
                %error,
                "the system trusts no certificates, so no service can be called by TLS; install ca-certificates, or set \
                 SSL_CERT_FILE"
            );
            builder.with_root_certificates(RootCertStore::empty())
        }
    };
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
