//! `covet.toml`: `[section]` tables with `key = value`, every value turned into the text the environment would hold.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::Found;
use crate::settings::problems::SettingProblem;
use crate::settings::provenance::Provenance;

/// Read when `COVET_CONFIG` does not name another one.
const DEFAULT_NAME: &str = "covet.toml";

/// A parsed file with settings.
pub(in crate::settings) struct ConfigFile {
    path: PathBuf,
    /// Keys that stand outside a table, and their lines.
    pub(in crate::settings) loose_keys: Vec<(String, usize)>,
    pub(in crate::settings) tables: BTreeMap<String, Table>,
}

/// One `[section]`.
pub(in crate::settings) struct Table {
    pub(in crate::settings) line: usize,
    pub(in crate::settings) entries: BTreeMap<String, Entry>,
}

/// One `key = value`.
pub(in crate::settings) struct Entry {
    pub(in crate::settings) line: usize,
    /// The text, or why the value cannot be one.
    value: Result<String, String>,
}

impl ConfigFile {
    /// Opens the named file, or `covet.toml` in the directory if it is there.
    ///
    /// # Errors
    /// When the file is named and missing, cannot be read, or is not TOML.
    pub(super) fn open(named: Option<&Found>, directory: Option<&Path>) -> Result<Option<Self>, SettingProblem> {
        let path = match (named, directory) {
            (Some(found), _) if !found.text.is_empty() => PathBuf::from(&found.text),
            (_, Some(_)) => PathBuf::from(DEFAULT_NAME),
            (_, None) => return Ok(None),
        };
        let named = named.filter(|found| !found.text.is_empty());
        let full_path = directory.map_or_else(|| path.clone(), |directory| directory.join(&path));
        match fs::read_to_string(full_path) {
            Ok(text) => Self::parse(path, &text).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound && named.is_none() => Ok(None),
            Err(error) => Err(SettingProblem {
                setting: if named.is_some() { "COVET_CONFIG".to_owned() } else { DEFAULT_NAME.to_owned() },
                origin: named.map(|found| found.provenance.clone()),
                reason: format!("cannot read {}: {error}", path.display()),
                example: named.map(|_| "COVET_CONFIG=/etc/covet/covet.toml".to_owned()),
            }),
        }
    }

    fn parse(path: PathBuf, text: &str) -> Result<Self, SettingProblem> {
        let line_of = |position: usize| text[..position.min(text.len())].matches('\n').count() + 1;
        let document = DeTable::parse(text).map_err(|error| SettingProblem {
            setting: path.display().to_string(),
            origin: None,
            reason: match error.span() {
                Some(span) => format!("line {}: {}", line_of(span.start), error.message()),
                None => error.message().to_owned(),
            },
            example: Some("[log] level = \"info\"".to_owned()),
        })?;

        let mut loose_keys = Vec::new();
        let mut tables = BTreeMap::new();
        for (name, value) in document.get_ref() {
            let line = line_of(name.span().start);
            let DeValue::Table(table) = value.get_ref() else {
                loose_keys.push((name.get_ref().to_string(), line));
                continue;
            };
            let entries = table.iter().map(|(key, value)| {
                (key.get_ref().to_string(), Entry { line: line_of(key.span().start), value: text_of(value.get_ref()) })
            });
            tables.insert(name.get_ref().to_string(), Table { line, entries: entries.collect() });
        }
        Ok(Self { path, loose_keys, tables })
    }

    /// The value as text, or why it is none; and where it stands.
    pub(super) fn get(&self, section: &str, key: &str) -> Option<(&Result<String, String>, Provenance)> {
        let entry = self.tables.get(section)?.entries.get(key)?;
        Some((&entry.value, self.at(entry.line)))
    }

    /// A place in this file.
    pub(in crate::settings) fn at(&self, line: usize) -> Provenance {
        Provenance::ConfigFile { path: self.path.clone(), line }
    }
}

/// What the environment would hold in place of this value.
fn text_of(value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(number) => {
            let digits = number.as_str().replace('_', "");
            i128::from_str_radix(&digits, number.radix())
                .map(|number| number.to_string())
                .map_err(|_| format!("{digits} is too large a number"))
        }
        DeValue::Float(number) => Ok(number.as_str().replace('_', "")),
        DeValue::Boolean(value) => Ok(value.to_string()),
        DeValue::Datetime(value) => Ok(value.to_string()),
        DeValue::Array(items) => {
            let items: Result<Vec<String>, String> = items.iter().map(|item| list_item(item.get_ref())).collect();
            items.map(|items| items.join(","))
        }
        DeValue::Table(_) => Err("expected a value, got a table".to_owned()),
    }
}

fn list_item(item: &DeValue<'_>) -> Result<String, String> {
    if matches!(item, DeValue::Array(_)) {
        return Err("expected a list of values, got a list of lists".to_owned());
    }
    let text = text_of(item)?;
    if text.contains(',') {
        return Err("an item of a list holds a comma, which separates items: write two items".to_owned());
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ConfigFile, SettingProblem> {
        ConfigFile::parse("covet.toml".into(), text)
    }

    #[test]
    fn every_kind_of_value_becomes_the_text_of_the_environment() {
        let file = parse(
            "[a]\ntext = \"x y\"\nnumber = 8_000\nhex = 0xff\nnegative = -5\nfloat = 0.5\ntruth = true\nlist = [\"a\", 1]\nnone = []\n\
             deep = { x = 1 }\nnested = [[1]]\ncomma = [\"a,b\"]\n",
        )
        .unwrap();
        let get = |key: &str| file.get("a", key).unwrap().0.clone();
        for (key, text) in [
            ("text", "x y"),
            ("number", "8000"),
            ("hex", "255"),
            ("negative", "-5"),
            ("float", "0.5"),
            ("truth", "true"),
            ("list", "a,1"),
            ("none", ""),
        ] {
            assert_eq!(get(key).as_deref(), Ok(text), "{key}");
        }
        assert_eq!(get("deep").unwrap_err(), "expected a value, got a table");
        assert_eq!(get("nested").unwrap_err(), "expected a list of values, got a list of lists");
        assert!(get("comma").unwrap_err().contains("holds a comma"));
        assert_eq!(file.get("a", "number").unwrap().1.to_string(), "covet.toml line 3");
    }

    #[test]
    fn a_syntax_error_is_named_by_its_line() {
        let Err(problem) = parse("[http]\nport = 1\nhost 2\n") else { panic!("the file should be refused") };
        assert_eq!(problem.setting, "covet.toml");
        assert!(problem.reason.starts_with("line 3: "), "{}", problem.reason);
    }
}
