//! What a read by primary key costs, beside rusqlite used by hand.
//!
//! ```text
//! cargo run --release -p covet-data --example read_cost
//! ```
//!
//! CPU time is that of the whole process, so waking other threads counts; metrics are recorded. The rounds alternate;
//! medians are printed.

#![expect(clippy::print_stdout, reason = "its purpose")]

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use covet_core::clock::Clock;
use covet_data::{Db, params, settings::DatabaseSettings};
use covet_telemetry::metrics::Registry;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use rusqlite::Connection;

const ROWS: i64 = 10_000;
const READS: usize = 100_000;
const CONCURRENT: usize = 64;
const ROUNDS: usize = 5;
const SQL: &str = "SELECT id, name, email FROM users WHERE id = $1";

#[derive(Debug, serde::Deserialize)]
struct User {
    id: i64,
    name: String,
    email: String,
}

fn main() -> Result<(), Box<dyn Error>> {
    Registry::new().install_recorder()?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("read_cost.db");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let quick = runtime.block_on(open(&file, true))?;
    let threads = runtime.block_on(open(&file, false))?;
    let by_hand = Connection::open(&file)?;

    let mut table = [const { Vec::new() }; 5];
    for _ in 0..ROUNDS {
        table[0].push(measure(|| hand_written(&by_hand)));
        table[1].push(measure(|| runtime.block_on(one_after_another(&quick))));
        table[2].push(measure(|| runtime.block_on(concurrently(&quick))));
        table[3].push(measure(|| on_two_threads(&quick)));
        table[4].push(measure(|| runtime.block_on(concurrently(&threads))));
    }
    println!("read of one row by primary key, {READS} a round, {ROUNDS} rounds");
    println!("| way | CPU µs/read | × by hand | reads/s |");
    println!("|---|---|---|---|");
    let names = [
        "rusqlite by hand",
        "Db, one after another",
        "Db, 64 at a time",
        "Db, 64 at a time on each of two threads",
        "Db, 64 at a time, quick_reads=false",
    ];
    let base = median(&table[0]).0;
    for (name, rounds) in names.into_iter().zip(&table) {
        let (cpu, wall) = median(rounds);
        println!("| {name} | {cpu:.2} | {:.2} | {:.0} |", cpu / base, 1e6 / wall);
    }
    Ok(())
}

async fn open(file: &Path, quick_reads: bool) -> covet_data::Result<Db> {
    let mut settings = DatabaseSettings::sqlite(file);
    settings.quick_reads = quick_reads;
    let db = Db::connect(&settings, Clock::system()).await?;
    let table = "CREATE TABLE IF NOT EXISTS users (id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL)";
    db.write().execute(table, params![]).await?;
    let fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1)
        INSERT OR IGNORE INTO users SELECT i, 'Name ' || i, 'user' || i || '@example.org' FROM n";
    db.write().execute(fill, params![ROWS]).await?;
    Ok(db)
}

fn id(n: usize) -> i64 {
    (n as i64 * 7_919) % ROWS + 1
}

fn hand_written(connection: &Connection) {
    for n in 0..READS {
        let mut statement = connection.prepare_cached(SQL).expect("the statement is right");
        let user = statement
            .query_row([id(n)], |row| Ok(User { id: row.get(0)?, name: row.get(1)?, email: row.get(2)? }))
            .expect("the row exists");
        check(&user, n);
    }
}

async fn read(db: &Db, n: usize) {
    let user: User = db.read().one(SQL, params![id(n)]).await.expect("the row exists");
    check(&user, n);
}

async fn one_after_another(db: &Db) {
    for n in 0..READS {
        read(db, n).await;
    }
}

fn on_two_threads(db: &Db) {
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.expect("a runtime can be made").block_on(some_concurrently(db, READS / 2));
            });
        }
    });
}

async fn concurrently(db: &Db) {
    some_concurrently(db, READS).await;
}

async fn some_concurrently(db: &Db, reads: usize) {
    let tasks: Vec<_> = (0..CONCURRENT)
        .map(|task| {
            let db = db.clone();
            tokio::spawn(async move {
                for n in (task..reads).step_by(CONCURRENT) {
                    read(&db, n).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("the task ends");
    }
}

fn check(user: &User, n: usize) {
    assert!(user.id == id(n) && !user.name.is_empty() && !user.email.is_empty());
}

/// CPU and wall-clock µs per read.
fn measure(work: impl FnOnce()) -> (f64, f64) {
    let clock = Clock::system();
    let (cpu, wall) = (cpu_time(), clock.monotonic());
    work();
    let per_read = |time: Duration| time.as_secs_f64() * 1e6 / READS as f64;
    (per_read(cpu_time() - cpu), per_read(clock.monotonic() - wall))
}

fn cpu_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("the process may ask about itself");
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Duration::from_micros(micros.unsigned_abs())
}

fn median(rounds: &[(f64, f64)]) -> (f64, f64) {
    let middle = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    (middle(rounds.iter().map(|round| round.0).collect()), middle(rounds.iter().map(|round| round.1).collect()))
}
