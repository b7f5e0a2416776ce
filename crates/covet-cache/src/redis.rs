//! Redis: one server, Sentinel or Cluster, behind one [`Redis`]. Commands are [`redis`]'s; connections, time limits and what
//! is tried again are ours.
//!
//! | you want to know | look in |
//! |---|---|
//! | what a URL may say | `redis/target.rs`, `redis/tls.rs` |
//! | how a connection is opened and proven | `redis/connect.rs` |
//! | what happens when it is lost, and when calls fail at once | `redis/kept.rs` |
//! | how a failover is followed | `redis/sentinel.rs`, `redis/cluster.rs` |
//! | where a command goes, and when it goes again | `redis/servers.rs`, `redis/command.rs`, [`Redis::call`] |
//! | what an error means | `redis/failure.rs` |
//!
//! Not here: what the cache makes of it (`remote.rs`), and messages (`pubsub/redis.rs`).

mod background;
mod cluster;
mod command;
mod connect;
mod failure;
mod info;
mod instruments;
mod kept;
mod script;
mod sentinel;
mod servers;
mod target;
mod tls;

use std::fmt;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use ::redis::{Cmd, FromRedisValue, Pipeline, Value};
use covet_core::clock::Clock;
use covet_core::settings::Invalid;
use covet_telemetry::metrics::instruments::CacheInstruments;
use futures_util::future::join_all;
use tokio::time::{Instant, timeout_at};

use crate::keyspace::hashed;
use crate::settings::CacheSettings;
use crate::{CacheOperation, Error, Result, operations};

use background::Background;
use command::is_idempotent;
use connect::Role;
use failure::{Failure, Passing};
use kept::Kept;
use servers::{Access, Servers};
use target::{Host, Target};

pub use ::redis;
pub(crate) use connect::{Live, Pushes};
pub use info::Info;
pub(crate) use instruments::ALL as METRICS;
pub use script::Script;

/// The longest name a key has. Of a longer one the hash is taken.
const KEY_BYTES: usize = 512;
/// Most attempts of one call, the first included: a bound beside that in time.
const ATTEMPTS: u32 = 16;
/// The first pause before another attempt, where one is needed; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(2);

/// Connections to Redis. Cheap to clone.
///
/// Every call is bounded by `COVET_CACHE__TIMEOUT`, with all that it needs: connecting, redirections, further attempts. It
/// is attempted again only if it has not run, or if running twice does no harm (`GET`, `SET`, `DEL` and the like; no
/// script, no `INCR`). While Redis is away calls fail at once.
#[derive(Clone)]
pub struct Redis(Arc<Inner>);

struct Inner {
    service: Arc<str>,
    timeout: Duration,
    database: u16,
    servers: Servers,
    instruments: CacheInstruments,
    clock: Clock,
    background: Background,
}

/// What is wrong with the settings.
pub(crate) fn check(settings: &CacheSettings) -> Vec<Invalid> {
    const EXAMPLE: &str = "rediss://worker:password@cache:6379/0";
    let mut problems = Vec::new();
    match settings.url.as_ref().map(Target::parse) {
        Some(Err(reason)) => problems.push(Invalid::new("url", reason).example(EXAMPLE)),
        Some(Ok(target)) => {
            if let Some(host) = target.plain_host().filter(|_| settings.require_tls) {
                let reason = format!(
                    "passwords and data would go to {host} in the clear; use rediss (rediss+sentinel, rediss+cluster), or allow \
                     it with COVET_CACHE__REQUIRE_TLS=false"
                );
                problems.push(Invalid::new("url", reason).example(EXAMPLE));
            }
        }
        None => {}
    }
    if settings.tls_certificate.is_some() != settings.tls_key.is_some() {
        let reason = "COVET_CACHE__TLS_CERTIFICATE and COVET_CACHE__TLS_KEY belong together: give both or none";
        problems.push(Invalid::new("tls_certificate", reason).example("/etc/covet/redis.pem"));
    }
    problems
}

impl Redis {
    /// Connects, and waits for that as long as for any connection. Does not fail because Redis is away.
    ///
    /// # Errors
    /// [`Error::Settings`].
    pub(crate) async fn connect(
        settings: &CacheSettings,
        service: &str,
        instruments: &CacheInstruments,
        clock: &Clock,
    ) -> Result<Self> {
        let url = settings.url.as_ref().ok_or_else(|| Error::Settings("REDIS_URL is not set".to_owned()))?;
        let target = Target::parse(url).map_err(Error::Settings)?;
        let database = target.database;
        let background =
            Background::start().map_err(|error| Error::Settings(format!("no thread for Redis: {error}")))?;
        let servers = Servers::start(target, settings, background.runtime()).map_err(Error::Settings)?;
        let redis = Self(Arc::new(Inner {
            service: service.into(),
            timeout: settings.timeout,
            database,
            servers,
            instruments: instruments.clone(),
            clock: clock.clone(),
            background,
        }));
        let connected =
            async { redis.0.servers.route(&::redis::cmd("PING"), Access::Master).await?.live().await.map(drop) };
        // Why there is none is told by who tries again.
        let _ = tokio::time::timeout(settings.connect_timeout, connected).await;
        Ok(redis)
    }

    /// Runs a command on the server that takes writes.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Timeout`], [`Error::Refused`], [`Error::Unexpected`], [`Error::Closed`].
    pub async fn call<T: FromRedisValue>(&self, operation: CacheOperation, command: &Cmd) -> Result<T> {
        let called = self.0.attempt(command, Access::Master, self.deadline());
        self.measured(operation, called).await.and_then(understood)
    }

    /// Runs a command that only reads, on a replica where `COVET_CACHE__READ_FROM_REPLICAS` says so and one is there. What
    /// it tells may be a moment old then.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub async fn read<T: FromRedisValue>(&self, operation: CacheOperation, command: &Cmd) -> Result<T> {
        let called = self.0.attempt(command, Access::Replica, self.deadline());
        self.measured(operation, called).await.and_then(understood)
    }

    /// Runs several in one round trip, without atomicity; on a cluster in one round trip for each node, side by side. Those
    /// of one node, and so of one key, run in their order.
    ///
    /// # Errors
    /// As [`call`](Self::call); the first error of one of them.
    pub async fn all<T: FromRedisValue>(&self, operation: CacheOperation, commands: &[Cmd]) -> Result<Vec<T>> {
        let called = self.0.attempt_all(commands, self.deadline());
        self.measured(operation, called).await?.into_iter().map(understood).collect()
    }

    /// Runs a script; its keys are of one slot. It may run twice only if a server says that the first time was none.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub async fn script<T: FromRedisValue>(
        &self,
        operation: CacheOperation,
        script: &Script,
        keys: &[&[u8]],
        arguments: &[&[u8]],
    ) -> Result<T> {
        let command = |name, what: &str| {
            let mut command = ::redis::cmd(name);
            command.arg(what).arg(keys.len()).arg(keys).arg(arguments);
            command
        };
        let deadline = self.deadline();
        let called = async {
            match self.0.attempt(&command("EVALSHA", script.hash()), Access::Master, deadline).await {
                Err(Failure::NoScript) => {
                    self.0.attempt(&command("EVAL", script.code()), Access::Master, deadline).await
                }
                outcome => outcome,
            }
        };
        self.measured(operation, called).await.and_then(understood)
    }

    /// The full name of a key: that of the service, a prefix, the key. Of a key that makes it longer than 512 bytes the
    /// SHA-256 is taken instead.
    #[must_use]
    pub fn key(&self, prefix: &str, key: impl Display) -> Vec<u8> {
        let service = &self.0.service;
        let name = format!("{service}:{prefix}:{key}");
        if name.len() <= KEY_BYTES {
            return name.into_bytes();
        }
        format!("{service}:{prefix}:{}", hashed(&name[service.len() + prefix.len() + 2..])).into_bytes()
    }

    /// What each master that answers tells about itself, with its address.
    pub async fn info(&self) -> Vec<(String, Info)> {
        let (deadline, database) = (self.deadline(), self.0.database);
        let asked = self.0.servers.masters().into_iter().map(async |master| {
            let live = in_time(deadline, self.0.timeout, master.live()).await.ok()?;
            let answer = in_time(deadline, self.0.timeout, live.run(&::redis::cmd("INFO"))).await.ok()?;
            let answer: String = ::redis::from_redis_value(answer).ok()?;
            Some((live.host.to_string(), Info::parse(&answer, database)))
        });
        join_all(asked).await.into_iter().flatten().collect()
    }

    /// Asks whether it answers; on a cluster, whether every master does. Not counted as an operation.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub async fn ping(&self) -> Result<()> {
        let (deadline, ping) = (self.deadline(), ::redis::cmd("PING"));
        let asked = async {
            // On a cluster this also waits until the masters are known.
            self.0.attempt(&ping, Access::Master, deadline).await?;
            let masters = self.0.servers.masters();
            let others = masters.iter().skip(usize::from(masters.len() == 1));
            let answers = join_all(others.map(|master| self.0.run_on(master, &ping, false, deadline))).await;
            answers.into_iter().try_for_each(|answer| answer.map(drop))
        };
        asked.await.map_err(|failure| failure.into_error(self.0.timeout))
    }

    /// False while it is away and calls fail at once; on a cluster while this is so for some keys.
    #[must_use]
    pub fn is_available(&self) -> bool {
        self.0.servers.are_available()
    }

    /// Closes its connections.
    pub(crate) async fn close(&self) {
        self.0.background.end();
    }

    /// Runs on the runtime of the connections.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.background.runtime().spawn(task);
    }

    /// A connection of its own to the server that takes writes (on a cluster: to one of them), for messages. To be called
    /// on the runtime of the connections.
    pub(crate) async fn open(&self, pushes: Pushes) -> Result<Live> {
        let opened = async {
            let master = self.0.servers.route(&::redis::cmd("PING"), Access::Master).await?;
            let host = master.live().await?.host.clone();
            self.0.servers.connector.open(&host, Role::Any, Some(pushes)).await
        };
        opened.await.map_err(|failure| failure.into_error(self.0.timeout))
    }

    /// Whether the server of this connection is the one that takes writes, as far as is known.
    pub(crate) fn is_current(&self, live: &Live) -> bool {
        let masters = self.0.servers.masters();
        self.0.servers.is_cluster()
            || masters.iter().filter_map(|master| master.now()).all(|master| master.host == live.host)
    }

    /// The full name of a channel.
    pub(crate) fn channel(&self, name: &str) -> String {
        format!("{}:channel:{name}", self.0.service)
    }

    /// `COVET_CACHE__TIMEOUT`.
    pub(crate) fn timeout(&self) -> Duration {
        self.0.timeout
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.0.timeout
    }

    async fn measured<T>(
        &self,
        operation: CacheOperation,
        called: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T> {
        let Inner { background, instruments, clock, timeout, .. } = &*self.0;
        if background.has_ended() {
            return Err(Error::Closed);
        }
        let began = clock.monotonic();
        let outcome = called.await;
        let took = clock.monotonic().saturating_duration_since(began);
        let outcome = outcome.map_err(|failure| {
            if failure.is_of_connection() {
                instruments.connection_failed(failure.kind());
            }
            failure.into_error(*timeout)
        });
        operations::ended(instruments, operation, took, outcome.as_ref().map(drop));
        outcome
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("available", &self.is_available()).finish_non_exhaustive()
    }
}

impl Inner {
    /// Runs a command, again if that is right and there is time.
    async fn attempt(&self, command: &Cmd, mut access: Access, deadline: Instant) -> Result<Value, Failure> {
        let (mut number, mut pause, mut redirection) = (1, FIRST_PAUSE, None);
        loop {
            let outcome = self.attempt_once(command, access, redirection.take(), deadline).await;
            let Err(failure) = outcome else { return outcome };
            if number == ATTEMPTS || !may_go_again(&failure, command, access) {
                return Err(failure);
            }
            match &failure {
                Failure::Moved(host) => redirection = Some(Redirection { host: host.clone(), asking: false }),
                Failure::Ask(host) => redirection = Some(Redirection { host: host.clone(), asking: true }),
                _ if access == Access::Replica => access = Access::Master,
                Failure::Passing(_) => {
                    let over = Instant::now() + pause.mul_f64(0.5 + fastrand::f64());
                    if over >= deadline {
                        return Err(failure);
                    }
                    tokio::time::sleep_until(over).await;
                    pause *= 2;
                }
                _ => {}
            }
            if matches!(failure, Failure::Moved(_) | Failure::Passing(_)) {
                self.servers.doubt();
            }
            instruments::retried(failure.kind());
            number += 1;
        }
    }

    async fn attempt_once(
        &self,
        command: &Cmd,
        access: Access,
        redirection: Option<Redirection>,
        deadline: Instant,
    ) -> Result<Value, Failure> {
        let asking = redirection.as_ref().is_some_and(|redirection| redirection.asking);
        let node = match redirection.and_then(|redirection| self.servers.at(&redirection.host)) {
            Some(node) => node,
            None => self.in_time(deadline, self.servers.route(command, access)).await?,
        };
        self.run_on(&node, command, asking, deadline).await
    }

    async fn run_on(&self, node: &Kept, command: &Cmd, asking: bool, deadline: Instant) -> Result<Value, Failure> {
        let live = self.in_time(deadline, node.live()).await?;
        let asked = async {
            if !asking {
                return live.run(command).await;
            }
            let mut both = Pipeline::with_capacity(2);
            both.cmd("ASKING").add_command(command.clone());
            let answer = live.run_all(&both, 1).await?.pop();
            Failure::in_answer(answer.unwrap_or_default())
        };
        let answer = self.in_time(deadline, asked).await;
        note(node, &live, answer.as_ref().err());
        answer
    }

    /// Runs all commands: those of one node in one round trip and in their order, nodes side by side.
    async fn attempt_all(&self, commands: &[Cmd], deadline: Instant) -> Result<Vec<Value>, Failure> {
        if let [command] = commands {
            return Ok(vec![self.attempt(command, Access::Master, deadline).await?]);
        }
        let mut nodes: Vec<(Arc<Kept>, Vec<usize>)> = Vec::new();
        for (index, command) in commands.iter().enumerate() {
            let node = self.in_time(deadline, self.servers.route(command, Access::Master)).await?;
            match nodes.iter_mut().find(|(known, _)| Arc::ptr_eq(known, &node)) {
                Some((_, indexes)) => indexes.push(index),
                None => nodes.push((node, vec![index])),
            }
        }
        let ran = nodes.iter().map(async |(node, indexes)| {
            let commands: Vec<&Cmd> = indexes.iter().map(|index| &commands[*index]).collect();
            (indexes, self.attempt_on(node, &commands, deadline).await)
        });
        let mut answers: Vec<Value> = commands.iter().map(|_| Value::Nil).collect();
        for (indexes, ran) in join_all(ran).await {
            for (index, answer) in indexes.iter().zip(ran?) {
                answers[*index] = answer;
            }
        }
        Ok(answers)
    }

    /// Runs commands of one node, and those again, one after another, for which that is right.
    async fn attempt_on(&self, node: &Kept, commands: &[&Cmd], deadline: Instant) -> Result<Vec<Value>, Failure> {
        let mut answers: Vec<Result<Value, Failure>> = match self.run_all_on(node, commands, deadline).await {
            Ok(answers) => answers.into_iter().map(Failure::in_answer).collect(),
            Err(failure) => vec![Err(failure); commands.len()],
        };
        answers.resize_with(commands.len(), || Err(Failure::Unexpected("fewer answers than commands".to_owned())));
        let mut finished = Vec::with_capacity(commands.len());
        for (answer, command) in answers.into_iter().zip(commands) {
            finished.push(match answer {
                Err(failure) if may_go_again(&failure, command, Access::Master) => {
                    instruments::retried(failure.kind());
                    self.attempt(command, Access::Master, deadline).await?
                }
                answer => answer?,
            });
        }
        Ok(finished)
    }

    async fn run_all_on(&self, node: &Kept, commands: &[&Cmd], deadline: Instant) -> Result<Vec<Value>, Failure> {
        let live = self.in_time(deadline, node.live()).await?;
        let mut pipeline = Pipeline::with_capacity(commands.len());
        for command in commands {
            pipeline.add_command((*command).clone());
        }
        let answers = self.in_time(deadline, live.run_all(&pipeline, 0)).await;
        let first_failure = match &answers {
            Err(failure) => Some(failure.clone()),
            Ok(values) => values.iter().find_map(|value| match value {
                Value::ServerError(_) => Failure::in_answer(value.clone()).err(),
                _ => None,
            }),
        };
        note(node, &live, first_failure.as_ref());
        answers
    }

    async fn in_time<T>(
        &self,
        deadline: Instant,
        future: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        in_time(deadline, self.timeout, future).await
    }
}

/// Where a cluster says that a command should go.
struct Redirection {
    host: Host,
    /// Once, while the slot is being moved.
    asking: bool,
}

/// Whether a command may be attempted again: it has not run, or running twice does no harm.
fn may_go_again(failure: &Failure, command: &Cmd, access: Access) -> bool {
    match failure {
        Failure::Passing(_) | Failure::Moved(_) | Failure::Ask(_) => true,
        Failure::Lost => access == Access::Replica || is_idempotent(command),
        // From the master.
        Failure::NotConnected(_) => access == Access::Replica,
        Failure::TimedOut(_) | Failure::NoScript | Failure::Refused(_) | Failure::Unexpected(_) => false,
    }
}

/// What a call shows of its server.
fn note(node: &Kept, live: &Arc<Live>, failure: Option<&Failure>) {
    match failure {
        Some(Failure::TimedOut(_)) => node.unanswered(),
        Some(Failure::Lost | Failure::Passing(Passing::ReadOnly)) => node.useless(live),
        _ => node.answered(),
    }
}

async fn in_time<T>(
    deadline: Instant,
    limit: Duration,
    future: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    timeout_at(deadline, future).await.unwrap_or(Err(Failure::TimedOut(limit)))
}

fn understood<T: FromRedisValue>(answer: Value) -> Result<T> {
    ::redis::from_redis_value(answer).map_err(|error| Error::Unexpected(error.to_string()))
}

#[cfg(test)]
mod tests {
    use covet_core::settings::{Loader, Sources};

    use super::*;

    fn load(variables: &[(&'static str, &'static str)]) -> Result<(), String> {
        let mut loader = Loader::new(Sources::of(variables.iter().copied()));
        loader.section::<CacheSettings>();
        loader.finish().map(drop).map_err(|problems| problems.to_string())
    }

    #[test]
    fn production_refuses_a_connection_in_the_clear_unless_told() {
        let production = ("COVET_ENV", "production");
        for url in [
            "redis://:hunter2@cache/0",
            "redis+sentinel://:hunter2@127.0.0.1,cache/mymaster",
            "redis+cluster://:hunter2@cache",
        ] {
            let problems = load(&[production, ("REDIS_URL", url)]).unwrap_err();
            assert!(problems.contains("in the clear") && problems.contains("rediss"), "{problems}");
            assert!(!problems.contains("hunter2"), "{problems}");
            load(&[production, ("REDIS_URL", url), ("COVET_CACHE__REQUIRE_TLS", "false")]).unwrap();
            load(&[("REDIS_URL", url)]).unwrap();
        }
        for url in ["rediss://:hunter2@cache/0", "redis://127.0.0.1", "redis+sentinel://localhost/mymaster"] {
            load(&[production, ("REDIS_URL", url)]).unwrap();
        }
    }

    #[test]
    fn settings_that_cannot_work_are_refused_together() {
        let variables = [("REDIS_URL", "redis://:hunter2@h1,h2"), ("COVET_CACHE__TLS_KEY", "/etc/covet/redis.key")];
        let problems = load(&variables).unwrap_err();
        assert!(problems.contains("several hosts") && problems.contains("belong together"), "{problems}");
        assert!(!problems.contains("hunter2"), "{problems}");
    }
}
