//! The kernel log's messages, put together and joined to what was marked.
//!
//! A kill and its mark are one if thread id and name agree and they are within 5 s of each other; of several, the one with
//! the same size is meant. The size alone decides nothing: other threads of a victim may still map memory between its
//! mark and its message. Clocks decide nothing either, since printk has one of its own: a message's time is that of its
//! reading.

use std::collections::VecDeque;

use crate::{
    kmsg::{Decided, Invoked, Killed, Line},
    record::{KernelLog, Key, Mark, Task},
};

/// Within this, a kill and a mark may be one. ns.
const JOIN_NS: u64 = 5_000_000_000;
/// A kill without a mark for so long was not seen by the tracer. ns.
const UNSEEN_NS: u64 = 2_000_000_000;
/// How long kills are kept for runs that are open, ns: longer than these are.
const KEPT_NS: u64 = 65_000_000_000;
/// Kills that are kept, at the most.
const KILLS: usize = 4096;
/// Marks that are remembered, at the most: of one group, and some more.
const MARKS: usize = 20_000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// What stands before the next kill.
    report: Option<Report>,
    /// Whether the kills that come are of a group.
    group: bool,
    /// The latest last.
    kills: VecDeque<Kill>,
    marks: VecDeque<Marked>,
    /// Kills that it told, all of them.
    pub told: u64,
    /// Whether messages were overwritten before they could be read.
    pub overwritten: bool,
}

/// What stands before a kill.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Report {
    pub invoked: Option<Invoked>,
    pub decided: Option<Decided>,
}

/// A kill that the log tells.
#[derive(Clone, Debug)]
pub(super) struct Kill {
    /// Number of its message.
    pub seq: u64,
    /// When it was read, ns since boot.
    pub boot_ns: u64,
    pub offset_ns: i64,
    pub killed: Killed,
    /// Absent where the kernel left it out: it limits reports to 10 in 5 s.
    pub report: Option<Report>,
    /// Whether it is of a group that is killed as a whole, and not the one that was chosen.
    pub group: bool,
    /// Whether it has a mark.
    joined: bool,
}

#[derive(Debug)]
struct Marked {
    tid: Option<u32>,
    comm: Option<String>,
    boot_ns: u64,
}

impl Log {
    /// Takes a message in. Gives back a kill without a mark for which there is no room any more.
    pub fn take(&mut self, key: &Key, log: &KernelLog, offset_ns: i64) -> Option<Kill> {
        match Line::parse(&log.text)? {
            Line::Invoked(invoked) => {
                self.report = Some(Report { invoked: Some(invoked), decided: None });
                self.group = false;
            }
            Line::Decided(decided) => {
                self.report.get_or_insert_default().decided = Some(*decided);
                self.group = false;
            }
            Line::NothingKillable => self.report = None,
            Line::Group { .. } => self.group = true,
            Line::Killed(killed) => {
                self.told += 1;
                let own = |report: &Report| {
                    let decided = report.decided.as_ref().and_then(|decided| decided.pid);
                    decided.is_none_or(|pid| pid == killed.pid)
                };
                let mut kill = Kill {
                    seq: log.seq,
                    boot_ns: key.boot_ns,
                    offset_ns,
                    report: self.report.take().filter(own),
                    group: self.group,
                    killed,
                    joined: false,
                };
                kill.joined = self.marks.iter().any(|marked| kill.is_of(marked));
                self.kills.push_back(kill);
                return self.evict();
            }
            Line::Chosen { .. } | Line::AlreadyExiting { .. } | Line::Reaped { .. } => {}
        }
        None
    }

    fn evict(&mut self) -> Option<Kill> {
        (self.kills.len() > KILLS).then(|| self.kills.pop_front())?.filter(|kill| !kill.joined)
    }

    /// A task was marked, killed or not.
    pub fn marked(&mut self, key: &Key, mark: &Mark) {
        let marked = Marked { tid: mark.victim.tid, comm: mark.victim.comm.clone(), boot_ns: key.boot_ns };
        for kill in &mut self.kills {
            kill.joined |= kill.is_of(&marked);
        }
        let old = |marked: &Marked| marked.boot_ns.saturating_add(JOIN_NS) < key.boot_ns;
        while self.marks.len() >= MARKS || self.marks.front().is_some_and(old) {
            self.marks.pop_front();
        }
        self.marks.push_back(marked);
    }

    /// What the log tells of a victim that was marked at `boot_ns`.
    pub fn of(&self, victim: &Task, total_vm_kb: Option<u64>, boot_ns: u64) -> Option<&Kill> {
        let marked = Marked { tid: victim.tid, comm: victim.comm.clone(), boot_ns };
        let mut found = self.kills.iter().filter(|kill| kill.is_of(&marked));
        let first = found.next()?;
        let same = |kill: &&Kill| kill.killed.total_vm_kb.is_some() && kill.killed.total_vm_kb == total_vm_kb;
        Some(if same(&first) { first } else { found.find(same).unwrap_or(first) })
    }

    /// When [`Self::expire`] has something to do, ns since boot.
    pub fn deadline_ns(&self) -> Option<u64> {
        self.waiting().map(|kill| kill.boot_ns.saturating_add(UNSEEN_NS)).min()
    }

    fn waiting(&self) -> impl Iterator<Item = &Kill> {
        self.kills.iter().filter(|kill| !kill.joined)
    }

    /// Kills that have waited long enough for a mark.
    pub fn expire(&mut self, now_ns: u64) -> Vec<Kill> {
        let due = |kill: &Kill| !kill.joined && kill.boot_ns.saturating_add(UNSEEN_NS) <= now_ns;
        let unseen = self.kills.iter().filter(|kill| due(kill)).cloned().collect();
        self.kills.retain(|kill| !due(kill) && kill.boot_ns.saturating_add(KEPT_NS) > now_ns);
        unseen
    }
}

impl Kill {
    fn is_of(&self, marked: &Marked) -> bool {
        marked.tid == Some(self.killed.pid)
            && marked.comm.as_ref().is_none_or(|comm| *comm == self.killed.comm)
            && self.boot_ns.abs_diff(marked.boot_ns) <= JOIN_NS
    }
}
