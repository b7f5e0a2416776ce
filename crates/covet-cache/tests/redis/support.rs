//! Opening caches on servers, and writing to them all the time.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use covet_cache::redis::redis::cmd;
use covet_cache::settings::CacheSettings;
use covet_cache::{Cache, CacheCollector, CacheOperation, CacheParts, Error, Redis};
use covet_core::clock::Clock;
use covet_core::secret::SecretString;
use covet_telemetry::metrics::Registry;
use covet_testkit::wait_until;
use tokio::task::JoinHandle;

use crate::suite::Instance;

/// A limit for what happens at once on an idle machine. Only a hopeless wait gets there.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// How to get to a Redis.
#[derive(Debug, Clone, Default)]
pub(crate) struct Place {
    pub(crate) url: String,
    pub(crate) authority: Option<PathBuf>,
    pub(crate) sentinel_password: Option<String>,
    /// Whether the time limits are those of production. Otherwise a busy machine is no reason to fail.
    pub(crate) quick: bool,
}

impl Place {
    pub(crate) fn at(url: String) -> Self {
        Self { url, ..Self::default() }
    }

    pub(crate) async fn open(&self, service: &str, change: impl FnOnce(&mut CacheSettings)) -> Instance {
        let mut settings = CacheSettings::at(&self.url);
        settings.tls_authority.clone_from(&self.authority);
        settings.sentinel_password = self.sentinel_password.clone().map(SecretString::from);
        if !self.quick {
            settings.timeout = Duration::from_secs(2);
            settings.connect_timeout = Duration::from_secs(5);
        }
        change(&mut settings);
        let (metrics, clock) = (Registry::new(), Clock::system());
        let parts = CacheParts { settings: &settings, service, metrics: &metrics, clock: &clock };
        let cache = Cache::connect(parts).await.unwrap();
        metrics.register(Arc::new(CacheCollector::new(&cache)));
        Instance { cache, metrics }
    }

    pub(crate) async fn redis(&self) -> Redis {
        self.redis_with(|_| ()).await
    }

    pub(crate) async fn redis_with(&self, change: impl FnOnce(&mut CacheSettings)) -> Redis {
        self.open("test", change).await.cache.redis().unwrap().clone()
    }
}

/// The time of day, as the servers' logs have it.
pub(crate) fn now() -> SystemTime {
    Clock::system().now().into()
}

pub(crate) async fn set(redis: &Redis, key: &str, value: u64) -> Result<(), Error> {
    redis.call(CacheOperation::Set, cmd("SET").arg(key).arg(value)).await
}

pub(crate) async fn get(redis: &Redis, key: &str) -> Result<Option<u64>, Error> {
    redis.call(CacheOperation::Get, cmd("GET").arg(key)).await
}

/// Writers at work, each with keys of its own, all with growing values, reading each back.
pub(crate) struct Load {
    go_on: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    writers: Vec<JoinHandle<Report>>,
}

/// What a writer did.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// When writes were acknowledged.
    pub(crate) written_at: Vec<SystemTime>,
    /// The last acknowledged value of each key, and what was tried after it.
    pub(crate) values: BTreeMap<String, (u64, u64)>,
    /// How often it was told what is wrong.
    pub(crate) refused: BTreeMap<&'static str, usize>,
    pub(crate) slowest: Duration,
}

const WRITERS: usize = 8;
const KEYS: u64 = 50;

impl Load {
    pub(crate) fn start(redis: &Redis) -> Self {
        let (go_on, written) = (Arc::new(AtomicBool::new(true)), Arc::<AtomicU64>::default());
        let writers = (0..WRITERS)
            .map(|writer| {
                let (redis, go_on, written) = (redis.clone(), Arc::clone(&go_on), Arc::clone(&written));
                tokio::spawn(async move { write(&redis, writer, &go_on, &written).await })
            })
            .collect();
        Self { go_on, written, writers }
    }

    /// Waits until so many more writes have been acknowledged.
    pub(crate) async fn more(&self, count: u64) {
        let before = self.written.load(Ordering::Relaxed);
        let arrived = wait_until(format!("{count} more acknowledged writes"), SOON, async || {
            let more = self.written.load(Ordering::Relaxed) - before;
            if more >= count { Ok(()) } else { Err(more) }
        });
        arrived.await.unwrap();
    }

    pub(crate) async fn stop(self) -> Vec<Report> {
        self.go_on.store(false, Ordering::Relaxed);
        let mut reports = Vec::new();
        for writer in self.writers {
            reports.push(writer.await.unwrap());
        }
        reports
    }
}

/// Makes sure that nothing else was told than that Redis is away, and adds up how often.
pub(crate) fn refusals(reports: &[Report]) -> usize {
    let mut sum = BTreeMap::<&str, usize>::new();
    for (kind, count) in reports.iter().flat_map(|report| &report.refused) {
        *sum.entry(kind).or_default() += count;
    }
    assert!(sum.keys().all(|kind| ["unavailable", "timeout"].contains(kind)), "{sum:?}");
    sum.values().sum()
}

async fn write(redis: &Redis, writer: usize, go_on: &AtomicBool, written: &AtomicU64) -> Report {
    let mut report = Report::default();
    for number in 1.. {
        if !go_on.load(Ordering::Relaxed) {
            break;
        }
        let key = format!("writer:{writer}:{}", number % KEYS);
        let began = tokio::time::Instant::now();
        let outcome = set(redis, &key, number).await;
        report.slowest = report.slowest.max(began.elapsed());
        let (acknowledged, tried) = report.values.entry(key.clone()).or_default();
        *tried = number;
        match outcome {
            Ok(()) => {
                *acknowledged = number;
                report.written_at.push(now());
                written.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => *report.refused.entry(error.kind()).or_default() += 1,
        }
        // Bounded, and not all at once.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    report
}
