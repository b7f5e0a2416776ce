//! Who takes part in a comparison, and how each is started.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;

use crate::build::release_binary;
use crate::cli::pair;
use crate::proof::LOG_FILE;
use crate::server::Launch;

/// A program of this workspace that answers the two routes.
#[derive(Debug, Clone, Copy)]
struct Peer {
    name: &'static str,
    package: &'static str,
    /// Besides the replacements of [`Launch`], `{workers}`.
    arguments: &'static [&'static str],
    environment: &'static [(&'static str, &'static str)],
}

const ARGUMENTS: &[&str] = &["--port", "{port}", "--workers", "{workers}"];

/// In the order of a round.
const PEERS: [Peer; 3] = [
    Peer { name: REFERENCE, package: "raw-hyper", arguments: ARGUMENTS, environment: &[] },
    Peer { name: "axum-bare", package: "axum-bare", arguments: ARGUMENTS, environment: &[] },
    Peer {
        name: COVET,
        package: "covet-peer",
        arguments: &[],
        // As in production. Only what this machine decides is set; everything else is the default, which is all on.
        environment: &[
            ("COVET_ENV", "production"),
            ("COVET_HTTP__WORKERS", "{workers}"),
            ("LOG_FILE", LOG_FILE),
            // Kept, so that the harness can count the lines.
            ("COVET_LOG__FILES_KEPT", "1000"),
            ("COVET_LOG__STDOUT", "false"),
            // No load balancer has to notice; it would only lengthen a run.
            ("COVET_SHUTDOWN__READINESS_DELAY", "0s"),
        ],
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
    program: PathBuf,
    environment: Vec<(String, String)>,
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
    pub(crate) fn contestants(&self) -> anyhow::Result<Vec<Contestant>> {
        let names = PEERS.map(|peer| peer.name);
        if let Some(unknown) = self.only.iter().find(|name| !names.contains(&name.as_str())) {
            bail!("no peer is called {unknown}; there are {}", names.join(", "));
        }
        let mut contestants = Vec::new();
        for peer in PEERS.iter().filter(|peer| self.only.is_empty() || self.only.iter().any(|name| name == peer.name)) {
            contestants.push(self.contestant(peer.name, *peer, release_binary(peer.package)?));
        }
        for (label, additions) in &self.variant {
            let covet = contestants.iter().find(|one| one.label == COVET);
            let mut variant = covet.context("--variant needs covet among the peers")?.clone();
            for addition in additions.split(',') {
                variant.environment.push(pair(addition).map_err(anyhow::Error::msg)?);
            }
            label.clone_into(&mut variant.label);
            contestants.push(variant);
        }
        for (label, path) in &self.build {
            let program = PathBuf::from(path).canonicalize().with_context(|| format!("--build {label}={path}"))?;
            let covet = PEERS.iter().find(|peer| peer.name == COVET).context("there is no Covet peer")?;
            contestants.push(self.contestant(label, *covet, program));
        }
        Ok(contestants)
    }

    /// Labels of contestants that are not of the commit the report names.
    pub(crate) fn built_elsewhere(&self) -> Vec<String> {
        self.build.iter().map(|(label, _)| label.clone()).collect()
    }

    fn contestant(&self, label: &str, peer: Peer, program: PathBuf) -> Contestant {
        Contestant { label: label.to_owned(), peer, program, environment: self.env.clone() }
    }
}

impl Contestant {
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

    /// Whether it keeps books that can be checked (see [`crate::proof`]).
    pub(crate) fn keeps_books(&self) -> bool {
        self.peer.name == COVET
    }
}

/// Where Covet is told to listen.
pub(crate) fn listening() -> impl Iterator<Item = (String, String)> {
    const LOCAL: &str = "127.0.0.1";
    [("HOST", LOCAL), ("PORT", "{port}"), ("METRICS_HOST", LOCAL), ("METRICS_PORT", "{operator_port}")]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
}
