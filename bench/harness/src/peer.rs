//! Who takes part in a comparison, and how each is started.

use std::path::PathBuf;

use anyhow::{Context as _, bail};

use crate::build::release_binary;
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
#[derive(Debug, Default)]
pub(crate) struct Selection<'a> {
    /// Names of peers; empty means all.
    pub(crate) only: &'a [String],
    /// Environment for all.
    pub(crate) environment: &'a [(String, String)],
    /// Covet once more, under a label, with `K=V,K=V` added to its environment.
    pub(crate) variants: &'a [(String, String)],
    /// Another build of the Covet peer, under a label.
    pub(crate) builds: &'a [(String, String)],
}

impl Selection<'_> {
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
        for (label, additions) in self.variants {
            let covet = contestants.iter().find(|one| one.label == COVET);
            let mut variant = covet.context("--variant needs covet among the peers")?.clone();
            for addition in additions.split(',') {
                variant.environment.push(crate::cli::pair(addition).map_err(anyhow::Error::msg)?);
            }
            label.clone_into(&mut variant.label);
            contestants.push(variant);
        }
        for (label, path) in self.builds {
            let program = PathBuf::from(path).canonicalize().with_context(|| format!("--build {label}={path}"))?;
            let covet = PEERS.iter().find(|peer| peer.name == COVET).context("there is no Covet peer")?;
            contestants.push(self.contestant(label, *covet, program));
        }
        Ok(contestants)
    }

    fn contestant(&self, label: &str, peer: Peer, program: PathBuf) -> Contestant {
        Contestant { label: label.to_owned(), peer, program, environment: self.environment.to_vec() }
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
