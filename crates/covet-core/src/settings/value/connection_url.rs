//! Where a server is and how to sign in there, in one text: `DATABASE_URL`, `REDIS_URL`.
//!
//! Kept as text, because the drivers' forms (several hosts, `redis+sentinel://`) are not URLs in the sense of RFC 3986.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

use super::Value;
use crate::settings::mask_passwords;

/// A connection URL. `{}` and `{:?}` show it with its password masked; [`expose`](Self::expose) gives the whole text.
///
/// ```
/// use covet_core::settings::{ConnectionUrl, Value};
///
/// let url = ConnectionUrl::parse("postgresql://covet:s3cr3t@db1:5432,db2:5432/covet").unwrap();
/// assert_eq!(url.scheme(), "postgresql");
/// assert_eq!(url.to_string(), "postgresql://covet:********@db1:5432,db2:5432/covet");
/// ```
#[derive(Clone)]
pub struct ConnectionUrl(SecretString);

impl ConnectionUrl {
    /// What stands before `://`.
    #[must_use]
    pub fn scheme(&self) -> &str {
        self.expose().split_once("://").map_or("", |(scheme, _)| scheme)
    }

    /// The whole text, password included: for the driver, not for eyes.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Display for ConnectionUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&mask_passwords(self.expose()))
    }
}

impl fmt::Debug for ConnectionUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&mask_passwords(self.expose()), f)
    }
}

impl PartialEq for ConnectionUrl {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl Eq for ConnectionUrl {}

impl Value for ConnectionUrl {
    fn type_name() -> String {
        "connection URL".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let scheme = text.split_once("://").map(|(scheme, _)| scheme);
        let well_formed = scheme.is_some_and(|scheme| {
            scheme.starts_with(|letter: char| letter.is_ascii_alphabetic())
                && scheme.chars().all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '+' | '-' | '.'))
        });
        // The text may hold a password and is not repeated.
        if !well_formed {
            return Err("expected a URL that begins with a scheme and ://, such as postgresql://host/name".to_owned());
        }
        if text.chars().any(char::is_control) {
            return Err("expected a URL on one line, got control characters in it".to_owned());
        }
        Ok(Self(SecretString::from(text)))
    }

    fn show(&self) -> String {
        self.expose().to_owned()
    }

    fn example() -> Option<String> {
        Some("postgresql://user@host:5432/name".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_printed() {
        let url = ConnectionUrl::parse("redis+sentinel://:hunter2@s1:26379,s2:26379/mymaster/0").unwrap();
        assert_eq!(url.scheme(), "redis+sentinel");
        assert_eq!(url.to_string(), "redis+sentinel://:********@s1:26379,s2:26379/mymaster/0");
        assert!(!format!("{url:?}").contains("hunter2"));
        assert!(url.expose().contains("hunter2"));
    }

    #[test]
    fn a_text_without_a_scheme_is_refused_and_not_repeated() {
        let reason = ConnectionUrl::parse("user:hunter2@db/covet").unwrap_err();
        assert!(reason.starts_with("expected a URL that begins with a scheme"), "{reason}");
        assert!(!reason.contains("hunter2"));
    }
}
