//! The log file: bounded in size by closing it and beginning a new one, at a line's end.
//!
//! `covet.log` is written; `covet.log.1` is the youngest closed one. When a file cannot be moved away, its
//! successor waits: lines go on into the old one. Only one process may write to a file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::writer::Sink;

/// A file that is rotated.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    size: u64,
    max_size: u64,
    kept: u32,
    /// True after a write that may have stopped inside a line.
    torn: bool,
}

impl LogFile {
    /// Opens the file to append to it, and makes its directory where there is none.
    pub(super) fn open(path: &Path, max_size: u64, kept: u32) -> io::Result<Self> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let (file, size) = append_to(path)?;
        // A pipe or device, such as /dev/stderr, cannot be moved away or read.
        let regular = file.metadata()?.is_file();
        let torn = regular && size > 0 && !ends_with_line_end(path)?;
        let max_size = if regular { max_size } else { u64::MAX };
        Ok(Self { path: path.to_owned(), file, size, max_size, kept, torn })
    }

    fn rotate(&mut self) -> io::Result<()> {
        let closed = |number: u32| {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        if self.kept == 0 {
            fs::remove_file(&self.path)?;
        } else {
            for number in (1..self.kept).rev() {
                match fs::rename(closed(number), closed(number + 1)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            fs::rename(&self.path, closed(1))?;
        }
        match append_to(&self.path) {
            Ok((file, size)) => {
                (self.file, self.size, self.torn) = (file, size, false);
                Ok(())
            }
            Err(error) => {
                // The open file goes on under its old name.
                if self.kept > 0 {
                    fs::rename(closed(1), &self.path)?;
                }
                Err(error)
            }
        }
    }

    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.torn {
            self.file.write_all(b"\n")?;
            self.size += 1;
        }
        self.torn = true;
        self.file.write_all(lines)?;
        self.torn = false;
        self.size += lines.len() as u64;
        Ok(())
    }
}

impl Sink for LogFile {
    fn write_lines(&mut self, lines: &[u8]) -> io::Result<()> {
        let mut rest = lines;
        while !rest.is_empty() {
            let room = self.max_size.saturating_sub(self.size);
            let mut take = whole_lines_within(rest, room);
            if take == 0 && self.size > 0 && self.rotate().is_ok() {
                continue;
            }
            if take == 0 {
                // A line longer than a file, or a file that cannot be moved away.
                take = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| at + 1);
            }
            let (now, later) = rest.split_at(take);
            self.append(now)?;
            rest = later;
        }
        Ok(())
    }

    fn name(&self) -> String {
        self.path.display().to_string()
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

fn append_to(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().create(true).append(true).open(path)?;
    let size = file.metadata()?.len();
    Ok((file, size))
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

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::*;

    fn log_in(directory: &tempfile::TempDir) -> PathBuf {
        directory.path().join("logs/covet.log")
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
        let mut log = LogFile::open(&path, 10, 2).unwrap();
        for chunk in ["one\ntwo\n", "three\n", "four\nfive\nsix\n", "seven\n"] {
            log.write_lines(chunk.as_bytes()).unwrap();
        }
        assert_eq!(contents(&path), ["three\n", "four\nfive\n", "six\nseven\n"]);
    }

    #[test]
    fn a_line_longer_than_a_file_stays_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = log_in(&directory);
        let mut log = LogFile::open(&path, 10, 9).unwrap();
        log.write_lines(b"a\na line that is too long\nb\nc\n").unwrap();
        assert_eq!(contents(&path), ["a\n", "a line that is too long\n", "b\nc\n"]);
    }

    #[test]
    fn with_none_kept_the_file_begins_anew() {
        let directory = tempfile::tempdir().unwrap();
        let path = log_in(&directory);
        let mut log = LogFile::open(&path, 4, 0).unwrap();
        log.write_lines(b"one\ntwo\n").unwrap();
        assert_eq!(contents(&path), ["two\n"]);
    }

    #[test]
    fn a_restart_appends_and_closes_a_line_that_a_crash_left_open() {
        let directory = tempfile::tempdir().unwrap();
        let path = log_in(&directory);
        LogFile::open(&path, 100, 1).unwrap().write_lines(b"whole\n").unwrap();
        LogFile::open(&path, 100, 1).unwrap().write_lines(b"torn in the mid").unwrap();
        LogFile::open(&path, 100, 1).unwrap().write_lines(b"next\n").unwrap();
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
        let mut log = LogFile::open(&path, 4, 0).unwrap();
        log.write_lines(b"one\ntwo\n").unwrap();
        drop(log);
        assert_eq!(reader.join().unwrap(), "one\ntwo\n");
        assert!(fs::metadata(&path).unwrap().file_type().is_fifo());
    }

    #[test]
    fn nothing_is_lost_when_the_file_cannot_be_moved_away() {
        let directory = tempfile::tempdir().unwrap();
        let path = log_in(&directory);
        let mut log = LogFile::open(&path, 8, 1).unwrap();
        // In the way of `covet.log.1`, also for root.
        fs::create_dir_all(path.with_extension("log.1").join("not-empty")).unwrap();
        log.write_lines(b"one\ntwo\nthree\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\nthree\n");
    }
}
