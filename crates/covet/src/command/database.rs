//! `database check`: whether the data is whole.

use std::process::ExitCode;

use clap::Subcommand;
use covet_core::clock::Clock;
use covet_core::settings::Loaded;
use covet_data::Db;
use covet_data::settings::DatabaseSettings;

use super::{could_not, print, say};

#[derive(Debug, Subcommand)]
pub(super) enum Database {
    /// Read the whole SQLite file and look for damage, also while the service runs. Exit code 1 when there is some.
    Check,
}

pub(super) async fn run(loaded: Loaded, command: Database) -> ExitCode {
    let Database::Check = command;
    let db = match Db::connect(loaded.get::<DatabaseSettings>(), Clock::system()).await {
        Ok(db) => db,
        Err(error) => return could_not("cannot open the database", &error),
    };
    let checked = db.check_integrity().await;
    db.close().await;
    match checked {
        Ok(damage) if damage.is_empty() => {
            print("the database is whole\n");
            ExitCode::SUCCESS
        }
        Ok(damage) => {
            say("the database is damaged; keep a copy of the file, and restore from a backup:");
            damage.iter().for_each(|line| print(&format!("{line}\n")));
            ExitCode::FAILURE
        }
        Err(error) => could_not("cannot check the database", &error),
    }
}
