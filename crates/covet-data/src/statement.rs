//! What is known of each distinct statement text: its labels, its metric handles, how long it tends to take.
//!
//! Looked up once per query by text, so that nothing is classified or resolved twice. Not here: prepared
//! statements, which belong to a connection (`sqlite/connection.rs`, `postgres/prepared.rs`).

mod classify;
mod pace;
mod redact;
mod split;
mod tokens;

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use classify::changes_within;
pub(crate) use classify::{Operation, classify};
pub(crate) use pace::{Estimate, Pace};
pub(crate) use redact::redact;
pub(crate) use split::split;

use covet_telemetry::request;

use crate::Error;
use crate::instruments::{Instruments, InstrumentsCache};
use crate::plans::Plans;
use crate::query_cache::Writes;
use crate::spans::{self, System, Texts};

/// Distinct texts remembered. A program has some hundred; text with values pasted in has no end.
const REMEMBERED: usize = 2_048;

/// A statement text and what is known of it.
#[derive(Debug)]
pub(crate) struct Statement {
    /// Never used again in this process, also when the text is forgotten and met again.
    pub(crate) id: u64,
    pub(crate) text: Box<str>,
    pub(crate) operation: Operation,
    /// SQLite: for each of its parameters, in its order, which of `$1`, `$2`, … it takes. Set at the first preparation.
    pub(crate) bindings: OnceLock<Box<[usize]>>,
    /// SQLite: the last run took so little that handing it to another thread would cost more.
    quick: AtomicBool,
    table: Option<Box<str>>,
    /// Data-modifying common table expressions, procedures and the like.
    writes_anything: bool,
    pub(crate) system: System,
    /// What its spans say.
    pub(crate) texts: Texts,
    /// PostgreSQL: how long it tends to take.
    pub(crate) pace: Pace,
    instruments: Arc<Instruments>,
    /// Where its plan is told if it was slow.
    plans: Option<Plans>,
}

impl Statement {
    /// Records a run: the one place where the outcome of a statement is told, whatever the database.
    pub(crate) fn measured<R>(&self, took: Duration, outcome: Result<(R, u64), Error>) -> Result<R, Error> {
        match outcome {
            Ok((output, rows)) => {
                self.ran(took, Ok(rows));
                Ok(output)
            }
            // "No such row" is an answer.
            Err(Error::NotFound) => {
                self.ran(took, Ok(0));
                Err(Error::NotFound)
            }
            Err(error) => {
                self.ran(took, Err(&error));
                Err(error)
            }
        }
    }

    /// Counts a run, for the request at hand too, and logs it if it was slow.
    fn ran(&self, took: Duration, outcome: Result<u64, &Error>) {
        request::current(|scope| scope.database().add(took));
        spans::statement_ran(self, took, outcome);
        if self.instruments.record(took, outcome) {
            tracing::warn!(
                operation = self.operation.label(),
                table = self.instruments.table(),
                duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
                statement = redact(&self.text),
                "slow query"
            );
            if let Some(plans) = &self.plans {
                plans.want(self);
            }
        }
    }

    /// What it writes to. A function that a `SELECT` calls is not looked into.
    pub(crate) fn writes(&self) -> Writes<'_> {
        match (self.operation, &self.table) {
            _ if self.writes_anything => Writes::Anything,
            (Operation::Select | Operation::Transaction, _) => Writes::Nothing,
            (Operation::Insert | Operation::Update | Operation::Delete, Some(table)) => Writes::Table(table),
            _ => Writes::Anything,
        }
    }

    /// The table, if one can be told.
    pub(crate) fn table(&self) -> Option<&str> {
        self.table.as_deref()
    }

    pub(crate) fn is_quick(&self) -> bool {
        self.quick.load(Ordering::Relaxed)
    }

    pub(crate) fn set_quick(&self, quick: bool) {
        // Stored only when it changes: the line is read by every thread.
        if self.is_quick() != quick {
            self.quick.store(quick, Ordering::Relaxed);
        }
    }
}

/// All statements met so far.
#[derive(Debug)]
pub(crate) struct Statements {
    known: RwLock<HashMap<Arc<str>, Arc<Statement>, Hashing>>,
    instruments: InstrumentsCache,
    system: System,
    plans: Option<Plans>,
}

impl Statements {
    pub(crate) fn new(slow_query: Duration, system: System, plans: Option<Plans>) -> Self {
        Self { known: RwLock::default(), instruments: InstrumentsCache::new(slow_query), system, plans }
    }

    /// The database they are for.
    pub(crate) fn system(&self) -> &System {
        &self.system
    }

    /// What is known of this text.
    pub(crate) fn get(&self, text: &str) -> Arc<Statement> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(statement) = known.get(text) {
            return Arc::clone(statement);
        }
        drop(known);
        self.meet(text)
    }

    #[cold]
    fn meet(&self, text: &str) -> Arc<Statement> {
        static IDS: AtomicU64 = AtomicU64::new(0);
        let (operation, table) = classify(text);
        let statement = Arc::new(Statement {
            id: IDS.fetch_add(1, Ordering::Relaxed),
            text: text.into(),
            operation,
            bindings: OnceLock::new(),
            quick: AtomicBool::new(false),
            pace: Pace::default(),
            instruments: self.instruments.get(operation, table.as_deref()),
            table: table.map(Into::into),
            writes_anything: changes_within(text),
            system: self.system.clone(),
            texts: Texts::default(),
            plans: self.plans.clone(),
        });
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            known.clear();
        }
        Arc::clone(known.entry(text.into()).or_insert(statement))
    }
}

/// A hasher for what is kept by [`Statement::id`].
#[derive(Debug, Default, Clone)]
pub(crate) struct IdHasher(u64);

impl std::hash::Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0 << 8 | u64::from(*byte));
    }

    fn write_u64(&mut self, id: u64) {
        // The table looks at the highest bits too.
        self.0 = id.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Texts come from the program, not from its callers, so the hash need not withstand an attacker.
#[derive(Debug, Default, Clone, Copy)]
struct Hashing;

impl BuildHasher for Hashing {
    type Hasher = Fnv;

    fn build_hasher(&self) -> Fnv {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

/// FNV-1a, eight bytes at a time.
struct Fnv(u64);

impl Fnv {
    fn take(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x0100_0000_01b3).rotate_left(29);
    }
}

impl std::hash::Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.take(u64::from_le_bytes(*word)));
        if !rest.is_empty() {
            self.take(rest.iter().fold(rest.len() as u64, |word, byte| word << 8 | u64::from(*byte)));
        }
    }

    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
}

#[cfg(test)]
mod tests {
    use covet_core::settings::{ConnectionUrl, Value as _};

    use super::*;

    fn sqlite() -> System {
        System::of(&ConnectionUrl::parse("sqlite://x.db").unwrap())
    }

    #[test]
    fn a_text_is_met_once() {
        let statements = Statements::new(Duration::from_secs(1), sqlite(), None);
        assert!(Arc::ptr_eq(&statements.get("SELECT 1"), &statements.get("SELECT 1")));
        assert_ne!(statements.get("SELECT 1").id, statements.get("SELECT 2").id);
    }

    #[test]
    fn text_without_end_is_forgotten_again() {
        let statements = Statements::new(Duration::from_secs(1), sqlite(), None);
        for n in 0..2 * REMEMBERED + 1 {
            statements.get(&format!("SELECT {n}"));
        }
        assert!(statements.known.read().unwrap().len() <= REMEMBERED);
    }
}
