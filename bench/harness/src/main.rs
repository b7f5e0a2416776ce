//! Measures what a request, a start and an idle connection cost. `bench/README.md` says how to read the results.
//!
//! The reading order: [`cli`] is the command line; [`commands`] holds one file per command; the rest is what they stand on:
//! who takes part ([`peer`]), over which [`database`], and what is expected of them ([`route`], [`verification`], [`proof`]), one
//! [`measurement`] of a [`server`] under [`load`], what the kernel ([`process`]) and valgrind ([`callgrind`]) say about it, and the [`report`].
//!
//! Exit codes: 0 measured and within every budget given · 1 found wanting (a wrong answer, a failed request, a budget
//! exceeded) · 2 could not measure.

mod build;
mod callgrind;
mod cli;
mod client;
mod commands;
mod database;
mod interrupt;
mod load;
mod machine;
mod measurement;
mod peer;
mod process;
mod proof;
mod report;
mod route;
mod server;
mod span_receiver;
mod terminal;
mod verification;
mod wanting;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::{Cli, Command};
use crate::interrupt::Interrupt;
use crate::wanting::Wanting;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = Interrupt::on_signals().and_then(|interrupt| match &cli.command {
        Command::Http(options) => commands::http::run(options, &interrupt),
        Command::Database(options) => commands::database::run(options, &interrupt),
        Command::Cache(options) => commands::cache::run(options, &interrupt),
        Command::Concerns(options) => commands::concerns::run(options, &interrupt),
        Command::Instructions(options) => commands::instructions::run(options, &interrupt),
        Command::StartUp(options) => commands::start_up::run(options, &interrupt),
        Command::IdleConnections(options) => commands::idle_connections::run(options, &interrupt),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            terminal::complain(&format!("{error:#}"));
            ExitCode::from(if error.is::<Wanting>() { 1 } else { 2 })
        }
    }
}
