//! The page `docs/reference/settings.md`, made from the declarations, so that it cannot fall behind them.

use std::fmt::Write;

use super::section::{Field, SectionDoc};

/// What the page says before the first section.
const INTRODUCTION: &str = include_str!("reference/introduction.md");

/// The page as Markdown.
///
/// ```
/// use covet_core::settings::{SectionDoc, ServiceSettings, reference};
///
/// let page = reference::markdown(&[SectionDoc::of::<ServiceSettings>()]);
/// assert!(page.contains("### `COVET_ENV`"));
/// ```
#[must_use]
pub fn markdown(sections: &[SectionDoc]) -> String {
    let mut page = INTRODUCTION.to_owned();
    for section in sections {
        page.push('\n');
        page.push_str(&section_part(section));
    }
    page
}

fn section_part(section: &SectionDoc) -> String {
    let mut part = format!("## {}\n\n{}\n", section.name, section.doc);
    for field in &section.fields {
        part.push('\n');
        part.push_str(&field_part(field));
    }
    part
}

fn field_part(field: &Field) -> String {
    let mut part = format!("### `{}`\n\n{}\n\n", field.variable, field.doc);
    let mut line = |name: &str, text: String| {
        // Writing to a String does not fail.
        let _ = writeln!(part, "- {name}: {text}");
    };
    line("type", type_of(field));
    line("default", default_of(field));
    match (field.min, field.max) {
        (Some(min), Some(max)) => line("bounds", format!("from `{min}` to `{max}`")),
        (Some(min), None) => line("bounds", format!("at least `{min}`")),
        (None, Some(max)) => line("bounds", format!("at most `{max}`")),
        (None, None) => {}
    }
    if let Some(example) = field.example {
        let command = field.secret && example.contains(' ');
        line("example", if command { format!("made by `{example}`") } else { format!("`{example}`") });
    }
    if field.placeholder_check {
        let length = if field.key_material { ", and keys shorter than 32 bytes," } else { "" };
        line("production", format!("placeholders{length} are refused"));
    }
    line("in `covet.toml`", format!("`{}` in `[{}]`", field.key, field.section));
    if !field.choices.is_empty() {
        part.push_str("- choices:\n");
        for choice in field.choices {
            let _ = writeln!(part, "  - `{}`: {}", choice.name, choice.doc.replace('\n', " "));
        }
    }
    part
}

fn type_of(field: &Field) -> String {
    let mut text = field.type_name.clone();
    if field.secret {
        text.push_str(", secret");
    }
    if field.optional && !field.key_material {
        text.push_str(", optional");
    }
    text
}

fn default_of(field: &Field) -> String {
    let shown = |text: &str| if text.is_empty() { "empty".to_owned() } else { format!("`{text}`") };
    if field.key_material {
        return "generated in development; required in staging and production".to_owned();
    }
    let development = match field.default {
        Some(text) => shown(text),
        None if field.optional => "not set".to_owned(),
        None => "none, a value is required".to_owned(),
    };
    match field.default_outside_development {
        Some(text) => format!("{development} in development, {} in staging and production", shown(text)),
        None if field.required_outside_development => {
            format!("{development} in development; required in staging and production")
        }
        None => development,
    }
}
