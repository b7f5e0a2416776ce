//! Entries in Redis.
//!
//! | key | is |
//! |---|---|
//! | `{service}:{prefix}:{key}` | an entry, as `format.rs` says |
//! | `{service}:tag:{name}` | the generation of a tag: a random number, in digits |
//! | `lease:{{service}:{prefix}:{key}}` | who loads the entry: see `remote/lease.rs` |
//!
//! The braces around a lease's name make Redis Cluster keep it with its entry. An entry and its tags are read in one round
//! trip; where a cluster keeps them on several servers, in one to each at the same time.

mod lease;

use std::sync::Arc;
use std::time::Duration;

use ::redis::Cmd;
use tokio::task::AbortHandle;

use crate::format::{self, Decoded, Generations};
use crate::look::{Look, Seen};
use crate::owed::Owed;
use crate::settings::CacheSettings;
use crate::{CacheKey, CacheOperation, Cacheable, Redis, Result};

pub(crate) use lease::Begun;

/// First and longest pause before it is tried again to deliver what is owed.
const RETRY: Duration = Duration::from_millis(100);
const LONGEST_RETRY: Duration = Duration::from_secs(5);

/// The entries of one service.
pub(crate) struct Remote {
    redis: Redis,
    lease: Duration,
    owed: Arc<Owed>,
    deliverer: AbortHandle,
}

impl Remote {
    pub(crate) fn new(redis: Redis, settings: &CacheSettings) -> Self {
        let owed = Arc::<Owed>::default();
        let deliverer = tokio::spawn(deliver(redis.clone(), Arc::clone(&owed))).abort_handle();
        Self { redis, lease: settings.lease, owed, deliverer }
    }

    pub(crate) fn redis(&self) -> &Redis {
        &self.redis
    }

    /// Reads an entry. With its size, where there is one.
    pub(crate) async fn look<T: Cacheable>(
        &self,
        key: &CacheKey<T>,
        unreadable: impl FnOnce(),
    ) -> Result<(Look<T>, usize)> {
        if self.owed.about(key.name(), key.tags()) {
            return Err(Owed::error());
        }
        let (entry, seen) = self.read(key).await?;
        let size = entry.as_ref().map_or(0, Vec::len);
        Ok((decode(key, entry.as_deref(), seen, unreadable), size))
    }

    async fn read<T: Cacheable>(&self, key: &CacheKey<T>) -> Result<(Option<Vec<u8>>, Seen)> {
        let get = |name: &str| command("GET").arg(self.full(name)).to_owned();
        if key.tags().is_empty() {
            let entry = self.redis.read(CacheOperation::Get, &get(key.name())).await?;
            return Ok((entry, Box::default()));
        }
        let mut commands = Vec::with_capacity(1 + key.tags().len());
        commands.push(get(key.name()));
        commands.extend(key.tags().iter().map(|tag| get(tag)));
        let mut answers: Vec<Option<Vec<u8>>> = self.redis.all(CacheOperation::Get, &commands).await?;
        let seen = answers.drain(1..).map(|digits| number(&digits?)).collect();
        Ok((answers.pop().flatten(), seen))
    }

    /// The tags' generations, of which each has one now. `seen`: what is known already.
    pub(crate) async fn begin(&self, tags: &[String], seen: Option<&Seen>, ttl: Duration) -> Result<Generations> {
        if tags.is_empty() {
            return Ok(Box::default());
        }
        let seen = seen.filter(|seen| seen.len() == tags.len());
        if let Some(known) = seen.and_then(|seen| seen.iter().copied().collect::<Option<Generations>>()) {
            return Ok(known);
        }
        // Whoever is first says which; all take what is there then.
        let commands: Vec<Cmd> = tags
            .iter()
            .flat_map(|tag| {
                let name = self.full(tag);
                let mut set = command("SET");
                set.arg(&name).arg(fastrand::u64(..)).arg("NX").arg("PX").arg(millis(ttl));
                let mut get = command("GET");
                get.arg(&name);
                [set, get]
            })
            .collect();
        let answers: Vec<Option<String>> = self.redis.all(CacheOperation::Get, &commands).await?;
        // One that has gone again, for want of memory, ends what bears it.
        Ok(answers
            .chunks(2)
            .map(|answers| answers[1].as_ref().and_then(|digits| digits.parse().ok()).unwrap_or(0))
            .collect())
    }

    /// Stores an entry, whoever loads it. Where that fails, what was there before is deleted as soon as it can be.
    pub(crate) async fn set(&self, name: &str, bytes: &[u8], ttl: Duration) -> Result<()> {
        let [mut take_away, mut set] = [command("DEL"), command("SET")];
        take_away.arg(self.lease_of(name));
        set.arg(self.full(name)).arg(bytes).arg("PX").arg(millis(ttl));
        // In this order: what is being loaded is not stored over it.
        let debt = self.owed.owe_key(name);
        let stored: Result<Vec<::redis::Value>> = self.redis.all(CacheOperation::Set, &[take_away, set]).await;
        debt.ended(stored)?;
        self.owed.settled(name);
        Ok(())
    }

    pub(crate) async fn expire(&self, name: &str, ttl: Duration) -> Result<bool> {
        let mut expire = command("PEXPIRE");
        expire.arg(self.full(name)).arg(millis(ttl));
        self.redis.call(CacheOperation::Expire, &expire).await
    }

    /// True if there was an entry.
    pub(crate) async fn delete(&self, name: &str) -> Result<bool> {
        let debt = self.owed.owe_key(name);
        let deleted: Result<Vec<u64>> = self.redis.all(CacheOperation::Delete, &deletion(&self.redis, name)).await;
        Ok(debt.ended(deleted)?.get(1).is_some_and(|count| *count > 0))
    }

    /// Gives each tag another generation.
    pub(crate) async fn invalidate(&self, tags: &[String], ttl: Duration) -> Result<()> {
        if tags.is_empty() {
            return Ok(());
        }
        let debt = self.owed.owe_tags(tags, ttl);
        let commands: Vec<Cmd> = tags.iter().map(|tag| new_generation(&self.full(tag), ttl)).collect();
        let invalidated: Result<Vec<::redis::Value>> = self.redis.all(CacheOperation::Clear, &commands).await;
        debt.ended(invalidated).map(drop)
    }

    /// Delivers what is owed, if Redis is there, and closes the connections.
    pub(crate) async fn close(&self) {
        self.deliverer.abort();
        if !deliver_once(&self.redis, &self.owed).await {
            tracing::warn!(
                invalidations = self.owed.count(),
                "the cache could not be told of invalidations: other instances may give out old entries until their time \
                 is over"
            );
        }
        self.redis.close().await;
    }

    fn full(&self, name: &str) -> Vec<u8> {
        full(&self.redis, name)
    }

    fn lease_of(&self, name: &str) -> Vec<u8> {
        lease_of(&self.redis, name)
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.deliverer.abort();
    }
}

fn full(redis: &Redis, name: &str) -> Vec<u8> {
    let (prefix, key) = name.split_once(':').unwrap_or((name, ""));
    redis.key(prefix, key)
}

fn lease_of(redis: &Redis, name: &str) -> Vec<u8> {
    let mut lease = b"lease:{".to_vec();
    lease.extend_from_slice(&full(redis, name));
    lease.push(b'}');
    lease
}

/// The lease goes first: what is being loaded is not stored after the entry has gone.
fn deletion(redis: &Redis, name: &str) -> [Cmd; 2] {
    [lease_of(redis, name), full(redis, name)].map(|key| {
        let mut delete = command("DEL");
        delete.arg(key);
        delete
    })
}

fn new_generation(tag: &[u8], ttl: Duration) -> Cmd {
    let mut set = command("SET");
    set.arg(tag).arg(fastrand::u64(..)).arg("PX").arg(millis(ttl));
    set
}

fn decode<T: Cacheable>(key: &CacheKey<T>, entry: Option<&[u8]>, seen: Seen, unreadable: impl FnOnce()) -> Look<T> {
    let Some(bytes) = entry else { return Look::Absent(seen) };
    match format::decode(bytes, key.version(), &seen) {
        Decoded::Value(value) => Look::Value(Arc::new(value)),
        Decoded::Nothing => Look::Nothing(seen),
        Decoded::Outdated => Look::Absent(seen),
        Decoded::Unreadable => {
            unreadable();
            Look::Absent(seen)
        }
    }
}

fn command(name: &str) -> Cmd {
    ::redis::cmd(name)
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// At least one: Redis refuses 0.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// Delivers what is owed as soon as Redis is there, for as long as the cache lives.
async fn deliver(redis: Redis, owed: Arc<Owed>) {
    loop {
        owed.any().await;
        let mut pause = RETRY;
        while !deliver_once(&redis, &owed).await {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_RETRY);
        }
    }
}

/// True if nothing is owed any more.
async fn deliver_once(redis: &Redis, owed: &Owed) -> bool {
    let debts = owed.all();
    if debts.is_empty() {
        return true;
    }
    let mut commands = Vec::with_capacity(debts.len() * 2);
    for debt in &debts {
        match debt.tag_ttl {
            Some(ttl) => commands.push(new_generation(&full(redis, &debt.name), ttl)),
            None => commands.extend(deletion(redis, &debt.name)),
        }
    }
    for commands in commands.chunks(200) {
        let delivered: Result<Vec<::redis::Value>> = redis.all(CacheOperation::Clear, commands).await;
        if delivered.is_err() {
            return false;
        }
    }
    tracing::info!(invalidations = debts.len(), "the cache is back, and was told of the invalidations meanwhile");
    owed.paid(&debts)
}
