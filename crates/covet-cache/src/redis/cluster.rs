//! Redis Cluster: which node has which slot, kept up to date, and a connection to each.
//!
//! Connections are redis-rs', the map is ours. Its cluster client sends a write again whose connection broke before the
//! answer (it may have run), answers reads from replicas unasked when a master's connection is lost, and does not look at
//! the map again when a master hangs; each of these is a promise of this crate.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::redis::{Value, cmd};
use arc_swap::ArcSwapOption;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::connect::{Connector, Live, Role};
use super::failure::Failure;
use super::kept::{Finder, Kept, Limits};
use super::target::Host;

const SLOTS: usize = 16_384;
/// No master has this slot.
const NOBODY: u16 = u16::MAX;
/// The map is asked for so often while all is well.
const ROUND: Duration = Duration::from_secs(15);
/// And while something is wrong: a failover is noticed so late.
const URGENT: Duration = Duration::from_millis(100);

/// The nodes of a cluster.
pub(super) struct Cluster {
    shared: Arc<Shared>,
    // Ends the task.
    _end: DropGuard,
}

struct Shared {
    connector: Arc<Connector>,
    limits: Limits,
    seeds: Vec<Host>,
    with_replicas: bool,
    runtime: Handle,
    map: ArcSwapOption<Map>,
    /// The map has been asked for.
    asked: Notify,
    /// Those that are written to and those that are read from are connected to apart: a former master would else go on
    /// answering reads.
    nodes: Mutex<HashMap<(Host, Role), Arc<Kept>>>,
    /// The map may be wrong.
    doubts: Arc<Notify>,
    /// Why there is no map.
    failure: Mutex<Option<Failure>>,
}

struct Map {
    shards: Vec<Shard>,
    of_slot: Box<[u16]>,
    /// Every slot has a master.
    whole: bool,
}

/// Those that have the same keys.
struct Shard {
    master: Arc<Kept>,
    replicas: Vec<Arc<Kept>>,
}

/// A part of the answer to `CLUSTER SLOTS`.
#[derive(Debug, PartialEq, Eq)]
struct Range {
    first: u16,
    last: u16,
    /// The master first.
    hosts: Vec<Host>,
}

impl Cluster {
    /// Begins to ask for the map.
    pub(super) fn start(
        seeds: &[Host],
        connector: Arc<Connector>,
        limits: Limits,
        with_replicas: bool,
        runtime: &Handle,
    ) -> Self {
        let shared = Arc::new(Shared {
            connector,
            limits,
            seeds: seeds.to_vec(),
            with_replicas,
            runtime: runtime.clone(),
            map: ArcSwapOption::empty(),
            asked: Notify::new(),
            nodes: Mutex::default(),
            doubts: Arc::new(Notify::new()),
            failure: Mutex::default(),
        });
        let end = CancellationToken::new();
        runtime.spawn(end.clone().run_until_cancelled_owned(Arc::clone(&shared).keep()));
        Self { shared, _end: end.drop_guard() }
    }

    /// The master that has this slot; any for `None`.
    pub(super) async fn master(&self, slot: Option<u16>) -> Result<Arc<Kept>, Failure> {
        let map = self.map().await?;
        let shard = match slot {
            Some(slot) => map.shard(slot),
            None => map.shards.iter().find(|shard| !shard.master.is_down()).or(map.shards.first()),
        };
        let master = shard.map(|shard| Arc::clone(&shard.master));
        master.ok_or_else(|| {
            self.shared.doubts.notify_one();
            Failure::outage("no node of the cluster has the slot of this key")
        })
    }

    /// A node to read this slot from: a replica that is there, else the master.
    pub(super) async fn replica(&self, slot: Option<u16>) -> Result<Arc<Kept>, Failure> {
        let map = self.map().await?;
        let shard = slot.and_then(|slot| map.shard(slot));
        let there: Vec<&Arc<Kept>> =
            shard.into_iter().flat_map(|shard| &shard.replicas).filter(|node| node.now().is_some()).collect();
        match there.as_slice() {
            [] => self.master(slot).await,
            there => Ok(Arc::clone(there[fastrand::usize(..there.len())])),
        }
    }

    /// The node with this address, known before or not.
    pub(super) fn at(&self, host: &Host) -> Arc<Kept> {
        self.shared.node(host, Role::Any)
    }

    /// The map may be wrong.
    pub(super) fn doubt(&self) {
        self.shared.doubts.notify_one();
    }

    /// All masters; none before the map is known.
    pub(super) fn masters(&self) -> Vec<Arc<Kept>> {
        let map = self.shared.map.load();
        map.iter().flat_map(|map| &map.shards).map(|shard| Arc::clone(&shard.master)).collect()
    }

    /// False while a slot has no master that is there.
    pub(super) fn is_available(&self) -> bool {
        match &*self.shared.map.load() {
            Some(map) => map.is_well(),
            None => self.shared.failure.lock().unwrap_or_else(PoisonError::into_inner).is_none(),
        }
    }

    async fn map(&self) -> Result<Arc<Map>, Failure> {
        loop {
            if let Some(map) = self.shared.map.load_full() {
                return Ok(map);
            }
            let asked = self.shared.asked.notified();
            tokio::pin!(asked);
            // From now on an answer is not missed.
            asked.as_mut().enable();
            if self.shared.map.load().is_some() {
                continue;
            }
            if let Some(failure) = &*self.shared.failure.lock().unwrap_or_else(PoisonError::into_inner) {
                return Err(failure.clone());
            }
            asked.await;
        }
    }
}

impl Shared {
    async fn keep(self: Arc<Self>) {
        loop {
            let well = match self.ask().await {
                Ok(map) => {
                    let well = map.is_well();
                    self.map.store(Some(Arc::new(map)));
                    self.set_failure(None);
                    well
                }
                Err(failure) => {
                    self.set_failure(Some(failure));
                    false
                }
            };
            self.asked.notify_waiters();
            // Not all instances at once.
            let pause = if well { ROUND } else { URGENT }.mul_f64(0.5 + fastrand::f64());
            tokio::select! {
                () = sleep(pause) => {}
                // Many doubts of one moment are one question.
                () = self.doubts.notified() => sleep(URGENT / 5).await,
            }
        }
    }

    fn set_failure(&self, failure: Option<Failure>) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }

    /// Asks one node after another, those that are connected first, until one tells.
    async fn ask(self: &Arc<Self>) -> Result<Map, Failure> {
        let mut known: Vec<Arc<Live>> = self.nodes().values().filter_map(|node| node.now()).collect();
        fastrand::shuffle(&mut known);
        for live in known {
            if let Some(ranges) = self.ask_one(&live).await {
                return Ok(self.map_of(ranges));
            }
        }
        let mut last = Failure::outage("no node of the cluster tells who has which slot");
        for seed in &self.seeds {
            match self.connector.open(seed, Role::Any, None).await {
                Ok(live) => match self.ask_one(&live).await {
                    Some(ranges) => return Ok(self.map_of(ranges)),
                    None => last = Failure::outage(format!("{seed} does not tell which node has which slot")),
                },
                Err(failure) => last = failure,
            }
        }
        Err(last)
    }

    async fn ask_one(&self, live: &Live) -> Option<Vec<Range>> {
        let answer = timeout(self.limits.answer_timeout, live.run(cmd("CLUSTER").arg("SLOTS"))).await.ok()?;
        match answer {
            Ok(answer) => ranges(&answer, &live.host).filter(|ranges| !ranges.is_empty()),
            Err(failure) => {
                tracing::warn!(server = %live.host, error = %failure, "a node does not tell which node has which slot");
                None
            }
        }
    }

    fn map_of(self: &Arc<Self>, ranges: Vec<Range>) -> Map {
        let mut of_slot = vec![NOBODY; SLOTS].into_boxed_slice();
        let (mut shards, mut known) = (Vec::new(), HashMap::new());
        for range in ranges {
            let Some((master, replicas)) = range.hosts.split_first() else { continue };
            let shard = *known.entry(master.clone()).or_insert_with(|| {
                let replicas =
                    replicas.iter().filter(|_| self.with_replicas).map(|host| self.node(host, Role::Reader)).collect();
                shards.push(Shard { master: self.node(master, Role::Any), replicas });
                u16::try_from(shards.len() - 1).unwrap_or(NOBODY)
            });
            for slot in of_slot.iter_mut().take(usize::from(range.last) + 1).skip(range.first.into()) {
                *slot = shard;
            }
        }
        let used = |node: &Arc<Kept>| {
            let all = shards.iter().flat_map(|shard| shard.replicas.iter().chain([&shard.master]));
            all.into_iter().any(|used| Arc::ptr_eq(used, node))
        };
        self.nodes().retain(|_, node| used(node));
        let whole = !of_slot.contains(&NOBODY);
        Map { shards, of_slot, whole }
    }

    fn node(&self, host: &Host, role: Role) -> Arc<Kept> {
        let mut nodes = self.nodes();
        let new = || {
            let finder = Finder::At(Arc::clone(&self.connector), host.clone(), role);
            Arc::new(Kept::start(finder, self.limits, Some(Arc::clone(&self.doubts)), &self.runtime))
        };
        Arc::clone(nodes.entry((host.clone(), role)).or_insert_with(new))
    }

    fn nodes(&self) -> MutexGuard<'_, HashMap<(Host, Role), Arc<Kept>>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Map {
    fn is_well(&self) -> bool {
        self.whole && self.shards.iter().all(|shard| !shard.master.is_down())
    }

    fn shard(&self, slot: u16) -> Option<&Shard> {
        let shard = *self.of_slot.get(usize::from(slot))?;
        self.shards.get(usize::from(shard))
    }
}

/// `CLUSTER SLOTS`: first slot, last slot, and the nodes, each with name, port, id and more. A node that does not know its
/// own name tells none: it is the one that was asked.
fn ranges(answer: &Value, asked: &Host) -> Option<Vec<Range>> {
    let slot = |value: &Value| match value {
        Value::Int(slot) => u16::try_from(*slot).ok().filter(|slot| usize::from(*slot) < SLOTS),
        _ => None,
    };
    let host = |value: &Value| {
        let [name, Value::Int(port), ..] = value.as_sequence()? else { return None };
        let name = match name {
            Value::BulkString(name) if name.is_empty() || name == b"?" => asked.name.clone(),
            Value::BulkString(name) => String::from_utf8(name.clone()).ok()?,
            _ => asked.name.clone(),
        };
        Some(Host { name, port: u16::try_from(*port).ok()? })
    };
    let range = |value: &Value| {
        let [first, last, nodes @ ..] = value.as_sequence()? else { return None };
        Some(Range { first: slot(first)?, last: slot(last)?, hosts: nodes.iter().filter_map(host).collect() })
    };
    answer.as_sequence()?.iter().map(range).collect()
}

/// The slot of a key: CRC-16/XMODEM of it, or of what stands between its first `{` and the next `}`
/// (<https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tags>).
pub(super) fn slot_of(key: &[u8]) -> u16 {
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let rest = &key[open + 1..];
        let close = rest.iter().position(|byte| *byte == b'}')?;
        Some(&rest[..close]).filter(|tag| !tag.is_empty())
    });
    crc16(tag.unwrap_or(key)) % SLOTS as u16
}

fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc: u16, byte| (crc << 8) ^ CRC16[usize::from((crc >> 8) as u8 ^ byte)])
}

const CRC16: [u16; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut crc, mut bit) = ((byte as u16) << 8, 0);
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
        assert_eq!(slot_of(b"123456789"), 0x31C3);
        // As `CLUSTER KEYSLOT` says.
        assert_eq!((slot_of(b"foo"), slot_of(b"bar"), slot_of(b"")), (12_182, 5_061, 0));
    }

    #[test]
    fn what_stands_in_braces_decides_if_there_is_something() {
        assert_eq!(slot_of(b"{user1000}.following"), slot_of(b"user1000"));
        assert_eq!(slot_of(b"foo{bar}{zap}"), slot_of(b"bar"));
        assert_eq!(slot_of(b"foo{{bar}}zap"), slot_of(b"{bar"));
        for whole in ["foo{}{bar}", "foo{bar", "foo}bar{"] {
            assert_eq!(slot_of(whole.as_bytes()), crc16(whole.as_bytes()) % 16_384, "{whole}");
        }
    }

    #[test]
    fn a_node_without_a_name_is_the_one_that_was_asked() {
        let asked = Host { name: "here".to_owned(), port: 1 };
        let node = |name: Value, port| Value::Array(vec![name, Value::Int(port), bulk("id"), Value::Array(vec![])]);
        let answer = Value::Array(vec![Value::Array(vec![
            Value::Int(0),
            Value::Int(5460),
            node(bulk(""), 7000),
            node(bulk("10.0.0.2"), 7001),
            node(Value::Nil, 7002),
        ])]);
        let ranges = ranges(&answer, &asked).unwrap();
        let hosts: Vec<String> = ranges[0].hosts.iter().map(ToString::to_string).collect();
        assert_eq!((ranges[0].first, ranges[0].last), (0, 5460));
        assert_eq!(hosts, ["here:7000", "10.0.0.2:7001", "here:7002"]);
    }

    #[test]
    fn an_odd_answer_is_none() {
        let asked = Host { name: "here".to_owned(), port: 1 };
        assert_eq!(ranges(&Value::Okay, &asked), None);
        let beyond = Value::Array(vec![Value::Array(vec![Value::Int(0), Value::Int(16_384)])]);
        assert_eq!(ranges(&beyond, &asked), None);
    }
}
