//! Which logs to read.

use std::path::PathBuf;

use crate::kmsg::source::{FindError, find};

/// A log that is to be read.
pub enum Log {
    /// Standard input.
    Stdin,
    /// A file.
    File(PathBuf),
}

impl Log {
    /// What it is called.
    pub fn name(&self) -> String {
        match self {
            Self::Stdin => "standard input".to_owned(),
            Self::File(path) => path.display().to_string(),
        }
    }
}

/// The logs that arguments name, in the order in which they were written.
pub fn logs(files: &[PathBuf]) -> Result<Vec<Log>, FindError> {
    let (piped, kept): (Vec<_>, Vec<_>) = files.iter().cloned().partition(|file| file.as_os_str() == "-");
    let files = find(&kept)?.into_iter().map(Log::File);
    // It can be read once.
    Ok(files.chain(piped.first().map(|_| Log::Stdin)).collect())
}
