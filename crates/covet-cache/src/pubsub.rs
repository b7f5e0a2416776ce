//! [`PubSub`]: messages to all instances of the service, in memory or through Redis.
//!
//! At most once: who does not listen at that moment does not hear it. Who must not miss anything learns from
//! [`Event::Missed`] that it may have, and reads anew what the messages are about.
//!
//! Subscribers in this process: `pubsub/hub.rs`. Redis' side: `pubsub/redis.rs`.

pub(crate) mod hub;
pub(crate) mod redis;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use self::hub::{Hub, Interest};
use self::redis::RedisPubSub;
use crate::Result;

/// Sends messages to whoever subscribes to a channel, in all instances of this service. Cheap to clone.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> covet_cache::Result<()> {
/// use covet_cache::{Event, PubSub};
///
/// let pubsub = PubSub::memory();
/// let mut prices = pubsub.subscribe("prices").await?;
/// pubsub.publish("prices", "17.50".into()).await?;
/// assert_eq!(prices.next().await, Some(Event::Message("17.50".into())));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct PubSub {
    hub: Arc<Hub>,
    redis: Option<RedisPubSub>,
}

/// What a [`Subscription`] tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A message.
    Message(Bytes),
    /// Messages may have been lost: the connection to Redis was, or this subscriber was too slow. What comes next is
    /// complete again.
    Missed,
}

/// The messages of one channel, from the moment it was made until it is dropped.
pub struct Subscription {
    // First: gone when the interest is given up.
    receiver: broadcast::Receiver<Event>,
    interest: Interest,
    redis: Option<RedisPubSub>,
}

impl PubSub {
    /// Within this process only.
    #[must_use]
    pub fn memory() -> Self {
        Self { hub: Arc::default(), redis: None }
    }

    pub(crate) fn redis(redis: &crate::Redis) -> Self {
        let hub = Arc::<Hub>::default();
        let redis = RedisPubSub::start(redis, Arc::clone(&hub));
        Self { hub, redis: Some(redis) }
    }

    /// Sends `message` to all who subscribe to `channel`, this process among them.
    ///
    /// # Errors
    /// [`Error::Unavailable`](crate::Error::Unavailable), [`Error::Timeout`](crate::Error::Timeout) and
    /// [`Error::Refused`](crate::Error::Refused) where it goes through Redis. Then nobody may have heard it.
    pub async fn publish(&self, channel: &str, message: Bytes) -> Result<()> {
        match &self.redis {
            Some(redis) => redis.publish(channel, message).await,
            None => {
                self.hub.deliver(channel, message);
                Ok(())
            }
        }
    }

    /// Listens to `channel`. What is published after this has returned is heard.
    ///
    /// Through Redis: while it cannot be reached the subscription is there all the same, and begins with
    /// [`Event::Missed`] when it can.
    ///
    /// # Errors
    /// [`Error::Closed`](crate::Error::Closed).
    pub async fn subscribe(&self, channel: &str) -> Result<Subscription> {
        let (receiver, interest) = self.hub.subscribe(channel)?;
        if let Some(redis) = &self.redis {
            redis.subscribed(channel).await;
        }
        Ok(Subscription { receiver, interest, redis: self.redis.clone() })
    }

    /// Ends all subscriptions.
    pub(crate) async fn close(&self) {
        self.hub.close();
        if let Some(redis) = &self.redis {
            redis.close().await;
        }
    }
}

impl fmt::Debug for PubSub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.redis.is_some() { "redis" } else { "memory" };
        f.debug_struct("PubSub").field("kind", &kind).finish_non_exhaustive()
    }
}

impl Subscription {
    /// The next event. `None`: the process is ending. A call that is dropped loses nothing.
    pub async fn next(&mut self) -> Option<Event> {
        match self.receiver.recv().await {
            Ok(event) => Some(event),
            Err(RecvError::Lagged(_)) => Some(Event::Missed),
            Err(RecvError::Closed) => None,
        }
    }

    /// False while nothing can be heard because the connection to Redis is lost: [`Event::Missed`] is told when that is
    /// noticed, within about a second, and again when it is over.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.redis.as_ref().is_none_or(|redis| redis.is_subscribed(self.channel()))
    }

    /// The channel.
    #[must_use]
    pub fn channel(&self) -> &str {
        self.interest.channel()
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("channel", &self.channel()).finish_non_exhaustive()
    }
}
