//! `harness idle-connections`: resident memory per idle keep-alive connection.
//!
//! Each connection makes one request, so that its buffers exist, and is then left alone. Memory of the kernel's sockets is
//! not the process's and not counted.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Args;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde::Serialize;

use crate::cli::OneProgram;
use crate::client::Connection;
use crate::interrupt::Interrupt;
use crate::machine::Machine;
use crate::process::resident_bytes;
use crate::report::{mebibytes, table};
use crate::server::{Server, working_directory};
use crate::terminal;
use crate::wanting::Wanting;

const READY_LIMIT: Duration = Duration::from_secs(60);
/// Requests before the first reading, so that what every service needs once is not blamed on the connections.
const WARM_UP_REQUESTS: usize = 1000;
/// Connections per local address: far below the 28 000 ports one has.
const PER_SOURCE: usize = 2000;
/// A server may do something about connections that have been idle for a while, and its allocator gives back by and by.
const IDLE_BEFORE_READING: Duration = Duration::from_secs(25);
const SETTLING: Duration = Duration::from_secs(10);
/// After closing, ordinary traffic for so long: jemalloc gives memory back by and by, ten seconds after it was freed, and
/// only in threads that allocate.
const RELEASE: Duration = Duration::from_secs(20);
const RELEASE_CONNECTIONS_PER_SECOND: usize = 20;
const RELEASE_REQUESTS_PER_CONNECTION: usize = 100;
/// Files of a process besides its connections.
const OTHER_FILES: u64 = 200;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Connections.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=400_000))]
    count: u32,
    /// What each connection asks for once.
    #[arg(long, default_value = "/health/live")]
    path: String,
    /// Exit with 1 when a connection costs more.
    #[arg(long, value_name = "KIB")]
    budget_kibibytes: Option<f64>,
    #[command(flatten)]
    one: OneProgram,
}

#[derive(Debug, Serialize)]
struct Findings {
    schema: &'static str,
    machine: Machine,
    connections: u32,
    /// Still open when memory was read.
    open: u32,
    resident_bytes_before: u64,
    resident_bytes_with: u64,
    /// A while after all of them were closed.
    resident_bytes_after: u64,
    kibibytes_per_connection: f64,
}

/// Opens, weighs, closes, weighs again.
///
/// # Errors
/// [`Wanting`] when a connection is refused or dropped, or costs more than the budget; any other error when the measurement
/// could not be made.
pub(crate) fn run(options: &Options, interrupt: &Interrupt) -> anyhow::Result<()> {
    options.one.outputs.check("idle-connections")?;
    allow_files(u64::from(options.count) + OTHER_FILES)?;
    let machine = Machine::look()?;
    let directory = working_directory()?;
    let mut server = options.one.program.launch()?.start(directory.path())?;
    server.until_ready(&options.path, Duration::from_millis(5), READY_LIMIT, interrupt)?;
    let mut first = Connection::open(server.address)?;
    for _ in 0..WARM_UP_REQUESTS {
        ask(&mut first, &options.path)?;
    }
    drop(first);
    let resident_bytes_before = settled_bytes(&server, interrupt)?;

    let connections = open_all(options, &server, interrupt)?;
    terminal::progress("open; reading memory when they have been idle for a while");
    interrupt.sleep(IDLE_BEFORE_READING)?;
    let resident_bytes_with = settled_bytes(&server, interrupt)?;
    let mut open = 0;
    for connection in &connections {
        open += u32::from(connection.is_open()?);
    }
    let mut late = Connection::open(server.address).context("connecting once more beside the idle ones")?;
    ask(&mut late, &options.path)?;
    drop((late, connections));
    pass_traffic(options, &server, interrupt)?;
    let resident_bytes_after = resident_bytes(server.pid())?;
    server.stop(interrupt)?;

    #[expect(clippy::cast_precision_loss, reason = "far below 2^52 bytes")]
    let growth = resident_bytes_with.saturating_sub(resident_bytes_before) as f64;
    let findings = Findings {
        schema: "covet-bench/idle-connections/1",
        machine,
        connections: options.count,
        open,
        resident_bytes_before,
        resident_bytes_with,
        resident_bytes_after,
        kibibytes_per_connection: growth / 1024.0 / f64::from(options.count),
    };
    options.one.outputs.write("idle-connections", &markdown(&findings, options), &findings)?;
    judge(&findings, options)
}

fn open_all(options: &Options, server: &Server, interrupt: &Interrupt) -> anyhow::Result<Vec<Connection>> {
    let mut connections = Vec::new();
    for number in 0..options.count as usize {
        interrupt.check()?;
        if number % 1000 == 0 {
            terminal::progress(&format!("{number} of {} connections", options.count));
        }
        let source = Ipv4Addr::new(127, 0, 0, u8::try_from(2 + number / PER_SOURCE).context("too many sources")?);
        let refused = |error: anyhow::Error| {
            Wanting::error(format!(
                "connection {} was not served: {error:#}. Is the server's connection or file limit below that?",
                number + 1
            ))
        };
        let mut connection = Connection::open_from(source, server.address).map_err(refused)?;
        ask(&mut connection, &options.path).map_err(refused)?;
        connections.push(connection);
    }
    Ok(connections)
}

/// A little traffic, so that every worker comes to give memory back.
fn pass_traffic(options: &Options, server: &Server, interrupt: &Interrupt) -> anyhow::Result<()> {
    terminal::progress("closed; a little traffic while memory is given back");
    let end = Instant::now() + RELEASE;
    while Instant::now() < end {
        interrupt.sleep(Duration::from_secs(1))?;
        for _ in 0..RELEASE_CONNECTIONS_PER_SECOND {
            let mut connection = Connection::open(server.address)?;
            for _ in 0..RELEASE_REQUESTS_PER_CONNECTION {
                ask(&mut connection, &options.path)?;
            }
        }
    }
    Ok(())
}

fn ask(connection: &mut Connection, path: &str) -> anyhow::Result<()> {
    let answer = connection.get(path)?;
    if answer.status != 200 {
        bail!("{path} answered {}", answer.status);
    }
    Ok(())
}

/// Resident memory once it has stopped moving, or at the end of [`SETTLING`].
fn settled_bytes(server: &Server, interrupt: &Interrupt) -> anyhow::Result<u64> {
    let end = Instant::now() + SETTLING;
    let mut last = resident_bytes(server.pid())?;
    loop {
        interrupt.sleep(Duration::from_secs(1))?;
        let now = resident_bytes(server.pid())?;
        if now.abs_diff(last) < 64 * 1024 || Instant::now() > end {
            return Ok(now);
        }
        last = now;
    }
}

/// Raises the limit of open files for this process and the server it starts.
fn allow_files(needed: u64) -> anyhow::Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft >= needed {
        return Ok(());
    }
    if hard < needed {
        bail!("{needed} open files are needed and the hard limit is {hard}; raise it (`ulimit -Hn`) or lower --count");
    }
    setrlimit(Resource::RLIMIT_NOFILE, needed, hard).context("raising the limit of open files")
}

fn markdown(findings: &Findings, options: &Options) -> String {
    let head =
        ["server", "idle connections", "RSS before MiB", "with them MiB", "after closing MiB", "KiB per connection"];
    let row = vec![
        options.one.program.name(),
        findings.open.to_string(),
        format!("{:.1}", mebibytes(findings.resident_bytes_before)),
        format!("{:.1}", mebibytes(findings.resident_bytes_with)),
        format!("{:.1}", mebibytes(findings.resident_bytes_after)),
        format!("**{:.1}**", findings.kibibytes_per_connection),
    ];
    format!("{}\n{}.\n", table(&head, &[row]), findings.machine.line())
}

fn judge(findings: &Findings, options: &Options) -> anyhow::Result<()> {
    if findings.open < findings.connections {
        return Err(Wanting::error(format!(
            "the server had closed {} of {} connections when memory was read; its idle time limit is too short for this \
             measurement",
            findings.connections - findings.open,
            findings.connections
        )));
    }
    match options.budget_kibibytes {
        Some(budget) if findings.kibibytes_per_connection > budget => Err(Wanting::error(format!(
            "an idle connection of {} costs {:.1} KiB, budget {budget} KiB",
            options.one.program.name(),
            findings.kibibytes_per_connection
        ))),
        _ => Ok(()),
    }
}
