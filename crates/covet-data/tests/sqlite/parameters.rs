//! `$1`, `$2`, … and the values bound to them.

use covet_data::{Error, Json, Params, params};
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::support::Fixture;

#[tokio::test]
async fn numbers_decide_not_the_order_of_appearance() {
    let fixture = Fixture::new().await;
    let sql = "SELECT $3 || '-' || $1 || '-' || $2 || '-' || $1";
    let text: String = fixture.db.read().one(sql, params!["a", "b", "c"]).await.unwrap();
    assert_eq!(text, "c-a-b-a");
    let text: String = fixture.db.read().one("SELECT ?2 || ?1", params!["a", "b"]).await.unwrap();
    assert_eq!(text, "ba");
}

#[tokio::test]
async fn more_than_nine_parameters_are_told_apart() {
    let fixture = Fixture::new().await;
    let values: Params = (1..=12).map(covet_data::Param::Integer).collect();
    let sql = "SELECT $12, $1, $11, $2, $10, $3 + $4 + $5 + $6 + $7 + $8 + $9";
    let row: (i64, i64, i64, i64, i64, i64) = fixture.db.read().one(sql, values).await.unwrap();
    assert_eq!(row, (12, 1, 11, 2, 10, 42));
}

#[tokio::test]
async fn a_dollar_in_quotes_or_comments_is_no_parameter() {
    let fixture = Fixture::new().await;
    let sql = "SELECT '$2' || $1 /* $3 */ AS \"$4\" -- $5";
    assert_eq!(fixture.db.read().one::<String>(sql, params!["x"]).await.unwrap(), "$2x");
}

#[tokio::test]
async fn values_and_parameters_that_do_not_match_are_told() {
    let fixture = Fixture::new().await;
    for (sql, values, told) in [
        ("SELECT $1", params![], "has 1 parameters, 0 values were given"),
        ("SELECT $1, $1", params![1, 2], "has 1 parameters, 2 values were given"),
        ("SELECT 1", params![1], "has 0 parameters, 1 values were given"),
        ("SELECT $2", params![1, 2], "$2 is in the statement, but $1 is not"),
        ("SELECT :name", params![1], "`:name` is no parameter"),
        ("SELECT $name", params![1], "`$name` is no parameter"),
        ("SELECT $1", params![f64::NAN], "the value of $1 cannot be bound"),
    ] {
        match fixture.db.read().one::<i64>(sql, values).await {
            Err(Error::Parameters(message)) => assert!(message.contains(told), "{sql}: {message}"),
            other => panic!("{sql}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_value_that_is_no_json_is_told_and_not_stored() {
    let fixture = Fixture::new().await;
    let keys_are_lists = std::collections::HashMap::from([(vec![1], 2)]);
    let outcome = fixture.db.read().one::<Value>("SELECT $1 AS v", params![Json(keys_are_lists)]).await;
    assert!(matches!(outcome, Err(Error::Parameters(message)) if message.contains("JSON")));
}

#[tokio::test]
async fn every_type_of_value_comes_back_as_it_went() {
    let fixture = Fixture::new().await;
    fixture
        .run("CREATE TABLE t (i INTEGER, r REAL, b BOOLEAN, s TEXT, x BLOB, u UUID, at TIMESTAMP, j JSON, n TEXT)")
        .await;
    let id: Uuid = "0190163d-8694-739b-aea5-966c26f8ad91".parse().unwrap();
    let at: Timestamp = "2026-01-02T03:04:05.678901Z".parse().unwrap();
    let document = json!({"a": [1, "ü", null]});
    let values = params![i64::MIN, 0.1, true, "it's; -- 中", [0_u8, 255], id, at, document, None::<String>];
    let sql = "INSERT INTO t VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING *";
    type Row = (i64, f64, bool, String, Vec<u8>, Uuid, Timestamp, Value, Option<String>);
    let row: Row = fixture.db.write().one(sql, values).await.unwrap();
    assert_eq!(row, (i64::MIN, 0.1, true, "it's; -- 中".into(), vec![0, 255], id, at, document, None));
}

#[tokio::test]
async fn text_order_of_instants_is_their_order_in_time() {
    let fixture = Fixture::new().await;
    let mut instants: Vec<Timestamp> =
        ["2026-01-02T03:04:05Z", "2026-01-02T03:04:05.1Z", "1999-12-31T23:59:59.999999Z"]
            .map(|text| text.parse().unwrap())
            .to_vec();
    fixture.run("CREATE TABLE t (at TIMESTAMP)").await;
    for at in &instants {
        fixture.db.write().execute("INSERT INTO t VALUES ($1)", params![at]).await.unwrap();
    }
    instants.sort();
    let stored: Vec<Timestamp> = fixture.db.read().all("SELECT at FROM t ORDER BY at", params![]).await.unwrap();
    assert_eq!(stored, instants);
    let text: String = fixture.db.read().one("SELECT CAST(min(at) AS TEXT) FROM t", params![]).await.unwrap();
    assert_eq!(text, "1999-12-31T23:59:59.999999Z");
}

#[tokio::test]
async fn double_quotes_are_names_never_values() {
    let fixture = Fixture::things().await;
    let outcome = fixture.db.read().all::<String>("SELECT name FROM things WHERE name = \"bob\"", params![]).await;
    assert!(matches!(outcome, Err(Error::Statement(_))), "{outcome:?}");
}
