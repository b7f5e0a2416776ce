//! `REDIS_URL`, taken apart: which servers, who signs in, and how they belong together.

use std::fmt;
use std::net::IpAddr;

use covet_core::secret::SecretString;
use covet_core::settings::ConnectionUrl;
use percent_encoding::percent_decode_str;

const EXAMPLES: &str = "examples that work: REDIS_URL=redis://:password@cache:6379/0, \
                        redis+sentinel://:password@s1:26379,s2:26379,s3:26379/mymaster/0, \
                        redis+cluster://:password@h1:6379,h2:6379,h3:6379; rediss, rediss+sentinel and rediss+cluster with TLS";

/// What a URL says. Its `Debug` shows no password.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) kind: Kind,
    /// As the URL has them: servers, or sentinels.
    pub(super) hosts: Vec<Host>,
    pub(super) tls: bool,
    pub(super) user: Option<String>,
    pub(super) password: Option<SecretString>,
    pub(super) database: u16,
}

/// How the servers belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// One server.
    Single,
    /// Sentinels know which server is the master of this name.
    Sentinel(String),
    /// Each has a part of the keys.
    Cluster,
}

/// A server's name or address, and its port.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Host {
    pub(super) name: String,
    pub(super) port: u16,
}

impl Target {
    /// Reads a URL. The error never repeats a password.
    pub(super) fn parse(url: &ConnectionUrl) -> Result<Self, String> {
        Self::read(url).map_err(|reason| format!("{reason}; {EXAMPLES}"))
    }

    fn read(url: &ConnectionUrl) -> Result<Self, String> {
        let (scheme, rest) = url.expose().split_once("://").unwrap_or_default();
        let (tls, form) = match scheme.split_once('+') {
            Some((base, form)) => (base, form),
            None => (scheme, ""),
        };
        let tls = match tls {
            "redis" => false,
            "rediss" => true,
            _ => return Err(format!("{scheme}:// is not a cache that Covet knows")),
        };
        if rest.contains(['?', '#']) {
            return Err(
                "options in the URL are not known, use COVET_CACHE__…; in a password ? is %3F and # is %23".into()
            );
        }
        if rest.matches('@').count() > 1 {
            return Err("an @ in the password is written %40".into());
        }
        let (user_info, rest) = rest.split_once('@').map_or((None, rest), |(info, rest)| (Some(info), rest));
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        if user_info.is_some_and(|info| info.contains('/')) {
            return Err("a / in the password is written %2F".into());
        }
        let (user, password) = user_info.map(sign_in).transpose()?.unwrap_or_default();
        let mut path = path.split('/').filter(|part| !part.is_empty());
        let (kind, default_port) = match form {
            "" => (Kind::Single, 6379),
            "cluster" => (Kind::Cluster, 6379),
            "sentinel" => {
                let name = path
                    .next()
                    .ok_or("the name that the sentinels know the master by is missing, as in /mymaster/0")?;
                (Kind::Sentinel(decoded(name)?), 26379)
            }
            _ => return Err(format!("{scheme}:// is not a cache that Covet knows")),
        };
        let database = match path.next() {
            None => 0,
            Some(number) => number.parse().map_err(|_| "the database is a number, as in /0")?,
        };
        if path.next().is_some() {
            return Err("there is more after the database's number".into());
        }
        let hosts = hosts.split(',').map(|host| Host::parse(host, default_port)).collect::<Result<Vec<_>, _>>()?;
        match kind {
            Kind::Single if hosts.len() > 1 => {
                Err("several hosts belong together as redis+sentinel:// or as redis+cluster://: say which".into())
            }
            Kind::Cluster if database != 0 => Err("a cluster has the database 0 only".into()),
            kind => Ok(Self { kind, hosts, tls, user, password, database }),
        }
    }

    /// The first host that would be spoken to in the clear over a network, if there is one.
    pub(super) fn plain_host(&self) -> Option<&Host> {
        self.hosts.iter().find(|host| !self.tls && !host.is_local())
    }
}

impl Host {
    fn parse(text: &str, default_port: u16) -> Result<Self, String> {
        let wrong = || "a host is written name:port or [address]:port, several with commas between them".to_owned();
        let (name, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (name, port) = rest.split_once(']').ok_or_else(wrong)?;
                (name, port.strip_prefix(':').or_else(|| port.is_empty().then_some("")).ok_or_else(wrong)?)
            }
            None => text.split_once(':').unwrap_or((text, "")),
        };
        if name.is_empty() {
            return Err("the URL names no host".to_owned());
        }
        let port = if port.is_empty() { default_port } else { port.parse().map_err(|_| wrong())? };
        Ok(Self { name: name.to_owned(), port })
    }

    /// True if what is sent does not leave this machine.
    fn is_local(&self) -> bool {
        self.name == "localhost" || self.name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.contains(':') {
            true => write!(f, "[{}]:{}", self.name, self.port),
            false => write!(f, "{}:{}", self.name, self.port),
        }
    }
}

fn sign_in(info: &str) -> Result<(Option<String>, Option<SecretString>), String> {
    let (user, password) =
        info.split_once(':').ok_or("a password stands behind a colon: user:password@ or :password@")?;
    let user = Some(decoded(user)?).filter(|user| !user.is_empty());
    let password = Some(decoded(password)?).filter(|password| !password.is_empty());
    if user.is_some() && password.is_none() {
        return Err("the user has no password".to_owned());
    }
    Ok((user, password.map(SecretString::from)))
}

fn decoded(text: &str) -> Result<String, String> {
    let decoded = percent_decode_str(text).decode_utf8().map_err(|_| "what stands behind % is not UTF-8")?;
    Ok(decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use covet_core::secret::ExposeSecret as _;
    use covet_core::settings::Value as _;

    use super::*;

    fn parse(url: &str) -> Result<Target, String> {
        Target::parse(&ConnectionUrl::parse(url).unwrap())
    }

    fn hosts(target: &Target) -> Vec<String> {
        target.hosts.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn one_server() {
        let target = parse("redis://cache").unwrap();
        assert_eq!((&target.kind, target.tls, target.database), (&Kind::Single, false, 0));
        assert_eq!(hosts(&target), ["cache:6379"]);
        assert!(target.user.is_none() && target.password.is_none());
        let target = parse("rediss://worker:p%40ss@[::1]:7000/3").unwrap();
        assert_eq!((hosts(&target), target.tls, target.database), (vec!["[::1]:7000".to_owned()], true, 3));
        assert_eq!(target.user.as_deref(), Some("worker"));
        assert_eq!(target.password.unwrap().expose_secret(), "p@ss");
    }

    #[test]
    fn sentinels_and_the_name_of_their_master() {
        let target = parse("redis+sentinel://:pass@s1,s2:26380/mymaster/2").unwrap();
        assert_eq!(target.kind, Kind::Sentinel("mymaster".to_owned()));
        assert_eq!((hosts(&target), target.database), (vec!["s1:26379".to_owned(), "s2:26380".to_owned()], 2));
        assert!(target.user.is_none() && target.password.is_some());
        assert!(parse("rediss+sentinel://s1/mymaster").unwrap().tls);
    }

    #[test]
    fn a_cluster() {
        let target = parse("redis+cluster://h1,h2:7000,h3").unwrap();
        assert_eq!((&target.kind, hosts(&target).len()), (&Kind::Cluster, 3));
        assert!(parse("rediss+cluster://h1/0").unwrap().tls);
    }

    #[test]
    fn what_cannot_work_is_refused_with_something_that_does_and_passwords_are_not_told() {
        for (url, told) in [
            ("memcached://:hunter2@h", "memcached:// is not a cache"),
            ("redis+galaxy://:hunter2@h", "redis+galaxy:// is not a cache"),
            ("redis://:hun@hunter2@h", "written %40"),
            ("redis://:hun/hunter2@h", "written %2F"),
            ("redis://:hun?hunter2@h", "options in the URL"),
            ("redis://hunter2@h", "behind a colon"),
            ("redis://user:@h", "no password"),
            ("redis://:hunter2@", "names no host"),
            ("redis://:hunter2@h:port", "name:port"),
            ("redis://:hunter2@h/zero", "the database is a number"),
            ("redis://:hunter2@h/0/1", "more after"),
            ("redis://:hunter2@h1,h2", "several hosts"),
            ("redis+sentinel://:hunter2@h", "/mymaster/0"),
            ("redis+cluster://:hunter2@h/1", "database 0 only"),
        ] {
            let reason = parse(url).unwrap_err();
            assert!(reason.contains(told) && reason.contains("examples that work"), "{url}: {reason}");
            assert!(!reason.contains("hunter2"), "{reason}");
        }
        assert!(!format!("{:?}", parse("redis://:hunter2@h").unwrap()).contains("hunter2"));
    }

    #[test]
    fn a_host_in_the_clear_is_named() {
        let plain = |url: &str| parse(url).unwrap().plain_host().map(ToString::to_string);
        assert_eq!(plain("redis://cache").as_deref(), Some("cache:6379"));
        assert_eq!(plain("redis+sentinel://127.0.0.1,s2/m").as_deref(), Some("s2:26379"));
        for url in ["rediss://cache", "redis://localhost", "redis://127.0.0.2:7", "redis+cluster://[::1]"] {
            assert_eq!(plain(url), None, "{url}");
        }
    }
}
