//! What `DATABASE_URL` names: a SQLite file, or PostgreSQL servers (`postgres/target.rs`).

use std::path::PathBuf;

use covet_core::settings::ConnectionUrl;

use crate::postgres::Target;

const EXAMPLE: &str = "an example that works: DATABASE_URL=sqlite://data/covet.db";

/// Where the data is.
#[derive(Debug, Clone)]
pub(crate) enum Address {
    Sqlite(PathBuf),
    Postgres(Box<Target>),
}

impl Address {
    /// Reads a URL. The error says what is wrong with it, and never repeats a password.
    pub(crate) fn parse(url: &ConnectionUrl) -> Result<Self, String> {
        match url.scheme() {
            "sqlite" => sqlite(url).map(Self::Sqlite),
            "postgresql" | "postgres" => Target::parse(url).map(|target| Self::Postgres(Box::new(target))),
            scheme => Err(format!("{scheme}:// is not a database that Covet knows; {EXAMPLE}")),
        }
    }
}

fn sqlite(url: &ConnectionUrl) -> Result<PathBuf, String> {
    let path = url.expose().split_once("://").map_or("", |(_, path)| path);
    if path.contains(":memory:") || path.contains("mode=memory") {
        return Err(format!("a database in memory cannot be shared by connections; name a file; {EXAMPLE}"));
    }
    if path.is_empty() || path.ends_with('/') {
        return Err(format!("the URL names no file; {EXAMPLE}"));
    }
    if let Some((_, options)) = path.split_once('?') {
        return Err(format!("options in the URL (?{options}) are not known; use COVET_DATABASE__…; {EXAMPLE}"));
    }
    Ok(PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    use covet_core::settings::Value as _;

    use super::*;

    fn parse(url: &str) -> Result<Address, String> {
        Address::parse(&ConnectionUrl::parse(url).unwrap())
    }

    #[test]
    fn a_path_is_kept_as_it_is() {
        for (url, path) in [
            ("sqlite://data/covet.db", "data/covet.db"),
            ("sqlite:///var/lib/covet/covet.db", "/var/lib/covet/covet.db"),
        ] {
            assert!(matches!(parse(url), Ok(Address::Sqlite(file)) if file.as_os_str() == path), "{url}");
        }
    }

    #[test]
    fn what_cannot_work_is_refused_with_something_that_does() {
        for (url, part) in [
            ("mysql://db/covet", "mysql:// is not a database"),
            ("sqlite://:memory:", "in memory"),
            ("sqlite://data/covet.db?mode=ro", "mode=ro"),
            ("sqlite://data/", "names no file"),
        ] {
            let reason = parse(url).unwrap_err();
            assert!(reason.contains(part) && reason.contains("sqlite://data/covet.db"), "{reason}");
        }
    }
}
