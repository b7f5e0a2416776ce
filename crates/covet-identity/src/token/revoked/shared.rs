//! The revoked logins of all instances: a sorted set in Redis, by when they are over, and messages that tell of new ones.
//!
//! ```text
//! {service}:auth:revoked_logins    sorted set    <login> by when it is over
//! ```

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use covet_cache::redis::Script;
use covet_cache::redis::redis::cmd;
use covet_cache::{Cache, CacheOperation, Error, Event, Redis, Subscription};
use covet_core::clock::Clock;
use tokio::sync::Notify;
use uuid::Uuid;

use super::known::Known;

/// Where new ones are told.
const CHANNEL: &str = "covet.logins.revoked";
/// The pause before it is tried again to write, or to hear.
const AGAIN: Duration = Duration::from_millis(200);
/// Logins read from Redis at a time.
const PAGE: usize = 5000;

/// Adds, removes what is over and what is too much, and lets the set go when all of it is over.
static ADD: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("shared/add.lua")));

/// A login and when it is over, in seconds since 1970.
type Entry = (Uuid, i64);

pub(super) struct Shared {
    redis: Redis,
    cache: Cache,
    known: Arc<Known>,
    limit: u32,
    clock: Clock,
    hears: AtomicBool,
    /// What could not be written yet.
    owed: Mutex<Vec<Entry>>,
    owes: Notify,
}

pub(super) struct Parts<'a> {
    pub(super) redis: &'a Redis,
    pub(super) cache: &'a Cache,
    pub(super) known: &'a Arc<Known>,
    pub(super) limit: u32,
    pub(super) clock: &'a Clock,
}

impl Shared {
    /// Reads what there is, and hears of more as long as the cache is open.
    pub(super) async fn start(parts: Parts<'_>) -> Arc<Self> {
        let shared = Arc::new(Self {
            redis: parts.redis.clone(),
            cache: parts.cache.clone(),
            known: Arc::clone(parts.known),
            limit: parts.limit,
            clock: parts.clock.clone(),
            hears: AtomicBool::new(false),
            owed: Mutex::default(),
            owes: Notify::new(),
        });
        if let Ok(subscription) = shared.cache.pubsub().subscribe(CHANNEL).await {
            // First once here, so that nobody is served before it is known.
            shared.catch_up(&subscription).await;
            tokio::spawn(Arc::clone(&shared).hear(subscription));
            tokio::spawn(Arc::clone(&shared).pay());
        }
        shared
    }

    pub(super) fn hears(&self) -> bool {
        self.hears.load(Ordering::Relaxed)
    }

    /// Writes these and tells the others. What Redis does not take is kept and written when it does.
    pub(super) async fn tell(&self, logins: &[Uuid], until: i64) {
        let entries: Vec<Entry> = logins.iter().map(|login| (*login, until)).collect();
        if let Err(error) = self.write(&entries).await {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(
                error,
                logins = entries.len(),
                "other instances take the access tokens of ended logins until Redis is back or the tokens expire"
            );
            self.owe(entries);
            self.owes.notify_one();
        }
    }

    async fn write(&self, entries: &[Entry]) -> Result<(), Error> {
        let key = self.key();
        let mut arguments = vec![self.now().to_string(), self.limit.to_string()];
        for (login, until) in entries {
            arguments.push(until.to_string());
            arguments.push(login.to_string());
        }
        let arguments: Vec<&[u8]> = arguments.iter().map(String::as_bytes).collect();
        let _: i64 = self.redis.script(CacheOperation::Set, &ADD, &[&key], &arguments).await?;
        let message = serde_json::to_vec(entries).unwrap_or_default();
        self.cache.pubsub().publish(CHANNEL, message.into()).await
    }

    fn owe(&self, entries: Vec<Entry>) {
        let mut owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.now();
        owed.retain(|(_, until)| *until > now);
        owed.extend(entries);
        // Beyond the bound nobody would keep them.
        let surplus = owed.len().saturating_sub(self.limit as usize);
        owed.drain(..surplus);
    }

    async fn pay(self: Arc<Self>) {
        loop {
            self.owes.notified().await;
            loop {
                let owed = std::mem::take(&mut *self.owed.lock().unwrap_or_else(PoisonError::into_inner));
                match self.pay_in_pages(&owed).await {
                    Ok(()) => break,
                    Err(Error::Closed) => return,
                    Err(_) => self.owe(owed),
                }
                tokio::time::sleep(AGAIN).await;
            }
        }
    }

    async fn pay_in_pages(&self, owed: &[Entry]) -> Result<(), Error> {
        for page in owed.chunks(PAGE / 10) {
            self.write(page).await?;
        }
        Ok(())
    }

    async fn hear(self: Arc<Self>, mut subscription: Subscription) {
        loop {
            if self.hears() && !self.hear_all(&mut subscription).await {
                return;
            }
            self.hears.store(false, Ordering::Relaxed);
            tokio::time::sleep(AGAIN).await;
            self.catch_up(&subscription).await;
        }
    }

    /// Until something may have been missed; false: the process is ending.
    async fn hear_all(&self, subscription: &mut Subscription) -> bool {
        loop {
            match subscription.next().await {
                Some(Event::Message(message)) => match serde_json::from_slice::<Vec<Entry>>(&message) {
                    Ok(entries) => self.learn(&entries),
                    // Of another release: what it is about is in the set.
                    Err(_) => return true,
                },
                Some(Event::Missed) => return true,
                None => return false,
            }
        }
    }

    /// Reads all that there is, if nothing is missed meanwhile.
    async fn catch_up(&self, subscription: &Subscription) {
        if subscription.is_live() && self.read_all().await.is_ok() {
            self.hears.store(true, Ordering::Relaxed);
        }
    }

    /// From the one that is over last: what goes meanwhile goes at the other end, so no page skips one.
    async fn read_all(&self) -> Result<(), Error> {
        let (key, now) = (self.key(), self.now());
        for page in 0.. {
            let mut command = cmd("ZREVRANGEBYSCORE");
            command.arg(&key).arg("+inf").arg(format!("({now}")).arg("WITHSCORES");
            command.arg("LIMIT").arg(page * PAGE).arg(PAGE);
            let found: Vec<(String, i64)> = self.redis.call(CacheOperation::Get, &command).await?;
            let entries: Vec<Entry> =
                found.iter().filter_map(|(login, until)| Some((Uuid::parse_str(login).ok()?, *until))).collect();
            self.learn(&entries);
            if found.len() < PAGE {
                break;
            }
        }
        Ok(())
    }

    fn learn(&self, entries: &[Entry]) {
        let now = self.now();
        for (login, until) in entries {
            self.known.insert(*login, *until, now);
        }
    }

    fn key(&self) -> Vec<u8> {
        self.redis.key("auth", "revoked_logins")
    }

    fn now(&self) -> i64 {
        self.clock.now().as_second()
    }
}
