//! Who takes part in a comparison, what runs in each, and how each is started. Those with a database: [`database`].

mod cache;
mod database;

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use serde::Serialize;

use crate::build::release_binary;
use crate::cli::pair;
use crate::database::{Databases, Kind};
use crate::proof::LOG_FILE;
use crate::server::Launch;
use crate::span_receiver::SpanReceiver;
use crate::verification::{Duties, Forwarded, NEVER_REACHED, ORIGIN, RateLimit};

pub(crate) use self::database::{BY_HAND_POSTGRES, BY_HAND_SQLITE, COVET_SQLITE, SQLX};

/// A program of this workspace that answers the two routes, or those of peers with a database.
#[derive(Debug, Clone, Copy)]
struct Peer {
    name: &'static str,
    package: &'static str,
    /// What runs in it, for under the table.
    what: &'static str,
    /// Besides the replacements of [`Launch`], `{workers}`.
    arguments: &'static [&'static str],
    environment: &'static [(&'static str, &'static str)],
    /// What it does besides answering, and the harness checks; of the bare ones nothing.
    duties: Option<Duties>,
    /// What it finds in `DATABASE_URL` or `REDIS_URL`.
    database: Option<Kind>,
}

const ARGUMENTS: &[&str] = &["--port", "{port}", "--workers", "{workers}"];
const PRODUCTION_ARGUMENTS: &[&str] =
    &["--port", "{port}", "--workers", "{workers}", "--metrics-port", "{operator_port}", "--log-file", LOG_FILE];

/// OpenTelemetry's own variables, the same for all who export spans.
const TRACES: &[(&str, &str)] = &[
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "{span_receiver}"),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
    ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
    ("OTEL_TRACES_SAMPLER_ARG", "0.001"),
];

/// As in production. Only what this machine decides is set, and what a service has to name; everything else is the default,
/// which is all on.
const COVET_ENVIRONMENT: &[(&str, &str)] = &[
    ("COVET_ENV", "production"),
    ("COVET_HTTP__WORKERS", "{workers}"),
    ("COVET_CORS__ALLOWED_ORIGINS", ORIGIN),
    // All requests of a measurement come from one address: with the default, nearly all would be refused.
    ("COVET_RATE_LIMIT__PER_MINUTE", NEVER_REACHED),
    ("LOG_FILE", LOG_FILE),
    // What sessions are signed with.
    ("SECRET_KEY", "no-session-of-a-measurement-is-worth-stealing"),
    // Kept, so that the harness can count the lines.
    ("COVET_LOG__FILES_KEPT", "1000"),
    ("COVET_LOG__STDOUT", "false"),
    // No load balancer has to notice; it would only lengthen a run.
    ("COVET_SHUTDOWN__READINESS_DELAY", "0s"),
];

/// What the harness checks of Covet.
const COVET_DUTIES: Duties = Duties { rate_limit: RateLimit::Told, ..Duties::all("http_requests_total") };

/// In the order of a round.
const PEERS: [Peer; 6] = [
    Peer {
        name: REFERENCE,
        package: "raw-hyper",
        what: "hyper 1, a thread per core; answers, nothing else",
        arguments: ARGUMENTS,
        environment: &[],
        duties: None,
        database: None,
    },
    Peer {
        name: "axum-bare",
        package: "axum-bare",
        what: "`axum::serve`, a router, no layer",
        arguments: ARGUMENTS,
        environment: &[],
        duties: None,
        database: None,
    },
    Peer {
        name: "actix-bare",
        package: "actix-bare",
        what: "actix-web's `HttpServer`, an `App`, no middleware",
        arguments: ARGUMENTS,
        environment: &[],
        duties: None,
        database: None,
    },
    Peer {
        name: COVET,
        package: "covet-peer",
        what: "everything on: metrics, a JSON access line into a file, traces by OTLP at 0.1 %, request id, client address, \
               security headers, CORS, compression, rate limit by client address (never reached here), admission limit, \
               timeouts, body limit, panic guard, health checks, operator port",
        arguments: &[],
        environment: COVET_ENVIRONMENT,
        duties: Some(COVET_DUTIES),
        database: None,
    },
    Peer {
        name: "axum-production",
        package: "axum-production",
        what: "axum and the usual crates in one `ServiceBuilder`: tower-http (`TraceLayer`, request id, headers, CORS, gzip, \
               timeout, panic guard), tracing-subscriber JSON through tracing-appender into a file, tracing-opentelemetry with \
               OTLP at 0.1 %, axum-prometheus, tower_governor, body limit",
        arguments: PRODUCTION_ARGUMENTS,
        environment: &[],
        duties: Some(Duties::all("axum_http_requests_total")),
        database: None,
    },
    Peer {
        name: "actix-production",
        package: "actix-production",
        what: "actix-web and the usual crates: tracing-actix-web, tracing-subscriber JSON through tracing-appender into a \
               file, tracing-opentelemetry with OTLP at 0.1 %, actix-web-prom, governor, actix-request-identifier, \
               actix-cors, default headers, compression, timeout, body limit, panic guard",
        arguments: PRODUCTION_ARGUMENTS,
        environment: &[],
        // It believes every X-Forwarded-For, whoever sends it.
        duties: Some(Duties { forwarded: Forwarded::Believed, ..Duties::all("api_http_requests_total") }),
        database: None,
    },
];

/// What every ratio is taken from.
pub(crate) const REFERENCE: &str = "raw-hyper";
/// Whose variants are compared and whose budget is checked.
pub(crate) const COVET: &str = "covet";

/// A program with a name in the table.
#[derive(Debug, Clone)]
pub(crate) struct Contestant {
    pub(crate) label: String,
    peer: Peer,
    pub(crate) program: PathBuf,
    environment: Vec<(String, String)>,
    pub(crate) duties: Option<Duties>,
}

/// A contestant and what runs in it, as `--json` has it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Entrant {
    pub(crate) server: String,
    pub(crate) what: &'static str,
}

/// Who is asked to take part.
#[derive(Debug, Args)]
pub(crate) struct Selection {
    /// Peers that take part, by name, separated by commas; all by default.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    only: Vec<String>,
    /// Environment for every peer. May be given several times.
    #[arg(long, value_name = "K=V", value_parser = pair)]
    env: Vec<(String, String)>,
    /// Covet once more as LABEL, with these settings in its environment. May be given several times.
    #[arg(long, value_name = "LABEL=K=V,K=V", value_parser = pair)]
    variant: Vec<(String, String)>,
    /// Another build of the Covet peer as LABEL, to compare two commits. May be given several times.
    #[arg(long, value_name = "LABEL=PATH", value_parser = pair)]
    build: Vec<(String, String)>,
}

impl Selection {
    /// Builds what is needed and names the contestants, in the order of a round.
    ///
    /// # Errors
    /// A name is unknown, or a build fails.
    pub(crate) fn contestants(&self, receiver: &SpanReceiver) -> anyhow::Result<Vec<Contestant>> {
        self.among(&PEERS, receiver)
    }

    /// Covet, with its cache in memory and in Redis, with its rate limit and without.
    ///
    /// # Errors
    /// As for [`Selection::contestants`].
    pub(crate) fn with_caches(
        &self,
        receiver: &SpanReceiver,
        databases: &Databases,
    ) -> anyhow::Result<Vec<Contestant>> {
        let contestants = self.among(&cache::PEERS, receiver)?.into_iter().map(|one| one.with_url(databases));
        Ok(contestants.flat_map(|one| [one.clone(), cache::without_limit(one)]).collect())
    }

    /// The same of those with a database.
    ///
    /// # Errors
    /// As for [`Selection::contestants`].
    pub(crate) fn with_databases(
        &self,
        receiver: &SpanReceiver,
        databases: &Databases,
    ) -> anyhow::Result<Vec<Contestant>> {
        let contestants = self.among(&database::PEERS, receiver)?.into_iter();
        Ok(contestants.map(|one| one.with_url(databases)).collect())
    }

    fn among(&self, peers: &[Peer], receiver: &SpanReceiver) -> anyhow::Result<Vec<Contestant>> {
        let names: Vec<_> = peers.iter().map(|peer| peer.name).collect();
        if let Some(unknown) = self.only.iter().find(|name| !names.contains(&name.as_str())) {
            bail!("no peer is called {unknown}; there are {}", names.join(", "));
        }
        let mut contestants = Vec::new();
        for peer in peers.iter().filter(|peer| self.only.is_empty() || self.only.iter().any(|name| name == peer.name)) {
            contestants.push(Contestant::built(peer, receiver)?.with(&self.env));
        }
        for (label, additions) in &self.variant {
            let covet = contestants.iter().find(|one| one.label == COVET);
            let covet = covet.context("--variant needs covet among the peers")?;
            let additions =
                additions.split(',').map(pair).collect::<Result<Vec<_>, _>>().map_err(anyhow::Error::msg)?;
            contestants.push(covet.clone().with(&additions).called(label));
        }
        for (label, path) in &self.build {
            let program = PathBuf::from(path).canonicalize().with_context(|| format!("--build {label}={path}"))?;
            contestants.push(Contestant::of(peer(COVET, peers)?, program, receiver).with(&self.env).called(label));
        }
        Ok(contestants)
    }

    /// Labels of contestants that are not of the commit the report names.
    pub(crate) fn built_elsewhere(&self) -> Vec<String> {
        self.build.iter().map(|(label, _)| label.clone()).collect()
    }
}

fn peer<'a>(name: &str, peers: &'a [Peer]) -> anyhow::Result<&'a Peer> {
    peers.iter().find(|peer| peer.name == name).with_context(|| format!("no peer is called {name}"))
}

impl Contestant {
    /// The peer of this name, built.
    ///
    /// # Errors
    /// The build fails.
    pub(crate) fn called_by_name(name: &str, receiver: &SpanReceiver) -> anyhow::Result<Self> {
        Self::built(peer(name, &PEERS)?, receiver)
    }

    fn built(peer: &Peer, receiver: &SpanReceiver) -> anyhow::Result<Self> {
        Ok(Self::of(peer, release_binary(peer.package)?, receiver))
    }

    fn of(peer: &Peer, program: PathBuf, receiver: &SpanReceiver) -> Self {
        let traces = if peer.duties.is_some() { TRACES } else { &[] };
        let environment = traces
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.replace("{span_receiver}", &receiver.endpoint())));
        Self {
            label: peer.name.to_owned(),
            environment: environment.collect(),
            peer: *peer,
            program,
            duties: peer.duties,
        }
    }

    /// With more in its environment, or something else.
    pub(crate) fn with(mut self, additions: &[(String, String)]) -> Self {
        self.environment.extend_from_slice(additions);
        self
    }

    /// Under another name in the table.
    pub(crate) fn called(self, label: &str) -> Self {
        Self { label: label.to_owned(), ..self }
    }

    /// With other duties, where the environment switches something on or off.
    pub(crate) fn with_duties(self, change: impl FnOnce(Duties) -> Duties) -> Self {
        Self { duties: self.duties.map(change), ..self }
    }

    /// Told where its database is.
    fn with_url(self, databases: &Databases) -> Self {
        let variable = self.database().and_then(|kind| databases.variable(kind));
        self.with(variable.as_slice())
    }

    /// What database it needs.
    pub(crate) fn database(&self) -> Option<Kind> {
        self.peer.database
    }

    /// For the findings.
    pub(crate) fn entrant(&self) -> Entrant {
        Entrant { server: self.label.clone(), what: self.what() }
    }

    /// What runs in it.
    pub(crate) fn what(&self) -> &'static str {
        self.peer.what
    }

    /// How to start it with this many workers, bound to a core or not.
    pub(crate) fn launch(&self, workers: usize, core: Option<usize>) -> Launch {
        let fill = |text: &str| text.replace("{workers}", &workers.to_string());
        let own = self.peer.environment.iter().map(|(name, value)| ((*name).to_owned(), fill(value)));
        Launch {
            program: self.program.clone(),
            arguments: self.peer.arguments.iter().map(|text| fill(text)).collect(),
            environment: listening().chain(own).chain(self.environment.iter().cloned()).collect(),
            core,
        }
    }
}

/// Where Covet is told to listen.
pub(crate) fn listening() -> impl Iterator<Item = (String, String)> {
    const LOCAL: &str = "127.0.0.1";
    [("HOST", LOCAL), ("PORT", "{port}"), ("METRICS_HOST", LOCAL), ("METRICS_PORT", "{operator_port}")]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
}
