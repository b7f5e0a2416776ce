//! What the database refuses, as typed errors.

use covet_core::problem::AsProblem as _;
use covet_data::{Error, params};

use super::support::{Fixture, INSERT};

async fn schema() -> Fixture {
    let fixture = Fixture::new().await;
    for sql in [
        "CREATE TABLE users (id BIGINT PRIMARY KEY, tenant INTEGER NOT NULL, email VARCHAR(20) NOT NULL, age SMALLINT \
         CONSTRAINT adult CHECK (age >= 18), CONSTRAINT users_email UNIQUE (tenant, email))",
        "CREATE TABLE tags (name TEXT)",
        "CREATE UNIQUE INDEX tags_lower ON tags (lower(name))",
        "INSERT INTO tags VALUES ('rust')",
        "CREATE TABLE notes (id BIGINT PRIMARY KEY, user_id BIGINT NOT NULL CONSTRAINT notes_user REFERENCES users (id))",
        "CREATE TABLE bookings (during int4range, CONSTRAINT no_overlap EXCLUDE USING gist (during WITH &&))",
        "INSERT INTO bookings VALUES ('[1,5)')",
        "CREATE DOMAIN even AS integer CONSTRAINT is_even CHECK (VALUE % 2 = 0)",
        "CREATE TABLE numbers (n even)",
        "CREATE FUNCTION no_bob() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN IF new.name = 'bob' THEN RAISE EXCEPTION 'bob may not enter'; END IF; RETURN new; END $$",
        "CREATE TRIGGER no_bob BEFORE INSERT ON tags FOR EACH ROW EXECUTE FUNCTION no_bob()",
        "INSERT INTO users VALUES (1, 1, 'ada@example.org', 36)",
    ] {
        fixture.run(sql).await;
    }
    fixture
}

async fn fails(fixture: &Fixture, sql: &str) -> Error {
    let error = fixture.db.write().execute(sql, params![]).await.expect_err(sql);
    let told = format!("{error} {error:?} {}", error.problem().detail.unwrap());
    for value in ["ada@", "hunter2", "4711"] {
        assert!(!told.contains(value), "{told}");
    }
    error
}

#[tokio::test]
async fn each_kind_names_constraint_table_column_and_code() {
    let fixture = schema().await;
    let owned = |text: &str| Some(text.to_owned());
    let error = fails(&fixture, "INSERT INTO users VALUES (2, 1, 'ada@example.org', 20)").await;
    assert_eq!((error.sqlstate(), error.problem().status), (Some("23505"), 409));
    match error {
        Error::Unique { constraint, table, columns } => {
            assert_eq!((constraint, table), (owned("users_email"), owned("users")));
            assert_eq!(columns, ["tenant", "email"]);
        }
        other => panic!("{other:?}"),
    }
    match fails(&fixture, "INSERT INTO tags VALUES ('RUST')").await {
        Error::Unique { constraint, columns, .. } => {
            assert_eq!((constraint, columns.len()), (owned("tags_lower"), 0));
        }
        other => panic!("{other:?}"),
    }
    match fails(&fixture, "INSERT INTO bookings VALUES ('[4,6)')").await {
        Error::Unique { constraint, .. } => assert_eq!(constraint, owned("no_overlap")),
        other => panic!("{other:?}"),
    }
    for sql in
        ["INSERT INTO notes VALUES (1, 4711)", "INSERT INTO notes VALUES (1, 1)", "DELETE FROM users WHERE id = 1"]
    {
        if sql.ends_with("(1, 1)") {
            fixture.run(sql).await;
            continue;
        }
        match fails(&fixture, sql).await {
            Error::ForeignKey { constraint, table } => {
                assert_eq!((constraint, table), (owned("notes_user"), owned("notes")));
            }
            other => panic!("{other:?}"),
        }
    }
    match fails(&fixture, "INSERT INTO users VALUES (2, 2, 'b', 5)").await {
        Error::Check { constraint, table } => assert_eq!((constraint.as_str(), table), ("adult", owned("users"))),
        other => panic!("{other:?}"),
    }
    match fails(&fixture, "INSERT INTO numbers VALUES (4711)").await {
        Error::Check { constraint, .. } => assert_eq!(constraint, "is_even"),
        other => panic!("{other:?}"),
    }
    match fails(&fixture, "INSERT INTO tags VALUES ('bob')").await {
        Error::Check { constraint, .. } => assert_eq!(constraint, "bob may not enter"),
        other => panic!("{other:?}"),
    }
    match fails(&fixture, "INSERT INTO users (id, tenant) VALUES (2, 2)").await {
        Error::NotNull { table, column } => assert_eq!((table, &*column), (owned("users"), "email")),
        other => panic!("{other:?}"),
    }
    for sql in [
        "INSERT INTO users VALUES (2, 2, 'a-very-long-hunter2-address', 20)",
        "INSERT INTO users VALUES (2, 2, 'b', 70000)",
        "INSERT INTO users VALUES ('hunter2', 2, 'b', 20)",
    ] {
        let error = fails(&fixture, sql).await;
        assert!(matches!(error, Error::Datatype(_)) && error.sqlstate().unwrap().starts_with("22"), "{error:?}");
    }
}

#[tokio::test]
async fn faults_of_the_text_are_told_without_its_literals() {
    let fixture = Fixture::things().await;
    for (sql, told, code) in [
        ("SELEC 1", "syntax error at or near \"SELEC\"", "42601"),
        ("SELECT * FROM nowhere", "relation \"nowhere\" does not exist", "42P01"),
        ("SELECT nothing FROM things", "column \"nothing\" does not exist", "42703"),
        ("SELECT 1 'hunter2' 'hunter2'", "near a literal", "42601"),
        ("SELECT 'hunter2'::int", "invalid input syntax", "22P02"),
        ("SELECT 1; SELECT 2", "multiple commands", "42601"),
        ("SELECT 1 / 0", "division by zero", "22012"),
    ] {
        let error = fixture.db.write().execute(sql, params![]).await.unwrap_err();
        let message = error.to_string();
        assert!(message.contains(told) && !message.contains("hunter2"), "{sql}: {message}");
        assert_eq!(error.sqlstate(), Some(code), "{sql}: {message}");
    }
    for sql in ["BEGIN", "/* */ commit", "SAVEPOINT a"] {
        let error = fixture.db.write().execute(sql, params![]).await.unwrap_err();
        assert!(error.to_string().contains("db.begin()"), "{sql}: {error}");
    }
}

#[tokio::test]
async fn execute_tells_how_many_rows_changed() {
    let fixture = Fixture::things().await;
    let db = &fixture.db;
    for _ in 0..3 {
        let insert = "INSERT INTO things (name) VALUES ($1), ($2), ($3)";
        assert_eq!(db.write().execute(insert, params!["a", "b", "c"]).await.unwrap(), 3);
        assert_eq!(db.write().execute("CREATE TABLE other (id INTEGER)", params![]).await.unwrap(), 0);
        assert_eq!(
            db.write().execute("UPDATE things SET name = name || '!' WHERE name > 'a'", params![]).await.unwrap(),
            2
        );
        let names: Vec<String> =
            db.write().all("DELETE FROM things WHERE name < $1 RETURNING name", params!["b"]).await.unwrap();
        assert_eq!(names, ["a"]);
        assert_eq!(db.write().execute("DELETE FROM things WHERE id = 0", params![]).await.unwrap(), 0);
        assert_eq!(db.write().execute("SELECT generate_series(1, 5)", params![]).await.unwrap(), 5);
        assert_eq!(db.write().execute("DELETE FROM things", params![]).await.unwrap(), 2);
        db.write().execute("DROP TABLE other", params![]).await.unwrap();
    }
}

#[tokio::test]
async fn a_returning_row_of_the_wrong_type_does_not_undo_the_write() {
    let fixture = Fixture::things().await;
    for round in 0..3 {
        let sql = "INSERT INTO things (name) VALUES ($1 || '-a'), ($1 || '-b') RETURNING name";
        let outcome = fixture.db.write().one::<i64>(sql, params![round.to_string()]).await;
        assert!(matches!(outcome, Err(Error::RowMismatch(_))), "{outcome:?}");
        let outcome = fixture.db.write().one::<String>("UPDATE things SET name = name RETURNING name", params![]).await;
        assert!(matches!(outcome, Err(Error::TooManyRows)), "{outcome:?}");
    }
    assert_eq!(fixture.names().await.len(), 6);
}

#[tokio::test]
async fn statements_that_run_in_no_transaction_run() {
    let fixture = Fixture::things().await;
    fixture.db.write().execute(INSERT, params!["a"]).await.unwrap();
    for _ in 0..3 {
        fixture.run("VACUUM things").await;
        fixture.run("CREATE INDEX CONCURRENTLY things_name ON things (name)").await;
        fixture.run("DROP INDEX CONCURRENTLY things_name").await;
    }
}
