//! `config`: what is in effect.

use std::process::ExitCode;

use covet_core::settings::Loaded;

use super::{print, print_json};

pub(super) fn run(loaded: &Loaded, json: bool) -> ExitCode {
    let effective = loaded.effective();
    if json {
        return print_json(&effective);
    }
    print(&effective.to_string());
    ExitCode::SUCCESS
}
