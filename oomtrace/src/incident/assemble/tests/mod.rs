//! Records to incidents, case by case.

mod failures;
mod refusals;
mod reliefs;
mod runs;
mod told;
mod user_kills;

use super::*;
use crate::{
    incident::{VICTIMS_ENVIRONMENT, chain::tests::level, types::Verdict},
    kernel::hooks::Tier,
    record::{After, Candidate, CgroupId, Close, Decision, Level, Mm, Reclaim},
    session::tests::sample,
};

const APP: u64 = 9;
const ROOT: u64 = 1;

fn session(tier: Tier) -> Session {
    Session {
        missing: [TRIGGER_CMDLINE, VICTIMS_CMDLINE, VICTIMS_ENVIRONMENT]
            .map(|field| (field.to_owned(), NO_CMDLINE.to_owned()))
            .into(),
        ..sample(tier)
    }
}

const NO_CMDLINE: &str = "--no-cmdline was given";

fn assembler(tier: Tier) -> Assembler {
    Assembler::new(session(tier), Source::Ebpf)
}

fn task(pid: u32) -> Task {
    Task {
        of_run: None,
        pid: Some(pid),
        tid: Some(pid),
        ppid: Some(1),
        uid: Some(0),
        flags: Some(0),
        threads: Some(1),
        live: Some(1),
        oom_score_adj: Some(0),
        start_boot_ns: Some(1000 + u64::from(pid)),
        memcg: Some(CgroupId { hierarchy: 0, id: APP }),
        comm: Some(format!("task{pid}")),
    }
}

/// Builds the records of one run of the OOM killer.
struct Kernel {
    trigger: u32,
    opened_ns: u64,
    index: u32,
}

impl Kernel {
    fn run(trigger: u32, opened_ns: u64) -> Self {
        Self { trigger, opened_ns, index: 0 }
    }

    fn key(&mut self) -> Key {
        let key = Key {
            trigger_tid: self.trigger,
            opened_ns: self.opened_ns,
            boot_ns: self.opened_ns + u64::from(self.index),
            index: self.index,
            lost: 0,
        };
        self.index += 1;
        key
    }

    fn decision(&mut self, chosen: u32) -> Record {
        let decision = Decision {
            trigger: task(self.trigger),
            chosen: task(chosen),
            gfp_mask: Some(0xcc0),
            order: Some(0),
            constraint: Some(3),
            capacity_pages: Some(8192),
            chosen_points: Some(4242),
            memcg: Some(Some(CgroupId { hierarchy: 0, id: APP })),
            zonelist: Some(false),
        };
        Record::Decision(self.key(), Box::new(decision))
    }

    fn levels(&mut self, group: bool) -> Vec<Record> {
        [level(0, APP, "app", 8190, Some(8192)), level(1, ROOT, "", 0, None)]
            .into_iter()
            .map(|level| {
                let level = Level { leaf_id: APP, oom_group: Some(group && !level.link.root), ..level };
                Record::Level(self.key(), Box::new(level))
            })
            .collect()
    }

    fn mark(&mut self, victim: u32, killed: bool) -> Record {
        let mm = Mm {
            total_vm_pages: Some(9000),
            pgtables_bytes: Some(8192),
            rss_count: Some([3, 8000, 0, 5]),
            rss_sum: Some([4, 8010, 0, 5]),
        };
        let mark = Mark {
            trigger: task(self.trigger),
            victim: task(victim),
            mm,
            killed,
            reclaim: Some(Reclaim::Memcg(None)),
            stall: Some(record::Stall { spent_ns: 7_000, rounds: 3, unseen: 0 }),
        };
        Record::Mark(self.key(), Box::new(mark))
    }

    /// One that had ended by the decision has no figures.
    fn candidate(&mut self, pid: u32, points: i64, there: bool) -> Record {
        let mm = Mm { rss_count: Some([1, points, 0, 2]), ..Mm::default() };
        let candidate = Candidate {
            pid,
            points,
            task: there.then(|| task(pid)),
            mm: if there { mm } else { Mm::default() },
            examined: 9,
            computed: false,
            unkillable: 3,
        };
        Record::Candidate(self.key(), Box::new(candidate))
    }

    /// After so many ns.
    fn relief(&mut self, what: After, victim: u32, after_ns: u64) -> Record {
        let mut key = self.key();
        key.boot_ns += after_ns;
        (key.trigger_tid, key.opened_ns) = (0, 0);
        let reaped = what == After::Reaped;
        let id = |here: bool| here.then_some(victim);
        let start_boot_ns = task(victim).start_boot_ns.filter(|_| !reaped);
        Record::Relief(key, record::Relief { what, pid: id(!reaped), start_boot_ns, tid: id(reaped) })
    }

    fn close(&mut self, kills: u32, marks: u32) -> Record {
        let entered_ns = Some(self.opened_ns);
        Record::Close(self.key(), Close { kills, marks, verdict: true, entered_ns, ..Close::default() })
    }
}

fn feed(assembler: &mut Assembler, records: impl IntoIterator<Item = Record>) -> Vec<Event> {
    records.into_iter().flat_map(|record| assembler.record(record, 0)).collect()
}

fn closed(events: &[Event]) -> Vec<&Incident> {
    events.iter().filter_map(Event::closed).collect()
}

fn verdicts(incident: &Incident) -> Vec<(u32, Verdict)> {
    incident.victims.iter().map(|victim| (victim.pid.unwrap(), victim.verdict.unwrap())).collect()
}

/// The kin of a process that is the child of init.
fn kin(pid: u32) -> Record {
    let key = Key { trigger_tid: 0, opened_ns: 0, boot_ns: 101, index: 0, lost: 0 };
    let ancestors = Some(vec![record::Ancestor { pid: 1, comm: Some("init".to_owned()) }]);
    let start_boot_ns = task(pid).start_boot_ns;
    Record::Kin(key, Box::new(record::Kin { pid, start_boot_ns, ns_pid: Some(10 * pid), ancestors }))
}
