//! The cache of a service under test: how handlers reach it, and what the service tells about it.

use std::sync::Arc;

use covet::cache::{Keyspace, Ttl};
use covet::data::params;
use covet::prelude::*;
use covet::testing::TestApp;
use http::Method;
use serde_json::Value;

static SUMS: Keyspace<i64> = Keyspace::new("sums", Ttl::Response);

fn app() -> App {
    App::new("shop").routes(|context| {
        Router::new().route("/sum", get(sum)).route("/forget", post(forget)).with_state(context.clone())
    })
}

async fn sum(State(context): State<Context>) -> Result<Json<Arc<i64>>, Error> {
    let (cache, db) = (context.cache(), context.db());
    let key = SUMS.key("all").tag("numbers");
    let sum = cache.get_or_load(&key, async || db.read().one("SELECT 40 + 2", params![]).await).await?;
    Ok(Json(sum))
}

async fn forget(State(context): State<Context>) -> Result<(), Error> {
    Ok(context.cache().invalidate(["numbers"]).await?)
}

#[tokio::test]
async fn a_handler_loads_once_and_the_access_line_says_what_it_cost() {
    let app = TestApp::start(app()).await.unwrap();
    for (path, database, operations) in [("/sum", 1, 2), ("/sum", 0, 1), ("/forget", 0, 1), ("/sum", 1, 2)] {
        let method = if path == "/sum" { Method::GET } else { Method::POST };
        let reply = app.request(method, path).send().await;
        assert_eq!(reply.status(), 200, "{path}");
        let lines = app.logs_of(&reply);
        let line = lines.last().unwrap();
        assert_eq!(line["cache_count"], operations, "{path}: {line:?}");
        assert!(line["cache_duration_seconds"].as_f64().unwrap() > 0.0);
        let statements = if line["db_count"].is_null() { 0 } else { line["db_count"].as_i64().unwrap() };
        assert_eq!(statements, database, "{path}: {line:?}");
        let spans = app.spans_of(&reply);
        let named = spans.iter().filter(|span| span.name.starts_with("cache ")).count();
        assert_eq!(named, operations, "{spans:?}");
    }
}

#[tokio::test]
async fn the_service_tells_how_its_cache_is() {
    let app = TestApp::start(app()).await.unwrap();
    app.get("/sum").send().await;
    let health: Value = app.get("/health").send().await.json();
    assert_eq!(health["checks"]["cache"]["status"], "healthy", "{health}");
    assert_eq!(health["checks"]["cache"]["kind"], "memory");
    let metrics = app.context().metrics().render();
    for line in [
        "cache_misses_total{cache_type=\"memory\",key_prefix=\"sums\"} 1.0\n",
        // The sum and the generation of its tag.
        "cache_keys_total{cache_type=\"memory\"} 2.0\n",
        "cache_hit_ratio{cache_type=\"memory\"} 0.0\n",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
}
