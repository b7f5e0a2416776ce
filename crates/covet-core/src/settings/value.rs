//! Types a setting can have: read from text, shown as text, named for the reference page.
//!
//! An enum of choices derives [`SettingValue`](macro@super::SettingValue). For anything else implement [`Value`] by hand:
//!
//! ```
//! use covet_core::settings::Value;
//!
//! struct Percent(u8);
//!
//! impl Value for Percent {
//!     fn type_name() -> String {
//!         "percentage".into()
//!     }
//!     fn parse(text: &str) -> Result<Self, String> {
//!         let number = text.strip_suffix('%').and_then(|number| number.parse().ok());
//!         number.filter(|n| *n <= 100).map(Self).ok_or_else(|| format!("expected 0% to 100%, got {text:?}"))
//!     }
//!     fn show(&self) -> String {
//!         format!("{}%", self.0)
//!     }
//!     fn example() -> Option<String> {
//!         Some("25%".into())
//!     }
//! }
//! # assert_eq!(Percent::parse("30%").unwrap().show(), "30%");
//! ```

mod byte_size;
mod connection_url;
mod duration;
mod network;
mod plain;

pub use byte_size::ByteSize;
pub use connection_url::ConnectionUrl;

/// One choice of an enum, for problems and the reference page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// As it is written.
    pub name: &'static str,
    /// What it means: the variant's doc comment.
    pub doc: &'static str,
}

/// A type a setting can have.
pub trait Value: Sized {
    /// True when the value is never to be shown: not in problems, not by `config`.
    const SECRET: bool = false;
    /// True for [`Option`].
    const OPTIONAL: bool = false;
    /// True for [`Vec`].
    const LIST: bool = false;

    /// The type's name on the reference page, such as `duration`.
    fn type_name() -> String;

    /// Reads the value.
    ///
    /// # Errors
    /// The reason as a person can use it: what was expected, and what was there instead. (The reason for a
    /// secret is replaced before anybody sees it.)
    fn parse(text: &str) -> Result<Self, String>;

    /// The value as [`parse`](Self::parse) would read it.
    fn show(&self) -> String;

    /// The value when nothing is set; [`None`] when something must be.
    fn absent() -> Option<Self> {
        None
    }

    /// What can be chosen, when that is a list of words.
    fn choices() -> &'static [Choice] {
        &[]
    }

    /// A text that [`parse`](Self::parse) accepts, for problems about settings that have no example of their own.
    fn example() -> Option<String> {
        Self::choices().first().map(|choice| choice.name.to_owned())
    }
}

/// The reason a text is none of the choices of `T`. Used by the code of `#[derive(SettingValue)]`.
#[must_use]
pub fn not_a_choice<T: Value>(text: &str) -> String {
    let names: Vec<&str> = T::choices().iter().map(|choice| choice.name).collect();
    match names.as_slice() {
        [] => format!("no value is accepted, got {text:?}"),
        [only] => format!("expected {only}, got {text:?}"),
        [first @ .., last] => format!("expected {} or {last}, got {text:?}", first.join(", ")),
    }
}

/// May be absent: not set anywhere, or set to nothing.
impl<T: Value> Value for Option<T> {
    const SECRET: bool = T::SECRET;
    const OPTIONAL: bool = true;
    const LIST: bool = T::LIST;

    fn type_name() -> String {
        T::type_name()
    }

    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() { Ok(None) } else { T::parse(text).map(Some) }
    }

    fn show(&self) -> String {
        self.as_ref().map(Value::show).unwrap_or_default()
    }

    fn absent() -> Option<Self> {
        Some(None)
    }

    fn choices() -> &'static [Choice] {
        T::choices()
    }

    fn example() -> Option<String> {
        T::example()
    }
}

/// Comma separated; spaces around the items do not count; an empty text is the empty list.
impl<T: Value> Value for Vec<T> {
    const SECRET: bool = T::SECRET;
    const LIST: bool = true;

    fn type_name() -> String {
        format!("{} list", T::type_name())
    }

    fn parse(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Ok(Self::new());
        }
        let items = text.split(',').map(str::trim).enumerate();
        items.map(|(index, item)| T::parse(item).map_err(|reason| format!("item {}: {reason}", index + 1))).collect()
    }

    fn show(&self) -> String {
        self.iter().map(Value::show).collect::<Vec<_>>().join(",")
    }

    fn choices() -> &'static [Choice] {
        T::choices()
    }

    fn example() -> Option<String> {
        T::example()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::SettingValue;

    #[derive(Debug, PartialEq, SettingValue)]
    enum Format {
        /// For machines.
        Json,
        /// For people.
        Human,
        /// For both.
        #[setting(name = "two-in-one")]
        Both,
    }

    #[test]
    fn a_choice_is_read_without_regard_to_case_and_refused_with_the_list() {
        assert_eq!(Format::parse("JSON"), Ok(Format::Json));
        assert_eq!(Format::parse("two-in-one"), Ok(Format::Both));
        assert_eq!(Format::Both.show(), "two-in-one");
        assert_eq!(Format::parse("xml").unwrap_err(), "expected json, human or two-in-one, got \"xml\"");
        assert_eq!(Format::example().as_deref(), Some("json"));
    }

    #[test]
    fn a_list_names_the_item_that_is_wrong() {
        assert_eq!(Vec::<u16>::parse(" 1, 2,3 "), Ok(vec![1, 2, 3]));
        assert_eq!(Vec::<u16>::parse(""), Ok(vec![]));
        assert_eq!(Vec::<u16>::parse("1,x").unwrap_err(), "item 2: expected a whole number from 0 to 65535, got \"x\"");
        assert_eq!(vec![1_u16, 2].show(), "1,2");
    }

    #[test]
    fn an_option_reads_nothing_as_none() {
        assert_eq!(Option::<u16>::parse(""), Ok(None));
        assert_eq!(Option::<u16>::parse("5"), Ok(Some(5)));
        assert_eq!(Option::<u16>::absent(), Some(None));
        assert_eq!(u16::absent(), None);
    }
}
