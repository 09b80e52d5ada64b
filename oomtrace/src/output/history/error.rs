//! Why there is no history, and what can be done about it.

use std::{io, path::PathBuf};

/// Why a history cannot be opened. What may pass by itself (a full disk) is none of these: then it is held in memory meanwhile.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// Two agents would each tell everything.
    #[error(
        "{path} is in use by another oomtrace agent: end that one, or give this one a history of its own",
        path = .0.display()
    )]
    InUse(PathBuf),
    /// A later version has other tables.
    #[error(
        "{path} is a history of version {found}, and this oomtrace knows versions up to {known}: use the newer oomtrace that wrote \
         it, or move the file away to begin a new one",
        path = .path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The latest that is known.
        known: u32,
    },
    /// Somebody else's database.
    #[error("{path} is another program's database: name another file", path = .0.display())]
    Foreign(PathBuf),
    /// It cannot be read.
    #[error("{path} cannot be read: {why}", path = .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// In words.
        why: String,
    },
    /// It cannot be read any further.
    #[error(
        "{path} is damaged ({why}): the agent keeps it aside and begins a new one as soon as it finds that out",
        path = .path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// SQLite's words.
        why: String,
    },
}

/// Why something could not be done with the file just now.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// It will stay so.
    #[error(transparent)]
    Refused(#[from] HistoryError),
    /// SQLite says so.
    #[error("{}", words(.0))]
    Sqlite(#[from] rusqlite::Error),
    /// The operating system says so.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Somebody took the file away, or put another one in its place.
    #[error("the file was taken away")]
    Gone,
}

impl Fault {
    /// Whether the file is not what it was: no waiting mends that.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Sqlite(error) if is_damage(error))
    }
}

/// The same of SQLite's own errors.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
}

/// SQLite's words, and what they mean to whoever runs an agent.
pub(super) fn words(error: &rusqlite::Error) -> String {
    use rusqlite::ErrorCode::{
        CannotOpen, DatabaseBusy, DiskFull, PermissionDenied, ReadOnly, SystemIoFailure,
    };
    let hint = match error.sqlite_error_code() {
        Some(DiskFull) => ": no space is left on its device",
        Some(ReadOnly) => ": its file system is read-only, or the file is",
        Some(CannotOpen) => ": its folder is missing, or may not be entered or written to",
        Some(PermissionDenied) => ": permission denied",
        Some(DatabaseBusy) => ": another program holds it locked",
        Some(SystemIoFailure) => ": its device fails, or is full",
        _ => "",
    };
    format!("{error}{hint}")
}
