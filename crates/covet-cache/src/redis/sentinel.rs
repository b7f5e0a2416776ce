//! Which server is the master, by the sentinels: asked over connections that stay open, and heard when they say that it is
//! another one.
//!
//! As in Redis' guidelines for clients (<https://redis.io/docs/latest/develop/reference/sentinel-clients/>), with two
//! additions. All sentinels are asked, and the newest configuration counts (`config-epoch`): one sentinel that was away with
//! a former master would otherwise lead back to it, and until it is reconfigured that server says `master` to `ROLE`. And
//! `+promoted-slave`, which the sentinel that leads a failover says a moment before `+switch-master`, is listened to as well.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::redis::{PushInfo, PushKind, Value, cmd, pipe};
use arc_swap::ArcSwap;
use covet_core::backoff::Backoff;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::connect::{Connector, Live, Pushes, Role};
use super::failure::{Failure, Outage};
use super::kept::{Finder, Kept, Limits, News};
use super::target::Host;

/// Sentinels known at most: those of the URL, and those that they name.
const MOST: usize = 16;
const EVENTS: [&str; 2] = ["+switch-master", "+promoted-slave"];
/// Before a sentinel is tried again.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// No failover has been seen.
const UNKNOWN: i64 = -1;

/// The sentinels of one master.
pub(super) struct Sentinels {
    shared: Arc<Shared>,
    // Ends the tasks.
    _end: DropGuard,
}

struct Shared {
    master_name: String,
    /// To sentinels.
    connector: Connector,
    /// To servers.
    servers: Arc<Connector>,
    known: Mutex<BTreeMap<Host, Option<Arc<Live>>>>,
    /// A sentinel is connected.
    connected: Notify,
    /// Why the last one could not be.
    failure: Mutex<Option<Failure>>,
    /// The newest `config-epoch` of a master that was found.
    epoch: AtomicI64,
    /// Kept connections to replicas that follow the master, if those are wanted.
    replicas: ArcSwap<Vec<Arc<Kept>>>,
    replica_limits: Option<Limits>,
    runtime: Handle,
    end: CancellationToken,
    news: Mutex<Option<News>>,
}

/// What a sentinel says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Answer {
    master: Host,
    /// Raised by every failover. `None`: we may not ask.
    epoch: Option<i64>,
    replicas: Vec<Host>,
    sentinels: Vec<Host>,
}

impl Sentinels {
    pub(super) fn new(
        master_name: &str,
        hosts: &[Host],
        connector: Connector,
        servers: Arc<Connector>,
        replica_limits: Option<Limits>,
        runtime: &Handle,
    ) -> Self {
        let end = CancellationToken::new();
        let shared = Shared {
            master_name: master_name.to_owned(),
            connector,
            servers,
            known: Mutex::new(hosts.iter().map(|host| (host.clone(), None)).collect()),
            connected: Notify::new(),
            failure: Mutex::default(),
            epoch: AtomicI64::new(UNKNOWN),
            replicas: ArcSwap::default(),
            replica_limits,
            runtime: runtime.clone(),
            end: end.clone(),
            news: Mutex::default(),
        };
        Self { shared: Arc::new(shared), _end: end.drop_guard() }
    }

    pub(super) fn master_name(&self) -> &str {
        &self.shared.master_name
    }

    /// A replica to read from, if one is connected.
    pub(super) fn replica(&self) -> Option<Arc<Kept>> {
        let replicas = self.shared.replicas.load();
        let first = fastrand::usize(..replicas.len().max(1));
        let (later, sooner) = replicas.split_at(first.min(replicas.len()));
        sooner.iter().chain(later).find(|replica| replica.now().is_some()).cloned()
    }

    /// Begins to listen to all sentinels.
    pub(super) fn watch(&self, news: News) {
        *lock(&self.shared.news) = Some(news);
        let hosts: Vec<Host> = lock(&self.shared.known).keys().cloned().collect();
        for host in hosts {
            self.shared.listen_to(host);
        }
    }

    /// A connection to the master.
    pub(super) async fn find(&self) -> Result<Live, Failure> {
        let answer = self.shared.ask().await?;
        self.shared.prove(answer).await
    }

    /// A connection to the master if it is another server than this.
    pub(super) async fn find_other(&self, than: &Host) -> Option<Live> {
        let answer = self.shared.ask().await.ok()?;
        if answer.master == *than {
            self.shared.learn(&answer);
            return None;
        }
        self.shared.prove(answer).await.ok()
    }
}

impl Shared {
    /// What the sentinels say: the first answer that is newer than what is known, else what most say, else the newest.
    async fn ask(&self) -> Result<Answer, Failure> {
        let first = self.connected.notified();
        tokio::pin!(first);
        // From now on a connection is not missed.
        first.as_mut().enable();
        let mut connected = self.connected();
        if connected.is_empty() {
            let _ = timeout(self.connector.connect_timeout, first).await;
            connected = self.connected();
        }
        let (all, known_epoch) = (lock(&self.known).len(), self.epoch.load(Ordering::Relaxed));
        let mut asked: FuturesUnordered<_> = connected.iter().map(|live| self.ask_one(live)).collect();
        let (mut answers, mut failure) = (Vec::new(), None);
        while let Some(answer) = asked.next().await {
            match answer {
                Ok(answer) => answers.push(answer),
                Err(why) => failure = Some(why),
            }
            if let Some(answer) = settled(&answers, known_epoch, all) {
                return Ok(answer.clone());
            }
        }
        let newest = newest(answers, known_epoch);
        let failure = failure.or_else(|| lock(&self.failure).clone().filter(|_| connected.is_empty()));
        newest.ok_or_else(|| failure.unwrap_or_else(|| Failure::outage("the sentinels do not know a current master")))
    }

    async fn ask_one(&self, live: &Arc<Live>) -> Result<Answer, Failure> {
        let name = &self.master_name;
        let mut commands = pipe();
        for what in ["GET-MASTER-ADDR-BY-NAME", "MASTER", "REPLICAS", "SENTINELS"] {
            commands.cmd("SENTINEL").arg(what).arg(name);
        }
        let answers = match timeout(self.connector.answer_timeout, live.run_all(&commands, 0)).await {
            Ok(answers) => answers?,
            Err(_) => {
                // It hangs. Its task connects anew.
                self.disconnect(live);
                return Err(Failure::outage(format!("the sentinel {} does not answer", live.host)));
            }
        };
        let [master, details, replicas, sentinels] =
            answers.try_into().map_err(|_| Failure::outage(format!("the sentinel {} answers oddly", live.host)))?;
        let master = match Failure::in_answer(master) {
            Ok(Value::Nil) => {
                let reason = format!("the sentinel {} knows no master of the name {name}", live.host);
                return Err(Failure::NotConnected(Arc::new(Outage { reason, refused: true })));
            }
            Ok(master) => {
                address(&master).ok_or_else(|| Failure::outage(format!("the sentinel {} answers oddly", live.host)))?
            }
            Err(failure) => {
                let reason = format!("the sentinel {}: {failure}", live.host);
                return Err(Failure::NotConnected(Arc::new(Outage { reason, refused: true })));
            }
        };
        let epoch = fields(&details).and_then(|fields| fields.get("config-epoch")?.parse().ok());
        let following = |fields: &HashMap<String, String>| {
            let is = |name: &str, value: &str| fields.get(name).is_some_and(|found| found == value);
            is("flags", "slave") && is("master-link-status", "ok")
        };
        let replicas = entries(&replicas).filter(following).filter_map(|fields| host(&fields)).collect();
        let sentinels = entries(&sentinels).filter_map(|fields| host(&fields)).collect();
        Ok(Answer { master, epoch, replicas, sentinels })
    }

    /// Connects to the master that was named. It must be one in its own eyes too.
    async fn prove(&self, answer: Answer) -> Result<Live, Failure> {
        let live = self.servers.open(&answer.master, Role::Master, None).await?;
        self.learn(&answer);
        Ok(live)
    }

    fn learn(&self, answer: &Answer) {
        if let Some(epoch) = answer.epoch {
            self.epoch.fetch_max(epoch, Ordering::Relaxed);
        }
        let Some(limits) = self.replica_limits else { return };
        let before = self.replicas.load();
        let same = |host: &Host| before.iter().find(|kept| kept.name() == host.to_string()).cloned();
        let new = |host: &Host| {
            let finder = Finder::At(Arc::clone(&self.servers), host.clone(), Role::Reader);
            Arc::new(Kept::start(finder, limits, None, &self.runtime))
        };
        let replicas = answer.replicas.iter().map(|host| same(host).unwrap_or_else(|| new(host))).collect();
        self.replicas.store(Arc::new(replicas));
    }

    fn connected(&self) -> Vec<Arc<Live>> {
        lock(&self.known).values().flatten().filter(|live| !live.is_closed()).cloned().collect()
    }

    /// Drops the connection: it closes when nobody waits for it any more.
    fn disconnect(&self, live: &Arc<Live>) {
        if let Some(known) = lock(&self.known).get_mut(&live.host) {
            known.take_if(|now| Arc::ptr_eq(now, live));
        }
    }

    fn tell(&self) {
        if let Some(news) = &*lock(&self.news) {
            news.tell();
        }
    }

    /// Learns of further sentinels.
    fn meet(self: &Arc<Self>, sentinels: &[Host]) {
        for host in sentinels {
            let mut known = lock(&self.known);
            if known.len() < MOST && !known.contains_key(host) {
                known.insert(host.clone(), None);
                drop(known);
                self.listen_to(host.clone());
            }
        }
    }

    /// Stays connected to a sentinel, on a task of its own.
    fn listen_to(self: &Arc<Self>, host: Host) {
        let shared = Arc::downgrade(self);
        let task = async move {
            let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
            while let Some(sentinels) = shared.upgrade() {
                if sentinels.listen(&host).await {
                    backoff.reset();
                }
                drop(sentinels);
                sleep(backoff.pause()).await;
            }
        };
        self.runtime.spawn(self.end.clone().run_until_cancelled_owned(task));
    }

    /// Listens until the connection is lost. False: there was none.
    async fn listen(self: &Arc<Self>, host: &Host) -> bool {
        let heard = Arc::downgrade(self);
        let pushes: Pushes = Arc::new(move |push: PushInfo| {
            if let Some(sentinels) = heard.upgrade()
                && is_about(&push, &sentinels.master_name)
            {
                sentinels.tell();
            }
        });
        let live = match self.connector.open(host, Role::Any, Some(pushes)).await {
            Ok(live) => Arc::new(live),
            Err(failure) => {
                tracing::debug!(sentinel = %host, error = %failure, "a sentinel is not reached");
                *lock(&self.failure) = Some(failure.of_sentinel());
                return false;
            }
        };
        // One by one: redis-rs expects one answer to a command.
        for event in EVENTS {
            if let Err(failure) = live.run(cmd("SUBSCRIBE").arg(event)).await {
                // Then a switch is noticed when the connection to the master is lost, or at the next round.
                tracing::warn!(sentinel = %host, error = %failure, "a sentinel lets us not listen to {event}");
            }
        }
        lock(&self.known).insert(host.clone(), Some(Arc::clone(&live)));
        self.connected.notify_waiters();
        // It may know what was missed.
        self.tell();
        if let Ok(answer) = self.ask_one(&live).await {
            self.meet(&answer.sentinels);
        }
        let closed = live.closed_token();
        drop(live);
        closed.cancelled().await;
        true
    }
}

/// The answer that further ones cannot change: it is newer than all that is known, or most sentinels give it.
fn settled(answers: &[Answer], known_epoch: i64, all: usize) -> Option<&Answer> {
    let last = answers.last()?;
    let newer = known_epoch != UNKNOWN && last.epoch.is_some_and(|epoch| epoch > known_epoch);
    let current = last.epoch.is_none_or(|epoch| epoch >= known_epoch);
    let same = answers.iter().filter(|other| other.master == last.master && other.epoch == last.epoch).count();
    (newer || current && same > all / 2).then_some(last)
}

/// The newest answer that is not older than what is known.
fn newest(answers: Vec<Answer>, known_epoch: i64) -> Option<Answer> {
    let current = |answer: &Answer| answer.epoch.is_none_or(|epoch| epoch >= known_epoch);
    answers.into_iter().filter(current).max_by_key(|answer| answer.epoch)
}

/// `+switch-master`: `name ip port ip port`; `+promoted-slave`: `slave ip:port ip port @ name ip port`.
fn is_about(push: &PushInfo, master_name: &str) -> bool {
    let (PushKind::Message, [channel, text]) = (&push.kind, push.data.as_slice()) else { return false };
    let Some(said) = text_of(text) else { return false };
    let mut words = said.split(' ');
    match text_of(channel).as_deref() {
        Some("+switch-master") => words.next() == Some(master_name),
        _ => words.skip_while(|word| *word != "@").nth(1) == Some(master_name),
    }
}

/// `[ip, port]`.
fn address(value: &Value) -> Option<Host> {
    let [name, port] = value.as_sequence()? else { return None };
    Some(Host { name: text_of(name)?, port: text_of(port)?.parse().ok()? })
}

fn host(fields: &HashMap<String, String>) -> Option<Host> {
    Some(Host { name: fields.get("ip")?.clone(), port: fields.get("port")?.parse().ok()? })
}

fn entries(value: &Value) -> impl Iterator<Item = HashMap<String, String>> {
    value.as_sequence().into_iter().flatten().filter_map(fields)
}

/// Names and values: a map in RESP3, else a list in which they take turns.
fn fields(value: &Value) -> Option<HashMap<String, String>> {
    let pairs = value.as_map_iter()?;
    Some(pairs.filter_map(|(name, value)| Some((text_of(name)?, text_of(value)?))).collect())
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        Value::SimpleString(text) => Some(text.clone()),
        Value::Int(number) => Some(number.to_string()),
        Value::Okay => Some("ok".to_owned()),
        _ => None,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn events_of_other_masters_are_not_ours() {
        let about = |channel: &str, text: &str| {
            is_about(&PushInfo { kind: PushKind::Message, data: vec![bulk(channel), bulk(text)] }, "mymaster")
        };
        assert!(about("+switch-master", "mymaster 10.0.0.1 6379 10.0.0.2 6379"));
        assert!(!about("+switch-master", "other 10.0.0.1 6379 10.0.0.2 6379"));
        assert!(about("+promoted-slave", "slave 10.0.0.2:6379 10.0.0.2 6379 @ mymaster 10.0.0.1 6379"));
        assert!(!about("+promoted-slave", "slave 10.0.0.2:6379 10.0.0.2 6379 @ other 10.0.0.1 6379"));
        let subscribed = PushInfo { kind: PushKind::Subscribe, data: vec![bulk("+switch-master"), Value::Int(1)] };
        assert!(!is_about(&subscribed, "mymaster"));
    }

    fn answer(master: &str, epoch: Option<i64>) -> Answer {
        let master = Host { name: master.to_owned(), port: 6379 };
        Answer { master, epoch, replicas: Vec::new(), sentinels: Vec::new() }
    }

    #[test]
    fn what_is_newer_than_all_that_is_known_is_taken_at_once() {
        assert_eq!(settled(&[answer("new", Some(4))], 3, 3).unwrap().master.name, "new");
        // Nothing is known yet: who answers first may be the one that was away.
        assert_eq!(settled(&[answer("old", Some(3))], UNKNOWN, 3), None);
        assert_eq!(settled(&[answer("same", Some(3))], 3, 3), None);
    }

    #[test]
    fn what_most_sentinels_say_is_taken_without_the_others() {
        let answers = [answer("a", Some(3)), answer("b", Some(4)), answer("b", Some(4))];
        assert_eq!(settled(&answers[..2], UNKNOWN, 3), None);
        assert_eq!(settled(&answers, UNKNOWN, 3).unwrap().master.name, "b");
    }

    #[test]
    fn what_is_older_than_what_is_known_is_never_taken() {
        let old = answer("former", Some(2));
        assert_eq!(settled(&[old.clone(), old.clone()], 3, 3), None);
        assert_eq!(newest(vec![old.clone()], 3), None);
        assert_eq!(newest(vec![old, answer("current", Some(3))], 3).unwrap().master.name, "current");
        // Who may not ask for the epoch has to believe.
        assert_eq!(newest(vec![answer("any", None)], 3).unwrap().master.name, "any");
    }

    #[test]
    fn names_and_values_are_read_in_both_forms() {
        let flat = Value::Array(vec![bulk("ip"), bulk("10.0.0.1"), bulk("port"), bulk("6379")]);
        let map = Value::Map(vec![(bulk("ip"), bulk("10.0.0.1")), (bulk("port"), bulk("6379"))]);
        for value in [flat, map] {
            assert_eq!(host(&fields(&value).unwrap()).unwrap().to_string(), "10.0.0.1:6379");
        }
    }
}
