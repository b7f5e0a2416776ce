//! `postgresql://user:password@host1:5432,host2:5432/database?sslmode=verify-full`, taken apart.
//!
//! The form is libpq's, and so are the parameters; `sslmode` and the certificates are read here, because the driver
//! knows only three of the six modes, the rest by the driver. Connecting is in `open.rs`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::{fmt, io};

use covet_core::settings::ConnectionUrl;
use tokio_postgres::Config;
use tokio_postgres::config::Host;

use super::socket::Endpoint;

const EXAMPLE: &str =
    "an example that works: DATABASE_URL=postgresql://covet:password@db1:5432,db2:5432/covet?sslmode=verify-full";

/// Where the servers are and how to sign in. Its `Debug` shows no password.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// In the order of the URL.
    pub(super) hosts: Vec<Server>,
    pub(super) tls: TlsOptions,
    /// User, password, database and the like; without hosts.
    config: Config,
}

/// One host of the URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    host: Host,
    address: Option<IpAddr>,
    port: u16,
}

/// How far the connection is protected: libpq's modes, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SslMode {
    Disable,
    /// Encrypted if the server can.
    Prefer,
    /// Encrypted; whoever answers is believed.
    Require,
    /// The certificate is from the authority.
    VerifyCa,
    /// The certificate is from the authority and for this host.
    VerifyFull,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct TlsOptions {
    /// `None`: the URL does not say.
    pub(super) mode: Option<SslMode>,
    /// Whom to trust. `None`: the operating system's authorities.
    pub(super) root_certificate: Option<PathBuf>,
    /// A certificate of ours and its key.
    pub(super) own: Option<(PathBuf, PathBuf)>,
}

impl Target {
    /// Reads a URL. The error never repeats a password.
    pub(crate) fn parse(url: &ConnectionUrl) -> Result<Self, String> {
        let (text, tls) = without_tls(url.expose())?;
        let authority = text.split_once("://").map_or("", |(_, rest)| rest);
        let authority = authority.split('?').next().unwrap_or_default();
        if authority.matches('@').count() > 1 {
            return Err(format!("an @ in the password is written %40, and a / %2F; {EXAMPLE}"));
        }
        let parsed: Config = text.parse().map_err(|error| format!("{}; {EXAMPLE}", with_cause(&error)))?;
        let hosts = hosts(&parsed);
        if hosts.is_empty() {
            return Err(format!("the URL names no host; {EXAMPLE}"));
        }
        Ok(Self { hosts, tls, config: without_hosts(&parsed) })
    }

    /// The same, host by host.
    pub(super) fn one_for_each_host(self) -> impl Iterator<Item = Self> {
        let Self { hosts, tls, config } = self;
        hosts.into_iter().map(move |host| Self { hosts: vec![host], tls: tls.clone(), config: config.clone() })
    }

    /// What the driver needs to sign in: the same on all hosts.
    pub(super) fn config(&self) -> Config {
        self.config.clone()
    }

    /// How far the connection to this host is to be protected.
    pub(super) fn mode(&self, server: &Server, require_tls: bool) -> SslMode {
        match self.tls.mode {
            // As libpq: who names an authority wants it to be checked.
            Some(SslMode::Require) if self.tls.root_certificate.is_some() => SslMode::VerifyCa,
            Some(mode) => mode,
            None if self.tls.root_certificate.is_some() => SslMode::VerifyFull,
            None if require_tls && !server.is_local() => SslMode::Require,
            None => SslMode::Prefer,
        }
    }

    /// The first host that would be spoken to in the clear over a network, if there is one.
    pub(crate) fn plain_host(&self) -> Option<String> {
        let plain = |server: &&Server| !server.is_local() && self.mode(server, true) < SslMode::Require;
        self.hosts.iter().find(plain).map(ToString::to_string)
    }
}

impl Server {
    /// True if what is sent does not leave this machine.
    fn is_local(&self) -> bool {
        match (&self.host, self.address) {
            (_, Some(address)) => address.is_loopback(),
            (Host::Tcp(host), None) => {
                host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
            }
            (Host::Unix(_), None) => true,
        }
    }

    pub(super) fn is_socket(&self) -> bool {
        matches!(self.host, Host::Unix(_))
    }

    /// The name that the server's certificate is for.
    pub(super) fn name(&self) -> &str {
        match &self.host {
            Host::Tcp(host) => host,
            Host::Unix(_) => "",
        }
    }

    /// Where it can be reached, by its name's addresses of this moment.
    pub(super) async fn endpoints(&self) -> io::Result<Vec<Endpoint>> {
        match (&self.host, self.address) {
            (Host::Unix(path), None) => Ok(vec![Endpoint::Unix(path.join(format!(".s.PGSQL.{}", self.port)))]),
            (_, Some(address)) => Ok(vec![Endpoint::Tcp((address, self.port).into())]),
            (Host::Tcp(host), None) => {
                let addresses = tokio::net::lookup_host((host.as_str(), self.port)).await?;
                Ok(addresses.map(Endpoint::Tcp).collect())
            }
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Tcp(host) if host.contains(':') => write!(f, "[{host}]:{}", self.port),
            Host::Tcp(host) => write!(f, "{host}:{}", self.port),
            Host::Unix(path) => write!(f, "{}/.s.PGSQL.{}", path.display(), self.port),
        }
    }
}

/// Takes the parameters about TLS out of the URL.
fn without_tls(url: &str) -> Result<(String, TlsOptions), String> {
    let mut tls = TlsOptions::default();
    let Some((base, query)) = url.split_once('?') else { return Ok((url.to_owned(), tls)) };
    let (mut own_certificate, mut own_key) = (None, None);
    let mut rest = Vec::new();
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match name {
            "sslmode" => tls.mode = Some(ssl_mode(value)?),
            "sslrootcert" if value == "system" => {}
            "sslrootcert" => tls.root_certificate = Some(path(name, value)?),
            "sslcert" => own_certificate = Some(path(name, value)?),
            "sslkey" => own_key = Some(path(name, value)?),
            // Which of the hosts takes writes is asked in any case.
            "target_session_attrs" if ["read-write", "primary", "any"].contains(&value) => {}
            "target_session_attrs" => {
                return Err("target_session_attrs is read-write for DATABASE_URL; replicas are named by \
                            DATABASE_REPLICA_URLS"
                    .to_owned());
            }
            _ => rest.push(parameter),
        }
    }
    tls.own = match (own_certificate, own_key) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => return Err("sslcert and sslkey belong together: give both or none".to_owned()),
    };
    let text = if rest.is_empty() { base.to_owned() } else { format!("{base}?{}", rest.join("&")) };
    Ok((text, tls))
}

fn ssl_mode(value: &str) -> Result<SslMode, String> {
    Ok(match value {
        "disable" => SslMode::Disable,
        "allow" | "prefer" => SslMode::Prefer,
        "require" => SslMode::Require,
        "verify-ca" => SslMode::VerifyCa,
        "verify-full" => SslMode::VerifyFull,
        _ => return Err("sslmode is one of disable, prefer, require, verify-ca, verify-full".to_owned()),
    })
}

fn path(name: &str, value: &str) -> Result<PathBuf, String> {
    let decoded = percent_encoding::percent_decode_str(value).decode_utf8();
    match decoded {
        Ok(path) if !path.is_empty() => Ok(PathBuf::from(path.as_ref())),
        _ => Err(format!("{name} is the path of a PEM file")),
    }
}

fn hosts(parsed: &Config) -> Vec<Server> {
    let (hosts, addresses, ports) = (parsed.get_hosts(), parsed.get_hostaddrs(), parsed.get_ports());
    let port = |index: usize| ports.get(index).or(ports.last()).copied().unwrap_or(5432);
    let named = hosts.iter().enumerate();
    if hosts.is_empty() {
        let bare = addresses.iter().enumerate();
        return bare
            .map(|(index, address)| Server { host: Host::Tcp(address.to_string()), address: None, port: port(index) })
            .collect();
    }
    named
        .map(|(index, host)| Server { host: host.clone(), address: addresses.get(index).copied(), port: port(index) })
        .collect()
}

fn without_hosts(parsed: &Config) -> Config {
    let mut config = Config::new();
    if let Some(user) = parsed.get_user() {
        config.user(user);
    }
    if let Some(password) = parsed.get_password() {
        config.password(password);
    }
    if let Some(dbname) = parsed.get_dbname() {
        config.dbname(dbname);
    }
    if let Some(options) = parsed.get_options() {
        config.options(options);
    }
    config.application_name(parsed.get_application_name().unwrap_or("covet"));
    config.channel_binding(parsed.get_channel_binding());
    config.ssl_negotiation(parsed.get_ssl_negotiation());
    config
}

fn with_cause(error: &tokio_postgres::Error) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{error}{cause}")
}

#[cfg(test)]
mod tests {
    use covet_core::settings::Value as _;

    use super::*;

    fn parse(url: &str) -> Result<Target, String> {
        Target::parse(&ConnectionUrl::parse(url).unwrap())
    }

    fn hosts_of(url: &str) -> Vec<String> {
        parse(url).unwrap().hosts.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn several_hosts_and_ports_are_told_apart() {
        assert_eq!(hosts_of("postgresql://u:p@db1:5433,db2,[::1]:5434/covet"), ["db1:5433", "db2:5432", "[::1]:5434"]);
        assert_eq!(hosts_of("postgres://u@%2Fvar%2Frun%2Fpostgresql/covet"), ["/var/run/postgresql/.s.PGSQL.5432"]);
        assert_eq!(hosts_of("postgresql:///covet?host=/tmp&port=5433"), ["/tmp/.s.PGSQL.5433"]);
    }

    #[test]
    fn each_host_keeps_user_password_and_database() {
        let target = parse("postgresql://covet:s%40crt@db1,db2/shop?application_name=shop").unwrap();
        let config = target.config();
        assert_eq!((config.get_user(), config.get_dbname()), (Some("covet"), Some("shop")));
        assert_eq!(config.get_password(), Some("s@crt".as_bytes()));
        assert_eq!(config.get_application_name(), Some("shop"));
        assert_eq!(target.hosts[1].name(), "db2");
    }

    #[test]
    fn a_password_is_not_shown() {
        let target = parse("postgresql://covet:hunter2@db1/shop").unwrap();
        assert!(!format!("{target:?}").contains("hunter2"));
        let reason = parse("postgresql://covet:hun@ter2@db1/shop").unwrap_err();
        assert!(reason.contains("%40") && !reason.contains("ter2"), "{reason}");
        for url in ["postgresql://covet:hunter2@db1:port/shop", "postgresql://covet:hunter2@/shop"] {
            let reason = parse(url).unwrap_err();
            assert!(reason.contains("an example that works") && !reason.contains("hunter2"), "{reason}");
        }
    }

    #[test]
    fn the_mode_of_tls_follows_url_place_and_setting() {
        use SslMode::{Disable, Prefer, Require, VerifyCa, VerifyFull};
        for (url, required, otherwise) in [
            ("postgresql://db1/x", Require, Prefer),
            ("postgresql://localhost/x", Prefer, Prefer),
            ("postgresql://127.0.0.1/x", Prefer, Prefer),
            ("postgresql:///x?host=/tmp", Prefer, Prefer),
            ("postgresql://db1/x?sslmode=disable", Disable, Disable),
            ("postgresql://db1/x?sslmode=require", Require, Require),
            ("postgresql://db1/x?sslmode=require&sslrootcert=/ca.pem", VerifyCa, VerifyCa),
            ("postgresql://db1/x?sslrootcert=/ca.pem", VerifyFull, VerifyFull),
            ("postgresql://localhost/x?sslmode=verify-full", VerifyFull, VerifyFull),
        ] {
            let target = parse(url).unwrap();
            let mode = |require| target.mode(&target.hosts[0], require);
            assert_eq!((mode(true), mode(false)), (required, otherwise), "{url}");
        }
    }

    #[test]
    fn a_host_in_the_clear_is_named() {
        for (url, plain) in [
            ("postgresql://db1/x", None),
            ("postgresql://localhost,db2/x?sslmode=disable", Some("db2:5432")),
            ("postgresql://localhost/x?sslmode=disable", None),
            ("postgresql://db1/x?sslmode=prefer", Some("db1:5432")),
            ("postgresql://db1/x?sslmode=require", None),
        ] {
            assert_eq!(parse(url).unwrap().plain_host().as_deref(), plain, "{url}");
        }
    }

    #[test]
    fn parameters_that_cannot_work_are_told() {
        for (query, told) in [
            ("sslmode=yes", "sslmode is one of"),
            ("sslcert=/a.pem", "belong together"),
            ("sslrootcert=", "sslrootcert is the path"),
            ("target_session_attrs=standby", "DATABASE_REPLICA_URLS"),
            ("colour=blue", "unknown option `colour`"),
        ] {
            let reason = parse(&format!("postgresql://u:hunter2@db1/x?{query}")).unwrap_err();
            assert!(reason.contains(told) && !reason.contains("hunter2"), "{reason}");
        }
    }
}
