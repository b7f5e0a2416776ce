//! One case: requests in a row, what the handler answers to each, and what the client must see.

use std::time::Duration;

/// How much a case binds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// RFC 9111 demands it.
    Required,
    /// A cache is better for it.
    Optional,
    /// It is good to know.
    Check,
}

/// Where an answer must come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    Anywhere,
    Cache,
    Handler,
    /// The handler was asked with the `ETag` of what is kept, said 304, and what is kept was given out.
    CacheConfirmedByTag,
    /// The same with `Last-Modified`.
    CacheConfirmedByDate,
}

pub(crate) type Headers = &'static [(&'static str, &'static str)];

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) sent: Headers,
    /// What the handler answers, if it is asked. `@-30` as a value is a date 30 seconds before now.
    pub(crate) status: u16,
    pub(crate) answer: Headers,
    /// The handler panics instead.
    pub(crate) breaks: bool,
    pub(crate) from: From,
    pub(crate) seen_status: Option<u16>,
    /// What the client must see; an empty value: that there is none.
    pub(crate) seen: Headers,
    /// At least this `Age`.
    pub(crate) age: Option<u64>,
    /// What the handler must see.
    pub(crate) asked_with: Headers,
    /// How long nothing happens before it.
    pub(crate) after: Duration,
}

/// A case.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) id: &'static str,
    pub(crate) kind: Kind,
    /// In words of ours.
    pub(crate) what: &'static str,
    pub(crate) steps: Vec<Step>,
    /// Why it is not as the case would have it.
    pub(crate) because: Option<&'static str>,
}

/// A `GET` to which the handler answers 200 with these headers.
pub(crate) fn get(answer: Headers) -> Step {
    Step {
        method: "GET",
        path: "",
        sent: &[],
        status: 200,
        answer,
        breaks: false,
        from: From::Anywhere,
        seen_status: None,
        seen: &[],
        age: None,
        asked_with: &[],
        after: Duration::ZERO,
    }
}

/// A `GET` three seconds later that must come from there.
pub(crate) fn then(from: From) -> Step {
    Step { from, after: Duration::from_secs(3), ..get(&[]) }
}

impl Step {
    pub(crate) fn method(self, method: &'static str) -> Self {
        Self { method, ..self }
    }

    /// Added to the case's path: a query, or another name.
    pub(crate) fn path(self, path: &'static str) -> Self {
        Self { path, ..self }
    }

    pub(crate) fn sends(self, sent: Headers) -> Self {
        Self { sent, ..self }
    }

    pub(crate) fn status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    pub(crate) fn answer(self, answer: Headers) -> Self {
        Self { answer, ..self }
    }

    pub(crate) fn breaks(self) -> Self {
        Self { breaks: true, ..self }
    }

    pub(crate) fn sees(self, status: u16) -> Self {
        Self { seen_status: Some(status), ..self }
    }

    pub(crate) fn with(self, seen: Headers) -> Self {
        Self { seen, ..self }
    }

    pub(crate) fn aged(self, age: u64) -> Self {
        Self { age: Some(age), ..self }
    }

    pub(crate) fn asked_with(self, asked_with: Headers) -> Self {
        Self { asked_with, ..self }
    }

    pub(crate) fn after(self, seconds: u64) -> Self {
        Self { after: Duration::from_secs(seconds), ..self }
    }
}

fn case(kind: Kind, id: &'static str, what: &'static str, steps: Vec<Step>) -> Case {
    Case { id, kind, what, steps, because: None }
}

pub(crate) fn required(id: &'static str, what: &'static str, steps: Vec<Step>) -> Case {
    case(Kind::Required, id, what, steps)
}

pub(crate) fn optional(id: &'static str, what: &'static str, steps: Vec<Step>) -> Case {
    case(Kind::Optional, id, what, steps)
}

pub(crate) fn check(id: &'static str, what: &'static str, steps: Vec<Step>) -> Case {
    case(Kind::Check, id, what, steps)
}

impl Case {
    pub(crate) fn because(self, because: &'static str) -> Self {
        Self { because: Some(because), ..self }
    }
}
