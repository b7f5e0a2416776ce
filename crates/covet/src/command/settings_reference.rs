//! `config --reference`: the page of all settings, from their declarations.

use std::process::ExitCode;

use covet_core::settings::{Loaded, reference};

use super::print;

pub(super) fn run(loaded: &Loaded) -> ExitCode {
    print(&reference::markdown(loaded.sections()));
    ExitCode::SUCCESS
}
