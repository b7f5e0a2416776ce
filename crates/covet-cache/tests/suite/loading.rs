//! Loading what is not there, once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use covet_cache::{Keyspace, Ttl};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::{Stage, eventually};

static NAMES: Keyspace<String> = Keyspace::new("names", Ttl::Query);
static HOT: Keyspace<u64> = Keyspace::new("hot", Ttl::Of(Duration::from_millis(150)));
static NOTES: Keyspace<String> = Keyspace::new("notes", Ttl::Query).nothing_for(Duration::from_millis(400));

#[derive(Debug, Clone, PartialEq)]
struct Failure(&'static str);

/// Counts loads, also those under way at the same time.
#[derive(Debug, Default)]
struct Loads {
    all: AtomicUsize,
    underway: AtomicUsize,
    most: AtomicUsize,
}

impl Loads {
    async fn run<T>(&self, takes: Duration, value: T) -> Result<T, Failure> {
        self.all.fetch_add(1, Ordering::SeqCst);
        let underway = self.underway.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(underway, Ordering::SeqCst);
        tokio::time::sleep(takes).await;
        self.underway.fetch_sub(1, Ordering::SeqCst);
        Ok(value)
    }

    fn all(&self) -> usize {
        self.all.load(Ordering::SeqCst)
    }

    fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

pub(crate) async fn a_value_is_loaded_once_and_then_read(stage: &impl Stage) {
    let instances = stage.several(2).await;
    let (loads, key) = (Loads::default(), NAMES.key(1).tag("t"));
    for _ in 0..3 {
        for instance in &instances {
            let load = async || loads.run(Duration::ZERO, "ada".to_owned()).await;
            assert_eq!(*instance.cache.get_or_load(&key, load).await.unwrap(), "ada");
        }
    }
    assert_eq!(loads.all(), 1);
}

pub(crate) async fn a_thousand_misses_over_three_instances_load_once(stage: &impl Stage) {
    let instances = stage.several(3).await;
    for tagged in [false, true] {
        let (loads, start) = (Arc::new(Loads::default()), Arc::new(Barrier::new(1000)));
        let mut callers = JoinSet::new();
        for caller in 0..1000 {
            let (cache, loads, start) = (instances[caller % 3].cache.clone(), Arc::clone(&loads), Arc::clone(&start));
            callers.spawn(async move {
                let key = NAMES.key(format_args!("herd {tagged}"));
                let key = if tagged { key.tag("herd") } else { key };
                start.wait().await;
                let load = async || loads.run(Duration::from_millis(50), "ada".to_owned()).await;
                cache.get_or_load(&key, load).await
            });
        }
        while let Some(got) = callers.join_next().await {
            assert_eq!(*got.unwrap().unwrap(), "ada");
        }
        assert_eq!(loads.all(), 1, "tagged: {tagged}");
    }
}

pub(crate) async fn a_hot_key_that_expires_is_loaded_by_one_at_a_time(stage: &impl Stage) {
    let instances = stage.several(3).await;
    let loads = Arc::new(Loads::default());
    let mut callers = JoinSet::new();
    for caller in 0..30 {
        let (cache, loads) = (instances[caller % 3].cache.clone(), Arc::clone(&loads));
        callers.spawn(async move {
            let key = HOT.key("page").tag("pages");
            // Until it has expired a few times.
            while loads.all() < 5 {
                let load = async || loads.run(Duration::from_millis(20), 7).await;
                assert_eq!(*cache.get_or_load(&key, load).await.unwrap(), 7);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
    }
    while let Some(caller) = callers.join_next().await {
        caller.unwrap();
    }
    assert_eq!(loads.most(), 1);
}

pub(crate) async fn a_caller_who_leaves_is_replaced(stage: &impl Stage) {
    let instances = stage.several(2).await;
    let (loads, key) = (Arc::new(Loads::default()), NAMES.key("left"));
    let leaver = {
        let (cache, loads, key) = (instances[0].cache.clone(), Arc::clone(&loads), key.clone());
        tokio::spawn(async move {
            let load = async || loads.run(Duration::from_secs(3600), "never".to_owned()).await;
            cache.get_or_load(&key, load).await
        })
    };
    eventually("the load to begin", async || loads.all() == 1).await;
    let mut others = JoinSet::new();
    for caller in 0..20 {
        let (cache, loads, key) = (instances[caller % 2].cache.clone(), Arc::clone(&loads), key.clone());
        others.spawn(async move {
            let load = async || loads.run(Duration::from_millis(20), "ada".to_owned()).await;
            cache.get_or_load(&key, load).await
        });
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(loads.all(), 1, "they wait");
    leaver.abort();
    while let Some(got) = others.join_next().await {
        assert_eq!(*got.unwrap().unwrap(), "ada");
    }
    assert_eq!(loads.all(), 2);
}

pub(crate) async fn a_load_that_panics_is_taken_over(stage: &impl Stage) {
    let cache = stage.open(|_| ()).await.cache;
    let (key, loads) = (NAMES.key("panic"), Arc::new(AtomicUsize::new(0)));
    let panics = {
        let (cache, key, loads) = (cache.clone(), key.clone(), Arc::clone(&loads));
        tokio::spawn(async move {
            cache
                .get_or_load(&key, async || -> Result<String, Failure> {
                    loads.fetch_add(1, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    panic!("in a load, as this test wants it");
                })
                .await
        })
    };
    eventually("the load to begin", async || loads.load(Ordering::SeqCst) == 1).await;
    let got = cache.get_or_load(&key, async || Ok::<_, Failure>("ada".to_owned())).await;
    assert_eq!(*got.unwrap(), "ada");
    assert!(panics.await.is_err_and(|error| error.is_panic()));
    assert_eq!(cache.get(&key).await.unwrap().as_deref().map(String::as_str), Some("ada"));
}

pub(crate) async fn errors_are_not_kept_and_who_waited_loads_for_himself(stage: &impl Stage) {
    let cache = stage.open(|_| ()).await.cache;
    let (key, loads) = (NAMES.key("failing"), Arc::new(Loads::default()));
    let mut callers = JoinSet::new();
    for _ in 0..10 {
        let (cache, key, loads) = (cache.clone(), key.clone(), Arc::clone(&loads));
        callers.spawn(async move {
            cache
                .get_or_load(&key, async || {
                    loads.run(Duration::from_millis(50), ()).await?;
                    Err::<String, _>(Failure("the source is away"))
                })
                .await
        });
    }
    while let Some(got) = callers.join_next().await {
        assert_eq!(got.unwrap().unwrap_err(), Failure("the source is away"));
    }
    assert_eq!(loads.all(), 10);
    assert!(loads.most() > 1, "not one after the other");
    let got = cache.get_or_load(&key, async || Ok::<_, Failure>("ada".to_owned())).await;
    assert_eq!(*got.unwrap(), "ada");
}

pub(crate) async fn that_there_is_nothing_is_remembered_for_a_moment(stage: &impl Stage) {
    let instances = stage.several(2).await;
    let (loads, key) = (Loads::default(), NOTES.key(404));
    let find = async |value: Option<&str>| {
        let mut found = Vec::new();
        for instance in &instances {
            let load = async || loads.run(Duration::ZERO, value.map(str::to_owned)).await;
            found.push(instance.cache.find_or_load(&key, load).await.unwrap().map(|text| text.as_str().to_owned()));
        }
        assert_eq!(found[0], found[1]);
        found.remove(0)
    };
    assert_eq!(find(None).await, None);
    assert_eq!(find(Some("made meanwhile")).await, None);
    assert_eq!(loads.all(), 1);
    assert_eq!(instances[0].cache.get(&key).await.unwrap(), None);
    // Who cannot do with nothing loads.
    let got = instances[0].cache.get_or_load(&key, async || Ok::<_, Failure>("there".to_owned())).await;
    assert_eq!(*got.unwrap(), "there");
    assert_eq!(find(None).await.as_deref(), Some("there"));

    instances[1].cache.delete(&key).await.unwrap();
    assert_eq!(find(None).await, None);
    instances[1].cache.delete(&key).await.unwrap();
    assert_eq!(find(Some("made")).await.as_deref(), Some("made"));

    instances[1].cache.delete(&key).await.unwrap();
    assert_eq!(find(None).await, None);
    eventually("it to be forgotten", async || {
        let load = async || loads.run(Duration::ZERO, Some("made later".to_owned())).await;
        instances[1].cache.find_or_load(&key, load).await.unwrap().is_some()
    })
    .await;
}
