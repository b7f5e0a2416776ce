//! Tags of notes.

use std::collections::BTreeSet;

use utoipa::ToSchema;

/// Most tags on one note.
pub(super) const MAX_TAGS: usize = 20;
/// Longest tag, in characters.
pub(super) const MAX_TAG_LENGTH: usize = 40;

/// A tag, as the OpenAPI document tells it.
#[derive(ToSchema)]
#[schema(as = Tag, min_length = 1, max_length = 40, pattern = r"^[\p{L}\p{N} _-]+$", example = "home")]
#[expect(dead_code, reason = "a schema only")]
pub(super) struct TagSchema(String);

/// Why tags are refused, and which one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TagRefused {
    /// Its place in the list; none when the list itself is refused.
    pub(super) index: Option<usize>,
    /// What is wrong, for the caller.
    pub(super) detail: String,
}

/// One tag: trimmed and in lower case, letters, digits, `-`, `_` and spaces between them.
///
/// # Errors
/// What is wrong, for the caller.
pub(super) fn tag(given: &str) -> Result<String, String> {
    let tag = given.trim().to_lowercase();
    let length = tag.chars().count();
    if length == 0 || length > MAX_TAG_LENGTH {
        return Err(format!("must have 1 to {MAX_TAG_LENGTH} characters"));
    }
    if !tag.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | ' ')) {
        return Err("may hold letters, digits, `-`, `_` and spaces only".to_owned());
    }
    Ok(tag)
}

/// The tags of a note: sorted, each once.
///
/// # Errors
/// Every tag that is refused.
pub(super) fn tags(given: &[String]) -> Result<Vec<String>, Vec<TagRefused>> {
    let mut refused = Vec::new();
    let mut kept = BTreeSet::new();
    for (index, given) in given.iter().enumerate() {
        match tag(given) {
            Ok(tag) => drop(kept.insert(tag)),
            Err(detail) => refused.push(TagRefused { index: Some(index), detail }),
        }
        // A long list of bad tags is not answered with a longer one.
        if refused.len() >= MAX_TAGS {
            break;
        }
    }
    if kept.len() > MAX_TAGS {
        refused.push(TagRefused { index: None, detail: format!("must be at most {MAX_TAGS}") });
    }
    if refused.is_empty() { Ok(kept.into_iter().collect()) } else { Err(refused) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn tags_are_lowered_sorted_and_kept_once() {
        assert_eq!(tags(&strings(&["Work", " home ", "work", "Büro-2"])).unwrap(), ["büro-2", "home", "work"]);
        assert!(tags(&[]).unwrap().is_empty());
    }

    #[test]
    fn each_bad_tag_is_named_by_its_place() {
        let refused = tags(&strings(&["ok", "", "a,b", &"x".repeat(41)])).unwrap_err();
        assert_eq!(refused.iter().map(|refused| refused.index).collect::<Vec<_>>(), [Some(1), Some(2), Some(3)]);
        let many: Vec<String> = (0..21).map(|number| format!("tag {number}")).collect();
        assert_eq!(tags(&many).unwrap_err()[0].index, None);
        assert_eq!(tags(&vec![String::new(); 1000]).unwrap_err().len(), MAX_TAGS);
    }
}
