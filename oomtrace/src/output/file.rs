//! JSON lines in a file that is rotated by size.
//!
//! Only whole lines are written: what a full disk cut is taken back, and what a crash cut gets a newline before anything
//! follows. While the file cannot be written to, lines wait in memory, and what finds no room there is counted.

use std::{
    ffi::OsString,
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use super::{Closed, Format as _, Health, Json, Message, Sink, backlog::Backlog, retry::Retry};

mod appended;

use appended::Appended;

/// Memory for lines that cannot be written just now, bytes.
const WAITING_BYTES: usize = 4 << 20;
/// What is written at once, bytes, but for a longer line.
const TOGETHER_BYTES: usize = 64 * 1024;
/// The first wait after a failure, and the longest: a disk that was full is tried once a minute.
const WAIT: [Duration; 2] = [Duration::from_secs(1), Duration::from_mins(1)];
/// More old files are a folder that nobody looks through.
const MOST_KEPT: u32 = 1000;

/// What the file output is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSettings {
    /// Where. Absolute. Its folder must exist, or appear later: it is not made.
    pub path: PathBuf,
    /// How large the file may get before it is rotated, bytes. A single longer line makes a larger file.
    pub max_bytes: u64,
    /// How many old files stay: `PATH.1`, the newest, to `PATH.N`. 0: none.
    pub keep: u32,
}

/// Why there can be no such file.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// Not an absolute path of a file.
    #[error("The output file {} must be given as an absolute path to a file, such as /var/log/oomtrace/incidents.ndjson", .0.display())]
    Path(PathBuf),
    /// No bytes at all.
    #[error("The output file's largest size must be more than 0 bytes")]
    NoRoom,
    /// Too many files.
    #[error("{0} old output files are too many: keep {MOST_KEPT} at the most")]
    Keep(u32),
}

/// See the module.
pub struct File {
    settings: FileSettings,
    health: Arc<Health>,
    backlog: Backlog,
    open: Option<Appended>,
    reopen: Arc<AtomicBool>,
    retry: Retry,
}

impl FileSettings {
    /// Whether there can be such a file.
    pub fn check(&self) -> Result<(), FileError> {
        if !self.path.is_absolute() || self.path.file_name().is_none() || self.path.is_dir() {
            return Err(FileError::Path(self.path.clone()));
        }
        if self.max_bytes == 0 {
            return Err(FileError::NoRoom);
        }
        if self.keep > MOST_KEPT {
            return Err(FileError::Keep(self.keep));
        }
        Ok(())
    }
}

impl File {
    /// Checks the settings. The file itself is opened with its first line: one that cannot be opened yet is said, and waited
    /// for.
    pub fn new(settings: FileSettings, health: Arc<Health>) -> Result<Self, FileError> {
        settings.check()?;
        let [first, most] = WAIT;
        Ok(Self {
            settings,
            health,
            backlog: Backlog::new(WAITING_BYTES),
            open: None,
            reopen: Arc::default(),
            retry: Retry::new(first, most),
        })
    }

    /// What makes it open the file anew before the next line, and try at once, when set: for a reload. One that was moved away
    /// is opened anew without it.
    #[must_use]
    pub fn reopener(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.reopen)
    }

    /// Writes what waits, if it may be tried.
    fn try_write(&mut self) {
        if self.reopen.swap(false, Relaxed) {
            self.open = None;
            self.retry.hurry();
        }
        if self.backlog.is_empty() || !self.retry.is_due(Instant::now()) {
            return;
        }
        match self.write() {
            Ok(()) => {
                self.retry.succeeded();
                self.health.works();
            }
            Err(error) => {
                self.open = None;
                self.retry.failed(Instant::now(), None);
                let path = crate::text::printable(&self.settings.path.to_string_lossy());
                self.health.fails(
                    format_args!("{path} cannot be written to: {error}"),
                    "lines wait in memory, up to 4 MiB, and it is tried again",
                );
            }
        }
    }

    fn write(&mut self) -> io::Result<()> {
        while !self.backlog.is_empty() {
            let path = &self.settings.path;
            let mut file = match self.open.take() {
                // Whoever moved or cut it: what the path names now is what counts.
                Some(file) if file.is_still(path) => file,
                _ => Appended::open(path)?,
            };
            let room = usize::try_from(self.settings.max_bytes.saturating_sub(file.bytes()));
            let room = room.unwrap_or(usize::MAX).min(TOGETHER_BYTES);
            let (mut lines, mut together) = (0, Vec::new());
            for line in self.backlog.lines() {
                if together.len().saturating_add(line.len()) > room {
                    break;
                }
                together.extend_from_slice(line);
                lines += 1;
            }
            if lines == 0 {
                let Some(first) = self.backlog.lines().next() else { break };
                if file.bytes() > 0
                    && (file.bytes().saturating_add(first.len() as u64)) > self.settings.max_bytes
                {
                    rotate(path, self.settings.keep)?;
                    continue;
                }
                together.extend_from_slice(first);
                lines = 1;
            }
            file.append(&together)?;
            self.open = Some(file);
            for _ in 0..lines {
                self.backlog.pop();
            }
            self.health.wrote(lines);
        }
        Ok(())
    }
}

impl Sink for File {
    fn wants(&self) -> fn(&Message) -> bool {
        Json.shows()
    }

    fn take(&mut self, message: &Arc<Message>) -> Result<(), Closed> {
        let line = Json::line(message);
        if !self.backlog.push(line) {
            self.health.lost(1);
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Closed> {
        self.try_write();
        Ok(())
    }

    fn rest(&mut self) -> Option<Duration> {
        self.try_write();
        (!self.backlog.is_empty()).then(|| self.retry.wait(Instant::now()))
    }

    fn end(&mut self) {
        self.retry.hurry();
        self.try_write();
        self.health.lost(self.backlog.len() as u64);
    }
}

/// Moves each file one further, and the last one out. What is missing in between, since a crash came between two moves, is no
/// error.
fn rotate(path: &Path, keep: u32) -> io::Result<()> {
    let there = |result: io::Result<()>| match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    if keep == 0 {
        return there(fs::remove_file(path));
    }
    for number in (1..keep).rev() {
        there(fs::rename(numbered(path, number), numbered(path, number + 1)))?;
    }
    there(fs::rename(path, numbered(path, 1)))
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = OsString::from(path);
    // Writing to an OsString cannot fail.
    let _ = write!(name, ".{number}");
    name.into()
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
