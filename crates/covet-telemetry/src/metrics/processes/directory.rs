//! The directory that the processes share.
//!
//! | file | what |
//! |---|---|
//! | `ID.socket` | where the living process `ID` answers |
//! | `ID.counts` | what it last wrote down |
//! | `ended` | the sum of processes that have ended, and their ids |
//! | `lock` | held while `ended` is read and written, and while a process enters |
//!
//! Each file is replaced as a whole, by renaming. Nothing is forced to the disk: a machine that loses power loses its
//! processes too, and they begin anew.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use super::PATIENCE;
use super::neighbour::{Answer, Neighbour};
use crate::metrics::Exposition;
use crate::metrics::exposition::Sender;

/// A scrape that is under way may have the values of a process that is added to the ended ones meanwhile, and must see
/// that. So many processes do not end during one scrape.
const IDS_KEPT: usize = 1000;

#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
}

/// The processes that have ended.
#[derive(Debug, Default)]
pub(super) struct Ended {
    ids: Vec<String>,
    lines: String,
}

impl Ended {
    pub(super) fn contains(&self, id: &str) -> bool {
        self.ids.iter().any(|known| known == id)
    }

    /// Their values together.
    pub(super) fn lines(&self) -> Option<&str> {
        (!self.lines.is_empty()).then_some(&self.lines)
    }
}

impl Directory {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        // Relative names would break when somebody changes the working directory.
        Ok(Self { path: path.canonicalize()? })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn socket(&self, id: &str) -> PathBuf {
        self.path.join(format!("{id}.socket"))
    }

    /// Makes the socket of a new process. When no other one lives, what is left of earlier ones is removed first.
    pub(super) fn enter(&self, id: &str) -> io::Result<(UnixListener, PathBuf)> {
        let _locked = self.lock()?;
        let others = self.others(id)?;
        let lives = |id: &String| !matches!(Neighbour::ask(&self.socket(id)).answer(PATIENCE), Answer::Gone);
        if !others.iter().any(lives) {
            self.begin_anew()?;
        }
        // Listening before it has its name: a socket that refuses is one whose process has ended.
        let unnamed = self.path.join(format!("{id}.new"));
        let listener = UnixListener::bind(&unnamed)?;
        let socket = self.socket(id);
        fs::rename(&unnamed, &socket)?;
        Ok((listener, socket))
    }

    /// Removes what earlier processes have left, also half-made files of one that was killed.
    fn begin_anew(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let file = entry?.path();
            let ours = ["socket", "counts", "new"].map(std::ffi::OsStr::new);
            if file.ends_with("ended") || file.extension().is_some_and(|extension| ours.contains(&extension)) {
                remove(&file);
            }
        }
        Ok(())
    }

    /// The ids of the other processes: of all that have a socket or have written something down.
    pub(super) fn others(&self, own: &str) -> io::Result<Vec<String>> {
        let mut ids = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            let Some((id, "socket" | "counts")) = name.to_str().and_then(|name| name.rsplit_once('.')) else {
                continue;
            };
            if id != own && !ids.iter().any(|known| known == id) {
                ids.push(id.to_owned());
            }
        }
        ids.sort_unstable();
        Ok(ids)
    }

    pub(super) fn write_counts(&self, id: &str, lines: &str) -> io::Result<()> {
        self.replace(&format!("{id}.counts"), lines)
    }

    /// What a process last wrote down. Nothing when it never did: then it was never shown either.
    pub(super) fn counts(&self, id: &str) -> String {
        fs::read_to_string(self.path.join(format!("{id}.counts"))).unwrap_or_else(|_| Exposition::default().encode())
    }

    /// The processes that have ended, `gone` among them.
    pub(super) fn with_ended<'a>(&self, gone: impl Iterator<Item = &'a str>) -> io::Result<Ended> {
        let _locked = self.lock()?;
        let mut ended = self.read_ended()?;
        let gone: Vec<&str> = gone.collect();
        let new: Vec<&str> = gone.iter().copied().filter(|id| !ended.contains(id)).collect();
        if !new.is_empty() {
            let mut sum = Exposition::default();
            let all = new.iter().map(|id| self.counts(id)).chain(ended.lines().map(str::to_owned));
            for lines in all {
                if let Err(error) = sum.absorb(&lines, Sender::Ended) {
                    tracing::warn!(error = error.to_string(), "the counts of an ended process cannot be read");
                }
            }
            ended.lines = sum.encode();
            ended.ids.extend(new.into_iter().map(str::to_owned));
            ended.ids.drain(..ended.ids.len().saturating_sub(IDS_KEPT));
            self.replace("ended", &format!("{}\n{}", ended.ids.join(" "), ended.lines))?;
        }
        // Only now: until here a process that is killed loses nothing.
        for id in gone {
            self.forget(id);
        }
        Ok(ended)
    }

    fn read_ended(&self) -> io::Result<Ended> {
        let text = match fs::read_to_string(self.path.join("ended")) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Ended::default()),
            Err(error) => return Err(error),
        };
        let (ids, lines) = text.split_once('\n').unwrap_or_default();
        Ok(Ended { ids: ids.split(' ').map(str::to_owned).collect(), lines: lines.to_owned() })
    }

    /// Removes a process's files, half-made ones too.
    fn forget(&self, id: &str) {
        remove(&self.socket(id));
        for file in ["counts", "counts.new", "new"] {
            remove(&self.path.join(format!("{id}.{file}")));
        }
    }

    fn replace(&self, name: &str, content: &str) -> io::Result<()> {
        let unnamed = self.path.join(format!("{name}.new"));
        fs::write(&unnamed, content)?;
        fs::rename(&unnamed, self.path.join(name))
    }

    /// Given back when the file is dropped, also by the kernel when the process is killed.
    fn lock(&self) -> io::Result<File> {
        let file =
            OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(self.path.join("lock"))?;
        file.lock()?;
        Ok(file)
    }
}

/// What is not there need not be removed.
fn remove(file: &Path) {
    if let Err(error) = fs::remove_file(file)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(file = %file.display(), error = &error as &dyn std::error::Error, "cannot remove a file");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Format, Selection, catalog};

    fn counts(deadlocks: u64) -> String {
        let mut values = Exposition::default();
        values.counter(catalog::DB_DEADLOCKS_TOTAL, &[], deadlocks);
        values.encode()
    }

    fn sum(ended: &Ended) -> String {
        let mut values = Exposition::default();
        values.absorb(ended.lines().unwrap(), Sender::Ended).unwrap();
        let text = values.write(Format::Text, Selection::All);
        text.lines().last().unwrap().to_owned()
    }

    #[test]
    fn ended_processes_are_added_up_once_each() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::open(folder.path()).unwrap();
        assert!(directory.with_ended([].into_iter()).unwrap().lines().is_none());
        directory.write_counts("a", &counts(3)).unwrap();
        directory.write_counts("b", &counts(4)).unwrap();
        let ended = directory.with_ended(["a"].into_iter()).unwrap();
        assert_eq!(
            (sum(&ended).as_str(), ended.contains("a"), ended.contains("b")),
            ("db_deadlocks_total 3.0", true, false)
        );
        assert_eq!(directory.others("x").unwrap(), ["b"]);
        // Two scrapes at once both see that it is gone; the second finds it among the ended.
        for gone in [["a", "b"], ["b", "a"]] {
            assert_eq!(sum(&directory.with_ended(gone.into_iter()).unwrap()), "db_deadlocks_total 7.0");
        }
        assert!(directory.others("x").unwrap().is_empty());
    }

    #[test]
    fn a_process_killed_while_it_adds_up_does_not_make_a_count_appear_twice() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::open(folder.path()).unwrap();
        directory.write_counts("a", &counts(3)).unwrap();
        directory.with_ended(["a"].into_iter()).unwrap();
        // Killed after the sum was written and before the file was removed.
        directory.write_counts("a", &counts(3)).unwrap();
        assert_eq!(sum(&directory.with_ended(["a"].into_iter()).unwrap()), "db_deadlocks_total 3.0");
        assert!(directory.others("x").unwrap().is_empty());
    }

    #[test]
    fn a_process_that_never_wrote_anything_down_adds_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::open(folder.path()).unwrap();
        let (_listener, socket) = directory.enter("a").unwrap();
        assert!(socket.exists());
        let ended = directory.with_ended(["a"].into_iter()).unwrap();
        assert!(ended.contains("a") && !socket.exists());
    }

    #[test]
    fn whoever_enters_alone_begins_anew_and_leaves_other_files_alone() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::open(folder.path()).unwrap();
        directory.write_counts("a", &counts(3)).unwrap();
        directory.with_ended(["a"].into_iter()).unwrap();
        fs::write(folder.path().join("half.counts.new"), "").unwrap();
        fs::write(folder.path().join("notes.txt"), "").unwrap();
        let (_first, _) = directory.enter("b").unwrap();
        assert!(directory.with_ended([].into_iter()).unwrap().lines().is_none());
        let mut left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["b.socket", "lock", "notes.txt"]);
        // Not alone.
        directory.write_counts("c", &counts(4)).unwrap();
        directory.with_ended(["c"].into_iter()).unwrap();
        let (_second, _) = directory.enter("d").unwrap();
        assert_eq!(sum(&directory.with_ended([].into_iter()).unwrap()), "db_deadlocks_total 4.0");
    }
}
