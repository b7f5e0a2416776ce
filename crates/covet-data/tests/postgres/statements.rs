//! Single statements.

use covet_data::{Error, params};

use super::support::{Fixture, INSERT};

#[tokio::test]
async fn what_is_written_is_read() {
    let fixture = Fixture::things().await;
    for name in ["a", "b"] {
        assert_eq!(fixture.db.write().execute(INSERT, params![name]).await.unwrap(), 1);
    }
    for _ in 0..50 {
        assert_eq!(fixture.names().await, ["a", "b"]);
    }
    fixture.db.close().await;
    assert!(matches!(fixture.db.read().one::<i64>("SELECT 1", params![]).await, Err(Error::Closed)));
}

#[tokio::test]
async fn readers_cannot_write() {
    let fixture = Fixture::things().await;
    fixture.run("CREATE FUNCTION add() RETURNS int LANGUAGE sql AS $$ INSERT INTO things (name) VALUES ('x') RETURNING 1 $$").await;
    for _ in 0..5 {
        for sql in [
            "INSERT INTO things (name) VALUES ('a')",
            "WITH added AS (INSERT INTO things (name) VALUES ('b') RETURNING id) SELECT id FROM added",
            "SELECT add()",
            "SELECT nextval('things_id_seq')",
        ] {
            let error = fixture.db.read().execute(sql, params![]).await.unwrap_err();
            assert!(matches!(error, Error::ReadOnly), "{sql}: {error:?}");
        }
        assert!(fixture.names().await.is_empty());
    }
}
