//! Whole logs: as kernels wrote them, cut short, mixed, and as somebody may want them to look.

use super::*;
use crate::kmsg::report::ChargeKind;

/// The messages of a log in our own form: one a line, with /dev/kmsg's escapes.
fn messages(log: &str) -> Vec<Message> {
    log.lines()
        .map(|line| {
            let record = crate::kmsg::parse(format!("6,1,1,-;{line}\n").as_bytes()).unwrap();
            Message { text: record.text, ..Message::default() }
        })
        .collect()
}

fn told(messages: &[Message]) -> Vec<Told> {
    let mut collector = Collector::default();
    let mut all = Vec::new();
    for message in messages {
        collector.take(message, |told| all.push(told));
    }
    collector.end(|told| all.push(told));
    assert!(!collector.is_open());
    all
}

fn reports_of(messages: &[Message]) -> Vec<Report> {
    told(messages)
        .into_iter()
        .filter_map(|told| match told {
            Told::Oom(report) => Some(*report),
            _ => None,
        })
        .collect()
}

fn reports(log: &str) -> Vec<Report> {
    reports_of(&messages(log))
}

fn one(log: &str) -> Report {
    let mut reports = reports(log);
    assert_eq!(reports.len(), 1, "{reports:#?}");
    reports.remove(0)
}

fn kills(report: &Report) -> Vec<(u32, bool)> {
    report.kills.iter().map(|kill| (kill.killed.pid, kill.group)).collect()
}

fn fixture(name: &str) -> String {
    let path = format!("{}/../tests/fixtures/klog/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

/// Guards a report of 5.10 for a memory cgroup, every part of it.
#[test]
fn a_memory_cgroup_of_5_10() {
    let report = one(&fixture("5.10-memcg.log"));
    let invoked = report.invoked.as_ref().unwrap();
    assert_eq!((invoked.comm.as_str(), invoked.order, report.trigger_adj), ("small-asker", 0, Some(1)));
    assert_eq!((report.tid, report.kernel.as_deref()), (Some(108), Some("5.10.0-46-cloud-amd64")));
    assert_eq!(report.memcg.as_deref(), Some("/oomtrace-103-memcg_other/shared"));
    let [memory, swap] = &report.charges[..] else { panic!("{:?}", report.charges) };
    assert_eq!(
        (memory.kind, memory.usage_bytes, memory.limit_bytes),
        (ChargeKind::Memory, 48 << 20, Some(48 << 20))
    );
    assert_eq!((memory.hits, swap.kind, swap.limit_bytes), (Some(33), ChargeKind::Swap, Some(0)));
    assert_eq!((report.stats_bytes["anon"], report.stats_bytes["shmem"]), (46_903_296, 2_027_520));
    assert_eq!((report.tasks.len(), report.tasks_in_all), (2, 2));
    assert_eq!(report.tasks[0].rss_pages, Some(12442));
    assert_eq!(report.decided.as_ref().unwrap().pid, Some(106));
    assert_eq!((kills(&report), &report.end), (vec![(106, false)], &End::Killed));
    assert!(!report.sysrq);
}

/// Guards a report of 7.2 for the machine: its memory, every part of it.
#[test]
fn a_machine_of_7_2() {
    let report = one(&fixture("7.2-global.log"));
    let memory = &report.memory;
    assert_eq!((memory.sums_pages["active_anon"], memory.sums_pages["free"]), (41701, 591));
    assert_eq!((memory.nodes.len(), memory.nodes[0].bytes["kernel_stack"]), (1, 1104 << 10));
    let [dma, dma32] = &memory.zones[..] else { panic!("{:?}", memory.zones) };
    assert_eq!((dma.node, dma.name.as_str(), dma.bytes["free"]), (Some(0), "DMA", 912 << 10));
    assert_eq!(dma32.reserve_pages.as_deref(), Some(&[0; 5][..]));
    assert_eq!(dma32.free_by_order.as_deref(), Some(&[0, 1, 1, 2, 1, 2, 0, 2, 0, 0, 0][..]));
    assert_eq!((memory.page_bytes, memory.huge_pages.len()), (Some(4096), 2));
    assert_eq!((memory.swap_total_bytes, memory.swap_free_bytes), (Some(0), Some(0)));
    assert_eq!(
        (memory.ram_pages, memory.reserved_pages, memory.high_pages),
        (Some(65397), Some(12097), Some(0))
    );
    assert_eq!((report.tasks.len(), report.memcg, report.charges.len()), (4, None, 0));
    assert_eq!(report.tasks[3].rss_pages, Some(43642));
}

/// Guards a group: its first victim's line comes twice.
#[test]
fn a_group_of_6_12() {
    let report = one(&fixture("6.12-group.log"));
    assert_eq!(kills(&report), [(208, false), (202, true), (204, true), (206, true), (208, true)]);
    assert_eq!(report.group.as_deref(), Some("/oomtrace-164-group/together"));
    assert_eq!(report.stats_bytes["pgfault"], 12259);
}

/// Guards a kill right after a group against being taken for one of it: the table says who may be.
#[test]
fn a_stranger_is_none_of_a_group() {
    let stranger = "Memory cgroup out of memory: Killed process 999 (x) total-vm:4kB";
    let found = reports(&format!("{}{stranger}", fixture("6.12-group.log")));
    assert_eq!(found.iter().map(|report| report.kills.len()).collect::<Vec<_>>(), [5, 1]);
    // Without a table nothing is known against it.
    let group = "Memory cgroup out of memory: Killed process 7 (x) total-vm:4kB
Tasks in /a are going to be killed due to memory.oom.group set";
    assert_eq!(kills(&one(&format!("{group}\n{stranger}"))), [(7, false), (999, true)]);
    let machine = stranger.replace("Memory cgroup out", "Out");
    assert_eq!(reports(&format!("{group}\n{machine}")).len(), 2, "something else ran out");
}

/// Guards two runs in a row, and a name of control characters.
#[test]
fn other_fixtures() {
    let two = reports(&fixture("7.2-two-kills.log"));
    assert_eq!(two.iter().map(kills).collect::<Vec<_>>(), [[(138, false)], [(136, false)]]);
    assert!(two.iter().all(|report| report.tasks_in_all > 0 && report.stats_bytes["slab"] == 1600));
    let hostile = one(&fixture("6.1-hostile-name.log"));
    assert_eq!((kills(&hostile), hostile.tid), (vec![(137, false)], Some(137)));
    assert_eq!(hostile.tasks[0].comm, hostile.kills[0].killed.comm);
}

const SYSRQ_2_6_26: &str = "SysRq : Manual OOM execution
events/0 invoked oom-killer: gfp_mask=0xd0, order=0, oomkilladj=0
Pid: 9, comm: events/0 Not tainted 2.6.26-2-amd64 #1

Call Trace:
 [<ffffffff8027388c>] oom_kill_process+0x57/0x1dc

Mem-info:
Node 0 DMA per-cpu:
CPU    0: hi:    0, btch:   1 usd:   0
Active:31 inactive:491089 dirty:0 writeback:23480 unstable:0
 free:3005 slab:7514 mapped:1 pagetables:1063 bounce:0
Node 0 DMA free:7880kB min:28kB low:32kB high:40kB active:0kB present:10788kB pages_scanned:1 all_unreclaimable? yes
lowmem_reserve[]: 0 1971 1971 1971
Node 0 DMA: 4*4kB 3*8kB = 40kB
Swap cache: add 495985, delete 4762, find 0/1
Free swap  = 3963444kB
Total swap = 5947384kB
515887 pages of RAM
8379 reserved pages
Out of memory: kill process 2842 (a.out) score 494723 or a child
Killed process 2842 (a.out)";

const CHILD_3_10: &str = "java invoked oom-killer: gfp_mask=0xd0, order=0, oom_score_adj=600
java cpuset=/ mems_allowed=0
CPU: 1 PID: 4000 Comm: java Tainted: G        W  O   3.10.0-1160.el7.x86_64 #1
Call Trace:
 [<ffffffff8163642e>] dump_stack+0x19/0x1b
Task in /site133/a killed as a result of limit of /site133
memory: usage 524288kB, limit 524288kB, failcnt 153
memory+swap: usage 525060kB, limit 9007199254740988kB, failcnt 0
kmem: usage 0kB, limit 9007199254740988kB, failcnt 0
Memory cgroup stats for /site133: cache:0KB rss:524288KB rss_huge:0KB swap:772KB
Memory cgroup stats for /site133/a: cache:5KB rss:4KB rss_huge:0KB swap:0KB
[ pid ]   uid  tgid total_vm      rss nr_ptes swapents oom_score_adj name
[ 4000]   500  4000  2490132  1868734    4012    12345             0 java
[ 4001]   500  4001      132     1734      12        0             0 child
Memory cgroup out of memory: Kill process 4000 (java) score 912 or sacrifice child
Killed process 4001 (child), UID 500, total-vm:528kB, anon-rss:400kB, file-rss:4kB, shmem-rss:0kB";

/// Guards 2.6.26: an operator's wish, the old badness, a kill without figures.
#[test]
fn an_operator_of_2_6_26() {
    let report = one(SYSRQ_2_6_26);
    assert!(report.sysrq);
    assert_eq!((report.tid, report.kernel.as_deref()), (Some(9), Some("2.6.26-2-amd64")));
    assert_eq!(report.memory.sums_pages["bounce"], 0);
    assert_eq!((report.memory.ram_pages, report.memory.zones.len()), (Some(515_887), 1));
    assert_eq!((report.chosen.as_ref().unwrap().0, report.chosen_score), (2842, Some(494_723)));
    assert_eq!((kills(&report), report.trigger_adj), (vec![(2842, false)], None));
}

/// Guards 3.10: who is killed is a child of who was chosen; statistics are those of the cgroup at its limit.
#[test]
fn a_child_of_3_10() {
    let report = one(CHILD_3_10);
    assert_eq!((report.tid, report.kernel.as_deref()), (Some(4000), Some("3.10.0-1160.el7.x86_64")));
    assert_eq!(
        (report.memcg.as_deref(), report.task_memcg.as_deref()),
        (Some("/site133"), Some("/site133/a"))
    );
    let kinds: Vec<_> = report.charges.iter().map(|charge| (charge.kind, charge.limit_bytes)).collect();
    let expected =
        [(ChargeKind::Memory, Some(512 << 20)), (ChargeKind::MemorySwap, None), (ChargeKind::Kernel, None)];
    assert_eq!(kinds, expected);
    assert_eq!((report.stats_bytes["rss"], report.stats_bytes["swap"]), (512 << 20, 772 << 10));
    assert_eq!((report.tasks.len(), report.chosen_score), (2, Some(912)));
    assert_eq!((kills(&report), report.kills[0].killed.uid), (vec![(4001, false)], Some(500)));
}

/// Guards the oldest: headers that say little, several kills, a full stop (2.6.9, 2.6.18: mm/oom_kill.c).
#[test]
fn before_2_6_19() {
    let report = one("oom-killer: gfp_mask=0xd0
Mem-info:
Free swap:            0kB
131072 pages of RAM
Out of Memory: Killed process 1324 (apache).
Out of Memory: Killed process 1325 (apache).");
    assert_eq!((kills(&report), report.invoked), (vec![(1324, false), (1325, false)], None));
    assert_eq!((report.memory.ram_pages, report.memory.swap_free_bytes), (Some(131_072), Some(0)));
    let report = one("oom-killer: gfp_mask=0x201d2, order=0
Out of Memory: Kill process 1324 (apache) score 1234 and children.
Out of memory: Killed process 1330 (php).");
    assert_eq!((report.chosen_score, kills(&report)), (Some(1234), vec![(1330, false)]));
    assert_eq!(report.invoked.unwrap().gfp_mask, 0x201d2);
    for wording in [
        "Out of memory: Killed process 1324, UID 48, (apache).",
        "No available memory (MPOL_BIND): Killed process 1324 (apache).",
        "No available memory in cpuset: Killed process 1324 (apache).",
        "OOM killed process 1324 (apache) vm:28kB, rss:1kB, swap:0kB",
        "Out of memory in UB 1234: OOM killed process 1324 (apache) score 0 vm:281988kB, rss:17004kB, swap:0kB",
        "Killed process 1324 (apache) in VE \"101\" total-vm:1kB, anon-rss:1kB, file-rss:0kB, shmem-rss:0kB",
    ] {
        let report = one(wording);
        assert_eq!((kills(&report), &report.end), (vec![(1324, false)], &End::Killed), "{wording}");
        assert_eq!(report.kills[0].killed.comm, "apache", "{wording}");
    }
}

/// Guards runs that kill nobody: nothing killable, somebody exiting already, panics.
#[test]
fn other_ends() {
    let header = "x invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0";
    let end = |line: &str| one(&format!("{header}\n{line}")).end;
    assert_eq!(end("Out of memory and no killable processes..."), End::NoVictim);
    let exiting = "Out of memory: OOM victim 7 (x) is already exiting. Skip killing the task";
    assert_eq!(end(exiting), End::AlreadyExiting);
    assert_eq!(one(exiting).already_exiting, [(7, "x".to_owned())]);
    let words = "Out of memory: compulsory panic_on_oom is enabled";
    assert_eq!(end(&format!("Kernel panic - not syncing: {words}")), End::Panic(words.to_owned()));
    let deadlocked = "Out of memory and no killable processes...
Kernel panic - not syncing: System is deadlocked on memory";
    assert_eq!(end(deadlocked), End::Panic("System is deadlocked on memory".to_owned()));
    assert_eq!(end("usb 1-1: new device"), End::Unknown);
}

/// Guards the news that there is nobody to kill against the decision of another.
#[test]
fn nobody_has_no_decision() {
    let header = "x invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0";
    let log = format!("{header}\n{DECIDED}\nOut of memory and no killable processes...");
    let [decided, nobody] = &reports(&log)[..] else { panic!("two") };
    assert_eq!((&decided.end, &nobody.end), (&End::Unknown, &End::NoVictim));
    assert!(decided.decided.is_some() && nobody.decided.is_none());
}

const DECIDED: &str = "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/a,\
                       task_memcg=/a,task=x,pid=7,uid=0";

/// Guards a failed allocation: its memory is not that of a report that follows.
#[test]
fn failed_allocations() {
    let memory = "Mem-Info:\nactive_anon:5 inactive_anon:0\n65397 pages RAM";
    let log = format!(
        "swapper/0: page allocation failure: order:4, mode:0x40cc0(GFP_KERNEL|__GFP_COMP), nodemask=(null)
CPU: 0 PID: 9 Comm: swapper/0 Not tainted 5.10.0-46-cloud-amd64 #1 Debian
{memory}
x invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0
{}\n{DECIDED}
Memory cgroup out of memory: Killed process 7 (x) total-vm:40kB",
        memory.replace(":5", ":6")
    );
    let all = told(&messages(&log));
    let [Told::AllocationFailed(failed), Told::Oom(report)] = &all[..] else { panic!("{all:#?}") };
    assert_eq!((failed.order, failed.tid, failed.memory.ram_pages), (4, Some(9), Some(65397)));
    assert_eq!(failed.kernel.as_deref(), Some("5.10.0-46-cloud-amd64"));
    assert_eq!((failed.memory.sums_pages["active_anon"], report.memory.sums_pages["active_anon"]), (5, 6));
    // Nor is what somebody looked at.
    let log = format!("sysrq: Show Memory\n{memory}\nOut of memory: Killed process 7 (x) total-vm:40kB");
    assert_eq!(one(&log).memory, crate::kmsg::report::MemInfo::default());
}

/// Guards what is told at once, and the kernel by the latest banner.
#[test]
fn messages_of_their_own() {
    let log = "Linux version 5.10.0 (x@y) #1
oom_reaper: reaped process 7 (x), now anon-rss:0kB, file-rss:0kB, shmem-rss:0kB
cgroup: fork rejected by pids controller in /a
Out of memory: Killed process 7 (x) total-vm:40kB";
    let all = told(&messages(log));
    let [Told::Reaped(reaped), Told::ForkRejected { path, .. }, Told::Oom(report)] = &all[..] else {
        panic!("{all:#?}")
    };
    assert_eq!((reaped.pid, path.as_str(), report.kernel.as_deref()), (7, "/a", Some("5.10.0")));
}

/// Two reports, each by one thread, and what belongs to them.
fn two_reports(callers: bool) -> Vec<Vec<Message>> {
    [(7, "/a", "T1"), (8, "/b", "T2")]
        .into_iter()
        .map(|(pid, path, caller)| {
            let log = format!(
                "t{pid} invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0
CPU: 0 PID: {pid}00 Comm: t{pid} Not tainted 5.10.{pid} #1
memory: usage {pid}kB, limit 8kB, failcnt 1
Memory cgroup stats for {path}:
anon {pid}
Tasks state (memory values in pages):
[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name
[      {pid}]     0     {pid}     9999     9999     8192        0             0 v{pid}
oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg={path},task_memcg={path},task=v{pid},pid={pid},uid=0
Memory cgroup out of memory: Killed process {pid} (v{pid}) total-vm:40kB"
            );
            let mut messages = messages(&log);
            for message in &mut messages {
                message.caller = callers.then(|| caller.to_owned());
            }
            messages
        })
        .collect()
}

/// Guards interleaved reports: with their writers told, nothing of the one is in the other.
#[test]
fn writers_are_told_apart() {
    let reports = two_reports(true);
    let mixed: Vec<Message> =
        reports[0].iter().zip(&reports[1]).flat_map(|(one, other)| [one.clone(), other.clone()]).collect();
    assert_eq!(reports_of(&mixed), [reports_of(&reports[0]), reports_of(&reports[1])].concat());
}

/// Guards interleaved reports whose writers are not told: each kill is of the report that decided on it.
#[test]
fn kills_find_their_report() {
    let reports = two_reports(false);
    let (one, other) = (&reports[0], &reports[1]);
    let last = one.len() - 1;
    // The first has all but its kill.
    let mixed = [&one[..last], &other[..], &one[last..]].concat();
    let mut found = reports_of(&mixed);
    found.sort_by_key(|report| report.kills[0].killed.pid);
    assert_eq!(found, [reports_of(one), reports_of(other)].concat());
}

/// Guards a header without a report: a new one of the same thread ends it.
#[test]
fn one_thread_writes_one_report() {
    let reports = two_reports(true);
    let cut = [&reports[0][..3], &reports[0][..]].concat();
    let found = reports_of(&cut);
    let [fragment, whole] = &found[..] else { panic!("{found:#?}") };
    assert_eq!((&fragment.end, fragment.charges.len(), &whole.end), (&End::Unknown, 1, &End::Killed));
}

/// Guards when a report is over: after a second, after 200 messages of others, at the next boot, when asked.
#[test]
fn reports_end() {
    let report = &two_reports(false)[0];
    let at = |message: &Message, boot_us| Message {
        stamp: Stamp { boot_us: Some(boot_us), wall: None },
        ..message.clone()
    };
    let other = Message { text: b"usb 1-1: new device".to_vec(), ..Message::default() };
    let after = |then: &[Message]| {
        let mut collector = Collector::default();
        let mut told = 0;
        for message in report.iter().map(|message| at(message, 1_000_000)).chain(then.iter().cloned()) {
            collector.take(&message, |_| told += 1);
        }
        assert_eq!(collector.is_open(), told == 0);
        collector.settle(|_| told += 10);
        assert!(!collector.is_open());
        told
    };
    assert_eq!(after(&[]), 10);
    assert_eq!(after(&[at(&other, 2_000_000)]), 10);
    assert_eq!(after(&[at(&other, 2_000_001)]), 1);
    assert_eq!(after(&vec![at(&other, 1_000_000); 200]), 10);
    assert_eq!(after(&vec![at(&other, 1_000_000); 201]), 1);
    let booted = Message { text: b"Linux version 6.1.0 (x@y) #1".to_vec(), ..Message::default() };
    assert_eq!(after(&[booted]), 1);
    let mut open = Collector::default();
    open.take(&report[0], |_| panic!("too early"));
    assert!(!open.can_settle());
    open.settle(|_| panic!("its kill may still come"));
    assert!(open.is_open());
}

/// Guards logs that are cut short, at their beginning or their end: no kill but the real ones, and those that are there.
#[test]
fn logs_that_are_cut_short() {
    let logs =
        ["5.10-memcg.log", "6.1-hostile-name.log", "6.12-group.log", "7.2-global.log", "7.2-two-kills.log"];
    for log in logs.map(fixture).iter().map(String::as_str).chain([SYSRQ_2_6_26, CHILD_3_10]) {
        let messages = messages(log);
        let is_kill = |message: &&Message| matches!(Line::parse(&message.text), Some(Line::Killed(_)));
        for cut in 0..=messages.len() {
            for part in [&messages[..cut], &messages[cut..]] {
                let reports = reports_of(part);
                let kills: usize = reports.iter().map(|report| report.kills.len()).sum();
                assert_eq!(kills, part.iter().filter(is_kill).count(), "{cut}");
                let headers = part
                    .iter()
                    .filter(|message| matches!(Line::parse(&message.text), Some(Line::Invoked(_))));
                assert!(reports.len() >= headers.count(), "{cut}");
            }
        }
        // The last line in every length.
        let last = messages.last().unwrap();
        let Some(Line::Killed(whole)) = Line::parse(&last.text) else { panic!("no kill") };
        for end in 0..last.text.len() {
            let cut = Message { text: last.text[..end].to_vec(), ..Message::default() };
            for report in reports_of(&[cut]) {
                let killed = &report.kills[0].killed;
                assert_eq!(killed.pid, whole.pid);
                assert!(killed.total_vm_kb.is_none_or(|kb| Some(kb) == whole.total_vm_kb));
                assert!(killed.anon_rss_kb.is_none_or(|kb| Some(kb) == whole.anon_rss_kb));
            }
        }
    }
}

/// Guards against names: none forges a kill, hides one or changes its figures.
#[test]
fn hostile_names() {
    for name in [
        ") total-vm:0kB",
        "Killed process",
        "Out of memory:",
        "Mem-Info:",
        "a) ",
        "(",
        "\nOut of memory:",
        "x\n) total-vm:0",
        "Tasks in /",
        "[  pid  ]",
        "Linux version 5",
        "Kernel panic: ",
        "oom-kill:",
    ] {
        let text = |text: String| Message { text: text.into_bytes(), ..Message::default() };
        let log = [
            text(format!("{name} invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0")),
            text(format!("CPU: 0 PID: 9 Comm: {name} Not tainted 5.10.0 #1")),
            text(
                "[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name"
                    .to_owned(),
            ),
            text(format!("[    106]  1001   106    12498    12442   147456        0             0 {name}")),
            text(format!(
                "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=/,\
                 task={name},pid=106,uid=1001"
            )),
            text(format!("Out of memory: Killed process 106 ({name}) total-vm:49992kB, anon-rss:29508kB")),
            text(format!("{name}[7]: segfault at 0 ip 0 sp 0 error 4")),
        ];
        let [report] = &reports_of(&log)[..] else { panic!("{name}") };
        assert_eq!(report.invoked.as_ref().unwrap().comm, name);
        assert_eq!((report.tid, report.kernel.as_deref()), (Some(9), Some("5.10.0")), "{name}");
        assert_eq!((report.tasks_in_all, report.tasks[0].comm.as_str()), (1, name));
        assert_eq!(report.decided.as_ref().unwrap().pid, Some(106));
        assert_eq!(kills(report), [(106, false)], "{name}");
        let killed = &report.kills[0].killed;
        assert_eq!(
            (killed.comm.as_str(), killed.total_vm_kb, killed.anon_rss_kb),
            (name, Some(49992), Some(29508))
        );
    }
}

/// Guards a name whose newline splits its line: the kill is there, with its figures if the next message has them.
#[test]
fn split_lines() {
    let report = one("Out of memory: Killed process 106 (a\nb) total-vm:49992kB, anon-rss:29508kB");
    let killed = &report.kills[0].killed;
    assert_eq!((killed.comm.as_str(), killed.total_vm_kb), ("a\nb", Some(49992)));
    for next in ["usb 1-1: new device", "Mem-Info:", "Out of memory: Killed process 107 (c) total-vm:1kB", ""]
    {
        let reports = reports(&format!("Out of memory: Killed process 106 (a\n{next}"));
        let killed = &reports[0].kills[0].killed;
        assert_eq!((killed.pid, killed.comm.as_str(), killed.total_vm_kb), (106, "a", None), "{next}");
        assert_eq!(reports.len(), 1 + usize::from(next.contains("107")));
    }
}

/// Guards memory, and what is there: of a log of nothing but headers and of a group of very many none is lost.
#[test]
fn it_is_bounded() {
    let by = |text: String, writer: usize| Message {
        text: text.into_bytes(),
        caller: Some(format!("T{writer}")),
        ..Message::default()
    };
    let header = |n| format!("x{n} invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0");
    let kill = |n| format!("Memory cgroup out of memory: Killed process {} (x) total-vm:40kB", n + 1);
    let group = "Tasks in /a are going to be killed due to memory.oom.group set".to_owned();
    let mut collector = Collector::default();
    let mut all = Vec::new();
    for message in (0..1000)
        .map(|n| by(header(n), n))
        .chain([by(kill(0), 0), by(group, 0)])
        .chain((0..KILLS + 10).map(|n| by(kill(n), 0)))
    {
        collector.take(&message, |told| all.push(told));
        assert!(collector.open.len() <= OPEN);
    }
    collector.end(|told| all.push(told));
    let kills: Vec<usize> = all
        .iter()
        .filter_map(|told| match told {
            Told::Oom(report) => Some(report.kills.len()),
            _ => None,
        })
        .collect();
    assert_eq!((kills.iter().sum::<usize>(), kills.iter().max()), (KILLS + 11, Some(&KILLS)));
    assert_eq!(kills.iter().filter(|kills| **kills == 0).count(), 1000);
}

/// Guards logs of many machines in one: others' messages end nothing, and what is theirs is not this one's.
#[test]
fn machines_are_told_apart() {
    let of = |messages: &[Message], host: &str| -> Vec<Message> {
        messages.iter().map(|message| Message { host: Some(host.to_owned()), ..message.clone() }).collect()
    };
    let (one, other) = (of(&messages(&fixture("6.12-group.log")), "one"), of(&messages(CHILD_3_10), "other"));
    let noise =
        of(&vec![Message { text: b"usb 1-1: new device".to_vec(), ..Message::default() }; 3000], "third");
    let mixed = [&one[..one.len() - 2], &noise[..], &other[..], &one[one.len() - 2..]].concat();
    let mut found = reports_of(&mixed);
    found.sort_by_key(|report| report.host.clone());
    assert_eq!(found, [reports_of(&one), reports_of(&other)].concat());
}

/// Guards against anything: lines and bytes of real logs, mixed and changed by chance (the same at each run).
#[test]
fn junk_is_survived() {
    let mut lines: Vec<Message> = ["5.10-memcg.log", "6.12-group.log", "7.2-global.log"]
        .into_iter()
        .flat_map(|name| messages(&fixture(name)))
        .chain([SYSRQ_2_6_26, CHILD_3_10].into_iter().flat_map(messages))
        .collect();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: usize| {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % u64::try_from(below.max(1)).unwrap()).unwrap()
    };
    let mut collector = Collector::default();
    let mut told = 0;
    for _ in 0..20_000 {
        let at = next(lines.len());
        let mut message = lines[at].clone();
        match next(4) {
            0 => message.text.truncate(next(message.text.len())),
            1 if !message.text.is_empty() => {
                let byte = next(message.text.len());
                message.text[byte] = u8::try_from(next(256)).unwrap();
            }
            2 => {
                let other = lines[next(lines.len())].text.clone();
                let cut = next(message.text.len());
                message
                    .text
                    .splice(cut.., other.get(next(other.len())..).unwrap_or_default().iter().copied());
            }
            _ => {}
        }
        message.caller = [None, Some("T1".to_owned()), Some("C0".to_owned())][next(3)].clone();
        message.stamp.boot_us = (next(2) == 0).then_some(u64::try_from(next(3_000_000)).unwrap());
        collector.take(&message, |_| told += 1);
        assert!(collector.open.len() <= OPEN);
        if next(50) == 0 {
            lines[at] = message;
        }
    }
    collector.end(|_| told += 1);
    assert!(told > 100, "{told}");
}

/// Time that this thread had a processor, whoever else wants one.
fn on_cpu_ns() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split(' ').next().unwrap().parse().unwrap()
}

/// Guards the speed with which a log of nothing but reports is read: run it with `--release -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement, in release builds only"]
fn speed() {
    let header =
        "[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name".to_owned();
    let row = |pid: u32| {
        let rss = pid * 7919 % 2000;
        format!("[{pid:7}]     0 {pid:7}    72212 {rss:8}   110592        0             0 process-{pid}")
    };
    let table: Vec<String> = std::iter::once(header).chain((1..2000).map(row)).collect();
    let many_tasks = fixture("7.2-global.log").replace("Tasks state", &(table.join("\n") + "\nTasks state"));
    for (name, log) in [
        ("memory cgroup, 7.2", fixture("7.2-two-kills.log")),
        ("memory cgroup, 3.10", CHILD_3_10.to_owned()),
        ("machine, 7.2", fixture("7.2-global.log")),
        ("machine with 2000 tasks", many_tasks),
    ] {
        let messages = messages(&log);
        let bytes: usize = messages.iter().map(|message| message.text.len() + 1).sum();
        let rounds = 30_000_000 / bytes;
        let mut collector = Collector::default();
        let mut told = 0;
        let start_ns = on_cpu_ns();
        for _ in 0..rounds {
            for message in &messages {
                collector.take(message, |_| told += 1);
            }
        }
        let micros = u32::try_from((on_cpu_ns() - start_ns) / 1000).unwrap();
        let all = f64::from(u32::try_from(rounds * bytes).unwrap());
        println!("{name}: {:.0} MB/s, {told} reports", all / f64::from(micros));
        assert!(told >= rounds - 1);
    }
}
