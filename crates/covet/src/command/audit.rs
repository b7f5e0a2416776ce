//! `audit verify`: whether the audit trail is what was recorded.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use covet_core::clock::Clock;
use covet_core::settings::Loaded;
use covet_data::Db;
use covet_data::settings::DatabaseSettings;
use covet_identity::audit::{Anchor, Anchors, Verification, verify};
use serde::Serialize;

use super::{could_not, print, print_json, say};

/// Anchors that are held at a time.
const ANCHORS_AT_ONCE: usize = 10_000;

#[derive(Debug, Subcommand)]
pub(super) enum Audit {
    /// Look for entries of the audit trail that were changed, removed or put in another order, also while the service runs.
    /// Exit code 1 when there are some.
    Verify {
        /// JSON lines of the log, as collected: what `covet.audit` has told of is compared with what is there. Without it
        /// nobody can tell that the end was cut off. `-` for standard input; may be given several times.
        #[arg(long, value_name = "FILE")]
        log: Vec<PathBuf>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Serialize)]
struct Report<'a> {
    schema: &'static str,
    proven: bool,
    #[serde(flatten)]
    verification: &'a Verification,
}

/// Why the trail could not be compared with a log.
enum Failure {
    Log(PathBuf, io::Error),
    Database(covet_data::Error),
}

pub(super) async fn run(loaded: Loaded, command: Audit) -> ExitCode {
    let Audit::Verify { log, json } = command;
    let db = match Db::connect(loaded.get::<DatabaseSettings>(), Clock::system()).await {
        Ok(db) => db,
        Err(error) => return could_not("cannot open the database", &error),
    };
    let verified = verify_with(&db, &log).await;
    db.close().await;
    match verified {
        Ok(verification) => tell(&verification, json),
        Err(Failure::Log(path, error)) => could_not(&format!("cannot read {}", path.display()), &error),
        Err(Failure::Database(error)) => could_not("cannot read the audit trail", &error),
    }
}

async fn verify_with(db: &Db, logs: &[PathBuf]) -> Result<Verification, Failure> {
    let mut verification = verify(db).await.map_err(Failure::Database)?;
    for path in logs {
        let of_log = |error| Failure::Log(path.clone(), error);
        let mut anchors = Anchors::new(open(path).map_err(of_log)?);
        loop {
            let some: Vec<Anchor> = anchors.by_ref().take(ANCHORS_AT_ONCE).collect::<Result<_, _>>().map_err(of_log)?;
            if some.is_empty() {
                break;
            }
            verification.compare(db, &some).await.map_err(Failure::Database)?;
        }
    }
    Ok(verification)
}

fn open(path: &Path) -> io::Result<Box<dyn BufRead>> {
    if path == Path::new("-") {
        return Ok(Box::new(BufReader::new(io::stdin())));
    }
    Ok(Box::new(BufReader::new(File::open(path)?)))
}

fn tell(verification: &Verification, json: bool) -> ExitCode {
    let proven = verification.is_proven();
    if json {
        let code = print_json(&Report { schema: "covet.audit-verification/1", proven, verification });
        return if proven { code } else { ExitCode::FAILURE };
    }
    for finding in &verification.findings {
        print(&format!("{} entry {}: {}\n", finding.id, finding.sequence, finding.what));
    }
    let range = match (verification.first, verification.last, &verification.last_hash) {
        (Some(first), Some(last), Some(hash)) => format!(", {first} to {last}, the last with hash {hash}"),
        _ => String::new(),
    };
    let entries = verification.entries;
    if !proven {
        say(&format!(
            "{} found in {entries} entries{range}; keep the database as it is, and compare it with a backup",
            verification.found
        ));
        return ExitCode::FAILURE;
    }
    print(&format!("proven: {entries} entries{range}\n"));
    match verification.anchors {
        0 => say("not compared with the log, so entries at the end may have been removed: audit verify --log FILE"),
        anchors => say(&format!("compared with {anchors} lines of the log")),
    }
    ExitCode::SUCCESS
}
