//! The response cache against the cases of the public test list for HTTP caches, <https://github.com/http-tests/cache-tests> (the
//! names of the cases are theirs, the words and the code are ours): requests over a real socket, with a handler that answers as
//! the case says and notes what it was asked.
//!
//! What comes out is the page `docs/reference/http-cache-conformance.md`. This test fails when a required case fails, when any case
//! fails without a reason beside it, and when the page is stale; with `COVET_UPDATE_REFERENCE` set it writes the page.
#![expect(clippy::unwrap_used, reason = "a test may panic, and its helpers with it")]

#[path = "http_cache/case.rs"]
mod case;
#[path = "http_cache/cases.rs"]
mod cases;
#[path = "http_cache/origin.rs"]
mod origin;
#[path = "http_cache/page.rs"]
mod page;

use std::path::Path;

#[tokio::test]
async fn the_response_cache_behaves_as_the_public_test_list_wants_or_the_page_says_why_not() {
    let mut findings = Vec::new();
    let origin = origin::Origin::start().await;
    for group in cases::groups() {
        for case in group.cases {
            let outcome = origin.run(&case).await;
            findings.push(page::Finding { group: group.name, case, outcome });
        }
    }
    let silent: Vec<String> = findings.iter().filter_map(page::Finding::silent_failure).collect();
    assert!(silent.is_empty(), "{} cases fail:\n{}", silent.len(), silent.join("\n"));

    let written = page::render(&findings, &cases::NOT_APPLICABLE);
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/http-cache-conformance.md");
    if std::env::var_os("COVET_UPDATE_REFERENCE").is_some() {
        std::fs::write(&page, written).unwrap();
        return;
    }
    let known = std::fs::read_to_string(&page).unwrap_or_default();
    assert!(
        known == written,
        "docs/reference/http-cache-conformance.md is stale: \
         COVET_UPDATE_REFERENCE=1 cargo nextest run -p covet --test http_cache_conformance"
    );
}
