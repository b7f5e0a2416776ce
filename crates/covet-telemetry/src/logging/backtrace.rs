//! Backtraces for the log: of panics, and of answers 500.
//!
//! Writing one costs milliseconds, as symbols are looked up. A fault that meets every request must not take the
//! processors as well, so at most [`LIMIT_A_SECOND`] are taken; the others of that second lack the field `backtrace`.
//!
//! Frames of the standard library and the runtime below a handler say nothing and are left out, unless
//! `RUST_BACKTRACE=full` asks for them.

use std::backtrace::Backtrace;
use std::fmt::{self, Display};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use covet_core::clock::Clock;

/// How many are taken in a second, at most.
pub const LIMIT_A_SECOND: u64 = 10;

/// Where in the program something happened. `{}` is the text for the field `backtrace`.
#[derive(Debug)]
pub struct LogBacktrace(Box<Backtrace>);

/// The backtrace of the caller; `None` when there were many this second.
///
/// ```
/// use covet_telemetry::logging::backtrace;
///
/// let backtrace = backtrace::capture().unwrap();
/// tracing::error!(%backtrace, "the impossible has happened");
/// ```
#[must_use]
pub fn capture() -> Option<LogBacktrace> {
    static TAKEN: Taken = Taken(AtomicU64::new(0));
    TAKEN.another(Clock::system().unix_millis() / 1000).then(|| LogBacktrace(Box::new(Backtrace::force_capture())))
}

/// The second of the last one, and how many there were in it.
struct Taken(AtomicU64);

impl Taken {
    /// Whether there is room for another in this second.
    fn another(&self, second: u64) -> bool {
        const COUNT_BITS: u32 = 8;
        let next = |taken: u64| match (taken >> COUNT_BITS == second, taken & ((1 << COUNT_BITS) - 1)) {
            (true, count) if count >= LIMIT_A_SECOND => None,
            (true, _) => Some(taken + 1),
            (false, _) => Some((second << COUNT_BITS) + 1),
        };
        self.0.fetch_update(Relaxed, Relaxed, next).is_ok()
    }
}

impl Display for LogBacktrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        let full = std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value == "full");
        let own = if full { String::new() } else { own_frames(&text) };
        f.write_str(if own.is_empty() { text.trim_end() } else { &own })
    }
}

/// Beginnings of functions between the fault and the program's own code, and below it.
const OTHERS: [&str; 17] = [
    "std::",
    "core::",
    "alloc::",
    "rustc::",
    "rust_begin_unwind",
    "rust_try",
    "tokio::",
    "hyper::",
    "hyper_util::",
    "axum::",
    "tower::",
    "futures_util::",
    "covet_telemetry::",
    "covet_http::",
    "covet::testing::",
    "start_thread",
    "main",
];

/// Where the source of others lies: the standard library's, the C library's, that of crates from a registry or a
/// repository, and Covet's own way from the socket to a handler. An inlined function has no path in its name, only there.
const PLACES: [&str; 6] = [
    "/rustc/",
    "/sysdeps/",
    "/registry/src/",
    "/git/checkouts/",
    "/covet-http/src/",
    "/covet-telemetry/src/logging/backtrace.rs",
];

/// The frames of the program's own code. One takes a line, `  12: name`, and mostly one more, `  at place`.
fn own_frames(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let is_head = |line: &&str| {
        let number = line.split_once(": ").map(|(number, _)| number.trim_start());
        number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let mut own: Vec<&str> = Vec::new();
    for frame in lines.chunk_by(|_, next| !is_head(next)) {
        let name = frame[0].split_once(": ").map_or("", |(_, name)| name);
        // `<tokio::… as …>::poll` is tokio's too.
        let name = name.trim_start_matches(['<', '&', '(', '_']);
        let by_name =
            OTHERS.iter().any(|other| if other.ends_with(':') { name.starts_with(other) } else { name == *other });
        let by_place = frame[1..].iter().any(|line| PLACES.iter().any(|place| line.contains(place)));
        if !by_name && !by_place {
            own.extend(frame);
        }
    }
    own.iter().map(|line| line.trim_end()).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_room_for_a_few_and_the_next_for_as_many() {
        let taken = Taken(AtomicU64::new(0));
        for second in [1_760_097_784, 1_760_097_785] {
            let granted = (0..1000).filter(|_| taken.another(second)).count();
            assert_eq!(granted as u64, LIMIT_A_SECOND);
        }
    }

    #[test]
    fn the_text_has_the_programs_own_frames() {
        let text = "   0: std::backtrace::Backtrace::force_capture\n             at /rustc/x/backtrace.rs:1:1\n   \
                    1: <covet_http::error::Error>::new\n   2: shop::pay::charge::{closure#0}\n             at \
                    ./src/pay.rs:7:5\n   3: <tokio::task::Core<T> as F>::poll\n   4: <shop::Tax as Rule>::of\n   5: \
                    __rustc::rust_begin_unwind\n   6: poll<shop::pay::Future>\n             at \
                    /home/x/.cargo/registry/src/index/tokio-1.0.0/src/task.rs:1:1\n   7: main\n";
        assert_eq!(
            own_frames(text),
            "   2: shop::pay::charge::{closure#0}\n             at ./src/pay.rs:7:5\n   4: <shop::Tax as Rule>::of"
        );
    }

    #[test]
    fn it_names_whoever_took_it() {
        let text = capture().unwrap().to_string();
        assert!(text.contains("backtrace.rs") || text.contains("it_names_whoever_took_it"), "{text}");
    }
}
