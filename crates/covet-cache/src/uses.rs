//! The metrics of a keyspace: handles resolved once for each, so that a read hashes no label.

use std::fmt;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use covet_telemetry::declare_metrics;
use covet_telemetry::metrics::instruments::{CacheInstruments, CacheUse};
use covet_telemetry::metrics::{Counter, Registry};

use crate::Keyspace;

declare_metrics! {
    /// Cache: values that it did not take.
    pub(crate) ALL;

    /// Values that were not cached, or not read, because of what they are.
    ///
    /// `reason`: `too_large` (`COVET_CACHE__VALUE_LIMIT`), `not_encodable` (its `Serialize` failed), `unreadable` (written by
    /// another release, or by somebody else: a miss).
    counter CACHE_VALUES_REFUSED_TOTAL = "cache_values_refused_total" {cache_type, key_prefix, reason};
}

/// Why a value was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    TooLarge,
    NotEncodable,
    Unreadable,
}

/// The handles of one keyspace in one cache.
#[derive(Debug)]
pub(crate) struct Use {
    pub(crate) reads: CacheUse,
    /// Those of the near tier.
    near: OnceLock<CacheUse>,
    refused: [OnceLock<Counter>; 3],
}

/// The handles of one cache, by the keyspaces' numbers.
#[derive(Debug)]
pub(crate) struct Uses {
    registry: Registry,
    instruments: CacheInstruments,
    near: OnceLock<CacheInstruments>,
    made: ArcSwap<Vec<Option<Arc<Use>>>>,
}

impl Refusal {
    const fn label(self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::NotEncodable => "not_encodable",
            Self::Unreadable => "unreadable",
        }
    }
}

impl Uses {
    pub(crate) fn new(registry: &Registry, instruments: &CacheInstruments) -> Self {
        Self {
            registry: registry.clone(),
            instruments: instruments.clone(),
            near: OnceLock::new(),
            made: ArcSwap::default(),
        }
    }

    /// Uses the handles of this keyspace. Counts no reference: all threads would share that count.
    pub(crate) fn with<T, R>(&self, keyspace: &Keyspace<T>, work: impl FnOnce(&Use) -> R) -> R {
        let number = keyspace.number();
        match self.made.load().get(number) {
            Some(Some(made)) => work(made),
            _ => work(&self.make(number, keyspace.prefix())),
        }
    }

    /// Those of the near tier.
    pub(crate) fn with_near<T, R>(&self, keyspace: &Keyspace<T>, work: impl FnOnce(&CacheUse) -> R) -> R {
        self.with(keyspace, |of| {
            let near = || self.near.get_or_init(|| CacheInstruments::new(&self.registry, "near"));
            work(of.near.get_or_init(|| near().of_prefix(keyspace.prefix())))
        })
    }

    #[cold]
    fn make(&self, number: usize, prefix: &'static str) -> Arc<Use> {
        let new = Arc::new(Use {
            reads: self.instruments.of_prefix(prefix),
            near: OnceLock::new(),
            refused: [const { OnceLock::new() }; 3],
        });
        self.made.rcu(|made| {
            let mut made = Vec::clone(made);
            if made.len() <= number {
                made.resize(number + 1, None);
            }
            made[number].get_or_insert_with(|| Arc::clone(&new));
            made
        });
        self.made.load().get(number).cloned().flatten().unwrap_or(new)
    }

    /// Counts a value that was not taken. The first of a kind is told in the log too.
    pub(crate) fn refused<T>(&self, keyspace: &Keyspace<T>, why: Refusal, error: &dyn fmt::Display) {
        self.with(keyspace, |of| {
            let counter = of.refused[why as usize].get_or_init(|| {
                tracing::warn!(
                    key_prefix = keyspace.prefix(),
                    %error,
                    "a value was not cached, or not read; further ones are only counted, in cache_values_refused_total"
                );
                let labels = [self.instruments.cache_type(), keyspace.prefix(), why.label()];
                self.registry.counter(CACHE_VALUES_REFUSED_TOTAL, &labels)
            });
            counter.increment(1);
        });
    }
}
