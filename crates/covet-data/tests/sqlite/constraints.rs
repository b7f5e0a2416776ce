//! What the database refuses, as typed errors.

use covet_data::{Error, params};

use super::support::{Fixture, INSERT};

async fn schema() -> Fixture {
    let fixture = Fixture::new().await;
    fixture
        .run(
            "CREATE TABLE users (id INTEGER PRIMARY KEY, tenant INTEGER NOT NULL, email TEXT NOT NULL, age INTEGER \
              CONSTRAINT adult CHECK (age >= 18), UNIQUE (tenant, email))",
        )
        .await;
    fixture.run("CREATE TABLE tags (name TEXT)").await;
    fixture.run("CREATE UNIQUE INDEX tags_lower ON tags (lower(name))").await;
    fixture.run("INSERT INTO tags VALUES ('rust')").await;
    fixture.run("CREATE TABLE notes (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users (id))").await;
    fixture.run("CREATE TABLE exact (n INTEGER, CHECK (n <> 13)) STRICT").await;
    fixture.run("INSERT INTO users VALUES (1, 1, 'ada@example.org', 36)").await;
    fixture
}

async fn fails(fixture: &Fixture, sql: &str) -> Error {
    fixture.db.write().execute(sql, params![]).await.expect_err(sql)
}

#[tokio::test]
async fn a_key_that_exists_names_its_columns() {
    let fixture = schema().await;
    match fails(&fixture, "INSERT INTO users VALUES (2, 1, 'ada@example.org', 20)").await {
        Error::Unique { table, columns, .. } => {
            assert_eq!((table.as_deref(), columns), (Some("users"), vec!["tenant".to_owned(), "email".to_owned()]));
        }
        other => panic!("{other:?}"),
    }
    match fails(&fixture, "INSERT INTO users VALUES (1, 2, 'bob@example.org', 20)").await {
        Error::Unique { columns, .. } => assert_eq!(columns, ["id"]),
        other => panic!("{other:?}"),
    }
    match fails(&fixture, "INSERT INTO tags VALUES ('RUST')").await {
        Error::Unique { constraint, .. } => assert_eq!(constraint.as_deref(), Some("tags_lower")),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn foreign_keys_hold_in_both_directions() {
    let fixture = schema().await;
    let missing = fails(&fixture, "INSERT INTO notes VALUES (1, 99)").await;
    assert!(matches!(missing, Error::ForeignKey { .. }), "{missing:?}");
    fixture.run("INSERT INTO notes VALUES (1, 1)").await;
    let needed = fails(&fixture, "DELETE FROM users WHERE id = 1").await;
    assert!(matches!(needed, Error::ForeignKey { .. }), "{needed:?}");
}

#[tokio::test]
async fn checks_and_not_null_are_named() {
    let fixture = schema().await;
    let young = fails(&fixture, "INSERT INTO users VALUES (2, 2, 'b', 5)").await;
    assert!(matches!(&young, Error::Check { constraint, .. } if constraint == "adult"), "{young:?}");
    let unnamed = fails(&fixture, "INSERT INTO exact VALUES (13)").await;
    assert!(matches!(&unnamed, Error::Check { constraint, .. } if constraint == "n <> 13"), "{unnamed:?}");
    let null = fails(&fixture, "INSERT INTO users (tenant) VALUES (2)").await;
    assert!(
        matches!(&null, Error::NotNull { table: Some(table), column } if table == "users" && column == "email"),
        "{null:?}"
    );
    let text = fails(&fixture, "INSERT INTO exact VALUES ('x')").await;
    assert!(matches!(text, Error::Datatype(_)), "{text:?}");
}

#[tokio::test]
async fn a_trigger_that_raises_is_a_check() {
    let fixture = Fixture::things().await;
    fixture
        .run(
            "CREATE TRIGGER no_bob BEFORE INSERT ON things WHEN new.name = 'bob' \
              BEGIN SELECT RAISE(ABORT, 'bob may not enter'); END",
        )
        .await;
    let error = fixture.db.write().execute(INSERT, params!["bob"]).await.unwrap_err();
    assert!(matches!(&error, Error::Check { constraint, .. } if constraint == "bob may not enter"), "{error:?}");
}

#[tokio::test]
async fn readers_cannot_write() {
    let fixture = Fixture::things().await;
    for _ in 0..3 {
        let error = fixture.db.read().execute(INSERT, params!["a"]).await.unwrap_err();
        assert!(matches!(error, Error::ReadOnly), "{error:?}");
    }
    assert!(fixture.names().await.is_empty());
}

#[tokio::test]
async fn faults_of_the_text_are_told_without_its_literals() {
    let fixture = Fixture::things().await;
    for (sql, told) in [
        ("SELEC 1", "near \"SELEC\": syntax error"),
        ("SELECT * FROM nowhere", "no such table: nowhere"),
        ("SELECT 1 'hunter2' 'hunter2'", "near a literal: syntax error"),
        ("SELECT 1; SELECT 2", "more than one statement"),
        ("BEGIN", "db.begin()"),
        ("/* */ commit", "db.begin()"),
        ("SAVEPOINT a", "db.begin()"),
    ] {
        let error = fixture.db.write().execute(sql, params![]).await.unwrap_err();
        assert!(matches!(error, Error::Statement(_)), "{sql}: {error:?}");
        let message = error.to_string();
        assert!(message.contains(told) && !message.contains("hunter2"), "{sql}: {message}");
    }
}

#[tokio::test]
async fn execute_tells_how_many_rows_changed() {
    let fixture = Fixture::things().await;
    let db = &fixture.db;
    let insert = "INSERT INTO things (name) VALUES ($1), ($2), ($3)";
    assert_eq!(db.write().execute(insert, params!["a", "b", "c"]).await.unwrap(), 3);
    assert_eq!(db.write().execute("CREATE TABLE other (id INTEGER)", params![]).await.unwrap(), 0);
    assert_eq!(db.write().execute("UPDATE things SET name = name || '!' WHERE id > 1", params![]).await.unwrap(), 2);
    let ids: Vec<i64> = db.write().all("DELETE FROM things WHERE id < $1 RETURNING id", params![3]).await.unwrap();
    assert_eq!(ids, [1, 2]);
    assert_eq!(db.write().execute("DELETE FROM things WHERE id = 99", params![]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_returning_row_of_the_wrong_type_does_not_undo_the_write() {
    let fixture = Fixture::things().await;
    let sql = "INSERT INTO things (name) VALUES ($1), ($2) RETURNING name";
    let outcome = fixture.db.write().one::<i64>(sql, params!["a", "b"]).await;
    assert!(matches!(outcome, Err(Error::RowMismatch(_))), "{outcome:?}");
    assert_eq!(fixture.names().await, ["a", "b"]);
}
