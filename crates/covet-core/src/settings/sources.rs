//! The places values come from, captured once, and the order in which they are asked.
//!
//! `sources/config_file.rs` reads `covet.toml`, `sources/dotenv.rs` reads `.env`. What a found text means is in `reader.rs`.

mod config_file;
mod dotenv;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

pub(super) use config_file::ConfigFile;

use super::problems::SettingProblem;
use super::provenance::Provenance;
use super::section::{Field, Section};
use super::service::ServiceSettings;
use super::value::Value;
use crate::environment::Environment;

/// The process environment, captured once, and the directory in which `.env` and `covet.toml` are looked for.
///
/// `{:?}` names the variables without their values.
#[derive(Clone)]
pub struct Sources {
    variables: Variables,
    /// [`None`]: no files but those that variables name.
    directory: Option<PathBuf>,
}

impl Sources {
    /// The environment of this process and the files in its working directory.
    #[must_use]
    pub fn from_env() -> Self {
        // An empty path: file names are shown as they were given.
        Self { variables: Variables::of_os(std::env::vars_os()), directory: Some(PathBuf::new()) }
    }

    /// These variables and nothing else: no `.env`, no `covet.toml`, and generated keys are not kept. For tests.
    #[must_use]
    pub fn of<N: Into<String>, V: Into<String>>(variables: impl IntoIterator<Item = (N, V)>) -> Self {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), Some(value.into())));
        Self { variables: Variables(variables.collect()), directory: None }
    }

    /// Looks for `.env` and `covet.toml` in this directory; relative paths are relative to it, too.
    #[must_use]
    pub fn in_directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// The path, relative to the directory.
    pub(super) fn resolve(&self, path: &Path) -> PathBuf {
        self.directory.as_ref().map_or_else(|| path.to_owned(), |directory| directory.join(path))
    }
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.variables.0.keys().collect();
        f.debug_struct("Sources").field("variables", &names).field("directory", &self.directory).finish()
    }
}

/// Names and values; [`None`] is a value that is not UTF-8.
#[derive(Clone, Default)]
pub(super) struct Variables(pub(super) BTreeMap<String, Option<String>>);

impl Variables {
    fn of_os(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        // A name that is not UTF-8 cannot be one of ours.
        let variables = variables
            .into_iter()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok())));
        Self(variables.collect())
    }

    fn is_set(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|value| value.as_deref() != Some(""))
    }
}

/// A text that was found, and where.
pub(super) struct Found {
    pub(super) text: String,
    pub(super) provenance: Provenance,
}

/// Every source, opened: from the one that wins to the one that yields.
pub(super) struct Layers {
    pub(super) environment: Variables,
    pub(super) dotenv: Variables,
    pub(super) config: Option<ConfigFile>,
    directory: Option<PathBuf>,
}

impl Layers {
    /// Opens the sources. The second value is the environment's name, [`None`] when it is wrong, the third what is wrong
    /// with the files.
    pub(super) fn open(sources: Sources) -> (Self, Option<Environment>, Vec<SettingProblem>) {
        let mut problems = Vec::new();
        let mut layers = Self {
            environment: sources.variables,
            dotenv: Variables::default(),
            config: None,
            directory: sources.directory,
        };
        let own = ServiceSettings::fields();
        let [environment_field, config_field] =
            ["environment", "config"].map(|key| own.iter().find(|field| field.key == key));

        let named = config_field.and_then(|field| layers.find(field).ok().flatten());
        match ConfigFile::open(named.as_ref(), layers.directory.as_deref()) {
            Ok(config) => layers.config = config,
            Err(problem) => problems.push(problem),
        }
        // Wrong values are reported when the section is read; here only the outcome counts.
        let environment = match environment_field.map(|field| layers.find(field)) {
            Some(Ok(Some(found))) => Environment::parse(&found.text).ok(),
            Some(Ok(None)) => Some(Environment::default()),
            _ => None,
        };
        if environment == Some(Environment::Development)
            && let Some(directory) = &layers.directory
        {
            match dotenv::read(&directory.join(".env")) {
                Ok(variables) => layers.dotenv = variables,
                Err(problem) => problems.push(problem),
            }
        }
        problems.extend(layers.without_effect());
        (layers, environment, problems)
    }

    /// Asks each source in turn.
    ///
    /// # Errors
    /// When a source has the value in a form that cannot be used.
    pub(super) fn find(&self, field: &Field) -> Result<Option<Found>, SettingProblem> {
        for (variables, origin) in [(&self.environment, Provenance::Environment), (&self.dotenv, Provenance::DotEnv)] {
            if let Some(found) = self.find_in(variables, &origin, field)? {
                return Ok(Some(found));
            }
        }
        let Some((value, provenance)) = self.config.as_ref().and_then(|config| config.get(field.section, field.key))
        else {
            return Ok(None);
        };
        match value {
            Ok(text) if text.is_empty() && field.key_material => Ok(None),
            Ok(text) => Ok(Some(Found { text: text.clone(), provenance })),
            Err(reason) => Err(SettingProblem {
                setting: field.variable.clone(),
                origin: Some(provenance.clone()),
                reason: reason.clone(),
                example: field.example_line(Some(&provenance)),
            }),
        }
    }

    fn find_in(
        &self,
        variables: &Variables,
        origin: &Provenance,
        field: &Field,
    ) -> Result<Option<Found>, SettingProblem> {
        let problem = |reason: String, example: Option<String>| SettingProblem {
            setting: field.variable.clone(),
            origin: Some(origin.clone()),
            reason,
            example,
        };
        let file_variable = format!("{}_FILE", field.variable);
        let value = variables.0.get(&field.variable);
        if variables.is_set(&file_variable) {
            if variables.is_set(&field.variable) {
                return Err(problem(
                    format!("{} and {file_variable} are both set, and only one can count", field.variable),
                    Some(format!("unset {file_variable}")),
                ));
            }
            let Some(Some(path)) = variables.0.get(&file_variable) else {
                return Err(problem(format!("{file_variable} is not UTF-8"), field.example_line(None)));
            };
            return self.read_file(Path::new(path), &file_variable, field).map(Some);
        }
        match value {
            None => Ok(None),
            Some(None) => Err(problem("is not UTF-8".to_owned(), field.example_line(None))),
            Some(Some(text)) if text.is_empty() && field.key_material => Ok(None),
            Some(Some(text)) => Ok(Some(Found { text: text.clone(), provenance: origin.clone() })),
        }
    }

    fn read_file(&self, path: &Path, file_variable: &str, field: &Field) -> Result<Found, SettingProblem> {
        let provenance = Provenance::File { path: path.to_owned() };
        let text = fs::read_to_string(self.resolve(path)).map_err(|error| SettingProblem {
            setting: file_variable.to_owned(),
            origin: None,
            reason: format!("cannot read {}: {error}", path.display()),
            example: Some(format!("{file_variable}=/run/secrets/{}", field.variable.to_ascii_lowercase())),
        })?;
        let text = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
        Ok(Found { text: text.to_owned(), provenance })
    }

    /// The path, relative to the sources' directory.
    pub(super) fn resolve(&self, path: &Path) -> PathBuf {
        self.directory.as_ref().map_or_else(|| path.to_owned(), |directory| directory.join(path))
    }

    /// True when relative paths are meant: the sources are those of a process, not of a test.
    pub(super) fn has_directory(&self) -> bool {
        self.directory.is_some()
    }

    /// Settings that decide which files are read cannot come from those files.
    fn without_effect(&self) -> Vec<SettingProblem> {
        let mut problems = Vec::new();
        let mut refuse = |setting: &str, origin: Provenance, example: &str| {
            problems.push(SettingProblem {
                setting: setting.to_owned(),
                origin: Some(origin),
                reason: "has no effect here: it decides which files are read, so it counts in the environment only"
                    .to_owned(),
                example: Some(format!("export {setting}={example}")),
            });
        };
        let in_dotenv = |name: &str| self.dotenv.0.get(name).and_then(Option::as_deref);
        if in_dotenv("COVET_ENV").is_some_and(|value| value != Environment::Development.as_str()) {
            refuse("COVET_ENV", Provenance::DotEnv, "production");
        }
        if in_dotenv("COVET_CONFIG").is_some() {
            refuse("COVET_CONFIG", Provenance::DotEnv, "/etc/covet/covet.toml");
        }
        if let Some((_, origin)) = self.config.as_ref().and_then(|config| config.get(ServiceSettings::NAME, "config")) {
            refuse("COVET_CONFIG", origin, "/etc/covet/covet.toml");
        }
        problems
    }
}
