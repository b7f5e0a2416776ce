//! The service's command line.
//!
//! Data goes to standard output, everything else to standard error. Exit codes: 0 done or proven, 1 found wanting (wrong
//! settings, not healthy, cut at the deadline), 2 could not run.

mod audit;
mod config;
mod database;
mod healthcheck;
mod jobs;
mod metrics;
mod migrate;
mod openapi;
mod routes;
mod settings_reference;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use covet_core::settings::{Loaded, Sources};

use crate::{App, run};

#[derive(Debug, Parser)]
#[command(disable_version_flag = true, subcommand_required = false)]
struct Arguments {
    /// Print the version.
    #[arg(long, short = 'V')]
    version: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the API and the operator's port. What happens without a command.
    Serve,
    /// Run background work only: no API port.
    Worker,
    /// Change the database's schema, or tell how it stands.
    #[command(subcommand)]
    Migrate(migrate::Migrate),
    /// Look after the database.
    #[command(subcommand)]
    Database(database::Database),
    /// Look after the audit trail.
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Look after jobs that were given up.
    #[command(subcommand)]
    Jobs(jobs::Jobs),
    /// List the routes.
    Routes {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show the settings in effect and where each came from. Secrets are masked.
    Config {
        /// As JSON.
        #[arg(long)]
        json: bool,
        /// Instead, write the reference of all settings as Markdown.
        #[arg(long, conflicts_with = "json")]
        reference: bool,
    },
    /// List the metrics: name, type, labels and what each tells.
    Metrics {
        /// As JSON.
        #[arg(long)]
        json: bool,
        /// Instead, write the reference of all metrics as Markdown.
        #[arg(long, conflicts_with = "json")]
        reference: bool,
    },
    /// Print the OpenAPI document.
    Openapi,
    /// Ask the running service whether it is ready: exit code 0 if so, else 1 and what failed.
    Healthcheck {
        /// Ask only whether it is alive.
        #[arg(long)]
        live: bool,
    },
}

/// Does what the command line says.
pub(crate) async fn run(app: App) -> ExitCode {
    let arguments = match parse(app.name) {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    if arguments.version {
        print(&format!("{} {}\n", app.name, app.version));
        return ExitCode::SUCCESS;
    }
    let loaded = match app.load(Sources::from_env()) {
        Ok(loaded) => loaded,
        Err(problems) => {
            say(&problems.to_string());
            return ExitCode::FAILURE;
        }
    };
    match arguments.command.unwrap_or(Command::Serve) {
        Command::Serve => run::serve(app, loaded).await,
        Command::Worker => run::worker(app, loaded).await,
        Command::Migrate(command) => migrate::run(app, loaded, command).await,
        Command::Database(command) => database::run(loaded, command).await,
        Command::Audit(command) => audit::run(loaded, command).await,
        Command::Jobs(command) => jobs::run(&app, loaded, command).await,
        Command::Routes { json } => routes::run(app, loaded, json).await,
        Command::Config { reference: true, .. } => settings_reference::run(&loaded),
        Command::Config { json, .. } => config::run(&loaded, json),
        Command::Metrics { json, reference } => metrics::run(app, loaded, json, reference).await,
        Command::Openapi => openapi::run(app, loaded).await,
        Command::Healthcheck { live } => healthcheck::run(&loaded, live),
    }
}

fn parse(name: &'static str) -> Result<Arguments, ExitCode> {
    use clap::{CommandFactory, FromArgMatches};
    let parsed = Arguments::command().name(name).try_get_matches();
    parsed.and_then(|matches| Arguments::from_arg_matches(&matches)).map_err(|error| {
        let code = if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        // Nowhere left to say that it could not be said.
        let _ = error.print();
        code
    })
}

/// Data, for standard output. A reader that has gone away ends the output, not the program.
pub(crate) fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Everything else, for standard error.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{}", text.trim_end());
}

/// Says why a command could not run.
pub(crate) fn could_not(what: &str, error: &dyn std::error::Error) -> ExitCode {
    say(&format!("{what}: {}", with_causes(error)));
    ExitCode::from(2)
}

/// An error and everything under it, on one line.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // Many errors already say what is under them.
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

/// JSON for machines, on lines for people who look.
fn print_json(value: &impl serde::Serialize) -> ExitCode {
    match serde_json::to_string_pretty(value) {
        Ok(text) => {
            print(&format!("{text}\n"));
            ExitCode::SUCCESS
        }
        Err(error) => could_not("cannot write JSON", &error),
    }
}

impl App {
    /// Reads every section that the service has.
    pub(crate) fn load(&self, sources: Sources) -> Result<Loaded, covet_core::settings::Problems> {
        let mut loader = covet_core::settings::Loader::new(sources);
        loader.section::<covet_http::settings::HttpSettings>();
        loader.section::<covet_http::settings::CorsSettings>();
        loader.section::<covet_http::settings::ResponseCacheSettings>();
        loader.section::<covet_http::settings::SecurityHeadersSettings>();
        loader.section::<covet_http::rate_limit::RateLimitSettings>();
        loader.section::<covet_http::settings::OperatorSettings>();
        loader.section::<covet_core::health::HealthSettings>();
        loader.section::<covet_telemetry::settings::HealthThresholds>();
        loader.section::<covet_telemetry::settings::LogSettings>();
        loader.section::<covet_telemetry::settings::MetricsSettings>();
        loader.section::<covet_telemetry::settings::TraceSettings>();
        loader.section::<covet_cache::settings::CacheSettings>();
        loader.section::<covet_client::settings::ClientSettings>();
        if self.database {
            loader.section::<covet_data::settings::DatabaseSettings>();
            loader.section::<crate::settings::MigrationSettings>();
        }
        loader.section::<crate::settings::ShutdownSettings>();
        loader.section::<crate::settings::WorkerSettings>();
        loader.section::<crate::settings::ReloadSettings>();
        for section in &self.sections {
            section(&mut loader);
        }
        loader.finish()
    }
}
