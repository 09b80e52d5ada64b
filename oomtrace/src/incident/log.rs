//! The kernel log's messages, put together and joined to what was marked.
//!
//! A kill and its mark are one if thread id and name agree and they are within 5 s of each other; of several, the one with
//! the same size is meant. The size alone decides nothing: other threads of a victim may still map memory between its
//! mark and its message. Clocks decide little, since printk has one of its own: a message's time is that of its reading,
//! which is late where the machine leaves nobody a turn. So if the sizes agree too, a minute is close enough.

use std::collections::VecDeque;

use crate::{
    kmsg::{Decided, Invoked, Killed, Line},
    record::{KernelLog, Key, Task},
};

/// Within this, a kill and a mark are one whatever their sizes. ns.
const JOIN_NS: u64 = 5_000_000_000;
/// Within this, they are if nothing is known against it. ns.
const LATEST_NS: u64 = 60_000_000_000;
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

/// What stands before a kill, or before the news that there is nobody to kill.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Report {
    pub invoked: Option<Invoked>,
    /// The thread that asked.
    pub tid: Option<u32>,
    /// The memory cgroup at its limit.
    pub memcg: Option<String>,
    pub decided: Option<Decided>,
}

/// There was nobody to kill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Nobody {
    /// Number of its message.
    pub seq: u64,
    /// When it was read, ns since boot.
    pub boot_ns: u64,
    pub offset_ns: i64,
    /// Absent where the kernel left it out, as of a kill.
    pub report: Option<Report>,
}

/// What a message comes to.
#[derive(Debug)]
pub(super) enum Told {
    /// A kill without a mark for which there is no room any more.
    Evicted(Kill),
    /// There was nobody to kill.
    Nobody(Nobody),
    /// A cgroup refused a fork, for the first time: its path.
    ForkRejected(String),
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
    pid: Option<u32>,
    comm: Option<String>,
    total_vm_kb: Option<u64>,
    boot_ns: u64,
}

impl Log {
    /// Takes a message in.
    pub fn take(&mut self, key: &Key, log: &KernelLog, offset_ns: i64) -> Option<Told> {
        match Line::parse(&log.text)? {
            Line::Invoked(invoked) => {
                self.report = Some(Report { invoked: Some(invoked), ..Report::default() });
                self.group = false;
            }
            // Others' are none of a report's.
            Line::Thread { pid } => {
                if let Some(report) = &mut self.report {
                    report.tid.get_or_insert(pid);
                }
            }
            Line::Stats { path } => {
                if let Some(report) = &mut self.report {
                    report.memcg.get_or_insert(path);
                }
            }
            Line::Decided(decided) => {
                self.report.get_or_insert_default().decided = Some(*decided);
                self.group = false;
            }
            Line::NothingKillable => {
                let (seq, boot_ns) = (log.seq, key.boot_ns);
                let report = self.report.take();
                // Of a run that had nobody it is the last line, so what is there of a decision was another's.
                let report = report.filter(|report| report.decided.is_none());
                return Some(Told::Nobody(Nobody { seq, boot_ns, offset_ns, report }));
            }
            Line::ForkRejected { path } => return Some(Told::ForkRejected(path)),
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
                return self.evict().map(Told::Evicted);
            }
            Line::Chosen { .. } | Line::AlreadyExiting { .. } | Line::Reaped { .. } => {}
        }
        None
    }

    fn evict(&mut self) -> Option<Kill> {
        (self.kills.len() > KILLS).then(|| self.kills.pop_front())?.filter(|kill| !kill.joined)
    }

    /// A task was marked, killed or not, or is known to have been.
    pub fn marked(&mut self, victim: &Task, total_vm_kb: Option<u64>, boot_ns: u64) {
        let marked = Marked::new(victim, total_vm_kb, boot_ns);
        for kill in &mut self.kills {
            kill.joined |= kill.is_of(&marked);
        }
        let old = |known: &Marked| known.boot_ns.saturating_add(LATEST_NS) < boot_ns;
        while self.marks.len() >= MARKS || self.marks.front().is_some_and(old) {
            self.marks.pop_front();
        }
        self.marks.push_back(marked);
    }

    /// What the log tells of a victim that was marked at `boot_ns`.
    pub fn of(&self, victim: &Task, total_vm_kb: Option<u64>, boot_ns: u64) -> Option<&Kill> {
        let marked = Marked::new(victim, total_vm_kb, boot_ns);
        let mut found = self.kills.iter().filter(|kill| kill.is_of(&marked));
        let first = found.next()?;
        let same = |kill: &&Kill| kill.killed.total_vm_kb.is_some() && kill.killed.total_vm_kb == total_vm_kb;
        Some(if same(&first) { first } else { found.find(same).unwrap_or(first) })
    }

    /// Whether a report has begun whose kill is still to come.
    pub fn is_reporting(&self) -> bool {
        self.report.is_some()
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

impl Marked {
    fn new(victim: &Task, total_vm_kb: Option<u64>, boot_ns: u64) -> Self {
        Self { tid: victim.tid, pid: victim.pid, comm: victim.comm.clone(), total_vm_kb, boot_ns }
    }
}

impl Kill {
    fn is_of(&self, marked: &Marked) -> bool {
        let apart_ns = self.boot_ns.abs_diff(marked.boot_ns);
        let sizes = marked.total_vm_kb.zip(self.killed.total_vm_kb);
        marked.tid.or(marked.pid) == Some(self.killed.pid)
            && marked.comm.as_ref().is_none_or(|comm| *comm == self.killed.comm)
            && (apart_ns <= JOIN_NS
                || (apart_ns <= LATEST_NS && sizes.is_none_or(|(marked, logged)| marked == logged)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: [&str; 2] = [
        "asker invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0",
        "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/a,task_memcg=/a,task=x,\
         pid=7,uid=0",
    ];
    const KILLED: &str = "Memory cgroup out of memory: Killed process 7 (x) total-vm:40kB";
    const S: u64 = 1_000_000_000;

    fn key(boot_ns: u64) -> Key {
        Key { trigger_tid: 0, opened_ns: 0, boot_ns, index: 0, lost: 0 }
    }

    fn log(messages: &[(u64, &str)]) -> Log {
        let mut log = Log::default();
        for (seq, (boot_ns, text)) in (0..).zip(messages) {
            let message = KernelLog { seq, usec: 0, text: text.as_bytes().to_vec() };
            assert!(!matches!(log.take(&key(*boot_ns), &message, 0), Some(Told::Evicted(_))));
        }
        log
    }

    fn victim(tid: u32) -> Task {
        Task { tid: Some(tid), comm: Some("x".to_owned()), ..Task::default() }
    }

    /// Guards joining: by thread and name, whichever comes first, and not for ever.
    #[test]
    fn a_kill_has_its_mark() {
        let mut early = log(&[(S, REPORT[0]), (S, REPORT[1]), (S, KILLED)]);
        assert_eq!(early.deadline_ns(), Some(3 * S));
        early.marked(&victim(8), None, S);
        assert_eq!(early.deadline_ns(), Some(3 * S), "another's");
        early.marked(&victim(7), Some(44), 2 * S);
        assert_eq!(early.deadline_ns(), None, "it grew meanwhile");
        assert!(early.expire(u64::MAX).is_empty());

        let mut late = log(&[]);
        late.marked(&victim(7), Some(40), S);
        late.marked(&victim(7), Some(44), S);
        late.take(&key(30 * S), &KernelLog { seq: 5, usec: 0, text: KILLED.into() }, 0);
        assert_eq!(late.deadline_ns(), None, "nobody had a turn before");
        assert_eq!(late.of(&victim(7), Some(40), S).unwrap().seq, 5);
        assert!(late.of(&victim(7), Some(44), S).is_none(), "its id was given to another");
    }

    /// Guards what nobody saw: told once, after 2 s, with what the kernel reported of it.
    #[test]
    fn an_unseen_kill_comes_out_once() {
        let mut log = log(&[(S, REPORT[0]), (S, REPORT[1]), (S, KILLED), (S, KILLED)]);
        assert!(log.expire(3 * S - 1).is_empty());
        let unseen = log.expire(3 * S);
        assert_eq!(unseen.len(), 2);
        assert_eq!(unseen[0].report.as_ref().unwrap().invoked.as_ref().unwrap().order, 0);
        assert!(unseen[1].report.is_none(), "it had none of its own");
        assert!(log.expire(u64::MAX).is_empty());
    }

    /// Guards against another kill's report.
    #[test]
    fn a_report_is_of_one_kill() {
        let other = "Memory cgroup out of memory: Killed process 9 (y) total-vm:40kB";
        let unseen = log(&[(S, REPORT[0]), (S, REPORT[1]), (S, other)]).expire(u64::MAX);
        assert!(unseen[0].report.is_none());
        let nobody = "Out of memory and no killable processes...";
        let unseen = log(&[(S, REPORT[0]), (S, nobody), (S, KILLED)]).expire(u64::MAX);
        assert!(unseen[0].report.is_none());
    }

    /// Guards the news that there is nobody to kill: with the report before it, if it has one, and with no other.
    #[test]
    fn nobody_to_kill_is_told_with_its_report() {
        let nobody = "Out of memory and no killable processes...";
        let said = |messages: &[&str]| {
            let mut log = Log::default();
            let told = messages.iter().filter_map(|text| {
                log.take(&key(S), &KernelLog { seq: 4, usec: 0, text: text.as_bytes().to_vec() }, 0)
            });
            let reports: Vec<_> = told
                .map(|told| match told {
                    Told::Nobody(nobody) => nobody.report.map(|report| (report.tid, report.memcg)),
                    other => panic!("{other:?}"),
                })
                .collect();
            reports
        };
        let thread = "CPU: 1 PID: 115 Comm: asker Not tainted 5.10";
        let stats = "Memory cgroup stats for /a:";
        let own = Some((Some(115), Some("/a".to_owned())));
        assert_eq!(said(&[REPORT[0], thread, stats, nobody]), [own]);
        assert_eq!(said(&[thread, stats, nobody]), [None], "no report of its own");
        assert_eq!(said(&[REPORT[0], thread, stats, REPORT[1], nobody]), [None], "that is of a kill");
        assert_eq!(said(&[REPORT[0], nobody, nobody]), [Some((None, None)), None]);
    }

    /// Guards memory: whatever the log says, and however many are marked. Each kill is held against all marks that are kept and
    /// each mark against all kills, so most of them come where there are few of the others: it takes a tenth of the time.
    #[test]
    fn what_is_kept_has_a_bound() {
        const MARKED: u32 = 21_000;
        const KILLED: u32 = 5_000;
        let mut log = Log::default();
        let mark = |log: &mut Log, at: u32| log.marked(&victim(at + 100), None, S);
        let kill = |log: &mut Log, at: u32| {
            let text = format!("Out of memory: Killed process {at} (y) total-vm:1kB").into_bytes();
            let told = log.take(&key(S), &KernelLog { seq: 0, usec: 0, text }, 0);
            u32::from(matches!(told, Some(Told::Evicted(_))))
        };
        (0..KILLED).for_each(|at| mark(&mut log, at));
        let mut out: u32 = (0..KILLED).map(|at| kill(&mut log, at)).sum();
        assert_eq!(log.kills.len(), KILLS);
        let mut marked = Log { marks: std::mem::take(&mut log.marks), ..Log::default() };
        (KILLED..MARKED).for_each(|at| mark(&mut marked, at));
        assert_eq!(marked.marks.len(), MARKS);
        log.marks = marked.marks;
        for at in 0..100 {
            mark(&mut log, MARKED + at);
            out += kill(&mut log, KILLED + at);
        }
        assert_eq!((log.kills.len(), log.marks.len()), (KILLS, MARKS));
        assert_eq!(out as usize + log.expire(u64::MAX).len(), KILLED as usize + 100);
    }
}
