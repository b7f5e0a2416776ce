//! Numbers, truth, text, paths, secrets and the environment's name.

use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};

use super::{Choice, Value};
use crate::environment::Environment;

macro_rules! whole_numbers {
    ($($kind:ty: $example:literal),*) => {$(
        impl Value for $kind {
            fn type_name() -> String {
                "whole number".to_owned()
            }

            fn parse(text: &str) -> Result<Self, String> {
                text.trim().parse().map_err(|_| {
                    format!("expected a whole number from {} to {}, got {text:?}", Self::MIN, Self::MAX)
                })
            }

            fn show(&self) -> String {
                self.to_string()
            }

            fn example() -> Option<String> {
                Some($example.to_owned())
            }
        }
    )*};
}

whole_numbers!(u8: "10", u16: "8000", u32: "100", u64: "100", usize: "100", i32: "100", i64: "100");

impl Value for f64 {
    fn type_name() -> String {
        "number".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let number = text.trim().parse().ok().filter(|number: &Self| number.is_finite());
        number.ok_or_else(|| format!("expected a number such as 0.5, got {text:?}"))
    }

    fn show(&self) -> String {
        self.to_string()
    }

    fn example() -> Option<String> {
        Some("0.5".to_owned())
    }
}

impl Value for bool {
    fn type_name() -> String {
        "true or false".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        match text.trim().to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Ok(true),
            "false" | "no" | "off" | "0" => Ok(false),
            _ => Err(format!("expected true or false, got {text:?}")),
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }

    fn example() -> Option<String> {
        Some("true".to_owned())
    }
}

impl Value for String {
    fn type_name() -> String {
        "text".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }

    fn show(&self) -> String {
        self.clone()
    }
}

impl Value for PathBuf {
    fn type_name() -> String {
        "path".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("expected a path, got nothing".to_owned());
        }
        Ok(Self::from(text))
    }

    fn show(&self) -> String {
        self.display().to_string()
    }

    fn example() -> Option<String> {
        Some("/app/data".to_owned())
    }
}

/// Text that is never shown. Not trimmed: every character counts.
impl Value for SecretString {
    const SECRET: bool = true;

    fn type_name() -> String {
        "text".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("expected a secret, got nothing".to_owned());
        }
        Ok(Self::from(text))
    }

    fn show(&self) -> String {
        self.expose_secret().to_owned()
    }
}

impl Value for Environment {
    fn type_name() -> String {
        "choice".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|error: crate::environment::UnknownEnvironment| error.to_string())
    }

    fn show(&self) -> String {
        self.to_string()
    }

    fn choices() -> &'static [Choice] {
        const {
            &[
                Choice {
                    name: "development",
                    doc: "A developer's machine: embedded defaults, generated secrets, `.env` is read.",
                },
                Choice { name: "staging", doc: "Like production, but placeholder secrets are tolerated." },
                Choice { name: "production", doc: "Real users: every secret is required and checked." },
            ]
        }
    }

    fn example() -> Option<String> {
        Some("production".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_says_what_it_expected() {
        assert_eq!(u16::parse("x").unwrap_err(), "expected a whole number from 0 to 65535, got \"x\"");
        assert_eq!(u32::parse("-1").unwrap_err(), "expected a whole number from 0 to 4294967295, got \"-1\"");
        assert_eq!(f64::parse("NaN").unwrap_err(), "expected a number such as 0.5, got \"NaN\"");
        assert_eq!(bool::parse("maybe").unwrap_err(), "expected true or false, got \"maybe\"");
        assert_eq!(PathBuf::parse("").unwrap_err(), "expected a path, got nothing");
        assert_eq!(SecretString::parse("").unwrap_err(), "expected a secret, got nothing");
        assert_eq!(
            Environment::parse("prod").unwrap_err(),
            "expected development, staging or production, got \"prod\""
        );
    }

    #[test]
    fn each_type_reads_what_it_shows() {
        assert_eq!(u16::parse(&80_u16.show()), Ok(80));
        assert_eq!(f64::parse(&0.25_f64.show()), Ok(0.25));
        for text in ["true", "YES", "on", "1"] {
            assert_eq!(bool::parse(text), Ok(true), "{text}");
        }
        for text in ["false", "no", "Off", "0"] {
            assert_eq!(bool::parse(text), Ok(false), "{text}");
        }
        assert_eq!(String::parse(" as it is "), Ok(" as it is ".to_owned()));
        for choice in Environment::choices() {
            assert_eq!(Environment::parse(choice.name).unwrap().show(), choice.name);
        }
    }
}
