//! The account of a story: every record that tells of a kill or a decision has to come out again, once.
//!
//! Each decision's trigger has a serial number for its uid, and each mark's victim one for its ppid, so that what
//! comes out can be told apart.

use std::collections::{HashMap, HashSet};

use oomtrace::{
    incident::{Event, Incident, Outcome, Relief, Verdict, Victim},
    record::Mark,
};
use oomtrace_ebpf::{MAX_CANDIDATES, MAX_LEVELS};

/// Runs that an assembler keeps open, at the most.
const OPEN_LIMIT: usize = 64;
/// Victims that it remembers, at the most.
const REMEMBERED: usize = 256;

/// See the module.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Decisions that came in; whether they came out.
    decisions: Vec<bool>,
    marks: Vec<Marked>,
    /// Incidents that were announced and are not complete: their first victim's serial number.
    open: HashMap<String, u32>,
    /// Complete incidents.
    closed: usize,
    /// Lines about allocations that failed, which are numbered with them.
    failures: usize,
    /// Complete incidents that are followed until their victims' memory is free: number, id and victims.
    followed: HashMap<u64, (String, Vec<u32>)>,
    /// The victims of complete incidents, in their order.
    victims: Vec<(u32, Option<u64>)>,
}

#[derive(Debug)]
struct Marked {
    tid: u32,
    pid: Option<u32>,
    start_ns: Option<u64>,
    killed: bool,
    /// Complete incidents when it came in.
    came: usize,
    fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It has not come out.
    Pending,
    /// It is a victim of the complete incident with this number.
    Victim(usize),
    /// Another mark of the same process is a victim of its incident.
    Merged,
    /// Its process was a victim before, and this is no kill.
    Repeated,
}

impl Ledger {
    /// A decision is about to come in. Gives its serial number.
    pub fn decision(&mut self) -> u32 {
        self.decisions.push(false);
        u32::try_from(self.decisions.len() - 1).expect("stories are short")
    }

    /// The serial number of the next mark.
    #[must_use]
    pub fn next_mark(&self) -> u32 {
        u32::try_from(self.marks.len()).expect("stories are short")
    }

    /// A mark is about to come in, of a run of this trigger.
    pub fn mark(&mut self, tid: u32, mark: &Mark) {
        let victim = &mark.victim;
        assert_eq!(victim.ppid, Some(self.next_mark()));
        self.marks.push(Marked {
            tid,
            pid: victim.pid,
            start_ns: victim.start_boot_ns,
            killed: mark.killed,
            came: self.closed,
            fate: Fate::Pending,
        });
    }

    /// The assembler said this.
    pub fn event(&mut self, event: &Event) {
        match event {
            Event::Opened(incident) => self.opened(incident),
            Event::Closed(incident) => self.complete(incident),
            Event::Relieved(relief) => self.relieved(relief),
            Event::ForkFailure(failure) => {
                self.failures += 1;
                assert_eq!(failure.common.seq, (self.closed + self.failures) as u64, "numbered without a gap");
            }
            Event::UserKill(kill) => {
                self.failures += 1;
                assert_eq!(kill.common.seq, (self.closed + self.failures) as u64, "numbered without a gap");
            }
            Event::AllocFailure(failure) => {
                self.failures += 1;
                assert_eq!(failure.common.seq, (self.closed + self.failures) as u64, "numbered without a gap");
            }
        }
        assert!(self.open.len() <= OPEN_LIMIT, "{} incidents are open at once", self.open.len());
    }

    /// A record came in and what the assembler said to it is accounted for. A mark may have been left out.
    pub fn settle(&mut self, mark: bool) {
        let recent = self.victims.len().saturating_sub(REMEMBERED);
        // Or its process is a victim of an incident that is open.
        let twin = self.marks.split_last().is_some_and(|(last, earlier)| {
            let same = |other: &Marked| (other.pid, other.start_ns) == (last.pid, last.start_ns);
            earlier.iter().any(|other| same(other) && matches!(other.fate, Fate::Pending | Fate::Repeated))
        });
        if mark
            && let Some(mark) = self.marks.last_mut()
            && !mark.killed
            && mark.fate == Fate::Pending
            && let Some(pid) = mark.pid
            && (self.victims[recent..].contains(&(pid, mark.start_ns)) || twin)
        {
            // It may still come out, if it belonged to a run that was open.
            mark.fate = Fate::Repeated;
        }
        let waiting = self.decisions.iter().filter(|out| !**out).count();
        assert!(waiting <= OPEN_LIMIT, "{waiting} decisions wait at once");
    }

    fn opened(&mut self, incident: &Incident) {
        let first = incident.victims.first().and_then(|victim| victim.ppid);
        let first = first.unwrap_or_else(|| panic!("{} was announced without a mark", incident.id));
        let before = self.open.insert(incident.id.clone(), first);
        assert!(before.is_none(), "{} was announced already", incident.id);
    }

    fn complete(&mut self, incident: &Incident) {
        let announced = self.open.remove(&incident.id);
        let first = incident.victims.first().and_then(|victim| victim.ppid);
        assert_eq!(announced, first, "{} was not announced with its first victim", incident.id);
        self.closed += 1;
        assert_eq!(incident.common.seq, (self.closed + self.failures) as u64, "incidents are numbered without a gap");
        assert!(incident.scope.limits.len() <= MAX_LEVELS as usize, "no kernel half sends more levels");
        assert!(incident.candidates.len() <= MAX_CANDIDATES, "no kernel half sends more candidates");
        assert!(incident.candidates.is_sorted_by(|one, next| one.points >= next.points), "best first");
        let known = !incident.candidates.is_empty() || incident.missing.contains_key("candidates");
        assert!(known, "candidates are left out without a reason");

        let decision = incident.trigger.uid;
        if let Some(serial) = decision {
            let out = &mut self.decisions[serial as usize];
            assert!(!*out, "decision {serial} came out twice");
            *out = true;
        }
        match incident.outcome {
            Some(Outcome::Killed | Outcome::AlreadyExiting) => {
                assert!(!incident.victims.is_empty(), "nobody was killed");
            }
            Some(Outcome::Panic) => panic!("a kernel that panicked sends no record"),
            Some(Outcome::NoVictim) => assert!(incident.victims.is_empty(), "somebody was killed"),
            None => assert!(
                incident.victims.is_empty() && incident.missing.contains_key("outcome"),
                "how it ended is left out without a reason"
            ),
        }
        assert!(decision.is_some() || !incident.victims.is_empty(), "an incident of nothing");

        let mut pids = HashSet::new();
        for (place, victim) in incident.victims.iter().enumerate() {
            assert!(victim.pid.is_none_or(|pid| pids.insert(pid)), "one process is a victim twice");
            if let Some(serial) = victim.ppid {
                self.victim(serial, victim, place);
            } else {
                let alone = incident.victims.len() == 1 && decision.is_some();
                assert!(alone, "a victim without a mark is the one that a decision chose");
                let lost = incident.missing.get("victims[0].rss").is_some_and(|why| why.contains("lost"));
                let verdict = if lost { victim.verdict } else { Some(Verdict::AlreadyExiting) };
                assert_eq!(victim.verdict, verdict);
            }
        }
        self.merge(incident);
        // A victim that is known by its decision alone was not seen being marked.
        let marked = incident.victims.iter().filter(|victim| victim.ppid.is_some());
        let pids: Vec<_> = marked.filter_map(|victim| victim.pid).collect();
        if !pids.is_empty() {
            self.followed.insert(incident.common.seq, (incident.id.clone(), pids));
        }
    }

    /// What became of its victims is told of a complete incident, once.
    fn relieved(&mut self, relief: &Relief) {
        let (id, pids) = self.followed.remove(&relief.common.seq).expect("a relief of nothing, or a second one");
        assert_eq!(relief.id, id);
        assert_eq!(relief.victims.iter().map(|victim| victim.pid).collect::<Vec<_>>(), pids);
        let absent = relief.victims.iter().flat_map(|victim| [victim.exited_ns, victim.freed_ns]);
        assert_eq!(absent.filter(Option::is_none).count(), relief.missing.len(), "absent without a reason");
        assert!(relief.victims.iter().all(|victim| victim.reaped == victim.reaped_ns.is_some()));
    }

    fn victim(&mut self, serial: u32, victim: &Victim, place: usize) {
        let mark = &mut self.marks[serial as usize];
        assert!(
            matches!(mark.fate, Fate::Pending | Fate::Repeated),
            "mark {serial} came out twice, or after its process was taken out: {mark:?}"
        );
        mark.fate = Fate::Victim(self.closed);
        assert_eq!(victim.pid, mark.pid);
        let verdict = match (mark.killed, place) {
            (true, 0) => Verdict::Killed,
            (true, _) => Verdict::GroupKilled,
            (false, _) => Verdict::AlreadyExiting,
        };
        assert_eq!(victim.verdict, Some(verdict));
        if let Some(pid) = mark.pid {
            self.victims.push((pid, mark.start_ns));
        }
    }

    /// Marks of a process that this incident has, by the same trigger, that came in while it was open.
    fn merge(&mut self, incident: &Incident) {
        let serials: Vec<u32> = incident.victims.iter().filter_map(|victim| victim.ppid).collect();
        for serial in serials {
            let (tid, pid, came) = {
                let mark = &self.marks[serial as usize];
                (mark.tid, mark.pid, mark.came)
            };
            if pid.is_none() {
                continue;
            }
            let last = self.marks.len() - 1;
            for (place, later) in self.marks.iter_mut().enumerate().skip(serial as usize + 1) {
                let same = later.tid == tid && later.pid == pid && later.came >= came;
                if same && matches!(later.fate, Fate::Pending) {
                    // The last may have come with a run of its own, which completed this one and is yet to come out.
                    later.fate = if place == last { Fate::Repeated } else { Fate::Merged };
                }
            }
        }
    }

    /// The stream is over, and what the assembler said to that is accounted for.
    pub fn finish(self) {
        assert!(self.open.is_empty(), "never completed: {:?}", self.open);
        assert!(self.followed.is_empty(), "never told of their victims: {:?}", self.followed);
        for (serial, out) in self.decisions.iter().enumerate() {
            assert!(out, "decision {serial} never came out");
        }
        for (serial, mark) in self.marks.iter().enumerate() {
            assert_ne!(mark.fate, Fate::Pending, "mark {serial} never came out: {mark:?}");
        }
    }
}
