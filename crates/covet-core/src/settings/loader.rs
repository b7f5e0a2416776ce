//! Reads section after section and keeps every problem until the end: an operator corrects all of them at once.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::effective::{Effective, EffectiveSetting};
use super::problems::{Problems, SettingProblem};
use super::provenance::Provenance;
use super::reader::{Policy, Reader};
use super::section::{Section, SectionDoc};
use super::service::ServiceSettings;
use super::sources::{Layers, Sources};
use super::unknown;
use crate::environment::Environment;

/// Reads sections. [`section`](Self::section) each of them, then [`finish`](Self::finish).
///
/// ```
/// use covet_core::settings::{Loader, ServiceSettings, Sources};
///
/// let loaded = Loader::new(Sources::of([("COVET_ENV", "staging")])).finish()?;
/// assert_eq!(loaded.get::<ServiceSettings>().environment.as_str(), "staging");
///
/// let problems = Loader::new(Sources::of([("COVET_EVN", "staging")])).finish().unwrap_err();
/// assert!(problems.to_string().contains("did you mean COVET_ENV?"));
/// # Ok::<(), covet_core::settings::Problems>(())
/// ```
pub struct Loader {
    sources: Sources,
    layers: Layers,
    policy: Policy,
    problems: Vec<SettingProblem>,
    entries: Vec<EffectiveSetting>,
    docs: Vec<SectionDoc>,
    values: Values,
    unknown_allowed: bool,
}

type Values = HashMap<TypeId, Box<dyn Any + Send + Sync>>;

impl Loader {
    /// Opens the sources and reads [`ServiceSettings`].
    #[must_use]
    pub fn new(sources: Sources) -> Self {
        let (layers, environment, problems) = Layers::open(sources.clone());
        let mut loader = Self {
            sources,
            layers,
            policy: Policy { environment, placeholders_allowed: false, secrets_directory: None },
            problems,
            entries: Vec::new(),
            docs: Vec::new(),
            values: HashMap::new(),
            unknown_allowed: false,
        };
        if let Some(ServiceSettings { allow_placeholder_secrets, data_dir, .. }) =
            loader.section::<ServiceSettings>().cloned()
        {
            loader.policy.placeholders_allowed = allow_placeholder_secrets;
            // Without a directory of its own a test leaves nothing behind, unless it says where.
            let said =
                loader.entries.iter().any(|entry| entry.key == "data_dir" && entry.provenance != Provenance::Default);
            loader.policy.secrets_directory =
                (said || loader.layers.has_directory()).then(|| Path::new(&data_dir).join("secrets"));
        }
        loader
    }

    /// The environment; development when `COVET_ENV` is wrong, which [`finish`](Self::finish) reports.
    #[must_use]
    pub fn environment(&self) -> Environment {
        self.policy.environment.unwrap_or_default()
    }

    /// Reads a section. [`None`] when something is wrong with it; [`finish`](Self::finish) says what.
    ///
    /// Reading the same section again changes nothing.
    pub fn section<S: Section>(&mut self) -> Option<&S> {
        let id = TypeId::of::<S>();
        if !self.values.contains_key(&id) {
            let doc = SectionDoc::of::<S>();
            self.problems.extend(clashes(&self.docs, &doc));
            let mut reader = Reader {
                layers: &self.layers,
                policy: &self.policy,
                problems: &mut self.problems,
                entries: &mut self.entries,
            };
            let value = S::read(&mut reader);
            self.docs.push(doc);
            self.values.insert(id, Box::new(value));
        }
        self.values.get(&id)?.downcast_ref::<Option<S>>()?.as_ref()
    }

    /// Lets variables and tables of other sections pass: for a tool that reads only some of them.
    pub fn allow_unknown(&mut self) {
        self.unknown_allowed = true;
    }

    /// Every section, or everything that is wrong.
    ///
    /// # Errors
    /// All problems: wrong and missing values, unreadable files, and `COVET_*` variables and keys of `covet.toml` that no
    /// section declares.
    pub fn finish(mut self) -> Result<Loaded, Problems> {
        if !self.unknown_allowed {
            self.problems.extend(unknown::problems(&self.layers, &self.docs));
        }
        let environment = self.environment();
        match Problems::of(self.problems) {
            Some(problems) => Err(problems),
            None => Ok(Loaded {
                environment,
                sources: self.sources,
                values: self.values,
                entries: self.entries,
                docs: self.docs,
            }),
        }
    }
}

/// Two sections must not want the same name: neither could know which of them was meant.
fn clashes(known: &[SectionDoc], new: &SectionDoc) -> Vec<SettingProblem> {
    let problem = |setting: String, other: &str| SettingProblem {
        setting,
        origin: None,
        reason: format!(
            "declared by two sections of the program, [{other}] and [{}]: one of them must give way",
            new.name
        ),
        example: None,
    };
    let mut problems = Vec::new();
    for doc in known {
        if doc.name == new.name {
            problems.push(problem(format!("[{}]", new.name), doc.name));
        }
        for field in &new.fields {
            let clash = |other: &str| {
                other == field.variable
                    || other.strip_suffix("_FILE") == Some(&field.variable)
                    || field.variable.strip_suffix("_FILE") == Some(other)
            };
            if doc.name != new.name && doc.fields.iter().any(|other| clash(&other.variable)) {
                problems.push(problem(field.variable.clone(), doc.name));
            }
        }
    }
    problems
}

/// The sections, all of them right.
pub struct Loaded {
    environment: Environment,
    sources: Sources,
    values: Values,
    entries: Vec<EffectiveSetting>,
    docs: Vec<SectionDoc>,
}

impl Loaded {
    /// Where the service runs.
    #[must_use]
    pub fn environment(&self) -> Environment {
        self.environment
    }

    /// The section `S`.
    ///
    /// # Panics
    /// When the loader was not asked to read it.
    #[must_use]
    pub fn get<S: Section>(&self) -> &S {
        self.find().unwrap_or_else(|| panic!("the section [{}] was not read: call Loader::section first", S::NAME))
    }

    /// The section `S`, if the loader was asked to read it.
    #[must_use]
    pub fn find<S: Section>(&self) -> Option<&S> {
        self.values.get(&TypeId::of::<S>())?.downcast_ref::<Option<S>>()?.as_ref()
    }

    /// The section `S`, taken out.
    ///
    /// # Panics
    /// When the loader was not asked to read it, or it was taken before.
    #[must_use]
    pub fn take<S: Section>(&mut self) -> S {
        let value = self.values.remove(&TypeId::of::<S>()).and_then(|value| value.downcast::<Option<S>>().ok());
        value
            .and_then(|value| *value)
            .unwrap_or_else(|| panic!("the section [{}] was not read, or taken before", S::NAME))
    }

    /// What is in effect and where it came from, secrets masked.
    #[must_use]
    pub fn effective(&self) -> Effective {
        Effective::new(self.environment, self.entries.clone())
    }

    /// Where the value of this variable came from.
    #[must_use]
    pub fn provenance(&self, variable: &str) -> Option<&Provenance> {
        self.entries.iter().find(|entry| entry.variable == variable).map(|entry| &entry.provenance)
    }

    /// Reads the section `S` anew from where it came from: the files are opened again, the environment is that of the start.
    /// What [`get`](Self::get) gives stays as it is.
    ///
    /// A generated key that no file keeps is another one each time: ask [`file_of`](Self::file_of) first.
    ///
    /// # Errors
    /// All problems of this section, as at the start.
    pub fn reread<S: Section>(&self) -> Result<S, Problems> {
        let mut loader = Loader::new(self.sources.clone());
        loader.allow_unknown();
        loader.section::<S>();
        Ok(loader.finish()?.take())
    }

    /// The file that the value of this variable came from: the one that `<VARIABLE>_FILE` names, `.env`, `covet.toml`, or
    /// where a generated key is kept. `None`: no file can change it.
    #[must_use]
    pub fn file_of(&self, variable: &str) -> Option<PathBuf> {
        let path = match self.provenance(variable)? {
            Provenance::File { path } | Provenance::ConfigFile { path, .. } => path,
            Provenance::Generated { path } => path.as_ref()?,
            Provenance::DotEnv => Path::new(".env"),
            Provenance::Environment | Provenance::Default => return None,
        };
        Some(self.sources.resolve(path))
    }

    /// The declarations of the sections that were read, for the reference page.
    #[must_use]
    pub fn sections(&self) -> &[SectionDoc] {
        &self.docs
    }
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded")
            .field("environment", &self.environment)
            .field("entries", &self.entries)
            .finish_non_exhaustive()
    }
}
