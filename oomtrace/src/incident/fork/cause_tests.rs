use super::*;
use crate::{
    incident::chain::tests::{level, link},
    record::{PidNamespace, Promises, Task, UserLevel},
};

/// A fork of uid 1000 that `copy_process()` itself refused, with nothing amiss.
pub fn failure(errno: u32) -> ForkFailure {
    ForkFailure {
        task: Task { uid: Some(1000), ..Task::default() },
        errno,
        site: Site::CopyProcess,
        fatal: false,
        namespace_dead: false,
        deadline: false,
        in_exec: false,
        crowded: false,
        clone_flags: Some(0),
        capabilities: Some(0),
        nproc_limit: Some(50),
        user_processes: None,
        user_namespace: Some(INITIAL_USER_NAMESPACE),
        data_pages: Some(100),
        children: None,
        threads: None,
        pid_max: None,
        promises: None,
        cgroup_id: 9,
        first_ns: 1,
        total: 1,
        pid_namespaces: vec![
            PidNamespace { inum: Some(7), allocated: Some(20), pid_max: Some(400) },
            PidNamespace { inum: Some(6), allocated: Some(150), pid_max: Some(32_768) },
        ],
        users: vec![
            UserLevel { inum: Some(INITIAL_USER_NAMESPACE), uid: 1000, count: Some(3), max: None },
            UserLevel { inum: Some(5), uid: 0, count: Some(8), max: Some(9) },
        ],
        remainder: false,
    }
}

fn pids(levels: &[(u64, Option<u64>)]) -> Chain<PidsLevel> {
    let last = levels.len() - 1;
    let names = ["leaf", "middle", "top"];
    levels.iter().enumerate().fold(Chain::EMPTY, |chain, (depth, (usage, limit))| {
        chain.with(PidsLevel {
            link: link(
                u32::try_from(depth).unwrap(),
                depth as u64 + 1,
                if depth == last { "" } else { names[depth] },
            ),
            usage: Some(*usage),
            limit: Some(*limit),
        })
    })
}

fn idle() -> ForkHost {
    ForkHost {
        threads: Some(100),
        threads_max: Some(1000),
        pid_max: Some(32_768),
        overcommit_memory: Some(0),
        commit: Some((1 << 30, 1 << 20)),
        memory_bytes: Some(1 << 30),
    }
}

fn find(failure: &ForkFailure, host: ForkHost) -> Found {
    let pids = pids(&[(3, None), (10, Some(10)), (10, Some(10)), (200, None)]);
    let memory = Chain::default().with(level(0, 9, "leaf", 100, None)).with(level(1, 1, "", 100, None));
    Evidence {
        failure,
        memory: Some(&memory),
        pids: &pids,
        namespaces: None,
        host,
        page_bytes: 4096,
        cpus: 2,
    }
    .find()
}

/// Cause, proof, limit, usage, whose limit it is, and its level.
type Told<'a> = (ForkCause, Proof, Option<u64>, Option<u64>, Option<&'a str>, Option<u32>);

fn told(found: &Found) -> Told<'_> {
    (found.cause, found.proof, found.limit, found.usage, found.at.as_deref(), found.depth)
}

/// Guards what hooks prove: the function that returned the error decides, whatever else is full.
#[test]
fn the_function_that_refused_decides() {
    let crowded = |site, errno| ForkFailure { site, crowded: true, ..failure(errno) };
    let found = find(&crowded(Site::PidsCanFork, EAGAIN), idle());
    let middle = (ForkCause::PidsMax, Proof::Hook, Some(10), Some(10), Some("/top/middle"), Some(1));
    assert_eq!(told(&found), middle, "the first that is full, from the leaf on");
    let mut full = crowded(Site::AllocPid, EAGAIN);
    full.pid_namespaces[0].allocated = Some(100);
    let namespace = (ForkCause::PidMax, Proof::Hook, Some(400), Some(100), Some("PID namespace 7"), Some(0));
    assert_eq!(told(&find(&full, idle())), namespace, "the lowest 300 ids are not given out again");
    // Each id within takes one around it: the one that is fuller refused.
    full.pid_namespaces[0].allocated = Some(310);
    full.pid_namespaces[1] = PidNamespace { inum: Some(6), allocated: Some(311), pid_max: Some(400) };
    let found = find(&full, idle());
    assert_eq!((found.at.as_deref(), found.usage), (Some("PID namespace 6"), Some(311)));
    full.pid_namespaces[1].allocated = Some(99);
    full.pid_namespaces[0].allocated = Some(99);
    let found = find(&full, idle());
    assert_eq!((found.cause, found.limit, found.missing.len()), (ForkCause::PidMax, None, 3), "a race");
    let dead = ForkFailure { namespace_dead: true, ..crowded(Site::AllocPid, ENOMEM) };
    assert_eq!(find(&dead, idle()).cause, ForkCause::PidnsDead);
    assert_eq!(find(&crowded(Site::AllocPid, ENOMEM), idle()).cause, ForkCause::Memory);
}

/// Guards the order in which copy_process() looks, where state alone tells: of two that hold, the first refused.
#[test]
fn state_is_looked_at_in_the_kernels_order() {
    let busy = ForkHost { threads: Some(1000), ..idle() };
    let all = ForkFailure {
        crowded: true,
        deadline: true,
        in_exec: true,
        clone_flags: Some(CLONE_FS),
        nproc_limit: Some(3),
        ..failure(EAGAIN)
    };
    let user = format!("uid 1000 in user namespace {INITIAL_USER_NAMESPACE}");
    let nproc = (ForkCause::RlimitNproc, Proof::State, Some(3), Some(3), Some(user.as_str()), Some(0));
    assert_eq!(told(&find(&all, busy)), nproc);
    let all = ForkFailure { crowded: false, ..all };
    assert_eq!(
        told(&find(&all, busy)),
        (ForkCause::ThreadsMax, Proof::State, Some(1000), Some(1000), Some("host"), None)
    );
    assert_eq!(find(&all, idle()).cause, ForkCause::DeadlinePolicy);
    let all = ForkFailure { deadline: false, ..all };
    assert_eq!(find(&all, idle()).cause, ForkCause::ExecInProgress);
    // Its own hook may have been at work for another fork.
    let found = find(&failure(EAGAIN), idle());
    assert_eq!((found.cause, found.proof, found.depth), (ForkCause::PidsMax, Proof::State, Some(1)));
    let mut full = failure(EAGAIN);
    full.pid_namespaces[0].allocated = Some(100);
    assert_eq!(find(&full, idle()).cause, ForkCause::PidMax, "ids come before cgroups");
    let (failure, pids) = (failure(EAGAIN), pids(&[(3, None), (9, Some(10))]));
    let nothing = Evidence {
        failure: &failure,
        memory: None,
        pids: &pids,
        namespaces: None,
        host: idle(),
        page_bytes: 4096,
        cpus: 2,
    };
    assert_eq!(nothing.find().cause, ForkCause::Other, "nothing holds any more");
}

/// Guards against figures that came too late: what the programs read as the fork failed counts, and not what /proc said then.
#[test]
fn figures_of_the_instant_come_first() {
    let busy = ForkFailure { threads: Some((1000, 1000)), ..failure(EAGAIN) };
    let found = find(&busy, idle());
    assert_eq!((found.cause, found.limit, found.usage), (ForkCause::ThreadsMax, Some(1000), Some(1000)));
    let late = ForkHost { threads: Some(1000), ..idle() };
    let calm = ForkFailure { threads: Some((999, 1000)), ..failure(EAGAIN) };
    assert_eq!(find(&calm, late).cause, ForkCause::PidsMax);
    let mut old = ForkFailure { site: Site::AllocPid, pid_max: Some(450), ..failure(EAGAIN) };
    old.pid_namespaces.truncate(1);
    old.pid_namespaces[0].pid_max = None;
    old.pid_namespaces[0].allocated = Some(160);
    assert_eq!(find(&old, idle()).limit, Some(450));
}

/// Guards the arithmetic of promises: the limit by ratio or by kbytes, swap on top, and what is kept from a task.
#[test]
fn promises_are_counted_as_the_kernel_counts_them() {
    let promises = Promises {
        mode: 2,
        ratio: 50,
        kbytes: 0,
        swap_pages: 24,
        committed_pages: 900,
        user_reserve_kbytes: 1 << 17,
        admin_reserve_kbytes: 0,
        total_vm_pages: 0,
    };
    let host = ForkHost { memory_bytes: Some(2000 * 4096), ..idle() };
    let of = |promises| {
        let failure = ForkFailure { promises: Some(promises), ..failure(ENOMEM) };
        let found = find(&failure, host);
        (
            found.cause,
            found.limit_bytes.map(|bytes| bytes / 4096),
            found.usage_bytes.map(|bytes| bytes / 4096),
        )
    };
    let memory = (ForkCause::Memory, None, None);
    // The task copies 100 pages.
    assert_eq!(of(promises), memory, "1000 of 1024");
    assert_eq!(
        of(Promises { committed_pages: 925, ..promises }),
        (ForkCause::Overcommit, Some(1024), Some(925))
    );
    assert_eq!(of(Promises { kbytes: 3800, ..promises }), (ForkCause::Overcommit, Some(974), Some(900)));
    assert_eq!(of(Promises { mode: 0, kbytes: 3800, ..promises }), memory, "there is no limit");
    assert_eq!(of(Promises { total_vm_pages: 3200, ..promises }).0, ForkCause::Overcommit, "a 32nd");
    assert_eq!(of(Promises { total_vm_pages: 3200, user_reserve_kbytes: 16, ..promises }), memory);
    assert_eq!(of(Promises { admin_reserve_kbytes: 100, ..promises }).0, ForkCause::Overcommit);
}

/// Guards who is not bound by RLIMIT_NPROC: root, and whoever has the capabilities in the initial user namespace.
#[test]
fn the_exempt_are_not_told_of_their_users_limit() {
    let crowded = ForkFailure { crowded: true, nproc_limit: Some(3), ..failure(EAGAIN) };
    let root = Task { uid: Some(0), ..Task::default() };
    let cause = |failure: ForkFailure| find(&failure, idle()).cause;
    assert_eq!(cause(ForkFailure { task: root, ..crowded.clone() }), ForkCause::PidsMax);
    let able = ForkFailure { capabilities: Some(1 << 24), ..crowded.clone() };
    assert_eq!(cause(able.clone()), ForkCause::PidsMax);
    assert_eq!(cause(ForkFailure { user_namespace: Some(5), ..able }), ForkCause::RlimitNproc);
    // Up to 5.13 there are no levels.
    let old = ForkFailure { users: Vec::new(), user_processes: Some(3), ..crowded };
    assert_eq!(
        told(&find(&old, idle())),
        (ForkCause::RlimitNproc, Proof::State, Some(3), Some(3), Some("uid 1000"), Some(0))
    );
}

/// Guards user namespaces: the level that is full, by the limit of the one below it.
#[test]
fn the_full_user_namespace_is_told() {
    let mut outer = ForkFailure { crowded: true, ..failure(EAGAIN) };
    outer.users[1].count = Some(9);
    let found = find(&outer, idle());
    assert_eq!((found.limit, found.usage, found.depth), (Some(9), Some(9), Some(1)));
    assert_eq!(found.at.as_deref(), Some("uid 0 in user namespace 5"));
}

/// Guards ENOMEM: a full memory cgroup, a promise that may not be made, and what is left.
#[test]
fn wants_of_memory_are_told_apart() {
    let strict = ForkHost { overcommit_memory: Some(2), commit: Some((1 << 20, (1 << 20) - 4096)), ..idle() };
    let found = find(&failure(ENOMEM), strict);
    assert_eq!((found.cause, found.limit_bytes), (ForkCause::Overcommit, Some(1 << 20)));
    let thread = ForkFailure { clone_flags: Some(CLONE_VM), ..failure(ENOMEM) };
    assert_eq!(find(&thread, strict).cause, ForkCause::Memory, "nothing is copied");
    let room = ForkHost { commit: Some((1 << 30, 1 << 20)), ..strict };
    assert_eq!(find(&failure(ENOMEM), room).cause, ForkCause::Memory);
    let full = Chain::default().with(level(0, 9, "a", 1000, Some(1100))).with(level(1, 1, "", 0, None));
    let failure = failure(ENOMEM);
    let empty = Chain::EMPTY;
    let mut evidence = Evidence {
        failure: &failure,
        memory: Some(&full),
        pids: &empty,
        namespaces: None,
        host: strict,
        page_bytes: 4096,
        cpus: 2,
    };
    let found = evidence.find();
    assert_eq!(
        (found.cause, found.usage_bytes, found.at.as_deref()),
        (ForkCause::MemcgKmem, Some(1000 * 4096), Some("/a"))
    );
    evidence.cpus = 1;
    assert_eq!(evidence.find().cause, ForkCause::Overcommit, "32 pages below what one CPU may hold back");
}

/// Guards what is no want: a task that dies is told as that, whatever holds.
#[test]
fn the_dying_are_told_apart() {
    let dying = |errno| ForkFailure { fatal: true, crowded: true, nproc_limit: Some(3), ..failure(errno) };
    for errno in [EINTR, ENOMEM] {
        assert_eq!(find(&dying(errno), idle()).cause, ForkCause::FatalSignal, "{errno}");
    }
    // No signal makes it EAGAIN.
    assert_eq!(find(&dying(EAGAIN), idle()).cause, ForkCause::RlimitNproc);
    let refused = ForkFailure { site: Site::AllocPid, namespace_dead: true, ..dying(ENOMEM) };
    assert_eq!(find(&refused, idle()).cause, ForkCause::PidnsDead, "a hook proves it");
    assert_eq!(find(&failure(ENOSPC), idle()).cause, ForkCause::NamespaceLimit);
    assert_eq!(find(&failure(EMFILE), idle()).cause, ForkCause::FdLimit);
}

/// Guards causes that are about what the call asked for: an exec keeps only what shares with it from being made, and where the
/// child's cgroup is another, the task's own ones tell nothing.
#[test]
fn what_was_asked_for_decides_too() {
    let cause = |failure: &ForkFailure| find(failure, idle()).cause;
    let by_call = ForkFailure { site: Site::Syscall, ..failure(EAGAIN) };
    let in_exec = ForkFailure { in_exec: true, ..by_call.clone() };
    for (flags, expected) in [
        (None, ForkCause::ExecInProgress),
        (Some(CLONE_FS), ForkCause::ExecInProgress),
        (Some(0), ForkCause::PidsMax),
    ] {
        assert_eq!(cause(&ForkFailure { clone_flags: flags, ..in_exec.clone() }), expected, "{flags:?}");
    }
    let elsewhere = ForkFailure { clone_flags: Some(CLONE_INTO_CGROUP), ..by_call };
    let found = find(&elsewhere, idle());
    assert_eq!(told(&found), (ForkCause::PidsMax, Proof::State, None, None, None, None));
    assert!(found.missing.iter().any(|(field, _)| *field == "limit_at"));
}
