//! Standard error, where people look while standard output is the command's.

use std::io::{IsTerminal as _, Write as _, stderr};

use crate::profile::show::{self, CLEAR, Status};

/// Columns of a file.
const COLUMNS: usize = 100;

/// Whether somebody looks.
pub fn is_there() -> bool {
    stderr().is_terminal()
}

/// How many columns there are.
pub fn width() -> usize {
    let told = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let seen = || rustix::termios::tcgetwinsize(stderr()).ok().map(|size| usize::from(size.ws_col));
    told.or_else(seen).filter(|columns| *columns > 0).unwrap_or(COLUMNS)
}

/// Colour on a terminal that wants it (<https://no-color.org>).
pub fn colour() -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    is_there() && !unwanted && !dumb
}

/// The line that says how things stand.
#[derive(Debug, Default)]
pub struct StatusLine {
    shown: bool,
}

impl StatusLine {
    /// In place of the one before.
    pub fn show(&mut self, status: &Status) {
        let line = show::status(status, width(), colour());
        // Whoever does not look any more misses nothing.
        let _ = stderr().write_all(format!("{CLEAR}{line}").as_bytes());
        self.shown = true;
    }

    /// Takes it away.
    pub fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            let _ = stderr().write_all(CLEAR.as_bytes());
        }
    }
}
