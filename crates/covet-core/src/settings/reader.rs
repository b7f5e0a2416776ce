//! How one setting is read: found, checked, and noted with its provenance, or with what is wrong with it.

use std::path::PathBuf;

use super::effective::EffectiveSetting;
use super::generated;
use super::masking::{MASK, mask_passwords};
use super::placeholder::weakness;
use super::problems::SettingProblem;
use super::provenance::Provenance;
use super::section::{Field, Invalid};
use super::sources::{Found, Layers};
use super::value::Value;
use crate::environment::Environment;

/// What the environment asks of secrets.
pub(super) struct Policy {
    /// [`None`] when `COVET_ENV` is wrong: then nothing that depends on it is asked or done.
    pub(super) environment: Option<Environment>,
    pub(super) placeholders_allowed: bool,
    /// Where generated keys are kept; [`None`] when they are not.
    pub(super) secrets_directory: Option<PathBuf>,
}

/// Reads the fields of one section. Handed to [`Section::read`](super::Section::read), which the derive writes.
pub struct Reader<'a> {
    pub(super) layers: &'a Layers,
    pub(super) policy: &'a Policy,
    pub(super) problems: &'a mut Vec<SettingProblem>,
    pub(super) entries: &'a mut Vec<EffectiveSetting>,
}

impl Reader<'_> {
    /// The environment; development when `COVET_ENV` is wrong, which is a problem of its own.
    #[must_use]
    pub fn environment(&self) -> Environment {
        self.policy.environment.unwrap_or_default()
    }

    /// The field's value; [`None`] when something is wrong with it, which is then noted.
    pub fn value<T: Value>(&mut self, field: &Field) -> Option<T> {
        match self.read(field) {
            Ok(value) => value,
            Err(problem) => {
                self.problems.push(problem);
                None
            }
        }
    }

    /// Notes what a section's own check found. True when that was something.
    pub fn refuse(&mut self, fields: &[Field], invalid: Vec<Invalid>) -> bool {
        let refused = !invalid.is_empty();
        for Invalid { key, reason, example } in invalid {
            let field = fields.iter().find(|field| field.key == key);
            let variable = field.map_or(key, |field| &field.variable);
            let origin =
                self.entries.iter().find(|entry| entry.variable == variable).map(|entry| entry.provenance.clone());
            let example = match (field, example) {
                (Some(field), Some(text)) => Some(field.line(&text, origin.as_ref())),
                (Some(field), None) => field.example_line(origin.as_ref()),
                (None, text) => text,
            };
            self.problems.push(SettingProblem { setting: variable.to_owned(), origin, reason, example });
        }
        refused
    }

    /// `Ok(None)` when nothing can be said because `COVET_ENV` is wrong.
    fn read<T: Value>(&mut self, field: &Field) -> Result<Option<T>, SettingProblem> {
        let required = field.required_outside_development
            && self.policy.environment.is_some_and(|environment| !environment.is_development());
        let found = self.layers.find(field)?.filter(|found| !(required && field.optional && found.text.is_empty()));
        let found = match found {
            Some(found) => Some(found),
            None if field.key_material && self.policy.environment.is_none() => return Ok(None),
            None if field.key_material && !required => Some(self.generate(field)?),
            None => field
                .default_in(self.environment())
                .map(|text| Found { text: text.to_owned(), provenance: Provenance::Default }),
        };
        let Some(Found { text, provenance }) = found else {
            return match T::absent() {
                Some(value) if !required => {
                    self.note(field, None, Provenance::Default);
                    Ok(Some(value))
                }
                _ => Err(self.missing(field)),
            };
        };
        let value = (field.check)(field, &text).and_then(|()| T::parse(&text)).map_err(|reason| SettingProblem {
            setting: field.variable.clone(),
            reason: presentable(field, &text, reason),
            example: field.example_line(Some(&provenance)),
            origin: Some(provenance.clone()),
        })?;
        self.refuse_placeholder(field, &text, &provenance)?;
        let shown = (!(field.optional && text.is_empty())).then(|| value.show());
        self.note(field, shown, provenance);
        Ok(Some(value))
    }

    fn generate(&self, field: &Field) -> Result<Found, SettingProblem> {
        let Some(directory) = &self.policy.secrets_directory else {
            return Ok(Found { text: generated::new_key(), provenance: Provenance::Generated { path: None } });
        };
        let path = directory.join(field.variable.to_ascii_lowercase());
        match generated::kept_key(&self.layers.resolve(&path)) {
            Ok(text) => Ok(Found { text, provenance: Provenance::Generated { path: Some(path) } }),
            Err(error) => Err(SettingProblem {
                setting: field.variable.clone(),
                origin: None,
                reason: format!(
                    "is not set, and a key for development cannot be kept in {}: {error}\n\
                     set it, or set COVET_DATA_DIR to a directory that can be written",
                    path.display()
                ),
                example: field.example_line(None),
            }),
        }
    }

    fn missing(&self, field: &Field) -> SettingProblem {
        let environment = self.environment();
        let reason = if field.required_outside_development && !environment.is_development() {
            format!("is not set, and {environment} needs it")
        } else {
            "is not set, and has no default".to_owned()
        };
        SettingProblem { setting: field.variable.clone(), origin: None, reason, example: field.example_line(None) }
    }

    fn refuse_placeholder(&self, field: &Field, text: &str, provenance: &Provenance) -> Result<(), SettingProblem> {
        let checked =
            field.placeholder_check && self.environment().is_production() && !self.policy.placeholders_allowed;
        if !checked || (field.optional && text.is_empty()) {
            return Ok(());
        }
        let mut items = if field.list { text.split(',').collect() } else { vec![text] }.into_iter();
        let Some(weakness) = items.find_map(|item| weakness(item, field.key_material)) else { return Ok(()) };
        Err(SettingProblem {
            setting: field.variable.clone(),
            origin: Some(provenance.clone()),
            reason: format!("{weakness} (a demonstration may set COVET_ALLOW_PLACEHOLDER_SECRETS=true)"),
            example: field.example_line(Some(provenance)),
        })
    }

    /// Notes what is in effect; a secret only as a mask.
    fn note(&mut self, field: &Field, shown: Option<String>, provenance: Provenance) {
        let shown = shown.map(|text| if field.secret { MASK.to_owned() } else { mask_passwords(&text).into_owned() });
        self.entries.push(EffectiveSetting {
            variable: field.variable.clone(),
            section: field.section,
            key: field.key,
            value: shown,
            secret: field.secret,
            provenance,
        });
    }
}

/// The reason without anything secret in it.
fn presentable(field: &Field, text: &str, reason: String) -> String {
    if text.is_empty() {
        return reason;
    }
    if field.secret {
        return format!("expected {} (a secret: what was there is not shown)", article(&field.type_name));
    }
    match mask_passwords(text) {
        masked if masked != text => reason.replace(text, &masked),
        _ => reason,
    }
}

fn article(noun: &str) -> String {
    let vowel = noun.starts_with(['a', 'e', 'i', 'o', 'A', 'E', 'I', 'O']);
    format!("{} {noun}", if vowel { "an" } else { "a" })
}

impl Field {
    /// A line that would work in the place where the wrong value came from.
    pub(super) fn example_line(&self, origin: Option<&Provenance>) -> Option<String> {
        if !self.secret {
            return self.working_text().map(|text| self.line(&text, origin));
        }
        match self.example {
            Some(command) if command.contains(' ') => Some(format!("{}=\"$({command})\"", self.variable)),
            Some(text) => Some(self.line(text, origin)),
            None => Some(format!("{0}_FILE=/run/secrets/{1}", self.variable, self.variable.to_ascii_lowercase())),
        }
    }

    /// `VARIABLE=text`, or `[section] key = text` where the value came from a configuration file.
    pub(super) fn line(&self, text: &str, origin: Option<&Provenance>) -> String {
        if let Some(Provenance::ConfigFile { .. }) = origin {
            let bare = text.parse::<i64>().is_ok() || matches!(text, "true" | "false");
            let value = if bare { text.to_owned() } else { format!("{text:?}") };
            return format!("[{}] {} = {value}", self.section, self.key);
        }
        let plain = !text.is_empty()
            && !text.contains(|letter: char| letter.is_whitespace() || "\"'$&;|<>()*?`\\".contains(letter));
        if plain { format!("{}={text}", self.variable) } else { format!("{}='{text}'", self.variable) }
    }
}
