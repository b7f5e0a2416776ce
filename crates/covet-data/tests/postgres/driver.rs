//! The driver itself: COPY, LISTEN.

use std::pin::pin;

use bytes::Bytes;
use covet_data::{Error, params};
use futures_util::{SinkExt as _, TryStreamExt as _};

use super::support::{Fixture, INSERT, eventually};

#[tokio::test]
async fn copy_in_and_out() {
    let fixture = Fixture::things().await;
    let connection = fixture.db.postgres().await.unwrap();
    let mut sink = pin!(connection.copy_in::<_, Bytes>("COPY things (name) FROM STDIN").await.unwrap());
    for n in 0..1_000 {
        sink.send(Bytes::from(format!("name {n}\n"))).await.unwrap();
    }
    assert_eq!(sink.finish().await.unwrap(), 1_000);
    let out = connection.copy_out("COPY things (name) TO STDOUT").await.unwrap();
    let bytes: usize = out.try_fold(0, |sum, chunk| async move { Ok(sum + chunk.len()) }).await.unwrap();
    assert_eq!(bytes, (0..1_000).map(|n| format!("name {n}\n").len()).sum::<usize>());
    assert_eq!(fixture.names().await.len(), 1_000);
}

#[tokio::test]
async fn notifications_arrive_and_the_connection_is_not_given_to_others() {
    let fixture = Fixture::things().await;
    let mut connection = fixture.db.postgres().await.unwrap();
    let mut notifications = connection.notifications();
    connection.batch_execute("LISTEN orders; SET statement_timeout = 1; SET TimeZone = 'Asia/Tokyo'").await.unwrap();
    let transaction = fixture.db.begin().await.unwrap();
    transaction.execute(INSERT, params!["a"]).await.unwrap();
    transaction.execute("SELECT pg_notify('orders', $1)", params!["first"]).await.unwrap();
    transaction.commit().await.unwrap();
    let notification = notifications.recv().await.unwrap();
    assert_eq!((notification.channel(), notification.payload()), ("orders", "first"));
    let before = fixture.db.connections().active;
    drop(connection);
    assert!(notifications.recv().await.is_none());
    eventually("its place is free", async || fixture.db.connections().active < before).await;
    for _ in 0..20 {
        let zone: String = fixture.db.write().one("SELECT current_setting('TimeZone')", params![]).await.unwrap();
        assert_eq!(zone, "UTC");
    }
}

#[tokio::test]
async fn each_database_has_its_own_driver() {
    let fixture = Fixture::new().await;
    let other = fixture.db.sqlite(|_| Ok(())).await;
    assert!(matches!(other, Err(Error::Unsupported(_))), "{other:?}");
}
