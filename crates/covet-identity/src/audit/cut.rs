//! Removing what is older than must be kept, so that the rest can still be proved.
//!
//! What is removed are the first entries, never some in between. The removal is an entry itself, with the number and the
//! hash of the last entry that is gone: the first that is left must name that hash as the one before it. So whoever removes
//! entries past [`Trail::cut`] is found, and who has removed entries by it stands in the trail.

use covet_data::{Db, Error, Transaction, params};
use covet_telemetry::logging::vocabulary::AUDIT_TRAIL_CUT;
use jiff::Timestamp;
use serde::Deserialize;

use super::entry::{Entry, Value};
use super::trail::Trail;

/// Removed in one transaction at most: it is over in some milliseconds.
const BATCH: u32 = 1000;

/// Held by the instance that removes.
const CUTTING: &str = "covet.audit.cutting";

/// What an entry about a cut says: the last entry that is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) through: i64,
    pub(super) hash: String,
}

impl Cut {
    fn entry(&self) -> Entry {
        let entry = Entry::new(AUDIT_TRAIL_CUT, "old entries of the audit trail have been removed");
        entry.after("through", self.through).after("hash", Value::hash(&self.hash))
    }

    /// As read from an entry's changes.
    pub(super) fn read(changes: &str) -> Option<Self> {
        #[derive(Deserialize)]
        struct To<T> {
            to: T,
        }
        #[derive(Deserialize)]
        struct Changes {
            through: To<i64>,
            hash: To<String>,
        }
        let changes: Changes = serde_json::from_str(changes).ok()?;
        Some(Self { through: changes.through.to, hash: changes.hash.to })
    }
}

impl Trail {
    /// Removes the entries recorded before `before`, and says how many. Those after the first that is not older stay, whatever
    /// their time. Harmless to run twice at once: one does it.
    ///
    /// # Errors
    /// Of the database. What was removed before stays removed, and is in the trail.
    pub async fn cut(&self, db: &Db, before: Timestamp) -> Result<u64, Error> {
        let mut removed = 0;
        loop {
            let transaction = db.begin().await?;
            if !transaction.try_lock(CUTTING).await? {
                return Ok(removed);
            }
            let (Some(cut), entries) = oldest(&transaction, before).await? else {
                // Waits, so that the lock is free when this returns.
                transaction.rollback().await;
                return Ok(removed);
            };
            // The triggers let go of what this row says.
            let sql = "INSERT INTO audit_cuts (through_sequence) VALUES ($1)";
            transaction.execute(sql, params![cut.through]).await?;
            let sql = "DELETE FROM audit_cuts WHERE through_sequence < $1";
            transaction.execute(sql, params![cut.through]).await?;
            let sql = "DELETE FROM audit_entries WHERE sequence <= $1";
            removed += transaction.execute(sql, params![cut.through]).await?;
            self.commit(transaction, cut.entry()).await?;
            if entries < BATCH {
                return Ok(removed);
            }
        }
    }
}

/// The first entries that are older, as far as one transaction goes.
async fn oldest(transaction: &Transaction, before: Timestamp) -> Result<(Option<Cut>, u32), Error> {
    let sql = "SELECT sequence, recorded_at, hash FROM audit_entries ORDER BY sequence LIMIT $1";
    let first: Vec<(i64, Timestamp, String)> = transaction.all(sql, params![BATCH]).await?;
    let older = first.into_iter().take_while(|(_, recorded_at, _)| *recorded_at < before);
    let (count, last) = older.fold((0, None), |(count, _), entry| (count + 1, Some(entry)));
    Ok((last.map(|(through, _, hash)| Cut { through, hash }), count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_is_read_as_it_was_written() {
        let cut = Cut { through: 17, hash: "ab".repeat(32) };
        assert_eq!(Cut::read(&cut.entry().changes_text().unwrap()), Some(cut));
        assert_eq!(Cut::read("{}"), None);
    }
}
