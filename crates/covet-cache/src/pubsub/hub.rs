//! [`Hub`]: who listens in this process.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{Notify, broadcast};

use super::Event;
use crate::{Error, Result};

/// Messages that wait for a subscriber. One that is further behind has missed some.
const CAPACITY: usize = 1024;

/// The channels that somebody listens to.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    channels: Mutex<Channels>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Channels {
    closed: bool,
    open: HashMap<Arc<str>, broadcast::Sender<Event>>,
}

/// Keeps a channel open.
#[derive(Debug)]
pub(crate) struct Interest {
    hub: Arc<Hub>,
    channel: Arc<str>,
}

impl Hub {
    pub(crate) fn subscribe(self: &Arc<Self>, channel: &str) -> Result<(broadcast::Receiver<Event>, Interest)> {
        let mut channels = self.channels();
        if channels.closed {
            return Err(Error::Closed);
        }
        let channel: Arc<str> = channel.into();
        let receiver = match channels.open.entry(Arc::clone(&channel)) {
            Entry::Occupied(open) => open.get().subscribe(),
            Entry::Vacant(none) => {
                let (sender, receiver) = broadcast::channel(CAPACITY);
                none.insert(sender);
                self.changed.notify_one();
                receiver
            }
        };
        Ok((receiver, Interest { hub: Arc::clone(self), channel }))
    }

    /// Hands a message to the subscribers of its channel.
    pub(crate) fn deliver(&self, channel: &str, message: Bytes) {
        if let Some(sender) = self.channels().open.get(channel) {
            // Fails when the last subscriber is just leaving.
            let _ = sender.send(Event::Message(message));
        }
    }

    /// Tells all subscribers of a channel that they may have missed something.
    pub(crate) fn missed(&self, channel: &str) {
        if let Some(sender) = self.channels().open.get(channel) {
            let _ = sender.send(Event::Missed);
        }
    }

    /// The channels that somebody listens to now.
    pub(crate) fn open(&self) -> Vec<Arc<str>> {
        self.channels().open.keys().cloned().collect()
    }

    /// Returns when [`open`](Self::open) has changed since the last call; also now and then when it has not.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Ends all subscriptions, and takes no more.
    pub(crate) fn close(&self) {
        let mut channels = self.channels();
        channels.closed = true;
        channels.open.clear();
        self.changed.notify_one();
    }

    fn channels(&self) -> MutexGuard<'_, Channels> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Interest {
    pub(crate) fn channel(&self) -> &str {
        &self.channel
    }
}

impl Drop for Interest {
    fn drop(&mut self) {
        let mut channels = self.hub.channels();
        if channels.open.get(&self.channel).is_some_and(|sender| sender.receiver_count() == 0) {
            channels.open.remove(&self.channel);
            self.hub.changed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PubSub;

    #[tokio::test]
    async fn all_subscribers_of_a_channel_hear_its_messages_and_no_others() {
        let pubsub = PubSub::memory();
        let (mut one, mut two) = (pubsub.subscribe("a").await.unwrap(), pubsub.subscribe("a").await.unwrap());
        let mut other = pubsub.subscribe("b").await.unwrap();
        pubsub.publish("a", "1".into()).await.unwrap();
        pubsub.publish("nobody", "2".into()).await.unwrap();
        pubsub.publish("b", "3".into()).await.unwrap();
        for subscription in [&mut one, &mut two] {
            assert_eq!(subscription.next().await, Some(Event::Message("1".into())));
        }
        assert_eq!(other.next().await, Some(Event::Message("3".into())));
    }

    #[tokio::test]
    async fn a_subscriber_that_is_too_slow_is_told_that_it_has_missed_something() {
        let pubsub = PubSub::memory();
        let mut slow = pubsub.subscribe("a").await.unwrap();
        for _ in 0..=CAPACITY {
            pubsub.publish("a", "1".into()).await.unwrap();
        }
        assert_eq!(slow.next().await, Some(Event::Missed));
        assert_eq!(slow.next().await, Some(Event::Message("1".into())));
    }

    #[tokio::test]
    async fn a_channel_without_subscribers_is_forgotten() {
        let pubsub = PubSub::memory();
        let (one, two) = (pubsub.subscribe("a").await.unwrap(), pubsub.subscribe("a").await.unwrap());
        drop(one);
        assert_eq!(pubsub.hub.open().len(), 1);
        drop(two);
        assert_eq!(pubsub.hub.open().len(), 0);
    }

    #[tokio::test]
    async fn closing_ends_subscriptions_and_takes_no_more() {
        let pubsub = PubSub::memory();
        let mut one = pubsub.subscribe("a").await.unwrap();
        pubsub.close().await;
        assert_eq!(one.next().await, None);
        assert!(matches!(pubsub.subscribe("a").await, Err(Error::Closed)));
    }
}
