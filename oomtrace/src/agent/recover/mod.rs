//! Incidents while no agent was watching: the kernel log has them, of this boot in /dev/kmsg, of earlier ones in the journal, and of one
//! that ended in a panic in pstore. Each is told once: what the history knows already is not told again.
//!
//! It runs on a thread of its own, beside tracing and behind it in the processor's time.

mod dumps;
mod journal;
mod kernel;
#[cfg(test)]
mod tests;

use std::{
    collections::HashSet,
    fs::File,
    path::{Path, PathBuf},
};

use jiff::{SignedDuration, Timestamp};

use self::{dumps::Dump, journal::Journal};

use crate::{
    explain::Explainer,
    host::{Host, awake_ns, boot_ns},
    incident::Event,
    output::{
        Message,
        history::{Reader, Told},
    },
    session::Session,
};

/// How far back it is looked if nothing is known of an earlier agent.
const FIRST_LOOK: SignedDuration = SignedDuration::from_hours(7 * 24);
/// How much earlier than that the host was watched last: clocks are set, and logs written late.
const MARGIN: SignedDuration = SignedDuration::from_hours(1);
/// Incidents whose reliefs are told, at the most.
const FOLLOWED: usize = 4096;

/// Where kernel logs are.
#[derive(Clone, Debug)]
pub struct Places {
    /// This boot's (`/dev/kmsg`).
    pub kmsg: PathBuf,
    /// Folders of what firmware kept of a panic: pstore's own, and where systemd moves that.
    pub dumps: Vec<PathBuf>,
    /// Folders of journals: where none has anything, there is none.
    pub journals: Vec<PathBuf>,
    /// The program that reads them: the first that is there.
    pub journalctl: Vec<PathBuf>,
}

impl Places {
    /// Below `root` (`/`).
    #[must_use]
    pub fn below(root: &Path) -> Self {
        let all = |paths: &[&str]| paths.iter().map(|path| root.join(path)).collect();
        Self {
            kmsg: root.join("dev/kmsg"),
            dumps: all(&["sys/fs/pstore", "var/lib/systemd/pstore"]),
            journals: all(&["var/log/journal", "run/log/journal"]),
            journalctl: all(&["usr/bin/journalctl", "bin/journalctl"]),
        }
    }
}

/// Kernel logs that have been opened. That is done while it is allowed: an agent that has given up its privileges can neither open
/// them nor start a program, and goes on reading what is open.
pub struct Logs {
    since: Timestamp,
    journal: Option<Result<Journal, String>>,
    kmsg: Result<File, String>,
    dumps: Vec<Dump>,
    /// What could not be opened, in sentences without their ends.
    unread: Vec<String>,
}

impl Logs {
    /// Opens what there is. `watched_until`: until when the host was watched before
    /// ([`History::watched_until`](crate::output::history::History::watched_until)).
    #[must_use]
    pub fn open(places: &Places, watched_until: Option<Timestamp>) -> Self {
        let now = Timestamp::now();
        // A clock that was ahead says nothing.
        let since =
            watched_until.filter(|since| *since <= now).map_or(now - FIRST_LOOK, |since| since - MARGIN);
        let mut unread = Vec::new();
        Self {
            since,
            journal: journal::begin(places, since),
            kmsg: kernel::open(&places.kmsg),
            dumps: dumps::open(&places.dumps, &mut unread),
            unread,
        }
    }
}

/// The time that nobody watched.
#[derive(Clone, Debug)]
pub struct Gap {
    /// This machine in this boot.
    pub host: Host,
    /// From when on tracing itself tells all, ns since boot.
    pub armed_boot_ns: u64,
}

impl Gap {
    /// Of a log of that time, which says itself of which boot it is.
    fn session(&self) -> Session {
        Session::of_logs(Host { boot_id: None, ..self.host.clone() })
    }
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Incidents that were told.
    pub incidents: u64,
    /// Other lines: failed forks and allocations, reliefs.
    pub others: u64,
    /// What the history knew already.
    pub known: u64,
    /// What could not be read, in sentences without their ends.
    pub unread: Vec<String>,
}

/// Reads the logs, and hands over what the history does not know, each source in order, until `to` has enough (`false`).
pub fn recover(logs: Logs, gap: &Gap, history: &Reader, to: &mut dyn FnMut(Message) -> bool) -> Recovered {
    step_back();
    let Logs { since, journal, kmsg, dumps, unread } = logs;
    let mut recovery = Recovery {
        gap,
        since,
        history,
        to,
        told: Told::default(),
        followed: HashSet::new(),
        explainer: Explainer::default(),
        recovered: Recovered { unread, ..Recovered::default() },
        over: false,
    };
    // What has a boot and a time is told before what may have none of these.
    if let Some(journal) = journal {
        journal::read(journal, &mut recovery);
    }
    kernel::read(kmsg, &mut recovery);
    dumps::read(dumps, &mut recovery);
    recovery.recovered
}

/// Lets everything else go first. Who may not do even that goes on as before.
fn step_back() {
    // SAFETY: setpriority() takes no pointer. On Linux 0 is the calling thread.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 10) };
}

/// From events to those that are told.
struct Recovery<'a> {
    gap: &'a Gap,
    since: Timestamp,
    history: &'a Reader,
    to: &'a mut dyn FnMut(Message) -> bool,
    /// What may not be in the history yet, though it was told.
    told: Told,
    /// Ids of incidents that were told.
    followed: HashSet<String>,
    explainer: Explainer,
    recovered: Recovered,
    /// Nobody takes any more.
    over: bool,
}

impl Recovery<'_> {
    fn events(&mut self, events: Vec<Event>) {
        for event in events {
            self.event(event);
        }
    }

    fn event(&mut self, mut event: Event) {
        if self.over || !self.is_of_gap(&event) {
            return;
        }
        if let Event::Relieved(relief) = &event
            && !self.followed.contains(&relief.id)
        {
            return;
        }
        self.explainer.complete(&mut event, None);
        let incident = event.closed().map(|incident| incident.id.clone());
        let message = Message::Incident(event);
        match self.history.knows(&message) {
            Ok(false) if self.told.is_new(&message) => {}
            Ok(_) => {
                self.recovered.known += 1;
                return;
            }
            Err(error) => {
                // To tell it twice is better than not at all: whoever keeps it looks once more.
                self.unread(error.to_string());
            }
        }
        if let Some(id) = incident {
            self.recovered.incidents += 1;
            if self.followed.len() < FOLLOWED {
                self.followed.insert(id);
            }
        } else {
            self.recovered.others += 1;
        }
        self.over = !(self.to)(message);
    }

    /// Whether something may have happened while nobody watched.
    fn is_of_gap(&self, event: &Event) -> bool {
        let common = event.common();
        if common.time.is_some_and(|time| time.0 < self.since) {
            return false;
        }
        let this_boot = common.boot_id.is_some() && common.boot_id == self.gap.host.boot_id;
        !(this_boot && common.boot_ns.is_some_and(|at_ns| at_ns > self.live_ns()))
    }

    /// From when on tracing tells all, by printk's clock, ns: at the earliest, since nothing corrects that clock.
    fn live_ns(&self) -> u64 {
        const SLACK_NS: u64 = 5_000_000_000;
        let drift_ns = boot_ns() / 2000;
        self.gap
            .armed_boot_ns
            .saturating_sub(suspended_ns())
            .saturating_add(SLACK_NS)
            .saturating_add(drift_ns)
    }

    fn unread(&mut self, why: String) {
        if !self.recovered.unread.contains(&why) {
            self.recovered.unread.push(why);
        }
    }
}

/// How long the machine slept since it started, ns: printk's clock stood still meanwhile.
fn suspended_ns() -> u64 {
    boot_ns().saturating_sub(awake_ns())
}
