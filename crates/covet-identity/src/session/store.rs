//! Where sessions lie: in this process, or in Redis, where every instance finds them.
//!
//! Both keep the same rules, which the tests below run on both: what has ended is not found, a change says which
//! version it changes, a change never brings back a session that has ended, and a user's sessions and the number of all
//! are known at any time. Each operation is one step that nobody sees half done.

mod memory;
mod redis;

use covet_cache::Error;
use uuid::Uuid;

pub(super) use self::memory::MemoryStore;
pub(super) use self::redis::RedisStore;
use super::record::{About, Contents, Stored, Times, Written};
use super::token::{Owner, Place, SecretHash};

/// One of the two.
#[derive(Debug)]
pub(super) enum Store {
    Memory(MemoryStore),
    Redis(RedisStore),
}

/// A session in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) id: Uuid,
    pub(super) about: About,
    pub(super) times: Times,
}

impl Store {
    /// The session, unless it has ended.
    pub(super) async fn load(&self, place: Place, now: i64) -> Result<Option<Stored>, Error> {
        match self {
            Self::Memory(memory) => Ok(memory.load(place, now)),
            Self::Redis(redis) => redis.load(place, now).await,
        }
    }

    /// Stores a new session. When its owner has `most` already, the one least recently used ends.
    pub(super) async fn open(&self, place: Place, session: Stored, now: i64, most: usize) -> Result<(), Error> {
        match self {
            Self::Memory(memory) => {
                memory.open(place, session, now, most);
                Ok(())
            }
            Self::Redis(redis) => redis.open(place, &session, now, most).await,
        }
    }

    /// Moves the times of a session; false when it has ended. `is_users`: it counts.
    pub(super) async fn touch(&self, place: Place, times: Times, now: i64, is_users: bool) -> Result<bool, Error> {
        match self {
            Self::Memory(memory) => Ok(memory.touch(place, times)),
            Self::Redis(redis) => redis.touch(place, times, now, is_users).await,
        }
    }

    /// Stores other contents in place of those of version `before`.
    pub(super) async fn write(&self, place: Place, before: u64, contents: &Contents) -> Result<Written, Error> {
        match self {
            Self::Memory(memory) => Ok(memory.write(place, before, contents)),
            Self::Redis(redis) => redis.write(place, before, contents).await,
        }
    }

    /// Puts another secret in place of `before`; false when that is not the present one.
    pub(super) async fn renew(&self, place: Place, before: SecretHash, after: SecretHash) -> Result<bool, Error> {
        match self {
            Self::Memory(memory) => Ok(memory.renew(place, before, after)),
            Self::Redis(redis) => redis.renew(place, before, after).await,
        }
    }

    /// Ends a session; false when there was none.
    pub(super) async fn end(&self, place: Place) -> Result<bool, Error> {
        match self {
            Self::Memory(memory) => Ok(memory.end(place)),
            Self::Redis(redis) => redis.end(place).await,
        }
    }

    /// Ends the owner's sessions but this one; says how many.
    pub(super) async fn end_all(&self, owner: Owner, but: Option<Uuid>, now: i64) -> Result<u64, Error> {
        match self {
            Self::Memory(memory) => Ok(memory.end_all(owner, but, now)),
            Self::Redis(redis) => redis.end_all(owner, but, now).await,
        }
    }

    /// The owner's sessions, in no order.
    pub(super) async fn list(&self, owner: Owner, now: i64) -> Result<Vec<Listed>, Error> {
        match self {
            Self::Memory(memory) => Ok(memory.list(owner, now)),
            Self::Redis(redis) => redis.list(owner, now).await,
        }
    }

    /// How many users' sessions there are.
    pub(super) async fn count(&self, now: i64) -> Result<u64, Error> {
        match self {
            Self::Memory(memory) => Ok(memory.count(now)),
            Self::Redis(redis) => redis.count(now).await,
        }
    }
}

#[cfg(test)]
mod tests;
