//! Logs of real kills in guests, as /dev/kmsg gave them.

use super::*;

fn assembled(log: &str) -> Vec<LoggedOom> {
    let mut assembler = Assembler::default();
    log.lines().for_each(|line| assembler.line(line));
    assembler.ooms().to_vec()
}

fn only(log: &str) -> LoggedOom {
    let [oom] = assembled(log).try_into().unwrap();
    oom
}

/// Guards the oldest wording: no UID in the stack dump, no parts of rss in the task table.
#[test]
fn memcg_kill_of_5_10() {
    let oom = only(include_str!("../../fixtures/klog/5.10-memcg.log"));
    assert_eq!(oom.invoked.as_ref().unwrap().comm, b"small-asker");
    assert_eq!(
        (oom.trigger_tid, oom.memcg_usage_kb, oom.memcg_limit_kb),
        (Some(108), Some(49_152), Some(49_152))
    );
    assert_eq!(oom.decision.as_ref().unwrap().uid, 1001);
    assert_eq!(oom.tasks.len(), 2);
    let row = oom.task(106).unwrap();
    assert_eq!((row.rss_pages, row.pgtables_bytes, row.swap_pages), (12_442, 147_456, 0));
    assert_eq!(row.comm, b"big-sleeper");
    let kill = oom.killed(106).unwrap();
    assert_eq!((kill.anon_rss_kb, kill.file_rss_kb, kill.shmem_rss_kb), (29_508, 1032, 19_228));
    assert_eq!(oom.task(108).unwrap().oom_score_adj, 1);
    assert!(oom.killed(108).is_none());
}

/// Guards a name that holds a newline, quotes, an escape sequence and bytes that are not UTF-8, wherever it stands.
#[test]
fn hostile_name_of_6_1() {
    let oom = only(include_str!("../../fixtures/klog/6.1-hostile-name.log"));
    let name = b"\x1b[2J\n\"\\\xff\x7f\t\xc2\x9b)%s";
    assert_eq!(oom.trigger_tid, Some(137));
    assert_eq!(oom.invoked.as_ref().unwrap().comm, name);
    assert_eq!(oom.decision.as_ref().unwrap().comm, name);
    assert_eq!(oom.task(137).unwrap().comm, name);
    assert_eq!(oom.killed(137).unwrap().comm, name);
}

/// Guards a group kill: all its victims in one incident, the first of them twice.
#[test]
fn group_kill_of_6_12() {
    let oom = only(include_str!("../../fixtures/klog/6.12-group.log"));
    let pids: Vec<_> = oom.kills.iter().map(|kill| kill.pid).collect();
    assert_eq!(pids.len(), 5);
    assert_eq!(pids.first(), pids.last());
    assert_eq!(oom.group, oom.decision.unwrap().oom_memcg);
    assert_eq!(oom.tasks.len(), 4);
}

/// Guards a global kill: no memcg, and the machine's totals.
#[test]
fn global_kill_of_7_2() {
    let oom = only(include_str!("../../fixtures/klog/7.2-global.log"));
    let totals = Totals { pages: Some(65_397), reserved_pages: Some(12_097), swap_kb: Some(0) };
    assert_eq!((oom.totals, oom.memcg_limit_kb), (totals, None));
    assert_eq!(oom.decision.unwrap().oom_memcg, None);
    assert_eq!(oom.kills.len(), 1);
}

/// Guards against mixing up two kills in a row.
#[test]
fn two_kills_of_7_2() {
    let ooms = assembled(include_str!("../../fixtures/klog/7.2-two-kills.log"));
    let victims: Vec<Vec<u64>> =
        ooms.iter().map(|oom| oom.kills.iter().map(|kill| kill.pid).collect()).collect();
    assert_eq!(victims, [[138], [136]]);
    assert_eq!(ooms.iter().map(|oom| oom.tasks.len()).collect::<Vec<_>>(), [2, 1]);
}

/// Guards a kill whose header the rate limit held back: it is an incident of its own.
#[test]
fn a_kill_without_a_header() {
    let killed = |pid| {
        format!(
            "Memory cgroup out of memory: Killed process {pid} (x) total-vm:1kB, anon-rss:1kB, file-rss:1kB, \
             shmem-rss:1kB, UID:0 pgtables:1kB oom_score_adj:0\n"
        )
    };
    let log = include_str!("../../fixtures/klog/5.10-memcg.log").to_owned() + &killed(7) + &killed(8);
    let ooms = assembled(&log);
    assert_eq!(ooms.iter().map(|oom| oom.kills.len()).collect::<Vec<_>>(), [1, 1, 1]);
    assert!(ooms.iter().skip(1).all(|oom| oom.invoked.is_none() && oom.decision.is_none()));
}
