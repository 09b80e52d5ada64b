//! The database's versions, and the way from each to the next.

use rusqlite::{Connection, Transaction, TransactionBehavior};

/// The version that is written.
pub(super) const CURRENT: u32 = 2;
/// The oldest that can be read as it is.
pub(super) const OLDEST_READ: u32 = 1;
/// From this one on there are findings and units.
pub(super) const WITH_FINDINGS: u32 = 2;
/// `oomt`: whose file it is (`application_id`).
pub(super) const APPLICATION: u32 = 0x6f6f_6d74;

/// What makes each version of the one before.
const VERSIONS: [&str; CURRENT as usize] = [include_str!("schema/v1.sql"), include_str!("schema/v2.sql")];

/// What a file says that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Is {
    /// Nothing yet.
    Empty,
    /// A history of this version.
    History(u32),
    /// Some other program's.
    Foreign,
}

impl Is {
    /// What a file is.
    pub fn of(connection: &Connection) -> rusqlite::Result<Self> {
        let version: u32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        let application: u32 = connection.query_row("PRAGMA application_id", [], |row| row.get(0))?;
        let things: u32 = connection.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0))?;
        Ok(match (application, things) {
            (APPLICATION, _) if version > 0 => Self::History(version),
            (0 | APPLICATION, 0) => Self::Empty,
            _ => Self::Foreign,
        })
    }
}

/// Makes the current version of an older one, or of nothing: all of it, or none.
pub(super) fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    migrate_to(connection, CURRENT)
}

pub(super) fn migrate_to(connection: &mut Connection, version: u32) -> rusqlite::Result<()> {
    let steps = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another one may have been faster.
    let from = match Is::of(&steps)? {
        Is::History(from) => from,
        Is::Empty | Is::Foreign => 0,
    };
    for (number, step) in (1..=version).zip(VERSIONS).skip_while(|(number, _)| *number <= from) {
        apply(&steps, number, step)?;
    }
    steps.commit()
}

fn apply(steps: &Transaction<'_>, number: u32, step: &str) -> rusqlite::Result<()> {
    steps.execute_batch(step)?;
    steps.pragma_update(None, "application_id", APPLICATION)?;
    steps.pragma_update(None, "user_version", number)
}
