//! One load of a key at a time in this process; whoever wants the same waits for it.
//!
//! The load runs in the task of one of the callers. Is that one dropped (its client has left, its time is over), another
//! that waits takes over with its own load. Does the load fail, each that waits loads for itself: they are not made to
//! fail one after the other, and no worse off than without a cache.
//!
//! A load that began before an invalidation is not joined after it, and what it brings is not stored: see
//! [`Flights::detach`]. Other processes are kept off by `remote/lease.rs`.

use std::any::Any;
use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// Locks that the keys are spread over.
const SHARDS: usize = 16;

/// A value of any type, or that there is none.
pub(crate) type Shared = Option<Arc<dyn Any + Send + Sync>>;

/// The loads under way.
#[derive(Debug)]
pub(crate) struct Flights {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
}

type Shard = HashMap<Box<str>, Vec<Arc<Flight>>>;

#[derive(Debug)]
struct Flight {
    /// Of the tags' generations.
    fingerprint: u64,
    tags: Box<[String]>,
    attached: AtomicBool,
    landing: watch::Sender<Landing>,
}

#[derive(Debug, Clone)]
enum Landing {
    Underway,
    Landed(Shared),
    Failed,
}

/// What is to be done by a caller.
#[derive(Debug)]
pub(crate) enum Turn<'a> {
    /// Load.
    Lead(Lead<'a>),
    /// Wait for who loads.
    Wait(Wait),
}

/// The load is this caller's. Dropped, it is another's.
#[derive(Debug)]
pub(crate) struct Lead<'a> {
    flights: &'a Flights,
    name: Box<str>,
    flight: Arc<Flight>,
}

/// Waits for another's load.
#[derive(Debug)]
pub(crate) struct Wait(watch::Receiver<Landing>);

/// What became of another's load.
#[derive(Debug)]
pub(crate) enum Waited {
    /// It brought this.
    Landed(Shared),
    /// It failed.
    Failed,
    /// Its caller is gone.
    Abandoned,
}

impl Flights {
    pub(crate) fn new() -> Self {
        Self { shards: std::array::from_fn(|_| Mutex::default()), hasher: RandomState::new() }
    }

    /// Joins the load of this key in this state of its tags, or begins one.
    pub(crate) fn join(&self, name: &str, fingerprint: u64, tags: &[String]) -> Turn<'_> {
        let mut shard = self.shard(name);
        if let Some(flight) =
            shard.get(name).and_then(|flights| flights.iter().find(|it| it.fingerprint == fingerprint))
        {
            return Turn::Wait(Wait(flight.landing.subscribe()));
        }
        let (landing, _) = watch::channel(Landing::Underway);
        let flight = Arc::new(Flight { fingerprint, tags: tags.into(), attached: AtomicBool::new(true), landing });
        shard.entry(name.into()).or_default().push(Arc::clone(&flight));
        Turn::Lead(Lead { flights: self, name: name.into(), flight })
    }

    /// What is being loaded for this key was perhaps read before what has just changed: nobody joins it any more, and it
    /// is not stored.
    pub(crate) fn detach(&self, name: &str) {
        if let Some(flights) = self.shard(name).remove(name) {
            flights.iter().for_each(|flight| flight.detach());
        }
    }

    /// The same for all keys that bear one of these tags.
    pub(crate) fn detach_tags(&self, tags: &[String]) {
        for shard in &self.shards {
            lock(shard).retain(|_, flights| {
                flights.retain(|flight| {
                    let meant = flight.tags.iter().any(|tag| tags.contains(tag));
                    if meant {
                        flight.detach();
                    }
                    !meant
                });
                !flights.is_empty()
            });
        }
    }

    fn shard(&self, name: &str) -> MutexGuard<'_, Shard> {
        lock(&self.shards[self.hasher.hash_one(name) as usize % SHARDS])
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Flight {
    fn detach(&self) {
        self.attached.store(false, Ordering::Release);
    }
}

impl Lead<'_> {
    /// Runs `store` unless the key has been deleted or invalidated since the load began. No [`Flights::detach`] of the key
    /// comes between.
    pub(crate) fn commit(&self, store: impl FnOnce()) {
        let _shard = self.flights.shard(&self.name);
        if self.is_current() {
            store();
        }
    }

    /// False when the key has been deleted or invalidated since the load began.
    pub(crate) fn is_current(&self) -> bool {
        self.flight.attached.load(Ordering::Acquire)
    }

    /// Gives those who wait what was loaded. Whoever comes before this is dropped gets it too.
    pub(crate) fn share(&self, value: Shared) {
        self.flight.landing.send_replace(Landing::Landed(value));
    }

    /// Lets those who wait load for themselves.
    pub(crate) fn fail(&self) {
        self.flight.landing.send_replace(Landing::Failed);
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        let mut shard = self.flights.shard(&self.name);
        if let Some(flights) = shard.get_mut(&*self.name) {
            flights.retain(|flight| !Arc::ptr_eq(flight, &self.flight));
            if flights.is_empty() {
                shard.remove(&*self.name);
            }
        }
    }
}

impl Wait {
    pub(crate) async fn landed(mut self) -> Waited {
        match self.0.wait_for(|landing| !matches!(landing, Landing::Underway)).await.as_deref() {
            Ok(Landing::Landed(value)) => Waited::Landed(value.clone()),
            Ok(_) => Waited::Failed,
            Err(_) => Waited::Abandoned,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lead<'a>(flights: &'a Flights, name: &str, fingerprint: u64, tags: &[String]) -> Lead<'a> {
        match flights.join(name, fingerprint, tags) {
            Turn::Lead(lead) => lead,
            Turn::Wait(_) => panic!("somebody loads {name} already"),
        }
    }

    fn wait(flights: &Flights, name: &str, fingerprint: u64) -> Wait {
        match flights.join(name, fingerprint, &[]) {
            Turn::Wait(wait) => wait,
            Turn::Lead(_) => panic!("nobody loads {name}"),
        }
    }

    #[tokio::test]
    async fn who_waits_gets_what_was_loaded_also_when_it_comes_late() {
        let flights = Flights::new();
        let lead = lead(&flights, "a", 0, &[]);
        let early = wait(&flights, "a", 0);
        lead.share(Some(Arc::new(7)));
        let late = wait(&flights, "a", 0);
        drop(lead);
        for waiting in [early, late] {
            let Waited::Landed(Some(value)) = waiting.landed().await else { panic!("nothing landed") };
            assert_eq!(value.downcast_ref(), Some(&7));
        }
        assert!(matches!(flights.join("a", 0, &[]), Turn::Lead(_)));
    }

    #[tokio::test]
    async fn a_load_that_is_dropped_is_taken_over_and_one_that_fails_is_not_waited_for_again() {
        let flights = Flights::new();
        let first = lead(&flights, "a", 0, &[]);
        let waiting = wait(&flights, "a", 0);
        drop(first);
        assert!(matches!(waiting.landed().await, Waited::Abandoned));
        let second = lead(&flights, "a", 0, &[]);
        let waiting = wait(&flights, "a", 0);
        second.fail();
        drop(second);
        assert!(matches!(waiting.landed().await, Waited::Failed));
    }

    #[tokio::test]
    async fn after_a_deletion_nobody_joins_and_nothing_is_stored() {
        let flights = Flights::new();
        let before = lead(&flights, "a", 0, &[]);
        flights.detach("a");
        let after = lead(&flights, "a", 0, &[]);
        before.commit(|| panic!("stored"));
        drop(before);
        assert!(matches!(flights.join("a", 0, &[]), Turn::Wait(_)), "the second load goes on");
        let mut stored = false;
        after.commit(|| stored = true);
        assert!(stored);
    }

    #[tokio::test]
    async fn after_an_invalidation_nobody_joins_what_bears_the_tag() {
        let flights = Flights::new();
        let (meant, other) = (lead(&flights, "a", 0, &["tag:x".into()]), lead(&flights, "b", 0, &["tag:y".into()]));
        flights.detach_tags(&["tag:x".into()]);
        assert!(!meant.is_current() && other.is_current());
        assert!(matches!(flights.join("a", 0, &[]), Turn::Lead(_)));
        assert!(matches!(flights.join("b", 0, &[]), Turn::Wait(_)));
    }

    #[tokio::test]
    async fn loads_in_different_states_of_the_tags_go_on_side_by_side() {
        let flights = Flights::new();
        let (one, two) = (lead(&flights, "a", 1, &[]), lead(&flights, "a", 2, &[]));
        drop(one);
        assert!(matches!(flights.join("a", 2, &[]), Turn::Wait(_)));
        drop(two);
        assert!(flights.shards.iter().all(|shard| lock(shard).is_empty()));
    }
}
