//! Rows one after another.

use std::time::Duration;

use covet_data::{Error, params};
use futures_util::StreamExt as _;

use super::support::{Fixture, eventually};

const NUMBERS: &str = "SELECT generate_series(1, $1::bigint) AS n";

#[tokio::test]
async fn all_rows_come_in_order() {
    let fixture = Fixture::new().await;
    for count in [1, 63, 64, 65, 10_000_i64] {
        let mut stream = fixture.db.read().stream::<i64>(NUMBERS, params![count]).await.unwrap();
        let mut next = 1;
        while let Some(row) = stream.next().await {
            assert_eq!(row.unwrap(), next);
            next += 1;
        }
        assert_eq!(next - 1, count);
    }
    let none = "SELECT 1 WHERE false";
    assert!(fixture.db.read().stream::<i32>(none, params![]).await.unwrap().next().await.is_none());
    eventually("its connection is free", async || fixture.db.connections().active == 0).await;
    assert_eq!(fixture.sessions("state LIKE 'idle in%'").await, 0);
}

#[tokio::test]
async fn only_a_few_rows_are_read_ahead() {
    let fixture = Fixture::new().await;
    // More than anybody would hold in memory.
    let mut stream = fixture.db.read().stream::<i64>(NUMBERS, params![10_000_000_000_i64]).await.unwrap();
    for expected in 1..=1_000 {
        assert_eq!(stream.next().await.unwrap().unwrap(), expected);
    }
    drop(stream);
    eventually("the server is rid of it", async || fixture.sessions("query LIKE '%generate_series%'").await == 0).await;
    eventually("its connection is free", async || fixture.db.connections().active == 0).await;
}

#[tokio::test]
async fn it_is_a_stream_for_combinators_and_only_reads() {
    let fixture = Fixture::things().await;
    let stream = fixture.db.read().stream::<i64>(NUMBERS, params![100_i64]).await.unwrap();
    let sum = stream.fold(0, |sum, row| async move { sum + row.unwrap() }).await;
    assert_eq!(sum, 5_050);
    let write = "INSERT INTO things (name) VALUES ('a') RETURNING id";
    let mut stream = fixture.db.read().stream::<i64>(write, params![]).await.unwrap();
    assert!(matches!(stream.next().await, Some(Err(Error::ReadOnly))));
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn rows_before_an_error_come_and_nothing_after_it() {
    let fixture = Fixture::new().await;
    let sql = "SELECT n::int FROM (VALUES (1), (2), (NULL), (4)) AS t(n)";
    let mut stream = fixture.db.read().stream::<i64>(sql, params![]).await.unwrap();
    assert_eq!(stream.next().await.unwrap().unwrap(), 1);
    assert_eq!(stream.next().await.unwrap().unwrap(), 2);
    assert!(matches!(stream.next().await.unwrap(), Err(Error::RowMismatch(_))));
    assert!(stream.next().await.is_none());
    let mut stream = fixture.db.read().stream::<i64>("SELECT * FROM nowhere", params![]).await.unwrap();
    assert!(matches!(stream.next().await.unwrap(), Err(Error::Statement(_))));
    assert!(stream.next().await.is_none());
    let late = "SELECT 10 / (5 - n) FROM generate_series(1, 9) AS n";
    let rows: Vec<_> = fixture.db.read().stream::<i32>(late, params![]).await.unwrap().collect().await;
    assert!(matches!(&rows[..], [Ok(2), Ok(3), Ok(5), Ok(10), Err(Error::Statement(_))]), "{rows:?}");
}

#[tokio::test]
async fn a_stream_sees_the_data_as_it_was_at_its_start() {
    let fixture = Fixture::things().await;
    fixture.run("INSERT INTO things (name) SELECT 'n' || n FROM generate_series(1, 1000) AS n").await;
    let mut stream = fixture.db.read().stream::<String>("SELECT name FROM things", params![]).await.unwrap();
    assert!(stream.next().await.unwrap().is_ok());
    fixture.run("DELETE FROM things").await;
    assert_eq!(stream.count().await, 999);
    assert!(fixture.names().await.is_empty());
}

#[tokio::test]
async fn a_slow_reader_is_not_cut_by_the_limit_of_a_statement_but_one_that_stops_is() {
    let fixture = Fixture::with(|settings| {
        settings.statement_timeout = Duration::from_millis(300);
        settings.transaction_idle_timeout = Duration::from_millis(300);
    })
    .await;
    let mut stream = fixture.db.read().stream::<i64>(NUMBERS, params![1_000_000_i64]).await.unwrap();
    for _ in 0..12 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        for _ in 0..200 {
            assert!(stream.next().await.unwrap().is_ok());
        }
    }
    eventually("its connection is free", async || fixture.db.connections().active == 0).await;
    let end = loop {
        match stream.next().await {
            Some(Ok(_)) => {}
            end => break end,
        }
    };
    assert!(matches!(end, Some(Err(Error::Timeout { .. }))), "{end:?}");
    let mut slow = fixture.db.read().stream::<()>("SELECT pg_sleep(60)", params![]).await.unwrap();
    assert!(matches!(slow.next().await, Some(Err(Error::Timeout { .. }))));
}
