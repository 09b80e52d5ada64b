//! What is too old, or too much, goes; the newest never does.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::{HistorySettings, entry::nanoseconds, error::Fault};

/// Rows that go at once: others wait meanwhile.
const STEP: u32 = 500;
/// Pages that are given back at once.
const PAGES: u32 = 256;
/// Of what is too much, so much more goes, that it is not done again at each incident: one in so many.
const SPARE: u64 = 16;

/// The file, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    /// All of it.
    pub file: u64,
    /// What of it is in use.
    pub used: u64,
}

impl Size {
    /// Of what is written and what is committed and not yet in the file.
    pub fn of(connection: &Connection) -> rusqlite::Result<Self> {
        let ask = |what: &str| connection.query_row(what, [], |row| row.get::<_, u64>(0));
        let (page, pages, free) =
            (ask("PRAGMA page_size")?, ask("PRAGMA page_count")?, ask("PRAGMA freelist_count")?);
        Ok(Self { file: page.saturating_mul(pages), used: page.saturating_mul(pages.saturating_sub(free)) })
    }
}

/// Throws away a step of what is to go. `ages`: whether the clock can be trusted in that. `true`: there is more.
pub(super) fn step(
    connection: &Connection,
    settings: &HistorySettings,
    now: Timestamp,
    ages: bool,
) -> Result<bool, Fault> {
    let age_ns = i64::try_from(settings.max_age.as_nanos()).unwrap_or(i64::MAX);
    let oldest_ns = nanoseconds(now).saturating_sub(age_ns);
    let mut gone = 0;
    if ages {
        gone = connection.execute(
            "DELETE FROM events WHERE id IN (
                 SELECT id FROM events WHERE at_ns < ?1 AND id IS NOT (SELECT id FROM events ORDER BY at_ns DESC, id DESC LIMIT 1)
                 ORDER BY at_ns, id LIMIT ?2)",
            params![oldest_ns, STEP],
        )?;
        connection.execute(
            "DELETE FROM boots WHERE last_seen_ns < ?1 AND last_seen_ns < (SELECT max(last_seen_ns) FROM boots)",
            [oldest_ns],
        )?;
    }
    let size = Size::of(connection)?;
    let mut more = gone > 0;
    if size.used > settings.max_bytes {
        // As many as are likely to do, by what each takes.
        let events: u64 = connection.query_row("SELECT count(*) FROM events", [], |row| row.get(0))?;
        let much = size.used.saturating_sub(settings.max_bytes - settings.max_bytes / SPARE);
        let each = (size.used / events.max(1)).max(1);
        let count = (much / each).clamp(1, u64::from(STEP)).min(events.saturating_sub(1));
        let gone = connection.execute(
            "DELETE FROM events WHERE id IN (SELECT id FROM events ORDER BY at_ns, id LIMIT ?1)",
            [i64::try_from(count).unwrap_or(0)],
        )?;
        more |= gone > 0;
    }
    if size.file > size.used || more {
        more |= shrink(connection)?;
    }
    Ok(more)
}

/// Gives pages that nothing uses back to the file system. `true`: there are more.
fn shrink(connection: &Connection) -> rusqlite::Result<bool> {
    let free = |connection: &Connection| {
        connection.query_row("PRAGMA freelist_count", [], |row| row.get::<_, u64>(0))
    };
    let before = free(connection)?;
    if before == 0 {
        return Ok(false);
    }
    connection.execute_batch(&format!("PRAGMA incremental_vacuum({PAGES})"))?;
    // In the file it shows once the log is in it; whoever reads just now may delay that.
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    let after = free(connection)?;
    Ok(after > 0 && after < before)
}

/// When it is time to look.
#[derive(Debug)]
pub(super) struct Schedule {
    /// When it was looked last, and when the clocks were compared last, ns since boot.
    looked_ns: u64,
    /// What was written since, bytes.
    grown: u64,
    /// By how much the wall clock is ahead of the time since boot, ns.
    offset_ns: i64,
    /// Since when it has been going evenly, ns since boot.
    even_ns: u64,
    more: bool,
}

/// How often it is looked.
const HOURLY: Duration = Duration::from_hours(1);
/// A wall clock that jumps by so much was wrong, or is: a machine may start in 1970 or 2106. ns
const JUMP_NS: u64 = 600_000_000_000;
/// How long it has to go evenly before anything is too old by it, ns. Machines ask for the time as soon as they have a network.
const EVEN_NS: u64 = 3_600_000_000_000;

impl Schedule {
    /// Begins.
    pub fn new(boot_ns: u64, offset_ns: i64) -> Self {
        Self { looked_ns: boot_ns, grown: 0, offset_ns, even_ns: boot_ns, more: true }
    }

    /// So much was written.
    pub fn wrote(&mut self, bytes: usize) {
        self.grown = self.grown.saturating_add(bytes as u64);
    }

    /// Whether so much was written that it does not wait.
    pub fn is_overgrown(&self, most: u64) -> bool {
        self.grown > most / SPARE
    }

    /// In how long it is time. `most`: what the file may have.
    pub fn due_in(&self, boot_ns: u64, most: u64) -> Duration {
        if self.more || self.is_overgrown(most) {
            return Duration::ZERO;
        }
        HOURLY.saturating_sub(Duration::from_nanos(boot_ns.saturating_sub(self.looked_ns)))
    }

    /// It is done for now, unless there is `more`.
    pub fn looked(&mut self, boot_ns: u64, more: bool) {
        (self.looked_ns, self.grown, self.more) = (boot_ns, 0, more);
    }

    /// Whether the wall clock has been going evenly for long enough.
    pub fn trusts(&mut self, boot_ns: u64, offset_ns: i64) -> bool {
        if offset_ns.abs_diff(self.offset_ns) > JUMP_NS {
            self.even_ns = boot_ns;
        }
        self.offset_ns = offset_ns;
        boot_ns.saturating_sub(self.even_ns) >= EVEN_NS
    }
}
