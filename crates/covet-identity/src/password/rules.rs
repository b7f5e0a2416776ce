//! Which new passwords are refused: too short, too long, or among the first that anybody would try.
//!
//! By NIST SP 800-63B-4 §3.1.1.2 there are no rules about kinds of characters, and nobody has to change a
//! password because time has passed. The list here is short on purpose: it catches what the length does not.

use std::borrow::Cow;

use covet_core::problem::{AsProblem, Problem};
use covet_core::secret::ExposeSecret;

use super::Password;

/// Words that head every list of leaked passwords; also refused when repeated or lengthened by digits.
const COMMON: &str = include_str!("common.txt");

/// Runs along a keyboard or an alphabet.
const RUNS: [&str; 8] = [
    "01234567890123456789",
    "98765432109876543210",
    "abcdefghijklmnopqrstuvwxyz",
    "zyxwvutsrqponmlkjihgfedcba",
    "qwertyuiopasdfghjklzxcvbnm",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm",
    "qazwsxedcrfvtgbyhnujm",
    "1q2w3e4r5t6y7u8i9o0p",
];

/// The rules for new passwords.
#[derive(Debug, Clone)]
pub struct PasswordRules {
    /// Fewest characters.
    pub min_length: usize,
}

/// A password that may be used as a new one.
#[derive(Debug)]
pub struct NewPassword(pub(super) Password);

/// Why a new password is refused. The text is for the user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Fewer characters than the least.
    #[error("has {length} characters; use at least {minimum}")]
    TooShort {
        /// Its length.
        length: usize,
        /// The least.
        minimum: usize,
    },
    /// More than [`Password::MAX_LENGTH`] characters.
    #[error("has more than {maximum} characters")]
    TooLong {
        /// The most.
        maximum: usize,
    },
    /// Among the first that an attacker tries.
    #[error("is easy to guess ({why}); use a few unrelated words instead")]
    Guessable {
        /// What it is made of.
        why: &'static str,
    },
}

impl Refusal {
    /// The problem that names `field` as the one refused.
    #[must_use]
    pub fn for_field(&self, field: impl Into<Cow<'static, str>>) -> Problem {
        Problem::new(422).detail("The password is not accepted.").field(field, self.to_string())
    }
}

impl AsProblem for Refusal {
    fn problem(&self) -> Problem {
        self.for_field("password")
    }
}

impl PasswordRules {
    /// Lets a password through, or says why not.
    ///
    /// # Errors
    /// The [`Refusal`].
    pub fn accept(&self, typed: Password, about: &[&str]) -> Result<NewPassword, Refusal> {
        let length = typed.length();
        if length < self.min_length {
            return Err(Refusal::TooShort { length, minimum: self.min_length });
        }
        if length > Password::MAX_LENGTH {
            return Err(Refusal::TooLong { maximum: Password::MAX_LENGTH });
        }
        match guessable(&typed.0.expose_secret().to_lowercase(), about) {
            Some(why) => Err(Refusal::Guessable { why }),
            None => Ok(NewPassword(typed)),
        }
    }
}

fn guessable(password: &str, about: &[&str]) -> Option<&'static str> {
    let unit = repeated_unit(password);
    if unit.chars().count() <= 4 {
        return Some("the same few characters over and over");
    }
    if is_common(password) || is_common(unit) {
        return Some("one of the commonest passwords");
    }
    if RUNS.iter().any(|run| run.contains(unit)) {
        return Some("a run along the keyboard or the alphabet");
    }
    if about.iter().any(|word| is_about(password, word) || is_about(unit, word)) {
        return Some("your own name or address, or ours");
    }
    None
}

/// The shortest text that gives `password` when repeated; itself if none does. A last repetition may be cut.
fn repeated_unit(password: &str) -> &str {
    let ends = password.char_indices().map(|(at, _)| at).skip(1);
    for end in ends.take_while(|end| *end <= password.len() / 2) {
        let repeats = password.as_bytes().iter().zip(password.as_bytes()[..end].iter().cycle());
        if repeats.into_iter().all(|(a, b)| a == b) {
            return &password[..end];
        }
    }
    password
}

fn is_common(password: &str) -> bool {
    let word = bare(password);
    COMMON.lines().any(|common| common == word || common == password)
}

/// The password is `word` with nothing but digits and signs around it. Very short words say nothing.
fn is_about(password: &str, word: &str) -> bool {
    let word = word.trim().to_lowercase();
    let local = word.split('@').next().unwrap_or_default();
    [word.as_str(), local]
        .iter()
        .any(|word| word.chars().count() >= 4 && (password == *word || bare(password) == *word))
}

/// Without what people put around a word to make it longer.
fn bare(password: &str) -> &str {
    password.trim_matches(|c: char| c.is_ascii_digit() || c.is_ascii_punctuation() || c == ' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(text: &str) -> Result<NewPassword, Refusal> {
        PasswordRules { min_length: 15 }.accept(Password::new(text), &["Ada Lovelace", "ada.lovelace@example.com"])
    }

    fn why(text: &str) -> &'static str {
        match accept(text) {
            Err(Refusal::Guessable { why }) => why,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn length_is_counted_in_characters() {
        assert_eq!(accept("fourteen chars").unwrap_err(), Refusal::TooShort { length: 14, minimum: 15 });
        assert!(accept("fifteen chars !").is_ok());
        assert!(matches!(accept("пятнадцать бук").unwrap_err(), Refusal::TooShort { length: 14, .. }));
        assert!(accept("пятнадцать букв").is_ok());
        let long: String = ('a'..='z').cycle().step_by(7).take(Password::MAX_LENGTH + 1).collect();
        assert_eq!(accept(&long).unwrap_err(), Refusal::TooLong { maximum: 1024 });
    }

    #[test]
    fn no_kind_of_character_is_demanded() {
        for text in ["all lower case letters", "ALL UPPER CASE LETTERS", "8914 5527 0936 1182", "       spaces count  "]
        {
            assert!(accept(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn what_anybody_would_try_first_is_refused() {
        assert_eq!(why("aaaaaaaaaaaaaaaaaaaa"), "the same few characters over and over");
        assert_eq!(why("12341234123412341"), "the same few characters over and over");
        assert_eq!(why("passwordpassword"), "one of the commonest passwords");
        assert_eq!(why("PasswordPassword"), "one of the commonest passwords");
        assert_eq!(why("password12345678!!!"), "one of the commonest passwords");
        assert_eq!(why("correct horse battery staple"), "one of the commonest passwords");
        assert_eq!(why("123456789012345"), "a run along the keyboard or the alphabet");
        assert_eq!(why("qwertyuiopasdfgh"), "a run along the keyboard or the alphabet");
        assert_eq!(why("ada.lovelace@example.com"), "your own name or address, or ours");
        assert_eq!(why("Ada Lovelace 1815"), "your own name or address, or ours");
        assert_eq!(why("ada.lovelace123456"), "your own name or address, or ours");
    }

    #[test]
    fn a_phrase_that_only_contains_such_words_is_accepted() {
        for text in ["my password is a heron", "ada eats 12345 pears", "correct heron battery staple"] {
            assert!(accept(text).is_ok(), "{text}");
        }
    }
}
