//! What a peer does besides answering, and whether it really does it: asked before every measurement. Whether it goes on
//! doing it under load is for [`crate::proof`].

use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::Serialize;

use crate::client::{Answer, Connection, Header};
use crate::interrupt::Interrupt;
use crate::proof::log_lines_with;
use crate::server::Server;
use crate::wanting::Wanting;

/// The one origin whose pages may read answers.
pub(crate) const ORIGIN: &str = "https://app.example";
/// An address for documentation (RFC 5737): no client of a measurement has it.
const FORWARDED_CLIENT: &str = "203.0.113.9";
/// Requests a minute of one address: the most that Covet can be told, and more than a core can answer.
pub(crate) const NEVER_REACHED: &str = "60000000";
const REQUEST_ID: &str = "019c0ffe-e000-7000-8000-be9c4c0ffee0";
/// Time for a log line to reach the file.
const LIMIT: Duration = Duration::from_secs(5);

/// What a browser's page sends through a proxy: it gives each concern something to do.
pub(crate) const BROWSER: [Header<'static>; 5] = [
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    ("accept", "application/json"),
    ("accept-encoding", "gzip, deflate, br"),
    ("origin", ORIGIN),
    ("x-forwarded-for", FORWARDED_CLIENT),
];

/// The headers Covet sends by default, word for word.
const SECURITY_HEADERS: [Header<'static>; 6] = [
    ("x-frame-options", "SAMEORIGIN"),
    ("x-content-type-options", "nosniff"),
    ("x-xss-protection", "1; mode=block"),
    ("referrer-policy", "no-referrer-when-downgrade"),
    (
        "content-security-policy",
        "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline';",
    ),
    ("permissions-policy", "geolocation=(), microphone=(), camera=()"),
];

/// What a peer is to do, and what it is to leave: one that does more than told costs more than it should.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Duties {
    /// The counter of requests on its `/metrics`. Every peer with duties has one, and sends request ids back.
    pub(crate) requests: &'static str,
    pub(crate) access_line: bool,
    pub(crate) security_headers: bool,
    pub(crate) cors: bool,
    pub(crate) compression: bool,
    /// One trace in a thousand.
    pub(crate) traces: bool,
    pub(crate) forwarded: Forwarded,
    pub(crate) rate_limit: RateLimit,
}

/// What an answer says of the rate limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) enum RateLimit {
    /// How the client stands: [`NEVER_REACHED`].
    Told,
    /// Nothing: there is none, or it is not told.
    Untold,
}

/// What becomes of an `X-Forwarded-For` in the access line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) enum Forwarded {
    /// It names the client.
    Believed,
    /// The address of the connection does.
    Ignored,
}

impl Duties {
    /// Everything, for a service that no proxy stands in front of.
    pub(crate) const fn all(requests: &'static str) -> Self {
        Self {
            requests,
            access_line: true,
            security_headers: true,
            cors: true,
            compression: true,
            traces: true,
            forwarded: Forwarded::Ignored,
            rate_limit: RateLimit::Untold,
        }
    }

    /// Asks as a browser would, for `path` and for something that gets a long answer, and looks at the answers and into the log.
    ///
    /// # Errors
    /// [`Wanting`] when something is missing, or done though it is switched off.
    pub(crate) fn verify(&self, peer: &str, server: &Server, path: &str, interrupt: &Interrupt) -> anyhow::Result<()> {
        let headers: Vec<Header<'_>> = BROWSER.into_iter().chain([("x-request-id", REQUEST_ID)]).collect();
        // Only the heads: some peers compress even the shortest answer. The bodies are compared without these headers.
        let ask = |path: &str| {
            let mut connection = Connection::open(server.address)?;
            connection.ask(path, &headers)?;
            connection.receive_head()
        };
        let answer = ask(path).with_context(|| format!("asking {peer} as a browser"))?;
        // No number has so many digits; all peers say so, and quote it.
        let long_answer = ask(&format!("/users/{}", "9".repeat(2000)));
        let long_answer = long_answer.with_context(|| format!("asking {peer} for a long answer"))?;

        let mut wrong = self.wrong_in(&answer, &long_answer);
        if self.access_line {
            wrong.extend(self.wrong_in_log(server, interrupt)?);
        }
        if wrong.is_empty() {
            return Ok(());
        }
        let wrong = wrong.join("; ");
        Err(Wanting::error(format!(
            "{peer} is not what the report would say it is: {wrong}. Is something given with --env?"
        )))
    }

    fn wrong_in(&self, answer: &Answer, long_answer: &Answer) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut expect = |answer: &Answer, name: &str, value: Option<&str>| {
            let found = answer.header(name);
            if found != value {
                wrong.push(format!("{name} is {found:?} instead of {value:?}"));
            }
        };
        expect(answer, "x-request-id", Some(REQUEST_ID));
        for (name, value) in SECURITY_HEADERS {
            expect(answer, name, self.security_headers.then_some(value));
        }
        expect(answer, "access-control-allow-origin", self.cors.then_some(ORIGIN));
        expect(answer, "ratelimit-limit", (self.rate_limit == RateLimit::Told).then_some(NEVER_REACHED));
        if long_answer.header("content-encoding").is_some() != self.compression {
            let not = if self.compression { "not " } else { "" };
            wrong.push(format!("a long answer ({}) is {not}compressed", long_answer.status));
        }
        wrong
    }

    fn wrong_in_log(&self, server: &Server, interrupt: &Interrupt) -> anyhow::Result<Option<String>> {
        let end = Instant::now() + LIMIT;
        loop {
            let lines = log_lines_with(server.directory(), REQUEST_ID)?;
            if let Some(line) = lines.first() {
                let names_forwarded = line.contains(FORWARDED_CLIENT);
                let wrong = names_forwarded != (self.forwarded == Forwarded::Believed);
                return Ok(wrong.then(|| format!("X-Forwarded-For is not {:?} in the line {line}", self.forwarded)));
            }
            if Instant::now() > end {
                return Ok(Some(format!("no log line has the id of the request ({REQUEST_ID})")));
            }
            interrupt.sleep(Duration::from_millis(20))?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Duties, NEVER_REACHED, ORIGIN, REQUEST_ID, RateLimit, SECURITY_HEADERS};
    use crate::client::Answer;

    fn answer(headers: &[(&str, &str)]) -> Answer {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Answer { status: 200, headers, body: Vec::new() }
    }

    #[test]
    fn what_is_missing_and_what_is_done_though_switched_off_is_told() {
        let id = ("x-request-id", REQUEST_ID);
        let all = Duties { rate_limit: RateLimit::Told, ..Duties::all("requests") };
        let rate_limit = RateLimit::Untold;
        let none = Duties { security_headers: false, cors: false, compression: false, rate_limit, ..all };
        let bare = answer(&[id]);
        let told = [("access-control-allow-origin", ORIGIN), ("ratelimit-limit", NEVER_REACHED)];
        let whole = answer(&[&SECURITY_HEADERS[..], &[id], &told].concat());
        let compressed = answer(&[("content-encoding", "gzip")]);
        assert!(all.wrong_in(&whole, &compressed).is_empty());
        assert!(none.wrong_in(&bare, &bare).is_empty());
        assert_eq!(all.wrong_in(&bare, &bare).len(), 9);
        assert_eq!(none.wrong_in(&whole, &compressed).len(), 9);
        assert_eq!(none.wrong_in(&answer(&[]), &bare).len(), 1);
    }
}
