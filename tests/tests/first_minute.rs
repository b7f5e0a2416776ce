//! What a newcomer meets: start, banner, the README's script, and data that is still there after a restart.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use covet_system_tests::account::Account;
use covet_testkit::{Process, Service};

/// The lines of README.md between these two are the script that a newcomer is told to run.
const SCRIPT_BEGINS: &str = "<!-- first-minute -->\n```sh\n";
const SCRIPT_ENDS: &str = "\n```";

fn readme() -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    std::fs::read_to_string(&path).with_context(|| path.display().to_string())
}

#[tokio::test]
async fn without_any_setting_the_first_lines_name_each_choice_and_both_addresses() -> Result<()> {
    let mut builder = Service::builder();
    // Ports stay set: 8000 and 9090 may be taken on this machine.
    for variable in ["HOST", "METRICS_HOST", "DATABASE_URL", "SECRET_KEY", "JWT_SECRET_KEY", "LOG_FORMAT"] {
        builder = builder.without_env(variable);
    }
    let service = builder.start().await?;
    let banner = service.process()?.lines().join("\n").to_lowercase();
    for choice in ["database", "sqlite", "cache", "storage", "secret", "generated", "development"] {
        assert!(banner.contains(choice), "{choice:?} is not in:\n{banner}");
    }
    assert!(banner.contains(&service.url("")), "{banner}");
    assert!(banner.contains(&service.operator_url("")), "{banner}");
    // The keys that were made up are kept, or every restart would log everybody out; and nobody else can read them.
    let mut account = Account::register(&service, "ada").await?;
    account.write_note("kept").await?;
    let mut service = service;
    service.restart().await?;
    assert_eq!(account.note_titles().await?, ["kept"], "the token of before the restart is still good");
    account.log_in().await?;
    Ok(())
}

#[tokio::test]
async fn data_survives_a_restart_and_kill_9() -> Result<()> {
    let mut service = Service::start().await?;
    let account = Account::register(&service, "grace").await?;
    account.write_note("before the restart").await?;
    assert_eq!(service.restart().await?.code(), Some(0));
    assert_eq!(account.note_titles().await?, ["before the restart"]);
    account.write_note("before the crash").await?;
    service.kill9().await?;
    service.start_again().await?;
    let titles = account.note_titles().await?;
    assert!(titles.contains(&"before the crash".to_owned()) && titles.len() == 2, "{titles:?}");
    Ok(())
}

#[tokio::test]
async fn the_readme_script_registers_logs_in_writes_and_lists_notes() -> Result<()> {
    let readme = readme()?;
    let (_, rest) = readme.split_once(SCRIPT_BEGINS).context("README.md has no first-minute script")?;
    let (script, _) = rest.split_once(SCRIPT_ENDS).context("the script has no end")?;
    let service = Service::start().await?;
    // The reader's service is on the default port; this one is not.
    let script = script.replace("http://localhost:8000", &service.url(""));
    let script = script.replace("http://127.0.0.1:8000", &service.url(""));
    let mut bash = Command::new("bash");
    bash.args(["-euo", "pipefail", "-c", &script]).current_dir(service.directory().path());
    let finished = Process::run("the README's script", &mut bash, Duration::from_secs(60)).await?;
    let finished = finished.success("the README's script")?;
    assert!(finished.stdout.contains("\"title\""), "it ends with a list of notes: {}", finished.output());
    Ok(())
}
