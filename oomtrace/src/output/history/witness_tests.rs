//! Two witnesses of one thing, and two things that are alike.

use super::*;

/// A kill that programs in the kernel saw.
fn live() -> Witness {
    Witness {
        kind: LineKind::Oom,
        name: Some("0123-5f-7".to_owned()),
        boot_id: Some("boot".to_owned()),
        boot_ns: Some(100_000_000_000),
        time_ns: Some(1_700_000_000_000_000_000),
        kmsg_seq: None,
        tid: Some(7),
        comm: Some("java".to_owned()),
        total_vm_bytes: Some(4096),
        cgroup: Some("/web".to_owned()),
        nobody: false,
        logged: false,
    }
}

/// The same in the log.
fn log() -> Witness {
    Witness { name: Some("0123-k5-7".to_owned()), kmsg_seq: Some(5), logged: true, ..live() }
}

/// A change to a witness that makes it another thing.
type Change = fn(&mut Witness);

/// Guards exactly-once: live and log tell one incident, whatever their clocks do to each other.
#[test]
fn a_kill_in_the_log_is_the_kill_that_was_seen() {
    assert!(live().is(&log()) && log().is(&live()));
    let joined = Witness { kmsg_seq: Some(5), ..live() };
    let late = Witness { time_ns: Some(0), boot_ns: Some(0), ..log() };
    assert!(joined.is(&late), "the same record of the same boot");
    let drifted = Witness { boot_ns: Some(3_000_000_000_000), ..log() };
    assert!(live().is(&drifted), "printk's clock is off, the wall clock is not");
    let grown = Witness { total_vm_bytes: Some(8192), ..log() };
    assert!(live().is(&grown), "other threads still map memory");
}

/// Guards the count of incidents against being too small.
#[test]
fn another_kill_is_another_kill() {
    let changes: [(Change, &str); 6] = [
        (|one| one.kind = LineKind::Relief, "another kind"),
        (|one| one.boot_id = Some("other".to_owned()), "another boot"),
        (|one| one.tid = Some(8), "another thread"),
        (|one| one.comm = Some("redis".to_owned()), "another name"),
        (|one| one.tid = None, "nobody knows who"),
        (
            |one| {
                one.time_ns = one.time_ns.map(|at| at + 6_000_000_000);
                one.boot_ns = one.boot_ns.map(|at| at + 6_000_000_000);
            },
            "later",
        ),
    ];
    for (change, what) in changes {
        let mut other = log();
        change(&mut other);
        assert!(!live().is(&other), "{what}");
    }
    let next = Witness { name: Some("0123-6f-7".to_owned()), ..live() };
    assert!(!live().is(&next), "programs in the kernel see each once");
    let joined = Witness { kmsg_seq: Some(4), ..live() };
    assert!(!joined.is(&log()), "another record");
}

/// Guards what pstore keeps, which names no boot and has the time of its file.
#[test]
fn a_dump_that_names_no_boot_is_known_by_its_stamps_and_sizes() {
    let dump = Witness {
        name: Some("log-1".to_owned()),
        boot_id: None,
        kmsg_seq: None,
        time_ns: live().time_ns.map(|at| at + 90_000_000_000),
        ..log()
    };
    assert!(live().is(&dump));
    assert!(!live().is(&Witness { total_vm_bytes: Some(1), ..dump.clone() }));
    assert!(!live().is(&Witness { boot_ns: Some(1), ..dump.clone() }));
    assert!(!live().is(&Witness { time_ns: Some(0), ..dump.clone() }));
    let next = Witness { name: Some("log-2".to_owned()), boot_ns: Some(100_000_001_000), ..dump.clone() };
    assert!(!dump.is(&next), "a machine that starts and runs out of memory again and again");
}

/// Guards the log's hint at a fork that a cgroup refused, which names nobody.
#[test]
fn a_refused_fork_is_known_by_its_cgroup() {
    let fork = |one: Witness| Witness { kind: LineKind::ForkFailure, ..one };
    let hint = Witness { tid: None, comm: None, total_vm_bytes: None, kmsg_seq: None, ..fork(log()) };
    assert!(fork(live()).is(&hint));
    assert!(!fork(live()).is(&Witness { cgroup: Some("/other".to_owned()), ..hint }));
}

/// Guards shortages that kill nobody, of which each who asks is told in the log.
#[test]
fn nobody_to_kill_is_known_by_what_ran_out() {
    let nobody = |one: Witness| Witness { nobody: true, kmsg_seq: None, ..one };
    let other = Witness { tid: Some(8), comm: Some("redis".to_owned()), ..nobody(log()) };
    assert!(nobody(live()).is(&other));
    assert!(!nobody(live()).is(&Witness { cgroup: None, ..other.clone() }));
    assert!(!nobody(live()).is(&Witness { nobody: false, ..other }), "one of both killed");
}
