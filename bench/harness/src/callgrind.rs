//! A server's whole life under valgrind's callgrind: which instructions of the server process were executed, the kernel's
//! not among them.
//!
//! The difference of two lives with a different number of requests is free of start and end.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::client::{Connection, Header};
use crate::interrupt::Interrupt;
use crate::peer::Contestant;
use crate::route::Route;
use crate::server::{Launch, Server, working_directory};
use crate::wanting::Wanting;

/// A server under valgrind starts in seconds.
const READY_LIMIT: Duration = Duration::from_secs(120);
/// Connections that ask in turn, one request each at a time.
const CONNECTIONS: usize = 8;
const COUNTS: &str = "callgrind.out";

/// # Errors
/// valgrind is not there; the message says how to install it.
pub(crate) fn check_installed() -> anyhow::Result<()> {
    let found = Command::new("valgrind").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if let Err(error) = found {
        bail!("valgrind cannot be run ({error}). Install it: `apt-get install valgrind` (Debian, Ubuntu)");
    }
    Ok(())
}

/// Who lives, and what it is asked.
pub(crate) struct Life<'a> {
    pub(crate) contestant: &'a Contestant,
    pub(crate) route: &'a Route,
    /// Sent with every request.
    pub(crate) headers: &'a [Header<'a>],
}

/// What callgrind wrote down.
pub(crate) struct Counts(String);

/// Executed instructions by their address in the program.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Instructions {
    /// How often each was executed.
    pub(crate) own: HashMap<u64, u64>,
    /// What the functions called from it took, by their address.
    pub(crate) calls: HashMap<(u64, u64), u64>,
}

impl Life<'_> {
    /// Starts the server, makes this many requests and a few more, ends it.
    ///
    /// # Errors
    /// [`Wanting`] when an answer is wrong; any other error when nothing could be counted.
    pub(crate) fn live(&self, requests: u32, interrupt: &Interrupt) -> anyhow::Result<Counts> {
        let Self { contestant, route, .. } = self;
        let directory = working_directory()?;
        let counts = directory.path().join(COUNTS);
        let mut server = under_valgrind(contestant.launch(1, None), &counts).start(directory.path())?;
        server.until_ready(route.path, Duration::from_millis(50), READY_LIMIT, interrupt)?;
        route.verify(&contestant.label, server.address)?;
        if let Some(duties) = &contestant.duties {
            duties.verify(&contestant.label, &server, route.path, interrupt)?;
        }
        self.ask(&server, requests, interrupt)?;
        server.stop(interrupt)?;
        let text = std::fs::read_to_string(&counts).context("valgrind left no counts; did the server end in time?")?;
        Ok(Counts(text))
    }

    fn ask(&self, server: &Server, requests: u32, interrupt: &Interrupt) -> anyhow::Result<()> {
        let path = self.route.path;
        let mut connections =
            (0..CONNECTIONS).map(|_| Connection::open(server.address)).collect::<anyhow::Result<Vec<_>>>()?;
        for _ in 0..requests as usize / CONNECTIONS {
            interrupt.check()?;
            for connection in &mut connections {
                connection.ask(path, self.headers)?;
            }
            for connection in &mut connections {
                let status = connection.receive()?.status;
                if status != 200 {
                    return Err(Wanting::error(format!("{path} answered {status} under load")));
                }
            }
        }
        Ok(())
    }
}

fn under_valgrind(launch: Launch, counts: &Path) -> Launch {
    let mut arguments = vec![
        "--tool=callgrind".to_owned(),
        format!("--callgrind-out-file={}", counts.display()),
        // By instruction, written out in full: what `Counts::instructions` reads.
        "--dump-instr=yes".to_owned(),
        "--compress-strings=no".to_owned(),
        "--compress-pos=no".to_owned(),
        launch.program.to_string_lossy().into_owned(),
    ];
    arguments.extend(launch.arguments);
    Launch { program: "valgrind".into(), arguments, ..launch }
}

impl Counts {
    /// All instructions.
    ///
    /// # Errors
    /// The counts are cut off.
    pub(crate) fn total(&self) -> anyhow::Result<u64> {
        let summary =
            self.0.lines().find_map(|line| line.strip_prefix("summary:").or_else(|| line.strip_prefix("totals:")));
        let total = summary.and_then(|line| line.split_whitespace().next()).and_then(|count| count.parse().ok());
        total.context("valgrind's counts have no summary")
    }

    /// Copies them to where `callgrind_annotate` finds them.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub(crate) fn keep(&self, folder: &Path, label: &str, route: &Route) -> anyhow::Result<()> {
        let name = format!("{label}{}.callgrind", route.path).replace(['/', ' '], "-");
        std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::write(folder.join(name), &self.0))
            .with_context(|| format!("keeping the counts in {}", folder.display()))
    }

    /// Instruction by instruction, of the program alone and not of the libraries it loads. The format:
    /// <https://valgrind.org/docs/manual/cl-format.html>.
    ///
    /// # Errors
    /// A line is not of that format.
    pub(crate) fn instructions(&self, program: &Path) -> anyhow::Result<Instructions> {
        let mut found = Instructions::default();
        let mut in_program = false;
        let mut called = None;
        for line in self.0.lines() {
            if let Some(object) = line.strip_prefix("ob=") {
                in_program = Path::new(object) == program;
            } else if let Some(call) = line.strip_prefix("calls=") {
                called = Some(call.split_whitespace().nth(1).and_then(address).with_context(|| line.to_owned())?);
            } else if line.starts_with("0x") {
                let mut words = line.split_whitespace();
                let at = words.next().and_then(address).with_context(|| line.to_owned())?;
                let count = words.nth(1).map_or(Ok(0), str::parse::<u64>).with_context(|| line.to_owned())?;
                let cell = match called.take() {
                    Some(callee) => found.calls.entry((at, callee)).or_default(),
                    None => found.own.entry(at).or_default(),
                };
                *cell += if in_program { count } else { 0 };
            }
        }
        Ok(found)
    }
}

fn address(word: &str) -> Option<u64> {
    u64::from_str_radix(word.strip_prefix("0x")?, 16).ok()
}

impl Instructions {
    /// What is here more often than in a shorter life.
    pub(crate) fn since(mut self, shorter: &Self) -> Self {
        for (at, count) in &mut self.own {
            *count = count.saturating_sub(shorter.own.get(at).copied().unwrap_or(0));
        }
        for (call, count) in &mut self.calls {
            *count = count.saturating_sub(shorter.calls.get(call).copied().unwrap_or(0));
        }
        self.own.retain(|_, count| *count > 0);
        self.calls.retain(|_, count| *count > 0);
        self
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Counts, Instructions};

    const COUNTS: &str = "version: 1\nevents: Ir\nsummary: 123\n\nob=/lib/libc.so\nfl=x.c\nfn=memcpy\n0x10 5 7\n\n\
        ob=/bin/server\nfl=a.rs\nfn=one\n0x10 1 3\nfi=b.rs\n0x14 2 3\nfe=a.rs\ncob=/lib/libc.so\ncfn=memcpy\n\
        calls=3 0x10 5\n0x14 2 21\ncfn=two\ncalls=1 0x20 9\n0x14 2 40\n\nfn=two\n0x20 9 4\n0x10 1 2\n";

    fn found(text: &str) -> Instructions {
        Counts(text.to_owned()).instructions(Path::new("/bin/server")).unwrap()
    }

    #[test]
    fn the_total_is_found_in_either_of_callgrinds_spellings() {
        let total = |text: &str| Counts(text.to_owned()).total().ok();
        assert_eq!(total(COUNTS), Some(123));
        assert_eq!(total("events: Ir\nfn=(1)\ntotals: 124\n"), Some(124));
        assert_eq!(total("events: Ir\n"), None);
    }

    #[test]
    fn own_instructions_and_calls_are_told_apart_and_libraries_left_out() {
        let found = found(COUNTS);
        assert_eq!((found.own[&0x10], found.own[&0x14], found.own[&0x20]), (5, 3, 4));
        assert_eq!((found.calls[&(0x14, 0x10)], found.calls[&(0x14, 0x20)]), (21, 40));
    }

    #[test]
    fn what_both_lives_have_is_not_a_requests() {
        let longer = COUNTS.replace("0x20 9 4", "0x20 9 14").replace("0x14 2 40", "0x14 2 140");
        let difference = found(&longer).since(&found(COUNTS));
        assert_eq!(difference.own.into_iter().collect::<Vec<_>>(), [(0x20, 10)]);
        assert_eq!(difference.calls.into_iter().collect::<Vec<_>>(), [((0x14, 0x20), 100)]);
    }
}
