//! A note, and what a caller may say about one.

use covet::Result;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::tag;
use crate::web::fields::{self, Fields};
use crate::web::precondition::Etag;

/// Longest title, in characters.
const MAX_TITLE_LENGTH: usize = 200;
/// Longest text, in characters.
const MAX_BODY_LENGTH: usize = 20_000;
/// Longest text to look for, in characters.
const MAX_SEARCH_LENGTH: usize = 100;

/// A note.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Note {
    /// Its id.
    pub id: Uuid,
    /// One line.
    #[schema(example = "Shopping")]
    pub title: String,
    /// The text.
    #[schema(example = "Bread, pears")]
    pub body: String,
    /// Its tags, sorted.
    #[schema(example = json!(["home"]))]
    pub tags: Vec<String>,
    /// Out of the way.
    pub archived: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Counts the changes; the `ETag` is made of it.
    #[serde(skip)]
    pub version: i64,
}

/// What a note says, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteContent {
    /// One line of 1 to 200 characters.
    pub title: String,
    /// Up to 20 000 characters.
    pub body: String,
    /// Sorted, each once.
    pub tags: Vec<String>,
    /// Out of the way.
    pub archived: bool,
}

/// A new note.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewNote {
    /// One line.
    #[schema(min_length = 1, max_length = 200, example = "Shopping")]
    title: String,
    /// The text.
    #[serde(default)]
    #[schema(max_length = 20_000, example = "Bread, pears")]
    body: String,
    /// Tags of letters, digits, `-`, `_` and spaces; kept in lower case.
    #[serde(default)]
    #[schema(value_type = Vec<tag::TagSchema>, max_items = 20, example = json!(["home"]))]
    tags: Vec<String>,
    /// Out of the way from the start.
    #[serde(default)]
    archived: bool,
}

/// What to change about a note; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NoteChange {
    /// One line.
    #[serde(default, deserialize_with = "fields::present")]
    #[schema(nullable = false, min_length = 1, max_length = 200)]
    title: Option<String>,
    /// The text.
    #[serde(default, deserialize_with = "fields::present")]
    #[schema(nullable = false, max_length = 20_000)]
    body: Option<String>,
    /// All tags.
    #[serde(default, deserialize_with = "fields::present")]
    #[schema(value_type = Option<Vec<tag::TagSchema>>, nullable = false, max_items = 20)]
    tags: Option<Vec<String>>,
    /// Out of the way.
    #[serde(default, deserialize_with = "fields::present")]
    #[schema(nullable = false)]
    archived: Option<bool>,
}

/// Which notes to list; together, not one or the other.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct NoteQuery {
    /// Text in the title or the body. Capitals do not matter for A to Z.
    #[param(max_length = 100, nullable = false)]
    q: Option<String>,
    /// A tag.
    #[param(max_length = 40, nullable = false)]
    tag: Option<String>,
    /// Archived ones only, or those only that are not.
    #[param(nullable = false)]
    archived: Option<bool>,
}

/// Which notes to list, checked.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct NoteFilter {
    /// Text in the title or the body.
    pub text: Option<String>,
    /// A tag.
    pub tag: Option<String>,
    /// Archived or not.
    pub archived: Option<bool>,
}

impl Note {
    /// The version as an entity tag.
    #[must_use]
    pub fn etag(&self) -> Etag {
        Etag(self.version)
    }
}

impl NewNote {
    /// Checks every field.
    pub(super) fn check(self) -> Result<NoteContent> {
        let change = NoteChange {
            title: Some(self.title),
            body: Some(self.body),
            tags: Some(self.tags),
            archived: Some(self.archived),
        };
        change.check(NoteContent { title: String::new(), body: String::new(), tags: Vec::new(), archived: false })
    }
}

impl NoteChange {
    /// Checks every field, and puts them in place of those of `before`.
    pub(super) fn check(self, before: NoteContent) -> Result<NoteContent> {
        let mut fields = Fields::new();
        let title = fields.take_some("title", self.title.map(|title| fields::text(&title, 1, MAX_TITLE_LENGTH)));
        let body = fields.take_some("body", self.body.map(|body| fields::long_text(&body, MAX_BODY_LENGTH)));
        let tags = match self.tags.map(|tags| tag::tags(&tags)) {
            Some(Err(refused)) => {
                for refused in refused {
                    let field = refused.index.map_or("tags".to_owned(), |index| format!("tags[{index}]"));
                    fields.refuse(field, refused.detail);
                }
                None
            }
            Some(Ok(tags)) => Some(tags),
            None => None,
        };
        fields.finish()?;
        Ok(NoteContent {
            title: title.unwrap_or(before.title),
            body: body.unwrap_or(before.body),
            tags: tags.unwrap_or(before.tags),
            archived: self.archived.unwrap_or(before.archived),
        })
    }
}

impl NoteQuery {
    /// Checks every parameter.
    pub(super) fn check(self) -> Result<NoteFilter> {
        let mut fields = Fields::new();
        let text = fields.take_some("q", self.q.map(|text| fields::text(&text, 1, MAX_SEARCH_LENGTH)));
        let tag = fields.take_some("tag", self.tag.map(|tag| tag::tag(&tag)));
        fields.finish()?;
        Ok(NoteFilter { text, tag, archived: self.archived })
    }
}

impl From<Note> for NoteContent {
    fn from(note: Note) -> Self {
        Self { title: note.title, body: note.body, tags: note.tags, archived: note.archived }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn new(json: serde_json::Value) -> Result<NoteContent> {
        serde_json::from_value::<NewNote>(json).unwrap().check()
    }

    #[test]
    fn every_bad_field_is_named() {
        let error = new(json!({"title": "  ", "body": "\u{7}", "tags": ["ok", "!"]})).unwrap_err();
        let fields: Vec<_> = error.problem().errors.iter().map(|field| field.field.as_ref()).collect();
        assert_eq!(fields, ["title", "body", "tags[1]"]);
    }

    #[test]
    fn a_change_leaves_what_it_does_not_name() {
        let before = new(json!({"title": "Shopping", "body": "pears", "tags": ["home"]})).unwrap();
        let change: NoteChange = serde_json::from_value(json!({"archived": true, "body": ""})).unwrap();
        let after = change.check(before.clone()).unwrap();
        assert_eq!(after, NoteContent { archived: true, body: String::new(), ..before });
    }

    #[test]
    fn fields_that_are_not_the_callers_are_refused() {
        for body in
            [json!({"title": "a", "owner_id": 1}), json!({"title": "a", "version": 1}), json!({"title": "a", "id": 1})]
        {
            assert!(serde_json::from_value::<NewNote>(body).is_err());
        }
    }
}
