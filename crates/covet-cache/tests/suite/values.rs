//! Storing and reading.

use std::collections::BTreeMap;
use std::time::Duration;

use covet_cache::{Error, Keyspace, Ttl};
use serde::{Deserialize, Serialize};

use super::{Stage, eventually};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Shape {
    Circle { radius: f64 },
    Square(f64),
    Nothing,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Drawing {
    title: String,
    shapes: Vec<Shape>,
    by_layer: BTreeMap<u32, Option<String>>,
}

static DRAWINGS: Keyspace<Drawing> = Keyspace::new("drawings", Ttl::Query);
static TEXTS: Keyspace<String> = Keyspace::new("texts", Ttl::Static);

fn drawing() -> Drawing {
    Drawing {
        title: "Ünïcode".to_owned(),
        shapes: vec![Shape::Circle { radius: 1.5 }, Shape::Square(f64::MAX), Shape::Nothing],
        by_layer: [(1, None), (u32::MAX, Some("x".to_owned()))].into(),
    }
}

pub(crate) async fn what_was_stored_is_read_until_it_is_deleted(stage: &impl Stage) {
    let instance = stage.open(|_| ()).await;
    let (cache, key) = (&instance.cache, DRAWINGS.key(7));
    let kind = ("cache_type", cache.kind());
    assert_eq!(cache.get(&key).await.unwrap(), None);
    cache.set(&key, drawing()).await.unwrap();
    assert_eq!(*cache.get(&key).await.unwrap().unwrap(), drawing());
    cache.set(&key, Drawing { title: "new".into(), ..drawing() }).await.unwrap();
    assert_eq!(cache.get(&key).await.unwrap().unwrap().title, "new");
    assert!(cache.delete(&key).await.unwrap());
    assert!(!cache.delete(&key).await.unwrap());
    assert_eq!(cache.get(&key).await.unwrap(), None);

    let reads = [kind, ("key_prefix", "drawings")];
    assert_eq!(instance.metric("cache_hits_total", &reads), 2.0);
    assert_eq!(instance.metric("cache_misses_total", &reads), 2.0);
    for (operation, times) in [("get", 4.0), ("set", 2.0), ("delete", 2.0)] {
        let took = instance.metric("cache_operation_duration_seconds_count", &[kind, ("operation", operation)]);
        assert_eq!(took, times, "{operation}");
    }
    assert_eq!(instance.metric("cache_ttl_seconds_bucket", &[kind, ("le", "3600.0")]), 2.0);
    assert_eq!(instance.metric("cache_ttl_seconds_bucket", &[kind, ("le", "1800.0")]), 0.0);
}

pub(crate) async fn entries_end_when_their_time_is_over(stage: &impl Stage) {
    let instance = stage.open(|_| ()).await;
    let cache = &instance.cache;
    let (short, long) = (TEXTS.key("short").ttl(Ttl::Of(Duration::from_millis(300))), TEXTS.key("long"));
    cache.set(&short, "a".to_owned()).await.unwrap();
    cache.set(&long, "b".to_owned()).await.unwrap();
    eventually("the end of the entry", async || cache.get(&short).await.unwrap().is_none()).await;
    assert_eq!(*cache.get(&long).await.unwrap().unwrap(), "b");
    eventually("its key to be gone", async || instance.metric("cache_keys_total", &[]) == 1.0).await;
    assert_eq!(instance.metric("cache_evictions_total", &[]), 0.0, "time is no eviction");
}

pub(crate) async fn an_entry_can_be_given_another_time(stage: &impl Stage) {
    let instance = stage.open(|_| ()).await;
    let cache = &instance.cache;
    let (longer, shorter) = (TEXTS.key("longer").ttl(Ttl::Of(Duration::from_millis(500))), TEXTS.key("shorter"));
    cache.set(&longer, "a".to_owned()).await.unwrap();
    cache.set(&shorter, "b".to_owned()).await.unwrap();
    assert!(cache.expire(&longer, Ttl::Session).await.unwrap());
    assert!(cache.expire(&shorter, Ttl::Of(Duration::from_millis(900))).await.unwrap());
    assert!(!cache.expire(&TEXTS.key("none"), Ttl::Session).await.unwrap());
    eventually("the end of the entry", async || cache.get(&shorter).await.unwrap().is_none()).await;
    assert_eq!(*cache.get(&longer).await.unwrap().unwrap(), "a");
}

pub(crate) async fn a_value_that_is_too_large_is_refused_and_still_given_to_who_loaded_it(stage: &impl Stage) {
    let instance = stage.open(|settings| settings.value_limit = covet_core::settings::ByteSize::new(1000)).await;
    let (cache, key) = (&instance.cache, TEXTS.key("large"));
    cache.set(&key, "x".repeat(900)).await.unwrap();
    let error = cache.set(&key, "x".repeat(1001)).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { prefix: "texts", limit_bytes: 1000, .. }), "{error}");
    assert_eq!(cache.get(&key).await.unwrap().unwrap().len(), 900, "what was there before stays");

    let key = TEXTS.key("larger");
    for _ in 0..2 {
        let loaded = cache.get_or_load(&key, async || Ok::<_, Error>("x".repeat(2000))).await.unwrap();
        assert_eq!(loaded.len(), 2000);
        assert_eq!(cache.get(&key).await.unwrap(), None);
    }
    let refused = [("key_prefix", "texts"), ("reason", "too_large")];
    assert_eq!(instance.metric("cache_values_refused_total", &refused), 3.0);
}

pub(crate) async fn a_value_of_another_version_or_type_is_a_miss(stage: &impl Stage) {
    static OLD: Keyspace<String> = Keyspace::new("profiles", Ttl::Query);
    static NEW: Keyspace<String> = Keyspace::new("profiles", Ttl::Query).version(2);
    static OTHER: Keyspace<(u64, bool)> = Keyspace::new("profiles", Ttl::Query);
    let instance = stage.open(|_| ()).await;
    let cache = &instance.cache;
    cache.set(&OLD.key(1), "old".to_owned()).await.unwrap();
    assert_eq!(cache.get(&NEW.key(1)).await.unwrap(), None);
    assert_eq!(cache.get(&OTHER.key(1)).await.unwrap(), None);
    assert_eq!(*cache.get(&OLD.key(1)).await.unwrap().unwrap(), "old", "reading does not end it");
    let loaded = cache.get_or_load(&NEW.key(1), async || Ok::<_, Error>("new".to_owned())).await.unwrap();
    assert_eq!(*loaded, "new");
    assert_eq!(cache.get(&OLD.key(1)).await.unwrap(), None);
    assert!(cache.delete(&OLD.key(1)).await.unwrap(), "a deletion is for all releases");
    assert_eq!(cache.get(&NEW.key(1)).await.unwrap(), None);
}

pub(crate) async fn every_key_is_an_entry_of_its_own(stage: &impl Stage) {
    static OTHER_TEXTS: Keyspace<String> = Keyspace::new("other_texts", Ttl::Static);
    let instance = stage.open(|_| ()).await;
    let cache = &instance.cache;
    let long = "x".repeat(600);
    let keys =
        ["", " ", "a", "A", "a:b", "a\r\nb", "ä", "{a}", "{b}", "{a}{b}", "a{", "*", "\0", &long, &format!("{long}y")];
    for key in keys {
        cache.set(&TEXTS.key(key), key.to_owned()).await.unwrap();
    }
    for key in keys {
        assert_eq!(*cache.get(&TEXTS.key(key)).await.unwrap().unwrap(), key);
        assert_eq!(cache.get(&OTHER_TEXTS.key(key)).await.unwrap(), None, "{key}");
    }
    eventually("the keys to be counted", async || instance.metric("cache_keys_total", &[]) == keys.len() as f64).await;
}
