//! The settings of the settings: which environment this is, and where files are. Always read, before any other section.

use std::path::PathBuf;

use super::Settings;
use crate::environment::Environment;

/// Which environment this is, and where the service keeps its files.
#[derive(Debug, Clone, Settings)]
#[settings(section = "service", crate = "crate")]
pub struct ServiceSettings {
    /// Where the service runs. Some settings have another default outside development; only development reads `.env`
    /// and makes up missing keys; only production refuses placeholder secrets.
    #[setting(variable = "COVET_ENV", default = "development", example = "production")]
    pub environment: Environment,
    /// The file with settings. When it is not set, `covet.toml` in the working directory is read if it is there.
    /// Counts in the environment only.
    #[setting(variable = "COVET_CONFIG", example = "/etc/covet/covet.toml")]
    pub config: Option<PathBuf>,
    /// Where the service keeps what it makes itself, such as the keys generated for development.
    #[setting(variable = "COVET_DATA_DIR", default = "data", example = "/app/data")]
    pub data_dir: PathBuf,
    /// Lets production start with placeholder secrets. For demonstrations; never where real users are.
    #[setting(variable = "COVET_ALLOW_PLACEHOLDER_SECRETS", default = "false")]
    pub allow_placeholder_secrets: bool,
}
