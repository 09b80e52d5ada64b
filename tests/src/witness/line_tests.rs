//! Wordings of 5.10 to 7.2, as those kernels print them.

use super::*;

/// Guards the trigger's identity and request, on every kernel's wording.
#[test]
fn invoked_line() {
    let line =
        invoked("python3 invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0").unwrap();
    assert_eq!(line.comm, b"python3");
    assert_eq!((line.gfp_mask, line.order, line.oom_score_adj), (0xcc0, 0, 0));
    assert_eq!(line.gfp_flags, ["GFP_KERNEL"]);

    let line = invoked(
        "a b\\x0a invoked oom-killer: gfp_mask=0x140dca(GFP_HIGHUSER_MOVABLE|__GFP_COMP|__GFP_ZERO), order=0, \
         oom_score_adj=-998",
    )
    .unwrap();
    assert_eq!(line.comm, b"a b\n");
    assert_eq!(line.gfp_flags, ["GFP_HIGHUSER_MOVABLE", "__GFP_COMP", "__GFP_ZERO"]);
    assert_eq!(line.oom_score_adj, -998);
}

/// Guards sysrq, whose order is negative.
#[test]
fn invoked_by_sysrq() {
    let line =
        invoked("kworker/1:2 invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=-1, oom_score_adj=0")
            .unwrap();
    assert_eq!(line.order, -1);
}

/// Guards the trigger's thread id in both layouts of the stack dump's first line.
#[test]
fn trigger_line_with_and_without_uid() {
    let old = "CPU: 1 PID: 312 Comm: eater Not tainted 5.10.0-32-cloud-amd64 #1 Debian 5.10.223-1";
    let new = "CPU: 0 UID: 0 PID: 5194 Comm: python3 Not tainted 6.18.44 #1 PREEMPT(voluntary) ";
    assert_eq!(trigger_tid(old), Some(312));
    assert_eq!(trigger_tid(new), Some(5194));
    assert_eq!(trigger_tid("CPU: 0 is offline"), None);
}

/// Guards the limit that was reached.
#[test]
fn usage_line() {
    assert_eq!(memcg_usage_kb("memory: usage 32768kB, limit 32768kB, failcnt 16"), Some((32_768, 32_768)));
    assert_eq!(memcg_usage_kb("memory+swap: usage 0kB, limit 1kB, failcnt 0"), None);
}

/// Guards scope, victim and cgroups of a memcg decision, with a comma in a path and in a name.
#[test]
fn memcg_decision() {
    let line = decision(
        "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0-1,oom_memcg=/a,b,\
         task_memcg=/a,b/c,task=x,y\\xff,pid=5194,uid=1234",
    )
    .unwrap();
    assert_eq!(line.constraint, "CONSTRAINT_MEMCG");
    assert_eq!(line.oom_memcg.as_deref(), Some(&b"/a,b"[..]));
    assert_eq!(line.task_memcg, b"/a,b/c");
    assert_eq!((line.comm, line.pid, line.uid), (b"x,y\xff".to_vec(), 5194, 1234));
}

/// Guards that a global decision has no memcg, and that a torn line is refused and not half read.
#[test]
fn global_and_torn_decision() {
    let line = decision(
        "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=/,\
         task=eater,pid=77,uid=0",
    )
    .unwrap();
    assert_eq!(
        (line.constraint.as_str(), line.oom_memcg, line.task_memcg),
        ("CONSTRAINT_NONE", None, b"/".to_vec())
    );
    assert_eq!(
        decision("oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0"),
        None
    );
}

/// Guards every figure of the victim's line, for its three messages and a name that imitates the line.
#[test]
fn killed_line() {
    let figures = "total-vm:118968kB, anon-rss:32384kB, file-rss:2572kB, shmem-rss:12kB, UID:1234 pgtables:128kB \
                   oom_score_adj:-7";
    let name = "x) total-vm:1kB";
    for message in
        ["Out of memory", "Memory cgroup out of memory", "Out of memory (oom_kill_allocating_task)"]
    {
        let line = killed(&format!("{message}: Killed process 5194 ({name}) {figures}")).unwrap();
        let expected = Killed {
            message: message.to_owned(),
            pid: 5194,
            comm: name.as_bytes().to_vec(),
            total_vm_kb: 118_968,
            anon_rss_kb: 32_384,
            file_rss_kb: 2572,
            shmem_rss_kb: 12,
            uid: 1234,
            pgtables_kb: 128,
            oom_score_adj: -7,
        };
        assert_eq!(line, expected);
    }
}

/// Guards the group's path.
#[test]
fn group_line() {
    let line = "Tasks in /a/b are going to be killed due to memory.oom.group set";
    assert_eq!(group_kill(line), Some(b"/a/b".to_vec()));
}

/// Guards the figures that make up the capacity of a global OOM.
#[test]
fn memory_totals() {
    assert_eq!(pages("65406 pages RAM", " pages RAM"), Some(65_406));
    assert_eq!(pages("9812 pages reserved", " pages reserved"), Some(9812));
    assert_eq!(pages("0 pages HighMem/MovableOnly", " pages RAM"), None);
    assert_eq!(total_swap_kb("Total swap = 131068kB"), Some(131_068));
}

/// Guards swap's line, which looks like memory's.
#[test]
fn swap_of_a_memcg() {
    assert_eq!(memcg_swap_kb("swap: usage 16380kB, limit 16384kB, failcnt 7"), Some((16_380, 16_384)));
    assert_eq!(memcg_swap_kb("memory: usage 1kB, limit 2kB, failcnt 7"), None);
}

/// Guards the end of a run without a victim.
#[test]
fn nobody_to_kill() {
    assert!(nobody("Out of memory and no killable processes..."));
    assert!(!nobody("Out of memory: Killed process 7 (eater) total-vm:1kB"));
}
