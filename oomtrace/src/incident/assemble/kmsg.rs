//! What an assembler has from the kernel log: how long it waits for it, and kills that it alone tells.

use super::{Assembler, OPEN_LIMIT};
use crate::{
    incident::{
        alone,
        event::Event,
        fork, id,
        log::{Kill, Nobody, Told},
        run::Run,
        tally::Tally,
        types::Common,
    },
    kernel::hooks::Tier,
    record::{KernelLog, Key, Mark, PidsRefused},
    session::Source,
};

/// How much longer a run waits for the kernel log, if that has begun to tell, ns.
const REPORT_NS: u64 = 250_000_000;
/// Where runs are kept whose trigger has begun another: no thread has such an id (`PID_MAX_LIMIT`, include/linux/threads.h).
const PARKED: u32 = 1 << 31;

/// Cgroups to be looked at that are remembered, at most.
const REFUSING: usize = 1024;
/// How often it is told that nobody can be killed: as often as the kernel half tells it, where a hook shows it, ns.
const NOBODY_AGAIN_NS: u64 = 1_000_000_000;

impl Assembler {
    /// The kernel log says something, or nothing more for now.
    pub(super) fn logged(&mut self, key: &Key, log: &KernelLog, offset_ns: i64) -> Vec<Event> {
        if self.session.tier == Tier::Kmsg {
            return self.followed(key, log, offset_ns);
        }
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
        match self.log.take(key, log, offset_ns) {
            Some(Told::Evicted(kill)) => events.push(self.unseen(&kill)),
            Some(Told::Nobody(nobody)) => events.extend(self.nobody(&nobody)),
            Some(Told::ForkRejected(path)) => events.extend(self.fork_rejected(key, path, offset_ns)),
            None => {}
        }
        events.extend(self.told());
        events
    }

    /// Ends a run whose trigger has begun another one; or keeps it for as long as the log may tell of it.
    pub(super) fn park(&mut self, run: Run) -> Vec<Event> {
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
    pub(super) fn is_logged(&self, run: &Run) -> bool {
        // What was merely marked is not logged; nor does a decision lack anything that the log has.
        !self.session.kmsg
            || run.marks.first().is_none_or(|(_, mark)| !mark.killed)
            || self.kill(run).is_some()
            || (run.decision.is_some() && run.waiting.looked)
    }

    /// What the log tells of a run's first victim.
    pub(super) fn kill(&self, run: &Run) -> Option<&Kill> {
        match run.marks.first() {
            Some((key, mark)) if mark.killed => {
                self.log.of(&mark.victim, self.total_vm_kb(mark), key.boot_ns)
            }
            Some(_) => None,
            None => self.log.of(run.unmarked()?, None, run.opened_ns),
        }
    }

    /// The size of a victim's address space as the log has it, which tells two of the same id apart.
    pub(super) fn total_vm_kb(&self, mark: &Mark) -> Option<u64> {
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

    /// The head of one more line, about something that the log alone tells.
    fn common_of_log(&mut self, boot_ns: u64, offset_ns: i64) -> Common {
        let seq = self.next_seq();
        let mut common = self.common(seq, boot_ns, offset_ns);
        if common.source == Source::Ebpf {
            common.source = Source::Kmsg;
        }
        common
    }

    /// A kill that the log alone tells.
    pub(super) fn unseen(&mut self, kill: &Kill) -> Event {
        self.tally = self.tally.and(Tally::of(1, false, None));
        let common = self.common_of_log(kill.boot_ns, kill.offset_ns);
        let id = id::of_log(self.session.host.boot_id.as_deref(), kill.seq, kill.killed.pid);
        Event::Closed(Box::new(alone::kill(kill, common, id)))
    }

    /// That there was nobody to kill, where no hook tells. Whoever cannot get memory tries again at once: so it is told once
    /// in [`NOBODY_AGAIN_NS`].
    fn nobody(&mut self, nobody: &Nobody) -> Option<Event> {
        let again = self.nobody_ns.is_some_and(|told| nobody.boot_ns.saturating_sub(told) < NOBODY_AGAIN_NS);
        if self.session.tier != Tier::Tracepoint || again {
            return None;
        }
        self.nobody_ns = Some(nobody.boot_ns);
        let common = self.common_of_log(nobody.boot_ns, nobody.offset_ns);
        let tid = nobody.report.as_ref().and_then(|report| report.tid).unwrap_or(0);
        let id = id::of_log(self.session.host.boot_id.as_deref(), nobody.seq, tid);
        Some(Event::Closed(Box::new(alone::nobody(nobody, common, id))))
    }

    /// A cgroup refused a fork, where no hook tells.
    fn fork_rejected(&mut self, key: &Key, path: String, offset_ns: i64) -> Option<Event> {
        if self.session.tier != Tier::Tracepoint || self.forks.hooked {
            return None;
        }
        if self.session.pids_events {
            self.refuses(path);
            return None;
        }
        let refused = PidsRefused { cgroup: Some(path), count: 1, ..PidsRefused::default() };
        Some(self.forks_refused(key, &refused, offset_ns))
    }

    /// A cgroup refused a fork: its count is to be looked at.
    pub(super) fn refuses(&mut self, path: String) {
        if self.refusing.len() < REFUSING {
            self.refusing.push(path);
        }
    }

    /// Cgroups that refused a fork, by the kernel log, since this was asked last: their counts are to be looked at.
    pub fn refusing(&mut self) -> Vec<String> {
        std::mem::take(&mut self.refusing)
    }

    /// Forks were refused, as far as is known without a hook.
    pub(super) fn forks_refused(&mut self, key: &Key, refused: &PidsRefused, offset_ns: i64) -> Event {
        let mut common = self.common_of_log(key.boot_ns, offset_ns);
        if refused.counted && common.source == Source::Kmsg {
            common.source = Source::Cgroup;
        }
        Event::ForkFailure(Box::new(fork::refused(refused, common)))
    }

    /// Kills that the kernel counted and that are accounted for, at the most.
    #[must_use]
    pub fn accounted_kills(&self) -> u64 {
        let open = self.open.values().map(Run::tally);
        open.fold(self.tally, Tally::and).accounted(&self.log)
    }
}
