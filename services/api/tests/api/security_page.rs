//! The page about security names files and tests that are there.

use std::fs;
use std::path::Path;

/// What stands in backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn every_file_and_test_that_the_page_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = fs::read_to_string(root.join("docs/security.md")).unwrap();
    let mut faults = Vec::new();
    let mut tests = 0;
    for row in page.lines().filter(|line| line.starts_with("| ") && line.contains(".rs`")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').collect();
        let [_, _, code, tested] = cells[..] else { panic!("four cells: {row}") };
        faults.extend(quoted(code).filter(|path| !root.join(path).is_file()).map(str::to_owned));
        // `file`: `test`, `test`; `file`: `test`
        for of_file in tested.split(';') {
            let mut names = quoted(of_file);
            let path = names.next().unwrap_or_else(|| panic!("no test: {row}"));
            let text = fs::read_to_string(root.join(path)).unwrap_or_default();
            let before = tests;
            for name in names {
                tests += 1;
                if !text.contains(&format!("fn {name}(")) {
                    faults.push(format!("{path}: {name}"));
                }
            }
            assert!(tests > before, "no test of {path}: {row}");
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
    assert!(tests >= 50, "{tests}");
}
