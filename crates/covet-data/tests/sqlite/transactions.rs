//! Several statements that happen all or not at all.

use std::time::Duration;

use covet_data::{Error, Executor, params};

use super::support::{Fixture, INSERT, THINGS};

#[tokio::test]
async fn nothing_is_seen_from_outside_before_the_commit() {
    let fixture = Fixture::things().await;
    let transaction = fixture.db.begin().await.unwrap();
    transaction.execute(INSERT, params!["a"]).await.unwrap();
    let inside: i64 = transaction.one("SELECT count(*) FROM things", params![]).await.unwrap();
    assert_eq!(inside, 1);
    // Some of these run on a thread, some in place.
    for _ in 0..50 {
        assert!(fixture.names().await.is_empty());
    }
    transaction.commit().await.unwrap();
    assert_eq!(fixture.names().await, ["a"]);
}

#[tokio::test]
async fn dropping_and_rolling_back_undo_everything() {
    let fixture = Fixture::things().await;
    let transaction = fixture.db.begin().await.unwrap();
    transaction.execute(INSERT, params!["a"]).await.unwrap();
    drop(transaction);
    let transaction = fixture.db.begin().await.unwrap();
    transaction.execute(INSERT, params!["b"]).await.unwrap();
    transaction.rollback().await;
    fixture.db.write().execute(INSERT, params!["c"]).await.unwrap();
    assert_eq!(fixture.names().await, ["c"]);
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
                if transaction.optional::<i64>("SELECT 1", params![]).await?.is_some() {
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
async fn the_closure_can_borrow_and_be_spawned() {
    #[derive(Debug)]
    enum Own {
        Database,
        Refused,
    }
    impl From<Error> for Own {
        fn from(_: Error) -> Self {
            Self::Database
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
        db.transaction(async |transaction| {
            for name in names {
                add(transaction, name).await?;
            }
            if names.len() > 2 { Err(Own::Refused) } else { Ok(names.len()) }
        })
        .await
    });
    assert_eq!(task.await.unwrap().unwrap(), 2);
    assert_eq!(fixture.names().await, ["a", "b"]);
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
    let commit = transaction.commit().await;
    assert!(matches!(commit, Err(Error::TransactionOver(_))), "{commit:?}");
    assert!(fixture.names().await.is_empty());
}

#[tokio::test]
async fn a_constraint_checked_at_the_end_fails_the_commit() {
    let fixture = Fixture::things().await;
    fixture
        .run("CREATE TABLE parts (id INTEGER, thing INTEGER REFERENCES things (id) DEFERRABLE INITIALLY DEFERRED)")
        .await;
    let transaction = fixture.db.begin().await.unwrap();
    transaction.execute("INSERT INTO parts VALUES (1, 99)", params![]).await.unwrap();
    let commit = transaction.commit().await;
    assert!(matches!(commit, Err(Error::ForeignKey { .. })), "{commit:?}");
    let parts: i64 = fixture.db.write().one("SELECT count(*) FROM parts", params![]).await.unwrap();
    assert_eq!(parts, 0);
}

#[tokio::test]
async fn a_statement_that_rolls_back_by_itself_ends_the_transaction() {
    let fixture = Fixture::things().await;
    let transaction = fixture.db.begin().await.unwrap();
    transaction.execute(INSERT, params!["a"]).await.unwrap();
    let refused = transaction.execute("INSERT OR ROLLBACK INTO things (name) VALUES ('a')", params![]).await;
    assert!(matches!(refused, Err(Error::Unique { .. })), "{refused:?}");
    // Were this run, it would be outside of any transaction, and stay.
    assert!(transaction.execute(INSERT, params!["b"]).await.is_err());
    assert!(transaction.commit().await.is_err());
    assert!(fixture.names().await.is_empty());
}

#[tokio::test]
async fn transactions_take_turns() {
    let fixture = Fixture::with(|_| {}).await;
    fixture.run("CREATE TABLE counter (n INTEGER NOT NULL)").await;
    fixture.run("INSERT INTO counter VALUES (0)").await;
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let db = fixture.db.clone();
            tokio::spawn(async move {
                for _ in 0..10 {
                    db.transaction(async |transaction| {
                        let n: i64 = transaction.one("SELECT n FROM counter", params![]).await?;
                        tokio::task::yield_now().await;
                        transaction.execute("UPDATE counter SET n = $1", params![n + 1]).await
                    })
                    .await
                    .unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(fixture.db.read().one::<i64>("SELECT n FROM counter", params![]).await.unwrap(), 200);
}

#[tokio::test]
async fn a_forgotten_transaction_is_rolled_back_and_the_writer_goes_on() {
    let fixture = Fixture::with(|settings| settings.transaction_idle_timeout = Duration::from_millis(50)).await;
    fixture.run(THINGS).await;
    let forgotten = fixture.db.begin().await.unwrap();
    forgotten.execute(INSERT, params!["a"]).await.unwrap();
    // Waits its turn behind the forgotten one.
    fixture.db.write().execute(INSERT, params!["b"]).await.unwrap();
    let late = forgotten.execute(INSERT, params!["c"]).await;
    assert!(matches!(&late, Err(Error::TransactionOver(why)) if why.contains("idle")), "{late:?}");
    let commit = forgotten.commit().await;
    assert!(matches!(&commit, Err(Error::TransactionOver(why)) if why.contains("idle")), "{commit:?}");
    assert_eq!(fixture.names().await, ["b"]);
}
