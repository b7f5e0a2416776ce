//! Where a value came from.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Provenance {
    /// A variable of the process environment.
    Environment,
    /// The file that `<VARIABLE>_FILE` names.
    File {
        /// The file, as it was named.
        path: PathBuf,
    },
    /// A line in `.env`.
    DotEnv,
    /// `covet.toml`, or the file that `COVET_CONFIG` names.
    ConfigFile {
        /// The file, as it was named.
        path: PathBuf,
        /// Line of the key, from 1.
        line: usize,
    },
    /// The declaration; also when nothing is set and nothing needs to be.
    Default,
    /// Made up for development.
    Generated {
        /// Where it is kept for the next start; [`None`] when it lasts for this run only.
        path: Option<PathBuf>,
    },
}

impl fmt::Display for Provenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment => f.write_str("environment"),
            Self::File { path } => write!(f, "file {}", path.display()),
            Self::DotEnv => f.write_str(".env"),
            Self::ConfigFile { path, line } => write!(f, "{} line {line}", path.display()),
            Self::Default => f.write_str("default"),
            Self::Generated { path: Some(path) } => write!(f, "generated for development, kept in {}", path.display()),
            Self::Generated { path: None } => f.write_str("generated for this run"),
        }
    }
}
