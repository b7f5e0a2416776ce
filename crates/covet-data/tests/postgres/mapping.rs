//! Which Rust type takes which PostgreSQL type: every pair, with the error of every one that does not fit.

use std::collections::HashMap;
use std::fmt::Debug;
use std::net::IpAddr;

use covet_data::{Error, Json, RowMismatch, params};
use jiff::civil::{Date, DateTime, Time};
use jiff::{Span, Timestamp};
use rust_decimal::Decimal;
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

/// PostgreSQL's types: how messages name them, and a value.
const VALUES: &[(&str, &str)] = &[
    ("BOOLEAN", "true"),
    ("SMALLINT", "7::smallint"),
    ("INTEGER", "7"),
    ("BIGINT", "7::bigint"),
    ("OID", "7::oid"),
    ("XID8", "'7'::xid8"),
    ("REAL", "1.5::real"),
    ("DOUBLE PRECISION", "1.5::float8"),
    ("NUMERIC", "12.50::numeric(10, 2)"),
    ("TEXT", "'hello'"),
    ("VARCHAR", "'hello'::varchar(10)"),
    ("CHAR", "'hi'::char(4)"),
    ("NAME", "'hello'::name"),
    ("\"char\"", "'h'::\"char\""),
    ("citext", "'hello'::citext"),
    ("XML", "'<a/>'::xml"),
    ("role", "'admin'::role"),
    ("BYTEA", "'\\x0102ff'::bytea"),
    ("UUID", "'0190163d-8694-739b-aea5-966c26f8ad91'::uuid"),
    ("DATE", "'2026-01-02'::date"),
    ("TIME", "'03:04:05.678901'::time"),
    ("TIMETZ", "'03:04:05+02'::timetz"),
    ("TIMESTAMP", "'2026-01-02 03:04:05.678901'::timestamp"),
    ("TIMESTAMPTZ", "'2026-01-02 03:04:05.678901Z'::timestamptz"),
    ("INTERVAL", "'1 year 2 days 3 seconds'::interval"),
    ("JSON", "'{\"x\": 1, \"y\": null}'::json"),
    ("JSONB", "'{\"x\": 1, \"y\": null}'::jsonb"),
    ("INET", "'10.0.0.1'::inet"),
    ("CIDR", "'10.0.0.0/8'::cidr"),
    ("MACADDR", "'08:00:2b:01:02:03'::macaddr"),
    ("BIGINT[]", "'{1,2}'::bigint[]"),
    ("TEXT[]", "'{a,b}'::text[]"),
    ("UUID[]", "'{0190163d-8694-739b-aea5-966c26f8ad91}'::uuid[]"),
    ("POINT", "'(1,2)'::point"),
    ("TSVECTOR", "'a b'::tsvector"),
    ("INT4RANGE", "'[1,5)'::int4range"),
    ("MONEY", "'1.50'::money"),
];

/// Which of them each Rust type takes. It takes no other.
macro_rules! matrix {
    ($apply:ident) => {
        $apply! {
            bool: "BOOLEAN";
            i8: "SMALLINT INTEGER BIGINT OID XID8";
            i16: "SMALLINT INTEGER BIGINT OID XID8";
            i32: "SMALLINT INTEGER BIGINT OID XID8";
            i64: "SMALLINT INTEGER BIGINT OID XID8";
            i128: "SMALLINT INTEGER BIGINT OID XID8";
            u8: "SMALLINT INTEGER BIGINT OID XID8";
            u16: "SMALLINT INTEGER BIGINT OID XID8";
            u32: "SMALLINT INTEGER BIGINT OID XID8";
            u64: "SMALLINT INTEGER BIGINT OID XID8";
            u128: "SMALLINT INTEGER BIGINT OID XID8";
            Wrapped: "SMALLINT INTEGER BIGINT OID XID8";
            f32: "REAL DOUBLE_PRECISION";
            f64: "REAL DOUBLE_PRECISION";
            Decimal: "SMALLINT INTEGER BIGINT OID XID8 REAL DOUBLE_PRECISION NUMERIC";
            String: "TEXT VARCHAR CHAR NAME \"char\" citext XML role";
            Box<str>: "TEXT VARCHAR CHAR NAME \"char\" citext XML role";
            char: "\"char\"";
            Role: "role";
            Email: "";
            Vec<u8>: "BYTEA BIGINT[]";
            [u8; 3]: "BYTEA";
            [u8; 2]: "BIGINT[]";
            Uuid: "UUID";
            Timestamp: "TIMESTAMPTZ";
            chrono::DateTime<chrono::Utc>: "TIMESTAMPTZ";
            DateTime: "TIMESTAMP DATE";
            chrono::NaiveDateTime: "TIMESTAMP";
            Date: "DATE TIMESTAMP";
            chrono::NaiveDate: "DATE";
            Time: "TIME TIMETZ TIMESTAMP";
            chrono::NaiveTime: "TIME";
            Span: "INTERVAL TIME";
            IpAddr: "INET";
            ipnet::IpNet: "CIDR";
            (Point,): "JSON JSONB";
            Json<Point>: "JSON JSONB";
            Json<Value>: "JSON JSONB";
            Vec<i64>: "BIGINT[]";
            Vec<String>: "TEXT[]";
            Vec<Option<String>>: "TEXT[]";
            Vec<Uuid>: "UUID[]";
        }
    };
}

async fn fixture() -> Fixture {
    let fixture = Fixture::new().await;
    fixture.run("CREATE TYPE role AS ENUM ('member', 'admin')").await;
    fixture.run("CREATE EXTENSION citext").await;
    fixture
}

async fn read<T: DeserializeOwned + Send + 'static>(fixture: &Fixture, columns: &str) -> Result<T, Error> {
    fixture.db.read().one(&format!("SELECT {columns}"), params![]).await
}

async fn mismatch<T: DeserializeOwned + Send + Debug + 'static>(fixture: &Fixture, columns: &str) -> RowMismatch {
    match read::<T>(fixture, columns).await {
        Err(Error::RowMismatch(mismatch)) => *mismatch,
        other => panic!("{columns} into {}: {other:?}", std::any::type_name::<T>()),
    }
}

/// Reads one value of each PostgreSQL type into `T`.
async fn into_each<T: DeserializeOwned + Send + Debug + 'static>(fixture: &Fixture, takes: &str) {
    let takes: Vec<String> = takes.split(' ').map(|name| name.replace('_', " ")).collect();
    let rust = std::any::type_name::<T>();
    for (name, value) in VALUES {
        let outcome = read::<T>(fixture, &format!("{value} AS v")).await;
        if takes.iter().any(|taken| taken == name) {
            assert!(outcome.is_ok(), "{name} into {rust}: {}", outcome.unwrap_err());
            continue;
        }
        let told = match outcome {
            Err(Error::RowMismatch(told)) => *told,
            other => panic!("{name} into {rust}: {other:?}"),
        };
        let message = told.to_string();
        assert_eq!((told.column.as_deref(), told.rust_type), (Some("v"), rust), "{message}");
        assert!(told.found.contains(name) && !told.expected.is_empty(), "{name} into {rust}: {message}");
        for value in ["hello", UUID, "10.0.0", "2026-01-02", "<a/>"] {
            assert!(!message.contains(value), "the message repeats a value: {message}");
        }
    }
    // NULL goes into Option only.
    for (name, value) in VALUES {
        let null = format!("NULLIF({value}::text, {value}::text)");
        let null = if *name == "TEXT" { null } else { format!("CASE WHEN false THEN {value} END") };
        let told = mismatch::<T>(fixture, &format!("{null} AS v")).await;
        assert!(told.found.contains("NULL"), "{told}");
        assert!(told.expected.contains("only an Option takes NULL"), "{name} into {rust}: {told}");
        let none: Option<T> = read(fixture, &format!("{null} AS v")).await.unwrap();
        assert!(none.is_none());
    }
}

#[tokio::test]
async fn every_type_takes_its_own_and_refuses_all_others_with_column_and_types() {
    let fixture = fixture().await;
    macro_rules! each {
        ($($type:ty: $takes:literal;)*) => {$(
            into_each::<$type>(&fixture, $takes).await;
        )*};
    }
    matrix!(each);
}

#[tokio::test]
async fn values_come_as_they_are() {
    let fixture = fixture().await;
    macro_rules! comes {
        ($($value:literal $type:ty = $expected:expr;)*) => {$(
            let value: $type = read(&fixture, concat!($value, " AS v")).await.unwrap_or_else(|error| panic!("{}: {error}", $value));
            assert_eq!(value, $expected, "{}", $value);
        )*};
    }
    comes! {
        "true" bool = true;
        "false" bool = false;
        "EXISTS (SELECT 1)" bool = true;
        "(-32768)::smallint" i16 = i16::MIN;
        "2147483647" u32 = 2_147_483_647;
        "9223372036854775807" i64 = i64::MAX;
        "4294967295::oid" u32 = u32::MAX;
        "'18446744073709551615'::xid8" u64 = u64::MAX;
        "count(*)" i64 = 1;
        "(SELECT sum(x) FROM (VALUES (1::bigint), (2)) AS t(x))" i64 = 3;
        "12.00::numeric" i32 = 12;
        "170141183460469231731687303715884105727::numeric" i128 = i128::MAX;
        "1.5::real" f32 = 1.5;
        "0.1::float8" f64 = 0.1;
        "'NaN'::float8 = 'NaN'" bool = true;
        "'-Infinity'::float8" f64 = f64::NEG_INFINITY;
        "12.50::numeric(10, 2)" Decimal = "12.50".parse::<Decimal>().unwrap();
        "-0.000001::numeric" Decimal = "-0.000001".parse::<Decimal>().unwrap();
        "1e10::numeric" Decimal = "10000000000".parse::<Decimal>().unwrap();
        "'hello'" String = "hello";
        "'é'" char = 'é';
        "'hi'::char(4)" String = "hi  ";
        "'admin'" Role = Role::Admin;
        "'admin'::role" Role = Role::Admin;
        "'admin'::role" String = "admin";
        "'a@b'" Email = Email("a@b".into());
        "'\\x0102ff'::bytea" Vec<u8> = vec![1, 2, 255];
        "'\\x0102ff'::bytea" [u8; 3] = [1, 2, 255];
        "'0190163d-8694-739b-aea5-966c26f8ad91'::uuid" Uuid = UUID.parse::<Uuid>().unwrap();
        "'0190163d-8694-739b-aea5-966c26f8ad91'" Uuid = UUID.parse::<Uuid>().unwrap();
        "'2026-01-02 04:04:05.678901+01'::timestamptz" Timestamp = INSTANT.parse::<Timestamp>().unwrap();
        "'2026-01-02T03:04:05.678901Z'" Timestamp = INSTANT.parse::<Timestamp>().unwrap();
        "'1883-01-01 00:00:00.000001Z'::timestamptz" Timestamp = "1883-01-01T00:00:00.000001Z".parse::<Timestamp>().unwrap();
        "'2026-01-02 03:04:05.5'::timestamp" DateTime = "2026-01-02T03:04:05.5".parse::<DateTime>().unwrap();
        "'0044-03-15 BC'::date" Date = jiff::civil::date(-43, 3, 15);
        "'2024-02-29'::date" Date = jiff::civil::date(2024, 2, 29);
        "'23:59:59.999999'::time" Time = jiff::civil::time(23, 59, 59, 999_999_000);
        "'-3 days'::interval = '-3 days'" bool = true;
        "'::1'::inet" IpAddr = "::1".parse::<IpAddr>().unwrap();
        "'10.0.0.0/8'::cidr" ipnet::IpNet = "10.0.0.0/8".parse::<ipnet::IpNet>().unwrap();
        "'{\"x\": 1, \"y\": null}'::jsonb" Value = json!({"v": {"x": 1, "y": null}});
        "'{\"x\": 1, \"y\": null}'::jsonb" (Point,) = (Point { x: 1, y: None },);
        "'{\"x\": 1, \"y\": 2}'" Json<Point> = Json(Point { x: 1, y: Some(2) });
        "json_build_object('x', 1, 'y', 2)" Json<Point> = Json(Point { x: 1, y: Some(2) });
        "'[1, 2]'::json" Vec<i64> = vec![1, 2];
        "'5'::jsonb" Json<i64> = Json(5);
        "'{1,2}'::int[]" Vec<i64> = vec![1, 2];
        "'{}'::int[]" Vec<i64> = Vec::<i64>::new();
        "'{a,NULL}'::text[]" Vec<Option<String>> = vec![Some("a".to_owned()), None];
        "'{{1,2},{3,4}}'::int[]" Vec<Vec<i64>> = vec![vec![1, 2], vec![3, 4]];
        "'{{1,2},{3,4}}'::int[]" [[i64; 2]; 2] = [[1, 2], [3, 4]];
        "'{admin,member}'::role[]" Vec<Role> = vec![Role::Admin, Role::Member];
        "NULL::int" Option<i64> = None;
        "max(7)" Option<i64> = Some(7);
        "pg_sleep(0)" () = ();
    }
    let span: Span = read(&fixture, "'1 year 2 days 3.5 seconds'::interval AS v").await.unwrap();
    assert_eq!(span.fieldwise(), Span::new().years(1).days(2).seconds(3).milliseconds(500).fieldwise());
}

#[tokio::test]
async fn what_would_lose_something_is_refused() {
    let fixture = fixture().await;
    macro_rules! refuses {
        ($($value:literal $type:ty: $found:literal, $expected:literal;)*) => {$(
            let told = mismatch::<$type>(&fixture, concat!($value, " AS v")).await;
            assert_eq!(told.column.as_deref(), Some("v"), "{told}");
            assert!(told.found.contains($found), "{} into {}: {told}", $value, stringify!($type));
            assert!(told.expected.contains($expected), "{} into {}: {told}", $value, stringify!($type));
        )*};
    }
    refuses! {
        "2147483648" i32: "BIGINT that is out of range", "i32";
        "-1" u64: "INTEGER that is out of range", "u64";
        "300" u8: "INTEGER that is out of range", "u8";
        "1e30::numeric" i64: "NUMERIC that is out of range", "i64";
        "12.5::numeric" i64: "NUMERIC that is no whole number", "i64";
        "'NaN'::numeric" i64: "NUMERIC that is no whole number", "i64";
        "0.1::float8" f32: "DOUBLE PRECISION", "f32, which cannot hold this value exactly";
        "0.1::numeric" f64: "NUMERIC", "decimal type, or CAST(… AS DOUBLE PRECISION)";
        "'infinity'::timestamptz" Timestamp: "infinity (TIMESTAMPTZ)", "a point in time";
        "'-infinity'::date" Date: "infinity (DATE)", "a point in time";
        "'20000-01-01'::timestamptz" Timestamp: "TIMESTAMPTZ outside of the years", "a year in them";
        "'2026-01-02 03:04:05'::timestamp" Timestamp: "refuses (TIMESTAMP)", "timestamp";
        "'hello'" Role: "names none of the variants", "one of member, admin";
        "'hello'" Email: "refuses", "accepts";
        "'hello'" Uuid: "refuses (TEXT)", "UUID";
        "'hello'" char: "TEXT", "character";
        "'{\"x\": '" Json<Point>: "text that is not JSON (line 1", "JSON of the type asked for";
        "'[1,2]'::jsonb" Vec<String>: "JSON that does not fit (line 1", "a sequence";
        "'[1,2]'" Vec<i64>: "TEXT", "covet_data::Json";
        "gen_random_uuid()" String: "UUID", "CAST(… AS TEXT)";
        "now()" String: "TIMESTAMPTZ", "CAST(… AS TEXT)";
        "'{}'::jsonb" String: "JSONB", "CAST(… AS TEXT)";
        "'(1,2)'::point" String: "POINT, which has no Rust type", "CAST(… AS TEXT)";
        "'{a,NULL}'::text[]" Vec<String>: "NULL (TEXT)", "only an Option takes NULL";
        "'{1,300}'::int[]" Vec<u8>: "INTEGER that is out of range", "u8";
        "'{{1,2},{3,4}}'::int[]" Vec<i64>: "a list (INTEGER[])", "i64";
        "'{1,2,3}'::int[]" [i64; 2]: "INTEGER[] of 3 elements", "2 elements";
        "'\\x010203'::bytea" [u8; 2]: "BYTEA of 3 bytes", "2 bytes";
    }
}

#[tokio::test]
async fn rows_are_structs_tuples_and_maps() {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Outer {
        text: String,
        #[serde(flatten)]
        point: Point,
    }
    let fixture = fixture().await;
    let row: (i64, String, Option<bool>) = read(&fixture, "7, 'a', NULL::bool").await.unwrap();
    assert_eq!(row, (7, "a".to_owned(), None));
    let outer: Outer = read(&fixture, "'a' AS text, 1 AS x, NULL::int AS y").await.unwrap();
    assert_eq!(outer, Outer { text: "a".into(), point: Point { x: 1, y: None } });
    let map: HashMap<String, Value> =
        read(&fixture, "1 AS a, '[2]'::jsonb AS b, '{3}'::int[] AS c, 1.50 AS d").await.unwrap();
    assert_eq!(Value::from_iter(map), json!({"a": 1, "b": [2], "c": [3], "d": "1.50"}));

    for (told, found) in [
        (mismatch::<i64>(&fixture, "1 AS a, 2 AS b").await, "2 columns (a, b)"),
        (mismatch::<(i64, i64)>(&fixture, "1 AS a, 2 AS b, 3 AS c").await, "3 columns"),
    ] {
        assert!(told.column.is_none() && told.found.contains(found), "{told}");
    }
    let told = mismatch::<Point>(&fixture, "1 AS x").await;
    assert_eq!((told.column.as_deref(), &*told.found), (Some("y"), "no such column, only x"));
    let told = mismatch::<Point>(&fixture, "1 AS x, 2 AS y, 3 AS x").await;
    assert!(told.found.contains("twice"), "{told}");
    let told = mismatch::<(i64, i64)>(&fixture, "1 AS a, 'x' AS b").await;
    assert_eq!(told.column.as_deref(), Some("b"));
}
