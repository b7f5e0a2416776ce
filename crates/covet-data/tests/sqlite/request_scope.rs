//! What a request learns of the statements that were run for it.

use std::net::Ipv4Addr;
use std::sync::Arc;

use covet_core::ids::RequestId;
use covet_data::params;
use covet_telemetry::request::{RequestScope, carry, enter};

use super::support::{Fixture, INSERT};

fn scope() -> Arc<RequestScope> {
    let id = RequestId::parse(b"r1").unwrap();
    Arc::new(RequestScope::new(id, Ipv4Addr::LOCALHOST.into()))
}

/// Does `work` as part of the request.
async fn within<R>(scope: &Arc<RequestScope>, work: impl Future<Output = R>) -> R {
    enter(&mut Some(Arc::clone(scope)), || carry(work)).await
}

#[tokio::test]
async fn every_statement_counts_for_its_request_and_for_no_other() {
    let fixture = Fixture::things().await;
    let (a, b) = (scope(), scope());
    within(&a, async {
        fixture.db.write().execute(INSERT, params!["a"]).await.unwrap();
        // The first read is done by a thread; the later ones are quick, and done in place.
        for _ in 0..10 {
            fixture.names().await;
        }
        assert!(fixture.db.read().one::<i64>("SELECT id FROM things WHERE id = 9", params![]).await.is_err());
        assert!(fixture.db.write().execute(INSERT, params!["a"]).await.is_err());
    })
    .await;
    assert_eq!(a.database().count(), 13);
    assert!(!a.database().duration().is_zero());
    assert_eq!(a.cache().count(), 0);

    fixture.names().await;
    assert_eq!(b.database().count(), 0);
    within(&b, async {
        let transaction = fixture.db.begin().await.unwrap();
        transaction.execute(INSERT, params!["b"]).await.unwrap();
        transaction.execute(INSERT, params!["c"]).await.unwrap();
        transaction.commit().await.unwrap();
        let mut rows = fixture.db.read().stream::<String>("SELECT name FROM things", params![]).await.unwrap();
        while let Some(row) = rows.next().await {
            row.unwrap();
        }
    })
    .await;
    assert_eq!(b.database().count(), 3);
    assert_eq!(a.database().count(), 13);
}
