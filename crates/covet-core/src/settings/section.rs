//! What the declaration of a section says: its fields, their bounds and flags. Reading values is in `reader.rs`.

use super::loader::Loader;
use super::problems::Problems;
use super::reader::Reader;
use super::sources::Sources;
use super::value::{Choice, Value};
use crate::environment::Environment;

/// A group of settings: `COVET_<NAME>__<KEY>` in the environment, `[name]` in `covet.toml`. Derived by
/// [`macro@super::Settings`].
pub trait Section: Sized + Send + Sync + 'static {
    /// The section's name in snake case.
    const NAME: &'static str;
    /// The struct's doc comment.
    const DOC: &'static str;

    /// The declarations, in the order of the struct.
    fn fields() -> Vec<Field>;

    /// Reads every field; [`None`] when the reader noted a problem.
    fn read(reader: &mut Reader<'_>) -> Option<Self>;

    /// Reads this section alone, for tests and small tools.
    ///
    /// # Errors
    /// Every problem, as [`Loader::finish`] reports them.
    fn load(sources: Sources) -> Result<Self, Problems> {
        let mut loader = Loader::new(sources);
        loader.section::<Self>();
        let mut loaded = loader.finish()?;
        Ok(loaded.take::<Self>())
    }

    /// The section as it is when nothing is set. Key material is generated for this run.
    ///
    /// # Panics
    /// When the section needs a value that has no default in this environment, or a default does not parse; see
    /// [`SectionDoc::faults`].
    #[must_use]
    fn defaults(environment: Environment) -> Self {
        match Self::load(Sources::of([("COVET_ENV", environment.as_str())])) {
            Ok(section) => section,
            Err(problems) => panic!("[{}] has no defaults in {environment}: {problems}", Self::NAME),
        }
    }
}

/// What is declared about one setting.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Field {
    /// The section's name.
    pub section: &'static str,
    /// Key in the section's table of `covet.toml`: the name of the struct's field.
    pub key: &'static str,
    /// The variable of the environment.
    pub variable: String,
    /// The doc comment.
    pub doc: &'static str,
    /// The type's name, such as `duration`.
    pub type_name: String,
    /// The default; outside development only when `default_outside_development` does not say otherwise.
    pub default: Option<&'static str>,
    /// Another default for staging and production.
    pub default_outside_development: Option<&'static str>,
    /// The smallest value, included.
    pub min: Option<&'static str>,
    /// The largest value, included.
    pub max: Option<&'static str>,
    /// A text that works; for a secret with spaces in it, the command that makes one.
    pub example: Option<&'static str>,
    /// What can be chosen; empty when it is not a choice.
    pub choices: &'static [Choice],
    /// True when the value is never shown.
    pub secret: bool,
    /// True when the setting may be absent.
    pub optional: bool,
    /// True when it is a list.
    pub list: bool,
    /// True when the value is a key: generated in development, required elsewhere, long enough in production.
    pub key_material: bool,
    /// True when production refuses placeholders.
    pub placeholder_check: bool,
    /// True when staging and production need a value, whatever the default.
    pub required_outside_development: bool,
    /// An example by the type alone.
    pub(crate) type_example: Option<String>,
    /// Parses and checks the bounds.
    pub(crate) check: fn(&Self, &str) -> Result<(), String>,
}

impl Field {
    /// A field of the type `T`, with the variable `COVET_<SECTION>__<KEY>`.
    #[must_use]
    pub fn new<T: Value>(section: &'static str, key: &'static str, doc: &'static str) -> Self {
        Self {
            section,
            key,
            variable: format!("COVET_{}__{}", section.to_ascii_uppercase(), key.to_ascii_uppercase()),
            doc,
            type_name: T::type_name(),
            default: None,
            default_outside_development: None,
            min: None,
            max: None,
            example: None,
            choices: T::choices(),
            secret: T::SECRET,
            optional: T::OPTIONAL,
            list: T::LIST,
            key_material: false,
            placeholder_check: T::SECRET,
            required_outside_development: false,
            type_example: T::example(),
            check: |_, text| T::parse(text).map(drop),
        }
    }

    /// A fixed name instead of `COVET_<SECTION>__<KEY>`.
    #[must_use]
    pub fn variable(mut self, name: &str) -> Self {
        name.clone_into(&mut self.variable);
        self
    }

    /// The value when nothing is set.
    #[must_use]
    pub fn default(mut self, text: &'static str) -> Self {
        self.default = Some(text);
        self
    }

    /// The value in staging and production when nothing is set.
    #[must_use]
    pub fn default_outside_development(mut self, text: &'static str) -> Self {
        self.default_outside_development = Some(text);
        self
    }

    /// A text that works; for a secret, the command that makes one.
    #[must_use]
    pub fn example(mut self, text: &'static str) -> Self {
        self.example = Some(text);
        self
    }

    /// Never shown, although the type would allow it.
    #[must_use]
    pub fn secret(mut self) -> Self {
        self.secret = true;
        self.placeholder_check = true;
        self
    }

    /// A key: generated and kept in development, required elsewhere; production refuses placeholders and short ones.
    #[must_use]
    pub fn key_material(mut self) -> Self {
        self.key_material = true;
        self.required_outside_development().secret()
    }

    /// Production refuses placeholders, also in the password of a URL.
    #[must_use]
    pub fn placeholder_check(mut self) -> Self {
        self.placeholder_check = true;
        self
    }

    /// Staging and production need a value: a default counts in development only.
    #[must_use]
    pub fn required_outside_development(mut self) -> Self {
        self.required_outside_development = true;
        self
    }

    /// The smallest and the largest value, both included, as text.
    #[must_use]
    pub fn bounds<T: Value + PartialOrd>(mut self, min: Option<&'static str>, max: Option<&'static str>) -> Self {
        self.min = min;
        self.max = max;
        self.check = check_bounds::<T>;
        self
    }

    /// The default in this environment.
    #[must_use]
    pub fn default_in(&self, environment: Environment) -> Option<&'static str> {
        if environment.is_development() {
            return self.default;
        }
        match self.default_outside_development {
            Some(text) => Some(text),
            None if self.required_outside_development => None,
            None => self.default,
        }
    }

    /// A text that works, if the declaration or the type knows one. Not for secrets.
    pub(crate) fn working_text(&self) -> Option<String> {
        let candidates = [
            self.example.map(str::to_owned),
            self.default.filter(|text| !text.is_empty()).map(str::to_owned),
            self.type_example.clone(),
            self.min.map(str::to_owned),
            self.max.map(str::to_owned),
        ];
        candidates.into_iter().flatten().find(|text| (self.check)(self, text).is_ok())
    }
}

fn check_bounds<T: Value + PartialOrd>(field: &Field, text: &str) -> Result<(), String> {
    let value = T::parse(text)?;
    if text.is_empty() && T::OPTIONAL {
        return Ok(());
    }
    let bound =
        |text: &str| T::parse(text).map_err(|reason| format!("the bound {text:?} in the declaration: {reason}"));
    if let Some(min) = field.min
        && value < bound(min)?
    {
        return Err(format!("must be at least {min}, got {text:?}"));
    }
    if let Some(max) = field.max
        && value > bound(max)?
    {
        return Err(format!("must be at most {max}, got {text:?}"));
    }
    Ok(())
}

/// A field that is wrong in the light of others: what the function in `#[settings(validate = "…")]` returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    pub(crate) key: &'static str,
    pub(crate) reason: String,
    pub(crate) example: Option<String>,
}

impl Invalid {
    /// The field `key` is wrong for this reason, which must not hold a secret.
    #[must_use]
    pub fn new(key: &'static str, reason: impl Into<String>) -> Self {
        Self { key, reason: reason.into(), example: None }
    }

    /// A value that would work.
    #[must_use]
    pub fn example(mut self, text: impl Into<String>) -> Self {
        self.example = Some(text.into());
        self
    }
}

/// A section's declaration as data, for the reference page.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SectionDoc {
    /// The section's name.
    pub name: &'static str,
    /// The struct's doc comment.
    pub doc: &'static str,
    /// The declarations, in the order of the struct.
    pub fields: Vec<Field>,
}

impl SectionDoc {
    /// The declaration of `S`.
    #[must_use]
    pub fn of<S: Section>() -> Self {
        Self { name: S::NAME, doc: S::DOC, fields: S::fields() }
    }

    /// Defaults, bounds and examples that their own type refuses. A test asserts that there are none; otherwise they
    /// come out as problems at the first start.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for field in &self.fields {
            let command = field.secret.then_some(field.example).flatten().is_some_and(|text| text.contains(' '));
            let texts = [
                ("default", field.default),
                ("default_outside_development", field.default_outside_development),
                ("min", field.min),
                ("max", field.max),
                ("example", field.example.filter(|_| !command)),
            ];
            for (what, text) in texts {
                if let Some(text) = text
                    && let Err(reason) = (field.check)(field, text)
                {
                    faults.push(format!("{}: {what}: {reason}", field.variable));
                }
            }
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_declaration_that_its_own_type_refuses_is_a_fault() {
        let fields = vec![
            Field::new::<Duration>("shop", "timeout", "x").default("10").bounds::<Duration>(Some("1s"), Some("1m")),
            Field::new::<Duration>("shop", "delay", "x").default("2m").bounds::<Duration>(None, Some("1m")),
            Field::new::<u16>("shop", "port", "x").default("80").example("eighty"),
            Field::new::<u16>("shop", "other_port", "x").default("80"),
        ];
        let faults = SectionDoc { name: "shop", doc: "", fields }.faults();
        assert_eq!(
            faults,
            [
                "COVET_SHOP__TIMEOUT: default: expected a duration with its unit, such as 10s or 10m, got \"10\"",
                "COVET_SHOP__DELAY: default: must be at most 1m, got \"2m\"",
                "COVET_SHOP__PORT: example: expected a whole number from 0 to 65535, got \"eighty\"",
            ]
        );
    }

    #[test]
    fn an_example_keeps_to_the_bounds() {
        let field = Field::new::<Duration>("shop", "timeout", "x").bounds::<Duration>(Some("1m"), None);
        assert_eq!(field.working_text().as_deref(), Some("1m"));
    }

    #[test]
    fn bounds_do_not_ask_for_an_optional_value() {
        let field = Field::new::<Option<u16>>("shop", "port", "x").bounds::<Option<u16>>(Some("10"), Some("20"));
        assert_eq!((field.check)(&field, ""), Ok(()));
        assert_eq!((field.check)(&field, "15"), Ok(()));
        assert_eq!((field.check)(&field, "9").unwrap_err(), "must be at least 10, got \"9\"");
    }
}
