//! Which Rust type takes which column: every pair, with the error of every one that does not fit.

use std::collections::HashMap;

use covet_data::{Error, Json, RowMismatch, params};
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use uuid::Uuid;

use super::support::Fixture;

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Role {
    Member,
    Admin,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Point {
    x: i64,
    y: Option<i64>,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Wrapped(i64);

#[derive(Debug, PartialEq, Deserialize)]
#[serde(try_from = "String")]
struct Email(String);

impl TryFrom<String> for Email {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.contains('@') { Ok(Self(text)) } else { Err(format!("{text} has no @")) }
    }
}

const UUID: &str = "0190163d-8694-739b-aea5-966c26f8ad91";
const INSTANT: &str = "2026-01-02T03:04:05.678901Z";

/// One row, a column for each kind of value and declaration.
async fn samples() -> Fixture {
    let fixture = Fixture::new().await;
    fixture
        .run(
            "CREATE TABLE samples (
                null_integer INTEGER, null_text TEXT, null_json JSON,
                int INTEGER, big BIGINT, negative INTEGER, real REAL, whole_real REAL, exact_real REAL,
                numeric_whole NUMERIC, numeric_part DECIMAL(10,2),
                text TEXT, varchar VARCHAR(10), letter TEXT, role TEXT, number_text TEXT,
                yes BOOLEAN, no BOOL, two BOOLEAN,
                blob BLOB, id UUID, id_text TEXT, at TIMESTAMP, at_text TEXT, day DATE,
                object JSON, list JSON TEXT, scalar JSON, broken JSON, object_text TEXT, untyped
            )",
        )
        .await;
    let values = params![
        7,
        i64::MAX,
        -5,
        1.5,
        2.0,
        0.1,
        10,
        10.5,
        "hello",
        "short",
        "é",
        "admin",
        "42",
        true,
        false,
        2,
        [1_u8, 2, 255],
        UUID.parse::<Uuid>().unwrap(),
        UUID,
        INSTANT.parse::<Timestamp>().unwrap(),
        INSTANT,
        "2026-01-02",
        json!({"x": 1, "y": null}),
        json!([1, 2]),
        json!(5),
        "{\"x\": ",
        "{\"x\": 3, \"y\": 4}",
        9
    ];
    let marks: Vec<String> = (1..=28).map(|n| format!("${n}")).collect();
    let sql = format!("INSERT INTO samples VALUES (NULL, NULL, NULL, {})", marks.join(", "));
    fixture.db.write().execute(&sql, values).await.unwrap();
    fixture
}

async fn read<T: DeserializeOwned + Send + 'static>(fixture: &Fixture, column: &str) -> Result<T, Error> {
    fixture.db.read().one(&format!("SELECT {column} FROM samples"), params![]).await
}

async fn mismatch<T: DeserializeOwned + Send + std::fmt::Debug + 'static>(
    fixture: &Fixture,
    column: &str,
) -> RowMismatch {
    match read::<T>(fixture, column).await {
        Err(Error::RowMismatch(mismatch)) => {
            let told = mismatch.to_string();
            for value in ["hello", UUID, INSTANT, "9223372036854775807", "short"] {
                assert!(!told.contains(value), "the message repeats a value: {told}");
            }
            *mismatch
        }
        other => panic!("{column} into {}: {other:?}", std::any::type_name::<T>()),
    }
}

#[tokio::test]
async fn each_type_takes_its_own_columns() {
    let fixture = samples().await;
    macro_rules! takes {
        ($($column:literal $type:ty = $value:expr;)*) => {$(
            let value: $type = read(&fixture, $column).await.unwrap_or_else(|error| panic!("{}: {error}", $column));
            assert_eq!(value, $value, "{}", $column);
        )*};
    }
    takes! {
        "int" i8 = 7;
        "int" i16 = 7;
        "int" i32 = 7;
        "int" i64 = 7;
        "int" u8 = 7;
        "int" u16 = 7;
        "int" u32 = 7;
        "int" u64 = 7;
        "big" i64 = i64::MAX;
        "big" u64 = i64::MAX.unsigned_abs();
        "negative" i32 = -5;
        "int" Wrapped = Wrapped(7);
        "real" f64 = 1.5;
        "real" f32 = 1.5;
        "whole_real" f64 = 2.0;
        "numeric_whole" f64 = 10.0;
        "numeric_whole" i64 = 10;
        "numeric_part" f64 = 10.5;
        "text" String = "hello";
        "text" Box<str> = "hello".into();
        "varchar" String = "short";
        "letter" char = 'é';
        "role" Role = Role::Admin;
        "role" String = "admin";
        "yes" bool = true;
        "no" bool = false;
        "int = 7" bool = true;
        "EXISTS (SELECT 1)" bool = true;
        "count(*)" i64 = 1;
        "blob" Vec<u8> = vec![1, 2, 255];
        "blob" [u8; 3] = [1, 2, 255];
        "id" Uuid = UUID.parse::<Uuid>().unwrap();
        "id_text" Uuid = UUID.parse::<Uuid>().unwrap();
        "CAST(id AS TEXT)" String = UUID;
        "at" Timestamp = INSTANT.parse::<Timestamp>().unwrap();
        "at_text" Timestamp = INSTANT.parse::<Timestamp>().unwrap();
        "CAST(at AS TEXT)" String = INSTANT;
        "object" Json<Value> = Json(json!({"x": 1, "y": null}));
        "object" Json<Point> = Json(Point { x: 1, y: None });
        "object_text" Json<Point> = Json(Point { x: 3, y: Some(4) });
        "json_object('x', 1, 'y', 2)" Json<Point> = Json(Point { x: 1, y: Some(2) });
        "list" Vec<i64> = vec![1, 2];
        "list" Json<Vec<i64>> = Json(vec![1, 2]);
        "scalar" Json<i64> = Json(5);
        "untyped" i64 = 9;
        "null_integer" Option<i64> = None;
        "null_text" Option<String> = None;
        "null_json" Option<Json<Point>> = None;
        "int" Option<i64> = Some(7);
        "max(int)" Option<i64> = Some(7);
        "int, text" (i64, String) = (7, "hello".to_owned());
        "int, null_text" (i64, Option<String>) = (7, None);
        "int, big" [i64; 2] = [7, i64::MAX];
    }
}

#[tokio::test]
async fn what_does_not_fit_is_refused_with_column_and_types() {
    let fixture = samples().await;
    macro_rules! refuses {
        ($($column:literal $type:ty: $found:literal, $expected:literal;)*) => {$(
            let told = mismatch::<$type>(&fixture, $column).await;
            assert_eq!(told.column.as_deref(), Some($column), "{told}");
            assert!(told.found.contains($found), "{} into {}: {told}", $column, stringify!($type));
            assert!(told.expected.contains($expected), "{} into {}: {told}", $column, stringify!($type));
            assert!(told.rust_type.contains(std::any::type_name::<$type>()));
        )*};
    }
    refuses! {
        // NULL goes into Option only.
        "null_integer" i64: "NULL", "i64 (only an Option takes NULL)";
        "null_integer" f64: "NULL", "f64 (only an Option";
        "null_integer" bool: "NULL", "bool";
        "null_text" String: "NULL", "String (only an Option";
        "null_text" Uuid: "NULL", "UUID string (only an Option";
        "null_text" Role: "NULL", "one of member, admin (only an Option";
        "null_text" Vec<u8>: "NULL", "sequence (only an Option";
        "null_json" Json<Point>: "NULL", "JSON";

        // Whole numbers.
        "big" i32: "INTEGER that is out of range", "i32";
        "negative" u8: "INTEGER that is out of range", "u8";
        "negative" u64: "INTEGER that is out of range", "u64";
        "int" f64: "INTEGER in a column declared INTEGER", "f64";
        "int" bool: "INTEGER in a column declared INTEGER", "bool: 0 or 1 in a column declared BOOLEAN";
        "int" String: "INTEGER", "String";
        "int" Uuid: "INTEGER", "UUID string";
        "int" Timestamp: "INTEGER", "timestamp string";
        "int" Role: "INTEGER", "one of member, admin";
        "int" Vec<u8>: "INTEGER", "sequence";
        "int" char: "INTEGER", "String";

        // Real numbers.
        "real" i64: "REAL", "i64";
        "whole_real" i64: "REAL", "i64";
        "numeric_part" i64: "REAL", "i64";
        "real" String: "REAL", "String";
        "real" bool: "REAL", "bool";
        "exact_real" f32: "REAL", "f32, which cannot hold this value exactly";

        // Text.
        "text" i64: "TEXT in a column declared TEXT", "i64";
        "number_text" i64: "TEXT", "i64";
        "text" f64: "TEXT", "f64";
        "text" bool: "TEXT", "bool";
        "text" Vec<u8>: "TEXT", "sequence";
        "text" char: "TEXT", "character";
        "text" Uuid: "refuses", "a formatted UUID string";
        "text" Timestamp: "refuses", "a timestamp string";
        "text" Role: "TEXT that names none of the variants", "one of member, admin";
        "text" Email: "refuses", "accepts";
        "text" Json<Point>: "text that is not JSON (line 1", "JSON of the type asked for";

        // Truth values.
        "yes" i64: "INTEGER in a column declared BOOLEAN", "i64";
        "two" bool: "INTEGER in a column declared BOOLEAN", "bool: 0 or 1";
        "yes" String: "INTEGER", "String";

        // Bytes.
        "blob" String: "BLOB", "String";
        "blob" i64: "BLOB", "i64";
        "blob" Uuid: "BLOB", "UUID";
        "blob" Vec<i64>: "BLOB", "not made of bytes";
        "blob" [u8; 2]: "BLOB of 3 bytes", "2 bytes";

        // Text that means something else.
        "id" String: "TEXT in a column declared UUID", "CAST(… AS TEXT)";
        "at" String: "TEXT in a column declared TIMESTAMP", "CAST(… AS TEXT)";
        "day" String: "TEXT in a column declared DATE", "CAST(… AS TEXT)";
        "id" Role: "TEXT in a column declared UUID", "one of";
        "id" Timestamp: "refuses", "a timestamp string";

        // JSON.
        "object" String: "declared JSON", "CAST(… AS TEXT)";
        "scalar" i64: "declared JSON", "i64";
        "object" Uuid: "declared JSON", "UUID";
        "list" Vec<String>: "JSON that does not fit (line 1", "a sequence";
        "broken" Json<Value>: "text that is not JSON", "JSON of the type asked for";
        "object" Json<Vec<i64>>: "JSON that does not fit", "JSON of the type asked for";
        "object_text" Vec<i64>: "TEXT in a column declared TEXT", "covet_data::Json";
    }
}

#[tokio::test]
async fn a_scalar_takes_one_column_and_a_tuple_as_many_as_it_has() {
    let fixture = samples().await;
    for (told, found) in [
        (mismatch::<i64>(&fixture, "int, text").await, "2 columns (int, text)"),
        (mismatch::<Option<i64>>(&fixture, "int, text").await, "2 columns"),
        (mismatch::<(i64, String)>(&fixture, "int, text, big").await, "3 columns"),
        (mismatch::<(i64, String, i64)>(&fixture, "int, text").await, "2 columns"),
    ] {
        assert!(told.column.is_none() && told.found.contains(found), "{told}");
    }
    let told = mismatch::<(i64, i64)>(&fixture, "int, text").await;
    assert_eq!(told.column.as_deref(), Some("text"));
}

#[tokio::test]
async fn a_struct_needs_each_field_once_also_an_optional_one() {
    let fixture = samples().await;
    let point: Point = read(&fixture, "int AS x, null_integer AS y, text").await.unwrap();
    assert_eq!(point, Point { x: 7, y: None });

    let told = mismatch::<Point>(&fixture, "int AS x").await;
    assert_eq!(told.column.as_deref(), Some("y"));
    assert_eq!(told.found, "no such column, only x");

    let told = mismatch::<Point>(&fixture, "int AS x, big AS y, negative AS x").await;
    assert_eq!(told.column.as_deref(), Some("x"));
    assert!(told.found.contains("twice") && told.expected.contains("AS"), "{told}");

    let told = mismatch::<Point>(&fixture, "text AS x, int AS y").await;
    assert_eq!(told.column.as_deref(), Some("x"));
    assert!(told.found.contains("TEXT") && told.expected.contains("i64"), "{told}");
}

#[tokio::test]
async fn further_columns_are_ignored_unless_the_struct_denies_them() {
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Exact {
        #[expect(dead_code, reason = "only read by serde")]
        int: i64,
    }
    let fixture = samples().await;
    read::<Exact>(&fixture, "int").await.unwrap();
    let told = mismatch::<Exact>(&fixture, "int, text").await;
    assert!(told.found.contains("a column `text` that is no field"), "{told}");
}

#[tokio::test]
async fn flattened_structs_maps_and_values_take_rows_too() {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Outer {
        text: String,
        #[serde(flatten)]
        point: Point,
    }
    let fixture = samples().await;
    let outer: Outer = read(&fixture, "text, int AS x, null_integer AS y").await.unwrap();
    assert_eq!(outer, Outer { text: "hello".into(), point: Point { x: 7, y: None } });

    let map: HashMap<String, Value> = read(&fixture, "int, yes, null_text, object").await.unwrap();
    assert_eq!(map["yes"], json!(true));
    assert_eq!(map["object"], json!({"x": 1, "y": null}));
    let value: Value = read(&fixture, "int, yes, null_text, object").await.unwrap();
    assert_eq!(value, json!({"int": 7, "yes": true, "null_text": null, "object": {"x": 1, "y": null}}));
}

#[tokio::test]
async fn text_that_is_not_utf_8_is_refused() {
    let fixture = samples().await;
    let told = mismatch::<String>(&fixture, "CAST(x'ff00' AS TEXT) AS t").await;
    assert_eq!((told.column.as_deref(), &*told.found), (Some("t"), "TEXT that is not UTF-8"));
}

#[tokio::test]
async fn columns_are_looked_at_again_when_the_schema_has_changed() {
    let fixture = Fixture::new().await;
    fixture.run("CREATE TABLE t (a INTEGER)").await;
    fixture.run("INSERT INTO t VALUES (1)").await;
    let all = "SELECT * FROM t";
    for _ in 0..20 {
        let row: (i64,) = fixture.db.read().one(all, params![]).await.unwrap();
        assert_eq!(row, (1,));
    }
    fixture.run("ALTER TABLE t ADD COLUMN b BOOLEAN NOT NULL DEFAULT 1").await;
    for _ in 0..20 {
        let row: (i64, bool) = fixture.db.read().one(all, params![]).await.unwrap();
        assert_eq!(row, (1, true));
    }
    fixture.run("DROP TABLE t").await;
    fixture.run("CREATE TABLE t (a TEXT)").await;
    fixture.run("INSERT INTO t VALUES ('x')").await;
    let row: (String,) = fixture.db.read().one(all, params![]).await.unwrap();
    assert_eq!(row, ("x".to_owned(),));
}

#[tokio::test]
async fn a_statement_forgotten_and_prepared_anew_is_looked_at_again() {
    let fixture = Fixture::with(|settings| settings.statement_cache = 1).await;
    fixture.run("CREATE TABLE t (a INTEGER)").await;
    fixture.run("INSERT INTO t VALUES (1)").await;
    let all = "SELECT * FROM t";
    let row: (i64,) = fixture.db.write().one(all, params![]).await.unwrap();
    assert_eq!(row, (1,));
    // Takes the place of the one above.
    fixture.run("ALTER TABLE t ADD COLUMN b BOOLEAN NOT NULL DEFAULT 1").await;
    let row: (i64, bool) = fixture.db.write().one(all, params![]).await.unwrap();
    assert_eq!(row, (1, true));
}

#[tokio::test]
async fn one_optional_and_all_differ_in_how_many_rows_they_take() {
    let fixture = Fixture::things().await;
    let reader = fixture.db.read();
    let names = "SELECT name FROM things ORDER BY id";
    assert!(matches!(reader.one::<String>(names, params![]).await, Err(Error::NotFound)));
    assert_eq!(reader.optional::<String>(names, params![]).await.unwrap(), None);
    assert!(reader.all::<String>(names, params![]).await.unwrap().is_empty());
    fixture.run("INSERT INTO things (name) VALUES ('a')").await;
    assert_eq!(reader.one::<String>(names, params![]).await.unwrap(), "a");
    assert_eq!(reader.optional::<String>(names, params![]).await.unwrap().as_deref(), Some("a"));
    fixture.run("INSERT INTO things (name) VALUES ('b')").await;
    assert!(matches!(reader.one::<String>(names, params![]).await, Err(Error::TooManyRows)));
    assert!(matches!(reader.optional::<String>(names, params![]).await, Err(Error::TooManyRows)));
    assert_eq!(reader.all::<String>(names, params![]).await.unwrap(), ["a", "b"]);
    assert_eq!(reader.execute(names, params![]).await.unwrap(), 2);
}
