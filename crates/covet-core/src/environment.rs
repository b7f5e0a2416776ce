//! Where the service runs: `COVET_ENV`.

use std::fmt;
use std::str::FromStr;

/// The three environments. Settings may have another default outside development; only production refuses
/// placeholder secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Environment {
    /// A developer's machine: embedded defaults, human-readable logs, generated secrets.
    #[default]
    Development,
    /// Like production, but placeholder secrets are tolerated.
    Staging,
    /// Real users.
    Production,
}

impl Environment {
    /// The name as in `COVET_ENV`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Development => "development",
            Self::Staging => "staging",
            Self::Production => "production",
        }
    }

    /// True on a developer's machine.
    #[must_use]
    pub fn is_development(self) -> bool {
        self == Self::Development
    }

    /// True where real users are.
    #[must_use]
    pub fn is_production(self) -> bool {
        self == Self::Production
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is none of the three names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected development, staging or production, got {0:?}")]
pub struct UnknownEnvironment(String);

impl FromStr for Environment {
    type Err = UnknownEnvironment;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "development" => Ok(Self::Development),
            "staging" => Ok(Self::Staging),
            "production" => Ok(Self::Production),
            other => Err(UnknownEnvironment(other.to_owned())),
        }
    }
}
