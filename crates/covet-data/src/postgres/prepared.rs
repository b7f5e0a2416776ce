//! Statements that one connection has prepared: each once, the least used forgotten first.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OnceCell;
use tokio_postgres::Client;

use super::types::Column;
use crate::decode::Columns;
use crate::statement::{IdHasher, Statement};

/// A statement that the server knows, and what its rows consist of.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) statement: tokio_postgres::Statement,
    pub(super) columns: Columns<Column>,
}

impl Prepared {
    pub(super) fn new(statement: tokio_postgres::Statement) -> Self {
        let columns = columns_of(statement.columns());
        Self { statement, columns }
    }
}

/// Names and types of a result's columns.
pub(super) fn columns_of(columns: &[tokio_postgres::Column]) -> Columns<Column> {
    Columns::new(columns.iter().map(Column::new).collect())
}

/// Those of one connection.
#[derive(Debug)]
pub(super) struct PreparedStatements {
    kept: Mutex<Kept>,
    limit: usize,
}

#[derive(Debug, Default)]
struct Kept {
    by_id: HashMap<u64, Entry, BuildHasherDefault<IdHasher>>,
    uses: u64,
}

#[derive(Debug)]
struct Entry {
    /// Empty while it is being prepared; who wants it too, waits.
    cell: Arc<OnceCell<Arc<Prepared>>>,
    last_use: u64,
}

/// Whether a statement was there before it was asked for. Only one that was can be out of date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Age {
    New,
    Old,
}

impl PreparedStatements {
    pub(super) fn new(limit: usize) -> Self {
        Self { kept: Mutex::default(), limit }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The statement, prepared now if it is not yet: that takes a round trip.
    pub(super) async fn get(
        &self,
        client: &Client,
        statement: &Statement,
    ) -> Result<(Arc<Prepared>, Age), tokio_postgres::Error> {
        let cell = self.kept().get(statement.id, self.limit);
        if let Some(prepared) = cell.get() {
            return Ok((Arc::clone(prepared), Age::Old));
        }
        let prepare = || async { client.prepare(&statement.text).await.map(|known| Arc::new(Prepared::new(known))) };
        let prepared = cell.get_or_try_init(prepare).await.inspect_err(|_| self.forget(statement))?;
        Ok((Arc::clone(prepared), Age::New))
    }

    /// Prepares it anew when it is asked for again.
    pub(super) fn forget(&self, statement: &Statement) {
        self.kept().by_id.remove(&statement.id);
    }
}

impl Kept {
    fn get(&mut self, id: u64, limit: usize) -> Arc<OnceCell<Arc<Prepared>>> {
        self.uses += 1;
        if let Some(entry) = self.by_id.get_mut(&id) {
            entry.last_use = self.uses;
            return Arc::clone(&entry.cell);
        }
        if self.by_id.len() >= limit
            && let Some(oldest) = self.by_id.iter().min_by_key(|(_, entry)| entry.last_use).map(|(id, _)| *id)
        {
            self.by_id.remove(&oldest);
        }
        let cell = Arc::default();
        self.by_id.insert(id, Entry { cell: Arc::clone(&cell), last_use: self.uses });
        cell
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_unused_for_longest_is_forgotten() {
        let mut kept = Kept::default();
        let cells: Vec<_> = (0..3).map(|id| kept.get(id, 3)).collect();
        assert!(Arc::ptr_eq(&kept.get(0, 3), &cells[0]));
        kept.get(3, 3);
        assert!(!kept.by_id.contains_key(&1));
        assert!(Arc::ptr_eq(&kept.get(0, 3), &cells[0]) && Arc::ptr_eq(&kept.get(2, 3), &cells[2]));
    }
}
