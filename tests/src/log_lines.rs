//! Log lines, held against the published schema.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use anyhow::{Context, Result, bail};
use jsonschema::Validator;
use serde_json::Value;

/// `docs/reference/log-line.schema.json`
const SCHEMA: &str = include_str!("../../docs/reference/log-line.schema.json");

static VALIDATOR: LazyLock<Result<Validator, String>> = LazyLock::new(|| {
    let schema = serde_json::from_str(SCHEMA).map_err(|error| error.to_string())?;
    jsonschema::validator_for(&schema).map_err(|error| error.to_string())
});

/// The lines of a log file and of its closed predecessors, oldest first, each understood and checked.
///
/// # Errors
///
/// The first line that is no JSON or does not fit the schema.
pub fn of_file(path: &Path) -> Result<Vec<Value>> {
    let numbered = |number: u32| Path::new(&format!("{}.{number}", path.display())).to_owned();
    let mut files: Vec<_> = (1..).map(numbered).take_while(|file| file.exists()).collect();
    files.reverse();
    files.push(path.to_owned());
    let mut lines = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        lines.extend(of_text(&text)?);
    }
    Ok(lines)
}

/// The lines of a text, each understood and checked.
///
/// # Errors
///
/// As [`of_file`].
pub fn of_text(text: &str) -> Result<Vec<Value>> {
    text.lines().map(checked).collect()
}

fn checked(line: &str) -> Result<Value> {
    let validator = VALIDATOR.as_ref().map_err(|error| anyhow::anyhow!("the schema: {error}"))?;
    let value: Value = serde_json::from_str(line).with_context(|| format!("no JSON: {line}"))?;
    let faults: Vec<String> =
        validator.iter_errors(&value).map(|fault| format!("{fault} at {}", fault.instance_path())).collect();
    if !faults.is_empty() {
        bail!("{}\ndoes not fit the schema: {}", line, faults.join("; "));
    }
    Ok(value)
}

/// Whether it is the line of a request.
#[must_use]
pub fn is_access(line: &Value) -> bool {
    line["logger"] == "covet.api" && line["message"] == "HTTP request completed"
}

/// How many access lines there are of each status.
#[must_use]
pub fn statuses(lines: &[Value]) -> BTreeMap<u64, usize> {
    let mut counts = BTreeMap::new();
    for line in lines.iter().filter(|line| is_access(line)) {
        *counts.entry(line["status_code"].as_u64().unwrap_or(0)).or_default() += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = r#""timestamp":"2026-01-01T00:00:00.000Z","service":"s""#;

    fn verdict(rest: &str) -> Result<Value> {
        checked(&format!("{{{BASE},{rest}}}"))
    }

    #[test]
    fn good_lines_fit_and_bad_ones_do_not() {
        let access = r#""level":"INFO","logger":"covet.api","message":"HTTP request completed","request_id":"r","method":"GET",
            "path":"/","status_code":200,"duration_seconds":0.1,"route":"/","request_bytes":0,"response_bytes":1,
            "user_agent":"","protocol":"HTTP/1.1""#;
        let record = r#""logger":"covet.audit","message":"m","event":"user_created","actor":"service""#;
        for good in [
            r#""level":"INFO","logger":"covet.http","message":"m","rows":3,"error":"e","error_chain":["c"]"#,
            access,
            &format!("{record},\"level\":\"INFO\",\"outcome\":\"success\""),
            &format!("{record},\"level\":\"WARN\",\"outcome\":\"failure\",\"reason\":\"r\""),
        ] {
            verdict(good).unwrap();
        }
        for bad in [
            r#""level":"FATAL","logger":"covet.http","message":"m""#,
            r#""level":"INFO","logger":"covet_http::x","message":"m""#,
            r#""level":"INFO","logger":"covet.http","message":"m","nested":{}"#,
            r#""level":"INFO","logger":"covet.http","message":"m","trace_id":"0af7651916cd43dd8448eb211c80319c""#,
            &format!("{access},\"query\":\"x\""),
            &access.replace("\"route\":\"/\",", ""),
            &access.replace("200", "\"200\""),
            &format!("{record},\"level\":\"WARN\",\"outcome\":\"failure\""),
            &format!("{record},\"level\":\"INFO\",\"outcome\":\"success\",\"reason\":\"r\""),
            &format!("{record},\"level\":\"INFO\",\"outcome\":\"perhaps\""),
        ] {
            assert!(verdict(bad).is_err(), "{bad}");
        }
    }
}
