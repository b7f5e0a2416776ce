//! The command line.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};

use crate::peer::listening;
use crate::report::Outputs;
use crate::server::Launch;

/// Measures Covet beside its peers. Results go to stdout as Markdown; bench/README.md says how to read them.
#[derive(Debug, Parser)]
#[command(name = "harness", disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// What a request costs: Covet, bare frameworks and frameworks with production crates in interleaved rounds.
    Http(crate::commands::http::Options),
    /// What a statement costs, the server and the database: Covet, drivers by hand, sqlx and SeaORM in interleaved rounds.
    Database(crate::commands::database::Options),
    /// What Covet's cache, sessions and rate limit cost, in memory and in Redis, in interleaved rounds.
    Cache(crate::commands::cache::Options),
    /// What each concern of Covet costs: switched off one by one, or counted where nothing switches it off.
    Concerns(crate::commands::concerns::Options),
    /// How many instructions a request takes, by valgrind: repeats within a percent on the busiest machine.
    Instructions(crate::commands::instructions::Options),
    /// What a start costs: time to the first 200 of the readiness path, and memory at rest.
    StartUp(crate::commands::start_up::Options),
    /// What an idle keep-alive connection costs in memory.
    IdleConnections(crate::commands::idle_connections::Options),
}

/// A program to measure.
#[derive(Debug, Args)]
pub(crate) struct Program {
    /// The release binary.
    #[arg(long, value_name = "PATH")]
    pub(crate) binary: PathBuf,
    /// Its environment, besides PATH, HOST, PORT, `METRICS_HOST` and `METRICS_PORT` (127.0.0.1, free ports). May be given
    /// several times.
    #[arg(long, value_name = "K=V", value_parser = pair)]
    pub(crate) env: Vec<(String, String)>,
    /// Its arguments; put this last. `{port}`, `{operator_port}` and `{directory}` are replaced.
    #[arg(long, value_name = "ARGUMENTS", num_args = 1.., allow_hyphen_values = true)]
    pub(crate) args: Vec<String>,
}

/// Where results go and how a program is found, for commands that measure one program.
#[derive(Debug, Args)]
pub(crate) struct OneProgram {
    #[command(flatten)]
    pub(crate) program: Program,
    #[command(flatten)]
    pub(crate) outputs: Outputs,
}

impl Program {
    /// How to start it: free ports in the variables Covet reads them from.
    ///
    /// # Errors
    /// The binary is not there.
    pub(crate) fn launch(&self) -> anyhow::Result<Launch> {
        let program = self.binary.canonicalize().with_context(|| format!("--binary {}", self.binary.display()))?;
        let environment = listening().chain(self.env.iter().cloned()).collect();
        Ok(Launch { program, arguments: self.args.clone(), environment, core: None })
    }

    /// The binary's name, for the report.
    pub(crate) fn name(&self) -> String {
        self.binary.file_name().unwrap_or(self.binary.as_os_str()).to_string_lossy().into_owned()
    }
}

/// `NAME=VALUE`; the value may contain further equals signs.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::{Cli, Command, pair};

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_value_may_contain_equals_signs() {
        assert_eq!(pair("URL=a?b=c"), Ok(("URL".to_owned(), "a?b=c".to_owned())));
        assert!(pair("=x").is_err() && pair("x").is_err());
    }

    #[test]
    fn arguments_of_the_measured_program_may_look_like_options() {
        let line = ["harness", "start-up", "--binary", "x", "--env", "A=1", "--args", "serve", "--port", "{port}"];
        let Command::StartUp(options) = Cli::parse_from(line).command else { panic!("another command") };
        assert_eq!(options.one.program.args, ["serve", "--port", "{port}"]);
    }
}
