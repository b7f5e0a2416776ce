//! Redis' side of [`PubSub`](super::PubSub): one connection for all channels of this process.
//!
//! It is opened with the first channel, and anew when it is lost, when its server hangs, and when another server has become
//! the master. Subscribers are told both times that they may miss something: when it is lost, for who would rather not rely
//! on it meanwhile, and when it is back, for what was said in between.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::redis::{PushInfo, PushKind, Value, cmd};
use bytes::Bytes;
use covet_core::backoff::Backoff;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::hub::Hub;
use crate::redis::{Live, Pushes};
use crate::{CacheOperation, Redis, Result};

/// The connection is looked after so often.
const ROUND: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

type Late = Arc<Mutex<HashSet<Arc<str>>>>;

/// Publishes through Redis, and keeps the channels of a [`Hub`] subscribed there, also over reconnections.
#[derive(Debug, Clone)]
pub(crate) struct RedisPubSub {
    redis: Redis,
    hub: Arc<Hub>,
    subscribed: watch::Receiver<HashSet<Arc<str>>>,
    /// Channels whose subscribers did not wait any longer.
    late: Late,
    end: CancellationToken,
    // The task holds a `Redis`, whose thread would not end before it.
    _end: Arc<DropGuard>,
}

impl RedisPubSub {
    /// Begins to subscribe to whatever `hub` has open.
    pub(crate) fn start(redis: &Redis, hub: Arc<Hub>) -> Self {
        let (told, subscribed) = watch::channel(HashSet::new());
        let end = CancellationToken::new();
        let late = Late::default();
        let listener = Listener {
            prefix: redis.channel(""),
            redis: redis.clone(),
            hub: Arc::clone(&hub),
            subscribed: told,
            late: Arc::clone(&late),
            lost: false,
        };
        let listening = end.clone().run_until_cancelled_owned(listener.listen());
        redis.spawn(async move {
            listening.await;
        });
        Self { redis: redis.clone(), hub, subscribed, late, _end: Arc::new(end.clone().drop_guard()), end }
    }

    pub(crate) async fn publish(&self, channel: &str, message: Bytes) -> Result<()> {
        let mut publish = cmd("PUBLISH");
        publish.arg(self.redis.channel(channel)).arg(&*message);
        self.redis.call::<i64>(CacheOperation::Publish, &publish).await.map(drop)
    }

    /// Returns when Redis has confirmed the subscription, or after the time limit of operations. Then the subscriber will be
    /// told that he may have missed something.
    pub(crate) async fn subscribed(&self, channel: &str) {
        let mut subscribed = self.subscribed.clone();
        let confirmed = subscribed.wait_for(|channels| channels.contains(channel));
        if timeout(self.redis.timeout(), confirmed).await.is_err() {
            lock(&self.late).insert(channel.into());
            // Confirmed in this moment: nobody else will say it.
            if self.is_subscribed(channel) && lock(&self.late).remove(channel) {
                self.hub.missed(channel);
            }
        }
    }

    /// True while what is published to `channel` is heard.
    pub(crate) fn is_subscribed(&self, channel: &str) -> bool {
        self.subscribed.borrow().contains(channel)
    }

    pub(crate) async fn close(&self) {
        self.end.cancel();
    }
}

/// The task.
struct Listener {
    redis: Redis,
    hub: Arc<Hub>,
    prefix: String,
    subscribed: watch::Sender<HashSet<Arc<str>>>,
    late: Late,
    /// There was a connection, and there is none.
    lost: bool,
}

impl Listener {
    async fn listen(mut self) {
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        loop {
            while self.hub.open().is_empty() {
                self.hub.changed().await;
            }
            match self.redis.open(self.pushes()).await {
                Ok(live) => {
                    let since = Instant::now();
                    self.serve(live).await;
                    self.subscribed.send_replace(HashSet::new());
                    // One that is lost at once is not replaced at once.
                    if since.elapsed() > ROUND {
                        backoff.reset();
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "no connection for messages");
                    self.lost = true;
                }
            }
            sleep(backoff.pause()).await;
        }
    }

    /// Hands on what comes until the connection cannot be relied on any more.
    async fn serve(&mut self, live: Live) {
        let (mut round, mut refused) = (interval(ROUND), HashSet::new());
        round.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if !self.follow(&live, &mut refused).await {
                break;
            }
            tokio::select! {
                () = live.closed() => break,
                () = self.hub.changed() => {}
                _ = round.tick() => {
                    if !self.redis.is_current(&live) || live.answers(self.redis.timeout()).await.is_err() {
                        break;
                    }
                }
            }
        }
        self.lost = true;
        self.tell_missed(&self.subscribed.borrow().clone());
    }

    /// Subscribes to what has been opened, and gives up what has been closed. What is refused is not asked for again on this
    /// connection. False: the connection is of no use.
    async fn follow(&mut self, live: &Live, refused: &mut HashSet<Arc<str>>) -> bool {
        let (open, now) = (self.hub.open(), self.subscribed.borrow().clone());
        let limit = self.redis.timeout();
        let mut new = HashSet::new();
        let missing = open.iter().filter(|channel| !now.contains(*channel) && !refused.contains(*channel));
        for (name, channels) in [
            ("SUBSCRIBE", missing.cloned().collect::<Vec<_>>()),
            ("UNSUBSCRIBE", now.iter().filter(|channel| !open.contains(channel)).cloned().collect()),
        ] {
            // One by one: redis-rs expects one answer to a command.
            for channel in channels {
                let command = cmd(name).arg(self.redis.channel(&channel)).take();
                match timeout(limit, live.run(&command)).await {
                    Ok(Ok(_)) if name == "SUBSCRIBE" => {
                        self.subscribed.send_modify(|channels| {
                            channels.insert(Arc::clone(&channel));
                        });
                        if lock(&self.late).remove(&channel) && !self.lost {
                            self.hub.missed(&channel);
                        }
                        new.insert(channel);
                    }
                    Ok(Ok(_)) => self.subscribed.send_modify(|channels| {
                        channels.remove(&channel);
                    }),
                    Ok(Err(error)) if !error.is_of_connection() => {
                        tracing::warn!(%error, channel = &*channel, "Redis does not let us listen to messages");
                        refused.insert(channel);
                    }
                    Ok(Err(_)) | Err(_) => return false,
                }
            }
        }
        if std::mem::take(&mut self.lost) {
            self.tell_missed(&new);
        }
        true
    }

    fn tell_missed(&self, channels: &HashSet<Arc<str>>) {
        channels.iter().for_each(|channel| self.hub.missed(channel));
    }

    fn pushes(&self) -> Pushes {
        let (hub, prefix) = (Arc::clone(&self.hub), self.prefix.clone());
        Arc::new(move |push: PushInfo| {
            let (PushKind::Message, Ok([channel, message])) = (push.kind, <[Value; 2]>::try_from(push.data)) else {
                return;
            };
            let (Value::BulkString(channel), Value::BulkString(message)) = (channel, message) else { return };
            if let Some(channel) = std::str::from_utf8(&channel).ok().and_then(|channel| channel.strip_prefix(&prefix))
            {
                hub.deliver(channel, message.into());
            }
        })
    }
}

fn lock(late: &Late) -> MutexGuard<'_, HashSet<Arc<str>>> {
    late.lock().unwrap_or_else(PoisonError::into_inner)
}
