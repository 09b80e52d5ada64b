//! Which records are one incident.

use super::*;
use crate::incident::{
    run::{GROUP_NS, VICTIM_LIMIT},
    types::Outcome,
};

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
