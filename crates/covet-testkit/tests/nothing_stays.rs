//! Processes and directories are gone at the end, however a test ends.
//!
//! The tests here run themselves again as a child process: the ignored test `starts_things_and_ends_badly` is that child.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use covet_testkit::{Postgres, Process, Signal, Stop, TempDir, wait_until};

const SOON: Duration = Duration::from_secs(60);
/// Tells the child how to end.
const ENDING: &str = "COVET_TESTKIT_TEST_ENDING";

#[tokio::test]
async fn after_a_panic() {
    let child = child_that_ends_with("panic").unwrap();
    let things = things_of(&child).await;
    let status = child.wait_exit(SOON).await.unwrap();
    assert_eq!(status.code(), Some(101), "{:?}", child.lines());
    // The destructors ran before the child ended: nothing to wait for.
    assert_eq!(things.left(), Vec::<String>::new());
}

#[tokio::test]
async fn after_sigkill() {
    let child = child_that_ends_with("wait").unwrap();
    let things = things_of(&child).await;
    assert_eq!(things.left().len(), 4, "{:?}", things.left());
    child.signal(Signal::SIGKILL).unwrap();
    child.wait_exit(SOON).await.unwrap();
    wait_until("everything to be removed", SOON, async || {
        let left = things.left();
        if left.is_empty() { Ok(()) } else { Err(left.join(", ")) }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn after_an_abort() {
    let child = child_that_ends_with("abort").unwrap();
    let things = things_of(&child).await;
    child.wait_exit(SOON).await.unwrap();
    wait_until("everything to be removed", SOON, async || {
        let left = things.left();
        if left.is_empty() { Ok(()) } else { Err(left.join(", ")) }
    })
    .await
    .unwrap();
}

/// What the child started: two process ids and two directories.
struct Things(Vec<String>);

impl Things {
    fn left(&self) -> Vec<String> {
        let exists = |thing: &&String| match thing.parse::<u32>() {
            Ok(pid) => is_running(pid),
            Err(_) => Path::new(thing.as_str()).exists(),
        };
        self.0.iter().filter(exists).cloned().collect()
    }
}

fn is_running(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // A zombie only waits for its parent.
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

fn child_that_ends_with(ending: &str) -> covet_testkit::Result<Process> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "starts_things_and_ends_badly", "--nocapture"]).env(ENDING, ending);
    Process::spawn("child", &mut command, Stop::KILL)
}

async fn things_of(child: &Process) -> Things {
    let line = child.wait_for_line("things: ", SOON).await.unwrap();
    let (_, things) = line.split_once("things: ").unwrap();
    Things(things.split(' ').map(str::to_owned).collect())
}

#[tokio::test]
#[ignore = "the child of the tests in this file"]
async fn starts_things_and_ends_badly() {
    let postgres = Postgres::start().await.unwrap();
    let directory = TempDir::new("left-behind").unwrap();
    directory.write("file", "content").unwrap();
    let mut sleeper = Command::new("sleep");
    let sleeper = Process::spawn("sleep", sleeper.arg("3600"), Stop::KILL).unwrap();
    let data = postgres.psql("SHOW data_directory").await.unwrap();
    println!("things: {} {} {} {data}", postgres.process().unwrap().pid(), sleeper.pid(), directory.path().display());
    match std::env::var_os(ENDING).unwrap().to_str().unwrap() {
        "panic" => panic!("on purpose"),
        "abort" => std::process::abort(),
        _ => std::future::pending::<()>().await,
    }
}
