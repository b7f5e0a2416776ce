//! Transactions and what runs after them, on either database.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use covet_data::{Error, params};

use super::support::{Fixture, INSERT, eventually};

#[tokio::test]
async fn an_answer_that_does_not_fit_leaves_the_transaction_usable() {
    let fixture = Fixture::things().await;
    let transaction = fixture.db.begin().await.unwrap();
    transaction.execute(INSERT, params!["a"]).await.unwrap();
    let names = "SELECT name FROM things WHERE name = $1";
    assert!(matches!(transaction.one::<String>(names, params!["z"]).await, Err(Error::NotFound)));
    assert!(matches!(transaction.one::<i64>(names, params!["a"]).await, Err(Error::RowMismatch(_))));
    transaction.commit().await.unwrap();
    assert_eq!(fixture.names().await, ["a"]);
}

#[tokio::test]
async fn statements_cannot_end_a_transaction() {
    let fixture = Fixture::things().await;
    for sql in ["COMMIT", "ROLLBACK", "END", "SAVEPOINT x"] {
        let transaction = fixture.db.begin().await.unwrap();
        transaction.execute(INSERT, params![sql]).await.unwrap();
        assert!(matches!(transaction.execute(sql, params![]).await, Err(Error::Statement(_))));
        drop(transaction);
    }
    assert!(fixture.names().await.is_empty());
}

#[tokio::test]
async fn hooks_run_once_in_order_after_a_commit_and_never_otherwise() {
    let fixture = Fixture::things().await;
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    for (name, commits) in [("a", true), ("b", false), ("c", true)] {
        let transaction = fixture.db.begin().await.unwrap();
        transaction.execute(INSERT, params![name]).await.unwrap();
        for n in 0..2 {
            let sender = sender.clone();
            transaction.after_commit(move || sender.send(format!("{name}{n}")).unwrap());
        }
        if commits {
            transaction.commit().await.unwrap();
        }
    }
    drop(sender);
    let mut seen = Vec::new();
    while let Some(name) = receiver.recv().await {
        seen.push(name);
    }
    assert_eq!(seen, ["a0", "a1", "c0", "c1"]);
}

#[tokio::test]
async fn a_hook_can_spawn_and_a_panicking_one_harms_nobody() {
    let fixture = Fixture::things().await;
    let transaction = fixture.db.begin().await.unwrap();
    transaction.execute(INSERT, params!["a"]).await.unwrap();
    let ran = Arc::new(AtomicUsize::new(0));
    transaction.after_commit(|| panic!("on purpose"));
    let counter = Arc::clone(&ran);
    transaction.after_commit(move || {
        tokio::spawn(async move { counter.fetch_add(1, Ordering::Relaxed) });
    });
    transaction.commit().await.unwrap();
    eventually("the spawned task has run", async || ran.load(Ordering::Relaxed) == 1).await;
    assert_eq!(fixture.names().await, ["a"]);
}

#[tokio::test]
async fn a_commit_nobody_waits_for_still_happens_with_its_hooks() {
    let fixture = Fixture::things().await;
    let transaction = fixture.db.begin().await.unwrap();
    transaction.execute(INSERT, params!["a"]).await.unwrap();
    let (sender, receiver) = tokio::sync::oneshot::channel();
    transaction.after_commit(|| sender.send(()).unwrap());
    {
        let mut commit = Box::pin(transaction.commit());
        let polled = futures_util::poll!(&mut commit);
        // Either way it is dropped here, after one poll.
        drop((polled, commit));
    }
    receiver.await.unwrap();
    assert_eq!(fixture.names().await, ["a"]);
}
