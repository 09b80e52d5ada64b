//! What tracing tells while a command runs, counted and bounded: who was killed, what failed, what it comes to.

mod failures;
mod findings;
mod kills;
pub mod refused;
#[cfg(test)]
mod tests;
mod times;
mod words;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use self::{failures::Failures, findings::Findings, kills::Kills, times::Times};
use super::{
    course::Marks,
    report::{MarkKind, Run, Whose},
};
use crate::{
    incident::{Common, Event, Incident},
    output::{Closed, Message, Sink},
};

/// Rows of a table by name, at the most; what has no row is in one of the rest.
const NAMES: usize = 100;

/// See the module. Clones share what they gather.
#[derive(Clone, Default)]
pub struct Gather(Arc<Mutex<Gathered>>);

/// What was gathered.
#[derive(Default)]
struct Gathered {
    began: Began,
    house: House,
    kills: Kills,
    failures: Failures,
    findings: Findings,
    stall: Times,
    decision: Option<Times>,
    lost: BTreeMap<String, u64>,
    marks: Marks,
}

/// When the command began.
#[derive(Clone, Copy, Debug, Default)]
struct Began {
    /// Since boot, ns; 0: it has not begun, and what happens is none of its.
    boot_ns: u64,
}

impl Began {
    /// How long after that something happened, ns. `None`: before it.
    fn after(self, common: &Common) -> Option<u64> {
        // What a log alone tells may lack its time: then it is told as it is read.
        let boot_ns = common.boot_ns.unwrap_or_else(crate::host::boot_ns);
        boot_ns.checked_sub(self.boot_ns).filter(|_| self.boot_ns > 0)
    }
}

impl Gather {
    /// What gathers, as an output.
    #[must_use]
    pub fn sink(&self) -> Box<dyn Sink> {
        Box::new(self.clone())
    }

    /// The command begins now.
    pub fn begin(&self, boot_ns: u64) {
        self.lock().began = Began { boot_ns };
    }

    /// The command has a cgroup of its own, by these paths: whoever is in it is its own.
    pub fn own_cgroup<'p>(&self, paths: impl Iterator<Item = &'p str>) {
        self.lock().house = House(paths.map(str::to_owned).collect());
    }

    /// What a line for a terminal needs.
    #[must_use]
    pub fn now(&self) -> Now {
        let gathered = self.lock();
        let counts = gathered.kills.counts();
        Now {
            own_kills: counts.own_kills,
            bystander_kills: counts.bystander_kills,
            unknown_kills: counts
                .kills
                .saturating_sub(counts.own_kills.saturating_add(counts.bystander_kills)),
            fork_failures: gathered.failures.forks(),
        }
    }

    /// The command has this process id.
    pub fn command(&self, pid: u32) {
        self.lock().kills.command(pid);
    }

    /// Whether the OOM killer killed the command itself.
    #[must_use]
    pub fn command_killed(&self) -> bool {
        self.lock().kills.command_killed()
    }

    /// Puts all that was gathered into a run's report.
    pub fn tell(&self, run: &mut Run) {
        let gathered = std::mem::take(&mut *self.lock());
        run.stall = gathered.stall.latency();
        run.decision = gathered.decision.map(|times| times.latency());
        gathered.kills.tell(run);
        gathered.failures.tell(run);
        run.findings = gathered.findings.tell();
        run.course.marks = gathered.marks.told();
        for (place, count) in gathered.lost {
            run.cost.lost.insert(place, count);
        }
    }

    /// Nothing is left half done under the lock: who panicked there harmed nobody.
    fn lock(&self) -> MutexGuard<'_, Gathered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What has happened until now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Of the command's own.
    pub own_kills: u64,
    /// Of bystanders.
    pub bystander_kills: u64,
    /// Of whom it is not known whose they were.
    pub unknown_kills: u64,
    /// Forks that failed, whoever forked.
    pub fork_failures: u64,
}

impl Sink for Gather {
    fn wants(&self) -> fn(&Message) -> bool {
        |message| !matches!(message, Message::Status(_) | Message::Incident(Event::Opened(_)))
    }

    fn take(&mut self, message: &Arc<Message>) -> Result<(), Closed> {
        self.lock().take(message);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Closed> {
        Ok(())
    }
}

impl Gathered {
    fn take(&mut self, message: &Message) {
        match message {
            Message::Incident(event) => self.event(event),
            Message::Loss(loss) => {
                let sum = loss.counts.values().fold(0_u64, |sum, count| sum.saturating_add(*count));
                let there = self.lost.entry(loss.place.to_owned()).or_default();
                *there = there.saturating_add(sum);
            }
            Message::Status(_) => {}
        }
    }

    fn event(&mut self, event: &Event) {
        // What happened before the command began is not told with it.
        let Some(at_ns) = self.began.after(event.common()) else { return };
        match event {
            Event::Opened(_) => {}
            Event::Closed(incident) => self.incident(at_ns, incident),
            Event::Relieved(relief) => {
                self.kills.relieved(at_ns, relief, &self.house, &mut self.marks);
                self.findings.add(&relief.findings);
            }
            Event::UserKill(kill) => {
                self.kills.by_daemon(at_ns, kill, &self.house, &mut self.marks);
                self.findings.add(&kill.findings);
            }
            Event::ForkFailure(failure) => {
                self.failures.fork(at_ns, failure, &self.house);
                self.findings.add(&failure.findings);
                let comm = failure.task.comm.as_deref();
                self.marks.push(at_ns, MarkKind::ForkFailure, failure.count, comm);
            }
            Event::AllocFailure(failure) => {
                self.failures.allocation(failure, &self.house);
                let comm = failure.task.comm.as_deref();
                self.marks.push(at_ns, MarkKind::AllocFailure, failure.count, comm);
            }
        }
    }

    fn incident(&mut self, at_ns: u64, incident: &Incident) {
        if let Some(stall) = incident.stall {
            self.stall.add(stall.duration_ns);
        }
        if let Some(decision_ns) = incident.decision_ns {
            self.decision.get_or_insert_default().add(decision_ns);
        }
        self.kills.incident(at_ns, incident, &self.house, &mut self.marks);
        self.findings.add(&incident.findings);
    }
}

/// The paths of the command's own cgroup, if it has one: one a hierarchy.
#[derive(Clone, Debug, Default)]
struct House(Vec<String>);

impl House {
    /// Of the command's own or not: as the kernel half saw it, or else by the cgroup that it was in.
    fn whose(&self, of_run: Option<bool>, cgroup: Option<&str>) -> Whose {
        match of_run {
            Some(true) => Whose::Own,
            Some(false) => Whose::Bystander,
            None if self.has(cgroup) => Whose::Own,
            None => Whose::Unknown,
        }
    }

    /// Whether that cgroup is in it.
    fn has(&self, cgroup: Option<&str>) -> bool {
        let below = |own: &String| cgroup.and_then(|cgroup| cgroup.strip_prefix(&**own));
        self.0.iter().filter_map(below).any(|below| below.is_empty() || below.starts_with('/'))
    }
}
