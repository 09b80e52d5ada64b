use super::*;
use crate::{
    incident::{
        chain::Chain,
        fork::{cause::tests::failure, errno::ENOSPC},
    },
    record::{ForkFailure, ForkHost, Site},
};

const NEWUTS: u64 = 0x0400_0000;
const NEWNET: u64 = 0x4000_0000;
const NEWPID: u64 = 0x2000_0000;
const NEWUSER: u64 = 0x1000_0000;
/// Where counts of them stand.
const USER: usize = 0;
const UTS: usize = 2;
const PID: usize = 4;
const NET: usize = 6;

/// Uid 1000 is root in a user namespace of its own, which is in the initial one; 1 of 10 namespaces of each kind.
fn calm() -> Namespaces {
    let level = |inum, depth, uid| NamespaceLevel {
        inum: Some(inum),
        depth: Some(depth),
        uid: Some(uid),
        counts: [Some(1); NAMESPACE_COUNTERS.len()],
        max: [Some(10); NAMESPACE_COUNTERS.len()],
    };
    Namespaces { euid: Some(1000), pid_depth: Some(2), levels: vec![level(7, 1, 1000), level(5, 0, 1000)] }
}

/// The same with so many of a kind at a level.
fn with(mut namespaces: Namespaces, depth: usize, kind: usize, (usage, limit): (u64, u64)) -> Namespaces {
    let level = &mut namespaces.levels[depth];
    (level.counts[kind], level.max[kind]) = (Some(usage), Some(limit));
    namespaces
}

fn find(flags: Option<u64>, namespaces: &Namespaces) -> Found {
    let failure = ForkFailure { clone_flags: flags, ..failure(ENOSPC) };
    let pids = Chain::EMPTY;
    let evidence = Evidence {
        failure: &failure,
        memory: None,
        pids: &pids,
        namespaces: Some(namespaces),
        host: ForkHost::default(),
        page_bytes: 4096,
        cpus: 2,
    };
    evidence.find()
}

/// Kind, whether it is about depth, limit, usage, whose limit it is, and its level.
type Told<'a> = (NamespaceKind, bool, u64, u64, &'a str, u32);

#[track_caller]
fn assert_told(found: &Found, (kind, nested, limit, usage, at, depth): Told<'_>) {
    assert_eq!((found.cause, found.proof), (ForkCause::NamespaceLimit, Proof::State));
    assert_eq!((found.namespace, found.nested), (Some(kind), Some(nested)));
    assert_eq!((found.limit, found.usage, found.at.as_deref()), (Some(limit), Some(usage), Some(at)));
    assert_eq!((found.depth, found.missing.len()), (Some(depth), 0));
}

#[track_caller]
fn assert_left_out(found: &Found, why: &str) {
    assert_eq!((found.cause, found.namespace, found.limit), (ForkCause::NamespaceLimit, None, None));
    assert_eq!((found.nested, found.usage, found.at.as_deref()), (None, None, None));
    let mut fields: Vec<_> = found.missing.iter().map(|(field, _)| *field).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["limit", "limit_at", "namespace", "nested", "usage"]);
    assert!(found.missing.iter().all(|(_, reason)| reason == why), "{:?}", found.missing);
}

/// Guards the level: the first that counts as many as may be, from the task's own user namespace outwards, each by its own limit.
#[test]
fn the_first_full_level_is_told() {
    let own = with(with(calm(), 0, UTS, (3, 3)), 1, UTS, (9, 4));
    let at = "uid 1000 in user namespace 7";
    assert_told(&find(Some(NEWUTS), &own), (NamespaceKind::Uts, false, 3, 3, at, 0));
    // A limit may be set below what there is.
    let outer = with(calm(), 1, UTS, (9, 4));
    let at = "uid 1000 in user namespace 5";
    assert_told(&find(Some(NEWUTS), &outer), (NamespaceKind::Uts, false, 4, 9, at, 1));
    assert_left_out(&find(Some(NEWUTS), &calm()), ERASED);
}

/// Guards against a kind that was not asked for, and where that is not known, against a guess: one alone that is full is told.
#[test]
fn kinds_that_were_not_asked_for_did_not_refuse() {
    let net = with(calm(), 0, NET, (3, 3));
    let told = (NamespaceKind::Net, false, 3, 3, "uid 1000 in user namespace 7", 0);
    assert_left_out(&find(Some(NEWUTS), &net), ERASED);
    assert_told(&find(Some(NEWUTS | NEWNET), &net), told);
    assert_told(&find(None, &net), told);
    let both = with(net, 1, UTS, (10, 10));
    assert_left_out(&find(None, &both), ANY);
    assert_told(&find(Some(NEWNET), &both), told);
}

/// Guards against blaming what the fork itself has made before it was refused, which counts for a while yet; where nothing can
/// have been made, the kernel's order decides.
#[test]
fn what_the_fork_itself_made_is_not_blamed() {
    let both = with(with(calm(), 0, USER, (4, 4)), 0, NET, (3, 3));
    assert_left_out(&find(Some(NEWUSER | NEWNET), &both), SEVERAL);
    let none = with(with(calm(), 1, USER, (0, 0)), 0, NET, (3, 3));
    let at = "uid 1000 in user namespace 5";
    assert_told(&find(Some(NEWUSER | NEWNET), &none), (NamespaceKind::User, false, 0, 0, at, 1));
    assert_left_out(&find(None, &none), ANY);
}

/// Guards depth: 32 PID namespaces below the initial one and 33 user namespaces, and not one fewer.
#[test]
fn depth_is_told_apart() {
    let deep = |depth| Namespaces { pid_depth: Some(depth), ..calm() };
    assert_left_out(&find(Some(NEWPID), &deep(31)), ERASED);
    let pid = (NamespaceKind::Pid, true, 32, 32, "PID namespace 7", 0);
    assert_told(&find(Some(NEWPID), &deep(32)), pid);
    assert_told(&find(None, &deep(32)), pid);
    assert_left_out(&find(Some(NEWUTS), &deep(32)), ERASED);
    // It is looked at first.
    assert_told(&find(Some(NEWPID), &with(deep(32), 0, PID, (3, 3))), pid);
    let mut user = calm();
    user.levels[0].depth = Some(32);
    assert_left_out(&find(Some(NEWUSER), &user), ERASED);
    user.levels[0].depth = Some(33);
    assert_told(&find(Some(NEWUSER), &user), (NamespaceKind::User, true, 33, 33, "user namespace 7", 0));
}

/// Guards absence: what is counted of another than the effective user tells nothing, and before 5.14 nothing is at hand of the
/// task's own namespace; those around it tell all the same, and the reason is given where they do not.
#[test]
fn what_is_not_at_hand_is_left_out() {
    let other = Namespaces { euid: Some(0), ..with(calm(), 0, UTS, (3, 3)) };
    assert_left_out(&find(Some(NEWUTS), &other), OTHER_USER);
    let mut old = with(calm(), 0, UTS, (3, 3));
    (old.levels[0].uid, old.levels[0].counts) = (None, Default::default());
    assert_left_out(&find(Some(NEWUTS), &old), UNLED);
    let outer = "uid 1000 in user namespace 5";
    for unseen in [other, old] {
        let full = with(unseen, 1, UTS, (2, 2));
        assert_told(&find(Some(NEWUTS), &full), (NamespaceKind::Uts, false, 2, 2, outer, 1));
    }
    let mut deep = calm();
    deep.levels = [deep.levels[0]; FORK_LEVELS].to_vec();
    assert_left_out(&find(Some(NEWUTS), &deep), OUTER);
    let mut unread = calm();
    unread.levels[0].max[UTS] = None;
    assert_left_out(&find(Some(NEWUTS), &unread), UNREAD);
    assert_left_out(&find(Some(NEWUTS), &Namespaces { levels: Vec::new(), ..calm() }), UNREAD);
    let failure = ForkFailure { site: Site::Syscall, ..failure(ENOSPC) };
    let pids = Chain::EMPTY;
    let host = ForkHost::default();
    let evidence = Evidence {
        failure: &failure,
        memory: None,
        pids: &pids,
        namespaces: None,
        host,
        page_bytes: 4096,
        cpus: 2,
    };
    assert_left_out(&evidence.find(), LOST);
}
