//! Tags, and loads that began before something ended.

use std::sync::atomic::{AtomicU64, Ordering};

use covet_cache::{Cache, CacheKey, Error, Keyspace, Ttl};
use tokio::sync::oneshot;

use super::Stage;

static LISTS: Keyspace<u64> = Keyspace::new("lists", Ttl::Response);
static COUNTS: Keyspace<u64> = Keyspace::new("counts", Ttl::Query);

pub(crate) async fn a_tag_ends_all_that_bear_it_and_nothing_else(stage: &impl Stage) {
    let instances = stage.several(2).await;
    let (one, two) = (&instances[0].cache, &instances[1].cache);
    let (a, b) = (LISTS.key("a").tag("user:1"), COUNTS.key("b").tag("user:1").tag("all"));
    let (c, d) = (LISTS.key("c").tag("user:2").tag("all"), LISTS.key("d"));
    for (key, value) in [(&a, 1), (&b, 2), (&c, 3), (&d, 4)] {
        one.set(key, value).await.unwrap();
    }
    let there = async |cache: &Cache| {
        let mut there = Vec::new();
        for key in [&a, &b, &c, &d] {
            there.extend(cache.get(key).await.unwrap().map(|value| *value));
        }
        there
    };
    assert_eq!(there(two).await, [1, 2, 3, 4]);
    two.invalidate(["user:1"]).await.unwrap();
    assert_eq!((there(one).await, there(two).await), (vec![3, 4], vec![3, 4]));
    one.set(&b, 5).await.unwrap();
    assert_eq!(there(two).await, [5, 3, 4]);
    one.invalidate(["all", "nobody"]).await.unwrap();
    assert_eq!(there(two).await, [4]);
    one.invalidate(std::iter::empty::<&str>()).await.unwrap();
    assert_eq!(there(two).await, [4]);
}

pub(crate) async fn an_entry_read_with_other_tags_is_a_miss(stage: &impl Stage) {
    let cache = stage.open(|_| ()).await.cache;
    cache.set(&LISTS.key(1).tag("a"), 7).await.unwrap();
    for other in [LISTS.key(1), LISTS.key(1).tag("b"), LISTS.key(1).tag("a").tag("b")] {
        assert_eq!(cache.get(&other).await.unwrap(), None);
    }
    assert_eq!(cache.get(&LISTS.key(1).tag("a")).await.unwrap().as_deref(), Some(&7));
}

/// A source that can be changed, and a load of it that is held between reading it and telling.
struct Slow {
    source: AtomicU64,
}

impl Slow {
    fn read(&self) -> u64 {
        self.source.load(Ordering::SeqCst)
    }

    /// A load by `by` begins; the source changes to 2 and `changed` runs while it is held; who asks `also` after that must
    /// not be given what was before. Then it ends.
    async fn outrun(by: &Cache, also: &[&Cache], key: &CacheKey<u64>, changed: impl AsyncFnOnce(), after: u64) {
        let slow = Self { source: AtomicU64::new(1) };
        let (began, has_begun) = oneshot::channel();
        let (go_on, may_go_on) = oneshot::channel();
        let load = by.get_or_load(key, async || {
            let value = slow.read();
            began.send(()).unwrap();
            may_go_on.await.unwrap();
            Ok::<_, Error>(value)
        });
        let change = async {
            has_begun.await.unwrap();
            slow.source.store(2, Ordering::SeqCst);
            changed().await;
            for cache in also {
                let read = cache.get_or_load(key, async || Ok::<_, Error>(slow.read())).await.unwrap();
                assert_eq!(*read, after, "read after the change");
            }
            go_on.send(()).unwrap();
        };
        let (loaded, ()) = tokio::join!(load, change);
        assert_eq!(*loaded.unwrap(), 1, "who had asked before gets what was");
        for cache in also {
            let read = cache.get_or_load(key, async || Ok::<_, Error>(slow.read())).await.unwrap();
            assert_eq!(*read, after, "read after the load");
        }
    }
}

pub(crate) async fn what_was_being_loaded_when_its_tag_was_invalidated_is_not_used_after(stage: &impl Stage) {
    let instances = stage.several(3).await;
    let caches: Vec<&Cache> = instances.iter().map(|instance| &instance.cache).collect();
    for (round, by) in [0, 1, 2].into_iter().enumerate() {
        let key = LISTS.key(round).tag("outrun");
        let invalidate = async || caches[0].invalidate(["outrun"]).await.unwrap();
        Slow::outrun(caches[by], &caches, &key, invalidate, 2).await;
    }
    // A tag that nobody had used before.
    let key = LISTS.key("new").tag("never used");
    let invalidate = async || caches[1].invalidate(["never used"]).await.unwrap();
    Slow::outrun(caches[0], &caches, &key, invalidate, 2).await;
}

pub(crate) async fn what_was_being_loaded_when_its_key_was_deleted_is_not_used_after(stage: &impl Stage) {
    let instances = stage.several(3).await;
    let caches: Vec<&Cache> = instances.iter().map(|instance| &instance.cache).collect();
    for (round, by) in [0, 1].into_iter().enumerate() {
        for tagged in [false, true] {
            let key = LISTS.key(format_args!("{round} {tagged}"));
            let key = if tagged { key.tag("t") } else { key };
            let delete = async || {
                caches[0].delete(&key).await.unwrap();
            };
            Slow::outrun(caches[by], &caches, &key, delete, 2).await;
        }
    }
}

pub(crate) async fn what_was_being_loaded_when_its_key_was_set_does_not_replace_it(stage: &impl Stage) {
    let instances = stage.several(2).await;
    let caches: Vec<&Cache> = instances.iter().map(|instance| &instance.cache).collect();
    for by in [0, 1] {
        let key = COUNTS.key(by);
        let set = async || {
            caches[0].set(&key, 7).await.unwrap();
        };
        Slow::outrun(caches[by], &caches, &key, set, 7).await;
    }
}
