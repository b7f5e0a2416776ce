//! [`Script`].

use std::sync::Arc;

/// A Lua script: sent once to each server, then called by its hash.
///
/// ```
/// use covet_cache::redis::Script;
///
/// let count = Script::new("return redis.call('INCRBY', KEYS[1], ARGV[1])");
/// assert_eq!(count.hash().len(), 40);
/// ```
#[derive(Debug, Clone)]
pub struct Script {
    code: Arc<str>,
    hash: Arc<str>,
}

impl Script {
    /// A script with this code. Hashes it: make it once.
    #[must_use]
    pub fn new(code: &str) -> Self {
        Self { code: code.into(), hash: ::redis::Script::new(code).get_hash().into() }
    }

    /// The SHA-1 of the code, in hexadecimal.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }

    pub(super) fn code(&self) -> &str {
        &self.code
    }
}
