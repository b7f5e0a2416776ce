//! `rename-service`: three releases of a service on `covet-api`'s tables, between which `users.name` becomes `full_name`.
//!
//! It is the worked example of `docs/guides/migrations.md`. The migrations are `covet-api`'s and those in `tests/rename/`;
//! the statements, which differ from release to release, are in `src/bin/rename-service.rs`.

pub mod traffic;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use covet::settings::Settings;
use covet_testkit::{Service, ServiceBuilder};

/// A release: what it calls the column, and which migrations it ships.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// Knows `name` only.
    One,
    /// Expands the schema, and uses `full_name`.
    Two,
    /// Contracts it.
    Three,
}

/// Which release a process is.
#[derive(Debug, Clone, Settings)]
#[settings(section = "rename")]
pub struct RenameSettings {
    /// Its number.
    #[setting(default = "1", min = "1", max = "3")]
    pub release: u32,
}

impl Release {
    fn number(self) -> u32 {
        match self {
            Self::One => 1,
            Self::Two => 2,
            Self::Three => 3,
        }
    }

    /// Number of its newest migration.
    #[must_use]
    pub fn newest(self) -> u32 {
        match self {
            Self::One => 5,
            Self::Two => 8,
            Self::Three => 9,
        }
    }

    /// The service of this release, which starts on a newer schema too. `program` is
    /// `env!("CARGO_BIN_EXE_rename-service")`, which only tests have: theirs has the linter.
    ///
    /// # Errors
    ///
    /// When its migrations cannot be read.
    pub fn builder(self, program: &str) -> Result<ServiceBuilder> {
        let mut builder = Service::builder()
            .binary(program)
            .env("COVET_RENAME__RELEASE", self.number().to_string())
            .env("COVET_MIGRATIONS__WHEN_AHEAD", "start");
        for (name, text) in scripts()? {
            let number: u32 = name[..4].parse().context(name.clone())?;
            if number <= self.newest() {
                builder = builder.file(&format!("migrations/{name}"), &text);
            }
        }
        Ok(builder)
    }
}

/// Every script of the example, `0006_users_full_name/up.postgres.sql` for one, and its text.
///
/// # Errors
///
/// When a folder cannot be read.
pub fn scripts() -> Result<Vec<(String, String)>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // What covet-api has added since has nothing to do with the example.
    let mut migrations = entries(&root.join("../services/api/migrations"))?;
    migrations.truncate(Release::One.newest() as usize);
    migrations.extend(entries(&root.join("rename"))?);
    let mut scripts = Vec::new();
    for migration in migrations {
        for script in entries(&migration)? {
            let name = script.strip_prefix(migration.parent().unwrap_or(root))?.to_string_lossy().into_owned();
            scripts.push((name, fs::read_to_string(&script)?));
        }
    }
    Ok(scripts)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}
