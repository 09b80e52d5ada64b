//! Standard error, where people look while standard output is the command's.

use std::io::{IsTerminal as _, Write as _, stderr};

use super::super::shown::{colour_of, width_of};
use crate::profile::show::{self, CLEAR, Status};

/// Columns of a file.
pub const COLUMNS: usize = 100;

/// Whether somebody looks.
pub fn is_there() -> bool {
    stderr().is_terminal()
}

/// How many columns there are.
pub fn width() -> usize {
    width_of(stderr()).unwrap_or(COLUMNS)
}

/// Whether to use colour.
pub fn colour() -> bool {
    colour_of(&stderr())
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
