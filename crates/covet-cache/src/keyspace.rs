//! [`Keyspace`]: what is cached, declared once; [`CacheKey`]: one entry of it.

use std::fmt::{self, Display, Write as _};
use std::marker::PhantomData;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::Ttl;

/// Longest key, with its prefix, and longest tag, in bytes. Longer ones are known by their hash.
const MAX_LENGTH: usize = 512;

/// Prefixes that the cache uses itself.
const RESERVED: [&str; 3] = ["tag", "lease", "channel"];

/// A kind of value in the cache. Declare it once, as a `static`:
///
/// ```
/// use covet_cache::{Keyspace, Ttl};
/// # use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Note { id: u64, text: String }
///
/// static NOTE_LISTS: Keyspace<Vec<Note>> = Keyspace::new("note_lists", Ttl::Response);
///
/// let user = 42;
/// let key = NOTE_LISTS.key(user).tag(format_args!("notes:{user}"));
/// ```
///
/// The prefix names it in keys and as the label `key_prefix` of metrics. Values are written with the names of their fields:
/// a release that adds a field with `#[serde(default)]` reads what the one before has written. When `T` changes in any
/// other way, raise the [`version`](Self::version): each release then takes the other's values for absent.
pub struct Keyspace<T> {
    prefix: &'static str,
    ttl: Ttl,
    version: u32,
    nothing: Option<Duration>,
    near: bool,
    /// From 1; 0 until it is first used.
    number: AtomicUsize,
    values: PhantomData<fn() -> T>,
}

static KEYSPACES: AtomicUsize = AtomicUsize::new(0);

impl<T> Keyspace<T> {
    /// Values under this prefix, which live this long.
    ///
    /// # Panics
    /// Unless the prefix is of `a-z`, `0-9` and `_`, not empty, at most 64 bytes, and none that the cache uses itself
    /// (`tag`, `lease`, `channel`). In a `static` that is an error of the compiler.
    #[must_use]
    pub const fn new(prefix: &'static str, ttl: Ttl) -> Self {
        assert!(is_prefix(prefix), "a prefix is 1 to 64 characters of a-z, 0-9 and _, and not tag, lease or channel");
        Self { prefix, ttl, version: 1, nothing: None, near: false, number: AtomicUsize::new(0), values: PhantomData }
    }

    /// The version of `T`, from 1. Values of another version are not read.
    #[must_use]
    pub const fn version(mut self, version: u32) -> Self {
        self.version = version;
        self
    }

    /// How long [`Cache::find_or_load`](crate::Cache::find_or_load) remembers that there is nothing. Without it:
    /// `COVET_CACHE__NOTHING_TTL`, 30 s.
    #[must_use]
    pub const fn nothing_for(mut self, time: Duration) -> Self {
        self.nothing = Some(time);
        self
    }

    /// Keeps what was read from Redis in the process too, for at most `COVET_CACHE__NEAR_TTL` (5 s): for what is read all
    /// the time and may be that old. An invalidation usually reaches all instances within milliseconds, and always within
    /// that time. Not for sessions, rights and limits.
    #[must_use]
    pub const fn near(mut self) -> Self {
        self.near = true;
        self
    }

    /// One entry. Everything that the value depends on belongs in its key. The text is not a secret: name a session or a
    /// token by its hash.
    ///
    /// Make it with a `let`, before the call that uses it: `format_args!` in the same expression as an `.await` makes a
    /// future that cannot be sent to another thread, which a handler's must.
    #[must_use]
    pub fn key(&'static self, key: impl Display) -> CacheKey<T> {
        let mut name = String::with_capacity(self.prefix.len() + 24);
        // Writing to a String does not fail.
        let _ = write!(name, "{}:{key}", self.prefix);
        CacheKey { keyspace: self, name: shortened(name, self.prefix), tags: Vec::new(), ttl: None }
    }

    /// The prefix.
    #[must_use]
    pub const fn prefix(&self) -> &'static str {
        self.prefix
    }

    /// A small number of its own, from 0.
    pub(crate) fn number(&self) -> usize {
        match self.number.load(Ordering::Relaxed) {
            0 => self.take_number(),
            number => number - 1,
        }
    }

    #[cold]
    fn take_number(&self) -> usize {
        let new = KEYSPACES.fetch_add(1, Ordering::Relaxed) + 1;
        match self.number.compare_exchange(0, new, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => new - 1,
            Err(earlier) => earlier - 1,
        }
    }
}

impl<T> fmt::Debug for Keyspace<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyspace")
            .field("prefix", &self.prefix)
            .field("ttl", &self.ttl)
            .field("version", &self.version)
            .field("near", &self.near)
            .finish_non_exhaustive()
    }
}

/// One entry of a [`Keyspace`], with the tags by which it can be invalidated.
pub struct CacheKey<T: 'static> {
    keyspace: &'static Keyspace<T>,
    /// With the prefix.
    name: String,
    /// Each with `tag:` before it.
    tags: Vec<String>,
    ttl: Option<Ttl>,
}

impl<T> CacheKey<T> {
    /// Adds a tag: [`Cache::invalidate`](crate::Cache::invalidate) ends all entries that bear it. Give the same tags
    /// whenever you build the key, at reading and at storing; an entry read with others is a miss.
    #[must_use]
    pub fn tag(mut self, tag: impl Display) -> Self {
        self.tags.push(tag_name(tag));
        self
    }

    /// Another time to live than the keyspace's, for what is stored with this key.
    #[must_use]
    pub fn ttl(mut self, ttl: Ttl) -> Self {
        self.ttl = Some(ttl);
        self
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn tags(&self) -> &[String] {
        &self.tags
    }

    pub(crate) fn lifetime(&self) -> Ttl {
        self.ttl.unwrap_or(self.keyspace.ttl)
    }

    pub(crate) fn keyspace(&self) -> &'static Keyspace<T> {
        self.keyspace
    }

    pub(crate) fn version(&self) -> u32 {
        self.keyspace.version
    }

    pub(crate) fn nothing(&self) -> Option<Duration> {
        self.keyspace.nothing
    }

    pub(crate) fn is_near(&self) -> bool {
        self.keyspace.near
    }
}

impl<T> Clone for CacheKey<T> {
    fn clone(&self) -> Self {
        Self { keyspace: self.keyspace, name: self.name.clone(), tags: self.tags.clone(), ttl: self.ttl }
    }
}

/// Without the key itself, which may name a person.
impl<T> fmt::Debug for CacheKey<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheKey").field("prefix", &self.keyspace.prefix).finish_non_exhaustive()
    }
}

/// The name under which a tag's generation is kept.
pub(crate) fn tag_name(tag: impl Display) -> String {
    shortened(format!("tag:{tag}"), "tag")
}

/// A text that is too long, or holds what Redis Cluster reads as a hash tag, becomes its hash.
fn shortened(name: String, prefix: &str) -> String {
    if name.len() <= MAX_LENGTH && !name.bytes().any(|byte| matches!(byte, b'{' | b'}')) {
        return name;
    }
    format!("{prefix}:{}", hashed(&name))
}

/// The SHA-256 of a text, as it stands in keys in place of the text.
pub(crate) fn hashed(text: &str) -> String {
    format!("sha256-{}", covet_core::hex::digits(Sha256::digest(text)))
}

const fn is_prefix(prefix: &str) -> bool {
    let bytes = prefix.as_bytes();
    let mut index = 0;
    while index < bytes.len() {
        if !matches!(bytes[index], b'a'..=b'z' | b'0'..=b'9' | b'_') {
            return false;
        }
        index += 1;
    }
    let mut reserved = 0;
    while reserved < RESERVED.len() {
        if same(bytes, RESERVED[reserved].as_bytes()) {
            return false;
        }
        reserved += 1;
    }
    !bytes.is_empty() && bytes.len() <= 64
}

/// `==` of slices is not `const` yet.
const fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut index = 0;
    while index < a.len() {
        if a[index] != b[index] {
            return false;
        }
        index += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    static A: Keyspace<u64> = Keyspace::new("a", Ttl::Query);
    static B: Keyspace<u64> = Keyspace::new("b_2", Ttl::Query);

    #[test]
    fn a_key_is_prefix_and_text_and_a_long_one_a_hash() {
        assert_eq!(A.key(7).name(), "a:7");
        let (long, other) = (A.key("x".repeat(600)), A.key("x".repeat(601)));
        assert!(long.name().starts_with("a:sha256-") && long.name().len() == 73, "{}", long.name());
        assert_ne!(long.name(), other.name());
        assert_eq!(long.name(), A.key("x".repeat(600)).name());
    }

    #[test]
    fn no_key_chooses_its_slot_in_a_cluster() {
        assert!(!A.key("{same}:1").name().contains('{'));
        assert_ne!(A.key("{same}:1").name(), A.key("{same}:2").name());
        assert!(!A.key(1).tag("{same}").tags()[0].contains('{'));
    }

    #[test]
    fn prefixes_are_words_and_not_the_caches_own() {
        for good in ["notes", "note_lists", "v2"] {
            assert!(is_prefix(good), "{good}");
        }
        for bad in ["", "Notes", "no:tes", "tag", "lease", "channel", &"x".repeat(65)] {
            assert!(!is_prefix(bad), "{bad}");
        }
    }

    #[test]
    fn each_keyspace_has_a_number_of_its_own() {
        assert_ne!(A.number(), B.number());
        assert_eq!(A.number(), A.number());
    }
}
