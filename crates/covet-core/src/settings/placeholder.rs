//! Recognises secrets that were copied from an example. Production refuses them (spec: the documents' own commands
//! use such values, so only production may refuse them, and a demonstration may override it).

use std::fmt;

/// Shortest key that production accepts, in bytes.
const SHORTEST_KEY: usize = 32;

/// Words that are no secret, written without `-`, `_`, spaces and capitals.
const WORDS: [&str; 14] = [
    "yoursecretkey",
    "yoursecret",
    "yourkey",
    "yourpassword",
    "changeme",
    "changethis",
    "changeit",
    "secret",
    "secretkey",
    "password",
    "pass",
    "passwd",
    "example",
    "placeholder",
];

/// Parts that no random key has.
const PARTS: [&str; 5] = ["yoursecret", "changeme", "replaceme", "replacewith", "example"];

/// Why a secret cannot be meant.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Weakness {
    Placeholder,
    TooShort,
}

impl fmt::Display for Weakness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Placeholder => f.write_str("is a placeholder, which production refuses"),
            Self::TooShort => write!(f, "is shorter than the {SHORTEST_KEY} bytes that production asks of a key"),
        }
    }
}

/// What is wrong with a secret, or [`None`]. Of a URL, only the password counts; of `key` the length does, too.
pub(super) fn weakness(text: &str, key: bool) -> Option<Weakness> {
    let secret = secret_part(text)?;
    let word: String =
        secret.chars().filter(|letter| !matches!(letter, '-' | '_' | ' ')).flat_map(char::to_lowercase).collect();
    let one_character = word.chars().next().is_none_or(|first| word.chars().all(|letter| letter == first));
    let wrapped = secret.starts_with('<') && secret.ends_with('>');
    if one_character
        || wrapped
        || word.starts_with("replace")
        || WORDS.contains(&word.as_str())
        || (key && PARTS.iter().any(|part| word.contains(part)))
    {
        return Some(Weakness::Placeholder);
    }
    (key && secret.len() < SHORTEST_KEY).then_some(Weakness::TooShort)
}

/// The password of a URL; [`None`] for a URL without one; any other text as it is.
fn secret_part(text: &str) -> Option<&str> {
    let Some((_, rest)) = text.split_once("://") else { return Some(text.trim()) };
    let (user, _) = rest.rsplit_once('@')?;
    user.split_once(':').map(|(_, password)| password)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_recognised() {
        for text in [
            "your-secret-key",
            "YOUR_SECRET_KEY",
            "changeme",
            "change-me",
            "secret",
            "password",
            "example",
            "replace with real values!",
            "replace-me-please-replace-me-please-replace",
            "<your jwt secret>",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "postgresql://user:pass@db:5432/covet",
            "redis://:changeme@redis:6379/0",
        ] {
            assert_eq!(weakness(text, false), Some(Weakness::Placeholder), "{text}");
        }
    }

    #[test]
    fn a_key_is_held_to_more_than_a_password() {
        assert_eq!(weakness("correct horse", false), None);
        assert_eq!(weakness("correct horse", true), Some(Weakness::TooShort));
        assert_eq!(weakness("please-changeme-please-changeme-please", false), None);
        assert_eq!(weakness("please-changeme-please-changeme-please", true), Some(Weakness::Placeholder));
        assert_eq!(weakness("3f0c1d9a7be24a6f8c5d0e1f2a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d", true), None);
    }

    #[test]
    fn a_url_without_a_password_is_no_placeholder() {
        assert_eq!(weakness("redis://redis:6379/0", false), None);
        assert_eq!(weakness("postgresql://covet:h8Jq_2kQ@db/covet", false), None);
    }
}
