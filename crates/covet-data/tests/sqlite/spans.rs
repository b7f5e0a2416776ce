//! The spans of statements and transactions that are run for a recorded request.

use std::net::Ipv4Addr;
use std::sync::Arc;

use covet_core::clock::Clock;
use covet_core::ids::RequestId;
use covet_core::settings::{Section, Sources};
use covet_data::params;
use covet_telemetry::request::{RequestScope, carry, enter};
use covet_telemetry::settings::TraceSettings;
use covet_telemetry::traces::{Collected, Kind, Span, Status, Tracer, Traces, Value};
use http::HeaderMap;

use super::support::{Fixture, INSERT};

/// Does `work` in a request, and returns the spans that were recorded.
async fn recorded(sampler: &str, work: impl Future<Output = ()>) -> Vec<Span> {
    let settings = TraceSettings::load(Sources::of([
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318"),
        ("OTEL_TRACES_SAMPLER", sampler),
    ]))
    .unwrap();
    let collected = Collected::default();
    let traces = Traces::new(&settings, Some(Tracer::new(&settings, &Clock::system(), collected.sink())));
    let scope = RequestScope::new(RequestId::parse(b"r1").unwrap(), Ipv4Addr::LOCALHOST.into());
    let scope = Arc::new(scope.with_trace(traces.join(&HeaderMap::new()).unwrap()));
    let request = scope.trace().unwrap();
    enter(&mut Some(scope), || carry(work)).await;
    let spans = collected.spans();
    assert!(spans.iter().all(|span| span.context.trace_id == request.trace_id && span.kind == Kind::Client));
    assert!(spans.iter().all(|span| span.end_unix_nanos >= span.start_unix_nanos));
    spans
}

fn text<'a>(span: &'a Span, name: &str) -> &'a str {
    span.attributes.get(name).and_then(Value::as_str).unwrap_or_default()
}

#[tokio::test]
async fn a_statement_has_a_span_with_its_text_but_not_its_values() {
    let fixture = Fixture::things().await;
    let spans = recorded("always_on", async {
        fixture.db.write().execute(INSERT, params!["a secret"]).await.unwrap();
        // The first is done by a thread; the later ones are quick, and done in place.
        for _ in 0..3 {
            let sql = "SELECT name FROM things WHERE name = 'a secret' OR id = $1";
            fixture.db.read().all::<String>(sql, params![1]).await.unwrap();
        }
        fixture.db.write().execute("CREATE TABLE others (id INTEGER)", params![]).await.unwrap();
    })
    .await;
    let names: Vec<_> = spans.iter().map(|span| &*span.name).collect();
    assert_eq!(names, ["INSERT things", "SELECT things", "SELECT things", "SELECT things", "CREATE others"]);
    let select = &spans[1];
    for (name, expected) in [
        ("db.system.name", "sqlite"),
        ("db.operation.name", "SELECT"),
        ("db.collection.name", "things"),
        ("db.query.summary", "SELECT things"),
        ("db.query.text", "SELECT name FROM things WHERE name = ? OR id = $1"),
    ] {
        assert_eq!(text(select, name), expected);
    }
    assert_eq!(select.attributes.get("db.response.returned_rows"), Some(&Value::Integer(1)));
    assert!(!format!("{spans:?}").contains("secret"));
}

#[tokio::test]
async fn a_statement_that_failed_says_why_and_no_row_is_no_failure() {
    let fixture = Fixture::things().await;
    fixture.db.write().execute(INSERT, params!["a"]).await.unwrap();
    let spans = recorded("always_on", async {
        assert!(fixture.db.write().execute(INSERT, params!["a"]).await.is_err());
        assert!(fixture.db.read().one::<i64>("SELECT id FROM things WHERE id = 9", params![]).await.is_err());
    })
    .await;
    assert_eq!((text(&spans[0], "error.type"), &spans[0].status), ("unique", &Status::Error("".into())));
    assert_eq!((text(&spans[1], "error.type"), &spans[1].status), ("", &Status::Unset));
}

#[tokio::test]
async fn a_transaction_has_a_span_above_its_statements() {
    let fixture = Fixture::things().await;
    let spans = recorded("always_on", async {
        let transaction = fixture.db.begin().await.unwrap();
        transaction.execute(INSERT, params!["a"]).await.unwrap();
        fixture.names().await;
        transaction.commit().await.unwrap();

        let transaction = fixture.db.begin().await.unwrap();
        assert!(transaction.execute(INSERT, params!["a"]).await.is_err());
        assert!(transaction.commit().await.is_err());

        fixture.db.begin().await.unwrap().rollback().await;
        drop(fixture.db.begin().await.unwrap());
    })
    .await;
    let names: Vec<_> = spans.iter().map(|span| &*span.name).collect();
    let expected =
        ["INSERT things", "SELECT things", "TRANSACTION", "INSERT things", "TRANSACTION", "TRANSACTION", "TRANSACTION"];
    assert_eq!(names, expected);
    assert_eq!(spans[0].parent, Some(spans[2].context.span_id));
    assert_eq!(spans[1].parent, spans[2].parent, "a statement beside the transaction is beside it");
    assert_eq!(spans[3].parent, Some(spans[4].context.span_id));
    let transactions = [2, 4, 5, 6].map(|index| &spans[index]);
    let statuses = transactions.map(|span| text(span, "covet.transaction.status"));
    assert_eq!(statuses, ["commit", "failed", "rollback", "rollback"]);
    assert_eq!(text(transactions[1], "error.type"), "transaction_over");
    assert!(transactions.iter().all(|span| text(span, "db.system.name") == "sqlite"));
}

#[tokio::test]
async fn a_stream_has_one_span() {
    let fixture = Fixture::things().await;
    let spans = recorded("always_on", async {
        let mut rows = fixture.db.read().stream::<String>("SELECT name FROM things", params![]).await.unwrap();
        while let Some(row) = rows.next().await {
            row.unwrap();
        }
    })
    .await;
    assert_eq!(spans.iter().map(|span| &*span.name).collect::<Vec<_>>(), ["SELECT things"]);
}

#[tokio::test]
async fn a_request_that_is_not_recorded_has_no_spans() {
    let fixture = Fixture::things().await;
    let spans = recorded("always_off", async {
        let transaction = fixture.db.begin().await.unwrap();
        transaction.execute(INSERT, params!["a"]).await.unwrap();
        transaction.commit().await.unwrap();
        fixture.names().await;
    })
    .await;
    assert_eq!(spans, []);
}
