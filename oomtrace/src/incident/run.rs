//! A run of the OOM killer, as its records come in.

use oomtrace_ebpf::{MAX_CANDIDATES, MAX_LEVELS, MAX_ZONES};

use super::{
    chain::Chain,
    doubt::{self, Doubt},
    tally::Tally,
};
use crate::{
    record::{self, Candidate, Close, Decision, Key, Level, Mark, Record, Struck, Task, Whose},
    session::Session,
};

/// After this long without another mark, a group is complete where no hook shows it. ns.
pub(super) const GROUP_NS: u64 = 50_000_000;
/// After this long, a run whose end was not seen is given up. ns. The kernel writes its report in between, which
/// takes seconds on a slow console.
const GIVE_UP_NS: u64 = 60_000_000_000;
/// Cgroups that are held back, at the most: a victim's and its trigger's.
const HELD_LIMIT: usize = 2 * MAX_LEVELS as usize;
/// Victims of a run, at the most.
pub(super) const VICTIM_LIMIT: usize = 16_384;

/// How far a run has waited for the kernel log.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Waiting {
    /// Whether the log was read to its end when nothing more could come.
    pub looked: bool,
    /// Whether the run takes no more victims though it is of a group: it came to its end.
    pub sealed: bool,
    /// Whether it was given more time, since the kernel was in the middle of its report.
    pub extended: bool,
}

/// What came of one run of the OOM killer so far.
pub(super) struct Run {
    pub tid: u32,
    pub opened_ns: u64,
    pub decision: Option<Decision>,
    /// Whether the decision was held against what came of it.
    pub examined: bool,
    /// Why it is not told.
    pub doubt: Option<Doubt>,
    pub chains: Vec<Chain>,
    pub marks: Vec<(Key, Mark)>,
    /// Cgroups that came before a mark which is this run's or another's.
    pub held: Vec<(Key, Record)>,
    pub candidates: Vec<Candidate>,
    /// Who was killed with its victims.
    pub struck: Vec<Struck>,
    pub zones: Vec<record::Zone>,
    pub nodes: Vec<record::Node>,
    /// The nodes that its request was confined to.
    pub allowed: Option<record::Allowed>,
    /// Of a fork that failed: the cgroups of the pids controller.
    pub pids: Chain<record::PidsLevel>,
    /// How many namespaces there are and may be.
    pub namespaces: Option<record::Namespaces>,
    pub close: Option<Close>,
    /// When it ended, ns since boot.
    pub closed_ns: Option<u64>,
    /// Records that came in.
    pub records: u32,
    /// Records that were made, as far as the last one tells.
    pub made: u32,
    pub waiting: Waiting,
    pub offset_ns: i64,
    pub announced: bool,
    pub deadline_ns: u64,
}

impl Run {
    pub fn new(key: &Key) -> Self {
        Self {
            tid: key.trigger_tid,
            opened_ns: key.opened_ns,
            decision: None,
            examined: false,
            doubt: None,
            chains: Vec::new(),
            marks: Vec::new(),
            held: Vec::new(),
            candidates: Vec::new(),
            struck: Vec::new(),
            zones: Vec::new(),
            nodes: Vec::new(),
            allowed: None,
            pids: Chain::EMPTY,
            namespaces: None,
            close: None,
            closed_ns: None,
            records: 0,
            made: 0,
            waiting: Waiting::default(),
            offset_ns: 0,
            announced: false,
            deadline_ns: key.boot_ns.saturating_add(GIVE_UP_NS),
        }
    }

    pub fn take(&mut self, key: &Key, record: Record) {
        self.records = self.records.saturating_add(1);
        // Where each mark has a beginning of its own, their numbers begin anew.
        if key.opened_ns == self.opened_ns {
            self.made = self.made.max(key.index.saturating_add(1));
        } else {
            self.made = self.made.saturating_add(1);
        }
        match record {
            Record::Decision(_, decision) => self.decision = Some(*decision),
            Record::Level(_, level) => self.level(*level),
            Record::Mark(key, mark) => {
                if self.marks.len() < VICTIM_LIMIT {
                    self.marks.push((key, *mark));
                } else {
                    // One too many counts among the lost.
                    self.records = self.records.saturating_sub(1);
                }
                if self.decision.is_none() {
                    self.deadline_ns = key.boot_ns.saturating_add(GROUP_NS);
                }
            }
            Record::Close(key, close) => {
                self.close = Some(close);
                self.closed_ns = Some(key.boot_ns);
            }
            // They belong to no run.
            Record::Relief(..)
            | Record::Cmdline(..)
            | Record::Environment(..)
            | Record::Struck(..)
            | Record::Kin(..)
            | Record::AllocFailure(..)
            | Record::UserKill(..)
            | Record::ForkFailure(..)
            | Record::ForkHost(..)
            | Record::PidsRefused(..)
            | Record::Settings(..)
            | Record::KernelLog(..) => {}
            Record::Candidate(_, candidate) => {
                if self.candidates.len() < MAX_CANDIDATES {
                    self.candidates.push(*candidate);
                } else {
                    // One too many counts among the lost.
                    self.records = self.records.saturating_sub(1);
                }
            }
            Record::Zone(_, zone) if self.zones.len() < MAX_ZONES => self.zones.push(*zone),
            Record::Node(_, node) if self.nodes.len() < MAX_ZONES => self.nodes.push(*node),
            Record::PidsLevel(_, level) => self.pids.push(*level),
            Record::Namespaces(_, namespaces) => self.namespaces = Some(*namespaces),
            Record::Allowed(_, allowed) => self.allowed = Some(allowed),
            Record::Zone(..) | Record::Node(..) => self.records = self.records.saturating_sub(1),
        }
    }

    fn level(&mut self, level: Level) {
        let at = self.chains.iter().position(|chain| {
            chain
                .levels()
                .first()
                .is_some_and(|first| first.leaf_id == level.leaf_id && first.whose == level.whose)
        });
        match at.and_then(|at| self.chains.get_mut(at)) {
            // The same chain once more, for another victim of a group: the first tells how it was at the decision.
            Some(chain) if chain.whole() => {}
            Some(chain) if level.link.depth == 0 => *chain = Chain::default().with(level),
            Some(chain) => chain.push(level),
            None => self.chains.push(Chain::default().with(level)),
        }
    }

    /// Leaves out of the decision what cannot be true. To be called once what came of it is here.
    pub fn examine(&mut self, session: &Session) {
        let Some(decision) = self.decision.as_ref().filter(|_| !self.examined) else { return };
        let mark = self.marks.first().map(|(_, mark)| mark);
        let victim = self.limits();
        let examined = doubt::examine(decision, mark, victim, session);
        self.decision = Some(examined.decision);
        self.doubt = examined.doubt;
        self.examined = true;
    }

    /// A victim that is known by the decision alone: the record of its mark was lost.
    pub fn unmarked(&self) -> Option<&Task> {
        let killed = self.marks.is_empty() && self.close.is_none_or(|close| close.kills > 0);
        self.decision.as_ref().filter(|_| killed).map(|decision| &decision.chosen)
    }

    /// When it happened, ns since boot: its first mark, if it has one.
    pub fn boot_ns(&self) -> u64 {
        self.marks.first().map_or(self.opened_ns, |(key, _)| key.boot_ns)
    }

    /// Its kills, as the kernel counts them.
    pub fn tally(&self) -> Tally {
        let killed = self.marks.iter().filter(|(_, mark)| mark.killed).count();
        let chain = self.victim().is_none_or(|victim| self.chain(&victim, Whose::Victim).may_kill_groups());
        Tally::of(killed, chain, self.close.map(|close| close.kills))
    }

    /// Whether nothing more can come.
    pub fn complete(&self) -> bool {
        self.close.is_some() || (self.decision.is_none() && !self.marks.is_empty() && !self.is_group())
    }

    /// Whether a record with a beginning of its own may be about another victim of this run.
    pub fn may_grow(&self, key: &Key) -> bool {
        self.decision.is_none() && key.opened_ns != self.opened_ns && self.is_group()
    }

    /// Holds a cgroup back until its mark comes. Those of a mark that never came are dropped.
    pub fn hold(&mut self, key: Key, level: Record) {
        self.held.retain(|(held, _)| held.opened_ns == key.opened_ns);
        if self.held.len() < HELD_LIMIT {
            self.held.push((key, level));
        }
    }

    pub fn is_group(&self) -> bool {
        !self.waiting.sealed
            && self.marks.first().is_some_and(|(_, mark)| {
                mark.killed && self.chain(&mark.victim, Whose::Victim).kills_groups()
            })
    }

    pub fn trigger(&self) -> Option<&Task> {
        self.decision
            .as_ref()
            .map(|decision| &decision.trigger)
            .or_else(|| Some(&self.marks.first()?.1.trigger))
    }

    pub fn victim(&self) -> Option<Task> {
        self.marks
            .first()
            .map(|(_, mark)| mark.victim.clone())
            .or_else(|| Some(self.decision.as_ref()?.chosen.clone()))
    }

    /// The cgroups from the victim's up to the root; where nobody could be killed, from the one at its limit.
    pub fn limits(&self) -> &Chain {
        static NONE: Chain = Chain::EMPTY;
        match self.victim().filter(|victim| victim.pid.is_some() || victim.tid.is_some()) {
            Some(victim) => self.chain(&victim, Whose::Victim),
            None => self
                .chains
                .iter()
                .find(|chain| chain.levels().first().is_some_and(|level| level.whose == Whose::Victim))
                .unwrap_or(&NONE),
        }
    }

    /// Whether that process, by its id and beginning, is one of its victims.
    pub fn has_victim(&self, (pid, start_boot_ns): (u32, Option<u64>)) -> bool {
        self.marks
            .iter()
            .any(|(_, mark)| mark.victim.pid == Some(pid) && mark.victim.start_boot_ns == start_boot_ns)
    }

    /// Takes in who was killed with a victim. A process may get the signal more than once.
    pub fn strike(&mut self, struck: Struck) {
        let known = self.struck.iter().any(|known| known.task.pid == struck.task.pid)
            || self.marks.iter().any(|(_, mark)| mark.victim.pid == struck.task.pid);
        if !known && self.struck.len() < VICTIM_LIMIT {
            self.struck.push(struck);
        }
    }

    /// The chain of a task's cgroups: its own if it was sent, else the one of another task in the same cgroup.
    pub fn chain(&self, task: &Task, whose: Whose) -> &Chain {
        static NONE: Chain = Chain::EMPTY;
        let of_task = |chain: &&Chain| task.memcg.is_some() && chain.leaf() == task.memcg;
        let own = |chain: &&Chain| {
            of_task(chain) && chain.levels().first().is_some_and(|level| level.whose == whose)
        };
        self.chains.iter().find(own).or_else(|| self.chains.iter().find(of_task)).unwrap_or(&NONE)
    }
}
