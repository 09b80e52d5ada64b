//! How far an import is, on a terminal.

use std::{
    io::{IsTerminal as _, Write as _, stderr},
    path::Path,
    time::{Duration, Instant},
};

use super::logs::Log;
use crate::{text::printable, words::size};

/// Who waits for so long wants to see how far it is.
const PATIENCE: Duration = Duration::from_secs(1);
/// And how it goes on.
const STEP: Duration = Duration::from_millis(200);

/// See the module.
pub struct Progress {
    shown: bool,
    begun: Instant,
    last: Option<Instant>,
    /// All that is to be read, if that is known.
    total: Option<u64>,
    /// Of logs that have been read.
    before: u64,
    /// Of the one that is read.
    current: u64,
    name: String,
}

impl Progress {
    pub fn new(logs: &[Log]) -> Self {
        let bytes = |log: &Log| match log {
            Log::Stdin => None,
            Log::File(path) => Path::metadata(path).ok().map(|about| about.len()),
        };
        let total = logs.iter().map(bytes).try_fold(0_u64, |sum, bytes| Some(sum.saturating_add(bytes?)));
        Self {
            shown: stderr().is_terminal(),
            begun: Instant::now(),
            last: None,
            total,
            before: 0,
            current: 0,
            name: String::new(),
        }
    }

    pub fn next(&mut self, log: &Log) {
        self.before = self.before.saturating_add(self.current);
        self.current = 0;
        self.name = log.name();
    }

    /// So many bytes of this log have been read.
    pub fn at(&mut self, bytes: u64) {
        self.current = bytes;
        let now = Instant::now();
        let due = self.last.map_or(self.begun + PATIENCE, |last| last + STEP);
        if !self.shown || now < due {
            return;
        }
        self.last = Some(now);
        let done = self.before.saturating_add(bytes);
        let of = self.total.filter(|total| *total > 0).map_or_else(String::new, |total| {
            format!(" of {} ({} %)", size(total), done.saturating_mul(100) / total)
        });
        // Nothing depends on it.
        let _ = write!(stderr(), "\r\u{1b}[K{}{of}  {}", size(done), printable(&self.name));
    }

    pub fn end(&self) {
        if self.last.is_some() {
            let _ = write!(stderr(), "\r\u{1b}[K");
        }
    }
}
