//! What one instance writes to a table, the others hear, and do not give out what they have kept of it
//! ([`CachedQuery`](covet_data::CachedQuery)). The database and the cache know nothing of one another; this joins them.
//!
//! Only with a Redis: without one a service is one instance. A write tells nothing by itself: its table is noted, and a task
//! tells what has been noted since it last did, so a flood of writes is a few messages. An instance that may have missed
//! some forgets what it has kept; while it hears nothing it keeps nothing.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use covet_cache::{Cache, Event, Subscription};
use covet_data::{Db, TableWrite};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

/// Where it is told.
const CHANNEL: &str = "covet.tables.written";

/// The pause before it is tried again to tell, or to hear.
const AGAIN: Duration = Duration::from_millis(200);

/// Tables that are told by name at most; more are told as "any".
const MOST: usize = 200;

/// Tells and hears, for as long as the cache is open.
#[derive(Debug)]
pub(crate) struct TableNews {
    noted: Arc<Noted>,
    cache: Cache,
}

/// What is still to be told.
#[derive(Debug)]
struct Noted {
    /// Who tells: nobody listens to himself.
    own: u64,
    news: Mutex<News>,
    any: Notify,
}

/// A message.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
struct News {
    from: u64,
    written: Tables,
    /// Of which it is not known whether they were.
    in_doubt: Tables,
}

#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
struct Tables {
    /// Any table.
    any: bool,
    names: BTreeSet<String>,
}

impl TableNews {
    /// Begins. `None`: there is nobody to tell.
    pub(crate) fn start(db: &Db, cache: &Cache) -> Option<Self> {
        cache.redis()?;
        let noted = Arc::new(Noted { own: fastrand::u64(..), news: Mutex::default(), any: Notify::new() });
        let note = Arc::clone(&noted);
        db.observe_writes(move |write| note.add(write));
        tokio::spawn(hear(db.clone(), cache.clone(), noted.own));
        tokio::spawn(tell(Arc::clone(&noted), cache.clone()));
        Some(Self { noted, cache: cache.clone() })
    }

    /// Tells what is still to be told, if it can be.
    pub(crate) async fn flush(&self) {
        self.noted.tell(&self.cache).await;
    }
}

impl Noted {
    fn add(&self, TableWrite { table, in_doubt }: TableWrite<'_>) {
        let mut news = self.news.lock().unwrap_or_else(PoisonError::into_inner);
        let tables = if in_doubt { &mut news.in_doubt } else { &mut news.written };
        let new = tables.add(table);
        drop(news);
        if new {
            self.any.notify_one();
        }
    }

    /// True if nothing is left.
    async fn tell(&self, cache: &Cache) -> bool {
        let news = std::mem::take(&mut *self.news.lock().unwrap_or_else(PoisonError::into_inner));
        if news == News::default() {
            return true;
        }
        let message = serde_json::to_vec(&News { from: self.own, ..news.clone() }).unwrap_or_default();
        if cache.pubsub().publish(CHANNEL, message.into()).await.is_ok() {
            return true;
        }
        let mut waiting = self.news.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.written.merge(&news.written);
        waiting.in_doubt.merge(&news.in_doubt);
        false
    }
}

impl Tables {
    /// False if it was there already.
    fn add(&mut self, table: Option<&str>) -> bool {
        match table {
            _ if self.any => false,
            Some(table) if self.names.contains(table) => false,
            Some(table) if self.names.len() < MOST => self.names.insert(table.to_owned()),
            _ => {
                *self = Self { any: true, names: BTreeSet::new() };
                true
            }
        }
    }

    fn merge(&mut self, other: &Self) {
        if other.any {
            self.add(None);
        }
        for table in &other.names {
            self.add(Some(table));
        }
    }

    fn apply(&self, db: &Db, in_doubt: bool) {
        if self.any {
            db.hear_of_write(TableWrite { table: None, in_doubt });
        }
        for table in &self.names {
            db.hear_of_write(TableWrite { table: Some(table), in_doubt });
        }
    }
}

async fn tell(noted: Arc<Noted>, cache: Cache) {
    loop {
        noted.any.notified().await;
        while !noted.tell(&cache).await {
            tokio::time::sleep(AGAIN).await;
        }
    }
}

async fn hear(db: Db, cache: Cache, own: u64) {
    // Until it is known that it hears.
    db.hears_of_writes(false);
    let Ok(mut subscription) = cache.pubsub().subscribe(CHANNEL).await else { return };
    loop {
        if subscription.is_live() {
            db.hears_of_writes(true);
            if !hear_all(&db, &mut subscription, own).await {
                return;
            }
        }
        db.hears_of_writes(false);
        tokio::time::sleep(AGAIN).await;
    }
}

/// Until something may have been missed; false: the process is ending.
async fn hear_all(db: &Db, subscription: &mut Subscription, own: u64) -> bool {
    loop {
        let message = match subscription.next().await {
            Some(Event::Message(message)) => message,
            Some(Event::Missed) => return true,
            None => return false,
        };
        match serde_json::from_slice::<News>(&message) {
            Ok(news) if news.from == own => {}
            Ok(news) => {
                news.written.apply(db, false);
                news.in_doubt.apply(db, true);
            }
            // Of another release: whatever it says, it is about tables.
            Err(_) => db.hear_of_write(TableWrite { table: None, in_doubt: true }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_tables_are_told_as_any() {
        let mut tables = Tables::default();
        for number in 0..MOST {
            assert!(tables.add(Some(&number.to_string())));
        }
        assert!(!tables.add(Some("7")) && tables.names.len() == MOST && !tables.any);
        assert!(tables.add(Some("one more")));
        assert!(tables.any && tables.names.is_empty() && !tables.add(Some("another")));
    }

    #[test]
    fn what_could_not_be_told_is_told_with_what_came_after() {
        let (mut later, mut earlier) = (Tables::default(), Tables::default());
        earlier.add(Some("a"));
        later.add(Some("b"));
        later.merge(&earlier);
        assert_eq!(later.names, BTreeSet::from(["a".to_owned(), "b".to_owned()]));
        later.merge(&Tables { any: true, names: BTreeSet::new() });
        assert!(later.any);
    }
}
