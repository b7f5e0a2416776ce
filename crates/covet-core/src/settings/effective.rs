//! What is in effect and where it came from: the data of the `config` command. Secrets are masked before they get here.

use std::fmt;

use serde::Serialize;

use super::provenance::Provenance;
use crate::environment::Environment;

/// Every setting in effect. Serialises to JSON; `{}` is a table for people.
#[derive(Debug, Clone, Serialize)]
pub struct Effective {
    /// Version of this shape: `covet.settings/1`.
    pub schema: &'static str,
    /// Where the service runs.
    pub environment: &'static str,
    /// Every setting, section by section.
    pub settings: Vec<EffectiveSetting>,
}

/// One setting in effect.
#[derive(Debug, Clone, Serialize)]
pub struct EffectiveSetting {
    /// The variable of the environment.
    pub variable: String,
    /// The section's name.
    pub section: &'static str,
    /// Key in the section's table of `covet.toml`.
    pub key: &'static str,
    /// The value, a secret or a password as `********`; [`None`] when it is not set.
    pub value: Option<String>,
    /// True when the value is masked because all of it is a secret.
    pub secret: bool,
    /// Where the value came from.
    pub provenance: Provenance,
}

impl Effective {
    pub(super) fn new(environment: Environment, settings: Vec<EffectiveSetting>) -> Self {
        Self { schema: "covet.settings/1", environment: environment.as_str(), settings }
    }
}

impl fmt::Display for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |setting: &EffectiveSetting| match setting.value.as_deref() {
            None => "(not set)".to_owned(),
            Some("") => "(empty)".to_owned(),
            Some(text) => text.replace('\n', "\\n"),
        };
        let width = |lengths: &mut dyn Iterator<Item = usize>| lengths.max().unwrap_or(0);
        let name_width = width(&mut self.settings.iter().map(|setting| setting.variable.len()));
        let value_width = width(&mut self.settings.iter().map(|setting| shown(setting).chars().count())).min(60);
        let mut section = "";
        for setting in &self.settings {
            if setting.section != section {
                let space = if section.is_empty() { "" } else { "\n" };
                section = setting.section;
                writeln!(f, "{space}[{section}]")?;
            }
            let value = shown(setting);
            writeln!(f, "  {:<name_width$}  {value:<value_width$}  {}", setting.variable, setting.provenance)?;
        }
        Ok(())
    }
}
