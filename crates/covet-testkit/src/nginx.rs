//! A real NGINX (recipe R-NGX).

use std::fmt::Write;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use crate::server::Server;
use crate::{Certificate, Error, Process, Result, Signal, Stop, TempDir, find_program, free_port, wait_until};

/// Idle connections that each NGINX worker keeps to the upstreams, as in the documented configuration.
const KEEPALIVE: u16 = 32;

/// An NGINX of its own on a free port.
///
/// Open-source NGINX has no active health checks (`health_check` belongs to the commercial one): an upstream that refuses a
/// connection is skipped for the request at hand and left alone for `fail_timeout` after `max_fails`.
#[derive(Debug)]
pub struct Nginx {
    server: Server,
    url: String,
    port: u16,
    // Last: the server ends before its files go.
    directory: TempDir,
    _certificate: Option<Certificate>,
}

/// What an [`Nginx`] stands in front of.
#[derive(Debug)]
pub struct NginxBuilder {
    upstreams: Vec<u16>,
    certificate: Option<Certificate>,
    workers: u8,
}

impl Nginx {
    /// In front of services on these ports of 127.0.0.1, with 32 kept connections a worker and `X-Forwarded-*` headers.
    #[must_use]
    pub fn in_front_of(upstreams: impl IntoIterator<Item = u16>) -> NginxBuilder {
        NginxBuilder { upstreams: upstreams.into_iter().collect(), certificate: None, workers: 1 }
    }

    /// With a whole configuration file of your own, which listens on `127.0.0.1:port` without TLS.
    ///
    /// Paths in it are relative to a directory of its own. It must not set `daemon` or `pid`.
    ///
    /// # Errors
    ///
    /// [`crate::Error::MissingProgram`] without NGINX, [`crate::Error::Ended`] with what NGINX says about the file.
    pub async fn with_configuration(configuration: &str, port: u16) -> Result<Self> {
        Self::run(configuration, port, None).await
    }

    /// Where it answers: `http://127.0.0.1:…`, or `https://localhost:…` with a certificate.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The master process, for its output (the error log) and its state.
    ///
    /// # Errors
    ///
    /// [`crate::Error::NotRunning`] when it has ended.
    pub fn process(&self) -> Result<&Process> {
        self.server.process()
    }

    /// Replaces the configuration without closing a connection that is in use, and waits until the new workers run.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Command`] with what `nginx -t` says about a bad configuration; the old one stays.
    pub async fn reload(&self, configuration: &str) -> Result<()> {
        self.directory.write("next.conf", configuration)?;
        let mut check = command(&self.directory, "next.conf")?;
        Process::run("nginx -t", check.arg("-t"), Duration::from_secs(30)).await?.success("nginx -t")?;
        self.directory.write("nginx.conf", configuration)?;
        let process = self.server.process()?;
        let before = process.descendants();
        process.signal(Signal::SIGHUP)?;
        wait_until("NGINX to start new workers", Duration::from_secs(30), async || {
            let now = process.descendants();
            if now.iter().any(|pid| !before.contains(pid)) { Ok(()) } else { Err(format!("workers {now:?}")) }
        })
        .await
    }

    async fn run(configuration: &str, port: u16, certificate: Option<Certificate>) -> Result<Self> {
        let directory = TempDir::new("nginx")?;
        // The workers run as another user and have to reach their own directories in here.
        std::fs::set_permissions(directory.path(), Permissions::from_mode(0o755))
            .map_err(Error::io("open NGINX's directory"))?;
        directory.write("nginx.conf", configuration)?;
        // SIGTERM ends the workers too; a killed master would leave them behind.
        let stop = Stop::with(Signal::SIGTERM, Duration::from_secs(5));
        let mut server = Server::new("nginx", command(&directory, "nginx.conf")?, stop);
        let listens = async || {
            let connection = tokio::net::TcpStream::connect(("127.0.0.1", port)).await;
            connection.map(drop).map_err(Error::io(format!("connect to 127.0.0.1:{port}")))
        };
        server.start(listens).await?;
        let url = match certificate {
            Some(_) => format!("https://localhost:{port}"),
            None => format!("http://127.0.0.1:{port}"),
        };
        Ok(Self { server, url, port, directory, _certificate: certificate })
    }
}

impl NginxBuilder {
    /// Speaks TLS and HTTP/2 to clients with this certificate.
    #[must_use]
    pub fn certificate(mut self, certificate: Certificate) -> Self {
        self.certificate = Some(certificate);
        self
    }

    /// How many worker processes; 1 unless set.
    #[must_use]
    pub fn workers(mut self, workers: u8) -> Self {
        self.workers = workers;
        self
    }

    /// Starts it.
    ///
    /// # Errors
    ///
    /// As [`Nginx::with_configuration`].
    pub async fn start(self) -> Result<Nginx> {
        let port = free_port()?;
        Nginx::run(&self.configuration(port), port, self.certificate).await
    }

    /// The configuration that [`NginxBuilder::start`] uses, to change it for [`Nginx::reload`].
    #[must_use]
    pub fn configuration(&self, port: u16) -> String {
        let mut servers = String::new();
        for upstream in &self.upstreams {
            let _ = writeln!(servers, "        server 127.0.0.1:{upstream} max_fails=3 fail_timeout=1s;");
        }
        let listen = self.certificate.as_ref().map_or_else(
            || format!("listen 127.0.0.1:{port};"),
            |certificate| {
                let (certificate, key) = (certificate.certificate_path(), certificate.key_path());
                format!(
                    "listen 127.0.0.1:{port} ssl http2; ssl_certificate {}; ssl_certificate_key {};",
                    certificate.display(),
                    key.display()
                )
            },
        );
        format!(
            r#"
worker_processes {workers};
error_log stderr warn;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    client_max_body_size 51m;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    map $http_upgrade $connection_upgrade {{
        default upgrade;
        ""      "";
    }}
    upstream service {{
{servers}        keepalive {KEEPALIVE};
    }}
    server {{
        {listen}
        server_name localhost;
        location / {{
            proxy_pass http://service;
            proxy_http_version 1.1;
            proxy_set_header Connection $connection_upgrade;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Host $host;
            proxy_set_header X-Real-IP $remote_addr;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
        }}
    }}
}}
"#,
            workers = self.workers,
        )
    }
}

fn command(directory: &TempDir, configuration: &str) -> Result<Command> {
    let mut command = Command::new(find_program("nginx", "nginx")?);
    command.arg("-p").arg(directory.path()).arg("-c").arg(directory.join(configuration));
    command.args(["-e", "stderr", "-g"]);
    command.arg(format!("daemon off; pid {};", directory.join("nginx.pid").display()));
    Ok(command)
}
