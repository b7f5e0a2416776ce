//! Opening a connection: socket, TLS, signing in, and the proof that it is the server that is wanted.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{
    AsyncConnectionConfig, Cmd, ErrorKind, Pipeline, ProtocolVersion, PushInfo, RedisConnectionInfo, RedisError, Value,
};
use covet_core::secret::{ExposeSecret as _, SecretString};
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::failure::{Failure, Outage};
use super::target::Host;

/// A server that has vanished is noticed within half a minute also on an idle connection, and within ten seconds when
/// something was sent.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 3;
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED: Duration = Duration::from_secs(10);
/// Commands that may wait for the task that writes. Its default, 50, makes callers wait for each other.
const QUEUE: usize = 4096;

/// What opens connections, always in the same way.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) tls: Option<TlsConnector>,
    pub(super) user: Option<String>,
    pub(super) password: Option<SecretString>,
    pub(super) database: u16,
    /// Longest wait for the connection, all in all.
    pub(super) connect_timeout: Duration,
    /// Longest wait for an answer of a server that is well.
    pub(super) answer_timeout: Duration,
}

/// What a server has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Role {
    /// It takes writes.
    Master,
    /// A replica, of a cluster too: there it is told that this connection reads what may be a moment old.
    Reader,
    Any,
}

/// Where messages go that nobody has asked for: those of channels.
pub(crate) type Pushes = Arc<dyn Fn(PushInfo) + Send + Sync>;

/// An open connection. It closes with its value, and its value knows when it has closed.
pub(crate) struct Live {
    connection: MultiplexedConnection,
    pub(super) host: Host,
    closed: CancellationToken,
    _end: DropGuard,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Connector {
    /// Opens a connection to a server that answers in time and is what it has to be. With `pushes` it speaks RESP3.
    pub(super) async fn open(&self, host: &Host, role: Role, pushes: Option<Pushes>) -> Result<Live, Failure> {
        let opened = async {
            let live = self.sign_in(host, pushes).await?;
            live.prove(role, self.answer_timeout).await?;
            Ok(live)
        };
        match timeout(self.connect_timeout, opened).await {
            Ok(opened) => opened,
            Err(_) => Err(Failure::outage(format!("no connection to {host} within {:?}", self.connect_timeout))),
        }
    }

    async fn sign_in(&self, host: &Host, pushes: Option<Pushes>) -> Result<Live, Failure> {
        let stream = self.stream(host).await.map_err(|error| Failure::outage(format!("{host}: {error}")))?;
        let mut info = RedisConnectionInfo::default().set_db(self.database.into());
        if let Some(user) = &self.user {
            info = info.set_username(user);
        }
        if let Some(password) = &self.password {
            info = info.set_password(password.expose_secret());
        }
        info = info.set_lib_name("covet", env!("CARGO_PKG_VERSION"));
        // Time limits are ours: they know what a call has waited for already.
        let mut config = AsyncConnectionConfig::new()
            .set_response_timeout(None)
            .set_connection_timeout(None)
            .set_pipeline_buffer_size(QUEUE);
        if let Some(pushes) = pushes {
            info = info.set_protocol(ProtocolVersion::RESP3);
            config = config.set_push_sender(move |push: PushInfo| {
                pushes(push);
                Ok::<_, ::redis::aio::SendError>(())
            });
        }
        let opened = MultiplexedConnection::new_with_config(&info, stream, config).await;
        let (connection, driver) = opened.map_err(|error| not_let_in(host, &error))?;
        let (closed, end) = (CancellationToken::new(), CancellationToken::new());
        let (tell, ended) = (closed.clone().drop_guard(), end.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = ended.cancelled() => {}
                () = driver => {}
            }
            drop(tell);
        });
        Ok(Live { connection, host: host.clone(), closed, _end: end.drop_guard() })
    }

    async fn stream(&self, host: &Host) -> io::Result<Box<dyn Stream>> {
        let tcp = connect(host).await?;
        let Some(tls) = &self.tls else { return Ok(Box::new(tcp)) };
        let name = ServerName::try_from(host.name.clone()).map_err(io::Error::other)?;
        Ok(Box::new(tls.connect(name, tcp).await?))
    }
}

/// The first of the name's addresses of this moment that answers.
async fn connect(host: &Host) -> io::Result<TcpStream> {
    let mut last = io::Error::other("the name has no address");
    for address in tokio::net::lookup_host((host.name.as_str(), host.port)).await? {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                let keepalive = TcpKeepalive::new()
                    .with_time(KEEPALIVE_IDLE)
                    .with_interval(KEEPALIVE_INTERVAL)
                    .with_retries(KEEPALIVE_RETRIES);
                let socket = SockRef::from(&stream);
                socket.set_tcp_keepalive(&keepalive)?;
                #[cfg(target_os = "linux")]
                socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

const WRONG_PASSWORD: &str = "the user or password is wrong or missing";

fn not_let_in(host: &Host, error: &RedisError) -> Failure {
    match error.code() {
        Some("WRONGPASS" | "NOAUTH") => shut_out(host, WRONG_PASSWORD),
        Some("NOPERM") => shut_out(host, "the user lacks a right to connect"),
        _ if error.kind() == ErrorKind::AuthenticationFailed => shut_out(host, WRONG_PASSWORD),
        _ => Failure::outage(format!("{host}: {error}")),
    }
}

fn shut_out(host: &Host, why: &str) -> Failure {
    Failure::NotConnected(Arc::new(Outage { reason: format!("{host} does not let us in: {why}"), refused: true }))
}

impl Live {
    /// Runs a command.
    pub(crate) async fn run(&self, command: &Cmd) -> Result<Value, Failure> {
        let answer = self.connection.clone().send_packed_command(command).await;
        answer.map_err(|error| Failure::of(&error)).and_then(Failure::in_answer)
    }

    /// Runs several in one round trip, and answers for those from `offset` on.
    pub(super) async fn run_all(&self, commands: &Pipeline, offset: usize) -> Result<Vec<Value>, Failure> {
        let count = commands.len() - offset;
        let answers = self.connection.clone().send_packed_commands(commands, offset, count).await;
        answers.map_err(|error| Failure::of(&error))
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.is_cancelled()
    }

    pub(crate) async fn closed(&self) {
        self.closed.cancelled().await;
    }

    /// Cancelled when it has closed, without keeping it open.
    pub(super) fn closed_token(&self) -> CancellationToken {
        self.closed.clone()
    }

    /// Makes sure that it answers in time.
    pub(crate) async fn answers(&self, limit: Duration) -> Result<(), Failure> {
        self.asked("PING", limit).await.map(drop)
    }

    async fn asked(&self, question: &str, limit: Duration) -> Result<Value, Failure> {
        match timeout(limit, self.run(&::redis::cmd(question))).await {
            Ok(answer) => answer,
            Err(_) => Err(Failure::outage(format!("{} does not answer within {limit:?}", self.host))),
        }
    }

    async fn prove(&self, role: Role, limit: Duration) -> Result<(), Failure> {
        let question = match role {
            Role::Master => "ROLE",
            Role::Reader => "READONLY",
            Role::Any => "PING",
        };
        match self.asked(question, limit).await {
            Ok(said) if role == Role::Master && is_replica(&said) => {
                Err(Failure::outage(format!("{} is a replica, and takes no writes", self.host)))
            }
            Err(Failure::Refused(said)) if said.starts_with("NOAUTH") => Err(shut_out(&self.host, WRONG_PASSWORD)),
            // Who may not ask, or asks something that has no such question, notices when it writes.
            Ok(_) | Err(Failure::Refused(_)) => Ok(()),
            // A master that has just started is none yet; a node of a cluster may be used for what it does answer.
            Err(Failure::Passing(_)) if role != Role::Master => Ok(()),
            Err(Failure::NotConnected(outage)) => Err(Failure::NotConnected(outage)),
            Err(failure) => Err(Failure::outage(format!("{}: {failure}", self.host))),
        }
    }
}

fn is_replica(said: &Value) -> bool {
    let role = said.as_sequence().and_then(<[Value]>::first);
    matches!(role, Some(Value::BulkString(role)) if role != b"master")
}
