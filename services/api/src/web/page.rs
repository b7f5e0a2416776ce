//! Lists in pages, cut by key: a page starts after the last item of the one before, so rows that come or go
//! between two requests neither repeat an item nor lose one.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// Which part of a list is asked for.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// Most items to give.
    #[param(default = 20, minimum = 1, maximum = 100)]
    #[serde(deserialize_with = "limit")]
    pub limit: u16,
    /// `next_cursor` of the page before; absent for the first page.
    #[param(value_type = Option<String>)]
    pub cursor: Option<Cursor>,
}

/// One page of a list.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// The items, newest first.
    pub items: Vec<T>,
    /// Where the next page starts; null on the last one.
    #[schema(value_type = Option<String>, required)]
    pub next_cursor: Option<Cursor>,
}

/// A place in a list: after the row with this id. Opaque to the caller, so that the order may change one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor(pub Uuid);

/// First byte of a cursor: the order of the list, by id from the newest.
const BY_ID_DESCENDING: u8 = 1;

impl Default for PageQuery {
    fn default() -> Self {
        Self { limit: 20, cursor: None }
    }
}

impl PageQuery {
    /// How many rows to read: one more than asked for, which tells whether there is another page.
    #[must_use]
    pub fn rows(&self) -> i64 {
        i64::from(self.limit) + 1
    }

    /// Where to start, as an upper bound of ids that is not part of the page.
    #[must_use]
    pub fn before(&self) -> Uuid {
        self.cursor.map_or(Uuid::max(), |Cursor(id)| id)
    }

    /// Makes a page of the rows read.
    #[must_use]
    pub fn page<T>(&self, mut rows: Vec<T>, id: impl Fn(&T) -> Uuid) -> Page<T> {
        let more = rows.len() > usize::from(self.limit);
        rows.truncate(usize::from(self.limit));
        let next_cursor = if more { rows.last().map(|last| Cursor(id(last))) } else { None };
        Page { items: rows, next_cursor }
    }
}

impl<T> Page<T> {
    /// The same page of something else.
    pub fn map<U>(self, change: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(change).collect(), next_cursor: self.next_cursor }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [BY_ID_DESCENDING; 17];
        bytes[1..].copy_from_slice(self.0.as_bytes());
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl Serialize for Cursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = URL_SAFE_NO_PAD.decode(text).unwrap_or_default();
        match bytes.split_first() {
            Some((&BY_ID_DESCENDING, id)) if id.len() == 16 => {
                Ok(Self(Uuid::from_slice(id).map_err(serde::de::Error::custom)?))
            }
            _ => Err(serde::de::Error::custom("not a cursor; take `next_cursor` of the page before as it is")),
        }
    }
}

fn limit<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
    let limit = u16::deserialize(deserializer)?;
    if (1..=100).contains(&limit) { Ok(limit) } else { Err(serde::de::Error::custom("must be from 1 to 100")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(count: u128) -> Vec<Uuid> {
        (1..=count).rev().map(Uuid::from_u128).collect()
    }

    #[test]
    fn a_cursor_survives_its_journey_and_nothing_else_is_one() {
        let cursor = Cursor(Uuid::from_u128(77));
        let json = serde_json::to_string(&cursor).unwrap();
        assert_eq!(serde_json::from_str::<Cursor>(&json).unwrap(), cursor);
        for bad in ["", "abc", "!!!!", "AAAAAAAAAAAAAAAAAAAAAAA", &"A".repeat(100)] {
            assert!(serde_json::from_value::<Cursor>(bad.into()).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_extra_row_tells_of_another_page_and_is_not_part_of_this_one() {
        let query = PageQuery { limit: 2, cursor: None };
        assert_eq!(query.rows(), 3);
        let page = query.page(ids(3), |id| *id);
        assert_eq!(page.items.len(), 2);
        assert_eq!(page.next_cursor, Some(Cursor(Uuid::from_u128(2))));
        assert_eq!(query.page(ids(2), |id| *id).next_cursor, None);
        assert_eq!(query.page(ids(0), |id| *id).next_cursor, None);
    }
}
