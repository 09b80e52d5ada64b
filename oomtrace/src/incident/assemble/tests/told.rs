//! What an incident tells.

use jiff::tz::TimeZone;

use super::*;
use crate::{
    host::settings::Settings,
    incident::types::{Cause, Outcome, ScopeKind},
    output::{Format as _, Human, Message},
    record::Ceiling,
};

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
    let mut unread: BTreeMap<_, _> = [TRIGGER_CMDLINE, "victims[0].cmdline", "victims[0].environment"]
        .map(|field| (field.to_owned(), NO_CMDLINE.to_owned()))
        .into();
    // Recordings of older versions have none.
    let none = "the records of the decision have none";
    unread.extend(["zones", "host_memory"].map(|field| (field.to_owned(), none.to_owned())));
    assert_eq!(incident.missing, unread);
    assert_eq!(incident.lost_records, 0);
    let victim = &incident.victims[0];
    assert_eq!(victim.rss.unwrap().anon_bytes, 8010 * 4096, "summed");
    assert_eq!(victim.rss_kernel.unwrap().anon_bytes, Some(8000 * 4096), "as this kernel reads it");
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

/// Guards against a ballot of unkillable tasks alone where somebody died: it was misread, so it is left out, with a reason.
#[test]
fn a_victim_was_killable() {
    let mut assembler = assembler(Tier::Trampoline);
    let mut kernel = Kernel::run(7, 100);
    feed(&mut assembler, [kernel.decision(8), kernel.mark(8, true)]);
    let Record::Close(key, close) = kernel.close(1, 1) else { unreachable!() };
    let events = feed(&mut assembler, [Record::Close(key, Close { examined: 2, unkillable: 2, ..close })]);
    let [incident] = closed(&events)[..] else { panic!("{events:?}") };
    assert_eq!((incident.victims.len(), incident.ballot), (1, None));
    assert!(incident.missing.contains_key("ballot") && incident.missing.contains_key("candidates"));
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

/// Guards what findings rest on: the settings that were read last.
#[test]
fn the_last_settings_count() {
    let mut assembler = Assembler::new(sample(Tier::Trampoline), Source::Replay);
    assert_eq!(assembler.settings(), None);
    for panic_on_oom in [Some(0), Some(2)] {
        let settings = Settings { panic_on_oom, ..Settings::default() };
        let key = Key { trigger_tid: 0, opened_ns: 0, boot_ns: 1, index: 0, lost: 0 };
        assert!(assembler.record(Record::Settings(key, Box::new(settings.clone())), 0).is_empty());
        assert_eq!(assembler.settings(), Some(&settings));
    }
}
