//! Tags of responses: a text in which `{id}` stands for that parameter of the path.

use std::borrow::Cow;

use axum::extract::{FromRequestParts as _, RawPathParams};
use futures_util::FutureExt as _;
use http::request::Parts;
use percent_encoding::percent_decode_str;

use crate::routing::parameters;

/// A tag with its places for parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TagTemplate(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    Parameter(Box<str>),
}

impl TagTemplate {
    pub(super) fn parse(text: &str) -> Self {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, (name, after))) =
            rest.split_once('{').and_then(|(before, after)| Some((before, after.split_once('}')?)))
        {
            if !before.is_empty() {
                pieces.push(Piece::Text(before.into()));
            }
            pieces.push(Piece::Parameter(name.into()));
            rest = after;
        }
        if !rest.is_empty() || pieces.is_empty() {
            pieces.push(Piece::Text(rest.into()));
        }
        Self(pieces)
    }

    /// The first parameter that `path`, such as `/notes/{id}`, does not have.
    pub(super) fn unknown_parameter(&self, path: &str) -> Option<&str> {
        let has = |name: &str| path.contains(&format!("{{{name}}}")) || path.contains(&format!("{{*{name}}}"));
        self.0.iter().find_map(|piece| match piece {
            Piece::Parameter(name) if !has(name) => Some(&**name),
            _ => None,
        })
    }

    /// The text itself, when it has no parameters.
    pub(super) fn constant(&self) -> Option<&str> {
        match &self.0[..] {
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The tag for a request. `None` when a parameter is missing.
    pub(super) fn render(&self, parts: &mut Parts) -> Option<String> {
        let mut tag = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => tag.push_str(text),
                Piece::Parameter(name) => tag.push_str(&parameter(parts, name)?),
            }
        }
        Some(tag)
    }
}

/// A parameter of the path, decoded: the same on the short way and on the long one.
fn parameter(parts: &mut Parts, name: &str) -> Option<String> {
    if let Some(matched) = parameters::current() {
        let raw = matched.get(parts.uri.path(), name)?;
        return percent_decode_str(raw).decode_utf8().ok().map(Cow::into_owned);
    }
    // Nothing is waited for.
    let all = RawPathParams::from_request_parts(parts, &()).now_or_never()?.ok()?;
    all.iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_may_hold_parameters_that_the_path_must_have() {
        let tag = TagTemplate::parse("shop:{shop}/item:{id}");
        assert_eq!(tag.unknown_parameter("/shops/{shop}/items/{id}"), None);
        assert_eq!(tag.unknown_parameter("/shops/{shop}/items/{item}"), Some("id"));
        assert_eq!(TagTemplate::parse("{rest}").unknown_parameter("/files/{*rest}"), None);
        assert_eq!(TagTemplate::parse("catalogue").constant(), Some("catalogue"));
        assert_eq!(TagTemplate::parse("a{b").constant(), Some("a{b"));
        assert_eq!(tag.constant(), None);
    }
}
