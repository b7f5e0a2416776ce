//! `jobs list|show|retry|discard`: jobs that were given up.

use std::process::ExitCode;

use clap::Subcommand;
use covet_core::clock::Clock;
use covet_core::settings::Loaded;
use covet_data::settings::DatabaseSettings;
use covet_data::{Db, Result};
use covet_jobs::{DeadJob, Jobs as Queue};
use covet_telemetry::metrics::Registry;
use serde::Serialize;
use uuid::Uuid;

use super::{could_not, print, print_json, say};
use crate::App;

#[derive(Debug, Subcommand)]
pub(super) enum Jobs {
    /// List jobs that were given up, the last one first.
    List {
        /// Only of this type.
        #[arg(long, value_name = "TYPE")]
        name: Option<String>,
        /// At most so many.
        #[arg(long, default_value_t = 50)]
        limit: u32,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show a job that was given up, with what is stored of it, as JSON. Exit code 1 when there is none.
    Show {
        /// Its id.
        id: Uuid,
    },
    /// Do jobs anew that were given up, with all their attempts. Exit code 1 when there is none.
    Retry {
        /// Their ids.
        #[arg(required_unless_present_any = ["all", "name"])]
        ids: Vec<Uuid>,
        /// All of this type.
        #[arg(long, value_name = "TYPE", conflicts_with = "ids")]
        name: Option<String>,
        /// All.
        #[arg(long, conflicts_with_all = ["ids", "name"])]
        all: bool,
    },
    /// Remove jobs that were given up. Exit code 1 when there is none.
    Discard {
        /// Their ids.
        #[arg(required = true)]
        ids: Vec<Uuid>,
    },
}

#[derive(Serialize)]
struct Report {
    schema: &'static str,
    jobs: Vec<DeadJob>,
}

pub(super) async fn run(app: &App, loaded: Loaded, command: Jobs) -> ExitCode {
    if app.jobs.is_empty() || !app.database {
        say("this service does no jobs (App::job)");
        return ExitCode::SUCCESS;
    }
    let db = match Db::connect(loaded.get::<DatabaseSettings>(), Clock::system()).await {
        Ok(db) => db,
        Err(error) => return could_not("cannot open the database", &error),
    };
    let queue = Queue::new(db.clone(), Clock::system(), &Registry::new());
    let done = act(&queue, command).await;
    db.close().await;
    done.unwrap_or_else(|error| could_not("cannot look after the jobs", &error))
}

async fn act(queue: &Queue, command: Jobs) -> Result<ExitCode> {
    match command {
        Jobs::List { name, limit, json } => {
            let jobs = queue.dead(name.as_deref(), limit).await?;
            if json {
                return Ok(print_json(&Report { schema: "covet.dead-jobs/1", jobs }));
            }
            if jobs.is_empty() {
                say("no job was given up");
            }
            for DeadJob { id, name, attempt, last_error, died_at, .. } in jobs {
                let error = last_error.unwrap_or_default();
                print(&format!("{id}  {died_at:.0}  {name}  {attempt} attempts  {error}\n"));
            }
            Ok(ExitCode::SUCCESS)
        }
        Jobs::Show { id } => Ok(match queue.dead_job(id).await? {
            Some(job) => print_json(&job),
            None => none_of(id),
        }),
        Jobs::Retry { ids, name, all } if all || name.is_some() => {
            debug_assert!(ids.is_empty(), "clap lets only one of them through");
            let revived = queue.revive_all(name.as_deref()).await?;
            say(&format!("{revived} jobs are done anew"));
            Ok(if revived > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Jobs::Retry { ids, .. } => {
            let mut code = ExitCode::SUCCESS;
            for id in ids {
                if !queue.revive(id).await? {
                    code = none_of(id);
                }
            }
            Ok(code)
        }
        Jobs::Discard { ids } => {
            let mut code = ExitCode::SUCCESS;
            for id in ids {
                if !queue.discard(id).await? {
                    code = none_of(id);
                }
            }
            Ok(code)
        }
    }
}

fn none_of(id: Uuid) -> ExitCode {
    say(&format!("no job {id} was given up, or another of its unique key was added since"));
    ExitCode::FAILURE
}
