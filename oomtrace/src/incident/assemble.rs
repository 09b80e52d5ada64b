//! Records to incidents.
//!
//! A run of the OOM killer is a decision (where a hook shows it), the cgroups it concerns, a mark for each victim,
//! and its end. Runs are told apart by their trigger and the moment they began. Where no hook shows the end, an
//! incident ends with its victim, or, if that dies with its group, [`GROUP_NS`] after the last.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::{
    ballot,
    chain::Chain,
    cmdlines::{self, Cmdlines},
    doubt::{self, Doubt},
    failure::{AllocFailure, Failures},
    kin::Kins,
    log::{Kill, Log},
    logged, memory,
    relief::{Followed, Reliefs},
    scope::Evidence,
    stall,
    tally::Tally,
    types::{
        Command, Common, Incident, OomTag, Outcome, Place, Relief, ReliefTag, SchemaName, Trigger, Verdict,
        Victim, WallTime,
    },
    zones,
};
use oomtrace_ebpf::{MAX_CANDIDATES, MAX_LEVELS, MAX_ZONES};

use crate::{
    kernel::hooks::Tier,
    record::{
        self, Candidate, Close, Cmdline, Decision, KernelLog, Key, Level, Mark, Record, Struck, Task, Tie,
        Whose,
    },
    session::{Session, Source},
};

/// After this long without another mark, a group is complete where no hook shows it. ns.
const GROUP_NS: u64 = 50_000_000;
/// After this long, a run whose end was not seen is given up. ns. The kernel writes its report in between, which
/// takes seconds on a slow console.
const GIVE_UP_NS: u64 = 60_000_000_000;
/// How long an incident that is complete waits for its victims' command lines, ns. A victim tells its own as soon as it
/// runs again.
const CMDLINE_NS: u64 = 50_000_000;
/// How much longer it waits for the kernel log, if that has begun to tell, ns.
const REPORT_NS: u64 = 250_000_000;
/// Where runs are kept whose trigger has begun another: no thread has such an id (`PID_MAX_LIMIT`, include/linux/threads.h).
const PARKED: u32 = 1 << 31;
/// Runs that are open at once, at the most: the kernel has one at a time.
const OPEN_LIMIT: usize = 64;
/// Cgroups that are held back, at the most: a victim's and its trigger's.
const HELD_LIMIT: usize = 2 * MAX_LEVELS as usize;
/// Victims of a run, at the most.
const VICTIM_LIMIT: usize = 16_384;
/// Victims that are remembered, so that another thread of one that is dying is no new incident.
const REMEMBERED: usize = 256;

/// Why it is not known how long the OOM killer took.
const UNTIMED: &str = "the OOM killer's run was not seen from its beginning to its end";

/// Among what a session lacks: no hook shows what becomes of victims.
const RELIEF: &str = "relief";
/// The same: triggers' command lines.
pub const TRIGGER_CMDLINE: &str = "trigger.cmdline";
/// The same: command lines of victims that are no triggers.
pub const VICTIMS_CMDLINE: &str = "victims.cmdline";

/// What the assembler has to say.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// An incident's first victim was marked. More may come.
    Opened(Box<Incident>),
    /// An incident is complete.
    Closed(Box<Incident>),
    /// It is known what became of its victims.
    Relieved(Box<Relief>),
    /// An allocation failed, and nobody was killed.
    AllocFailure(Box<AllocFailure>),
}

impl Event {
    /// The incident, if it is complete.
    #[must_use]
    pub fn closed(&self) -> Option<&Incident> {
        match self {
            Self::Closed(incident) => Some(incident),
            Self::Opened(_) | Self::Relieved(_) | Self::AllocFailure(_) => None,
        }
    }
}

/// See the module.
pub struct Assembler {
    session: Session,
    source: Source,
    open: HashMap<u32, Run>,
    /// Process id, and when it started, where that is known.
    remembered: VecDeque<(u32, Option<u64>)>,
    reliefs: Reliefs,
    cmdlines: Cmdlines,
    failures: Failures,
    /// Calls of `out_of_memory()` without a decision when the last incident was told.
    undecided: u32,
    kins: Kins,
    log: Log,
    /// Number of the run that was parked last.
    parked: u32,
    /// Of runs that are over.
    tally: Tally,
    seq: u64,
}

/// How far a run has waited for the kernel log.
#[derive(Clone, Copy, Debug, Default)]
struct Waiting {
    /// Whether the log was read to its end when nothing more could come.
    looked: bool,
    /// Whether the run takes no more victims though it is of a group: it came to its end.
    sealed: bool,
    /// Whether it was given more time, since the kernel was in the middle of its report.
    extended: bool,
}

struct Run {
    tid: u32,
    opened_ns: u64,
    decision: Option<Decision>,
    /// Whether the decision was held against what came of it.
    examined: bool,
    /// Why it is not told.
    doubt: Option<Doubt>,
    chains: Vec<Chain>,
    marks: Vec<(Key, Mark)>,
    /// Cgroups that came before a mark which is this run's or another's.
    held: Vec<(Key, Record)>,
    candidates: Vec<Candidate>,
    /// Who was killed with its victims.
    struck: Vec<Struck>,
    zones: Vec<record::Zone>,
    nodes: Vec<record::Node>,
    /// The nodes that its request was confined to.
    allowed: Option<record::Allowed>,
    close: Option<Close>,
    /// When it ended, ns since boot.
    closed_ns: Option<u64>,
    /// Records that came in.
    records: u32,
    /// Records that were made, as far as the last one tells.
    made: u32,
    waiting: Waiting,
    offset_ns: i64,
    announced: bool,
    deadline_ns: u64,
}

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
            failures: Failures::default(),
            undecided: 0,
            kins: Kins::default(),
            log: Log::default(),
            parked: 0,
            tally: Tally::default(),
            seq: 0,
        }
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
            time: wall(boot_ns, wall_clock_offset_ns),
            boot_ns,
            host: host.name.clone(),
            boot_id: host.boot_id.clone(),
            kernel: host.kernel.clone(),
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
        if let Record::Struck(_, struck) = record {
            self.struck(*struck);
            return events;
        }
        if let Record::AllocFailure(_, failure) = record {
            events.extend(self.failed(&key, &failure, wall_clock_offset_ns));
            return events;
        }
        if let Record::Kin(_, kin) = record {
            self.kins.take(*kin);
            return events;
        }
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

    /// An allocation failed. The cgroups of its task came just before, as those of a run of the OOM killer do.
    fn failed(
        &mut self,
        key: &Key,
        failure: &record::AllocFailure,
        wall_clock_offset_ns: i64,
    ) -> Option<Event> {
        let own = |run: &Run| {
            run.opened_ns == key.opened_ns
                && run.decision.is_none()
                && run.marks.is_empty()
                && run.close.is_none()
        };
        let run = if self.open.get(&key.trigger_tid).is_some_and(own) {
            self.open.remove(&key.trigger_tid)
        } else {
            None
        };
        let chains = run.map(|run| run.chains).unwrap_or_default();
        let seq = self.seq + 1;
        let common = self.common(seq, key.boot_ns, wall_clock_offset_ns);
        let mut missing = BTreeMap::new();
        let command = self.command(&failure.task, "task.cmdline", TRIGGER_CMDLINE, &mut missing);
        let page_bytes = self.session.host.page_bytes;
        let line = self.failures.line(failure, chains.first(), page_bytes, common, command, missing)?;
        self.next_seq();
        let lost_records = u64::from(key.lost);
        Some(Event::AllocFailure(Box::new(AllocFailure { lost_records, ..line })))
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
            let mut facts = self.facts(&struck.task, &struck.mm, verdict(struck.tie));
            facts.kinship = self.kins.of(&struck.task, "collateral", &mut BTreeMap::new());
            self.reliefs.struck(struck.victim, facts);
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

    /// The kernel log says something, or nothing more for now.
    fn logged(&mut self, key: &Key, log: &KernelLog, offset_ns: i64) -> Vec<Event> {
        if !self.session.kmsg {
            return Vec::new();
        }
        if log.text.is_empty() {
            for run in self.open.values_mut() {
                run.waiting.looked |= run.complete();
            }
            let mut events = self.told();
            self.extend(key.boot_ns);
            events.extend(self.expire(key.boot_ns));
            return events;
        }
        // The same: what is waited for may stand behind this.
        let mut events = self.expire_unlogged(key.boot_ns);
        let evicted = self.log.take(key, log, offset_ns);
        events.extend(evicted.map(|kill| self.unseen(&kill)));
        events.extend(self.told());
        events
    }

    /// Ends a run whose trigger has begun another one; or keeps it for as long as the log may tell of it.
    fn park(&mut self, run: Run) -> Vec<Event> {
        self.parked = self.parked.wrapping_add(1) & !PARKED;
        let place = PARKED | self.parked;
        let waits = run.complete() && !self.is_logged(&run);
        if !waits || self.open.len() >= OPEN_LIMIT || self.open.contains_key(&place) {
            return self.finish(run);
        }
        self.open.insert(place, run);
        Vec::new()
    }

    /// Gives more time to what waits while the kernel is in the middle of a report: it may have no turn for long.
    fn extend(&mut self, now_ns: u64) {
        if !self.log.is_reporting() {
            return;
        }
        for run in self.open.values_mut() {
            if run.complete() && run.deadline_ns <= now_ns && !run.waiting.extended {
                run.waiting.extended = true;
                run.deadline_ns = now_ns.saturating_add(REPORT_NS);
            }
        }
    }

    /// Whether the log has told what it can tell of a run, or is not to be waited for.
    fn is_logged(&self, run: &Run) -> bool {
        // What was merely marked is not logged; nor does a decision lack anything that the log has.
        !self.session.kmsg
            || run.marks.first().is_none_or(|(_, mark)| !mark.killed)
            || self.kill(run).is_some()
            || (run.decision.is_some() && run.waiting.looked)
    }

    /// What the log tells of a run's first victim.
    fn kill(&self, run: &Run) -> Option<&Kill> {
        match run.marks.first() {
            Some((key, mark)) if mark.killed => {
                self.log.of(&mark.victim, self.total_vm_kb(mark), key.boot_ns)
            }
            Some(_) => None,
            None => self.log.of(run.unmarked()?, None, run.opened_ns),
        }
    }

    fn total_vm_kb(&self, mark: &Mark) -> Option<u64> {
        let page_kb = u64::from(self.session.host.page_bytes / 1024);
        Some(mark.mm.total_vm_pages?.saturating_mul(page_kb))
    }

    /// Messages of the kernel log were overwritten before they could be read.
    pub fn log_overwritten(&mut self) {
        self.log.overwritten = true;
    }

    /// Whether a look into the kernel log could tell more of a run that is open.
    #[must_use]
    pub fn wants_log(&self) -> bool {
        self.open.values().any(|run| !run.marks.is_empty() && !self.is_logged(run))
    }

    /// Whether a run waits for the kernel log and for nothing that the kernel half sends.
    #[must_use]
    pub fn waits_for_log(&self) -> bool {
        self.open.values().any(|run| run.complete() && !self.is_logged(run))
    }

    /// A kill that the log alone tells.
    fn unseen(&mut self, kill: &Kill) -> Event {
        self.tally = self.tally.and(Tally::of(1, false, None));
        let seq = self.next_seq();
        let mut common = self.common(seq, kill.boot_ns, kill.offset_ns);
        if common.source == Source::Ebpf {
            common.source = Source::Kmsg;
        }
        let boot = boot_prefix(self.session.host.boot_id.as_deref());
        let id = format!("{boot}-k{:x}-{:x}", kill.seq, kill.killed.pid);
        Event::Closed(Box::new(logged::alone(kill, common, id)))
    }

    /// Kills that the kernel counted and that are accounted for, at the most.
    #[must_use]
    pub fn accounted_kills(&self) -> u64 {
        let open = self.open.values().map(Run::tally);
        open.fold(self.tally, Tally::and).accounted(&self.log)
    }

    /// When [`Self::expire`] has something to do next, ns since boot.
    #[must_use]
    pub fn deadline_ns(&self) -> Option<u64> {
        let runs = self.open.values().map(|run| run.deadline_ns);
        runs.chain(self.reliefs.deadline_ns()).chain(self.log.deadline_ns()).min()
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
        let mut events = self.expire_runs(now_ns, held);
        for kill in self.log.expire(now_ns) {
            events.push(self.unseen(&kill));
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
        let (victims, missing) = followed.told(end);
        Event::Relieved(Box::new(Relief {
            schema: SchemaName::V1,
            r#type: ReliefTag::Relief,
            id,
            common,
            victims,
            collateral,
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

    fn incident(&self, run: &Run, seq: u64) -> Incident {
        let session = &self.session;
        let mut missing = session.missing.clone();
        // It is said of each victim.
        missing.remove(VICTIMS_CMDLINE);
        let mark = run.marks.first().map(|(_, mark)| mark);
        let victim = run.limits();
        let trigger = run.trigger().cloned().unwrap_or_default();
        let trigger_chain = run.chain(&trigger, Whose::Trigger);
        let kill = self.kill(run);
        // Another run's trigger asked for something else.
        let same = |comm: &String| trigger.comm.as_ref().is_none_or(|own| own == comm);
        let report = kill.and_then(|kill| kill.report.as_ref()).filter(|report| {
            run.decision.is_none() && report.invoked.as_ref().is_none_or(|invoked| same(&invoked.comm))
        });
        let evidence = Evidence {
            decision: run.decision.as_ref(),
            allowed: run.allowed.as_ref(),
            mark,
            victim,
            trigger: trigger_chain,
            report,
            session,
        };
        let mut from_log = Vec::new();
        let mut scope = evidence.scope(&mut from_log, &mut missing);
        let stall = stall::of(mark, scope.cause, &mut missing);
        let capacity_pages = scope.capacity_bytes.map(|bytes| bytes / u64::from(session.host.page_bytes));
        let victims = self.victims(run, capacity_pages, &mut missing);
        let mut trigger = self.trigger(run, &trigger, trigger_chain, &mut missing);
        match report {
            Some(report) => logged::asked(&mut trigger, report, &mut from_log, &mut missing),
            None if session.kmsg && mark.is_some_and(|mark| mark.killed) && run.decision.is_none() => {
                logged::unlogged(kill, &mut missing);
            }
            None => {}
        }
        if let Some(doubt) = &run.doubt {
            doubt.note(&mut scope, &mut missing);
        }
        doubt::usage(&mut scope, mark, session.host.page_bytes, &mut missing);
        let (candidates, ballot) = ballot::of(
            &run.candidates,
            run.close,
            run.decision.as_ref().and_then(|decision| decision.chosen_points),
            session,
            &mut missing,
        );
        let timed = run.close.and_then(|close| Some((run.closed_ns?, close.entered_ns?, close.undecided)));
        if timed.is_none() {
            for field in ["decision_ns", "calls_without_decision"] {
                missing.entry(field.to_owned()).or_insert_with(|| UNTIMED.to_owned());
            }
        }
        let seen = zones::Seen {
            zones: &run.zones,
            nodes: &run.nodes,
            none: match (&run.decision, session.tier) {
                (Some(_), _) => zones::NONE_SEEN,
                (None, Tier::Tracepoint) => zones::NOT_RECLAIMED,
                (None, _) => zones::NO_DECISION_SEEN,
            },
            allowed: scope.nodes.as_deref(),
        };
        let (zones, host_memory) =
            seen.told(run.doubt.as_ref().map(|doubt| doubt.reason.as_str()), session, &mut missing);
        let outcome = match (&run.decision, victims.is_empty()) {
            (_, false) => Some(Outcome::Killed),
            (Some(_), true) if run.close.is_some() => Some(Outcome::NoVictim),
            (_, true) => {
                missing
                    .insert("outcome".to_owned(), "the end of the OOM killer's run was not seen".to_owned());
                None
            }
        };
        let host = &session.host;
        let boot_ns = run.marks.first().map_or(run.opened_ns, |(key, _)| key.boot_ns);
        Incident {
            schema: SchemaName::V1,
            r#type: OomTag::Oom,
            id: id(host.boot_id.as_deref(), run.opened_ns, run.tid),
            common: self.common(seq, boot_ns, run.offset_ns),
            scope,
            trigger,
            outcome,
            victims,
            candidates,
            zones,
            host_memory,
            stall,
            ballot,
            decision_ns: timed.map(|(closed_ns, entered_ns, _)| closed_ns.saturating_sub(entered_ns)),
            calls_without_decision: timed
                .map(|(.., undecided)| u64::from(undecided.wrapping_sub(self.undecided))),
            from_log,
            kmsg_seq: kill.map(|kill| kill.seq),
            missing,
            lost_records: u64::from(run.made.saturating_sub(run.records)),
        }
    }

    fn trigger(
        &self,
        run: &Run,
        task: &Task,
        chain: &Chain,
        missing: &mut BTreeMap<String, String>,
    ) -> Trigger {
        let decision = run.decision.as_ref();
        if self.session.tier > Tier::Tracepoint && decision.is_none() {
            let reason = if run.marks.iter().any(|(_, mark)| mark.killed) {
                "the decision came before the hook that shows it was in place"
            } else {
                "the kernel marked the task without a decision: it was exiting already"
            };
            for field in [
                "trigger.gfp_mask",
                "trigger.gfp_flags",
                "trigger.order",
                "scope.constraint",
                "ballot",
                "candidates",
                "zones",
                "host_memory",
            ] {
                missing.insert(field.to_owned(), reason.to_owned());
            }
        }
        let cgroup = chain.path(0);
        note(missing, "trigger.cgroup", cgroup.as_ref().err().map(String::as_str));
        let command = self.command(task, TRIGGER_CMDLINE, TRIGGER_CMDLINE, missing);
        unread(
            missing,
            "trigger",
            &[
                ("comm", task.comm.is_none()),
                ("pid", task.pid.is_none()),
                ("tid", task.tid.is_none()),
                ("uid", task.uid.is_none()),
            ],
        );
        if let Some(decision) = decision {
            let mask = decision.gfp_mask.is_none();
            unread(
                missing,
                "trigger",
                &[("gfp_mask", mask), ("gfp_flags", mask), ("order", decision.order.is_none())],
            );
        }
        Trigger {
            pid: task.pid,
            tid: task.tid,
            comm: task.comm.clone(),
            uid: task.uid,
            kinship: self.kins.of(task, "trigger", missing),
            command,
            place: Place::of(cgroup.ok()),
            gfp_mask: decision.and_then(|decision| decision.gfp_mask),
            gfp_flags: decision.and_then(|decision| decision.gfp_mask).map(super::gfp::flag_names),
            order: decision.and_then(|decision| decision.order),
        }
    }

    /// What a task's process was started with.
    fn command(
        &self,
        task: &Task,
        field: &str,
        of_all: &str,
        missing: &mut BTreeMap<String, String>,
    ) -> Command {
        self.cmdlines.of(task).unwrap_or_else(|reason| {
            let reason = self.session.missing.get(of_all).map_or(reason, String::as_str);
            missing.insert(field.to_owned(), reason.to_owned());
            Command::default()
        })
    }

    fn victims(
        &self,
        run: &Run,
        capacity_pages: Option<u64>,
        missing: &mut BTreeMap<String, String>,
    ) -> Vec<Victim> {
        let mut victims: Vec<Victim> = Vec::new();
        for (_, mark) in &run.marks {
            // A hook at mark_oom_victim() may see the first of a group twice.
            if mark.victim.pid.is_some() && victims.iter().any(|known| known.pid == mark.victim.pid) {
                continue;
            }
            let field = format!("victims[{}]", victims.len());
            let verdict = match (mark.killed, victims.is_empty()) {
                (true, true) => Verdict::Killed,
                (true, false) => Verdict::GroupKilled,
                (false, _) => Verdict::AlreadyExiting,
            };
            let first = victims.is_empty();
            victims.push(self.victim(run, mark, verdict, first, &field, capacity_pages, missing));
        }
        if victims.is_empty()
            && let (Some(decision), Some(close)) = (&run.decision, run.close)
            && (close.kills > 0 || close.marks > 0)
        {
            // Either its mark was lost on the way, or the chosen task had let go of its memory before the kill reached
            // it ("is already exiting"), and there was nothing to mark.
            let verdict = match (close.kills > 0, close.marks > 0) {
                (true, true) => Verdict::Killed,
                _ => Verdict::AlreadyExiting,
            };
            let field = "victims[0]".to_owned();
            if close.marks > 0 {
                for lost in ["rss", "total_vm_bytes", "pgtables_bytes", "swap_bytes"] {
                    missing.insert(format!("{field}.{lost}"), "the record of its mark was lost".to_owned());
                }
            }
            let mark = Mark {
                trigger: decision.trigger.clone(),
                victim: decision.chosen.clone(),
                mm: record::Mm::default(),
                killed: false,
                reclaim: None,
                stall: None,
            };
            victims.push(self.victim(run, &mark, verdict, true, &field, capacity_pages, missing));
        }
        for struck in &run.struck {
            let field = format!("victims[{}]", victims.len());
            let mark = Mark {
                trigger: Task::default(),
                victim: struck.task.clone(),
                mm: struck.mm,
                killed: true,
                reclaim: None,
                stall: None,
            };
            let verdict = verdict(struck.tie);
            victims.push(self.victim(run, &mark, verdict, false, &field, capacity_pages, missing));
        }
        victims
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "each is one fact about the victim, and this is the one caller's helper"
    )]
    fn victim(
        &self,
        run: &Run,
        mark: &Mark,
        verdict: Verdict,
        first: bool,
        field: &str,
        capacity_pages: Option<u64>,
        missing: &mut BTreeMap<String, String>,
    ) -> Victim {
        let page_bytes = self.session.host.page_bytes;
        let task = &mark.victim;
        let chain = run.chain(task, Whose::Victim);
        let rss = memory::best(&mark.mm, task.threads, &self.session);
        let pages = memory::as_kernel(&mark.mm, &self.session);
        let computed = pages.as_ref().ok().and_then(|pages| {
            memory::points(pages, mark.mm.pgtables_bytes?, task.oom_score_adj?, capacity_pages, page_bytes)
        });
        // The kernel's own score where a hook shows it: of the one that it chose.
        let decided = run.decision.as_ref().filter(|decision| first && decision.chosen.pid == task.pid);
        let scored = || {
            let candidate = run
                .candidates
                .iter()
                .find(|candidate| first && !candidate.computed && Some(candidate.pid) == task.pid)?;
            Some(candidate.points)
        };
        let points = decided.and_then(|decision| decision.chosen_points).or_else(scored).or(computed);
        let cgroup = chain.path(0);
        let command = self.command(task, &format!("{field}.cmdline"), VICTIMS_CMDLINE, missing);
        let swap_bytes = memory::swap_bytes(&mark.mm, page_bytes);
        note(missing, &format!("{field}.cgroup"), cgroup.as_ref().err().map(String::as_str));
        note(missing, &format!("{field}.rss_kernel"), pages.as_ref().err().map(String::as_str));
        unread(
            missing,
            field,
            &[
                ("pid", task.pid.is_none()),
                ("tid", task.tid.is_none()),
                ("ppid", task.ppid.is_none()),
                ("comm", task.comm.is_none()),
                ("uid", task.uid.is_none()),
                ("threads", task.threads.is_none()),
                ("oom_score_adj", task.oom_score_adj.is_none()),
                ("start_time", task.start_boot_ns.is_none()),
                ("total_vm_bytes", mark.mm.total_vm_pages.is_none()),
                ("pgtables_bytes", mark.mm.pgtables_bytes.is_none()),
                ("rss", rss.is_none()),
                ("swap_bytes", swap_bytes.is_none()),
            ],
        );
        if points.is_none() {
            missing
                .insert(format!("{field}.points"), "what the score is made of is not all known".to_owned());
        }
        Victim {
            // Counted before the kill, where a hook shows the decision: threads end as soon as the signal is sent.
            threads: decided.and_then(|decision| decision.chosen.threads).or(task.threads),
            points,
            kinship: self.kins.of(task, field, missing),
            command,
            place: Place::of(cgroup.ok()),
            start_time: task.start_boot_ns.map(|start_ns| wall(start_ns, run.offset_ns)),
            ..self.facts(task, &mark.mm, verdict)
        }
    }

    /// What a victim's own records tell, without what its incident adds.
    fn facts(&self, task: &Task, mm: &record::Mm, verdict: Verdict) -> Victim {
        let page_bytes = self.session.host.page_bytes;
        Victim {
            pid: task.pid,
            tid: task.tid,
            ppid: task.ppid,
            comm: task.comm.clone(),
            uid: task.uid,
            threads: task.threads,
            verdict: Some(verdict),
            oom_score_adj: task.oom_score_adj,
            total_vm_bytes: mm.total_vm_pages.map(|pages| pages.saturating_mul(u64::from(page_bytes))),
            rss: memory::best(mm, task.threads, &self.session),
            rss_kernel: memory::as_kernel(mm, &self.session)
                .ok()
                .map(|pages| memory::kernel_rss(&pages, page_bytes)),
            swap_bytes: memory::swap_bytes(mm, page_bytes),
            pgtables_bytes: mm.pgtables_bytes,
            ..Victim::default()
        }
    }
}

impl Run {
    fn new(key: &Key) -> Self {
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

    fn take(&mut self, key: &Key, record: Record) {
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
            | Record::Struck(..)
            | Record::Kin(..)
            | Record::AllocFailure(..)
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
            Some(chain) if level.depth == 0 => *chain = Chain::default().with(level),
            Some(chain) => chain.push(level),
            None => self.chains.push(Chain::default().with(level)),
        }
    }

    /// Leaves out of the decision what cannot be true. To be called once what came of it is here.
    fn examine(&mut self, session: &Session) {
        let Some(decision) = self.decision.as_ref().filter(|_| !self.examined) else { return };
        let mark = self.marks.first().map(|(_, mark)| mark);
        let victim = self.limits();
        let examined = doubt::examine(decision, mark, victim, session);
        self.decision = Some(examined.decision);
        self.doubt = examined.doubt;
        self.examined = true;
    }

    /// A victim that is known by the decision alone: the record of its mark was lost.
    fn unmarked(&self) -> Option<&Task> {
        let killed = self.marks.is_empty() && self.close.is_none_or(|close| close.kills > 0);
        self.decision.as_ref().filter(|_| killed).map(|decision| &decision.chosen)
    }

    /// Its kills, as the kernel counts them.
    fn tally(&self) -> Tally {
        let killed = self.marks.iter().filter(|(_, mark)| mark.killed).count();
        let chain = self.victim().is_none_or(|victim| self.chain(&victim, Whose::Victim).may_kill_groups());
        Tally::of(killed, chain, self.close.map(|close| close.kills))
    }

    /// Whether nothing more can come.
    fn complete(&self) -> bool {
        self.close.is_some() || (self.decision.is_none() && !self.marks.is_empty() && !self.is_group())
    }

    /// Whether a record with a beginning of its own may be about another victim of this run.
    fn may_grow(&self, key: &Key) -> bool {
        self.decision.is_none() && key.opened_ns != self.opened_ns && self.is_group()
    }

    /// Holds a cgroup back until its mark comes. Those of a mark that never came are dropped.
    fn hold(&mut self, key: Key, level: Record) {
        self.held.retain(|(held, _)| held.opened_ns == key.opened_ns);
        if self.held.len() < HELD_LIMIT {
            self.held.push((key, level));
        }
    }

    fn is_group(&self) -> bool {
        !self.waiting.sealed
            && self.marks.first().is_some_and(|(_, mark)| {
                mark.killed && self.chain(&mark.victim, Whose::Victim).kills_groups()
            })
    }

    fn trigger(&self) -> Option<&Task> {
        self.decision
            .as_ref()
            .map(|decision| &decision.trigger)
            .or_else(|| Some(&self.marks.first()?.1.trigger))
    }

    fn victim(&self) -> Option<Task> {
        self.marks
            .first()
            .map(|(_, mark)| mark.victim.clone())
            .or_else(|| Some(self.decision.as_ref()?.chosen.clone()))
    }

    /// The cgroups from the victim's up to the root; where nobody could be killed, from the one at its limit.
    fn limits(&self) -> &Chain {
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
    fn has_victim(&self, (pid, start_boot_ns): (u32, Option<u64>)) -> bool {
        self.marks
            .iter()
            .any(|(_, mark)| mark.victim.pid == Some(pid) && mark.victim.start_boot_ns == start_boot_ns)
    }

    /// Takes in who was killed with a victim. A process may get the signal more than once.
    fn strike(&mut self, struck: Struck) {
        let known = self.struck.iter().any(|known| known.task.pid == struck.task.pid)
            || self.marks.iter().any(|(_, mark)| mark.victim.pid == struck.task.pid);
        if !known && self.struck.len() < VICTIM_LIMIT {
            self.struck.push(struck);
        }
    }

    /// The chain of a task's cgroups: its own if it was sent, else the one of another task in the same cgroup.
    fn chain(&self, task: &Task, whose: Whose) -> &Chain {
        static NONE: Chain = Chain::EMPTY;
        let of_task = |chain: &&Chain| task.memcg.is_some() && chain.leaf() == task.memcg;
        let own = |chain: &&Chain| {
            of_task(chain) && chain.levels().first().is_some_and(|level| level.whose == whose)
        };
        self.chains.iter().find(own).or_else(|| self.chains.iter().find(of_task)).unwrap_or(&NONE)
    }
}

/// What became of a task that was killed with a victim.
fn verdict(tie: Tie) -> Verdict {
    match tie {
        Tie::Memory => Verdict::MmShared,
        Tie::Namespace => Verdict::PidnsCollateral,
    }
}

fn id(boot_id: Option<&str>, opened_ns: u64, tid: u32) -> String {
    format!("{}-{opened_ns:x}-{tid:x}", boot_prefix(boot_id))
}

fn boot_prefix(boot_id: Option<&str>) -> String {
    boot_id.unwrap_or_default().chars().filter(char::is_ascii_hexdigit).take(8).collect()
}

fn wall(boot_ns: u64, offset_ns: i64) -> WallTime {
    WallTime::from_ns(i128::from(boot_ns) + i128::from(offset_ns))
}

fn note(missing: &mut BTreeMap<String, String>, field: &str, reason: Option<&str>) {
    if let Some(reason) = reason {
        missing.insert(field.to_owned(), reason.to_owned());
    }
}

fn unread(missing: &mut BTreeMap<String, String>, of: &str, fields: &[(&str, bool)]) {
    for (field, lacks) in fields {
        if *lacks {
            missing
                .entry(format!("{of}.{field}"))
                .or_insert_with(|| "it could not be read in the kernel".to_owned());
        }
    }
}

#[cfg(test)]
#[path = "assemble_tests.rs"]
mod tests;
