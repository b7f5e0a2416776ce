//! Opening a connection: which host, how protected, in which role, and how the session is set up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use covet_core::clock::Clock;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_postgres::config::SslNegotiation;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::connection::{Connection, Parts, Status, drive};
use super::session::Sessions;
use super::socket::{Endpoint, Socket};
use super::target::{Server, SslMode, Target};
use super::tls;
use super::wire::{Watched, WatchedTls, Wire};
use crate::settings::DatabaseSettings;
use crate::{Error, Result};

/// A host that has not answered for so long is worth asking the others too.
const PATIENCE: Duration = Duration::from_millis(500);
/// While a host is silent, the others are asked so often.
const AGAIN: Duration = Duration::from_secs(1);

/// What is needed to open one more connection.
#[derive(Debug)]
pub(super) struct Opener {
    servers: Vec<Reach>,
    role: Role,
    clock: Clock,
    sessions: Arc<Sessions>,
    connect_timeout: Duration,
    statement_cache: usize,
    pooled: bool,
    /// The highest timeline that a primary was on.
    timeline: AtomicU32,
    /// A replica is looked for, and a primary was met: it has been promoted.
    promoted: AtomicBool,
}

/// A host and how to get there.
struct Reach {
    server: Server,
    config: tokio_postgres::Config,
    tls: MakeRustlsConnect,
}

/// Why a host is not connected to.
#[derive(Debug)]
struct Refusal {
    server: usize,
    why: String,
    /// It has said nothing at all for so long that it is not asked again.
    silent: bool,
}

/// What a server must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// It takes writes.
    Primary,
    /// It repeats what the primary writes.
    Replica,
}

/// What a server tells about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Facts {
    /// It repeats what another server writes.
    pub(super) in_recovery: bool,
    /// It refuses writes, for that reason or another.
    pub(super) read_only: bool,
    /// Connections it allows, less those kept for administrators.
    pub(super) max_connections: usize,
    /// How often a replica became primary in the history of its data, plus one. Told only by one of several primaries.
    timeline: Option<u32>,
}

impl Default for Facts {
    fn default() -> Self {
        Self { in_recovery: false, read_only: false, max_connections: usize::MAX, timeline: None }
    }
}

impl std::fmt::Debug for Reach {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reach").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Opener {
    pub(super) fn new(target: &Target, role: Role, settings: &DatabaseSettings, clock: Clock) -> Result<Self> {
        let servers = target.hosts.iter().map(|server| reach(target, server, settings)).collect::<Result<_>>()?;
        Ok(Self {
            servers,
            role,
            clock,
            sessions: Arc::new(Sessions::new(settings.statement_timeout, settings.transaction_idle_timeout)),
            connect_timeout: settings.connect_timeout,
            statement_cache: settings.statement_cache,
            pooled: settings.pgbouncer,
            timeline: AtomicU32::new(0),
            promoted: AtomicBool::new(false),
        })
    }

    /// Opens a connection to `first`, or if that is not what is looked for, or does not answer soon, to whichever of the
    /// other hosts answers first. While one is silent, those that have refused are asked again: a replica may be promoted
    /// meanwhile. The connection's bytes are moved on the runtime of the caller.
    pub(super) async fn open(&self, first: usize, keeper: &Arc<Notify>) -> Result<(Arc<Connection>, Facts)> {
        let mut attempts = FuturesUnordered::from_iter([self.attempt(first, keeper)]);
        let mut unasked: Vec<usize> = (0..self.servers.len()).filter(|index| *index != first).collect();
        let mut refusals: Vec<Refusal> = Vec::new();
        loop {
            let patience = if unasked.is_empty() { AGAIN } else { PATIENCE };
            match timeout(patience, attempts.next()).await {
                Ok(Some(Ok(found))) => return Ok(found),
                Ok(Some(Err(refusal))) => refusals.push(refusal),
                Ok(None) => {
                    refusals.sort_by_key(|refusal| refusal.server);
                    let told: Vec<String> = refusals.into_iter().map(|refusal| refusal.why).collect();
                    return Err(Error::Connection(told.join("; ")));
                }
                Err(_) if unasked.is_empty() => {
                    let answered = refusals.extract_if(.., |refusal| !refusal.silent);
                    unasked.extend(answered.map(|refusal| refusal.server));
                }
                Err(_) => {}
            }
            attempts.extend(unasked.drain(..).map(|index| self.attempt(index, keeper)));
        }
    }

    /// Opens a connection to this host, if it is what is looked for.
    async fn attempt(&self, index: usize, keeper: &Arc<Notify>) -> Result<(Arc<Connection>, Facts), Refusal> {
        let server = &self.servers[index].server;
        let refusal = |why, silent| Refusal { server: index, why, silent };
        let connected = timeout(self.connect_timeout, self.connect(index, keeper)).await;
        let is_primary = matches!(&connected, Ok(Ok((_, facts))) if !facts.in_recovery);
        self.promoted.store(is_primary && self.role == Role::Replica, Ordering::Release);
        match connected {
            Ok(Ok((connection, facts))) => match self.refuses(facts) {
                None => Ok((Arc::new(connection), facts)),
                Some(why) => Err(refusal(format!("{server} {why}"), false)),
            },
            Ok(Err(why)) => Err(refusal(format!("{server}: {why}"), false)),
            Err(_) => Err(refusal(format!("{server} did not answer within {:?}", self.connect_timeout), true)),
        }
    }

    /// True if this host does not answer who wants to connect.
    pub(super) async fn is_silent(&self, index: usize, keeper: &Arc<Notify>) -> bool {
        self.attempt(index, keeper).await.is_err_and(|refusal| refusal.silent)
    }

    /// Why a server is not what is looked for.
    fn refuses(&self, facts: Facts) -> Option<&'static str> {
        match self.role {
            Role::Primary if facts.in_recovery => Some("is a replica"),
            Role::Primary if facts.read_only => Some("is set to refuse writes"),
            Role::Primary => {
                let timeline = facts.timeline.unwrap_or(0);
                let newest = self.timeline.fetch_max(timeline, Ordering::AcqRel);
                // A primary that came back after another had taken its place: what is written there is lost.
                (facts.timeline.is_some() && timeline < newest).then_some("was replaced as primary by another server")
            }
            Role::Replica if !facts.in_recovery => Some("is no replica"),
            Role::Replica => None,
        }
    }

    /// True if the replica that is looked for was found to be a primary by now.
    pub(super) fn is_promoted(&self) -> bool {
        self.promoted.load(Ordering::Acquire)
    }

    /// The hosts, for messages.
    pub(super) fn servers(&self) -> String {
        self.servers.iter().map(|reach| reach.server.to_string()).collect::<Vec<_>>().join(", ")
    }

    pub(super) fn server_name(&self, index: usize) -> String {
        self.servers.get(index).map_or_else(String::new, |reach| reach.server.to_string())
    }

    /// Asks the server to stop what runs on this connection. It does so when the future is done, or a moment later.
    pub(super) async fn cancel(&self, connection: &Connection) -> Result<(), tokio_postgres::Error> {
        let reach = &self.servers[connection.server];
        let Ok(socket) = Socket::connect(&connection.endpoint).await else { return Ok(()) };
        connection.client.cancel_token().cancel_query_raw(socket, reach.tls()).await
    }

    async fn connect(&self, index: usize, keeper: &Arc<Notify>) -> Result<(Connection, Facts), String> {
        let reach = &self.servers[index];
        let endpoints = reach.server.endpoints().await.map_err(|error| error.to_string())?;
        let mut refused = "its name has no address".to_owned();
        for endpoint in endpoints {
            match Socket::connect(&endpoint).await {
                Ok(socket) => {
                    let connected = self.set_up(index, endpoint, socket, keeper).await;
                    return connected.map_err(|error| reason(&error));
                }
                Err(error) => refused = error.to_string(),
            }
        }
        Err(refused)
    }

    async fn set_up(
        &self,
        server: usize,
        endpoint: Endpoint,
        socket: Socket,
        keeper: &Arc<Notify>,
    ) -> Result<(Connection, Facts), tokio_postgres::Error> {
        let reach = &self.servers[server];
        let wire = Wire::new(self.clock.clone());
        let socket = Watched::new(socket, Arc::clone(&wire), reach.asks_for_tls());
        let (client, driver) = reach.config.connect_raw(socket, WatchedTls(reach.tls())).await?;
        let status = Status::new(Arc::clone(keeper));
        let task = tokio::spawn(drive(driver, Arc::clone(&status))).abort_handle();
        let ask = "SELECT pg_is_in_recovery()::int::text, current_setting('transaction_read_only'), \
                   (current_setting('max_connections')::int \
                    - current_setting('superuser_reserved_connections')::int)::text";
        let first = if self.pooled { ask.to_owned() } else { format!("{ask}; {}", self.sessions.first()) };
        let answers = client.simple_query(&first).await?;
        let row = answers.iter().find_map(|answer| match answer {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let mut facts = row.map(facts).unwrap_or_default();
        if self.role == Role::Primary && self.servers.len() > 1 && !facts.in_recovery {
            facts.timeline = timeline(&client).await;
        }
        let parts = Parts {
            client,
            status,
            wire,
            server,
            endpoint,
            task,
            sessions: Arc::clone(&self.sessions),
            statement_cache: self.statement_cache,
        };
        Ok((Connection::new(parts, &self.clock), facts))
    }
}

type Tls = <MakeRustlsConnect as MakeTlsConnect<Socket>>::TlsConnect;

impl Reach {
    fn tls(&self) -> Tls {
        let Ok(tls) = MakeTlsConnect::<Socket>::make_tls_connect(&mut self.tls.clone(), self.server.name());
        tls
    }

    fn asks_for_tls(&self) -> bool {
        self.config.get_ssl_mode() != tokio_postgres::config::SslMode::Disable
            && self.config.get_ssl_negotiation() == SslNegotiation::Postgres
    }
}

fn reach(target: &Target, server: &Server, settings: &DatabaseSettings) -> Result<Reach> {
    let mode = target.mode(server, settings.require_tls);
    let mut config = target.config();
    config.ssl_mode(match mode {
        SslMode::Disable => tokio_postgres::config::SslMode::Disable,
        // PostgreSQL has no TLS on a socket of this machine.
        _ if server.is_socket() => tokio_postgres::config::SslMode::Disable,
        SslMode::Prefer => tokio_postgres::config::SslMode::Prefer,
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => tokio_postgres::config::SslMode::Require,
    });
    Ok(Reach { server: server.clone(), config, tls: tls::connector(mode, &target.tls)? })
}

fn facts(row: &SimpleQueryRow) -> Facts {
    Facts {
        in_recovery: row.get(0) == Some("1"),
        read_only: row.get(1) == Some("on"),
        max_connections: row.get(2).and_then(|count| count.parse().ok()).unwrap_or(usize::MAX),
        timeline: None,
    }
}

/// The timeline that a primary writes on. Servers that only look like PostgreSQL may not know.
async fn timeline(client: &Client) -> Option<u32> {
    let answers = client.simple_query("SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)").await.ok()?;
    answers.iter().find_map(|answer| match answer {
        SimpleQueryMessage::Row(row) => u32::from_str_radix(row.get(0)?, 16).ok(),
        _ => None,
    })
}

/// What went wrong while connecting, with its causes. The driver's texts hold no password.
fn reason(error: &tokio_postgres::Error) -> String {
    if let Some(refused) = error.as_db_error() {
        return refused.message().to_owned();
    }
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
