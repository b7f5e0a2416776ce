//! Whether the trail is what was recorded: [`verify()`].
//!
//! | id | finding |
//! |---|---|
//! | `CVT-AUDIT-001` | an entry's content is not what its hash says |
//! | `CVT-AUDIT-002` | an entry's address, request id or salt is not what its digest says |
//! | `CVT-AUDIT-003` | entries are missing in between |
//! | `CVT-AUDIT-004` | an entry does not follow the one before it |
//! | `CVT-AUDIT-005` | entries are missing at the beginning, and no cut tells of them |
//! | `CVT-AUDIT-006` | the log tells of an entry that is not there |
//! | `CVT-AUDIT-007` | the log has another hash of an entry |
//!
//! The entries come as a stream and one is looked at after another, so memory does not depend on how many there are.

use std::collections::HashMap;

use covet_data::{Db, Error, Params, params};
use covet_telemetry::logging::vocabulary::AUDIT_TRAIL_CUT;
use serde::Serialize;

use super::anchor::Anchor;
use super::cut::Cut;
use super::stored::{COLUMNS, NO_HASH, Stored};

/// Findings that are told one by one; more are counted.
const MOST_TOLD: usize = 100;

/// Anchors that are looked up at a time.
const ANCHORS_AT_ONCE: usize = 500;

/// What was found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Verification {
    /// How many entries there are.
    pub entries: u64,
    /// Number of the first; none in an empty trail.
    pub first: Option<i64>,
    /// Number of the last.
    pub last: Option<i64>,
    /// Hash of the last.
    pub last_hash: Option<String>,
    /// How many anchors they have been compared with; those of entries that have been cut not counted.
    pub anchors: u64,
    /// How much is wrong.
    pub found: u64,
    /// The first hundred of it.
    pub findings: Vec<Finding>,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Names the kind of finding: `CVT-AUDIT-001` and so on.
    pub id: &'static str,
    /// Number of the entry.
    pub sequence: i64,
    /// What is wrong, for people.
    pub what: String,
}

/// Looks at every entry: whether its content is what its hash says, whether it follows the entry before it, and whether
/// entries that are missing at the beginning have been [cut](super::Trail::cut). That none is missing at the end is known
/// after [`Verification::compare`].
///
/// # Errors
/// Of the database.
pub async fn verify(db: &Db) -> Result<Verification, Error> {
    let mut verification = Verification::default();
    let mut reading = Reading::default();
    // A replica may be a little behind; what it does not have yet would look cut off.
    let position = db.position().await?;
    let sql = format!("SELECT {COLUMNS} FROM audit_entries ORDER BY sequence");
    let mut entries = db.read_your_writes(&position).stream::<Stored>(&sql, params![]).await?;
    while let Some(entry) = entries.next().await {
        reading.look_at(entry?, &mut verification);
    }
    reading.end(&mut verification);
    Ok(verification)
}

impl Verification {
    /// Whether everything is as it was recorded.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        self.found == 0
    }

    /// Compares the trail with what the log has told of it. Anchors of entries that have been cut are passed over.
    ///
    /// # Errors
    /// Of the database.
    pub async fn compare(&mut self, db: &Db, anchors: &[Anchor]) -> Result<(), Error> {
        for anchors in anchors.chunks(ANCHORS_AT_ONCE) {
            let mut values = Params::none();
            let numbers: Vec<String> =
                anchors.iter().map(|anchor| format!("${}", values.push(&anchor.sequence))).collect();
            let sql = format!("SELECT sequence, hash FROM audit_entries WHERE sequence IN ({})", numbers.join(", "));
            let present: Vec<(i64, String)> = db.write().all(&sql, values).await?;
            let present: HashMap<i64, String> = present.into_iter().collect();
            // Asked after them: what has been cut meanwhile is not missing.
            let first = db.write().one::<Option<i64>>("SELECT min(sequence) FROM audit_entries", params![]).await?;
            for anchor in anchors {
                self.compare_one(anchor, present.get(&anchor.sequence), first);
            }
        }
        Ok(())
    }

    fn compare_one(&mut self, anchor: &Anchor, present: Option<&String>, first: Option<i64>) {
        // The beginning has been looked at already: what is not there has been cut, or has been found.
        if present.is_none() && first.is_some_and(|first| anchor.sequence < first) {
            return;
        }
        self.anchors += 1;
        match present {
            None => self.find("CVT-AUDIT-006", anchor.sequence, "the log tells of this entry, and it is not there"),
            Some(hash) if *hash != anchor.hash => {
                self.find(
                    "CVT-AUDIT-007",
                    anchor.sequence,
                    "the log has another hash of this entry: the chain was made anew",
                );
            }
            Some(_) => {}
        }
    }

    fn find(&mut self, id: &'static str, sequence: i64, what: impl Into<String>) {
        self.found += 1;
        if self.findings.len() < MOST_TOLD {
            self.findings.push(Finding { id, sequence, what: what.into() });
        }
    }
}

/// What has to be known of the entries before.
#[derive(Debug, Default)]
struct Reading {
    /// Of the first: its number, and the hash that it names as the one before it.
    first: Option<(i64, String)>,
    cut: Option<Cut>,
}

impl Reading {
    fn look_at(&mut self, entry: Stored, verification: &mut Verification) {
        let sequence = entry.sequence;
        if entry.computed_hash() != entry.hash {
            verification.find("CVT-AUDIT-001", sequence, "its content is not what was recorded");
        }
        if !entry.origin_is_whole() {
            verification.find("CVT-AUDIT-002", sequence, "where it came from is not what was recorded");
        }
        match (verification.last, &verification.last_hash) {
            (Some(last), _) if sequence != last + 1 => {
                let what = format!("entries {} to {} are missing before it", last + 1, sequence - 1);
                verification.find("CVT-AUDIT-003", sequence, what);
            }
            (Some(_), Some(hash)) if entry.previous_hash != *hash => {
                verification.find("CVT-AUDIT-004", sequence, "it does not follow the entry before it");
            }
            (None, _) => self.first = Some((sequence, entry.previous_hash)),
            _ => {}
        }
        if entry.event == AUDIT_TRAIL_CUT
            && let Some(cut) = entry.changes.as_deref().and_then(Cut::read)
        {
            self.cut = Some(cut);
        }
        verification.entries += 1;
        verification.first.get_or_insert(sequence);
        (verification.last, verification.last_hash) = (Some(sequence), Some(entry.hash));
    }

    /// Whether the first entry is the first that was recorded, or follows the last that has been cut.
    fn end(self, verification: &mut Verification) {
        let Some((first, previous_hash)) = self.first else { return };
        let (through, hash) = self.cut.map_or((0, NO_HASH.to_owned()), |cut| (cut.through, cut.hash));
        if first != through + 1 {
            let what =
                format!("entries {} to {} are missing before it, and no cut tells of them", through + 1, first - 1);
            verification.find("CVT-AUDIT-005", first, what);
        } else if previous_hash != hash {
            verification.find("CVT-AUDIT-004", first, "it does not follow the entry before it");
        }
    }
}
