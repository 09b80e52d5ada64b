//! Messages as kernels wrote them, and as somebody may want them to look.

use super::*;

fn parse(text: &str) -> Line {
    Line::parse(text.as_bytes()).unwrap_or_else(|| panic!("not understood: {text}"))
}

fn kill(text: &str) -> Killed {
    match parse(text) {
        Line::Killed(killed) => killed,
        other => panic!("{other:?}"),
    }
}

/// Guards the wording since 5.4, for a memory cgroup and for the machine.
#[test]
fn a_kill_since_5_4() {
    let figures = "Killed process 173 (big-sleeper) total-vm:39332kB, anon-rss:29184kB, file-rss:1024kB, \
                   shmem-rss:9052kB, UID:1001 pgtables:112kB oom_score_adj:-5";
    let expected = Killed {
        pid: 173,
        comm: "big-sleeper".to_owned(),
        memcg: Some(true),
        total_vm_kb: Some(39332),
        anon_rss_kb: Some(29184),
        file_rss_kb: Some(1024),
        shmem_rss_kb: Some(9052),
        rss_kb: None,
        swap_kb: None,
        uid: Some(1001),
        pgtables_kb: Some(112),
        oom_score_adj: Some(-5),
    };
    assert_eq!(kill(&format!("Memory cgroup out of memory: {figures}")), expected);
    let machine = Killed { memcg: Some(false), ..expected.clone() };
    assert_eq!(kill(&format!("Out of memory: {figures}")), machine);
    assert_eq!(kill(&format!("Out of memory (oom_kill_allocating_task): {figures}")), machine);
    assert_eq!(kill(figures), Killed { memcg: None, ..expected });
}

/// Guards older wordings: fewer figures, the user id elsewhere, none at all.
#[test]
fn kills_before_5_4() {
    let killed =
        kill("Killed process 12573 (node) total-vm:932540kB, anon-rss:628988kB, file-rss:0kB, shmem-rss:4kB");
    assert_eq!((killed.pid, killed.shmem_rss_kb, killed.uid), (12573, Some(4), None));
    let killed =
        kill("Killed process 9682, UID 27, (mysqld) total-vm:47388kB, anon-rss:3744kB, file-rss:80kB");
    assert_eq!((killed.comm.as_str(), killed.uid, killed.total_vm_kb), ("mysqld", Some(27), Some(47388)));
    assert_eq!(killed.shmem_rss_kb, None);
    let killed =
        kill("Killed process 4077 (java), UID 500, total-vm:10kB, anon-rss:3kB, file-rss:1kB, shmem-rss:0kB");
    assert_eq!((killed.uid, killed.total_vm_kb), (Some(500), Some(10)));
    let killed = kill("Killed process 2592 (oom-test) vsz:468kB, anon-rss:12kB, file-rss:4kB");
    assert_eq!(killed.total_vm_kb, Some(468));
    assert_eq!(kill("Killed process 7 (x)").total_vm_kb, None);
    assert_eq!(
        parse("Out of memory: Kill process 12562 (node) score 786 or sacrifice child"),
        Line::Chosen { pid: 12562, comm: "node".to_owned(), score: Some(786) }
    );
    assert_eq!(
        parse("Memory cgroup out of memory: Kill process 3 (a b) score 1001 or sacrifice child"),
        Line::Chosen { pid: 3, comm: "a b".to_owned(), score: Some(1001) }
    );
}

/// Guards kills of 2.6.9 to 2.6.18 and of OpenVZ (2.6.32 and 3.10), and who was chosen there.
#[test]
fn the_oldest_kills() {
    for (text, memcg, total_vm_kb, uid) in [
        ("Out of Memory: Killed process 1324 (apache).", Some(false), None, None),
        ("Out of memory: Killed process 1324, UID 48, (apache).", Some(false), None, Some(48)),
        ("No available memory (MPOL_BIND): Killed process 1324 (apache).", Some(false), None, None),
        ("No available memory in cpuset: Killed process 1324 (apache).", Some(false), None, None),
        ("OOM killed process 1324 (apache) vm:28kB, rss:1kB, swap:0kB", None, Some(28), None),
        (
            "Out of memory in UB 1234: OOM killed process 1324 (apache) score 0 vm:9kB, rss:17004kB, swap:0kB",
            None,
            Some(9),
            None,
        ),
        ("Killed process 1324 (apache) in VE \"1 0\" total-vm:7kB, anon-rss:1kB", None, Some(7), None),
    ] {
        let killed = kill(text);
        assert_eq!((killed.pid, killed.comm.as_str()), (1324, "apache"), "{text}");
        assert_eq!((killed.memcg, killed.total_vm_kb, killed.uid), (memcg, total_vm_kb, uid), "{text}");
    }
    for (text, score) in [
        ("Out of Memory: Kill process 7 (x) score 1234 and children.", Some(1234)),
        ("Out of memory: kill process 7 (x) score 500 or a child", Some(500)),
        ("Out of memory: Kill process 7 (x) with score 5 or sacrifice child", Some(5)),
        ("Memory cgroup out of memory: Kill process 7 (x) in VE \"101\" score 9 or sacrifice child", Some(9)),
        ("Out of memory: kill process 7 (x) score -1 or a child", None),
    ] {
        assert_eq!(parse(text), Line::Chosen { pid: 7, comm: "x".to_owned(), score }, "{text}");
    }
    for text in
        ["Out of memory: Kill process 7 (x) sharing same memory", "Kill process 7 (x) sharing same memory"]
    {
        assert_eq!(Line::parse(text.as_bytes()), None, "{text}");
    }
}

/// Guards the headers of 2.6.16 to 2.6.32 (mm/oom_kill.c, OpenVZ's too).
#[test]
fn the_oldest_headers() {
    let invoked = |text: &str| match parse(text) {
        Line::Invoked(invoked) => (invoked.comm, invoked.gfp_mask, invoked.order),
        other => panic!("{other:?}"),
    };
    assert_eq!(invoked("oom-killer: gfp_mask=0x201d2, order=1"), (String::new(), 0x201d2, 1));
    let header = "Xorg invoked oom-killer: gfp_mask=0x2d0, order=0, oomkilladj=0";
    assert_eq!(invoked(header), ("Xorg".to_owned(), 0x2d0, 0));
    let openvz = "4077 (a) (b) invoked 101 oom-killer: gfp 0x201d2 order 2 oomkilladj=0";
    assert_eq!(invoked(openvz), ("a) (b".to_owned(), 0x201d2, 2));
    assert_eq!(Line::parse(b"oom-killer: gfp_mask=0xd0"), None, "no order: it says too little");
}

/// Guards the name and the release in a thread's line, whatever the thread is called.
#[test]
fn threads_and_releases() {
    for (text, comm, release) in [
        ("Pid: 1234, comm: httpd Not tainted 2.6.32-431.el6.x86_64 #1", "httpd", "2.6.32-431.el6.x86_64"),
        ("Pid: 6186, comm: Xorg Tainted: P        2.6.24-19-generic #1", "Xorg", "2.6.24-19-generic"),
        (
            "CPU: 0 PID: 4 Comm: a b Kdump: loaded Tainted: G  W  OE  --------- -t - 4.18.0-80.el8 #1",
            "a b",
            "4.18.0-80.el8",
        ),
        (
            "CPU: 0 UID: 0 PID: 4 Comm: x Not tainted 9 Not tainted 6.12.1 #1 Debian",
            "x Not tainted 9",
            "6.12.1",
        ),
        ("CPU: 0 PID: 4 Comm:  Comm: y Not tainted 5.10.0", " Comm: y", "5.10.0"),
    ] {
        assert!(matches!(parse(text), Line::Thread { .. }), "{text}");
        assert_eq!(thread_and_release(text.as_bytes()), Some((comm.as_bytes(), release)), "{text}");
    }
    assert_eq!(thread_and_release(b"CPU: 0 PID: 4 Comm: x Not tainted "), None);
    assert_eq!(thread_and_release(b"CPU: 0 PID: 4 Comm: x"), None);
}

/// Guards kills whose lines are cut short: the thread is known, and no figure that is not whole.
#[test]
fn kills_that_are_cut_short() {
    let whole = "Out of memory: Killed process 173 (a b) total-vm:39332kB, anon-rss:29184kB, shmem-rss:9kB";
    for end in 0..whole.len() {
        let Some(killed) = cut_kill(&whole.as_bytes()[..end]) else {
            assert!(end <= "Out of memory: Killed process 173 ".len(), "{end}");
            continue;
        };
        assert_eq!((killed.pid, killed.memcg), (173, Some(false)));
        assert!("a b".starts_with(&killed.comm), "{}", killed.comm);
        assert!([None, Some(39332)].contains(&killed.total_vm_kb));
        assert!([None, Some(29184)].contains(&killed.anon_rss_kb));
    }
}

/// Guards the header in all its wordings.
#[test]
fn headers() {
    let invoked = |text: &str| match parse(text) {
        Line::Invoked(invoked) => invoked,
        other => panic!("{other:?}"),
    };
    let header = invoked(
        "small-asker invoked oom-killer: gfp_mask=0x140cca(GFP_HIGHUSER_MOVABLE|__GFP_COMP), order=0, oom_score_adj=1",
    );
    assert_eq!((header.comm.as_str(), header.gfp_mask, header.order), ("small-asker", 0x0014_0cca, 0));
    assert_eq!(header.gfp_flags.unwrap(), ["GFP_HIGHUSER_MOVABLE", "__GFP_COMP"]);
    let header = invoked(
        "kworker/u8:2 invoked oom-killer: gfp_mask=0x15080c0(GFP_KERNEL_ACCOUNT|__GFP_ZERO), nodemask=(null),  \
         order=1, oom_score_adj=0",
    );
    assert_eq!((header.gfp_mask, header.order), (0x0150_80c0, 1));
    let header = invoked(
        "oom02 invoked oom-killer: gfp_mask=0x16080c0(GFP_KERNEL), nodemask=0-1,3, order=2, oom_score_adj=0",
    );
    assert_eq!(header.order, 2);
    let header = invoked("apt-check invoked oom-killer: gfp_mask=0x201da, order=0, oom_adj=0");
    assert_eq!((header.gfp_mask, header.gfp_flags), (0x201da, None));
    assert_eq!(
        invoked("httpd invoked oom-killer: gfp_mask=0x201da, order=3, oom_adj=0, oom_score_adj=0").order,
        3
    );
    assert_eq!(
        invoked("kworker/0:1 invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=-1, oom_score_adj=0")
            .order,
        -1
    );
}

fn decision(text: &str) -> Decided {
    match parse(text) {
        Line::Decided(decided) => *decided,
        other => panic!("{other:?}"),
    }
}

/// Guards the decision: of a memory cgroup, of the machine, of nodes.
#[test]
fn decisions() {
    let decided = decision(
        "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=x,mems_allowed=0,oom_memcg=/a,task_memcg=/a/b,\
         task=big sleeper,pid=173,uid=1001",
    );
    assert_eq!((decided.constraint.as_str(), decided.pid), ("CONSTRAINT_MEMCG", Some(173)));
    assert_eq!((decided.oom_memcg.as_deref(), decided.task_memcg.as_deref()), (Some("/a"), Some("/a/b")));
    let decided = decision(
        "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0-1,3,global_oom,task_memcg=/,\
         task=x,pid=7,uid=0",
    );
    assert_eq!((decided.oom_memcg, decided.task_memcg.as_deref()), (None, Some("/")));
    assert_eq!((decided.nodemask, decided.mems_allowed), (None, Some(vec![0, 1, 3])));
    let decided = decision(
        "oom-kill:constraint=CONSTRAINT_MEMORY_POLICY,nodemask=1,3-4,cpuset=/,mems_allowed=0-4,global_oom,\
         task_memcg=/user.slice,task=x,pid=7,uid=0",
    );
    assert_eq!((decided.constraint.as_str(), decided.pid), ("CONSTRAINT_MEMORY_POLICY", Some(7)));
    assert_eq!((decided.nodemask, decided.mems_allowed), (Some(vec![1, 3, 4]), Some(vec![0, 1, 2, 3, 4])));
    for nonsense in ["9-1", "1,1", "0-5000", "", "x"] {
        let decided = decision(&format!(
            "oom-kill:constraint=CONSTRAINT_MEMORY_POLICY,nodemask={nonsense},cpuset=/,mems_allowed={nonsense},\
             global_oom,task_memcg=/,task=x,pid=7,uid=0"
        ));
        assert_eq!((decided.nodemask, decided.mems_allowed), (None, None), "{nonsense}");
    }
    // Without memory cgroups in the kernel.
    let decided = decision(
        "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,task=x,pid=7,uid=0",
    );
    assert_eq!((decided.pid, decided.task_memcg), (Some(7), None));
    // Longer than a record has room for.
    let decided = decision(
        "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=x,mems_allowed=0,oom_memcg=/aaa",
    );
    assert_eq!((decided.constraint.as_str(), decided.pid), ("CONSTRAINT_MEMCG", None));
}

/// Guards what a report says of the one who asked: 5.10 and 7.2 wrote these.
#[test]
fn reports_name_their_thread_and_cgroup() {
    for (text, pid) in [
        ("CPU: 1 PID: 115 Comm: small-asker Not tainted 5.10.0-32-cloud-amd64 #1 Debian 5.10.223-1", 115),
        ("CPU: 0 UID: 1001 PID: 137 Comm: x Tainted: G                T   7.2.13+deb14-cloud-amd64", 137),
    ] {
        assert_eq!(parse(text), Line::Thread { pid });
    }
    let stats = parse("Memory cgroup stats for /oomtrace-103-memcg_other/sha:red:");
    assert_eq!(stats, Line::Stats { path: "/oomtrace-103-memcg_other/sha:red".to_owned() });
    for other in
        ["CPU: 1 PID: x Comm: y", "CPU0: PID: 1 Comm: y", "Memory cgroup stats for /a: cache:0KB rss:4KB"]
    {
        assert_eq!(Line::parse(other.as_bytes()), None, "{other}");
    }
}

/// Guards cgroups whose names are made of the kernel's words: read right, or not at all.
#[test]
fn hostile_cgroups() {
    let decided = |middle: &str| {
        decision(&format!(
            "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset={middle},pid=173,uid=1001"
        ))
    };
    // One way to read it.
    let plain = decided("a,mems_allowed=x,mems_allowed=0,oom_memcg=/a,b=c,task_memcg=/a,b=c/d,task=x");
    assert_eq!((plain.oom_memcg.as_deref(), plain.task_memcg.as_deref()), (Some("/a,b=c"), Some("/a,b=c/d")));
    let name = decided("a,mems_allowed=0,oom_memcg=/a,task_memcg=/a,task=,pid=1,uid=0");
    assert_eq!((name.pid, name.task_memcg.as_deref()), (Some(173), Some("/a")));
    let below = decided("a,mems_allowed=0,oom_memcg=/a,task_memcg=/a,task=b,task=c");
    assert_eq!(below.task_memcg.as_deref(), Some("/a"), "what would be the other path is not below /a");
    // More than one: the path, or the name, may be the longer one.
    let open = decided("a,mems_allowed=0,oom_memcg=/a,task_memcg=/a/x,task=b,task=c");
    assert_eq!((open.pid, open.oom_memcg, open.task_memcg), (Some(173), None, None));
    let nested = decided(
        "a,mems_allowed=0,oom_memcg=/x,task_memcg=/x,mems_allowed=0,oom_memcg=/x,task_memcg=/x,task=c",
    );
    assert_eq!(nested.task_memcg.as_deref(), Some("/x"), "the cpuset has the long name");
}

/// Guards against lines that take long to read: made of the kernel's words, as long as a log's reader lets them be.
#[test]
fn long_lines() {
    let start = std::time::Instant::now();
    let many = |words: &str| words.repeat((16 << 10) / words.len());
    let decided = |names: String| {
        decision(&format!(
            "oom-kill:constraint=x,nodemask=(null),cpuset=a,mems_allowed=0{names},task=x,pid=1,uid=0"
        ))
    };
    assert_eq!(decided(many(",oom_memcg=/a,task_memcg=/a")).task_memcg, None);
    assert_eq!(decided(many(",mems_allowed=0,oom_memcg=/a,task_memcg=/a,task=")).pid, Some(1));
    assert_eq!(cut_kill(format!("Killed process 7 (x) {}", many("a:b ")).as_bytes()).unwrap().pid, 7);
    assert_eq!(cut_kill(format!("Killed process 7 (x{}", many(" ")).as_bytes()).unwrap().pid, 7);
    assert!(start.elapsed() < std::time::Duration::from_secs(2), "{:?}", start.elapsed());
}

/// Guards names of threads that are made of the kernel's words: they have at most 15 bytes.
#[test]
fn hostile_names() {
    assert_eq!(kill("Killed process 7 () total-vm:1kB,) total-vm:468kB").total_vm_kb, Some(468));
    let killed = kill("Out of memory: Killed process 7 (x) total-vm:1k) total-vm:468kB, anon-rss:1kB");
    assert_eq!((killed.comm.as_str(), killed.total_vm_kb), ("x) total-vm:1k", Some(468)));
    let newline = b"Out of memory: Killed process 7 (a\nOut of memory) total-vm:468kB";
    let Some(Line::Killed(killed)) = Line::parse(newline) else { panic!("no kill") };
    assert_eq!(killed.comm, "a\nOut of memory");
    let Some(Line::Killed(killed)) = Line::parse(b"Killed process 7 (\xff) total-vm:468kB") else {
        panic!("no kill")
    };
    assert_eq!(killed.comm, "\\xff");
    // Longer than any name.
    for text in [
        "Killed process 7 (sixteen letters!) total-vm:1kB",
        "sixteen letters! invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0",
        "x[1]: segfault Out of memory: Killed process 7 (x) total-vm:1kB",
        "Would have killed process 7 (x). But continuing instead.",
        "Killed process x (x)",
        "Killed process 7 (x) total-vm:manykB",
        "",
    ] {
        assert_eq!(Line::parse(text.as_bytes()), None, "{text}");
    }
}

/// Guards what is no kill.
#[test]
fn other_messages() {
    assert_eq!(
        parse(
            "Memory cgroup out of memory: OOM victim 3804877 (stress) is already exiting. Skip killing the task"
        ),
        Line::AlreadyExiting { pid: 3_804_877, comm: "stress".to_owned() }
    );
    assert_eq!(
        parse("Tasks in /a b are going to be killed due to memory.oom.group set"),
        Line::Group { path: "/a b".to_owned() }
    );
    assert_eq!(parse("Out of memory and no killable processes..."), Line::NothingKillable);
    assert_eq!(
        parse("oom_reaper: reaped process 7 (x), now anon-rss:0kB, file-rss:0kB, shmem-rss:0kB"),
        Line::Reaped { pid: 7, comm: "x".to_owned() }
    );
}

/// Guards names that dmesg shows escaped: longer than any name is, and none the less the victim's.
#[test]
fn names_as_dmesg_shows_them() {
    let shown = r"\x1b[2J\x0a\x22\x5c\xff\x7f\x09\xc2\x9b)%s";
    let name = from_kernel(b"\x1b[2J\n\"\\\xff\x7f\t\xc2\x9b)%s");
    let killed = format!("Memory cgroup out of memory: Killed process 137 ({shown}) total-vm:9kB");
    let Line::Killed(killed) = parse(&killed) else { panic!("{killed}") };
    assert_eq!((killed.comm, killed.total_vm_kb), (name.clone(), Some(9)));
    let header = parse(&format!("{shown} invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, x"));
    let Line::Invoked(header) = header else { panic!("{header:?}") };
    assert_eq!(header.comm, name);
    let long = "Killed process 137 (sixteen letters!) total-vm:9kB";
    assert_eq!(Line::parse(long.as_bytes()), None, "that is no name, shown as it is");
}

/// Guards against a damaged or forged log: only names of flags are such, and the rest of the header counts all the same.
#[test]
fn flags_have_names() {
    let of = |names: &str| {
        let header = format!("x invoked oom-killer: gfp_mask=0xcc0({names}), order=0, oom_score_adj=0");
        let Some(Line::Invoked(invoked)) = Line::parse(header.as_bytes()) else { panic!("{header:?}") };
        assert_eq!((invoked.gfp_mask, invoked.order), (0xcc0, 0));
        invoked.gfp_flags
    };
    let known = ["GFP_KERNEL", "__GFP_ZERO", "0x100000"].map(str::to_owned).to_vec();
    assert_eq!(of("GFP_KERNEL|__GFP_ZERO|0x100000"), Some(known));
    for damaged in ["GF\u{1}\u{1}", "GFP_KERNEL|\u{1b}[31m", "", "GFP_KERNEL|"] {
        assert_eq!(of(damaged), None, "{damaged:?}");
    }
}
