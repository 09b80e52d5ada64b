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

/// The rows of a table: process, resident pages, bytes of page tables, swapped pages, adjustment, name.
fn table(oom: &LoggedOom) -> Vec<(u64, u64, u64, u64, i64, String)> {
    let rows = oom.tasks.as_ref().unwrap().iter();
    rows.map(|row| {
        let name = row.comm.escape_ascii().to_string();
        (row.tgid, row.rss_pages, row.pgtables_bytes, row.swap_pages, row.oom_score_adj, name)
    })
    .collect()
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
    let big = (106, 12_442, 147_456, 0, 0, "big-sleeper".to_owned());
    let small = (108, 8855, 110_592, 0, 1, "small-asker".to_owned());
    assert_eq!(table(&oom), [big, small]);
    let kill = oom.killed(106).unwrap();
    assert_eq!((kill.anon_rss_kb, kill.file_rss_kb, kill.shmem_rss_kb), (29_508, 1032, 19_228));
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
    assert_eq!(table(&oom), [(137, 12_686, 151_552, 0, 0, name.escape_ascii().to_string())]);
    assert_eq!(oom.killed(137).unwrap().comm, name);
}

/// Guards a group kill: all its victims in one incident, the first of them twice.
#[test]
fn group_kill_of_6_12() {
    let oom = only(include_str!("../../fixtures/klog/6.12-group.log"));
    let pids: Vec<_> = oom.kills.iter().map(|kill| kill.pid).collect();
    assert_eq!(pids.len(), 5);
    assert_eq!(pids.first(), pids.last());
    assert_eq!(oom.group, oom.decision.as_ref().unwrap().oom_memcg);
    let rows = [(202, 5298, 86_016, "one"), (204, 5562, 77_824, "two"), (206, 5827, 81_920, "three")];
    let mut rows =
        rows.map(|(pid, rss, pgtables, name)| (pid, rss, pgtables, 0, 0, format!("member-{name}"))).to_vec();
    rows.push((208, 13_723, 151_552, 0, 0, "member-chosen".to_owned()));
    assert_eq!(table(&oom), rows);
}

/// Guards a global kill: no memcg, and the machine's totals.
#[test]
fn global_kill_of_7_2() {
    let oom = only(include_str!("../../fixtures/klog/7.2-global.log"));
    let totals = Totals { pages: Some(65_397), reserved_pages: Some(12_097), swap_kb: Some(0) };
    assert_eq!((oom.totals, oom.memcg_limit_kb), (totals, None));
    let rows = [
        (127, 366, 40_960, -1000, "cat"),
        (128, 365, 40_960, -1000, "cat"),
        (129, 2764, 110_592, 0, "scn"),
        (175, 43_642, 405_504, 0, "global-eater"),
    ];
    assert_eq!(
        table(&oom),
        rows.map(|(pid, rss, tables, adj, name)| (pid, rss, tables, 0, adj, name.to_owned()))
    );
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
    let big = (136, 15_223, 163_840, 0, 0, "big-adj-0".to_owned());
    let small = (138, 6605, 94_208, 0, 800, "small-adj-800".to_owned());
    let bigger = (136, 15_280, 163_840, 0, 0, "big-adj-0".to_owned());
    assert_eq!(ooms.iter().map(table).collect::<Vec<_>>(), [vec![big, small], vec![bigger]]);
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
    let headless = |oom: &LoggedOom| oom.invoked.is_none() && oom.decision.is_none() && oom.tasks.is_none();
    assert!(ooms.iter().skip(1).all(headless));
}

/// Guards the columns: they are found by their names, wherever they stand, and none is made up.
#[test]
fn columns_go_by_their_names() {
    let oom = |header: &str, row: &str| {
        only(&format!(
            "x invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0\n{header}\n{row}\n"
        ))
    };
    let header = "[  pid  ] new swapents tgid rss oom_score_adj pgtables_bytes name";
    let row = "[     12]  77        3   11   5          -998           4096  a b ";
    assert_eq!(table(&oom(header, row)), [(11, 5, 4096, 3, -998, " a b ".to_owned())]);
    assert_eq!(table(&oom(&header.replace("rss", "size"), row)), [], "there is no rss");
    assert_eq!(table(&oom(header, &row.replace("4096", "some"))), [], "it is no number");
    assert_eq!(oom("", row).tasks, None, "there is no header");
    let found = oom(header, row);
    assert_eq!((found.process(11), found.process(12)), (found.task(12), None));
}
