//! Where programs are: installed ones, and the binaries of this workspace.

use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use crate::{Error, Result};

/// Directories that hold servers but are not on everybody's `PATH`.
const SERVER_DIRECTORIES: [&str; 4] = ["/usr/sbin", "/usr/local/sbin", "/usr/local/bin", "/usr/bin"];

/// The path of an installed program; `package` is the Debian package that has it.
///
/// # Errors
///
/// [`crate::Error::MissingProgram`], which says how to install it.
pub fn find_program(program: &str, package: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path).chain(SERVER_DIRECTORIES.map(PathBuf::from));
    find_in(directories, program)
        .ok_or_else(|| missing(program, format!("PATH and {}", SERVER_DIRECTORIES.join(", ")), package))
}

/// The path of a PostgreSQL server program, from the newest version that Debian installed, else from `PATH`.
pub(crate) fn find_postgres_program(program: &str) -> Result<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some((entry.as_ref().ok()?.file_name().to_str()?.parse().ok()?, entry.ok()?.path())))
        .collect();
    versions.sort();
    let directories = versions.into_iter().rev().map(|(_, path)| path.join("bin"));
    find_in(directories, program).map_or_else(|| find_program(program, "postgresql"), Ok)
}

/// The path of a binary of this workspace, built if it is missing or older than its sources.
///
/// `<BINARY>_BIN` (`COVET_API_BIN` for `covet-api`) names another one to test, for example a release build. Without it the binary is
/// the one beside the test executable, so tests and service are built with the same profile. The list of sources is cargo's own
/// (`covet-api.d`).
///
/// # Errors
///
/// [`crate::Error::Command`] when the build fails, [`crate::Error::Io`] when the binary named by the variable does not exist.
pub fn cargo_binary(package: &str, binary: &str) -> Result<PathBuf> {
    let variable = format!("{}_BIN", binary.to_uppercase().replace('-', "_"));
    if let Some(path) = std::env::var_os(&variable).map(PathBuf::from) {
        let path = path.canonicalize();
        return path.map_err(Error::io(format!("find the binary that {variable} names")));
    }
    let test = std::env::current_exe().map_err(Error::io("find the test executable"))?;
    // target/<profile>/deps/<test>, or target/<profile>/<program> for a helper binary.
    let mut directory = test.parent().unwrap_or(Path::new("."));
    if directory.ends_with("deps") || directory.ends_with("examples") {
        directory = directory.parent().unwrap_or(directory);
    }
    let path = directory.join(binary);
    if !is_fresh(&path, &workspace()) {
        build(package, binary, directory)?;
    }
    Ok(path)
}

fn build(package: &str, binary: &str, directory: &Path) -> Result<()> {
    let profile = match directory.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(other) => other,
    };
    let target = directory.parent().unwrap_or(directory);
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["build", "--package", package, "--bin", binary, "--profile", profile, "--target-dir"])
        .arg(target)
        .current_dir(workspace());
    let output = command.output().map_err(Error::io("run cargo"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(Error::Command { command: format!("cargo build -p {package}"), status: output.status, output: text })
}

/// The workspace whose tests run.
fn workspace() -> PathBuf {
    // The package whose tests run, as cargo and nextest tell their children.
    let package = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from("."), PathBuf::from);
    package.ancestors().find(|folder| folder.join("Cargo.lock").exists()).unwrap_or(&package).to_owned()
}

/// Whether the binary is there, made of this workspace (clones may share a target directory), and no source that cargo lists
/// for it is newer.
fn is_fresh(binary: &Path, workspace: &Path) -> bool {
    let Some(built) = modified(binary) else { return false };
    let Ok(list) = std::fs::read_to_string(binary.with_extension("d")) else { return false };
    let Some((_, sources)) = list.split_once(": ") else { return false };
    // Spaces inside a path are written `\ `.
    let sources = sources.trim().replace("\\ ", "\0");
    let sources: Vec<_> = sources.split(' ').map(|path| PathBuf::from(path.replace('\0', " "))).collect();
    let is_of_workspace = sources.iter().any(|path| path.is_relative() || path.starts_with(workspace));
    is_of_workspace && sources.iter().all(|path| modified(path).is_some_and(|changed| changed <= built))
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().as_ref().map(Metadata::modified).ok()?.ok()
}

fn find_in(mut directories: impl Iterator<Item = PathBuf>, program: &str) -> Option<PathBuf> {
    directories.find_map(|directory| Some(directory.join(program)).filter(|path| path.is_file()))
}

fn missing(program: &str, searched: String, package: &str) -> Error {
    Error::MissingProgram { program: program.to_owned(), searched, package: package.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_says_how_to_install_it() {
        let error = find_program("no-such-server", "no-such-package").unwrap_err().to_string();
        assert!(error.starts_with("`no-such-server` is not installed"), "{error}");
        assert!(error.ends_with("apt-get install no-such-package"), "{error}");
    }

    #[test]
    fn a_binary_older_than_a_source_is_not_fresh() {
        let directory = crate::TempDir::new("program").unwrap();
        let source = directory.write("main.rs", "").unwrap();
        let binary = directory.write("service", "").unwrap();
        let (here, elsewhere) = (directory.path(), Path::new("/another/clone"));
        assert!(!is_fresh(&binary, here), "no list of sources");
        directory.write("service.d", format!("{}: {}", binary.display(), source.display())).unwrap();
        let now = modified(&source).unwrap();
        let at =
            |path: &Path, time| std::fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
        at(&binary, now);
        assert!(is_fresh(&binary, here));
        assert!(!is_fresh(&binary, elsewhere), "made of other sources");
        at(&source, now + std::time::Duration::from_secs(1));
        assert!(!is_fresh(&binary, here));
    }
}
