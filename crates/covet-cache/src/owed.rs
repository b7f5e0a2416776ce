//! [`Owed`]: invalidations and deletions that Redis could not be told.
//!
//! They are delivered when it is back. Until then this instance takes what they are about for not cached: it has made the
//! change that ended it. Other instances cannot know, and may give the old entries out if they reach Redis; a process that
//! ends meanwhile forgets what it owes, which it says in the log.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::{Error, Result};

/// Most that is kept. Beyond it the oldest entries may be given out until their time is over.
const MOST: usize = 10_000;

/// What is owed.
#[derive(Debug, Default)]
pub(crate) struct Owed {
    /// How many could not be told, to ask without the lock.
    failed: AtomicUsize,
    debts: Mutex<HashMap<Arc<str>, State>>,
    any: Notify,
}

/// One of them.
#[derive(Debug, Clone)]
pub(crate) struct Debt {
    /// Name of an entry or a tag, with its prefix.
    pub(crate) name: Arc<str>,
    /// Of a tag: how long its new generation lives.
    pub(crate) tag_ttl: Option<Duration>,
    serial: u64,
}

#[derive(Debug, Clone, Copy)]
struct State {
    tag_ttl: Option<Duration>,
    /// Raised by each that is added.
    serial: u64,
    /// Being told right now, by so many.
    telling: u32,
    /// Could not be told.
    failed: bool,
}

/// Names that are being told.
#[derive(Debug)]
pub(crate) struct Telling<'a> {
    owed: &'a Owed,
    names: Vec<Arc<str>>,
    succeeded: bool,
}

impl Owed {
    /// What a read is told of what is owed.
    pub(crate) fn error() -> Error {
        Error::Unavailable("an invalidation of this entry has not reached Redis yet".to_owned())
    }

    /// True if an entry with these tags must not be used.
    pub(crate) fn about(&self, name: &str, tags: &[String]) -> bool {
        if self.count() == 0 {
            return false;
        }
        let debts = self.debts();
        let failed = |name: &str| debts.get(name).is_some_and(|state| state.failed);
        failed(name) || tags.iter().any(|tag| failed(tag))
    }

    /// A key is about to be deleted.
    pub(crate) fn owe_key(&self, name: &str) -> Telling<'_> {
        self.owe(vec![name.into()], None)
    }

    /// Tags are about to be invalidated.
    pub(crate) fn owe_tags(&self, tags: &[String], ttl: Duration) -> Telling<'_> {
        self.owe(tags.iter().map(|tag| tag.as_str().into()).collect(), Some(ttl))
    }

    fn owe(&self, names: Vec<Arc<str>>, tag_ttl: Option<Duration>) -> Telling<'_> {
        let mut debts = self.debts();
        for name in &names {
            let fresh = State { tag_ttl, serial: 0, telling: 0, failed: false };
            let state = debts.entry(Arc::clone(name)).or_insert(fresh);
            state.telling += 1;
            state.serial += 1;
        }
        drop(debts);
        Telling { owed: self, names, succeeded: false }
    }

    /// An entry was written anew: nothing of it is owed.
    pub(crate) fn settled(&self, name: &str) {
        if self.count() > 0 {
            self.settle(&mut self.debts(), name);
        }
    }

    fn settle(&self, debts: &mut HashMap<Arc<str>, State>, name: &str) {
        let Some(state) = debts.get_mut(name) else { return };
        if std::mem::take(&mut state.failed) {
            self.failed.fetch_sub(1, Ordering::AcqRel);
        }
        if state.telling == 0 {
            debts.remove(name);
        }
    }

    /// Returns when something could not be told.
    pub(crate) async fn any(&self) {
        loop {
            let told = self.any.notified();
            if !self.all().is_empty() {
                return;
            }
            told.await;
        }
    }

    /// All that could not be told.
    pub(crate) fn all(&self) -> Vec<Debt> {
        let debts = self.debts();
        let failed = debts.iter().filter(|(_, state)| state.failed);
        failed
            .map(|(name, state)| Debt { name: Arc::clone(name), tag_ttl: state.tag_ttl, serial: state.serial })
            .collect()
    }

    /// These have been told. True if nothing is left.
    pub(crate) fn paid(&self, paid: &[Debt]) -> bool {
        let mut debts = self.debts();
        for debt in paid {
            // One that was added meanwhile may have come to Redis after it.
            if debts.get(&debt.name).is_some_and(|state| state.serial == debt.serial) {
                self.settle(&mut debts, &debt.name);
            }
        }
        self.count() == 0
    }

    /// How many could not be told.
    pub(crate) fn count(&self) -> usize {
        self.failed.load(Ordering::Acquire)
    }

    fn debts(&self) -> MutexGuard<'_, HashMap<Arc<str>, State>> {
        self.debts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Telling<'_> {
    /// This is what has become of it.
    pub(crate) fn ended<R>(mut self, outcome: Result<R>) -> Result<R> {
        self.succeeded = outcome.is_ok();
        outcome
    }
}

impl Drop for Telling<'_> {
    /// Also when the caller was dropped: nobody knows then.
    fn drop(&mut self) {
        let owed = self.owed;
        let mut debts = owed.debts();
        for name in &self.names {
            let Some(state) = debts.get_mut(name) else { continue };
            state.telling -= 1;
            if !self.succeeded && !state.failed {
                if owed.count() < MOST {
                    state.failed = true;
                    owed.failed.fetch_add(1, Ordering::AcqRel);
                } else {
                    tracing::error!(
                        kept = MOST,
                        "the cache cannot be told of an invalidation, and so many wait already: old entries may be given \
                         out until their time is over"
                    );
                }
            }
            if state.telling == 0 && !state.failed {
                debts.remove(name);
            }
        }
        drop(debts);
        if !self.succeeded {
            owed.any.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn failed() -> Result<()> {
        Err(Error::Unavailable("gone".to_owned()))
    }

    #[test]
    fn what_could_not_be_told_is_not_used_until_it_was() {
        let owed = Owed::default();
        let tags = ["tag:a".to_owned()];
        owed.owe_key("x:1").ended(failed()).unwrap_err();
        owed.owe_tags(&tags, DAY).ended(failed()).unwrap_err();
        owed.owe_key("x:2").ended(Ok(())).unwrap();
        assert!(owed.about("x:1", &[]) && owed.about("x:3", &tags));
        assert!(!owed.about("x:2", &[]) && !owed.about("x:3", &["tag:b".to_owned()]));
        let debts = owed.all();
        assert_eq!(debts.len(), 2);
        assert!(owed.paid(&debts));
        assert!(!owed.about("x:1", &[]) && !owed.about("x:3", &tags));
        assert!(owed.debts().is_empty());
    }

    #[test]
    fn one_that_fails_again_while_it_is_told_stays_owed() {
        let owed = Owed::default();
        owed.owe_key("x:1").ended(failed()).unwrap_err();
        let debts = owed.all();
        owed.owe_key("x:1").ended(failed()).unwrap_err();
        assert!(!owed.paid(&debts));
        assert!(owed.about("x:1", &[]));
        assert!(owed.paid(&owed.all()));
    }

    #[test]
    fn a_caller_that_leaves_leaves_it_owed_and_a_new_entry_settles_it() {
        let owed = Owed::default();
        drop(owed.owe_key("x:1"));
        assert!(owed.about("x:1", &[]));
        owed.settled("x:1");
        assert!(!owed.about("x:1", &[]));
        assert!(owed.debts().is_empty());
    }

    #[test]
    fn no_more_than_a_bound_is_kept() {
        let owed = Owed::default();
        for number in 0..=MOST {
            owed.owe_key(&format!("x:{number}")).ended(failed()).unwrap_err();
        }
        assert_eq!((owed.count(), owed.debts().len()), (MOST, MOST));
    }
}
