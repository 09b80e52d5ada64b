//! Records to incidents.
//!
//! A run of the OOM killer is a decision (where a hook shows it), the cgroups it concerns, a mark for each victim,
//! and its end. Runs are told apart by their trigger and the moment they began. Where no hook shows the end, an
//! incident ends with its victim, or, if that dies with its group, [`GROUP_NS`](super::run::GROUP_NS) after the last.

mod kmsg;
mod reports;

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::{
    chain::Chain,
    cmdlines::{self, Cmdlines, TRIGGER_CMDLINE, VICTIMS_CMDLINE},
    environments::Environments,
    event::Event,
    failure::{AllocFailure, Failures},
    fork::{self, ForkFailure, Forks},
    kin::Kins,
    log::Log,
    relief::{Followed, Reliefs},
    run::Run,
    tally::Tally,
    tell::{self, Telling},
    types::{Common, Incident, Relief, ReliefTag, SchemaName, WallTime},
    user_kill::{self, UserKills},
};
use crate::{
    host::settings::Settings,
    record::{self, Cmdline, Key, Mark, Record, Struck, Task},
    session::{Session, Source},
};

/// How long an incident that is complete waits for its victims' command lines, ns. A victim tells its own as soon as it
/// runs again.
const CMDLINE_NS: u64 = 50_000_000;
/// Runs that are open at once, at the most: the kernel has one at a time.
const OPEN_LIMIT: usize = 64;
/// Victims that are remembered, so that another thread of one that is dying is no new incident.
const REMEMBERED: usize = 256;

/// Among what a session lacks: no hook shows what becomes of victims.
const RELIEF: &str = "relief";

/// See the module.
pub struct Assembler {
    session: Session,
    source: Source,
    open: HashMap<u32, Run>,
    /// Process id, and when it started, where that is known.
    remembered: VecDeque<(u32, Option<u64>)>,
    reliefs: Reliefs,
    cmdlines: Cmdlines,
    environments: Environments,
    failures: Failures,
    forks: Forks,
    user_kills: UserKills,
    /// Cgroups that refused a fork, by the log.
    refusing: Vec<String>,
    /// Calls of `out_of_memory()` without a decision when the last incident was told.
    undecided: u32,
    kins: Kins,
    log: Log,
    /// How the machine was set up when that was last read.
    settings: Option<Settings>,
    /// When the log was last told to say that there is nobody to kill, ns since boot.
    nobody_ns: Option<u64>,
    /// Number of the run that was parked last.
    parked: u32,
    /// Of runs that are over.
    tally: Tally,
    /// What the log comes to, where there is nothing else.
    reports: reports::Reports,
    seq: u64,
}

/// Why the cgroup of one who died with a victim is not known.
const ELSEWHERE: &str = "it was in another memory cgroup than the victim, whose path is not sent";

impl Assembler {
    /// Assembles a stream.
    #[must_use]
    pub fn new(session: Session, source: Source) -> Self {
        Self {
            session,
            source,
            open: HashMap::new(),
            remembered: VecDeque::new(),
            reliefs: Reliefs::default(),
            cmdlines: Cmdlines::default(),
            environments: Environments::default(),
            failures: Failures::default(),
            forks: Forks::default(),
            user_kills: UserKills::default(),
            refusing: Vec::new(),
            undecided: 0,
            kins: Kins::default(),
            log: Log::default(),
            settings: None,
            nobody_ns: None,
            parked: 0,
            tally: Tally::default(),
            reports: reports::Reports::default(),
            seq: 0,
        }
    }

    /// How the machine was set up when that was last read.
    #[must_use]
    pub fn settings(&self) -> Option<&Settings> {
        self.settings.as_ref()
    }

    /// Reports so far.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Counts one more report.
    pub fn next_seq(&mut self) -> u64 {
        self.seq += 1;
        self.seq
    }

    /// The head of a line about something that happened at `boot_ns`.
    #[must_use]
    pub fn common(&self, seq: u64, boot_ns: u64, wall_clock_offset_ns: i64) -> Common {
        let host = &self.session.host;
        Common {
            seq,
            time: Some(WallTime::at(boot_ns, wall_clock_offset_ns)),
            boot_ns: Some(boot_ns),
            host: Some(host.name.clone()),
            boot_id: host.boot_id.clone(),
            kernel: Some(host.kernel.clone()),
            tier: self.session.tier,
            source: self.source,
        }
    }

    /// Takes a record in.
    pub fn record(&mut self, record: Record, wall_clock_offset_ns: i64) -> Vec<Event> {
        let key = record.key();
        if let Record::KernelLog(_, log) = record {
            return self.logged(&key, &log, wall_clock_offset_ns);
        }
        // Where nobody had a turn in time, the log is read behind this.
        let mut events = self.expire_unlogged(key.boot_ns);
        if let Record::Relief(_, relief) = record {
            let done = self.reliefs.record(&key, relief);
            events.extend(done.map(|done| self.relieved(done, false)));
            events.extend(self.told());
            return events;
        }
        if let Record::Cmdline(_, cmdline) = record {
            events.extend(self.cmdline(*cmdline));
            return events;
        }
        if let Record::AllocFailure(_, failure) = record {
            events.extend(self.failed(&key, &failure, wall_clock_offset_ns));
            return events;
        }
        if let Record::UserKill(_, kill) = record {
            let chains = self.run_of_failure(&key).map(|run| run.chains).unwrap_or_default();
            let full = self.user_kills.take(&key, *kill, chains, wall_clock_offset_ns);
            events.extend(full.map(|open| self.user_killed(&open)));
            return events;
        }
        if let Record::PidsRefused(_, refused) = record {
            events.push(self.forks_refused(&key, &refused, wall_clock_offset_ns));
            return events;
        }
        if let Record::ForkFailure(_, failure) = record {
            events.extend(self.fork_failed(&key, &failure, wall_clock_offset_ns));
            return events;
        }
        let Some(record) = self.noted(record) else { return events };
        if let Record::Mark(_, mark) = &record {
            self.log.marked(&mark.victim, self.total_vm_kb(mark), key.boot_ns);
        }
        let mut before = Vec::new();
        if let Some(run) = self.open.get_mut(&key.trigger_tid).filter(|run| run.may_grow(&key)) {
            match record {
                Record::Level(..) => {
                    run.hold(key, record);
                    return events;
                }
                _ => before = std::mem::take(&mut run.held),
            }
        }
        if self.starts_another(&key, &record)
            && let Some(earlier) = self.open.remove(&key.trigger_tid)
        {
            events.extend(self.park(earlier));
        }
        if let Record::Mark(_, mark) = &record
            && self.is_repeated(&key, mark)
        {
            self.open.remove(&key.trigger_tid);
            return events;
        }
        if self.open.len() >= OPEN_LIMIT && !self.open.contains_key(&key.trigger_tid) {
            let oldest = self.open.iter().min_by_key(|(_, run)| run.opened_ns).map(|(tid, _)| *tid);
            if let Some(run) = oldest.and_then(|tid| self.open.remove(&tid)) {
                events.extend(self.finish(run));
            }
        }
        let run = self.open.entry(key.trigger_tid).or_insert_with(|| Run::new(&key));
        run.offset_ns = wall_clock_offset_ns;
        for (key, level) in before {
            run.take(&key, level);
        }
        run.take(&key, record);
        let announce = !run.announced && !run.marks.is_empty();
        run.announced |= announce;
        if announce {
            run.examine(&self.session);
        }
        let complete = run.complete();
        let told = |run: &Run| self.is_told(run) && self.is_logged(run);
        if complete && self.open.get(&key.trigger_tid).is_some_and(told) {
            if let Some(run) = self.open.remove(&key.trigger_tid) {
                events.extend(self.finish_announced(run, announce));
            }
            return events;
        }
        if complete && let Some(run) = self.open.get_mut(&key.trigger_tid) {
            run.deadline_ns = key.boot_ns.saturating_add(CMDLINE_NS);
        }
        if announce && let Some(run) = self.open.get(&key.trigger_tid) {
            let incident = self.incident(run, 0);
            events.push(Event::Opened(Box::new(incident)));
        }
        events
    }

    /// Notes what says nothing by itself; gives other records back.
    fn noted(&mut self, record: Record) -> Option<Record> {
        match record {
            Record::Struck(_, struck) => self.struck(*struck),
            Record::Kin(_, kin) => self.kins.take(*kin),
            Record::Environment(_, environment) => self.environments.take(*environment),
            Record::ForkHost(_, host) => self.forks.host = Some(*host),
            Record::Settings(_, settings) => self.settings = Some(*settings),
            other => return Some(other),
        }
        None
    }

    /// An allocation failed. The cgroups of its task came just before, as those of a run of the OOM killer do.
    fn failed(
        &mut self,
        key: &Key,
        failure: &record::AllocFailure,
        wall_clock_offset_ns: i64,
    ) -> Option<Event> {
        let chains = self.run_of_failure(key).map(|run| run.chains).unwrap_or_default();
        let seq = self.seq + 1;
        let common = self.common(seq, key.boot_ns, wall_clock_offset_ns);
        let mut missing = BTreeMap::new();
        let command =
            self.cmdlines.told(&failure.task, "task.cmdline", TRIGGER_CMDLINE, &self.session, &mut missing);
        let page_bytes = self.session.host.page_bytes;
        let line = self.failures.line(failure, chains.first(), page_bytes, common, command, missing)?;
        self.next_seq();
        let lost_records = u64::from(key.lost);
        Some(Event::AllocFailure(Box::new(AllocFailure { lost_records, ..line })))
    }

    /// The run that a failure has of its own: it has nothing but cgroups.
    fn run_of_failure(&mut self, key: &Key) -> Option<Run> {
        let own = |run: &Run| {
            run.opened_ns == key.opened_ns
                && run.decision.is_none()
                && run.marks.is_empty()
                && run.close.is_none()
        };
        self.open.get(&key.trigger_tid).is_some_and(own).then(|| self.open.remove(&key.trigger_tid))?
    }

    /// A fork failed. The cgroups of its task came just before.
    fn fork_failed(
        &mut self,
        key: &Key,
        failure: &record::ForkFailure,
        wall_clock_offset_ns: i64,
    ) -> Option<Event> {
        let run = self.run_of_failure(key);
        let seq = self.seq + 1;
        let common = self.common(seq, key.boot_ns, wall_clock_offset_ns);
        let mut missing = BTreeMap::new();
        let task = &failure.task;
        let command = self.cmdlines.told(task, "task.cmdline", TRIGGER_CMDLINE, &self.session, &mut missing);
        let kinship = self.kins.of(task, "task", &mut missing);
        let no_pids = Chain::EMPTY;
        let host = &self.session.host;
        let with = fork::With {
            memory: run.as_ref().and_then(|run| run.chains.first()),
            pids: run.as_ref().map_or(&no_pids, |run| &run.pids),
            namespaces: run.as_ref().and_then(|run| run.namespaces.as_ref()),
            command,
            kinship,
            page_bytes: host.page_bytes,
            cpus: host.cpus_online,
            missing,
        };
        let line = self.forks.line(failure, with, common)?;
        self.next_seq();
        let lost_records = u64::from(key.lost);
        Some(Event::ForkFailure(Box::new(ForkFailure { lost_records, ..line })))
    }

    /// A daemon has killed, and nothing more comes of it for now.
    fn user_killed(&mut self, open: &user_kill::Open) -> Event {
        self.user_kills.tell(open);
        let (boot_ns, offset_ns) = open.began();
        let seq = self.next_seq();
        let common = self.common(seq, boot_ns, offset_ns);
        let with = user_kill::With {
            session: &self.session,
            cmdlines: &self.cmdlines,
            environments: &self.environments,
            kins: &self.kins,
        };
        Event::UserKill(Box::new(open.line(common, &with)))
    }

    /// A process told its command line.
    fn cmdline(&mut self, cmdline: Cmdline) -> Vec<Event> {
        if self.reliefs.cmdline(&cmdline) {
            return Vec::new();
        }
        self.cmdlines.take(cmdline);
        self.told()
    }

    /// A task was killed with a victim: it belongs to that one's incident, or to what is told of it later.
    fn struck(&mut self, struck: Struck) {
        if let Some(run) = self.open.values_mut().find(|run| run.has_victim(struck.victim)) {
            run.strike(struck);
        } else {
            let mut facts = tell::companion(&struck, &self.session);
            facts.kinship = self.kins.of(&struck.task, "collateral", &mut BTreeMap::new());
            self.reliefs.struck(struck.victim, facts, struck.task.memcg);
        }
    }

    /// Ends what waited for nothing but what has come now.
    fn told(&mut self) -> Vec<Event> {
        let told = |run: &Run| run.complete() && self.is_told(run) && self.is_logged(run);
        let mut ready: Vec<_> =
            self.open.iter().filter(|(_, run)| told(run)).map(|(tid, run)| (run.opened_ns, *tid)).collect();
        ready.sort_unstable();
        let ready: Vec<_> = ready.into_iter().filter_map(|(_, tid)| self.open.remove(&tid)).collect();
        ready.into_iter().flat_map(|run| self.finish(run)).collect()
    }

    /// Whether the command line of each victim that was killed is known, or is not to be waited for.
    fn is_told(&self, run: &Run) -> bool {
        let told = |victim: &Task| {
            self.cmdlines.of(victim) != Err(cmdlines::UNTOLD) || self.reliefs.has_ended(victim)
        };
        self.session.missing.contains_key(VICTIMS_CMDLINE)
            || run.marks.iter().all(|(_, mark)| !mark.killed || told(&mark.victim))
    }

    /// When [`Self::expire`] has something to do next, ns since boot.
    #[must_use]
    pub fn deadline_ns(&self) -> Option<u64> {
        let runs = self.open.values().map(|run| run.deadline_ns);
        let others = self.reliefs.deadline_ns().into_iter().chain(self.user_kills.deadline_ns());
        runs.chain(others).chain(self.log.deadline_ns()).chain(self.settles_ns()).min()
    }

    /// Ends what has waited long enough.
    pub fn expire(&mut self, now_ns: u64) -> Vec<Event> {
        self.expire_but(now_ns, |_, _| false)
    }

    /// The same, but for what the log may still tell of: a group among these takes no more victims.
    fn expire_unlogged(&mut self, now_ns: u64) -> Vec<Event> {
        let due = |run: &Run| run.decision.is_none() && !run.marks.is_empty() && run.deadline_ns <= now_ns;
        for run in self.open.values_mut().filter(|run| due(run)) {
            run.waiting.sealed = true;
        }
        self.expire_but(now_ns, |this, run| run.complete() && !this.is_logged(run))
    }

    /// The same, but for runs that are held back.
    fn expire_but(&mut self, now_ns: u64, held: fn(&Self, &Run) -> bool) -> Vec<Event> {
        if self.deadline_ns().is_none_or(|deadline_ns| deadline_ns > now_ns) {
            return Vec::new();
        }
        let mut events = self.settle(now_ns);
        events.extend(self.expire_runs(now_ns, held));
        for kill in self.log.expire(now_ns) {
            events.push(self.unseen(&kill));
        }
        for open in self.user_kills.expire(now_ns) {
            events.push(self.user_killed(&open));
        }
        let late = self.reliefs.expire(now_ns);
        events.extend(late.into_iter().map(|late| self.relieved(late, now_ns == u64::MAX)));
        events
    }

    fn expire_runs(&mut self, now_ns: u64, held: fn(&Self, &Run) -> bool) -> Vec<Event> {
        let mut due: Vec<_> = self
            .open
            .iter()
            .filter(|(_, run)| run.deadline_ns <= now_ns && !held(self, run))
            .map(|(tid, run)| (run.opened_ns, *tid))
            .collect();
        due.sort_unstable();
        due.into_iter()
            .filter_map(|(_, tid)| self.open.remove(&tid))
            .collect::<Vec<_>>()
            .into_iter()
            .flat_map(|run| self.finish(run))
            .collect()
    }

    /// Ends everything: the stream is over.
    pub fn end(&mut self) -> Vec<Event> {
        self.expire(u64::MAX)
    }

    /// An incident's victims are followed no longer.
    pub fn without_relief(&mut self, seq: u64) {
        self.reliefs.forget(seq);
    }

    fn relieved(&self, mut followed: Followed, end: bool) -> Event {
        let (id, common) =
            (followed.id.clone(), self.common(followed.seq, followed.last_ns, followed.offset_ns));
        let collateral = std::mem::take(&mut followed.collateral);
        let (victims, mut missing) = followed.told(end);
        for (index, victim) in collateral.iter().enumerate() {
            for (field, lacks, reason) in [
                ("cgroup", victim.place.cgroup.is_none(), ELSEWHERE),
                ("cmdline", true, "it is read of triggers and victims alone"),
            ] {
                if lacks {
                    missing.insert(format!("collateral[{index}].{field}"), reason.to_owned());
                }
            }
        }
        Event::Relieved(Box::new(Relief {
            schema: SchemaName::V1,
            r#type: ReliefTag::Relief,
            id,
            common,
            victims,
            collateral,
            findings: Vec::new(),
            missing,
        }))
    }

    /// Threads of a process that is dying are marked as they ask for memory, without a decision: the process has
    /// been reported.
    fn is_repeated(&self, key: &Key, mark: &Mark) -> bool {
        let decided = self
            .open
            .get(&key.trigger_tid)
            .is_some_and(|run| run.decision.is_some() || !run.marks.is_empty());
        let Some(pid) = mark.victim.pid.filter(|_| !decided && !mark.killed) else { return false };
        let process = (pid, mark.victim.start_boot_ns);
        let under_way = |run: &Run| {
            run.marks
                .iter()
                .any(|(_, known)| known.victim.pid == Some(pid) && known.victim.start_boot_ns == process.1)
        };
        self.remembered.contains(&process) || self.open.values().any(under_way)
    }

    /// Whether a record begins a run, though its trigger has one open.
    fn starts_another(&self, key: &Key, record: &Record) -> bool {
        let Some(run) = self.open.get(&key.trigger_tid) else { return false };
        if run.opened_ns == key.opened_ns {
            // A run decides once.
            return run.decision.is_some() && matches!(record, Record::Decision(..));
        }
        // Without a hook at the decision every mark, with its cgroups, has a beginning of its own; those of a
        // group belong together.
        let undecided = run.decision.is_none() && !matches!(record, Record::Decision(..) | Record::Close(..));
        // But nothing is reclaimed between them: then the OOM killer ran once more.
        let reclaimed = match record {
            Record::Mark(_, mark) => mark.stall.is_some(),
            // They are sent once for what was reclaimed.
            Record::Zone(..) | Record::Node(..) => true,
            _ => false,
        };
        !(undecided && run.is_group() && !reclaimed)
    }

    fn finish(&mut self, run: Run) -> Vec<Event> {
        // It was announced at its first mark, if it has one.
        self.finish_announced(run, false)
    }

    fn finish_announced(&mut self, mut run: Run, announce: bool) -> Vec<Event> {
        run.examine(&self.session);
        let run = &run;
        // Cgroups alone are no decision: the record that they belong to was lost, and is counted as such.
        if run.decision.is_none() && run.marks.is_empty() {
            return Vec::new();
        }
        let seq = self.next_seq();
        self.tally = self.tally.and(run.tally());
        if let Some(victim) = run.unmarked() {
            self.log.marked(victim, None, run.opened_ns);
        }
        let incident = self.incident(run, seq);
        if let Some(close) = run.close.filter(|close| close.entered_ns.is_some()) {
            self.undecided = close.undecided;
        }
        for (_, mark) in &run.marks {
            if let Some(pid) = mark.victim.pid {
                if self.remembered.len() >= REMEMBERED {
                    self.remembered.pop_front();
                }
                self.remembered.push_back((pid, mark.victim.start_boot_ns));
            }
        }
        let relieved = if self.session.missing.contains_key(RELIEF) {
            Vec::new()
        } else {
            self.reliefs.follow(&incident, run.marks.iter(), run.offset_ns)
        };
        let opened = announce.then(|| Event::Opened(Box::new(incident.clone())));
        let closed = [Event::Closed(Box::new(incident))];
        let relieved = relieved.into_iter().map(|done| self.relieved(done, false));
        opened.into_iter().chain(closed).chain(relieved).collect()
    }

    /// A run as it is told by what has come so far.
    fn incident(&self, run: &Run, seq: u64) -> Incident {
        let common = self.common(seq, run.boot_ns(), run.offset_ns);
        let telling = Telling {
            run,
            session: &self.session,
            cmdlines: &self.cmdlines,
            environments: &self.environments,
            kins: &self.kins,
            kill: self.kill(run),
            undecided: self.undecided,
        };
        telling.incident(common)
    }
}

#[cfg(test)]
mod tests;
