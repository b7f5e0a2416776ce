//! A throw-away Redis server (recipe R-REDIS). Several that belong together: `redis/sentinel.rs`, `redis/cluster.rs`.

mod cluster;
mod log;
mod node;
mod sentinel;

use std::path::PathBuf;
use std::process::ExitStatus;

use crate::{Certificate, Process, Result, TempDir};

use node::{Access, Node};

pub use cluster::RedisCluster;
pub use sentinel::RedisSentinel;

/// A Redis server of its own on a free port, empty, without persistence.
#[derive(Debug)]
pub struct Redis {
    node: Node,
    certificate: Option<Certificate>,
}

/// Settings of a [`Redis`] before it starts.
#[derive(Debug, Default)]
pub struct RedisBuilder {
    password: Option<String>,
    user: Option<(String, String)>,
    certificate: Option<Certificate>,
    settings: Vec<(String, String)>,
}

impl Redis {
    /// Starts a server.
    ///
    /// # Errors
    ///
    /// [`crate::Error::MissingProgram`] without an installed Redis; otherwise what the server said.
    pub async fn start() -> Result<Self> {
        Self::builder().start().await
    }

    /// To set a password, an ACL user, TLS or lines of `redis.conf`.
    #[must_use]
    pub fn builder() -> RedisBuilder {
        RedisBuilder::default()
    }

    /// The value for `REDIS_URL`.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_at(self.port())
    }

    /// The value for `REDIS_URL` when the server is reached through another port of this machine, such as that of a
    /// [`FaultProxy`](crate::FaultProxy).
    #[must_use]
    pub fn url_at(&self, port: u16) -> String {
        let scheme = if self.certificate.is_some() { "rediss" } else { "redis" };
        format!("{scheme}://{}127.0.0.1:{port}/0", self.node.access().user_info())
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.node.access().port
    }

    /// The authority that clients have to trust, a PEM file; none without TLS.
    #[must_use]
    pub fn authority(&self) -> Option<PathBuf> {
        self.certificate.as_ref().map(Certificate::certificate_path)
    }

    /// The server process, for its output and its state.
    ///
    /// # Errors
    ///
    /// [`crate::Error::NotRunning`] while it is stopped.
    pub fn process(&self) -> Result<&Process> {
        self.node.process()
    }

    /// Runs one command with `redis-cli` and returns what it printed, for example `["GET", "key"]`.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Command`] with the server's message.
    pub async fn cli(&self, command: &[&str]) -> Result<String> {
        self.node.access().cli(command).await
    }

    /// Stops it as an operator would.
    ///
    /// # Errors
    ///
    /// [`crate::Error::NotRunning`], or [`crate::Error::Deadline`] when it does not end.
    pub async fn stop(&mut self) -> Result<ExitStatus> {
        self.node.stop().await
    }

    /// Kills it as the kernel would when memory runs out.
    ///
    /// # Errors
    ///
    /// As [`Redis::stop`].
    pub async fn kill9(&mut self) -> Result<ExitStatus> {
        self.node.kill9().await
    }

    /// Starts it again on the same port, empty.
    ///
    /// # Errors
    ///
    /// What the server said instead of answering.
    pub async fn start_again(&mut self) -> Result<()> {
        self.node.start().await
    }

    /// Freezes the server: connections are accepted, nothing answers.
    ///
    /// # Errors
    ///
    /// [`crate::Error::NotRunning`] while it is stopped.
    pub fn pause(&self) -> Result<()> {
        self.node.pause()
    }

    /// Ends [`Redis::pause`].
    ///
    /// # Errors
    ///
    /// [`crate::Error::NotRunning`] while it is stopped.
    pub fn resume(&self) -> Result<()> {
        self.node.resume()
    }
}

impl RedisBuilder {
    /// Clients have to give this password.
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    /// An ACL user, who may do everything with keys and nothing to the server; [`Redis::url`] is his. `redis-cli` still
    /// signs in as the default user.
    #[must_use]
    pub fn user(mut self, name: &str, password: &str) -> Self {
        self.user = Some((name.to_owned(), password.to_owned()));
        self
    }

    /// Serves TLS and nothing else, with this certificate.
    #[must_use]
    pub fn certificate(mut self, certificate: Certificate) -> Self {
        self.certificate = Some(certificate);
        self
    }

    /// A line of `redis.conf`, for example `("maxmemory", "10mb")`.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts the server.
    ///
    /// # Errors
    ///
    /// As [`Redis::start`].
    pub async fn start(self) -> Result<Redis> {
        let Self { password, user, certificate, settings } = self;
        let directory = TempDir::new("redis")?;
        let mut access = Access::new(password)?;
        access.authority = certificate.as_ref().map(Certificate::certificate_path);
        access.user.clone_from(&user);
        let mut lines = settings;
        if let Some((name, password)) = &user {
            lines.push(("user".to_owned(), format!("{name} on >{password} ~* &* +@all -@dangerous +info +role")));
        }
        if let Some(certificate) = &certificate {
            let path = |path: PathBuf| path.display().to_string();
            lines.push(("tls-port".to_owned(), access.port.to_string()));
            lines.push(("tls-cert-file".to_owned(), path(certificate.certificate_path())));
            lines.push(("tls-key-file".to_owned(), path(certificate.key_path())));
            lines.push(("tls-ca-cert-file".to_owned(), path(certificate.certificate_path())));
            lines.push(("tls-auth-clients".to_owned(), "no".to_owned()));
        }
        let mut redis = Redis { node: Node::new(access, directory, &lines)?, certificate };
        redis.start_again().await?;
        Ok(redis)
    }
}
