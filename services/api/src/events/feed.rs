//! The live feed inside this process: each user has a topic while somebody listens to it.
//!
//! A slow listener never holds up the one who publishes: it misses events and is told how many.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use covet::clock::Clock;
use covet::data::Transaction;
use covet::ids::new_id;
use covet::ws::Utf8Bytes;
use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::broadcast;
use uuid::Uuid;

/// Events that one listener may be behind before it misses some.
const BACKLOG: usize = 64;

/// Hands events to whoever listens. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Feed {
    topics: Arc<Mutex<HashMap<Uuid, broadcast::Sender<Utf8Bytes>>>>,
    clock: Clock,
}

/// One event, as it is sent: `{"id": …, "type": "note.created", "occurred_at": …, "data": {…}}`.
#[derive(Debug, Serialize)]
struct Event<'a, T> {
    id: Uuid,
    #[serde(rename = "type")]
    kind: &'a str,
    occurred_at: Timestamp,
    data: &'a T,
}

/// Somebody who listens to one user's events. Dropping it ends the topic when nobody else listens.
#[derive(Debug)]
pub struct Subscription {
    feed: Feed,
    user: Uuid,
    events: Option<broadcast::Receiver<Utf8Bytes>>,
}

/// What a listener gets.
#[derive(Debug, PartialEq, Eq)]
pub enum Received {
    /// An event, as JSON text.
    Event(Utf8Bytes),
    /// The listener was too slow, and this many events are gone for it: read the lists again.
    Missed(u64),
}

impl Feed {
    /// A feed nobody listens to yet.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { topics: Arc::default(), clock }
    }

    /// Tells everybody who listens to `user`, once the transaction has been committed, and only then.
    pub fn publish_after<T>(&self, transaction: &Transaction, user: Uuid, kind: &'static str, data: T)
    where
        T: Serialize + Send + 'static,
    {
        let feed = self.clone();
        transaction.after_commit(move || feed.publish(user, kind, &data));
    }

    /// Tells everybody who listens to `user` now. Costs a look-up when nobody does.
    pub fn publish<T: Serialize>(&self, user: Uuid, kind: &'static str, data: &T) {
        let Some(topic) = self.topics().get(&user).cloned() else { return };
        let event = Event { id: new_id(&self.clock), kind, occurred_at: self.clock.now(), data };
        match serde_json::to_string(&event) {
            // An error means that the last listener has just gone.
            Ok(text) => drop(topic.send(Utf8Bytes::from(text))),
            Err(error) => tracing::error!(%error, kind, "an event cannot be written as JSON"),
        }
    }

    /// Listens to `user` from now on.
    #[must_use]
    pub fn subscribe(&self, user: Uuid) -> Subscription {
        let mut topics = self.topics();
        let topic = topics.entry(user).or_insert_with(|| broadcast::Sender::new(BACKLOG));
        Subscription { events: Some(topic.subscribe()), feed: self.clone(), user }
    }

    fn topics(&self) -> MutexGuard<'_, HashMap<Uuid, broadcast::Sender<Utf8Bytes>>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscription {
    /// The next event. Can be dropped while it waits without losing one.
    pub async fn next(&mut self) -> Received {
        let Some(events) = &mut self.events else { return std::future::pending().await };
        match events.recv().await {
            Ok(text) => Received::Event(text),
            Err(broadcast::error::RecvError::Lagged(missed)) => Received::Missed(missed),
            // The topic lives as long as this subscription does.
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut topics = self.feed.topics();
        self.events = None;
        if topics.get(&self.user).is_some_and(|topic| topic.receiver_count() == 0) {
            topics.remove(&self.user);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ADA: Uuid = Uuid::from_u128(1);
    const BOB: Uuid = Uuid::from_u128(2);

    fn feed() -> Feed {
        Feed::new(Clock::manual("2026-01-01T00:00:00Z".parse().unwrap()).0)
    }

    async fn event(subscription: &mut Subscription) -> Value {
        match subscription.next().await {
            Received::Event(text) => serde_json::from_str(&text).unwrap(),
            missed => panic!("{missed:?}"),
        }
    }

    #[tokio::test]
    async fn a_listener_hears_its_own_user_only() {
        let feed = feed();
        let (mut first, mut second) = (feed.subscribe(ADA), feed.subscribe(ADA));
        feed.publish(BOB, "note.created", &json!({"title": "secret"}));
        feed.publish(ADA, "note.created", &json!({"title": "mine"}));
        for listener in [&mut first, &mut second] {
            let event = event(listener).await;
            assert_eq!(event["type"], "note.created");
            assert_eq!(event["data"]["title"], "mine");
            assert_eq!(event["occurred_at"], "2026-01-01T00:00:00Z");
        }
    }

    #[tokio::test]
    async fn a_slow_listener_learns_how_much_it_missed() {
        let feed = feed();
        let mut slow = feed.subscribe(ADA);
        for number in 0..(BACKLOG + 10) {
            feed.publish(ADA, "n", &number);
        }
        assert_eq!(slow.next().await, Received::Missed(10));
        assert_eq!(event(&mut slow).await["data"], 10);
    }

    #[test]
    fn topics_go_with_their_last_listener() {
        let feed = feed();
        let (first, second) = (feed.subscribe(ADA), feed.subscribe(ADA));
        drop(first);
        assert_eq!(feed.topics().len(), 1);
        drop(second);
        assert!(feed.topics().is_empty());
        feed.publish(ADA, "n", &1);
        assert!(feed.topics().is_empty());
    }
}
