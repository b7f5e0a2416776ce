//! Migrations as files: found, named and ordered, before any database is touched.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use include_dir::{Dir, DirEntry};
use sha2::{Digest, Sha256};

use super::error::MigrationError;
use crate::Dialect;

/// How a line begins that only accepts a finding of the linter.
const FOR_THE_LINTER: &str = "-- squawk-ignore";

/// Embeds the folder `migrations` beside the `Cargo.toml` of the crate that calls it, or the one it is given:
/// `migrations!("$CARGO_MANIFEST_DIR/schema")`. The folder must exist.
///
/// Cargo does not notice a *new* file in it by itself; a `build.rs` with this line makes it:
///
/// ```
/// println!("cargo:rerun-if-changed=migrations");
/// ```
#[macro_export]
macro_rules! migrations {
    () => {{
        let source = ::core::concat!(::core::env!("CARGO_MANIFEST_DIR"), "/migrations");
        $crate::migrations!(@embed "$CARGO_MANIFEST_DIR/migrations", ::core::cfg!(debug_assertions).then_some(source))
    }};
    (@embed $folder:tt, $source:expr) => {{
        // The expansion of `include_dir!` says `include_dir::…`.
        use $crate::__private::include_dir;
        static FOLDER: include_dir::Dir<'static> = include_dir::include_dir!($folder);
        $crate::Migrations::embedded(&FOLDER, $source)
    }};
    ($folder:tt) => { $crate::migrations!(@embed $folder, ::core::option::Option::None) };
}

/// A set of migrations: [`migrations!`](crate::migrations), or a folder.
#[derive(Debug, Clone)]
pub struct Migrations {
    /// Path below the folder, and text.
    files: Vec<(String, String)>,
}

/// A migration, for the database in use.
#[derive(Debug, Clone)]
pub(crate) struct Migration {
    pub(crate) version: u32,
    pub(crate) name: String,
    pub(crate) up: String,
    pub(crate) down: String,
    /// SHA-256 of the up script, in hex. Line ends do not count, nor do lines that only tell the linter something.
    pub(crate) checksum: String,
}

impl Migrations {
    /// What [`migrations!`](crate::migrations) makes. In development `source` is the folder itself: if it has other
    /// migrations by now, a warning says that the program is to be built again.
    #[doc(hidden)]
    #[must_use]
    pub fn embedded(folder: &'static Dir<'static>, source: Option<&str>) -> Self {
        let mut files = Vec::new();
        collect(folder, &mut files);
        let embedded = Self { files };
        if let Some(Ok(current)) = source.filter(|source| Path::new(source).is_dir()).map(Self::read)
            && !embedded.same_paths(&current)
        {
            tracing::warn!(
                "the folder migrations has changed since this program was built; build it again \
                 (a build.rs with cargo:rerun-if-changed=migrations does that by itself)"
            );
        }
        embedded
    }

    /// The migrations of a folder on disk, for tools.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read(folder: impl AsRef<Path>) -> io::Result<Self> {
        let folder = folder.as_ref();
        let mut files = Vec::new();
        let mut open: Vec<PathBuf> = vec![folder.to_owned()];
        while let Some(next) = open.pop() {
            for entry in fs::read_dir(&next)? {
                let path = entry?.path();
                if path.is_dir() {
                    open.push(path);
                } else if let Ok(text) = fs::read_to_string(&path) {
                    let below = path.strip_prefix(folder).unwrap_or(&path);
                    files.push((below.to_string_lossy().into_owned(), text));
                }
            }
        }
        Ok(Self { files })
    }

    fn same_paths(&self, other: &Self) -> bool {
        let paths = |migrations: &Self| {
            let mut paths: Vec<String> = migrations.files.iter().map(|(path, _)| path.clone()).collect();
            paths.sort();
            paths
        };
        paths(self) == paths(other)
    }

    /// Path of a migration's script below the folder.
    #[cfg(feature = "migrate-lint")]
    pub(super) fn file(&self, migration: &Migration, script: &str, dialect: Dialect) -> String {
        let own = format!("{}/{script}.{}.sql", migration.folder(), dialect.name());
        if self.files.iter().any(|(path, _)| *path == own) {
            return own;
        }
        format!("{}/{script}.sql", migration.folder())
    }

    /// Checks names and numbers; oldest first.
    pub(crate) fn list(&self, dialect: Dialect) -> Result<Vec<Migration>, MigrationError> {
        let mut folders: BTreeMap<&str, BTreeMap<&str, &str>> = BTreeMap::new();
        for (path, text) in self.files.iter().filter(|(path, _)| path.ends_with(".sql")) {
            let wrong = |reason| MigrationError::Name { path: path.clone(), reason };
            let (folder, file) = path
                .split_once('/')
                .ok_or_else(|| wrong("scripts lie in folders such as 0001_users, as up.sql and down.sql"))?;
            let stem = file.strip_suffix(".sql").unwrap_or(file);
            let known = ["up", "down"].into_iter().any(|script| {
                let rest = stem.strip_prefix(script);
                rest.is_some_and(|rest| ["", ".sqlite", ".postgres"].contains(&rest))
            });
            if !known {
                return Err(wrong("scripts are named up.sql, down.sql, up.sqlite.sql, up.postgres.sql and so on"));
            }
            folders.entry(folder).or_default().insert(stem, text);
        }
        let mut migrations = folders
            .iter()
            .map(|(folder, scripts)| migration(folder, scripts, dialect))
            .collect::<Result<Vec<_>, _>>()?;
        migrations.sort_by_key(|migration| migration.version);
        for (index, migration) in migrations.iter().enumerate() {
            if let Some(before) = index.checked_sub(1).map(|before| &migrations[before])
                && before.version == migration.version
            {
                return Err(MigrationError::Duplicate { first: before.folder(), second: migration.folder() });
            }
            let expected = u32::try_from(index + 1).unwrap_or(u32::MAX);
            if migration.version != expected {
                return Err(MigrationError::Gap { missing: expected, before: migration.folder() });
            }
        }
        Ok(migrations)
    }
}

fn collect(folder: &Dir<'_>, files: &mut Vec<(String, String)>) {
    for entry in folder.entries() {
        match entry {
            DirEntry::Dir(folder) => collect(folder, files),
            DirEntry::File(file) => {
                if let Some(text) = file.contents_utf8() {
                    files.push((file.path().to_string_lossy().into_owned(), text.to_owned()));
                }
            }
        }
    }
}

fn migration(folder: &str, scripts: &BTreeMap<&str, &str>, dialect: Dialect) -> Result<Migration, MigrationError> {
    let name = folder.split_once('_').filter(|(number, name)| {
        let digits = number.len() == 4 && number.bytes().all(|byte| byte.is_ascii_digit());
        digits && !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    });
    let Some((number, name)) = name else {
        let reason = "folders are named by four digits and a name in lower case, such as 0001_users";
        return Err(MigrationError::Name { path: folder.to_owned(), reason });
    };
    let script = |script: &'static str| {
        let dialect = dialect.name();
        let own = format!("{script}.{dialect}");
        let text = scripts.get(own.as_str()).or_else(|| scripts.get(script));
        text.map(|text| text.replace("\r\n", "\n")).ok_or_else(|| MigrationError::Missing {
            folder: folder.to_owned(),
            script,
            dialect,
        })
    };
    let up = script("up")?;
    let counted: String =
        up.split_inclusive('\n').filter(|line| !line.trim_start().starts_with(FOR_THE_LINTER)).collect();
    let checksum = covet_core::hex::digits(Sha256::digest(counted.as_bytes()));
    let version = number.parse().unwrap_or_default();
    Ok(Migration { version, name: name.to_owned(), up, down: script("down")?, checksum })
}

impl Migration {
    fn folder(&self) -> String {
        format!("{:04}_{}", self.version, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn migrations(paths: &[&str]) -> Result<Vec<Migration>, String> {
        let files = paths.iter().map(|path| ((*path).to_owned(), format!("-- {path}"))).collect();
        Migrations { files }.list(Dialect::Sqlite).map_err(|error| error.to_string())
    }

    #[test]
    fn the_script_of_the_database_in_use_goes_before_the_general_one() {
        let paths = ["0001_a/up.sql", "0001_a/down.sql", "0002_b/up.postgres.sql", "0002_b/up.sqlite.sql"];
        let list = migrations(&[&paths[..], &["0002_b/down.sql", "README.md", "0001_a/notes.txt"]].concat()).unwrap();
        assert_eq!(list[0].up, "-- 0001_a/up.sql");
        assert_eq!(list[1].up, "-- 0002_b/up.sqlite.sql");
        assert_eq!(list[1].down, "-- 0002_b/down.sql");
    }

    #[test]
    fn what_is_wrong_with_the_files_is_told() {
        for (paths, told) in [
            (&["0001_a/up.sql"][..], "migrations/0001_a has no down.sql"),
            (&["0001_a/down.sql", "0001_a/up.postgres.sql"], "migrations/0001_a has no up.sql"),
            (&["0001_a/up.sql", "0001_a/dwon.sql"], "migrations/0001_a/dwon.sql: scripts are named"),
            (&["first.sql"], "migrations/first.sql: scripts lie in folders"),
            (&["1_a/up.sql", "1_a/down.sql"], "migrations/1_a: folders are named by four digits"),
            (&["0002_b/up.sql", "0002_b/down.sql"], "migrations/0002_b has no predecessor 0001"),
            (
                &["0001_a/up.sql", "0001_a/down.sql", "0001_b/up.sql", "0001_b/down.sql"],
                "0001_a and migrations/0001_b have the same number",
            ),
        ] {
            let error = migrations(paths).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
    }

    #[test]
    fn line_ends_do_not_change_the_checksum() {
        let of = |text: &str| {
            migration("0001_a", &BTreeMap::from([("up", text), ("down", "")]), Dialect::Sqlite).unwrap().checksum
        };
        assert_eq!(of("a;\r\nb;"), of("a;\nb;"));
        assert_ne!(of("a;"), of("b;"));
        assert_ne!(of("a; -- b"), of("a; -- c"));
        assert_eq!(of("").len(), 64);
    }

    #[test]
    fn accepting_a_finding_does_not_change_the_checksum() {
        let of = |text: &str| {
            migration("0001_a", &BTreeMap::from([("up", text), ("down", "")]), Dialect::Sqlite).unwrap().checksum
        };
        let plain = of("-- Gone.\nDROP TABLE a;\nDROP TABLE b;\n");
        let accepted = "-- squawk-ignore-file renaming-table -- b\n-- Gone.\n  -- squawk-ignore ban-drop-table -- a\nDROP TABLE a;\n";
        assert_eq!(of(&format!("{accepted}DROP TABLE b;\n")), plain);
        assert_ne!(of(accepted), plain);
    }
}
