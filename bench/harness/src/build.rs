//! Builds a peer in release and says where its binary is.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use serde::Deserialize;

use crate::machine::workspace;
use crate::terminal;

/// One line of cargo's JSON messages, as far as it matters here.
#[derive(Deserialize)]
struct Message {
    executable: Option<PathBuf>,
}

/// Builds one package by itself: together, cargo would give each peer the dependency features that another one asks for,
/// and bare axum would be measured with what Covet switches on or off.
///
/// # Errors
/// The build fails or yields no binary.
pub(crate) fn release_binary(package: &str) -> anyhow::Result<PathBuf> {
    terminal::progress(&format!("building {package}"));
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--release", "--quiet", "--message-format=json-render-diagnostics", "--package", package])
        .current_dir(workspace())
        .stderr(Stdio::inherit())
        .output()
        .context("running cargo")?;
    if !output.status.success() {
        bail!("{package} does not build; cargo's reasons are above");
    }
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Message>(line).ok()?.executable)
        .next_back()
        .with_context(|| format!("cargo built no binary for {package}"))
}
