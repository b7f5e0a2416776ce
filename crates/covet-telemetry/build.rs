//! Tells the crate which compiler builds it, for `app_version_info{rust_version}`.

use std::env;
use std::process::Command;

#[expect(clippy::disallowed_methods, reason = "cargo tells a build script where the compiler is by this variable")]
fn main() {
    println!("cargo::rerun-if-env-changed=RUSTC");
    let rustc = env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let output = Command::new(rustc).arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    // "rustc 1.90.0 (1159e78c4 2025-09-14)"
    let version = text.split_whitespace().nth(1).unwrap_or("unknown");
    println!("cargo::rustc-env=COVET_RUST_VERSION={version}");
}
