//! Several statements that happen all or not at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use covet_data::{Error, Executor, Isolation, Transaction, TransactionOptions, params};
use tokio::sync::Barrier;

use super::support::{Fixture, INSERT, eventually};

#[tokio::test]
async fn nothing_is_seen_from_outside_before_the_commit() {
    let fixture = Fixture::things().await;
    let transaction = fixture.db.begin().await.unwrap();
    transaction.execute(INSERT, params!["a"]).await.unwrap();
    let inside: i64 = transaction.one("SELECT count(*) FROM things", params![]).await.unwrap();
    assert_eq!(inside, 1);
    for _ in 0..50 {
        assert!(fixture.names().await.is_empty());
    }
    transaction.commit().await.unwrap();
    assert_eq!(fixture.names().await, ["a"]);
}

#[tokio::test]
async fn dropping_and_rolling_back_undo_everything_and_leave_the_connection_usable() {
    let fixture = Fixture::with(|settings| (settings.pool_min, settings.pool_max) = (2, 2)).await;
    fixture.run(super::support::THINGS).await;
    for _ in 0..10 {
        let transaction = fixture.db.begin().await.unwrap();
        transaction.execute(INSERT, params!["a"]).await.unwrap();
        drop(transaction);
        let transaction = fixture.db.begin().await.unwrap();
        transaction.execute(INSERT, params!["b"]).await.unwrap();
        transaction.rollback().await;
    }
    fixture.db.write().execute(INSERT, params!["c"]).await.unwrap();
    assert_eq!(fixture.names().await, ["c"]);
    assert_eq!(fixture.sessions("state LIKE 'idle in transaction%'").await, 0);
}

#[tokio::test]
async fn the_closure_commits_on_ok_and_rolls_back_on_err_and_panic() {
    let fixture = Fixture::things().await;
    let db = fixture.db.clone();
    let count = db
        .transaction(async |transaction| {
            transaction.execute(INSERT, params!["a"]).await?;
            transaction.execute(INSERT, params!["b"]).await
        })
        .await
        .unwrap();
    assert_eq!(count, 1);
    let failed = db
        .transaction(async |transaction| {
            transaction.execute(INSERT, params!["c"]).await?;
            Err::<(), Error>(Error::NotFound)
        })
        .await;
    assert!(matches!(failed, Err(Error::NotFound)));
    let cloned = db.clone();
    let panicked = tokio::spawn(async move {
        cloned
            .transaction(async |transaction| {
                transaction.execute(INSERT, params!["d"]).await?;
                if transaction.optional::<i32>("SELECT 1", params![]).await?.is_some() {
                    panic!("on purpose");
                }
                Ok::<(), Error>(())
            })
            .await
    });
    assert!(panicked.await.unwrap_err().is_panic());
    fixture.db.write().execute(INSERT, params!["e"]).await.unwrap();
    assert_eq!(fixture.names().await, ["a", "b", "e"]);
}

/// A handler's future is spawned; it must be `Send`, with borrows and an error type of one's own.
#[tokio::test]
async fn the_closures_can_borrow_and_be_spawned() {
    #[derive(Debug)]
    struct Own;
    impl From<Error> for Own {
        fn from(_: Error) -> Self {
            Self
        }
    }
    async fn add(db: &impl Executor, name: &str) -> Result<u64, Error> {
        db.execute(INSERT, params![name]).await
    }
    let fixture = Fixture::things().await;
    let db = fixture.db.clone();
    let task = tokio::spawn(async move {
        let names = vec!["a".to_owned(), "b".to_owned()];
        let names = &names;
        let count = db
            .transaction(async |transaction| {
                for name in names {
                    add(transaction, name).await?;
                }
                Ok::<_, Own>(names.len())
            })
            .await?;
        let again = db
            .retry(&TransactionOptions::new(), || {
                async move |transaction: &Transaction| {
                    add(transaction, "c").await?;
                    Ok::<_, Own>(names.len())
                }
            })
            .await?;
        Ok::<_, Own>(count + again)
    });
    assert_eq!(task.await.unwrap().unwrap(), 4);
    assert_eq!(fixture.names().await, ["a", "b", "c"]);
}

#[tokio::test]
async fn after_a_refused_statement_only_rolling_back_is_left() {
    let fixture = Fixture::things().await;
    let transaction = fixture.db.begin().await.unwrap();
    transaction.execute(INSERT, params!["a"]).await.unwrap();
    let refused = transaction.execute(INSERT, params!["a"]).await;
    assert!(matches!(refused, Err(Error::Unique { .. })));
    let after = transaction.execute(INSERT, params!["b"]).await;
    assert!(matches!(after, Err(Error::TransactionOver(_))), "{after:?}");
    // PostgreSQL itself would call this a success.
    let commit = transaction.commit().await;
    assert!(matches!(commit, Err(Error::TransactionOver(_))), "{commit:?}");
    assert!(fixture.names().await.is_empty());
}

#[tokio::test]
async fn a_transaction_whose_statement_nobody_waited_for_is_not_committed() {
    let fixture = Fixture::things().await;
    let transaction = fixture.db.begin().await.unwrap();
    transaction.execute(INSERT, params!["a"]).await.unwrap();
    let slow = transaction.execute("SELECT pg_sleep(60)", params![]);
    assert!(tokio::time::timeout(Duration::from_millis(50), slow).await.is_err());
    let after = transaction.execute(INSERT, params!["b"]).await;
    assert!(matches!(&after, Err(Error::TransactionOver(why)) if why.contains("stopped waiting")), "{after:?}");
    let commit = transaction.commit().await;
    assert!(matches!(commit, Err(Error::TransactionOver(_))), "{commit:?}");
    eventually("the server is rid of it", async || {
        fixture.sessions("query LIKE '%pg_sleep%' AND state = 'active'").await == 0
    })
    .await;
    assert!(fixture.names().await.is_empty());
}

#[tokio::test]
async fn a_constraint_checked_at_the_end_fails_the_commit() {
    let fixture = Fixture::things().await;
    fixture
        .run("CREATE TABLE parts (id INTEGER, thing BIGINT REFERENCES things (id) DEFERRABLE INITIALLY DEFERRED)")
        .await;
    let transaction = fixture.db.begin().await.unwrap();
    transaction.execute("INSERT INTO parts VALUES (1, 99)", params![]).await.unwrap();
    let commit = transaction.commit().await;
    assert!(matches!(commit, Err(Error::ForeignKey { .. })), "{commit:?}");
    let parts: i64 = fixture.db.write().one("SELECT count(*) FROM parts", params![]).await.unwrap();
    assert_eq!(parts, 0);
}

#[tokio::test]
async fn a_forgotten_transaction_is_rolled_back_by_the_server() {
    let fixture = Fixture::with(|settings| settings.transaction_idle_timeout = Duration::from_millis(100)).await;
    fixture.run(super::support::THINGS).await;
    let forgotten = fixture.db.begin().await.unwrap();
    forgotten.execute(INSERT, params!["a"]).await.unwrap();
    // Waits for the row of the forgotten one.
    fixture.db.write().execute(INSERT, params!["a"]).await.unwrap();
    let late = forgotten.execute(INSERT, params!["c"]).await;
    assert!(matches!(&late, Err(Error::TransactionOver(why)) if why.contains("idle")), "{late:?}");
    let commit = forgotten.commit().await;
    assert!(matches!(&commit, Err(Error::TransactionOver(why)) if why.contains("idle")), "{commit:?}");
    assert_eq!(fixture.names().await, ["a"]);
}

/// Two accounts, and a transaction that moves one unit between them, in either direction.
async fn accounts() -> Fixture {
    let fixture = Fixture::new().await;
    fixture.run("CREATE TABLE accounts (id INTEGER PRIMARY KEY, units INTEGER NOT NULL)").await;
    fixture.run("INSERT INTO accounts VALUES (1, 100), (2, 100)").await;
    fixture
}

const ADD: &str = "UPDATE accounts SET units = units + $2 WHERE id = $1";

#[tokio::test]
async fn a_deadlock_is_told_and_run_again_where_that_is_allowed() {
    let fixture = accounts().await;
    let meet = Arc::new(Barrier::new(2));
    // Each takes one row, waits for the other to have done so too, and wants the other's.
    let cross = |first: i32, second: i32| {
        let (db, meet) = (fixture.db.clone(), Arc::clone(&meet));
        tokio::spawn(async move {
            let (runs, meet) = (&AtomicUsize::new(0), &meet);
            let moved = db
                .retry(&TransactionOptions::new(), || {
                    async move |transaction: &Transaction| {
                        transaction.execute(ADD, params![first, -1]).await?;
                        if runs.fetch_add(1, Ordering::Relaxed) == 0 {
                            meet.wait().await;
                        }
                        transaction.execute(ADD, params![second, 1]).await
                    }
                })
                .await;
            moved.map(|_: u64| runs.load(Ordering::Relaxed))
        })
    };
    let (one, other) = (cross(1, 2), cross(2, 1));
    let runs = one.await.unwrap().unwrap() + other.await.unwrap().unwrap();
    assert_eq!(runs, 3, "one of them ran twice");
    let units: Vec<i32> = fixture.db.read().all("SELECT units FROM accounts ORDER BY id", params![]).await.unwrap();
    assert_eq!(units, [100, 100]);

    // Without leave to run it again, it is told.
    let (first, second) = (fixture.db.begin().await.unwrap(), fixture.db.begin().await.unwrap());
    first.execute(ADD, params![1, 1]).await.unwrap();
    second.execute(ADD, params![2, 1]).await.unwrap();
    let outcomes = tokio::join!(first.execute(ADD, params![2, 1]), second.execute(ADD, params![1, 1]));
    let refused = [outcomes.0, outcomes.1].into_iter().filter_map(Result::err).collect::<Vec<_>>();
    assert!(matches!(&refused[..], [error @ Error::Deadlock] if error.is_retryable()), "{refused:?}");
}

#[tokio::test]
async fn serializable_transactions_that_do_not_go_together_run_again() {
    let fixture = accounts().await;
    let options = TransactionOptions::new().isolation(Isolation::Serializable).attempts(50);
    // Each adds a row with the sum of all: run one after another, the last is 200 * 2^9.
    let tasks: Vec<_> = (3..13)
        .map(|id| {
            let db = fixture.db.clone();
            tokio::spawn(async move {
                db.retry(&options, || {
                    async move |transaction: &Transaction| {
                        let sum: i64 = transaction.one("SELECT sum(units) FROM accounts", params![]).await?;
                        transaction.execute("INSERT INTO accounts VALUES ($1, $2)", params![id, sum]).await
                    }
                })
                .await
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    let most: i32 = fixture.db.read().one("SELECT max(units) FROM accounts", params![]).await.unwrap();
    assert_eq!(most, 200 << 9);

    let options = TransactionOptions::new().isolation(Isolation::RepeatableRead);
    let transaction = fixture.db.begin_with(&options).await.unwrap();
    let before: i32 = transaction.one("SELECT units FROM accounts WHERE id = 1", params![]).await.unwrap();
    fixture.db.write().execute(ADD, params![1, 1]).await.unwrap();
    let again: i32 = transaction.one("SELECT units FROM accounts WHERE id = 1", params![]).await.unwrap();
    assert_eq!(before, again);
    let refused = transaction.execute(ADD, params![1, 1]).await;
    assert!(matches!(refused, Err(Error::Serialization)), "{refused:?}");
}

#[tokio::test]
async fn attempts_are_bounded() {
    let fixture = accounts().await;
    let runs = AtomicUsize::new(0);
    let options = TransactionOptions::new().isolation(Isolation::RepeatableRead).attempts(3);
    let outcome = fixture
        .db
        .retry(&options, || {
            async |transaction: &Transaction| {
                runs.fetch_add(1, Ordering::Relaxed);
                let _: i32 = transaction.one("SELECT units FROM accounts WHERE id = 1", params![]).await?;
                fixture.db.write().execute(ADD, params![1, 1]).await?;
                transaction.execute(ADD, params![1, 1]).await
            }
        })
        .await;
    assert!(matches!(outcome, Err(Error::Serialization)), "{outcome:?}");
    assert_eq!(runs.into_inner(), 3);
}

#[tokio::test]
async fn statements_of_one_transaction_run_in_the_order_they_were_asked_for() {
    let fixture = Fixture::things().await;
    let transaction = fixture.db.begin().await.unwrap();
    let (a, b, count) = tokio::join!(
        transaction.execute(INSERT, params!["a"]),
        transaction.execute(INSERT, params!["b"]),
        transaction.one::<i64>("SELECT count(*) FROM things", params![]),
    );
    assert_eq!((a.unwrap(), b.unwrap(), count.unwrap()), (1, 1, 2));
    transaction.commit().await.unwrap();
}

#[tokio::test]
async fn transactions_that_lock_the_same_name_take_turns() {
    let fixture = accounts().await;
    let tasks: Vec<_> = (0..10)
        .map(|_| {
            let db = fixture.db.clone();
            tokio::spawn(async move {
                db.transaction(async |transaction| {
                    transaction.lock("units").await?;
                    let units: i32 = transaction.one("SELECT units FROM accounts WHERE id = 1", params![]).await?;
                    tokio::task::yield_now().await;
                    transaction.execute("UPDATE accounts SET units = $1 WHERE id = 1", params![units + 1]).await
                })
                .await
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    let units: i32 = fixture.db.read().one("SELECT units FROM accounts WHERE id = 1", params![]).await.unwrap();
    assert_eq!(units, 110);
    let holder = fixture.db.begin().await.unwrap();
    assert!(holder.try_lock("units").await.unwrap());
    let other = fixture.db.begin().await.unwrap();
    assert!(!other.try_lock("units").await.unwrap());
    assert!(other.try_lock("something else").await.unwrap());
    holder.commit().await.unwrap();
    assert!(other.try_lock("units").await.unwrap());
}
