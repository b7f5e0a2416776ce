//! A database with the tables, a worker on it, and a job that does what it is told.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use covet_core::clock::Clock;
use covet_core::lifecycle::{Lifecycle, Phase};
use covet_core::settings::Section;
use covet_data::migrate::Migrator;
use covet_data::settings::DatabaseSettings;
use covet_data::{Db, Migrations, params};
use covet_jobs::settings::JobSettings;
use covet_jobs::{Backoff, Failure, Handlers, Job, JobOptions, Jobs, Run, Worker, WorkerParts};
use covet_telemetry::metrics::Registry;
use covet_testkit::Database;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use uuid::Uuid;

/// Longest wait for what must happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// A database with the tables of the reference service.
pub(crate) struct Bed {
    settings: DatabaseSettings,
    pub(crate) db: Db,
    pub(crate) clock: Clock,
    _place: Place,
}

enum Place {
    Folder { _folder: TempDir },
    Server { _database: Database },
}

impl Bed {
    pub(crate) async fn sqlite(clock: Clock) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = DatabaseSettings::sqlite(folder.path().join("test.db"));
        Self::at(settings, clock, Place::Folder { _folder: folder }).await
    }

    pub(crate) async fn postgres(clock: Clock) -> Self {
        let database = Database::create().await.unwrap();
        let settings = DatabaseSettings::at(&database.url());
        Self::at(settings, clock, Place::Server { _database: database }).await
    }

    pub(crate) async fn each() -> [Self; 2] {
        [Self::sqlite(Clock::system()).await, Self::postgres(Clock::system()).await]
    }

    async fn at(settings: DatabaseSettings, clock: Clock, place: Place) -> Self {
        let db = Db::connect(&settings, clock.clone()).await.unwrap();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../services/api/migrations");
        Migrator::new(&db, &Migrations::read(folder).unwrap()).unwrap().up().await.unwrap();
        Self { settings, db, clock, _place: place }
    }

    /// The queue, as another process has it: with connections of its own.
    pub(crate) async fn another_process(&self) -> Jobs {
        let db = Db::connect(&self.settings, self.clock.clone()).await.unwrap();
        Jobs::new(db, self.clock.clone(), &Registry::new())
    }

    pub(crate) fn jobs(&self) -> Jobs {
        Jobs::new(self.db.clone(), self.clock.clone(), &Registry::new())
    }

    pub(crate) async fn left(&self) -> i64 {
        self.db.write().one("SELECT count(*) FROM jobs", params![]).await.unwrap()
    }

    pub(crate) async fn state_of(&self, id: Uuid) -> Option<(String, i64, Option<String>)> {
        let sql = "SELECT state, attempt, last_error FROM jobs WHERE id = $1";
        self.db.write().optional(sql, params![id]).await.unwrap()
    }

    pub(crate) async fn until_empty(&self) {
        until("the queue is empty", async || self.left().await == 0).await;
    }
}

pub(crate) async fn until(what: &str, done: impl AsyncFn() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !done().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(waited.await.is_ok(), "not within {PATIENCE:?}: {what}");
}

/// What jobs have done, and what holds them up.
#[derive(Debug, Clone)]
pub(crate) struct Diary {
    pub(crate) db: Db,
    pub(crate) begun: Arc<Mutex<Vec<String>>>,
    /// Jobs that wait for it go on when it has permits.
    pub(crate) gate: Arc<Semaphore>,
    /// How many are at work now, and were at once at most, by the first word of their text.
    at_once: Arc<Mutex<BTreeMap<String, (usize, usize)>>>,
}

impl Diary {
    pub(crate) fn new(bed: &Bed) -> Self {
        let (begun, at_once) = (Arc::default(), Arc::default());
        Self { db: bed.db.clone(), begun, gate: Arc::new(Semaphore::new(0)), at_once }
    }

    pub(crate) fn begun(&self) -> Vec<String> {
        self.begun.lock().unwrap().clone()
    }

    pub(crate) fn most_at_once(&self, name: &str) -> usize {
        self.at_once.lock().unwrap().get(name).map_or(0, |(_, most)| *most)
    }

    fn enters(&self, name: &str) {
        let mut at_once = self.at_once.lock().unwrap();
        let (now, most) = at_once.entry(name.to_owned()).or_default();
        *now += 1;
        *most = (*most).max(*now);
    }

    fn leaves(&self, name: &str) {
        self.at_once.lock().unwrap().get_mut(name).unwrap().0 -= 1;
    }
}

/// A job that does what it is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Do {
    pub(crate) text: String,
    pub(crate) then: Then,
}

/// What it does after it has said its text.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Then {
    Succeed,
    Wait,
    Fail,
    FailUntil(u32),
    GiveUp,
    RetryIn(u64),
    Panic,
    Commit,
    CommitThenFail,
    Progress,
}

pub(crate) fn says(text: &str, then: Then) -> Do {
    Do { text: text.to_owned(), then }
}

impl Job for Do {
    type State = Diary;
    const NAME: &'static str = "do";

    fn options() -> JobOptions {
        let backoff = Backoff { first: Duration::from_millis(10), longest: Duration::from_millis(40) };
        JobOptions::new().attempts(4).backoff(backoff)
    }

    async fn run(self, run: Run<Diary>) -> Result<(), Failure> {
        let diary = run.state().clone();
        diary.begun.lock().unwrap().push(self.text.clone());
        match self.then {
            Then::Wait => {
                diary.gate.acquire().await?.forget();
                Ok(())
            }
            Then::Fail => Err("it failed".into()),
            Then::FailUntil(attempt) if run.attempt() < attempt => Err("not yet".into()),
            Then::GiveUp => Err(Failure::give_up("it makes no sense")),
            Then::RetryIn(ms) if run.attempt() == 1 => Err(Failure::retry_in(Duration::from_millis(ms), "later")),
            Then::Succeed | Then::FailUntil(_) | Then::RetryIn(_) => Ok(()),
            Then::Panic => panic!("planted"),
            Then::Commit | Then::CommitThenFail => {
                let transaction = diary.db.begin().await?;
                let sql = "INSERT INTO job_schedules (name, last_tick) VALUES ($1, $2)";
                transaction.execute(sql, params![run.id().to_string(), run.due_at()]).await?;
                // Waits with the transaction not yet committed.
                diary.gate.acquire().await?.forget();
                run.commit(transaction).await?;
                match self.then {
                    Then::CommitThenFail => Err("too late".into()),
                    _ => Ok(()),
                }
            }
            Then::Progress => {
                run.progress(40, "halfway, nearly").await;
                diary.gate.acquire().await?.forget();
                Ok(())
            }
        }
    }
}

/// One of which two are done at once.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Limited;

impl Job for Limited {
    type State = Diary;
    const NAME: &'static str = "limited";

    fn options() -> JobOptions {
        JobOptions::new().at_once(2)
    }

    async fn run(self, run: Run<Diary>) -> Result<(), Failure> {
        let diary = run.state();
        diary.enters(Self::NAME);
        tokio::time::sleep(Duration::from_millis(20)).await;
        diary.leaves(Self::NAME);
        Ok(())
    }
}

/// One that never ends by itself.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Hangs;

impl Job for Hangs {
    type State = ();
    const NAME: &'static str = "hangs";

    fn options() -> JobOptions {
        JobOptions::new().time_limit(Duration::from_millis(100))
    }

    async fn run(self, _: Run<()>) -> Result<(), Failure> {
        std::future::pending().await
    }
}

/// A worker at work.
pub(crate) struct AtWork {
    pub(crate) diary: Diary,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) registry: Registry,
    task: JoinHandle<()>,
}

/// Settings that do not make tests wait.
pub(crate) fn settings() -> JobSettings {
    let defaults = JobSettings::defaults(covet_core::environment::Environment::Development);
    JobSettings { poll_interval: Duration::from_millis(20), lease: Duration::from_secs(5), ..defaults }
}

impl AtWork {
    pub(crate) fn begin(bed: &Bed, settings: JobSettings) -> Self {
        let registry = Registry::new();
        let jobs = Jobs::new(bed.db.clone(), bed.clock.clone(), &registry);
        covet_telemetry::declare_all(&registry);
        Self::of(bed, jobs, registry, settings)
    }

    pub(crate) fn of(bed: &Bed, jobs: Jobs, registry: Registry, settings: JobSettings) -> Self {
        let (diary, lifecycle) = (Diary::new(bed), Lifecycle::new());
        let handlers = Handlers::new().job::<Do>(diary.clone()).job::<Limited>(diary.clone()).job::<Hangs>(());
        let parts = WorkerParts { jobs, handlers, settings, lifecycle: lifecycle.clone() };
        let task = tokio::spawn(Worker::new(parts).run());
        Self { diary, lifecycle, registry, task }
    }

    /// Stops as a process does that was told to.
    pub(crate) async fn stop(self) -> Diary {
        self.lifecycle.advance(Phase::Draining);
        assert!(tokio::time::timeout(PATIENCE, self.task).await.is_ok(), "it did not stop");
        self.diary
    }

    pub(crate) fn metric(&self, line: &str) -> bool {
        self.registry.render().contains(&format!("{line}\n"))
    }
}
