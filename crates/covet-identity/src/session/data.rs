//! What handlers keep in a session: values of types of theirs, each under a key.
//!
//! Changes are collected while the handler runs and stored together when its response goes out. Two requests of one
//! session may run at the same time, so a change is never "the session is now this" but "this key is now that" or "do
//! this to that key". A write says which version it changes; when somebody has been quicker, the changes are made
//! again, to what is there now.

use std::fmt;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::error::SessionError;
use super::record::Contents;

/// The name of a value in sessions, and its type. Values are kept as JSON: a release that gives the type another shape
/// lets the fields be absent (`#[serde(default)]`), or takes another name.
///
/// ```
/// use covet_identity::session::SessionKey;
///
/// #[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
/// struct Cart {
///     items: Vec<u64>,
/// }
///
/// static CART: SessionKey<Cart> = SessionKey::new("cart");
/// ```
pub struct SessionKey<T> {
    name: &'static str,
    of: PhantomData<fn() -> T>,
}

impl<T> SessionKey<T> {
    /// A key of this name. Two keys of one name are one.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self { name, of: PhantomData }
    }

    /// The name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

impl<T> fmt::Debug for SessionKey<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SessionKey").field(&self.name).finish()
    }
}

/// The values of a session, as one request sees them.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Values(Map<String, Value>);

/// One change, to be made to whatever is there.
pub(super) struct Change {
    name: &'static str,
    make: Make,
}

type Make = Box<dyn Fn(Option<Value>) -> Result<Option<Value>, SessionError> + Send + Sync>;

impl Values {
    /// Reads what is stored.
    pub(super) fn read(contents: &Contents) -> Self {
        if contents.json == Contents::EMPTY_JSON {
            return Self::default();
        }
        match serde_json::from_str(&contents.json) {
            Ok(values) => Self(values),
            Err(error) => {
                tracing::warn!(%error, "the data of a session cannot be read, and counts as empty");
                Self::default()
            }
        }
    }

    /// The value of a key. One that cannot be read as its type, because another release has written it, counts as
    /// absent.
    pub(super) fn get<T: DeserializeOwned>(&self, key: &SessionKey<T>) -> Option<T> {
        let value = self.0.get(key.name)?;
        T::deserialize(value)
            .inspect_err(|error| {
                tracing::warn!(key = key.name, %error, "a value in a session is not of its key's type, and counts as absent");
            })
            .ok()
    }

    /// Makes a change.
    pub(super) fn change(&mut self, change: &Change) -> Result<(), SessionError> {
        match (change.make)(self.0.get(change.name).cloned())? {
            Some(value) => self.0.insert(change.name.to_owned(), value),
            None => self.0.remove(change.name),
        };
        Ok(())
    }

    /// As it is stored.
    ///
    /// # Errors
    /// [`SessionError::TooLarge`].
    pub(super) fn write(&self, limit_bytes: usize) -> Result<String, SessionError> {
        let json = serde_json::to_string(&self.0).map_err(|source| SessionError::Encode { name: "all", source })?;
        match json.len() {
            size_bytes if size_bytes > limit_bytes => Err(SessionError::TooLarge { size_bytes, limit_bytes }),
            _ => Ok(json),
        }
    }
}

impl Change {
    /// The key has this value.
    pub(super) fn set<T: Serialize>(key: &SessionKey<T>, value: &T) -> Result<Self, SessionError> {
        let value = encode(key.name, value)?;
        Ok(Self { name: key.name, make: Box::new(move |_| Ok(Some(value.clone()))) })
    }

    /// The key has no value.
    pub(super) fn remove<T>(key: &SessionKey<T>) -> Self {
        Self { name: key.name, make: Box::new(|_| Ok(None)) }
    }

    /// The key's value, or the default where it has none, with this done to it.
    pub(super) fn update<T>(key: &SessionKey<T>, update: impl Fn(&mut T) + Send + Sync + 'static) -> Self
    where
        T: Serialize + DeserializeOwned + Default,
    {
        let name = key.name;
        let make = move |value: Option<Value>| {
            let mut value: T = value.and_then(|value| T::deserialize(value).ok()).unwrap_or_default();
            update(&mut value);
            encode(name, &value).map(Some)
        };
        Self { name, make: Box::new(make) }
    }
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Change").field("name", &self.name).finish_non_exhaustive()
    }
}

fn encode<T: Serialize>(name: &'static str, value: &T) -> Result<Value, SessionError> {
    serde_json::to_value(value).map_err(|source| SessionError::Encode { name, source })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    static COUNT: SessionKey<u32> = SessionKey::new("count");
    static NAMES: SessionKey<Vec<String>> = SessionKey::new("names");

    fn values(json: &str) -> Values {
        Values::read(&Contents::new(json.to_owned()))
    }

    #[test]
    fn values_keep_their_types_and_their_neighbours() {
        let mut kept = values(r#"{"count":1,"other":{"a":[1.5,null]}}"#);
        assert_eq!((kept.get(&COUNT), kept.get(&NAMES)), (Some(1), None));
        kept.change(&Change::set(&NAMES, &vec!["Ada".to_owned()]).unwrap()).unwrap();
        kept.change(&Change::update(&COUNT, |count| *count += 1)).unwrap();
        let expected = values(r#"{"count":2,"names":["Ada"],"other":{"a":[1.5,null]}}"#);
        assert_eq!(values(&kept.write(100).unwrap()), expected);
        kept.change(&Change::remove(&NAMES)).unwrap();
        assert_eq!(kept.get(&NAMES), None);
    }

    #[test]
    fn an_update_begins_with_the_default_and_is_made_again_to_another_value() {
        let push = Change::update(&NAMES, |names| names.push("Bob".to_owned()));
        for (before, after) in [("{}", r#"{"names":["Bob"]}"#), (r#"{"names":["Ada"]}"#, r#"{"names":["Ada","Bob"]}"#)]
        {
            let mut values = values(before);
            values.change(&push).unwrap();
            assert_eq!(values.write(100).unwrap(), after);
        }
    }

    #[test]
    fn what_another_release_has_written_counts_as_absent() {
        assert_eq!(values(r#"{"count":"many"}"#).get(&COUNT), None);
        assert_eq!(values("[1]").get(&COUNT), None);
        assert_eq!(values("nonsense"), Values::default());
    }

    #[test]
    fn too_much_and_what_is_no_json_are_refused_with_the_reason() {
        let mut values = Values::default();
        values.change(&Change::set(&NAMES, &vec!["x".repeat(90)]).unwrap()).unwrap();
        let error = values.write(100).unwrap_err();
        assert!(matches!(error, SessionError::TooLarge { size_bytes: 104, limit_bytes: 100 }), "{error}");
        static PAIRS: SessionKey<HashMap<Vec<u8>, u8>> = SessionKey::new("pairs");
        let error = Change::set(&PAIRS, &HashMap::from([(vec![1], 2)])).unwrap_err();
        assert!(error.to_string().contains("`pairs`"), "{error}");
    }
}
