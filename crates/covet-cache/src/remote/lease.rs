//! Who loads an entry, of all processes.
//!
//! A caller that finds no entry asks for its lease, in the same breath looking for the entry once more. Who has it loads,
//! renews it while it loads, and stores the value only if it still has it: in one step, by a script. The others look again
//! now and then, until the entry is there or the lease is free. So
//!
//! - a value is loaded once, however many want it in however many processes;
//! - a process that is killed while it loads holds the others up for no longer than the lease lasts (`COVET_CACHE__LEASE`);
//! - a deletion takes the lease away, so what was being loaded before it is not stored after it (as in
//!   [Scaling Memcache at Facebook](https://www.usenix.org/conference/nsdi13/technical-sessions/presentation/nishtala),
//!   3.2.1);
//! - a lease for older generations of the entry's tags counts for nothing: what it brings would be outdated.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use covet_core::backoff::Backoff;
use tokio::runtime::Handle;

use super::{Remote, decode, millis};
use crate::format::Generations;
use crate::look::{Seen, Wanted, fingerprint};
use crate::redis::Script;
use crate::{CacheKey, CacheOperation, Cacheable, Redis, Result};

/// First and longest pause between two looks.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// A load that takes longer is not protected any more: it may hang.
const LONGEST_LOAD: Duration = Duration::from_secs(60);

/// KEYS: entry, lease. ARGV: fingerprint of the generations, token, milliseconds.
static TAKE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local held = redis.call('GET', KEYS[2])
         if held and string.sub(held, 1, 16) == ARGV[1] then
           return {0, redis.call('GET', KEYS[1])}
         end
         redis.call('SET', KEYS[2], ARGV[1] .. ARGV[2], 'PX', ARGV[3])
         return {1, redis.call('GET', KEYS[1])}",
    )
});

/// KEYS: entry, lease. ARGV: what the lease says, the entry, its milliseconds.
static STORE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
         redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
         redis.call('DEL', KEYS[2])
         return 1",
    )
});

/// KEYS: lease. ARGV: what it says, milliseconds from now; 0 gives it up.
static RENEW: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
         if ARGV[2] == '0' then return redis.call('DEL', KEYS[1]) end
         return redis.call('PEXPIRE', KEYS[1], ARGV[2])",
    )
});

/// What a caller that has found no entry gets.
pub(crate) enum Begun<T> {
    /// The entry: somebody has stored it meanwhile.
    Found(Option<Arc<T>>),
    /// The lease.
    Lease(Lease),
}

/// The right to store an entry. Dropped, it is given up.
pub(crate) struct Lease {
    redis: Redis,
    entry: Vec<u8>,
    lease: Vec<u8>,
    /// What the lease says while it is this one.
    says: String,
    lasts: Duration,
    generations: Generations,
    over: bool,
}

impl Remote {
    /// Waits for the entry or for its lease. `generations`: those of the tags when the entry was not there.
    pub(crate) async fn take_lease<T: Cacheable>(
        &self,
        key: &CacheKey<T>,
        wanted: Wanted,
        mut generations: Generations,
        tag_ttl: Duration,
    ) -> Result<Begun<T>> {
        let (entry, lease) = (self.full(key.name()), self.lease_of(key.name()));
        let token = format!("{:016x}", fastrand::u64(..));
        let lasts = millis(self.lease).to_string();
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        loop {
            let fingerprint = format!("{:016x}", fingerprint(&generations));
            let arguments: [&[u8]; 3] = [fingerprint.as_bytes(), token.as_bytes(), lasts.as_bytes()];
            let keys: [&[u8]; 2] = [&entry, &lease];
            let (taken, bytes): (bool, Option<Vec<u8>>) =
                self.redis.script(CacheOperation::Get, &TAKE, &keys, &arguments).await?;
            // Dropped, it is given up.
            let lease = taken.then(|| Lease {
                redis: self.redis.clone(),
                entry: entry.clone(),
                lease: lease.clone(),
                says: format!("{fingerprint}{token}"),
                lasts: self.lease,
                generations: generations.clone(),
                over: false,
            });
            // What cannot be read was counted when it was first looked at.
            let now: Seen = generations.iter().copied().map(Some).collect();
            if let Ok(found) = decode(key, bytes.as_deref(), now, || ()).found(wanted) {
                return Ok(Begun::Found(found));
            }
            if let Some(lease) = lease {
                return Ok(Begun::Lease(lease));
            }
            tokio::time::sleep(backoff.pause()).await;
            if !key.tags().is_empty() {
                match self.look(key, || ()).await?.0.found(wanted) {
                    Ok(found) => return Ok(Begun::Found(found)),
                    Err(newer) => generations = self.begin(key.tags(), Some(&newer), tag_ttl).await?,
                }
            }
        }
    }
}

impl Lease {
    /// The generations of the tags to store the entry with.
    pub(crate) fn generations(&self) -> &[u64] {
        &self.generations
    }

    /// Does `work`, and keeps the lease meanwhile.
    pub(crate) async fn keep_during<R>(&self, work: impl Future<Output = R>) -> R {
        let work = pin!(work);
        tokio::select! {
            biased;
            result = work => result,
            never = self.renew() => match never {},
        }
    }

    async fn renew(&self) -> Infallible {
        let pause = self.lasts / 3;
        let mut renewals = LONGEST_LOAD.as_millis() / pause.as_millis().max(1);
        let lasts = millis(self.lasts).to_string();
        loop {
            tokio::time::sleep(pause).await;
            if renewals > 0 {
                renewals -= 1;
                // Without it somebody else loads too, and this value is not stored.
                let _ = say(&self.redis, &self.lease, &self.says, &lasts).await;
            }
        }
    }

    /// Stores the entry. False if the lease was lost: the key has been deleted, its tags invalidated, or the time was over.
    pub(crate) async fn store(mut self, bytes: &[u8], ttl: Duration) -> Result<bool> {
        let ttl = millis(ttl).to_string();
        let keys: [&[u8]; 2] = [&self.entry, &self.lease];
        let arguments: [&[u8]; 3] = [self.says.as_bytes(), bytes, ttl.as_bytes()];
        let stored: bool = self.redis.script(CacheOperation::Set, &STORE, &keys, &arguments).await?;
        self.over = true;
        Ok(stored)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let (redis, lease, says) =
            (self.redis.clone(), std::mem::take(&mut self.lease), std::mem::take(&mut self.says));
        // Without it the others wait until the lease's time is over.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move { say(&redis, &lease, &says, "0").await });
        }
    }
}

async fn say(redis: &Redis, lease: &[u8], says: &str, lasts: &str) -> Result<bool> {
    redis.script(CacheOperation::Expire, &RENEW, &[lease], &[says.as_bytes(), lasts.as_bytes()]).await
}
