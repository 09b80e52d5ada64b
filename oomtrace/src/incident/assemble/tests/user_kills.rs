//! Kills by daemons in user space.

use super::*;
use crate::incident::{SentVia, UserKill};

/// A signal of a daemon's to a process, at that time, with its cgroups or without.
fn sent(daemon: u32, victim: u32, signal: u32, boot_ns: u64, levels: bool) -> Vec<Record> {
    let mut kernel = Kernel::run(daemon, boot_ns);
    let mut records = if levels { kernel.levels(false) } else { Vec::new() };
    let kill = record::UserKill {
        killer: Task { comm: Some("earlyoom".to_owned()), ..task(daemon) },
        victim: task(victim),
        mm: Mm { rss_count: Some([3, 8000, 0, 5]), ..Mm::default() },
        signal,
        without_sender: signal == 9,
    };
    records.push(Record::UserKill(kernel.key(), Box::new(kill)));
    records
}

fn told(events: &[Event]) -> Vec<&UserKill> {
    let all = events.iter();
    all.map(|event| if let Event::UserKill(kill) = event { &**kill } else { panic!("{event:?}") }).collect()
}

fn pids(kill: &UserKill) -> Vec<u32> {
    kill.victims.iter().map(|victim| victim.pid.unwrap()).collect()
}

fn signals(kill: &UserKill) -> Vec<(u32, u64)> {
    kill.victims[0].signals.iter().map(|signal| (signal.number, signal.after_ns)).collect()
}

const MS: u64 = 1_000_000;

/// Guards one event for what a daemon does at once: all processes of a cgroup, told by the cgroups that came with the first, once
/// nothing more has come for a while.
#[test]
fn a_cgroup_killed_one_by_one_is_one_event() {
    let mut assembler = assembler(Tier::Tracepoint);
    let records =
        [sent(5, 20, 9, MS, true), sent(5, 21, 9, 2 * MS, false), sent(5, 22, 9, 200 * MS, false)].concat();
    assert_eq!(feed(&mut assembler, records), []);
    assert_eq!(assembler.deadline_ns(), Some(450 * MS + 2 - 2));
    let events = assembler.expire(451 * MS);
    let [kill] = told(&events)[..] else { panic!("{events:?}") };
    assert_eq!((kill.common.seq, kill.common.boot_ns), (1, Some(MS + 2)));
    assert_eq!((kill.killer.pid, kill.killer.comm.as_deref()), (Some(5), Some("earlyoom")));
    assert_eq!(pids(kill), [20, 21, 22]);
    for victim in &kill.victims {
        assert_eq!(victim.place.cgroup.as_deref(), Some("/app"));
        assert_eq!((victim.signals[0].name, victim.signals[0].via), (Some("SIGKILL"), SentVia::CgroupKill));
        assert_eq!((victim.verdict, victim.points, victim.rss_kernel), (None, None, None));
    }
    assert_eq!(kill.limits[0].limit_bytes, Some(8192 * 4096));
    assert_eq!(kill.missing.get("victims[1].cmdline").map(String::as_str), Some(NO_CMDLINE));
    assert!(
        kill.missing.contains_key("victims[2].ns_pid") && !kill.missing.contains_key("victims[0].cgroup")
    );
}

/// Guards SIGTERM and the SIGKILL that follows it: one event if it does so soon, else one more line that has both; and the same
/// signal is told once, for as long as a process may take to end.
#[test]
fn a_second_signal_follows_the_first() {
    let mut assembler = assembler(Tier::Tracepoint);
    let records =
        [sent(5, 20, 15, MS, true), sent(5, 20, 15, 50 * MS, false), sent(5, 20, 9, 101 * MS, false)];
    assert_eq!(feed(&mut assembler, records.concat()), []);
    let events = assembler.expire(351 * MS);
    assert_eq!(
        told(&events).iter().map(|kill| signals(kill)).collect::<Vec<_>>(),
        [[(15, 0), (9, 100 * MS - 2)]]
    );
    assert_eq!(feed(&mut assembler, sent(5, 20, 9, 900 * MS, true)), []);
    assert_eq!(assembler.deadline_ns(), None, "it was told");

    assert_eq!(feed(&mut assembler, sent(5, 30, 15, 1000 * MS, true)), []);
    assert_eq!(told(&assembler.expire(1300 * MS)).len(), 1);
    assert_eq!(feed(&mut assembler, sent(5, 30, 9, 9000 * MS, true)), []);
    let events = assembler.expire(9300 * MS);
    assert_eq!(signals(told(&events)[0]), [(15, 0), (9, 8000 * MS)]);
    assert_eq!(feed(&mut assembler, sent(5, 30, 9, 60_000 * MS, true)), []);
    assert_eq!(signals(told(&assembler.end())[0]), [(9, 0)], "nobody remembers");
}

/// Guards against one daemon's kills among another's.
#[test]
fn each_daemon_has_its_own_event() {
    let mut assembler = assembler(Tier::Tracepoint);
    let records = [sent(5, 20, 9, MS, true), sent(6, 21, 9, 2 * MS, true), sent(5, 22, 9, 3 * MS, true)];
    assert_eq!(feed(&mut assembler, records.concat()), []);
    let events = assembler.end();
    assert_eq!(told(&events).iter().map(|kill| pids(kill)).collect::<Vec<_>>(), [vec![20, 22], vec![21]]);
    assert_eq!(told(&events).iter().map(|kill| kill.common.seq).collect::<Vec<_>>(), [1, 2]);
}

/// Guards what is told of a process whose cgroups found no room.
#[test]
fn cgroups_that_did_not_come_in_are_missed() {
    let mut assembler = assembler(Tier::Tracepoint);
    assert_eq!(feed(&mut assembler, sent(5, 20, 15, MS, false)), []);
    let events = assembler.end();
    let kill = told(&events)[0];
    assert_eq!((kill.limits.len(), kill.victims[0].place.cgroup.as_ref()), (0, None));
    assert!(kill.missing.contains_key("limits") && kill.missing.contains_key("victims[0].cgroup"));
}

/// Guards memory and time against a daemon that does not stop, and against very many: an event has an end and a largest size,
/// and so has what is open.
#[test]
fn what_goes_on_is_told_in_parts() {
    let mut assembler = assembler(Tier::Tracepoint);
    let mut events = Vec::new();
    for victim in 0..3000 {
        let records = sent(5, 100 + victim, 9, u64::from(victim) * MS, victim == 0);
        events.extend(feed(&mut assembler, records));
    }
    events.extend(assembler.end());
    let sizes: Vec<_> = told(&events).iter().map(|kill| kill.victims.len()).collect();
    assert_eq!(sizes.iter().sum::<usize>(), 3000);
    assert!(sizes.len() >= 3 && sizes.iter().all(|size| *size <= 1024), "{sizes:?}");
    let events: Vec<_> = (0..100)
        .flat_map(|daemon| feed(&mut assembler, sent(5000 + daemon, 9000 + daemon, 9, MS, true)))
        .collect();
    assert_eq!(events.len() + assembler.end().len(), 100);
    assert!(events.len() >= 80, "{} were told", events.len());
}
