//! Writes of which other instances have to know, and theirs.

use std::fmt;
use std::sync::atomic::Ordering;

use super::{QueryCache, Writes};
use crate::Db;

/// A write to a table, as far as kept results are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableWrite<'a> {
    /// The table, as the statement spells it. `None`: it may have been any.
    pub table: Option<&'a str>,
    /// It is not known whether it has happened, and it may still.
    pub in_doubt: bool,
}

pub(super) struct Observer(Box<dyn Fn(TableWrite<'_>) + Send + Sync>);

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}

impl Db {
    /// Calls `observer` after each write through this `Db`, whether anything was kept of its table or not: for who tells
    /// other instances. It is called where the write ends, so it must be quick. The first observer stays.
    pub fn observe_writes(&self, observer: impl Fn(TableWrite<'_>) + Send + Sync + 'static) {
        let _ = self.query_cache().observer.set(Observer(Box::new(observer)));
    }

    /// Another instance has written: what its observer was told. Results that were made before are not given out any more.
    pub fn hear_of_write(&self, write: TableWrite<'_>) {
        let cache = self.query_cache();
        let writes = write.table.map_or(Writes::Anything, Writes::Table);
        match write.in_doubt {
            true => cache.tables.doubt(writes, cache.clock.monotonic() + cache.doubt),
            false => cache.tables.written(writes),
        }
    }

    /// While nobody would hear what other instances write (`false`) no result is kept or given out; what was kept before is
    /// forgotten.
    pub fn hears_of_writes(&self, hears: bool) {
        let cache = self.query_cache();
        if !hears {
            cache.deaf.store(true, Ordering::Release);
        }
        // Also when it hears again: a result that is being read is not kept.
        cache.tables.written(Writes::Anything);
        if hears {
            cache.deaf.store(false, Ordering::Release);
        }
    }
}

impl QueryCache {
    pub(super) fn tell(&self, writes: Writes<'_>, in_doubt: bool) {
        let Some(Observer(observer)) = self.observer.get() else { return };
        let table = match writes {
            Writes::Nothing => return,
            Writes::Table(table) => Some(table),
            Writes::Anything => None,
        };
        observer(TableWrite { table, in_doubt });
    }
}
