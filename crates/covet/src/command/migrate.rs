//! `migrate up|down|status`: the database's schema.

use std::process::ExitCode;

use clap::Subcommand;
use covet_core::clock::Clock;
use covet_core::settings::Loaded;
use covet_data::{DatabaseSettings, Db, Migrations};
use serde::Serialize;

use super::{could_not, print, print_json, say};
use crate::App;

#[derive(Debug, Subcommand)]
pub(super) enum Migrate {
    /// Apply what is pending.
    Up,
    /// Take back the last migration, or the last few. What they created is lost.
    Down {
        /// How many.
        #[arg(default_value_t = 1)]
        count: usize,
    },
    /// List the migrations and whether each is applied. Exit code 1 when some are pending.
    Status {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}
