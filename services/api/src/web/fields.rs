//! Checks the fields of a body and reports all that is wrong at once.

use std::borrow::Cow;
use std::fmt::Display;

use covet::Error;
use serde::{Deserialize, Deserializer};

/// Collects what is wrong with the fields of a body.
///
/// ```
/// use covet_api::web::fields::Fields;
///
/// fn check(age: &str) -> covet::Result<u8> {
///     let mut fields = Fields::new();
///     let age = fields.take("age", age.parse::<u8>());
///     fields.finish()?;
///     Ok(age.expect("no field was refused"))
/// }
/// assert_eq!(check("x").unwrap_err().problem().errors[0].field, "age");
/// ```
#[derive(Debug, Default)]
pub struct Fields {
    refused: Option<Error>,
}

impl Fields {
    /// Nothing is wrong yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Keeps the value, or notes what is wrong with it.
    pub fn take<T, E: Display>(&mut self, field: impl Into<Cow<'static, str>>, value: Result<T, E>) -> Option<T> {
        match value {
            Ok(value) => Some(value),
            Err(error) => {
                self.refuse(field, error.to_string());
                None
            }
        }
    }

    /// As [`Fields::take`] for a field that may be absent.
    pub fn take_some<T, E: Display>(
        &mut self,
        field: impl Into<Cow<'static, str>>,
        value: Option<Result<T, E>>,
    ) -> Option<T> {
        value.and_then(|value| self.take(field, value))
    }

    /// Notes that a field is wrong.
    pub fn refuse(&mut self, field: impl Into<Cow<'static, str>>, detail: impl Into<Cow<'static, str>>) {
        let error = self.refused.take().unwrap_or_else(Error::invalid);
        self.refused = Some(error.field(field, detail));
    }

    /// Ends the check.
    ///
    /// # Errors
    /// 422 that lists every refused field.
    pub fn finish(self) -> covet::Result<()> {
        self.refused.map_or(Ok(()), Err)
    }
}

/// For a member that may be absent but not null: with `#[serde(default, deserialize_with = "present")]`, absent is
/// `None` and null is refused, so that nobody believes that null has emptied the field.
///
/// # Errors
/// Of the value.
pub fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Text of `least` to `most` characters without control characters, white space around it taken away.
///
/// # Errors
/// What is wrong, for the caller.
pub fn text(given: &str, least: usize, most: usize) -> Result<String, String> {
    let text = given.trim();
    let length = text.chars().count();
    if length < least {
        return Err(if length == 0 {
            "must not be empty".to_owned()
        } else {
            format!("must have at least {least} characters")
        });
    }
    if length > most {
        return Err(format!("must have at most {most} characters, has {length}"));
    }
    if text.chars().any(char::is_control) {
        return Err("must not contain control characters".to_owned());
    }
    Ok(text.to_owned())
}

/// As [`text`], but lines and tabs are welcome and the white space stays.
///
/// # Errors
/// What is wrong, for the caller.
pub fn long_text(given: &str, most: usize) -> Result<String, String> {
    let length = given.chars().count();
    if length > most {
        return Err(format!("must have at most {most} characters, has {length}"));
    }
    if given.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        return Err("must not contain control characters other than line ends and tabs".to_owned());
    }
    Ok(given.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let mut fields = Fields::new();
        assert_eq!(fields.take("a", "1".parse::<u8>()), Some(1));
        fields.take("b", "x".parse::<u8>());
        fields.take_some("c", Some("y".parse::<u8>()));
        fields.take_some("d", None::<Result<u8, String>>);
        let error = fields.finish().unwrap_err();
        let names: Vec<_> = error.problem().errors.iter().map(|field| field.field.clone()).collect();
        assert_eq!(names, ["b", "c"]);
        assert_eq!(error.problem().status, 422);
        assert!(Fields::new().finish().is_ok());
    }

    #[test]
    fn text_is_trimmed_counted_in_characters_and_free_of_control_characters() {
        assert_eq!(text("  Ада  ", 1, 3).unwrap(), "Ада");
        assert!(text("   ", 1, 3).unwrap_err().contains("empty"));
        assert!(text("abcd", 1, 3).unwrap_err().contains("at most 3"));
        assert!(text("a\u{0}b", 1, 3).unwrap_err().contains("control"));
        assert_eq!(long_text("a\n\tb ", 10).unwrap(), "a\n\tb ");
        assert!(long_text("a\u{1b}[31m", 10).is_err());
    }
}
