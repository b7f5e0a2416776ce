//! Rows one after another.

use std::time::Duration;

use covet_data::{Error, params};
use futures_util::StreamExt as _;

use super::support::{Fixture, eventually};

const NUMBERS: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1) SELECT i FROM n";

#[tokio::test]
async fn all_rows_come_in_order() {
    let fixture = Fixture::new().await;
    for count in [0, 1, 63, 64, 65, 10_000] {
        let mut stream = fixture.db.read().stream::<i64>(NUMBERS, params![count.max(1)]).await.unwrap();
        let mut next = 1;
        while let Some(row) = stream.next().await {
            assert_eq!(row.unwrap(), next);
            next += 1;
        }
        assert_eq!(next - 1, count.max(1));
    }
    let none = "SELECT 1 WHERE false";
    assert!(fixture.db.read().stream::<i64>(none, params![]).await.unwrap().next().await.is_none());
}

#[tokio::test]
async fn only_a_few_rows_are_read_ahead() {
    let fixture = Fixture::new().await;
    // Endless: whoever read it to its end would not come back.
    let mut stream = fixture.db.read().stream::<i64>(NUMBERS, params![i64::MAX]).await.unwrap();
    for expected in 1..=1_000 {
        assert_eq!(stream.next().await.unwrap().unwrap(), expected);
    }
    drop(stream);
    eventually("its connection is free", async || fixture.db.connections().active == 0).await;
}

#[tokio::test]
async fn it_is_a_stream_for_combinators() {
    let fixture = Fixture::new().await;
    let stream = fixture.db.read().stream::<i64>(NUMBERS, params![100]).await.unwrap();
    let sum = stream.fold(0, |sum, row| async move { sum + row.unwrap() }).await;
    assert_eq!(sum, 5_050);
}

#[tokio::test]
async fn rows_before_an_error_come_and_nothing_after_it() {
    let fixture = Fixture::new().await;
    let sql = "SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 'x' UNION ALL SELECT 4";
    let mut stream = fixture.db.read().stream::<i64>(sql, params![]).await.unwrap();
    assert_eq!(stream.next().await.unwrap().unwrap(), 1);
    assert_eq!(stream.next().await.unwrap().unwrap(), 2);
    assert!(matches!(stream.next().await.unwrap(), Err(Error::RowMismatch(_))));
    assert!(stream.next().await.is_none());
    let mut stream = fixture.db.read().stream::<i64>("SELECT * FROM nowhere", params![]).await.unwrap();
    assert!(matches!(stream.next().await.unwrap(), Err(Error::Statement(_))));
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn a_stream_sees_the_data_as_it_was_at_its_start() {
    let fixture = Fixture::things().await;
    let fill = "INSERT INTO things (name) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < \
                1000) SELECT 'n' || i FROM n";
    fixture.run(fill).await;
    let mut stream = fixture.db.read().stream::<String>("SELECT name FROM things", params![]).await.unwrap();
    assert!(stream.next().await.unwrap().is_ok());
    fixture.run("DELETE FROM things").await;
    assert_eq!(stream.count().await, 999);
    assert!(fixture.names().await.is_empty());
}

#[tokio::test]
async fn a_reader_that_stops_taking_rows_loses_the_stream() {
    let fixture = Fixture::with(|settings| settings.transaction_idle_timeout = Duration::from_millis(50)).await;
    let mut stream = fixture.db.read().stream::<i64>(NUMBERS, params![i64::MAX]).await.unwrap();
    assert!(stream.next().await.unwrap().is_ok());
    eventually("its connection is free", async || fixture.db.connections().active == 0).await;
    let end = loop {
        match stream.next().await {
            Some(Ok(_)) => {}
            end => break end,
        }
    };
    assert!(matches!(end, Some(Err(Error::Timeout { .. }))), "{end:?}");
}
