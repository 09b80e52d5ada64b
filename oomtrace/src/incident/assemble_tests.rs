//! Records to incidents, case by case.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;

use super::*;
use crate::{
    incident::{
        chain::tests::level,
        failure::FailureKind,
        types::{Cause, ScopeKind},
    },
    kernel::hooks::Tier,
    output::{Format as _, Human, Message},
    record::{After, Ceiling, CgroupId, Mm, Reclaim},
    session::tests::sample,
};

const APP: u64 = 9;
const ROOT: u64 = 1;

fn session(tier: Tier) -> Session {
    Session {
        missing: [TRIGGER_CMDLINE, VICTIMS_CMDLINE]
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
                let level = Level { leaf_id: APP, oom_group: Some(group && !level.root), ..level };
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

/// Guards the plain case with a hook at the decision: one incident, the kernel's own score, nothing missing.
#[test]
fn a_decision_a_mark_and_an_end_are_one_incident() {
    let mut assembler = assembler(Tier::Trampoline);
    let mut kernel = Kernel::run(7, 100);
    let mut records = vec![kernel.decision(8), kernel.candidate(8, 4242, true), kin(7)];
    records.extend(kernel.levels(false));
    records.push(kin(8));
    records.push(kernel.mark(8, true));
    let events = feed(&mut assembler, records);
    assert!(matches!(&events[..], [Event::Opened(_)]), "the first line comes with the mark");
    let events = feed(&mut assembler, [kernel.close(1, 1)]);
    let [incident] = closed(&events)[..] else { panic!("{events:?}") };
    assert_eq!(verdicts(incident), [(8, Verdict::Killed)]);
    assert_eq!(incident.trigger.pid, Some(7));
    assert_eq!(incident.victims[0].points, Some(4242), "the kernel's own");
    assert_eq!(incident.victims[0].place.cgroup.as_deref(), Some("/app"));
    assert_eq!(incident.stall.map(|stall| (stall.rounds, stall.duration_ns)), Some((3, 7_000)));
    assert_eq!(incident.scope.kind, Some(ScopeKind::Memcg));
    assert_eq!(incident.scope.memcg.as_ref().and_then(|memcg| memcg.path.as_deref()), Some("/app"));
    assert_eq!(incident.scope.capacity_bytes, Some(8192 * 4096));
    assert_eq!((incident.trigger.kinship.ns_pid, incident.victims[0].kinship.ns_pid), (Some(70), Some(80)));
    let mut unread: BTreeMap<_, _> =
        [TRIGGER_CMDLINE, "victims[0].cmdline"].map(|field| (field.to_owned(), NO_CMDLINE.to_owned())).into();
    // Recordings of older versions have none.
    let none = "the records of the decision have none";
    unread.extend(["zones", "host_memory"].map(|field| (field.to_owned(), none.to_owned())));
    assert_eq!(incident.missing, unread);
    assert_eq!(incident.lost_records, 0);
    let victim = &incident.victims[0];
    assert_eq!(victim.rss.unwrap().anon_bytes, 8010 * 4096, "summed");
    assert_eq!(victim.rss_kernel.unwrap().anon_bytes, 8000 * 4096, "as this kernel reads it");
    let awaits = assembler.deadline_ns().unwrap();
    assert!(awaits > 10_000_000_000, "nothing but the relief is waited for: {awaits}");
}

/// Guards the ballot: best first, with what is known of each, and a reason for the rest; no more than were sent.
#[test]
fn candidates_come_best_first() {
    let mut assembler = assembler(Tier::Trampoline);
    let mut kernel = Kernel::run(7, 100);
    let mut records = vec![
        kernel.decision(8),
        kernel.candidate(5, -20, true),
        kernel.candidate(8, 4242, true),
        kernel.candidate(6, 100, false),
        kernel.mark(8, true),
    ];
    records.push(kernel.close(1, 1));
    let events = feed(&mut assembler, records);
    let [incident] = closed(&events)[..] else { panic!("{events:?}") };
    let ballot = |incident: &Incident| -> Vec<_> {
        let of =
            |candidate: &crate::incident::Candidate| (candidate.pid, candidate.points, candidate.rss_bytes);
        incident.candidates.iter().map(of).collect()
    };
    // A counter below 0 counts as 0.
    let best = [(8, 4242, Some(4245 * 4096)), (6, 100, None), (5, -20, Some(3 * 4096))];
    assert_eq!(ballot(incident), best);
    assert_eq!(incident.ballot.map(|ballot| (ballot.examined, ballot.unkillable)), Some((9, 3)));
    assert_eq!(incident.candidates[0].comm.as_deref(), Some("task8"));
    let gone = |field: &str| incident.missing.get(&format!("candidates[1].{field}")).map(String::as_str);
    for field in ["comm", "rss_bytes", "swap_bytes", "oom_score_adj"] {
        assert_eq!(gone(field), Some("it had ended by the time of the decision"), "{field}");
    }

    let mut kernel = Kernel::run(7, 200);
    let mut records = vec![kernel.decision(9)];
    records.extend((0..20).map(|pid| kernel.candidate(pid, i64::from(pid), true)));
    records.extend([kernel.mark(9, true), kernel.close(1, 1)]);
    let events = feed(&mut assembler, records);
    let [incident] = closed(&events)[..] else { panic!("{events:?}") };
    assert_eq!((incident.candidates.len(), incident.lost_records), (16, 4));
}

/// Guards zones: they are the decision's, in the order of their records; no more than were sent are kept, and none of a
/// decision that is in doubt.
#[test]
fn zones_belong_to_a_decision() {
    let zone = |kernel: &mut Kernel| {
        let zone = record::Zone {
            node: Some(0),
            name: Some("Normal".to_owned()),
            free_pages: Some(10),
            managed_pages: Some(1000),
            ..record::Zone::default()
        };
        Record::Zone(kernel.key(), Box::new(zone))
    };
    let node = |kernel: &mut Kernel| {
        let node = record::Node { node: Some(0), counters: [Some(3); oomtrace_ebpf::NODE_COUNTERS.len()] };
        Record::Node(kernel.key(), Box::new(node))
    };
    for (zones, lost, doubtful) in [(1, 0, false), (20, 4, false), (2, 0, true)] {
        let mut assembler = assembler(Tier::Trampoline);
        let mut kernel = Kernel::run(7, 100);
        let mut records = vec![kernel.decision(if doubtful { 9 } else { 8 })];
        records.extend((0..zones).map(|_| zone(&mut kernel)));
        records.push(node(&mut kernel));
        records.extend(kernel.levels(false));
        records.extend([kernel.mark(8, true), kernel.close(1, 1)]);
        let events = feed(&mut assembler, records);
        let [incident] = closed(&events)[..] else { panic!("{events:?}") };
        assert_eq!(incident.lost_records, lost);
        if doubtful {
            assert!(incident.zones.is_empty() && incident.host_memory.is_none());
            assert!(incident.missing["zones"].contains("oom_control"), "{:?}", incident.missing);
            continue;
        }
        assert_eq!(incident.zones.len(), zones.min(16));
        assert_eq!(incident.zones[0].free_bytes, Some(10 * 4096));
        assert!(incident.missing.contains_key("zones[0].min_bytes"));
        let memory = incident.host_memory.as_ref().unwrap();
        assert_eq!((memory.shmem_bytes, memory.kernel_stack_bytes), (Some(3 * 4096), Some(3 * 1024)));
        assert!(incident.missing.contains_key("host_memory.swap_total_bytes"), "no record has it");
    }
}

/// Guards that a stall is the trigger's own: of a group it is the one before the first kill, and the worker of sysrq
/// has none.
#[test]
fn a_stall_is_the_triggers() {
    let mut assembler = assembler(Tier::Tracepoint);
    let mut kernel = Kernel::run(7, 100);
    let mut records = kernel.levels(true);
    records.push(kernel.mark(8, true));
    let Record::Mark(key, mut second) = kernel.mark(9, true) else { unreachable!() };
    second.stall = second.stall.map(|stall| record::Stall { rounds: 5, ..stall });
    records.push(Record::Mark(key, second));
    feed(&mut assembler, records);
    let events = assembler.end();
    let [incident] = closed(&events)[..] else { panic!("{events:?}") };
    assert_eq!(incident.stall.map(|stall| stall.rounds), Some(3));

    let mut assembler = self::assembler(Tier::Trampoline);
    let mut kernel = Kernel::run(7, 200);
    let Record::Decision(key, mut decision) = kernel.decision(8) else { unreachable!() };
    decision.order = Some(-1);
    let records = [Record::Decision(key, decision), kernel.mark(8, true), kernel.close(1, 1)];
    let events = feed(&mut assembler, records);
    let [incident] = closed(&events)[..] else { panic!("{events:?}") };
    assert_eq!((incident.stall, incident.missing.contains_key("stall")), (None, true));
}

/// Guards that a figure that is too low is not told.
#[test]
fn a_stall_of_which_a_part_was_missed_is_absent() {
    let mut assembler = assembler(Tier::Trampoline);
    let mut kernel = Kernel::run(7, 100);
    let decision = kernel.decision(8);
    let Record::Mark(key, mut mark) = kernel.mark(8, true) else { unreachable!() };
    mark.stall = mark.stall.map(|stall| record::Stall { unseen: 1, ..stall });
    let records = [decision, Record::Mark(key, mark), kernel.close(1, 1)];
    let events = feed(&mut assembler, records);
    let [incident] = closed(&events)[..] else { panic!("{events:?}") };
    assert_eq!(incident.stall, None);
    assert!(incident.missing["stall"].contains("gone unseen"), "{:?}", incident.missing);
}

/// Guards that a decision without a ballot says so.
#[test]
fn nobody_scored_is_said() {
    let mut assembler = assembler(Tier::Trampoline);
    let mut kernel = Kernel::run(7, 100);
    let events = feed(&mut assembler, [kernel.decision(8), kernel.mark(8, true), kernel.close(1, 1)]);
    let [incident] = closed(&events)[..] else { panic!("{events:?}") };
    assert!(incident.missing["candidates"].contains("no task was seen being scored"));
}

/// Guards the tracepoint tier: scope and score follow from the limits, and the incident ends with its mark.
#[test]
fn a_mark_alone_is_an_incident_where_no_hook_shows_the_decision() {
    let mut assembler = assembler(Tier::Tracepoint);
    let mut kernel = Kernel::run(7, 100);
    let mut records = kernel.levels(false);
    records.push(kernel.mark(8, true));
    let events = feed(&mut assembler, records);
    let [incident] = closed(&events)[..] else { panic!("{events:?}") };
    assert_eq!(incident.scope.kind, Some(ScopeKind::Memcg));
    assert_eq!(incident.scope.cause, Some(Cause::Allocation));
    assert_eq!(incident.scope.capacity_bytes, Some(8192 * 4096));
    assert_eq!(incident.victims[0].points, Some(8000 + 3 + 5 + 2));
    assert_eq!(incident.trigger.gfp_mask, None);
}

/// Guards the scope where a reclaim went unseen: a limit that trigger and victim share and have reached is enough,
/// and without one nothing is claimed.
#[test]
fn an_unseen_reclaim_leaves_the_limits_to_tell() {
    for (limit, kind) in [(Some(8192), Some(ScopeKind::Memcg)), (None, None)] {
        let mut assembler = assembler(Tier::Tracepoint);
        let mut kernel = Kernel::run(7, 100);
        let mut records = kernel.levels(false);
        for record in &mut records {
            let Record::Level(_, level) = record else { panic!("{record:?}") };
            level.limit = Some(limit.map_or(Ceiling::Unlimited, Ceiling::Pages));
        }
        let Record::Mark(key, mut mark) = kernel.mark(8, true) else { panic!("no mark") };
        mark.reclaim = None;
        records.push(Record::Mark(key, mark));
        let events = feed(&mut assembler, records);
        assert_eq!(closed(&events)[0].scope.kind, kind);
        assert_eq!(closed(&events)[0].missing.contains_key("scope.kind"), kind.is_none());
    }
}

/// Guards a group: one incident, the rest killed with the first, though each mark has a beginning of its own.
#[test]
fn a_group_without_a_decision_is_one_incident() {
    let mut assembler = assembler(Tier::Tracepoint);
    let mut events = Vec::new();
    for (victim, opened_ns) in [(8, 100), (9, 1000), (10, 2000)] {
        let mut kernel = Kernel::run(7, opened_ns);
        let mut records = kernel.levels(true);
        let mark = kernel.mark(victim, true);
        records.push(if victim == 8 { mark } else { at_once(mark) });
        events.extend(feed(&mut assembler, records));
    }
    assert!(closed(&events).is_empty(), "the group may go on");
    let deadline_ns = assembler.deadline_ns().unwrap();
    assert!((2000..2100 + GROUP_NS).contains(&deadline_ns));
    assert!(assembler.expire(deadline_ns - 1).is_empty());
    let events = assembler.expire(deadline_ns);
    let [incident] = closed(&events)[..] else { panic!("{events:?}") };
    let expected = [(8, Verdict::Killed), (9, Verdict::GroupKilled), (10, Verdict::GroupKilled)];
    assert_eq!(verdicts(incident), expected);
    assert_eq!(incident.lost_records, 0);
}

/// A mark before which nothing was reclaimed.
fn at_once(mark: Record) -> Record {
    let Record::Mark(key, mark) = mark else { panic!("no mark") };
    Record::Mark(key, Box::new(Mark { stall: None, ..*mark }))
}

/// Guards against merging, where cgroups look like a group's: a trigger that reclaimed in between killed once more, and
/// each incident has the cgroups as they were at its own mark.
#[test]
fn a_kill_after_another_reclaim_is_no_member_of_the_group() {
    let mut assembler = assembler(Tier::Tracepoint);
    let mut events = Vec::new();
    for (victim, opened_ns, usage_pages) in [(8, 100, 8190), (9, 1000, 4100)] {
        let mut kernel = Kernel::run(7, opened_ns);
        let mut records = kernel.levels(true);
        let Record::Level(_, level) = &mut records[0] else { panic!("no level") };
        level.usage_pages = Some(usage_pages);
        records.push(kernel.mark(victim, true));
        events.extend(feed(&mut assembler, records));
    }
    events.extend(assembler.end());
    let seen: Vec<_> = closed(&events)
        .into_iter()
        .map(|incident| (verdicts(incident), incident.scope.limits[0].usage_bytes, incident.lost_records))
        .collect();
    let expected = [(8, 8190 * 4096), (9, 4100 * 4096)];
    assert_eq!(seen, expected.map(|(pid, usage)| (vec![(pid, Verdict::Killed)], Some(usage), 0)));
}

/// Guards against merging: one thread that kills twice in a row is two incidents.
#[test]
fn two_runs_of_one_trigger_stay_apart() {
    for tier in [Tier::Tracepoint, Tier::Trampoline] {
        let mut assembler = assembler(tier);
        let mut events = Vec::new();
        for (victim, opened_ns) in [(8, 100), (9, 1000)] {
            let mut kernel = Kernel::run(7, opened_ns);
            if tier == Tier::Trampoline {
                events.extend(feed(&mut assembler, [kernel.decision(victim)]));
            }
            let mut records = kernel.levels(false);
            records.push(kernel.mark(victim, true));
            events.extend(feed(&mut assembler, records));
        }
        // The end of the trampolines' second run was lost.
        events.extend(assembler.end());
        let pids: Vec<_> = closed(&events).iter().map(|incident| verdicts(incident)).collect();
        assert_eq!(pids, [[(8, Verdict::Killed)], [(9, Verdict::Killed)]], "{tier:?}");
        let ids: Vec<_> = closed(&events).iter().map(|incident| incident.id.clone()).collect();
        assert_ne!(ids[0], ids[1]);
    }
}

/// Guards interleaved triggers: each record goes to its own run.
#[test]
fn records_of_two_triggers_do_not_mix() {
    let mut assembler = assembler(Tier::Trampoline);
    let (mut a, mut b) = (Kernel::run(7, 100), Kernel::run(17, 100));
    let mut records = vec![a.decision(8), b.decision(18)];
    for (x, y) in a.levels(false).into_iter().zip(b.levels(false)) {
        records.extend([x, y]);
    }
    records.extend([b.mark(18, true), a.mark(8, true), a.close(1, 1), b.close(1, 1)]);
    let events = feed(&mut assembler, records);
    let found: Vec<_> =
        closed(&events).iter().map(|incident| (incident.trigger.pid, verdicts(incident))).collect();
    assert_eq!(found, [(Some(7), vec![(8, Verdict::Killed)]), (Some(17), vec![(18, Verdict::Killed)])]);
}

/// Guards the victim that was exiting by itself, by mark and by kill.
#[test]
fn a_task_that_was_exiting_is_not_called_killed() {
    let mut assembler = assembler(Tier::Trampoline);
    let mut kernel = Kernel::run(7, 100);
    let events = feed(&mut assembler, [kernel.decision(8), kernel.mark(8, false), kernel.close(0, 1)]);
    assert_eq!(verdicts(closed(&events)[0]), [(8, Verdict::AlreadyExiting)]);

    // "OOM victim is already exiting": the kill found no memory left, and nothing was marked.
    let mut kernel = Kernel::run(7, 1000);
    let events = feed(&mut assembler, [kernel.decision(9), kernel.close(1, 0)]);
    assert_eq!(verdicts(closed(&events)[0]), [(9, Verdict::AlreadyExiting)]);
    assert!(closed(&events)[0].missing.contains_key("victims[0].rss"));

    let mut kernel = Kernel::run(7, 2000);
    let mut nobody = vec![kernel.decision(10)];
    nobody.push(kernel.close(0, 0));
    let events = feed(&mut assembler, nobody);
    assert_eq!(closed(&events)[0].outcome, Some(Outcome::NoVictim));
}

/// Guards against a second incident for the threads of a victim that is dying: they are marked as they ask for
/// memory.
#[test]
fn further_threads_of_a_victim_are_no_incident() {
    let mut assembler = assembler(Tier::Trampoline);
    let mut kernel = Kernel::run(7, 100);
    let events = feed(&mut assembler, [kernel.decision(8), kernel.mark(8, true), kernel.close(1, 1)]);
    assert_eq!(closed(&events).len(), 1);
    let mut kernel = Kernel::run(8, 1000);
    let mut records = kernel.levels(false);
    records.push(kernel.mark(8, false));
    assert_eq!(feed(&mut assembler, records), []);
    assert!(closed(&assembler.end()).is_empty());
}

/// Guards the count of what was lost on the way: gaps show in the records' numbers.
#[test]
fn a_gap_is_counted_and_its_fields_are_missing() {
    let mut assembler = assembler(Tier::Trampoline);
    let mut kernel = Kernel::run(7, 100);
    let decision = kernel.decision(8);
    let levels = kernel.levels(false);
    let records = [decision, levels[1].clone(), kernel.mark(8, true), kernel.close(1, 1)];
    let events = feed(&mut assembler, records);
    let incident = closed(&events)[0];
    assert_eq!(incident.lost_records, 1);
    assert_eq!(incident.victims[0].place.cgroup, None);
    assert!(incident.missing.contains_key("victims[0].cgroup"));
    assert!(incident.missing.contains_key("scope.memcg.path"));
}

/// Guards the verdict and the cause where records were lost: a kill whose mark found no room is a kill all the same,
/// half a chain of cgroups tells nothing of where the trigger is, and an end that was not seen is no outcome.
#[test]
fn what_was_lost_is_not_made_up_for() {
    let mut assembler = assembler(Tier::Trampoline);
    let mut kernel = Kernel::run(8, 100);
    let decision = kernel.decision(8);
    kernel.levels(false);
    kernel.mark(8, true);
    let events = feed(&mut assembler, [decision, kernel.close(1, 1)]);
    let incident = closed(&events)[0];
    assert_eq!(verdicts(incident), [(8, Verdict::Killed)]);
    assert_eq!(incident.lost_records, 3);
    assert_eq!(incident.missing["victims[0].rss"], "the record of its mark was lost");
    assert_eq!(incident.scope.cause, None);
    assert!(incident.missing.contains_key("scope.cause"));

    feed(&mut assembler, [Kernel::run(9, 1000).decision(8)]);
    let events = assembler.end();
    let incident = closed(&events)[0];
    assert_eq!(incident.outcome, None);
    assert!(incident.missing.contains_key("outcome"));
}

/// Guards the scope when an earlier victim has given its memory back by the time of the mark: the one limit that
/// trigger and victim share was reached, whatever it looks like now.
#[test]
fn a_single_limit_is_the_one_that_was_reached() {
    let mut assembler = assembler(Tier::Tracepoint);
    let mut kernel = Kernel::run(7, 100);
    let mut records = kernel.levels(false);
    let Record::Level(_, level) = &mut records[0] else { panic!("no level") };
    level.usage_pages = Some(10);
    records.push(kernel.mark(8, true));
    let events = feed(&mut assembler, records);
    let memcg = closed(&events)[0].scope.memcg.as_ref();
    assert_eq!(memcg.and_then(|memcg| memcg.path.as_deref()), Some("/app"));
}

/// Guards memory: runs that never end do not pile up.
#[test]
fn runs_without_an_end_are_bounded_and_all_told() {
    let mut assembler = assembler(Tier::Trampoline);
    let mut events = Vec::new();
    for trigger in 0..1000 {
        let mut kernel = Kernel::run(trigger, 100 + u64::from(trigger));
        events.extend(feed(&mut assembler, [kernel.decision(5000), kernel.mark(5000, true)]));
        assert!(assembler.open.len() <= OPEN_LIMIT);
    }
    events.extend(assembler.end());
    assert_eq!(closed(&events).len(), 1000);
}

/// Guards the id that joins the records of an incident: what the first line says, the rest says too, though a
/// decision that comes in late names another task.
#[test]
fn an_incident_keeps_its_id() {
    let mut assembler = assembler(Tier::Tracepoint);
    let mut kernel = Kernel::run(7, 100);
    let mut records = kernel.levels(true);
    records.push(kernel.mark(8, true));
    let Record::Decision(key, mut decision) = kernel.decision(8) else { panic!("no decision") };
    decision.trigger.tid = None;
    records.extend([Record::Decision(key, decision), kernel.close(1, 1)]);
    let events = feed(&mut assembler, records);
    let [Event::Opened(opened), Event::Closed(closed)] = &events[..] else { panic!("{events:?}") };
    assert_eq!(opened.id, closed.id);
}

/// Guards decisions against each other: a second one of the same instant is an incident of its own.
#[test]
fn every_decision_is_an_incident() {
    let mut assembler = assembler(Tier::Trampoline);
    let mut kernel = Kernel::run(7, 100);
    let mut events = feed(&mut assembler, [kernel.decision(8), kernel.decision(9)]);
    events.extend(assembler.end());
    assert_eq!(closed(&events).len(), 2);
}

/// Guards the bound on victims: those beyond it are counted as lost.
#[test]
fn victims_beyond_the_limit_are_counted() {
    let mut assembler = assembler(Tier::Trampoline);
    let mut kernel = Kernel::run(7, 100);
    feed(&mut assembler, [kernel.decision(1)]);
    for victim in 1..=20_000 {
        assembler.record(kernel.mark(victim, true), 0);
    }
    let events = feed(&mut assembler, [kernel.close(20_000, 20_000)]);
    let incident = closed(&events)[0];
    assert_eq!(incident.victims.len(), VICTIM_LIMIT);
    assert_eq!(incident.lost_records, 20_000 - VICTIM_LIMIT as u64);
}

/// Guards the arithmetic of a whole incident against figures that no machine has, as a damaged record file may.
#[test]
fn impossible_figures_are_survived() {
    let mut session = session(Tier::Tracepoint);
    session.host.memory_bytes = Some(u64::MAX);
    session.host.swap_bytes = Some(u64::MAX);
    session.host.cpus_online = u32::MAX;
    let mut assembler = Assembler::new(session, Source::Replay);
    let mut kernel = Kernel::run(7, 100);
    let Record::Mark(key, mut mark) = kernel.mark(8, true) else { panic!("no mark") };
    mark.reclaim = Some(Reclaim::Direct);
    mark.victim.memcg = None;
    mark.mm.rss_count = Some([i64::MAX; 4]);
    mark.mm.rss_sum = None;
    let events = feed(&mut assembler, [Record::Mark(key, mark)]);
    let mut text = Vec::new();
    for event in events {
        Human::new(false, TimeZone::UTC, None).format(&Message::Incident(event), &mut text);
    }
    assert!(String::from_utf8(text).unwrap().contains("anon and shmem 1 % of the capacity"));
}

/// Guards the first line: it tells of a victim, so an incident without one has none, however it ends.
#[test]
fn an_incident_without_a_victim_is_not_announced() {
    let mut assembler = assembler(Tier::Trampoline);
    let mut kernel = Kernel::run(7, 100);
    let events = feed(&mut assembler, [kernel.decision(8), kernel.close(0, 0)]);
    assert!(matches!(&events[..], [Event::Closed(_)]), "{events:?}");
    feed(&mut assembler, [Kernel::run(7, 1000).decision(8)]);
    let events = assembler.end();
    assert!(matches!(&events[..], [Event::Closed(_)]), "{events:?}");
}

/// Guards against figures from an `oom_control` that is read at the wrong places: a decision that does not fit what
/// came of it is not told, each field says why, and the victim is reported all the same.
#[test]
fn a_decision_that_cannot_be_true_is_not_told() {
    let wrong: [fn(&mut Decision); 9] = [
        |decision| decision.chosen = task(4711),
        |decision| decision.order = Some(0xcc0),
        |decision| decision.gfp_mask = Some(0),
        |decision| decision.gfp_mask = Some(0xffff_8881),
        |decision| decision.constraint = Some(0),
        |decision| decision.memcg = Some(None),
        |decision| decision.memcg = Some(Some(CgroupId { hierarchy: 0, id: 4711 })),
        |decision| decision.capacity_pages = Some(8191),
        |decision| decision.capacity_pages = Some(1 << 40),
    ];
    let story = |change: fn(&mut Decision)| {
        let mut kernel = Kernel::run(7, 1_000_000);
        let mut decision = kernel.decision(8);
        if let Record::Decision(_, decision) = &mut decision {
            // Only the flags of the legacy page-fault path are 0, and that has no memory cgroup.
            decision.order = Some(1);
            change(decision);
        }
        let records = [decision]
            .into_iter()
            .chain(kernel.levels(false))
            .chain([kernel.mark(8, true), kernel.close(1, 1)]);
        let records: Vec<_> = records.collect();
        let events = feed(&mut assembler(Tier::Trampoline), records);
        closed(&events)[0].clone()
    };
    for (number, change) in wrong.into_iter().enumerate() {
        let incident = story(change);
        assert_eq!(verdicts(&incident), [(8, Verdict::Killed)], "change {number}");
        assert_eq!(incident.scope.kind, None, "change {number}");
        assert_eq!(incident.scope.capacity_bytes, None, "change {number}");
        assert_eq!((incident.trigger.order, incident.trigger.gfp_mask), (None, None), "change {number}");
        for field in
            ["scope.kind", "scope.constraint", "scope.capacity_bytes", "trigger.order", "trigger.gfp_mask"]
        {
            assert!(incident.missing[field].contains("oom_control"), "change {number}: {field}");
        }
        // The limits may be what is wrong where the capacity does not fit them.
        assert_eq!(incident.scope.limits.is_empty(), number >= 7, "change {number}");
    }
    let sound = story(|_| ());
    assert_eq!((sound.scope.kind, sound.trigger.order), (Some(ScopeKind::Memcg), Some(1)));
    let unlikely = story(|decision| decision.chosen_points = Some(1 << 40));
    assert_eq!(unlikely.victims[0].points, Some(8010), "computed, where the kernel's own cannot be");
}

fn reliefs(events: &[Event]) -> Vec<&Relief> {
    fn relief(event: &Event) -> Option<&Relief> {
        if let Event::Relieved(relief) = event { Some(relief) } else { None }
    }
    events.iter().filter_map(relief).collect()
}

/// Guards the relief: told once, under the incident's id and number, when the memory of its last victim is free,
/// whichever of the records comes first, and also where they come before the incident is complete.
#[test]
fn a_relief_follows_once_all_is_free() {
    for early in [false, true] {
        let mut assembler = assembler(Tier::Trampoline);
        let mut kernel = Kernel::run(7, 100);
        let mut records = vec![kernel.decision(8)];
        records.extend(kernel.levels(true));
        records.extend([kernel.mark(8, true), kernel.mark(9, true)]);
        let close = kernel.close(2, 2);
        let after = [
            kernel.relief(After::Freed, 8, 5_000_000),
            kernel.relief(After::Exited, 9, 6_000_000),
            kernel.relief(After::Exited, 8, 7_000_000),
            kernel.relief(After::Reaped, 9, 8_000_000),
            kernel.relief(After::Freed, 9, 9_000_000),
        ];
        if early {
            records.extend(after);
            records.push(close);
        } else {
            records.push(close);
            records.extend(after);
        }
        let events = feed(&mut assembler, records);
        let ([incident], [relief]) = (&closed(&events)[..], &reliefs(&events)[..]) else {
            panic!("{events:?}")
        };
        assert!(matches!(events.last(), Some(Event::Relieved(_))));
        assert_eq!((&relief.id, relief.common.seq), (&incident.id, incident.common.seq));
        assert_eq!(relief.missing, BTreeMap::new());
        let [first, second] = &relief.victims[..] else { panic!("{relief:?}") };
        assert_eq!((first.pid, first.reaped, second.pid, second.reaped), (8, false, 9, true));
        let freed = [first, second].map(|victim| victim.freed_ns.unwrap() / 1_000_000);
        let exited = [first, second].map(|victim| victim.exited_ns.unwrap() / 1_000_000);
        assert_eq!((freed, exited), ([5, 9], [7, 6]));
        assert_eq!(assembler.deadline_ns(), None, "nothing waits");
        assert_eq!(assembler.end(), []);
    }
}

/// Guards what is not known: told as that, with a reason, when time is up or tracing ends; and not at all of an
/// incident that is not shown.
#[test]
fn a_victim_that_stays_is_told_of() {
    let known = |assembler: &mut Assembler| {
        let mut kernel = Kernel::run(7, 100);
        let events = feed(assembler, [kernel.decision(8), kernel.mark(8, true), kernel.close(1, 1)]);
        feed(assembler, [kernel.relief(After::Exited, 8, 1_000)]);
        closed(&events)[0].common.seq
    };
    let mut late = assembler(Tier::Trampoline);
    known(&mut late);
    let deadline_ns = late.deadline_ns().unwrap();
    assert_eq!(late.expire(deadline_ns - 1), []);
    let mut ended = assembler(Tier::Trampoline);
    known(&mut ended);
    for (events, reason) in [(late.expire(deadline_ns), "30 s"), (ended.end(), "tracing ended")] {
        let [relief] = reliefs(&events)[..] else { panic!("{events:?}") };
        let victim = &relief.victims[0];
        assert!(victim.exited_ns.is_some() && victim.freed_ns.is_none());
        assert!(relief.missing["victims[0].freed_ns"].contains(reason), "{:?}", relief.missing);
    }
    let mut hidden = assembler(Tier::Trampoline);
    let seq = known(&mut hidden);
    hidden.without_relief(seq);
    assert_eq!(hidden.deadline_ns(), None);
}

/// Guards the reliefs against each other: a victim's is its own, though its process id was another's before.
#[test]
fn reliefs_do_not_mix() {
    fn later(record: Record) -> Record {
        match record {
            Record::Mark(key, mut mark) => {
                mark.victim.start_boot_ns = Some(9_000);
                Record::Mark(key, mark)
            }
            Record::Relief(key, relief) => {
                Record::Relief(key, record::Relief { start_boot_ns: Some(9_000), ..relief })
            }
            other => other,
        }
    }
    let mut assembler = assembler(Tier::Trampoline);
    let (mut first, mut second) = (Kernel::run(7, 100), Kernel::run(7, 10_000));
    feed(&mut assembler, [first.decision(8), first.mark(8, true), first.close(1, 1)]);
    feed(&mut assembler, [second.decision(8), later(second.mark(8, true)), second.close(1, 1)]);
    let events = feed(
        &mut assembler,
        [
            later(second.relief(After::Freed, 8, 20_000)),
            first.relief(After::Freed, 8, 50_000),
            later(second.relief(After::Exited, 8, 60_000)),
        ],
    );
    let [relief] = reliefs(&events)[..] else { panic!("{events:?}") };
    assert_eq!(relief.victims[0].freed_ns.unwrap() / 1_000, 20);
    assert_eq!(relief.common.seq, 2);
}

/// An assembler that is told command lines.
fn commanded(tier: Tier) -> Assembler {
    Assembler::new(Session { missing: BTreeMap::new(), ..session(tier) }, Source::Ebpf)
}

fn cmdline(kernel: &mut Kernel, pid: u32, text: &str, boot_ns: u64) -> Record {
    let key = Key { trigger_tid: 0, opened_ns: 0, boot_ns, index: 0, ..kernel.key() };
    let start_boot_ns = task(pid).start_boot_ns;
    let cmdline = Cmdline { pid, start_boot_ns, text: text.as_bytes().to_vec(), truncated: false };
    Record::Cmdline(key, Box::new(cmdline))
}

/// Guards whose command line is whose, and that a victim's is waited for, however an incident ends.
#[test]
fn a_victims_command_line_is_waited_for() {
    for tier in [Tier::Trampoline, Tier::Tracepoint] {
        let mut assembler = commanded(tier);
        let mut kernel = Kernel::run(7, 100);
        let mut records = vec![cmdline(&mut kernel, 7, "asker\0-x\0", 101)];
        if tier == Tier::Trampoline {
            records.push(kernel.decision(8));
        }
        records.push(kernel.mark(8, true));
        if tier == Tier::Trampoline {
            records.push(kernel.close(1, 1));
        }
        let events = feed(&mut assembler, records);
        assert!(matches!(&events[..], [Event::Opened(_)]), "{tier:?}: {events:?}");
        let told = cmdline(&mut kernel, 8, "sleeper\0", 2_000_000);
        let events = feed(&mut assembler, [told]);
        let [incident] = closed(&events)[..] else { panic!("{tier:?}: {events:?}") };
        assert_eq!(incident.trigger.command.cmdline.as_deref().unwrap(), ["asker", "-x"]);
        assert_eq!(incident.victims[0].command.cmdline.as_deref().unwrap(), ["sleeper"]);
        assert!(!incident.missing.keys().any(|field| field.contains("cmdline")), "{:?}", incident.missing);
    }
}

/// Guards what is not waited for: a victim that is the trigger, one that was exiting; and that waiting has an end, after
/// which the relief has the command line.
#[test]
fn a_late_command_line_comes_with_the_relief() {
    let mut assembler = commanded(Tier::Trampoline);
    let mut own = Kernel::run(7, 100);
    let told = cmdline(&mut own, 7, "own\0", 101);
    let events = feed(&mut assembler, [told, own.decision(7), own.mark(7, true), own.close(1, 1)]);
    assert_eq!(closed(&events).len(), 1, "it is known already");
    let mut exiting = Kernel::run(9, 1_000);
    let events = feed(&mut assembler, [exiting.decision(10), exiting.mark(10, false), exiting.close(0, 1)]);
    assert_eq!(closed(&events).len(), 1, "it takes no signal");

    let mut late = Kernel::run(11, 2_000);
    let events = feed(&mut assembler, [late.decision(12), late.mark(12, true), late.close(1, 1)]);
    assert_eq!(closed(&events).len(), 0);
    let deadline_ns = assembler.deadline_ns().unwrap();
    assert!((2_000..60_000_000).contains(&deadline_ns), "{deadline_ns}");
    let events = assembler.expire(deadline_ns);
    let [incident] = closed(&events)[..] else { panic!("{events:?}") };
    assert!(incident.missing["victims[0].cmdline"].contains("did not run"), "{:?}", incident.missing);
    let told = cmdline(&mut late, 12, "late\0", deadline_ns + 1);
    let after = [After::Freed, After::Exited].map(|what| late.relief(what, 12, deadline_ns + 2));
    let events = feed(&mut assembler, [told].into_iter().chain(after));
    let [relief] = reliefs(&events)[..] else { panic!("{events:?}") };
    assert_eq!(relief.victims[0].command.cmdline.as_deref().unwrap(), ["late"]);
}

/// A task that the kernel killed with `victim`.
fn struck(tie: Tie, victim: u32, pid: u32) -> Record {
    let key = Key { trigger_tid: 0, opened_ns: 0, boot_ns: 150, index: 0, lost: 0 };
    let struck =
        Struck { tie, victim: (victim, task(victim).start_boot_ns), task: task(pid), mm: Mm::default() };
    Record::Struck(key, Box::new(struck))
}

/// Guards those who die with a victim: each once, beside the victims while the incident is open, with its relief after.
#[test]
fn who_dies_with_a_victim_is_told_once() {
    let mut assembler = assembler(Tier::Trampoline);
    let mut kernel = Kernel::run(7, 100);
    let mut records = vec![kernel.decision(8)];
    records.extend(kernel.levels(false));
    records.push(kernel.mark(8, true));
    records.extend([20, 20, 8].map(|pid| struck(Tie::Memory, 8, pid)));
    records.push(struck(Tie::Memory, 9, 21));
    records.push(kernel.close(1, 1));
    let mut events = feed(&mut assembler, records);
    let [incident] = closed(&events)[..] else { panic!("{events:?}") };
    assert_eq!(verdicts(incident), [(8, Verdict::Killed), (20, Verdict::MmShared)]);
    assert_eq!(incident.victims[1].place.cgroup.as_deref(), Some("/app"), "its cgroup is the victim's");

    events = feed(&mut assembler, [struck(Tie::Namespace, 8, 30), struck(Tie::Namespace, 8, 30)]);
    assert!(events.is_empty(), "{events:?}");
    events =
        feed(&mut assembler, [kernel.relief(After::Freed, 8, 1_000), kernel.relief(After::Exited, 8, 2_000)]);
    let [Event::Relieved(relief)] = &events[..] else { panic!("{events:?}") };
    let with: Vec<_> = relief.collateral.iter().map(|victim| (victim.pid, victim.verdict)).collect();
    assert_eq!(with, [(Some(30), Some(Verdict::PidnsCollateral))]);
}

/// Guards an incident in which nobody could be killed: it says so, with the limits of what ran out and who asked.
#[test]
fn nobody_to_kill_is_an_incident() {
    let mut assembler = assembler(Tier::Trampoline);
    let mut kernel = Kernel::run(7, 100);
    let Record::Decision(key, mut decision) = kernel.decision(8) else { unreachable!() };
    decision.chosen = Task::default();
    let mut records = vec![Record::Decision(key, decision)];
    records.extend(kernel.levels(false));
    let Record::Close(key, close) = kernel.close(0, 0) else { unreachable!() };
    let close = Close { verdict: false, examined: 2, unkillable: 2, undecided: 5, ..close };
    records.push(Record::Close(key, close));
    let events = feed(&mut assembler, records);
    let [incident] = closed(&events)[..] else { panic!("{events:?}") };
    assert_eq!((incident.outcome, incident.victims.len()), (Some(Outcome::NoVictim), 0));
    assert_eq!(incident.scope.limits.first().map(|level| level.path.as_str()), Some("/app"));
    assert_eq!(incident.ballot.map(|ballot| (ballot.examined, ballot.unkillable)), Some((2, 2)));
    assert_eq!(incident.calls_without_decision, Some(5));
    assert_eq!(incident.decision_ns, Some(key.boot_ns - 100));

    let mut kernel = Kernel::run(7, 10_000);
    let records = [kernel.decision(8), kernel.mark(8, true)];
    feed(&mut assembler, records);
    let Record::Close(key, close) = kernel.close(1, 1) else { unreachable!() };
    let events = feed(&mut assembler, [Record::Close(key, Close { undecided: 7, ..close })]);
    assert_eq!(closed(&events)[0].calls_without_decision, Some(2), "since the one before");
}

/// Guards scores that are computed: they are told if they come to the victim's, and left out with a reason if not.
#[test]
fn computed_scores_must_come_to_the_kernels() {
    for (points, told) in [(4242, true), (4241, false)] {
        let mut assembler = assembler(Tier::Trampoline);
        let mut kernel = Kernel::run(7, 100);
        let Record::Candidate(key, mut candidate) = kernel.candidate(8, points, true) else { unreachable!() };
        candidate.computed = true;
        let records = [kernel.decision(8), Record::Candidate(key, candidate), kernel.mark(8, true)];
        feed(&mut assembler, records);
        let events = feed(&mut assembler, [kernel.close(1, 1)]);
        let [incident] = closed(&events)[..] else { panic!("{events:?}") };
        assert_eq!(incident.ballot.map(|ballot| ballot.computed), told.then_some(true));
        assert_eq!(incident.missing.contains_key("candidates"), !told);
    }
}

/// A page fault of process 4 that failed, the `total`th since `first_ns`.
fn failure(first_ns: u64, total: u64, waits: Option<u64>) -> record::AllocFailure {
    record::AllocFailure {
        what: record::Failing::PageFault,
        task: task(4),
        gfp_mask: None,
        order: None,
        errno: None,
        first_ns,
        total,
        waits: waits.map(|id| CgroupId { hierarchy: 0, id }),
        remainder: false,
    }
}

/// A run with that failure and its cgroups.
fn failing(opened_ns: u64, failure: record::AllocFailure) -> Vec<Record> {
    let mut kernel = Kernel::run(4, opened_ns);
    let mut records = kernel.levels(false);
    records.push(Record::AllocFailure(kernel.key(), Box::new(failure)));
    records
}

fn failures(events: &[Event]) -> Vec<&AllocFailure> {
    events
        .iter()
        .map(|event| if let Event::AllocFailure(failure) = event { &**failure } else { panic!("{event:?}") })
        .collect()
}

/// Guards the line of a failure: whose it was, in which cgroups, and each one counted once, whether it is told or not.
#[test]
fn failures_are_told_with_their_cgroups_and_counted_once() {
    let mut assembler = assembler(Tier::Trampoline);
    let records = [failing(100, failure(100, 1, None)), failing(200, failure(100, 18, None))].concat();
    let events = feed(&mut assembler, records);
    let lines = failures(&events);
    assert_eq!(lines.iter().map(|line| (line.common.seq, line.count)).collect::<Vec<_>>(), [(1, 1), (2, 17)]);
    let line = lines[1];
    assert_eq!((line.what, line.task.pid), (FailureKind::PageFault, Some(4)));
    assert_eq!(line.task.place.cgroup.as_deref(), Some("/app"));
    assert_eq!(line.limits[0].limit_bytes, Some(8192 * 4096));
    assert_eq!(line.missing.keys().collect::<Vec<_>>(), ["task.cmdline"]);
    // Two threads told at the same time, and the one with fewer came later.
    assert_eq!(feed(&mut assembler, failing(300, failure(100, 17, None))), []);
    // What was counted and not told: it belongs to no run.
    let rest = record::AllocFailure { remainder: true, ..failure(100, 20, None) };
    let key = Key { trigger_tid: 0, opened_ns: 0, boot_ns: 400, index: 0, lost: 0 };
    let events = feed(&mut assembler, vec![Record::AllocFailure(key, Box::new(rest))]);
    let line = failures(&events)[0];
    assert_eq!((line.count, line.task.place.cgroup.as_deref()), (2, Some("/app")));
    assert!(line.limits.is_empty() && line.missing.contains_key("limits"));
    // The kernel half had forgotten it.
    let events = feed(&mut assembler, failing(500, failure(450, 3, None)));
    assert_eq!(failures(&events)[0].count, 3);
    assert_eq!(assembler.deadline_ns(), None, "nothing is left open");
}

/// Guards the cgroup that a task waits for against one that it is not in: then something else was read.
#[test]
fn a_task_waits_at_a_limit_of_its_own() {
    let mut assembler = assembler(Tier::Trampoline);
    let events = feed(&mut assembler, failing(100, failure(100, 1, Some(APP))));
    let line = failures(&events)[0];
    assert_eq!(line.what, FailureKind::MemcgOomDisabled);
    assert_eq!(line.memcg.as_ref().and_then(|memcg| memcg.path.as_deref()), Some("/app"));
    let events = feed(&mut assembler, failing(200, failure(100, 2, Some(77))));
    let line = failures(&events)[0];
    assert_eq!((line.what, &line.memcg), (FailureKind::PageFault, &None));
    assert!(line.missing.contains_key("memcg"));
}

/// Guards what people read of a failure.
#[test]
fn failures_are_a_line_for_people() {
    let mut assembler = assembler(Tier::Trampoline);
    let events = feed(&mut assembler, failing(100, failure(50, 1700, None)));
    let mut text = Vec::new();
    Human::new(false, TimeZone::UTC, None).format(&Message::Incident(events[0].clone()), &mut text);
    let text = String::from_utf8(text).unwrap();
    let first = text.lines().next().unwrap();
    assert!(
        first.ends_with("NO MEMORY  task4 (pid 4)  in /app   page fault failed, nobody was killed (×1,700)"),
        "{text}"
    );
    assert!(text.contains("raise the limit of /app: 31.9 MiB of 32.0 MiB"), "{text}");
}
