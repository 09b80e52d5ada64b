//! What became of victims, and what comes late.

use super::*;
use crate::record::Tie;

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
