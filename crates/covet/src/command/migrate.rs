//! `migrate up|down|status|lint`: the database's schema.

use std::process::ExitCode;

use clap::Subcommand;
use covet_core::clock::Clock;
use covet_core::settings::Loaded;
use covet_data::migrate::{Change, Entry, MigrationError, Migrator, Script, State, Status};
use covet_data::settings::DatabaseSettings;
use covet_data::{Db, Migrations};
use serde::Serialize;

use super::{could_not, print, print_json, say, with_causes};
use crate::App;

#[derive(Debug, Subcommand)]
pub(super) enum Migrate {
    /// Apply what is pending.
    Up {
        /// Print the SQL that would run, and change nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Take back the last migration, or the last few. What they created is lost.
    Down {
        /// How many.
        #[arg(default_value_t = 1)]
        count: usize,
        /// Print the SQL that would run, and change nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// List the migrations and whether each is applied. Exit code 1 when some are pending.
    Status {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Find what in the scripts would hold up or break a live PostgreSQL. Needs no database. Exit code 1 when there is
    /// something.
    Lint {
        /// As JSON.
        #[arg(long)]
        json: bool,
        /// Only migrations from this number on: those before it are applied everywhere.
        #[arg(long, value_name = "NUMBER", default_value_t = 1)]
        from: u32,
    },
}

#[derive(Serialize)]
struct StatusReport {
    schema: &'static str,
    migrations: Vec<Entry>,
    problem: Option<String>,
}

pub(super) async fn run(app: App, loaded: Loaded, command: Migrate) -> ExitCode {
    let Some(migrations) = &app.migrations else {
        say("this service declares no migrations (App::migrations)");
        return ExitCode::SUCCESS;
    };
    if let Migrate::Lint { json, from } = command {
        return lint(migrations, json, from);
    }
    let db = match Db::connect(loaded.get::<DatabaseSettings>(), Clock::system()).await {
        Ok(db) => db,
        Err(error) => return could_not("cannot open the database", &error),
    };
    let code = match Migrator::new(&db, migrations) {
        Ok(migrator) => act(&migrator, command).await,
        Err(error) => could_not("cannot read the migrations", &error),
    };
    db.close().await;
    code
}

async fn act(migrator: &Migrator, command: Migrate) -> ExitCode {
    match command {
        Migrate::Up { dry_run: true } => planned(migrator.plan_up().await),
        Migrate::Up { dry_run: false } => told(migrator.up().await, "applied", "nothing is pending"),
        Migrate::Down { count, dry_run: true } => planned(migrator.plan_down(count).await),
        Migrate::Down { count, dry_run: false } => told(migrator.down(count).await, "taken back", "nothing is applied"),
        Migrate::Status { json } => match migrator.status().await {
            Ok(status) => show(status, json),
            Err(error) => could_not("cannot read the schema's state", &error),
        },
        // It was done before there was a database.
        Migrate::Lint { .. } => ExitCode::SUCCESS,
    }
}

#[cfg(feature = "migrate-lint")]
fn lint(migrations: &Migrations, json: bool, from: u32) -> ExitCode {
    #[derive(Serialize)]
    struct LintReport {
        schema: &'static str,
        findings: Vec<covet_data::migrate::Finding>,
    }

    let mut findings = match migrations.lint() {
        Ok(findings) => findings,
        Err(error) => return could_not("cannot read the migrations", &error),
    };
    findings.retain(|finding| finding.version >= from);
    let clean = findings.is_empty();
    if json {
        let code = print_json(&LintReport { schema: "covet.migration-findings/1", findings });
        return if clean { code } else { ExitCode::FAILURE };
    }
    for finding in &findings {
        print(&format!("{finding}\n"));
    }
    match findings.len() {
        0 => say("nothing in the scripts for PostgreSQL would hold up or break a live service"),
        count => say(&format!(
            "{count} found. What does no harm here is accepted on the line before it: -- squawk-ignore RULE -- the reason"
        )),
    }
    if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(not(feature = "migrate-lint"))]
fn lint(_: &Migrations, _: bool, _: u32) -> ExitCode {
    say("this program was built without the linter: cargo run --features migrate-lint -- migrate lint");
    ExitCode::from(2)
}

/// The scripts as one, with a comment ahead of each.
fn planned(scripts: Result<Vec<Script>, MigrationError>) -> ExitCode {
    match scripts {
        Ok(scripts) => {
            for Script { version, name, sql } in scripts {
                print(&format!("-- {version:04}_{name}\n{}\n", sql.trim_end()));
            }
            ExitCode::SUCCESS
        }
        Err(error) => could_not("cannot plan the migrations", &error),
    }
}

fn told(changes: Result<Vec<Change>, MigrationError>, done: &str, nothing: &str) -> ExitCode {
    match changes {
        Ok(changes) if changes.is_empty() => print(&format!("{nothing}\n")),
        Ok(changes) => {
            for change in changes {
                print(&format!("{:04} {}  {done} in {} ms\n", change.version, change.name, change.took.as_millis()));
            }
        }
        Err(error) => return could_not("migration failed", &error),
    }
    ExitCode::SUCCESS
}

fn show(status: Status, json: bool) -> ExitCode {
    let up_to_date = status.pending().next().is_none() && status.problem.is_none();
    if json {
        let problem = status.problem.as_ref().map(|problem| with_causes(problem));
        let report = StatusReport { schema: "covet.migrations/1", migrations: status.entries, problem };
        let code = print_json(&report);
        return if up_to_date { code } else { ExitCode::FAILURE };
    }
    for entry in &status.entries {
        let state = match &entry.state {
            State::Applied { applied_at, .. } => format!("applied  {applied_at:.0}"),
            State::Pending => "pending".to_owned(),
        };
        print(&format!("{:04} {:<24} {state}\n", entry.version, entry.name));
    }
    if let Some(problem) = &status.problem {
        say(&with_causes(problem));
    }
    if up_to_date { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
