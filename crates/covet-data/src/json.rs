//! [`Json`]: a column that holds a Rust value as JSON.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use serde::de::{Deserialize, DeserializeOwned, Deserializer, Visitor};
use serde::{Serialize, Serializer};

/// By this name the row decoder knows that the column's text is to be parsed.
pub(crate) const MARKER: &str = "$covet_data::Json";

/// A value kept as JSON in one column: `TEXT`, `JSON`, or what `json_object(…)` returns.
///
/// A column declared `JSON` is parsed without it as well; `Json` is for the other two, and to bind a value of
/// one's own type. Outside of rows it serialises as the value itself.
///
/// ```
/// use covet_data::{Json, params};
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Preferences { theme: String }
///
/// let values = params![7, Json(Preferences { theme: "dark".into() })];
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Json<T>(pub T);

impl<T> Deref for Json<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Json<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: Serialize> Serialize for Json<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Json<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Inner<T>(PhantomData<T>);

        impl<'de, T: DeserializeOwned> Visitor<'de> for Inner<T> {
            type Value = Json<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<Json<T>, D::Error> {
                T::deserialize(inner).map(Json)
            }
        }

        deserializer.deserialize_newtype_struct(MARKER, Inner(PhantomData))
    }
}
