//! The agent's own history: what it told, in an SQLite database.
//!
//! What was committed survives the end of the process and of the machine. While nothing can be written (a full disk, a read-only file
//! system), what happens is held in memory, up to a bound, and written once it can be.

mod database;
mod entry;
mod error;
mod found;
mod held;
mod insert;
mod query;
mod reader;
mod retention;
mod schema;
#[cfg(test)]
mod tests;
mod told;
mod witness;

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use self::{
    database::{Database, lock, put_aside},
    entry::Entry,
    error::Fault,
    held::Held,
    retention::Schedule,
};
pub use self::{
    error::HistoryError,
    found::{Place, Row, Top, Totals},
    query::Query,
    reader::Reader,
};
pub(crate) use self::{found::By, told::Told};
use super::{Closed, Health, Message, Sink, retry::Retry};
use crate::{
    host::{self, Host},
    incident::Event,
    say::say,
};

/// What is written at once, at the most, but for what one message has more, bytes.
const TOGETHER_BYTES: usize = 256 * 1024;
/// How long after a failure it is tried again, at first, and at the most.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_mins(1);
/// How long a file that somebody took away is waited for before a new one is begun: its file system may be mounted elsewhere.
const GONE: Duration = Duration::from_mins(1);
/// Between two steps of retention.
const BREATH: Duration = Duration::from_millis(20);

/// How the history is kept.
#[derive(Clone, Debug)]
pub struct HistorySettings {
    /// The file.
    pub path: PathBuf,
    /// What is older goes.
    pub max_age: Duration,
    /// If the file is larger, the oldest goes.
    pub max_bytes: u64,
}

/// See the module.
#[derive(Debug)]
pub struct History {
    settings: HistorySettings,
    health: Arc<Health>,
    host: Option<Host>,
    /// When this host was watched last, before this time.
    watched_ns: Option<i64>,
    /// Whether the file was ever open.
    opened: bool,
    /// Other agents are kept out as long as it is there.
    lock: Option<File>,
    database: Option<Database>,
    held: Held,
    schedule: Schedule,
    /// Whether the whole file has been read since it was opened.
    checked: bool,
    /// When it is tried again, while the file is not open.
    retry: Retry,
    /// Since when the file has been gone, and how long it is waited for.
    gone: Option<Instant>,
    awaited: Duration,
}

impl History {
    /// Opens a history, or begins one. What may pass by itself is no error: then it is tried again.
    ///
    /// # Errors
    /// The file is another agent's, of a later version, or no history.
    pub fn open(settings: HistorySettings, health: Arc<Health>) -> Result<Self, HistoryError> {
        let mut history = Self {
            settings,
            health,
            host: Host::read(Path::new("/")).ok(),
            watched_ns: None,
            opened: false,
            lock: None,
            database: None,
            held: Held::default(),
            schedule: Schedule::new(host::boot_ns(), host::wall_clock_offset_ns()),
            checked: false,
            retry: Retry::new(FIRST_RETRY, LAST_RETRY),
            gone: None,
            awaited: GONE,
        };
        match history.try_write() {
            Ok(()) => history.works(),
            Err(Fault::Refused(error)) => return Err(error),
            Err(_) => history.write(),
        }
        Ok(history)
    }

    /// When this host was watched last before this history was opened, as far as that was known then: what came later may be found in
    /// the kernel log.
    #[must_use]
    pub fn watched_until(&self) -> Option<Timestamp> {
        Timestamp::from_nanosecond(self.watched_ns?.into()).ok()
    }

    /// Opens the file if it is not, and writes what is held.
    fn try_write(&mut self) -> Result<(), Fault> {
        let now = Timestamp::now();
        let path = &self.settings.path;
        if let Some(database) = &self.database {
            database.is_there()?;
        } else if self.gone.is_some_and(|since| since.elapsed() < self.awaited) && !path.exists() {
            return Err(Fault::Gone);
        }
        if self.lock.is_none() {
            self.lock = Some(lock(path)?);
        }
        let database = if let Some(database) = &mut self.database {
            database
        } else {
            self.checked = false;
            let database = self.database.insert(Database::open(path)?);
            // Only before anything of this time is in it.
            if !std::mem::replace(&mut self.opened, true)
                && let Some(host) = &self.host
            {
                self.watched_ns = insert::last_seen_ns(&database.connection, &host.name)?;
            }
            database
        };
        let written = self.held.len();
        insert::write(&mut database.connection, self.held.entries(), self.host.as_ref(), now)?;
        self.schedule.wrote(self.held.bytes());
        self.held.clear();
        self.health.wrote(written);
        Ok(())
    }

    /// The same; what is damaged is put aside, and a new one begun, at once.
    fn write(&mut self) {
        let mut written = self.try_write();
        if let Err(fault) = &written
            && fault.is_damage()
        {
            written = self.begin_anew(&fault.to_string()).and_then(|()| self.try_write());
        }
        match written {
            Ok(()) => self.works(),
            Err(fault) => self.fails(&fault),
        }
    }

    fn begin_anew(&mut self, why: &str) -> Result<(), Fault> {
        // SQLite must not have it open while it gets another name.
        self.database = None;
        let aside = put_aside(&self.settings.path, Timestamp::now())?;
        say!(
            "{} is damaged ({why}): it is kept as {}, and a new history is begun.",
            self.settings.path.display(),
            aside.display()
        );
        Ok(())
    }

    fn works(&mut self) {
        self.retry.succeeded();
        self.gone = None;
        self.health.works();
    }

    fn fails(&mut self, fault: &Fault) {
        self.health.fails(
            format_args!("{}: {fault}", self.settings.path.display()),
            "so what happens is held in memory (1 MiB at the most) and written as soon as that is possible",
        );
        // Whatever is wrong with it: what was committed is found again in the file.
        self.database = None;
        if matches!(fault, Fault::Gone) {
            // Where it was, and the lock beside it, there may be another folder by now.
            self.lock = None;
            self.gone.get_or_insert_with(Instant::now);
        }
        self.retry.failed(Instant::now(), None);
    }

    /// Throws away a step of what is to go. `check`: the whole file is read once, too.
    fn keep_house(&mut self, check: bool) {
        let kept = match self.try_keep_house(check) {
            Err(fault) if fault.is_damage() => self.begin_anew(&fault.to_string()),
            done => done,
        };
        if let Err(fault) = kept {
            self.fails(&fault);
        } else if self.database.is_none() {
            self.write();
        }
    }

    fn try_keep_house(&mut self, check: bool) -> Result<(), Fault> {
        let Some(database) = &self.database else { return Ok(()) };
        if check && !self.checked {
            self.checked = true;
            if let Some(why) = database.check()? {
                return self.begin_anew(&why);
            }
        }
        let (boot_ns, offset_ns) = (host::boot_ns(), host::wall_clock_offset_ns());
        let trusts = self.schedule.trusts(boot_ns, offset_ns);
        let now = Timestamp::now();
        database.is_there()?;
        let more = retention::step(&database.connection, &self.settings, now, trusts)?;
        if !more {
            insert::seen(&database.connection, self.host.as_ref(), now)?;
        }
        self.schedule.looked(boot_ns, more);
        Ok(())
    }

    fn due_in(&self) -> Duration {
        self.schedule.due_in(host::boot_ns(), self.settings.max_bytes)
    }
}

impl Sink for History {
    fn wants(&self) -> fn(&Message) -> bool {
        |message| !matches!(message, Message::Incident(Event::Opened(_)))
    }

    fn take(&mut self, message: &Arc<Message>) -> Result<(), Closed> {
        if let Some(entry) = Entry::of(message, Timestamp::now()) {
            if self.database.is_some() && self.held.bytes() > TOGETHER_BYTES {
                self.write();
            }
            let gone = self.held.push(entry);
            if gone > 0 {
                self.health.lost(gone);
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Closed> {
        if !self.held.is_empty() && self.retry.is_due(Instant::now()) {
            self.write();
        }
        // Where there is never a moment's rest, the file must not grow without end.
        if self.database.is_some() && self.schedule.is_overgrown(self.settings.max_bytes) {
            self.keep_house(false);
        }
        Ok(())
    }

    fn rest(&mut self) -> Option<Duration> {
        if self.database.is_none() && self.retry.is_due(Instant::now()) {
            self.write();
        }
        if self.database.is_some() && self.due_in().is_zero() {
            self.keep_house(true);
        }
        let wait = if self.database.is_some() { self.due_in() } else { self.retry.wait(Instant::now()) };
        Some(wait.max(BREATH))
    }

    fn end(&mut self) {
        self.write();
        self.health.lost(self.held.len());
    }
}
