//! The audit trail on both databases: what is recorded, and that whatever is done to it past [`Trail`] is found.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, and its helpers with it")]

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use covet_core::clock::Clock;
use covet_core::ids::RequestId;
use covet_data::migrate::Migrator;
use covet_data::settings::DatabaseSettings;
use covet_data::{Db, Migrations, params};
use covet_identity::audit::{Actor, Anchor, Entry, Trail, Verification, verify};
use covet_telemetry::request::{RequestScope, enter};
use covet_telemetry::settings::AddressPolicy;
use covet_testkit::Database;
use jiff::Timestamp;
use tempfile::TempDir;
use uuid::Uuid;

const ADA: Uuid = Uuid::from_u128(1);

/// A database with the tables of the reference service and Ada in it.
struct TestDb {
    db: Db,
    is_postgres: bool,
    _place: Place,
}

enum Place {
    Folder { _folder: TempDir },
    Server { _database: Database },
}

async fn sqlite() -> TestDb {
    let folder = tempfile::tempdir().unwrap();
    let settings = DatabaseSettings::sqlite(folder.path().join("test.db"));
    TestDb { db: with_ada(&settings).await, is_postgres: false, _place: Place::Folder { _folder: folder } }
}

async fn postgres() -> TestDb {
    let database = Database::create().await.unwrap();
    let settings = DatabaseSettings::at(&database.url());
    TestDb { db: with_ada(&settings).await, is_postgres: true, _place: Place::Server { _database: database } }
}

async fn each_database() -> [TestDb; 2] {
    [sqlite().await, postgres().await]
}

async fn with_ada(settings: &DatabaseSettings) -> Db {
    let db = Db::connect(settings, Clock::system()).await.unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../services/api/migrations");
    Migrator::new(&db, &Migrations::read(folder).unwrap()).unwrap().up().await.unwrap();
    let sql = "INSERT INTO users (id, email, name, password_hash, version, created_at, updated_at)
               VALUES ($1, 'ada@example.com', 'Ada', 'unused', 1, $2, $2)";
    db.write().execute(sql, params![ADA, Timestamp::UNIX_EPOCH]).await.unwrap();
    db
}

impl TestDb {
    /// What somebody does who may do everything with the database.
    async fn tamper(&self, statements: &[&str]) {
        let triggers: &[&str] = if self.is_postgres {
            &["ALTER TABLE audit_entries DISABLE TRIGGER USER"]
        } else {
            &["DROP TRIGGER audit_entries_unchanged", "DROP TRIGGER audit_entries_unremoved"]
        };
        for sql in triggers.iter().chain(statements) {
            self.db.write().execute(sql, params![]).await.unwrap();
        }
    }

    /// As the log would have them.
    async fn anchors(&self) -> Vec<Anchor> {
        let sql = "SELECT sequence, hash FROM audit_entries ORDER BY sequence";
        let rows: Vec<(i64, String)> = self.db.write().all(sql, params![]).await.unwrap();
        rows.into_iter().map(|(sequence, hash)| Anchor { sequence, hash }).collect()
    }
}

fn trail() -> Trail {
    Trail::new(Clock::system(), AddressPolicy::Full)
}

fn entry() -> Entry {
    Entry::new("order_paid", "order paid").actor(Actor::User(ADA)).before("status", "pending").after("status", "paid")
}

async fn record(db: &Db, count: usize) {
    for _ in 0..count {
        trail().record(db, entry().target("order", Uuid::from_u128(7))).await.unwrap();
    }
}

/// The findings, as `id sequence`.
fn found(verification: &Verification) -> Vec<String> {
    verification.findings.iter().map(|finding| format!("{} {}", finding.id, finding.sequence)).collect()
}

#[tokio::test]
async fn what_was_recorded_is_proven() {
    for test in each_database().await {
        assert!(verify(&test.db).await.unwrap().is_proven(), "an empty trail is whole");
        record(&test.db, 5).await;
        let mut verification = verify(&test.db).await.unwrap();
        verification.compare(&test.db, &test.anchors().await).await.unwrap();
        assert_eq!(found(&verification), [""; 0]);
        assert_eq!((verification.entries, verification.first, verification.last), (5, Some(1), Some(5)));
        assert_eq!(verification.anchors, 5);
    }
}

#[tokio::test]
async fn whatever_is_done_to_an_entry_is_found() {
    let changes: [(&[&str], &[&str]); 6] = [
        (&["UPDATE audit_entries SET event = 'order_seen' WHERE sequence = 3"], &["CVT-AUDIT-001 3"]),
        (&["UPDATE audit_entries SET changes = NULL WHERE sequence = 3"], &["CVT-AUDIT-001 3"]),
        (&["UPDATE audit_entries SET origin_digest = 'ab' WHERE sequence = 3"], &["CVT-AUDIT-001 3"]),
        (&["DELETE FROM audit_entries WHERE sequence IN (2, 3)"], &["CVT-AUDIT-003 4"]),
        (&["DELETE FROM audit_entries WHERE sequence < 3"], &["CVT-AUDIT-005 3"]),
        (
            &[
                "UPDATE audit_entries SET sequence = 99 WHERE sequence = 2",
                "UPDATE audit_entries SET sequence = 2 WHERE sequence = 4",
                "UPDATE audit_entries SET sequence = 4 WHERE sequence = 99",
            ],
            &[
                "CVT-AUDIT-001 2",
                "CVT-AUDIT-004 2",
                "CVT-AUDIT-004 3",
                "CVT-AUDIT-001 4",
                "CVT-AUDIT-004 4",
                "CVT-AUDIT-004 5",
            ],
        ),
    ];
    for (statements, expected) in changes {
        for test in each_database().await {
            record(&test.db, 5).await;
            test.tamper(statements).await;
            assert_eq!(found(&verify(&test.db).await.unwrap()), expected, "{statements:?}");
        }
    }
}

#[tokio::test]
async fn an_end_that_was_cut_off_is_found_with_the_log_alone() {
    for test in each_database().await {
        record(&test.db, 5).await;
        let anchors = test.anchors().await;
        test.tamper(&["DELETE FROM audit_entries WHERE sequence >= 4"]).await;
        let mut verification = verify(&test.db).await.unwrap();
        assert!(verification.is_proven(), "what is left is a whole chain: {:?}", verification.findings);
        verification.compare(&test.db, &anchors).await.unwrap();
        assert_eq!(found(&verification), ["CVT-AUDIT-006 4", "CVT-AUDIT-006 5"]);
    }
}

#[tokio::test]
async fn a_chain_that_was_made_anew_is_found_with_the_log_alone() {
    for test in each_database().await {
        record(&test.db, 3).await;
        let anchors = test.anchors().await;
        test.tamper(&["DELETE FROM audit_entries"]).await;
        record(&test.db, 3).await;
        let mut verification = verify(&test.db).await.unwrap();
        assert!(verification.is_proven());
        verification.compare(&test.db, &anchors).await.unwrap();
        assert_eq!(found(&verification), ["CVT-AUDIT-007 1", "CVT-AUDIT-007 2", "CVT-AUDIT-007 3"]);
    }
}

#[tokio::test]
async fn the_database_refuses_changes_and_removals() {
    for test in each_database().await {
        record(&test.db, 2).await;
        let mut statements = vec![
            "UPDATE audit_entries SET event = 'x'",
            "UPDATE audit_entries SET address = '192.0.2.1'",
            "DELETE FROM audit_entries WHERE sequence = 2",
        ];
        if test.is_postgres {
            statements.push("TRUNCATE audit_entries");
        }
        for sql in statements {
            let refused = test.db.write().execute(sql, params![]).await.unwrap_err();
            assert!(format!("{refused:?}").contains("append-only"), "{sql}: {refused:?}");
        }
        assert_eq!(verify(&test.db).await.unwrap().entries, 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_writers_at_once_leave_one_chain_without_holes() {
    const WRITERS: usize = 8;
    const EACH: usize = 25;
    let test = postgres().await;
    let writers: Vec<_> = (0..WRITERS)
        .map(|_| {
            let db = test.db.clone();
            // Not one user's: those wait for one another before they come to the chain.
            tokio::spawn(async move {
                for _ in 0..EACH {
                    trail().record(&db, entry().actor(Actor::Service)).await.unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let verification = verify(&test.db).await.unwrap();
    assert_eq!(found(&verification), [""; 0]);
    let all = i64::try_from(WRITERS * EACH).unwrap();
    assert_eq!((verification.first, verification.last), (Some(1), Some(all)));
}

#[tokio::test]
async fn what_did_not_happen_is_not_recorded() {
    for test in each_database().await {
        let transaction = test.db.begin().await.unwrap();
        transaction.execute("UPDATE users SET name = 'Countess'", params![]).await.unwrap();
        // The user of the entry does not exist: it cannot be recorded, so the change does not happen either.
        let strange = entry().actor(Actor::User(Uuid::from_u128(404)));
        trail().commit(transaction, strange).await.unwrap_err();
        let name: String = test.db.write().one("SELECT name FROM users", params![]).await.unwrap();
        assert_eq!((name.as_str(), verify(&test.db).await.unwrap().entries), ("Ada", 0));
    }
}

#[tokio::test]
async fn an_entry_goes_with_a_transaction_that_fails_at_its_commit() {
    for test in each_database().await {
        let sql = "CREATE TABLE pets (owner_id UUID NOT NULL REFERENCES users (id) DEFERRABLE INITIALLY DEFERRED)";
        test.db.write().execute(sql, params![]).await.unwrap();
        record(&test.db, 1).await;
        let transaction = test.db.begin().await.unwrap();
        transaction.execute("INSERT INTO pets (owner_id) VALUES ($1)", params![Uuid::from_u128(404)]).await.unwrap();
        trail().commit(transaction, entry()).await.unwrap_err();
        assert_eq!(verify(&test.db).await.unwrap().entries, 1);
        record(&test.db, 1).await;
        let verification = verify(&test.db).await.unwrap();
        assert_eq!((found(&verification), verification.last), (vec![], Some(2)), "its number is taken by the next");
    }
}

/// Inside a request from an address.
async fn in_request<F: Future>(work: F) -> F::Output {
    let id = RequestId::parse(b"planted-request").unwrap();
    let mut scope = Some(Arc::new(RequestScope::new(id, IpAddr::V4(Ipv4Addr::new(192, 0, 2, 77)))));
    let mut work = enter(&mut scope, || Box::pin(covet_telemetry::request::carry(work)));
    work.as_mut().await
}

async fn everything(db: &Db) -> String {
    let sql = "SELECT actor, target, changes, address, request_id, origin_salt FROM audit_entries";
    let rows: Vec<[Option<String>; 6]> = db.write().all(sql, params![]).await.unwrap();
    format!("{rows:?}")
}

#[tokio::test]
async fn a_forgotten_user_cannot_be_found_and_the_chain_is_proven_all_the_same() {
    for test in each_database().await {
        in_request(trail().record(&test.db, entry().user(ADA).concealed("email"))).await.unwrap();
        let before = everything(&test.db).await;
        assert!(before.contains("192.0.2.77") && before.contains("planted-request"), "{before}");
        assert!(!before.contains(&ADA.to_string()), "{before}");
        assert_eq!(trail().entries_of(&test.db, ADA, 0, 10).await.unwrap().len(), 1);

        let transaction = test.db.begin().await.unwrap();
        let forgotten = trail().forget(&transaction, ADA).await.unwrap();
        transaction.execute("DELETE FROM users", params![]).await.unwrap();
        let gone = Entry::new("user_deleted", "user deleted").forgotten(forgotten);
        in_request(trail().commit(transaction, gone)).await.unwrap();

        let after = everything(&test.db).await;
        assert!(!after.contains("192.0.2.77") && !after.contains("planted-request"), "{after}");
        assert_eq!(trail().entries_of(&test.db, ADA, 0, 10).await.unwrap().len(), 0);
        let verification = verify(&test.db).await.unwrap();
        assert_eq!((found(&verification), verification.entries), (vec![], 2));
    }
}

#[tokio::test]
async fn another_program_computes_the_same_hashes() {
    let test = postgres().await;
    in_request(trail().record(&test.db, entry().user(ADA).concealed("email"))).await.unwrap();
    trail().record(&test.db, Entry::new("é", "m").failure("r").target("order", ADA)).await.unwrap();
    let text = |values: &[&str]| {
        let netstring = |value: &&str| format!("coalesce(octet_length({value}) || ':' || {value} || ',', '~')");
        let text = values.iter().map(netstring).collect::<Vec<_>>().join(" || ");
        format!("encode(sha256(convert_to({text}, 'UTF8')), 'hex')")
    };
    let digest = text(&["'covet.audit.origin/1'", "origin_salt", "address", "request_id"]);
    let microseconds = "CAST(CAST(extract(epoch FROM recorded_at) * 1000000 AS BIGINT) AS TEXT)";
    let hash = text(&[
        "'covet.audit/1'",
        "CAST(sequence AS TEXT)",
        "previous_hash",
        microseconds,
        "event",
        "reason",
        "actor",
        "target",
        "changes",
        "origin_digest",
    ]);
    let sql = format!(
        "SELECT count(*) FROM audit_entries
         WHERE hash = {hash} AND (origin_digest IS NULL OR origin_digest = {digest})"
    );
    let same: i64 = test.db.write().one(&sql, params![]).await.unwrap();
    assert_eq!(same, 2);
}

#[tokio::test]
async fn an_address_that_was_changed_is_found() {
    for test in each_database().await {
        in_request(trail().record(&test.db, entry())).await.unwrap();
        test.tamper(&["UPDATE audit_entries SET address = '192.0.2.78'"]).await;
        assert_eq!(found(&verify(&test.db).await.unwrap()), ["CVT-AUDIT-002 1"]);
    }
}

#[tokio::test]
async fn what_is_older_than_is_kept_goes_and_the_rest_is_proven() {
    for test in each_database().await {
        let (clock, hand) = Clock::manual("2026-01-01T00:00:00Z".parse().unwrap());
        let trail = Trail::new(clock.clone(), AddressPolicy::Full);
        for _ in 0..1500 {
            trail.record(&test.db, entry()).await.unwrap();
        }
        let before_the_cut = test.anchors().await;
        hand.advance(Duration::from_secs(24 * 60 * 60));
        trail.record(&test.db, entry()).await.unwrap();

        assert_eq!(trail.cut(&test.db, "2025-12-31T00:00:00Z".parse().unwrap()).await.unwrap(), 0);
        assert_eq!(trail.cut(&test.db, "2026-01-01T12:00:00Z".parse().unwrap()).await.unwrap(), 1500);
        let mut verification = verify(&test.db).await.unwrap();
        // One is left, and each of the two cuts is an entry.
        assert_eq!((found(&verification), verification.first, verification.entries), (vec![], Some(1501), 3));
        verification.compare(&test.db, &before_the_cut).await.unwrap();
        assert!(verification.is_proven(), "anchors of what was cut prove nothing: {:?}", verification.findings);

        // Somebody cuts more, and says nothing.
        test.tamper(&["DELETE FROM audit_entries WHERE sequence = 1501"]).await;
        assert_eq!(found(&verify(&test.db).await.unwrap()), ["CVT-AUDIT-005 1502"]);
    }
}
