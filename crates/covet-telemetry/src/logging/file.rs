//! The log file: bounded by closing it at a size or an hour, at a line's end, and beginning a new one.
//!
//! `covet.log` is written; `covet.log.1` is the youngest closed one. When a file cannot be moved away, its
//! successor waits: lines go on into the old one. Only one process may write to a file.
//!
//! Somebody else may move the file away (logrotate's `create`): before every write the path is looked at, and when it is
//! another file or none, it is opened anew. So no signal is needed, and no line gets lost: what was on its way is in the
//! file that was moved. A file that was cut (logrotate's `copytruncate`) is written on from its beginning; lines between
//! the copy and the cut are lost, as always with that.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use covet_core::clock::Clock;

use super::writer::{NotWritten, Sink};
use crate::settings::RotateEvery;

/// When a file is closed, and how many closed ones are kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rotation {
    pub(super) max_size: u64,
    pub(super) every: RotateEvery,
    pub(super) kept: u32,
}

/// A file that is rotated.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    rotation: Rotation,
    clock: Clock,
    file: File,
    size: u64,
    /// Device and inode; `None` for what is no file: a pipe or device, such as /dev/stderr, cannot be moved away.
    identity: Option<(u64, u64)>,
    /// Which hour or day the file's lines are of, counted from 1970.
    period: u64,
    /// True after a write that may have stopped inside a line.
    torn: bool,
}

impl LogFile {
    /// Opens the file to append to it, and makes its directory where there is none.
    pub(super) fn open(path: &Path, rotation: Rotation, clock: Clock) -> io::Result<Self> {
        let opened = Opened::at(path)?;
        let now = period(rotation.every, clock.unix_millis() / 1000);
        let last_written = u64::try_from(opened.modified).unwrap_or(0);
        let period = if opened.size == 0 { now } else { period(rotation.every, last_written) };
        let torn = opened.identity.is_some() && opened.size > 0 && !ends_with_line_end(path)?;
        let Opened { file, size, identity, .. } = opened;
        Ok(Self { path: path.to_owned(), rotation, clock, file, size, identity, period, torn })
    }

    /// Makes sure that the open file is the one at the path, and not older than it may be.
    fn follow(&mut self) -> io::Result<()> {
        if self.identity.is_none() {
            return Ok(());
        }
        match fs::metadata(&self.path) {
            Ok(there) if Some((there.dev(), there.ino())) == self.identity => self.size = there.len(),
            _ => self.open_anew()?,
        }
        let now = period(self.rotation.every, self.clock.unix_millis() / 1000);
        if now != self.period && (self.size == 0 || self.rotate().is_ok()) {
            self.period = now;
        }
        Ok(())
    }

    /// After somebody else has moved or removed the file.
    fn open_anew(&mut self) -> io::Result<()> {
        match Opened::at(&self.path) {
            Ok(opened) => {
                self.take(opened);
                Ok(())
            }
            // Its name is gone, but whoever moved it still has it.
            Err(_) if self.file.metadata().is_ok_and(|open| open.nlink() > 0) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn take(&mut self, Opened { file, size, identity, .. }: Opened) {
        (self.file, self.size, self.identity, self.torn) = (file, size, identity, false);
    }

    fn rotate(&mut self) -> io::Result<()> {
        let kept = self.rotation.kept;
        if kept == 0 {
            fs::remove_file(&self.path)?;
        } else {
            for number in (1..kept).rev() {
                match fs::rename(self.closed(number), self.closed(number + 1)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            fs::rename(&self.path, self.closed(1))?;
        }
        match Opened::at(&self.path) {
            Ok(opened) => {
                self.take(opened);
                Ok(())
            }
            Err(error) => {
                // The open file goes on under its old name.
                if kept > 0 {
                    fs::rename(self.closed(1), &self.path)?;
                }
                Err(error)
            }
        }
    }

    fn closed(&self, number: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    }

    /// Appends whole lines. On an error tells how many bytes of whole lines are in the file; what is there of the next
    /// line is taken back.
    fn append(&mut self, lines: &[u8]) -> Result<(), (usize, io::Error)> {
        if self.torn {
            self.write(b"\n").map_err(|(_, error)| (0, error))?;
            self.torn = false;
        }
        self.write(lines).map_err(|(written, error)| {
            let whole = lines[..written].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            let beyond = (written - whole) as u64;
            if beyond > 0 {
                let taken_back = self.identity.is_some() && self.file.set_len(self.size - beyond).is_ok();
                self.torn = !taken_back;
                self.size -= if taken_back { beyond } else { 0 };
            }
            (whole, error)
        })
    }

    /// Writes all of it. On an error tells how much is written.
    fn write(&mut self, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
        let mut written = 0;
        while written < bytes.len() {
            match self.file.write(&bytes[written..]) {
                Ok(0) => return Err((written, io::ErrorKind::WriteZero.into())),
                Ok(count) => {
                    written += count;
                    self.size += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err((written, error)),
            }
        }
        Ok(())
    }
}

impl Sink for LogFile {
    fn write_lines(&mut self, lines: &[u8]) -> Result<(), NotWritten> {
        self.follow().map_err(|error| NotWritten::of(lines, error))?;
        let max_size = if self.identity.is_some() { self.rotation.max_size } else { u64::MAX };
        let mut rest = lines;
        while !rest.is_empty() {
            let room = max_size.saturating_sub(self.size);
            let mut take = whole_lines_within(rest, room);
            if take == 0 && self.size > 0 && self.rotate().is_ok() {
                continue;
            }
            if take == 0 {
                // A line longer than a file, or a file that cannot be moved away.
                take = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| at + 1);
            }
            self.append(&rest[..take]).map_err(|(written, error)| NotWritten::of(&rest[written..], error))?;
            rest = &rest[take..];
        }
        Ok(())
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }
}

/// A file, open to be appended to.
struct Opened {
    file: File,
    size: u64,
    identity: Option<(u64, u64)>,
    /// When it was last written, in seconds since 1970.
    modified: i64,
}

impl Opened {
    fn at(path: &Path) -> io::Result<Self> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let about = file.metadata()?;
        let identity = about.is_file().then(|| (about.dev(), about.ino()));
        Ok(Self { file, size: about.len(), identity, modified: about.mtime() })
    }
}

fn period(every: RotateEvery, unix_seconds: u64) -> u64 {
    match every {
        RotateEvery::Never => 0,
        RotateEvery::Hour => unix_seconds / (60 * 60),
        RotateEvery::Day => unix_seconds / (24 * 60 * 60),
    }
}

/// The length of the lines that fit into `room` bytes.
fn whole_lines_within(lines: &[u8], room: u64) -> usize {
    let room = usize::try_from(room).unwrap_or(usize::MAX);
    if lines.len() <= room {
        return lines.len();
    }
    lines[..room].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1)
}

fn ends_with_line_end(path: &Path) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == [b'\n'])
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileTypeExt;
    use std::thread;
    use std::time::Duration;

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::*;

    fn log_in(directory: &tempfile::TempDir) -> PathBuf {
        directory.path().join("logs/covet.log")
    }

    fn open(path: &Path, max_size: u64, kept: u32) -> LogFile {
        open_by(path, RotateEvery::Never, max_size, kept, &Clock::system())
    }

    fn open_by(path: &Path, every: RotateEvery, max_size: u64, kept: u32, clock: &Clock) -> LogFile {
        LogFile::open(path, Rotation { max_size, every, kept }, clock.clone()).unwrap()
    }

    /// Contents from the oldest file to the one being written.
    fn contents(path: &Path) -> Vec<String> {
        let numbered = |number| PathBuf::from(format!("{}.{number}", path.display()));
        let mut closed: Vec<_> = (1..).map(numbered).take_while(|path| path.exists()).collect();
        closed.reverse();
        closed.push(path.to_owned());
        closed.iter().map(|path| fs::read_to_string(path).unwrap()).collect()
    }

    #[test]
    fn a_full_file_is_closed_at_a_line_end_and_a_fixed_number_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = log_in(&directory);
        let mut log = open(&path, 10, 2);
        for chunk in ["one\ntwo\n", "three\n", "four\nfive\nsix\n", "seven\n"] {
            log.write_lines(chunk.as_bytes()).unwrap();
        }
        assert_eq!(contents(&path), ["three\n", "four\nfive\n", "six\nseven\n"]);
    }

    #[test]
    fn a_line_longer_than_a_file_stays_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = log_in(&directory);
        let mut log = open(&path, 10, 9);
        log.write_lines(b"a\na line that is too long\nb\nc\n").unwrap();
        assert_eq!(contents(&path), ["a\n", "a line that is too long\n", "b\nc\n"]);
    }

    #[test]
    fn with_none_kept_the_file_begins_anew() {
        let directory = tempfile::tempdir().unwrap();
        let path = log_in(&directory);
        let mut log = open(&path, 4, 0);
        log.write_lines(b"one\ntwo\n").unwrap();
        assert_eq!(contents(&path), ["two\n"]);
    }

    #[test]
    fn a_restart_appends_and_closes_a_line_that_a_crash_left_open() {
        let directory = tempfile::tempdir().unwrap();
        let path = log_in(&directory);
        open(&path, 100, 1).write_lines(b"whole\n").unwrap();
        open(&path, 100, 1).write_lines(b"torn in the mid").unwrap();
        open(&path, 100, 1).write_lines(b"next\n").unwrap();
        assert_eq!(contents(&path), ["whole\ntorn in the mid\nnext\n"]);
    }

    #[test]
    fn a_pipe_is_written_and_never_moved_away() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pipe");
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        let reader = thread::spawn({
            let path = path.clone();
            move || fs::read_to_string(path).unwrap()
        });
        let mut log = open(&path, 4, 0);
        log.write_lines(b"one\ntwo\n").unwrap();
        drop(log);
        assert_eq!(reader.join().unwrap(), "one\ntwo\n");
        assert!(fs::metadata(&path).unwrap().file_type().is_fifo());
    }

    #[test]
    fn nothing_is_lost_when_the_file_cannot_be_moved_away() {
        let directory = tempfile::tempdir().unwrap();
        let path = log_in(&directory);
        let mut log = open(&path, 8, 1);
        // In the way of `covet.log.1`, also for root.
        fs::create_dir_all(path.with_extension("log.1").join("not-empty")).unwrap();
        log.write_lines(b"one\ntwo\nthree\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\nthree\n");
    }

    #[test]
    fn the_first_line_after_midnight_begins_a_new_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = log_in(&directory);
        let (clock, hand) = Clock::manual("2026-03-01T23:59:59Z".parse().unwrap());
        let mut log = open_by(&path, RotateEvery::Day, 1000, 9, &clock);
        log.write_lines(b"saturday\n").unwrap();
        hand.advance(Duration::from_secs(2));
        log.write_lines(b"sunday\n").unwrap();
        hand.advance(Duration::from_secs(60 * 60));
        log.write_lines(b"still sunday\n").unwrap();
        hand.advance(Duration::from_secs(3 * 24 * 60 * 60));
        log.write_lines(b"wednesday\n").unwrap();
        assert_eq!(contents(&path), ["saturday\n", "sunday\nstill sunday\n", "wednesday\n"]);
    }

    #[test]
    fn a_restart_knows_that_the_file_is_of_an_hour_before() {
        let directory = tempfile::tempdir().unwrap();
        let path = log_in(&directory);
        // The file's own time is the system's.
        let now = Clock::system().now();
        let (clock, hand) = Clock::manual(now);
        open_by(&path, RotateEvery::Hour, 1000, 9, &clock).write_lines(b"before\n").unwrap();
        open_by(&path, RotateEvery::Hour, 1000, 9, &clock).write_lines(b"same hour\n").unwrap();
        hand.advance(Duration::from_secs(2 * 60 * 60));
        open_by(&path, RotateEvery::Hour, 1000, 9, &clock).write_lines(b"later\n").unwrap();
        assert_eq!(contents(&path).last().unwrap(), "later\n");
        assert_eq!(contents(&path).concat(), "before\nsame hour\nlater\n");
    }

    #[test]
    fn a_file_that_somebody_else_moves_or_removes_is_opened_anew() {
        let directory = tempfile::tempdir().unwrap();
        let path = log_in(&directory);
        let mut log = open(&path, 1000, 3);
        log.write_lines(b"one\n").unwrap();
        let moved = path.with_extension("moved");
        fs::rename(&path, &moved).unwrap();
        log.write_lines(b"two\n").unwrap();
        // As logrotate does with `create`.
        fs::rename(&path, path.with_extension("moved2")).unwrap();
        File::create(&path).unwrap();
        log.write_lines(b"three\n").unwrap();
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
        log.write_lines(b"four\n").unwrap();
        assert_eq!(contents(&path), ["four\n"]);
    }

    #[test]
    fn a_file_that_somebody_else_cuts_is_filled_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = log_in(&directory);
        let mut log = open(&path, 10, 3);
        log.write_lines(b"12345678\n").unwrap();
        OpenOptions::new().write(true).open(&path).unwrap().set_len(0).unwrap();
        log.write_lines(b"after cut\n").unwrap();
        assert_eq!(contents(&path), ["after cut\n"], "it counts as empty");
    }

    #[test]
    fn while_no_new_file_can_be_made_the_moved_one_is_written_on() {
        let directory = tempfile::tempdir().unwrap();
        let path = log_in(&directory);
        let mut log = open(&path, 1000, 3);
        let moved = directory.path().join("moved.log");
        fs::rename(&path, &moved).unwrap();
        // In the way, also for root.
        fs::remove_dir(path.parent().unwrap()).unwrap();
        fs::write(path.parent().unwrap(), "").unwrap();
        log.write_lines(b"one\n").unwrap();
        assert_eq!(fs::read_to_string(&moved).unwrap(), "one\n");
        fs::remove_file(&moved).unwrap();
        assert_eq!(log.write_lines(b"two\nthree\n").unwrap_err().lines, 2, "nobody would ever see them");
        fs::remove_file(path.parent().unwrap()).unwrap();
        log.write_lines(b"four\n").unwrap();
        assert_eq!(contents(&path), ["four\n"]);
    }
}
