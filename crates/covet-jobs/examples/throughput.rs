//! How many jobs one process does a second, and how soon one that was added is begun: on PostgreSQL and SQLite.
//!
//! `cargo run --release -p covet-jobs --example throughput`

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement: it prints, and ends at what goes wrong")]

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use covet_core::clock::Clock;
use covet_core::environment::Environment;
use covet_core::lifecycle::{Lifecycle, Phase};
use covet_core::settings::Section;
use covet_data::migrate::Migrator;
use covet_data::settings::DatabaseSettings;
use covet_data::{Db, Migrations, params};
use covet_jobs::settings::JobSettings;
use covet_jobs::{Failure, Handlers, Job, Jobs, Run, Worker, WorkerParts};
use covet_telemetry::metrics::Registry;
use covet_testkit::Database;
use serde::{Deserialize, Serialize};

const JOBS: usize = 20_000;
const A_TRANSACTION: usize = 100;
const WAKE_UPS: usize = 200;

/// Does nothing but note when it was begun.
#[derive(Serialize, Deserialize)]
struct Nothing;

type Begun = Arc<Mutex<Vec<Instant>>>;

impl Job for Nothing {
    type State = Begun;
    const NAME: &'static str = "nothing";

    async fn run(self, run: Run<Begun>) -> Result<(), Failure> {
        run.state().lock().unwrap().push(Clock::system().monotonic());
        Ok(())
    }
}

async fn measure(name: &str, settings: &DatabaseSettings) {
    let db = Db::connect(settings, Clock::system()).await.unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../services/api/migrations");
    Migrator::new(&db, &Migrations::read(folder).unwrap()).unwrap().up().await.unwrap();
    let jobs = Jobs::new(db.clone(), Clock::system(), &Registry::new());

    let started = Clock::system().monotonic();
    for _ in 0..JOBS / A_TRANSACTION {
        let transaction = db.begin().await.unwrap();
        for _ in 0..A_TRANSACTION {
            jobs.add(Nothing).within(&transaction).await.unwrap();
        }
        transaction.commit().await.unwrap();
    }
    let added = JOBS as f64 / started.elapsed().as_secs_f64();

    let (begun, lifecycle) = (Begun::default(), Lifecycle::new());
    let parts = WorkerParts {
        jobs: jobs.clone(),
        handlers: Handlers::new().job::<Nothing>(Arc::clone(&begun)),
        settings: JobSettings::defaults(Environment::Development),
        lifecycle: lifecycle.clone(),
    };
    let started = Clock::system().monotonic();
    let worker = tokio::spawn(Worker::new(parts).run());
    until_empty(&db).await;
    let done = JOBS as f64 / started.elapsed().as_secs_f64();

    // As another process adds it.
    let elsewhere = Jobs::new(Db::connect(settings, Clock::system()).await.unwrap(), Clock::system(), &Registry::new());
    let adder = if name == "PostgreSQL" { &elsewhere } else { &jobs };
    let mut waits = Vec::new();
    for _ in 0..WAKE_UPS {
        tokio::time::sleep(Duration::from_millis(20)).await;
        begun.lock().unwrap().clear();
        let started = Clock::system().monotonic();
        adder.add(Nothing).now().await.unwrap();
        while begun.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        waits.push(begun.lock().unwrap()[0].duration_since(started));
    }
    waits.sort_unstable();
    println!(
        "{name}: {added:.0} jobs/s added ({A_TRANSACTION} a transaction), {done:.0} jobs/s done by one process, begun after {:.1?} (p50), {:.1?} (p99)",
        waits[WAKE_UPS / 2],
        waits[WAKE_UPS * 99 / 100]
    );
    lifecycle.advance(Phase::Draining);
    worker.await.unwrap();
}

async fn until_empty(db: &Db) {
    while db.write().one::<i64>("SELECT count(*) FROM jobs", params![]).await.unwrap() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::main]
async fn main() {
    let database = Database::create().await.unwrap();
    measure("PostgreSQL", &DatabaseSettings::at(&database.url())).await;
    let folder = tempfile::tempdir().unwrap();
    measure("SQLite", &DatabaseSettings::sqlite(folder.path().join("test.db"))).await;
}
