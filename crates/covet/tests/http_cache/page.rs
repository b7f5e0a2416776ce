//! The page that tells what came out.

use std::fmt::Write as _;

use crate::case::{Case, Kind};

/// A case that was run.
pub(crate) struct Finding {
    pub(crate) group: &'static str,
    pub(crate) case: Case,
    pub(crate) outcome: Result<(), String>,
}

impl Finding {
    /// What is wrong, unless it is as it is known to be.
    pub(crate) fn silent_failure(&self) -> Option<String> {
        match (&self.outcome, self.case.kind, self.case.because) {
            (Err(why), Kind::Required, _) | (Err(why), _, None) => Some(format!("{}: {why}", self.case.id)),
            (Ok(()), _, Some(because)) => {
                Some(format!("{}: passes, though it is said not to: {because}", self.case.id))
            }
            _ => None,
        }
    }
}

/// The page.
pub(crate) fn render(findings: &[Finding], not_applicable: &[(&str, &str)]) -> String {
    let count = |kind: Kind| {
        let of_kind: Vec<_> = findings.iter().filter(|finding| finding.case.kind == kind).collect();
        (of_kind.iter().filter(|finding| finding.outcome.is_ok()).count(), of_kind.len())
    };
    let (required, optional, check) = (count(Kind::Required), count(Kind::Optional), count(Kind::Check));
    let mut page = format!(
        "<!-- Made by crates/covet/tests/http_cache_conformance.rs. Do not edit. -->\n\
         # How the response cache keeps to RFC 9111\n\n\
         The cases are those of the public test list for HTTP caches, <https://github.com/http-tests/cache-tests>, by their names \
         there; see <https://cache-tests.fyi> for other caches. Each runs over a real socket through the whole pipeline, against a \
         handler that answers as the case says. The route keeps only what says itself how long it is good \
         (`only_as_told`), as a cache in front of an unknown origin would.\n\n\
         | kind | pass | of |\n|---|---:|---:|\n\
         | required: RFC 9111 demands it | {} | {} |\n\
         | optional: a cache is better for it | {} | {} |\n\
         | check: good to know, neither is wrong | {} | {} |\n\n\
         ```sh\ncargo nextest run -p covet --test http_cache_conformance\n```\n",
        required.0, required.1, optional.0, optional.1, check.0, check.1
    );
    let mut group = "";
    for finding in findings {
        if finding.group != group {
            group = finding.group;
            // Writing to a String does not fail.
            let _ = write!(page, "\n## {group}\n\n| case | what | kind | |\n|---|---|---|---|\n");
        }
        let case = &finding.case;
        let kind = match case.kind {
            Kind::Required => "required",
            Kind::Optional => "optional",
            Kind::Check => "check",
        };
        let result = match (&finding.outcome, case.because) {
            (Ok(()), _) => "pass".to_owned(),
            (Err(_), Some(because)) => format!("no: {because}"),
            (Err(why), None) => format!("fail: {why}"),
        };
        let _ = writeln!(page, "| `{}` | {} | {kind} | {result} |", case.id, case.what);
    }
    page.push_str("\n## Not applicable\n\n| cases | why |\n|---|---|\n");
    for (cases, why) in not_applicable {
        let _ = writeln!(page, "| {cases} | {why} |");
    }
    page
}
