//! [`Tables`]: which state of its tables a result belongs to.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use arc_swap::ArcSwap;

/// The tables that cached queries depend on. Others are of no interest.
#[derive(Debug)]
pub(super) struct Tables {
    known: ArcSwap<HashMap<Box<str>, Arc<Table>>>,
    born: Instant,
}

#[derive(Debug, Default)]
struct Table {
    /// Raised by each write.
    generation: AtomicU64,
    /// Until then nobody knows what is in it. Milliseconds since the cache was made.
    in_doubt_until: AtomicU64,
}

/// What a statement writes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writes<'a> {
    Nothing,
    Table(&'a str),
    /// It cannot be told.
    Anything,
}

impl Tables {
    pub(super) fn new(born: Instant) -> Self {
        Self { known: ArcSwap::default(), born }
    }

    /// A number that no state of these tables had before. `None`: it is not known in which state they are.
    pub(super) fn generation(&self, tables: &[&str], now: Instant) -> Option<u64> {
        let known = self.known.load();
        let mut sum = 0;
        for table in tables {
            let Some(table) = known.get(*table) else {
                self.know(tables);
                return self.generation(tables, now);
            };
            if table.in_doubt_until.load(Ordering::Acquire) > self.millis(now) {
                return None;
            }
            // Of sums of what only grows, none comes twice.
            sum += table.generation.load(Ordering::Acquire);
        }
        Some(sum)
    }

    #[cold]
    fn know(&self, tables: &[&str]) {
        self.known.rcu(|known| {
            let mut known = HashMap::clone(known);
            for table in tables {
                known.entry((*table).into()).or_default();
            }
            known
        });
    }

    pub(super) fn written(&self, writes: Writes<'_>) {
        self.each(writes, |table| {
            table.generation.fetch_add(1, Ordering::AcqRel);
        });
    }

    /// Somebody may be writing to them, until then.
    pub(super) fn doubt(&self, writes: Writes<'_>, until: Instant) {
        let until = self.millis(until);
        self.each(writes, |table| {
            table.in_doubt_until.fetch_max(until, Ordering::AcqRel);
            table.generation.fetch_add(1, Ordering::AcqRel);
        });
    }

    fn each(&self, writes: Writes<'_>, tell: impl Fn(&Table)) {
        match writes {
            Writes::Nothing => {}
            Writes::Table(table) => self.known.load().get(table).into_iter().for_each(|table| tell(table)),
            Writes::Anything => self.known.load().values().for_each(|table| tell(table)),
        }
    }

    /// Rounded up, so that a doubt lasts at least as long as it should.
    fn millis(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.born);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use covet_core::clock::Clock;

    use super::*;

    #[test]
    fn each_write_makes_a_new_generation_of_its_table_and_of_no_other() {
        let now = Clock::system().monotonic();
        let tables = Tables::new(now);
        let generations = || [&["a"][..], &["b"], &["a", "b"]].map(|of| tables.generation(of, now).unwrap());
        let mut before = generations();
        for (writes, changed) in [
            (Writes::Table("a"), [true, false, true]),
            (Writes::Table("b"), [false, true, true]),
            (Writes::Table("c"), [false, false, false]),
            (Writes::Nothing, [false, false, false]),
            (Writes::Anything, [true, true, true]),
        ] {
            tables.written(writes);
            let after = generations();
            for (index, changed) in changed.into_iter().enumerate() {
                assert_eq!(after[index] > before[index], changed, "{writes:?} {index}");
            }
            before = after;
        }
    }

    #[test]
    fn while_a_write_is_in_doubt_there_is_no_generation() {
        let now = Clock::system().monotonic();
        let tables = Tables::new(now);
        let later = now + Duration::from_secs(1);
        let before = tables.generation(&["a"], now).unwrap();
        tables.doubt(Writes::Table("a"), later);
        assert_eq!((tables.generation(&["a"], now), tables.generation(&["b", "a"], now)), (None, None));
        assert!(tables.generation(&["b"], now).is_some());
        assert!(tables.generation(&["a"], later).unwrap() > before);
    }
}
