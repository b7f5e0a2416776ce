//! Secrets are never written out, whoever logs them: a second line of defence behind types that cannot be printed.
//!
//! Two nets. Fields with a secret's name (`password`, `refresh_token`, `http.request.headers.x-api-key`) lose their
//! value. In every text, messages and errors included, what follows such a name (`password=…`, `"token": "…"`,
//! `Authorization: …`), passwords in URLs, `Bearer` tokens, JSON Web Tokens and the secrets of API keys are masked. Rather too much than too
//! little: the first net also catches `password_age_days`.
//!
//! It cannot know a secret that looks like nothing: what must not be logged must not be given to the log.

mod names;
mod text;

use std::borrow::Cow;

pub use names::NamePattern;
use names::Names;

/// What is written in place of the value.
pub(crate) const REDACTED: &str = "[redacted]";

/// Knows what not to write.
#[derive(Debug)]
pub(crate) struct Redaction {
    names: Names,
}

impl Redaction {
    /// The built-in names and these.
    pub(crate) fn new(more: &[NamePattern]) -> Self {
        Self { names: Names::new(more) }
    }

    /// Whether the value of a field of this name is never written.
    pub(crate) fn hides(&self, field: &str) -> bool {
        self.names.contain(field)
    }

    /// The text with its secrets masked.
    pub(crate) fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        text::masked(text, &self.names)
    }
}
