//! The plan of a statement that was slow is in the log, if asked for, on either database.

use std::time::Duration;

use covet_core::clock::Clock;
use covet_core::environment::Environment;
use covet_core::settings::Section;
use covet_data::params;
use covet_telemetry::local::Local;
use covet_telemetry::logging::Logging;
use covet_telemetry::metrics::Registry;
use covet_telemetry::settings::LogSettings;

use super::support::{Fixture, INSERT, SLOWLY, THINGS, eventually};

#[tokio::test]
async fn a_slow_statement_has_its_plan_told_once() {
    let settings = LogSettings::defaults(Environment::Production);
    let (logging, lines) = Logging::capture(&settings, "shop", Clock::system()).unwrap();
    Local::new(&logging, &Registry::new(), None).adopt();
    let fixture = Fixture::with(|settings| {
        settings.slow_query = Duration::from_millis(50);
        settings.slow_query_plan = true;
    })
    .await;
    fixture.run(THINGS).await;
    fixture.db.write().execute(INSERT, params!["a"]).await.unwrap();
    let with_a_value = format!("{SLOWLY} AND things.name = $1").replacen("pg_sleep(0.3) AND", "pg_sleep(0.3) WHERE", 1);
    for _ in 0..2 {
        let found = fixture.db.read().all::<String>(&with_a_value, params!["a"]).await.unwrap();
        assert_eq!(found.len(), 1);
    }
    let plans = || lines.text().lines().filter(|line| line.contains("plan of a slow query")).count();
    eventually("the plan is told", async || plans() > 0).await;
    fixture.db.read().all::<String>(&with_a_value, params!["a"]).await.unwrap();
    let text = lines.text();
    let plan = text.lines().find(|line| line.contains("plan of a slow query")).unwrap();
    assert!(plan.to_ascii_lowercase().contains("scan"), "{plan}");
    assert!(text.lines().filter(|line| line.contains("\"slow query\"")).count() >= 3, "{text}");
    assert_eq!(plans(), 1, "{text}");
}
