//! `$1`, `$2`, … and the values bound to them.

use covet_data::{Error, Json, Param, ToParam, params};
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::support::Fixture;

#[tokio::test]
async fn every_type_of_value_comes_back_as_it_went() {
    let fixture = Fixture::new().await;
    fixture
        .run(
            "CREATE TABLE t (s SMALLINT, i INTEGER, l BIGINT, r REAL, d DOUBLE PRECISION, n NUMERIC, b BOOLEAN, t TEXT, \
             x BYTEA, u UUID, at TIMESTAMPTZ, j JSON, jb JSONB, o TEXT)",
        )
        .await;
    let id: Uuid = "0190163d-8694-739b-aea5-966c26f8ad91".parse().unwrap();
    let at: Timestamp = "2026-01-02T03:04:05.678901Z".parse().unwrap();
    let document = json!({"a": [1, "ü", null]});
    let sql = "INSERT INTO t VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
               RETURNING s, i, l, r, d, CAST(n AS TEXT) AS n, b";
    for _ in 0..3 {
        let values = params![
            i16::MIN,
            i32::MAX,
            i64::MIN,
            1.5_f32,
            0.1,
            12,
            true,
            "it's; -- 中",
            [0_u8, 255],
            id,
            at,
            document,
            Json(&document),
            None::<String>
        ];
        let row: (i16, i32, i64, f32, f64, String, bool) = fixture.db.write().one(sql, values).await.unwrap();
        assert_eq!(row, (i16::MIN, i32::MAX, i64::MIN, 1.5, 0.1, "12".to_owned(), true));
        let rest = "DELETE FROM t RETURNING t, x, u, at, j, jb, o";
        type Rest = (String, Vec<u8>, Uuid, Timestamp, Value, Value, Option<String>);
        let row: Rest = fixture.db.write().one(rest, params![]).await.unwrap();
        let text = "it's; -- 中".to_owned();
        assert_eq!(row, (text, vec![0, 255], id, at, document.clone(), document.clone(), None));
    }
}

#[tokio::test]
async fn text_is_parsed_by_types_that_covet_has_no_values_of() {
    let fixture = Fixture::new().await;
    fixture.run("CREATE TYPE role AS ENUM ('member', 'admin')").await;
    fixture
        .run("CREATE TABLE t (r role, n NUMERIC(10, 2), day DATE, a INET, span INTERVAL, id UUID, at TIMESTAMPTZ)")
        .await;
    let sql = "INSERT INTO t VALUES ($1, $2, $3, $4, $5, $6, $7)
               RETURNING CAST(r AS TEXT), CAST(n AS TEXT), CAST(day AS TEXT), CAST(a AS TEXT), CAST(span AS TEXT)";
    let day = jiff::civil::date(2026, 1, 2);
    let address: std::net::IpAddr = "10.0.0.1".parse().unwrap();
    let values =
        params!["admin", "12.5", day, address, "1 day", "0190163d-8694-739b-aea5-966c26f8ad91", "2026-01-02T03:04:05Z"];
    let row: (String, String, String, String, String) = fixture.db.write().one(sql, values).await.unwrap();
    assert_eq!(row, ("admin".into(), "12.50".into(), "2026-01-02".into(), "10.0.0.1/32".into(), "1 day".into()));
    let wrong = fixture.db.write().execute("INSERT INTO t (r) VALUES ($1)", params!["hunter2"]).await.unwrap_err();
    assert!(matches!(wrong, Error::Datatype(_)) && !wrong.to_string().contains("hunter2"), "{wrong}");
}

#[tokio::test]
async fn lists_are_arrays() {
    let fixture = Fixture::new().await;
    let read = fixture.db.read();
    let ids = vec![1_i64, 3, 5];
    for _ in 0..3 {
        let sql = "SELECT n FROM generate_series(1, 5) AS n WHERE n = ANY($1)";
        assert_eq!(read.all::<i64>(sql, params![ids]).await.unwrap(), [1, 3, 5]);
        assert!(read.all::<i64>(sql, params![Vec::<i64>::new()]).await.unwrap().is_empty());
        let names: Vec<Option<String>> =
            read.one("SELECT $1::text[] AS v", params![&[Some("a\"b"), None, Some("NULL")][..]]).await.unwrap();
        assert_eq!(names, [Some("a\"b".to_owned()), None, Some("NULL".to_owned())]);
        let numbers: Vec<String> =
            read.one("SELECT ($1::numeric[])::text[] AS v", params![vec!["1.5", "2"]]).await.unwrap();
        assert_eq!(numbers, ["1.5", "2"]);
    }
    let error = read.one::<bool>("SELECT 1::bigint = ANY($1)", params![vec!["a"]]).await.unwrap_err();
    assert!(
        error.to_string().contains("the value of $1 cannot be bound: it is TEXT, the parameter is BIGINT"),
        "{error}"
    );
    let error = read.one::<bool>("SELECT 1::bigint = $1", params![ids]).await.unwrap_err();
    assert!(error.to_string().contains("it is a list, the parameter is BIGINT"), "{error}");
}

#[tokio::test]
async fn values_and_parameters_that_do_not_match_are_told_before_anything_runs() {
    let fixture = Fixture::things().await;
    for (sql, values, told) in [
        ("SELECT $1::int", params![], "has 1 parameters, 0 values were given"),
        ("SELECT $1::int, $1::int", params![1, 2], "has 1 parameters, 2 values were given"),
        ("SELECT 1", params![1], "has 0 parameters, 1 values were given"),
        ("SELECT $1::int", params!["7"], "the value of $1 cannot be bound: it is TEXT, the parameter is INTEGER"),
        ("SELECT $1::smallint", params![70_000], "out of the range of SMALLINT"),
        ("SELECT $1::timestamp", params![Timestamp::UNIX_EPOCH], "use TIMESTAMPTZ"),
        ("SELECT $1::real", params![0.1], "REAL cannot hold it exactly"),
        (
            "SELECT $1::jsonb",
            params![Json(std::collections::HashMap::from([(vec![1], 2)]))],
            "cannot be written as JSON",
        ),
    ] {
        for _ in 0..3 {
            match fixture.db.write().execute(sql, values.clone()).await {
                Err(Error::Parameters(message)) => assert!(message.contains(told), "{sql}: {message}"),
                other => panic!("{sql}: {other:?}"),
            }
        }
    }
    // The connections are as good as before.
    let error = fixture.db.write().execute("INSERT INTO things (name) VALUES ($1)", params![7]).await.unwrap_err();
    assert!(matches!(error, Error::Parameters(_)));
    assert!(fixture.names().await.is_empty());
}

#[tokio::test]
async fn values_of_other_crates_are_bound() {
    let fixture = Fixture::new().await;
    let at = chrono::DateTime::from_timestamp_micros(1_767_323_045_678_901).unwrap();
    let day = chrono::NaiveDate::from_ymd_opt(2026, 1, 2).unwrap();
    let there = day.and_hms_micro_opt(3, 4, 5, 6).unwrap();
    let amount: rust_decimal::Decimal = "12.50".parse().unwrap();
    let sql = "SELECT $1::timestamptz AS a, $2::date AS b, $3::timestamp AS c, $4::numeric AS d";
    let row: (chrono::DateTime<chrono::Utc>, chrono::NaiveDate, chrono::NaiveDateTime, rust_decimal::Decimal) =
        fixture.db.read().one(sql, params![at, day, there, amount]).await.unwrap();
    assert_eq!(row, (at, day, there, amount));
    assert!(matches!(amount.to_param(), Param::Text(_)));
}
