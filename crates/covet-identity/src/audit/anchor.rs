//! What the log has told of the trail: [`Anchors`].

use std::io::{self, BufRead};

use serde::Deserialize;

/// An entry as a line of the log has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// Its number.
    pub sequence: i64,
    /// Its hash.
    pub hash: String,
}

/// The anchors in JSON lines of the log, one after another. Other lines are passed over, those of other services' trails must
/// not be among them.
#[derive(Debug)]
pub struct Anchors<R> {
    lines: io::Lines<R>,
}

impl<R: BufRead> Anchors<R> {
    /// Reads them from a log.
    pub fn new(log: R) -> Self {
        Self { lines: log.lines() }
    }
}

impl<R: BufRead> Iterator for Anchors<R> {
    type Item = io::Result<Anchor>;

    fn next(&mut self) -> Option<io::Result<Anchor>> {
        loop {
            match self.lines.next()? {
                Ok(line) => {
                    if let Some(anchor) = parse(&line) {
                        return Some(Ok(anchor));
                    }
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

fn parse(line: &str) -> Option<Anchor> {
    #[derive(Deserialize)]
    struct Line<'a> {
        logger: &'a str,
        entry: i64,
        entry_hash: String,
    }
    let line: Line<'_> = serde_json::from_str(line).ok()?;
    (line.logger == "covet.audit").then_some(Anchor { sequence: line.entry, hash: line.entry_hash })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_of_the_audit_stream_that_name_an_entry_are_anchors() {
        let log = concat!(
            "{\"logger\":\"covet.audit\",\"event\":\"sys_startup\"}\n",
            "{\"logger\":\"covet.audit\",\"event\":\"e\",\"entry\":7,\"entry_hash\":\"ab\"}\n",
            "{\"logger\":\"shop\",\"entry\":8,\"entry_hash\":\"cd\"}\n",
            "cut {\"logger\n",
            "\n",
        );
        let anchors: Vec<Anchor> = Anchors::new(log.as_bytes()).map(Result::unwrap).collect();
        assert_eq!(anchors, [Anchor { sequence: 7, hash: "ab".to_owned() }]);
    }
}
