//! [`Near`]: what was read from Redis, kept in the process for a moment.
//!
//! An entry is given out without asking Redis for at most `COVET_CACHE__NEAR_TTL`: that is how old it can be, whatever gets
//! lost. Usually it ends sooner: whoever deletes, stores or invalidates tells all instances by pub/sub. Where such news may
//! have been missed (the subscription was lost), everything is thrown away.
//!
//! An entry remembers the moment before it was read from Redis. News of a later moment ends it, also when it is kept only
//! after the news came.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use serde::{Deserialize, Serialize};
use tokio::task::AbortHandle;

use crate::look::{Look, Seen};
use crate::memory::OVERHEAD;
use crate::settings::CacheSettings;
use crate::{CacheKey, Event, PubSub, Subscription};

/// Where instances tell one another what has ended.
const CHANNEL: &str = "covet.cache.ended";

/// Names in the news that are remembered.
const NAMES: u64 = 100_000;

/// The pause before it is subscribed again.
const AGAIN: Duration = Duration::from_secs(1);

/// The near tier of one process.
pub(crate) struct Near {
    tier: Arc<Tier>,
    listener: AbortHandle,
}

struct Tier {
    /// Who sends news from here.
    own: u64,
    entries: Cache<Box<str>, Kept>,
    /// When a name was last in the news. Kept for longer than any entry.
    ended: Cache<Box<str>, u64>,
    /// When everything last ended.
    all_ended: AtomicU64,
    now: AtomicU64,
}

#[derive(Clone)]
struct Kept {
    value: Option<Arc<dyn Any + Send + Sync>>,
    version: u32,
    moment: Moment,
    weight: u32,
}

/// A point in the order of reads and news.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

/// What instances tell one another.
#[derive(Debug, Serialize, Deserialize)]
struct News {
    from: u64,
    names: Vec<String>,
}

impl Near {
    /// An empty tier that listens to the news.
    pub(crate) fn start(settings: &CacheSettings, pubsub: &PubSub) -> Self {
        let ttl = settings.near_ttl;
        let entries = Cache::builder()
            .max_capacity(settings.near_size.bytes())
            .weigher(|_: &_, kept: &Kept| kept.weight)
            .time_to_live(ttl)
            .build();
        // What a name that had to go would have ended, its time ends.
        let ended =
            Cache::builder().max_capacity(NAMES).eviction_policy(EvictionPolicy::lru()).time_to_live(ttl * 2).build();
        let tier = Arc::new(Tier {
            own: fastrand::u64(..),
            entries,
            ended,
            all_ended: AtomicU64::new(0),
            now: AtomicU64::new(1),
        });
        let listener = tokio::spawn(listen(Arc::clone(&tier), pubsub.clone())).abort_handle();
        Self { tier, listener }
    }

    /// The moment before a read.
    pub(crate) fn moment(&self) -> Moment {
        self.tier.tick()
    }

    /// What is kept, if it may be given out.
    pub(crate) fn look<T: Send + Sync + 'static>(&self, key: &CacheKey<T>) -> Option<Look<T>> {
        let kept = self.tier.entries.get(key.name())?;
        if kept.version != key.version() || self.tier.has_ended(key, kept.moment) {
            return None;
        }
        match kept.value {
            None => Some(Look::Nothing(Seen::default())),
            Some(value) => Some(Look::Value(Arc::downcast(value).ok()?)),
        }
    }

    /// Keeps what was read, of this encoded size, after this moment.
    pub(crate) fn keep<T: Send + Sync + 'static>(&self, key: &CacheKey<T>, found: &Look<T>, size: usize, at: Moment) {
        let value = match found {
            Look::Value(value) => Some(Arc::clone(value) as Arc<dyn Any + Send + Sync>),
            Look::Nothing(_) => None,
            Look::Absent(_) => return,
        };
        let weight = u32::try_from(key.name().len() + size + OVERHEAD).unwrap_or(u32::MAX);
        let kept = Kept { value, version: key.version(), moment: at, weight };
        self.tier.entries.insert(key.name().into(), kept);
    }

    /// These entries, and those with these tags, have ended.
    pub(crate) fn forget(&self, names: &[String], tags: &[String]) {
        self.tier.end(names.iter().chain(tags));
    }

    /// Tells the other instances so. They find out by themselves, only later, where that fails.
    pub(crate) async fn tell(&self, pubsub: &PubSub, names: &[String], tags: &[String]) {
        let names = names.iter().chain(tags).cloned().collect();
        if let Ok(news) = rmp_serde::to_vec(&News { from: self.tier.own, names }) {
            // What goes wrong is counted where it does.
            let _ = pubsub.publish(CHANNEL, news.into()).await;
        }
    }
}

impl Drop for Near {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl Tier {
    fn tick(&self) -> Moment {
        Moment(self.now.fetch_add(1, Ordering::AcqRel))
    }

    fn has_ended<T>(&self, key: &CacheKey<T>, kept: Moment) -> bool {
        let later = |name: &str| self.ended.get(name).is_some_and(|ended| ended > kept.0);
        self.all_ended.load(Ordering::Acquire) > kept.0 || later(key.name()) || key.tags().iter().any(|tag| later(tag))
    }

    fn end<'a>(&self, names: impl Iterator<Item = &'a String>) {
        let Moment(now) = self.tick();
        for name in names {
            self.ended.insert(name.as_str().into(), now);
            self.entries.invalidate(name.as_str());
        }
    }

    fn end_all(&self) {
        let Moment(now) = self.tick();
        self.all_ended.fetch_max(now, Ordering::AcqRel);
        self.entries.invalidate_all();
    }

    fn hear(&self, news: &Bytes) {
        match rmp_serde::from_slice::<News>(news) {
            Ok(news) if news.from == self.own => {}
            Ok(news) => self.end(news.names.iter()),
            // Of another release: whatever it says, it is said.
            Err(_) => self.end_all(),
        }
    }
}

/// Listens for as long as the tier lives.
async fn listen(tier: Arc<Tier>, pubsub: PubSub) {
    while let Ok(mut news) = pubsub.subscribe(CHANNEL).await {
        // What was kept before nobody would have ended.
        tier.end_all();
        hear_all(&tier, &mut news).await;
        tokio::time::sleep(AGAIN).await;
    }
}

async fn hear_all(tier: &Tier, news: &mut Subscription) {
    loop {
        match news.next().await {
            Some(Event::Message(news)) => tier.hear(&news),
            Some(Event::Missed) => tier.end_all(),
            None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::look::Wanted;
    use crate::{Keyspace, Ttl};

    static NUMBERS: Keyspace<u64> = Keyspace::new("near_numbers", Ttl::Query);

    fn look(near: &Near, key: &CacheKey<u64>) -> Option<u64> {
        near.look(key)?.found(Wanted::Value).ok()?.map(|value| *value)
    }

    /// Two instances, and how they hear one another.
    async fn two() -> (Near, Near, PubSub) {
        let (settings, pubsub) = (CacheSettings::memory(), PubSub::memory());
        let (one, two) = (Near::start(&settings, &pubsub), Near::start(&settings, &pubsub));
        for near in [&one, &two] {
            while near.tier.all_ended.load(Ordering::Acquire) == 0 {
                tokio::task::yield_now().await;
            }
        }
        (one, two, pubsub)
    }

    #[tokio::test]
    async fn what_ends_ends_on_all_instances_by_key_and_by_tag() {
        let (one, two, pubsub) = two().await;
        let (a, b) = (NUMBERS.key("a"), NUMBERS.key("b").tag("t"));
        for near in [&one, &two] {
            for key in [&a, &b] {
                near.keep(key, &Look::Value(Arc::new(7)), 9, near.moment());
                assert_eq!(look(near, key), Some(7));
            }
        }
        for (names, tags, gone, stays) in
            [(vec![a.name().to_owned()], vec![], &a, Some(&b)), (vec![], b.tags().to_vec(), &b, None)]
        {
            one.forget(&names, &tags);
            one.tell(&pubsub, &names, &tags).await;
            assert_eq!(look(&one, gone), None);
            while look(&two, gone).is_some() {
                tokio::task::yield_now().await;
            }
            if let Some(stays) = stays {
                assert_eq!((look(&one, stays), look(&two, stays)), (Some(7), Some(7)));
            }
        }
    }

    #[tokio::test]
    async fn what_was_read_before_the_news_is_not_given_out_after_it() {
        let (near, ..) = two().await;
        let key = NUMBERS.key("c").tag("t");
        let before = near.moment();
        near.forget(&[], key.tags());
        near.keep(&key, &Look::Value(Arc::new(7)), 9, before);
        assert_eq!(look(&near, &key), None);
        near.keep(&key, &Look::Value(Arc::new(8)), 9, near.moment());
        assert_eq!(look(&near, &key), Some(8));
    }

    #[tokio::test]
    async fn nothing_is_given_out_after_news_may_have_been_missed() {
        let (near, ..) = two().await;
        let key = NUMBERS.key("d");
        let before = near.moment();
        near.tier.end_all();
        near.keep(&key, &Look::Value(Arc::new(7)), 9, before);
        assert_eq!(look(&near, &key), None);
    }
}
