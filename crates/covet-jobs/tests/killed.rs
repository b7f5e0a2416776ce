//! Workers that are killed: no job is lost.
//!
//! The test starts itself again as its workers, since only a process can be killed.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and its helpers with it; it tells its figures"
)]

use std::process::Command;
use std::time::Duration;

use covet_core::clock::Clock;
use covet_core::environment::Environment;
use covet_core::lifecycle::Lifecycle;
use covet_core::settings::Section;
use covet_data::settings::DatabaseSettings;
use covet_data::{Db, params};
use covet_jobs::settings::JobSettings;
use covet_jobs::{Backoff, Failure, Handlers, Job, JobOptions, Jobs, Run, Worker, WorkerParts};
use covet_telemetry::metrics::Registry;
use covet_testkit::{Database, Process, Signal, Stop};
use serde::{Deserialize, Serialize};

const SQL: [&str; 2] = [
    "CREATE TABLE killed_notes (job UUID NOT NULL, attempt BIGINT NOT NULL)",
    "CREATE TABLE killed_marks (job UUID NOT NULL, attempt BIGINT NOT NULL)",
];
/// Of each of the two types.
const JOBS: usize = 10_000;
const KILLS: usize = 50;
/// In the environment of a worker: where its database is.
const WORKER: &str = "COVET_TEST_WORKER_DATABASE";

/// Writes by itself: at least once.
#[derive(Serialize, Deserialize)]
struct Note;

/// Writes with its end: exactly once.
#[derive(Serialize, Deserialize)]
struct Mark;

fn tried_often() -> JobOptions {
    let backoff = Backoff { first: Duration::from_millis(100), longest: Duration::from_secs(1) };
    JobOptions::new().attempts(KILLS as u32 + 1).backoff(backoff)
}

impl Job for Note {
    type State = Db;
    const NAME: &'static str = "note";

    fn options() -> JobOptions {
        tried_often()
    }

    async fn run(self, run: Run<Db>) -> Result<(), Failure> {
        let sql = "INSERT INTO killed_notes (job, attempt) VALUES ($1, $2)";
        run.state().write().execute(sql, params![run.id(), i64::from(run.attempt())]).await?;
        Ok(())
    }
}

impl Job for Mark {
    type State = Db;
    const NAME: &'static str = "mark";

    fn options() -> JobOptions {
        tried_often()
    }

    async fn run(self, run: Run<Db>) -> Result<(), Failure> {
        let transaction = run.state().begin().await?;
        let sql = "INSERT INTO killed_marks (job, attempt) VALUES ($1, $2)";
        transaction.execute(sql, params![run.id(), i64::from(run.attempt())]).await?;
        run.commit(transaction).await
    }
}

fn settings_of(url: &str) -> DatabaseSettings {
    match url.strip_prefix("sqlite://") {
        Some(path) => DatabaseSettings::sqlite(path),
        None => DatabaseSettings::at(url),
    }
}

async fn work_until_killed(url: &str) {
    let db = Db::connect(&settings_of(url), Clock::system()).await.unwrap();
    let handlers = Handlers::new().job::<Note>(db.clone()).job::<Mark>(db.clone());
    let settings = JobSettings {
        lease: Duration::from_secs(2),
        poll_interval: Duration::from_millis(50),
        ..JobSettings::defaults(Environment::Development)
    };
    let jobs = Jobs::new(db, Clock::system(), &Registry::new());
    Worker::new(WorkerParts { jobs, handlers, settings, lifecycle: Lifecycle::new() }).run().await;
}

fn start_worker(url: &str) -> Process {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let this = std::thread::current().name().unwrap().to_owned();
    command.args(["--exact", &this, "--ignored", "--nocapture"]).env(WORKER, url);
    Process::spawn("worker", &mut command, Stop::KILL).unwrap()
}

async fn no_job_is_lost(url: &str) {
    if let Some(url) = std::env::var_os(WORKER) {
        return work_until_killed(url.to_str().unwrap()).await;
    }
    let db = Db::connect(&settings_of(url), Clock::system()).await.unwrap();
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../services/api/migrations");
    let migrations = covet_data::Migrations::read(folder).unwrap();
    covet_data::migrate::Migrator::new(&db, &migrations).unwrap().up().await.unwrap();
    for sql in SQL {
        db.write().execute(sql, params![]).await.unwrap();
    }
    let jobs = Jobs::new(db.clone(), Clock::system(), &Registry::new());
    let transaction = db.begin().await.unwrap();
    for _ in 0..JOBS {
        jobs.add(Note).within(&transaction).await.unwrap();
        jobs.add(Mark).within(&transaction).await.unwrap();
    }
    transaction.commit().await.unwrap();

    let clock = Clock::system();
    let begun = clock.monotonic();
    let mut workers = [(); 3].map(|()| start_worker(url));
    let left = async || db.write().one::<i64>("SELECT count(*) FROM jobs", params![]).await.unwrap();
    let mut kills = 0;
    while left().await > 0 {
        assert!(clock.monotonic() - begun < Duration::from_secs(240), "{} jobs are left", left().await);
        tokio::time::sleep(Duration::from_millis(fastrand::u64(20..300))).await;
        if kills < KILLS {
            let worker = &mut workers[fastrand::usize(..3)];
            worker.signal(Signal::SIGKILL).unwrap();
            *worker = start_worker(url);
            kills += 1;
        }
    }
    let took = clock.monotonic() - begun;
    let count = async |sql| db.write().one::<i64>(sql, params![]).await.unwrap();
    let notes = count("SELECT count(*) FROM killed_notes").await;
    let distinct = count("SELECT count(DISTINCT job) FROM killed_notes").await;
    let marks = count("SELECT count(*) FROM killed_marks").await;
    let marked = count("SELECT count(DISTINCT job) FROM killed_marks").await;
    println!(
        "{kills} workers killed within {took:.1?}: {distinct} of {JOBS} jobs done that write by themselves, {} of them twice; {marked} of \
         {JOBS} that commit with their end, {} twice",
        notes - distinct,
        marks - marked
    );
    assert_eq!((distinct, marked, marks), (JOBS as i64, JOBS as i64, JOBS as i64));
    // A worker has at most twenty at work.
    assert!(notes - distinct <= 20 * KILLS as i64, "{notes} notes");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "load"]
async fn workers_killed_under_load_lose_no_job_on_postgres() {
    let database = match std::env::var_os(WORKER) {
        Some(_) => None,
        None => Some(Database::create().await.unwrap()),
    };
    no_job_is_lost(&database.as_ref().map(Database::url).unwrap_or_default()).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "load"]
async fn workers_killed_under_load_lose_no_job_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    no_job_is_lost(&format!("sqlite://{}", folder.path().join("test.db").display())).await;
}
