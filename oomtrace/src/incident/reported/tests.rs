use super::*;
use crate::{
    explain::tests::memcg,
    incident::{Cause, Verdict},
    kmsg::{
        Decided, Invoked, Killed,
        report::{Charge, ChargeKind, Kill, MemInfo, ZoneInfo},
    },
};

fn told(report: &Report) -> Incident {
    let told = Reported { report, page_bytes: None, reasons: Reasons::OF_LOG };
    told.incident(memcg().common, "id".to_owned())
}

fn kill(pid: u32, group: bool) -> Kill {
    let killed = Killed {
        pid,
        comm: "x".to_owned(),
        total_vm_kb: Some(640),
        anon_rss_kb: Some(64),
        file_rss_kb: Some(64),
        ..Killed::default()
    };
    Kill { killed, group, ..Kill::default() }
}

fn invoked() -> Invoked {
    Invoked { comm: "asker".to_owned(), gfp_mask: 0x0014_0dca, gfp_flags: None, order: 0 }
}

fn zone(node: u32, name: &str, present: u64) -> ZoneInfo {
    let bytes = [("free", 1 << 20), ("min", 1 << 16), ("present", present)];
    ZoneInfo {
        node: Some(node),
        name: name.to_owned(),
        bytes: bytes.into_iter().map(|(key, bytes)| (key.to_owned(), bytes)).collect(),
        reserve_pages: Some(vec![0, 10, 20, 30]),
        ..ZoneInfo::default()
    }
}

/// A kill of an old kernel, whose log does not name the constraint.
fn old(zones: Vec<ZoneInfo>) -> Report {
    let memory = MemInfo { zones, ram_pages: Some(512), page_bytes: Some(4096), ..MemInfo::default() };
    Report {
        invoked: Some(invoked()),
        memory,
        kills: vec![kill(7, false)],
        end: End::Killed,
        ..Report::default()
    }
}

/// Guards against a guess: before 5.0 the log does not say whether a request was confined to some nodes, but on a machine that has
/// but one it cannot have been.
#[test]
fn what_ran_out_before_the_log_said() {
    let one = told(&old(vec![zone(0, "DMA32", 1 << 21)]));
    assert_eq!((one.scope.kind, one.scope.cause), (Some(ScopeKind::Global), Some(Cause::Allocation)));
    let two = told(&old(vec![zone(0, "DMA32", 1 << 20), zone(1, "Normal", 1 << 20)]));
    assert_eq!(two.scope.kind, None);
    assert!(two.missing["scope.kind"].contains("confined"));
    // The other node was left out of the report, and not of the sum.
    assert_eq!(told(&old(vec![zone(0, "DMA32", 1 << 20)])).scope.kind, None);
    let headless = Report { invoked: None, ..old(vec![]) };
    assert_eq!(told(&headless).missing["scope.kind"], Reasons::OF_LOG.headless);
}

/// Guards the levels between a victim and the cgroup at its limit: those below have figures that no log has, and no limit is
/// invented.
#[test]
fn levels_end_at_the_limit() {
    let decided = Decided {
        constraint: "CONSTRAINT_MEMCG".to_owned(),
        oom_memcg: Some("/pods/a".to_owned()),
        task_memcg: Some("/pods/a/b/c".to_owned()),
        ..Decided::default()
    };
    let charge =
        Charge { kind: ChargeKind::Memory, usage_bytes: 1 << 20, limit_bytes: Some(1 << 20), hits: Some(3) };
    let report = Report {
        invoked: Some(invoked()),
        decided: Some(decided),
        charges: vec![charge],
        kills: vec![kill(7, false)],
        ..Report::default()
    };
    let incident = told(&report);
    let paths: Vec<_> = incident.scope.limits.iter().map(|level| level.path.as_str()).collect();
    assert_eq!(paths, ["/pods/a/b/c", "/pods/a/b", "/pods/a"]);
    assert_eq!(incident.scope.limits[2].limit_bytes, Some(1 << 20));
    assert!(incident.missing.contains_key("scope.limits[1].limit_bytes"));
    assert!(!incident.missing.contains_key("scope.limits[2].limit_bytes"));
    assert_eq!(incident.victims[0].place.cgroup.as_deref(), Some("/pods/a/b/c"));
    let elsewhere = Decided { task_memcg: Some("/other".to_owned()), ..report.decided.clone().unwrap() };
    assert_eq!(told(&Report { decided: Some(elsewhere), ..report }).scope.limits.len(), 1);
}

/// Guards victims: the first of a group is logged twice and died once; what the table says of a thread is its process.
#[test]
fn a_group_dies_once() {
    let row = TaskRow {
        pid: 8,
        tgid: Some(5),
        total_vm_pages: Some(10),
        rss_pages: Some(2),
        swap_pages: Some(1),
        pgtables_bytes: Some(1 << 16),
        oom_score_adj: Some(0),
        comm: "x".to_owned(),
        ..TaskRow::default()
    };
    let report = Report {
        kernel: Some("5.14.0-1.el9.aarch64".to_owned()),
        kills: vec![kill(7, false), kill(7, true), kill(8, true)],
        tasks: vec![row],
        tasks_in_all: 1,
        ..Report::default()
    };
    let incident = told(&report);
    let died: Vec<_> =
        incident.victims.iter().map(|victim| (victim.pid, victim.tid, victim.verdict)).collect();
    let killed = (Some(7), Some(7), Some(Verdict::Killed));
    assert_eq!(died, [killed, (Some(5), Some(8), Some(Verdict::GroupKilled))]);
    // 640 kB in 10 pages: they are of 64 KiB.
    assert_eq!(incident.victims[1].swap_bytes, Some(1 << 16));
    assert_eq!(incident.candidates[0].points, 2 + 1 + 1);
    assert_eq!(incident.victims[1].points, Some(4));
    let rss = incident.victims[0].rss_kernel.unwrap();
    assert_eq!((rss.shmem_bytes, rss.total_bytes), (None, 128 << 10), "before 4.5");
    // Root had a bonus before 4.17.
    let before = Report { kernel: Some("4.16.0".to_owned()), ..report };
    assert!(told(&before).candidates.is_empty());
}

/// Guards zones: those that serve the request, from the one that it asks for down, with what this request must leave.
#[test]
fn zones_are_those_of_the_request() {
    let zones = || vec![zone(0, "DMA", 1 << 20), zone(0, "DMA32", 1 << 20), zone(0, "Normal", 1 << 20)];
    let incident = told(&old(zones()));
    let names = |incident: &Incident| -> Vec<_> {
        incident.zones.iter().filter_map(|zone| zone.name.clone()).collect()
    };
    assert_eq!(names(&incident), ["Normal", "DMA32", "DMA"]);
    assert_eq!(incident.zones[0].lowmem_reserve_bytes, Some(30 * 4096), "of a movable page");
    let mut dma = old(zones());
    dma.invoked.as_mut().unwrap().gfp_mask = 0x0cc5;
    assert_eq!(names(&told(&dma)), ["DMA"]);
    let memory = incident.host_memory.unwrap();
    assert_eq!((memory.nodes, memory.shmem_bytes), (vec![0], None));
}

/// Guards the end of a machine: nobody could be killed, and the table has all of those.
#[test]
fn nobody_was_killable() {
    let row = |adj| TaskRow { oom_score_adj: Some(adj), comm: "x".to_owned(), ..TaskRow::default() };
    let end = End::Panic("Out of memory and no killable processes...".to_owned());
    let report = Report { tasks: vec![row(-1000), row(-1000)], tasks_in_all: 2, end, ..Report::default() };
    let incident = told(&report);
    assert_eq!(incident.outcome, Some(Outcome::Panic));
    let ballot = incident.ballot.unwrap();
    assert_eq!((ballot.examined, ballot.unkillable), (2, 2));
    let cut = Report { tasks_in_all: 3, ..report };
    assert!(told(&cut).ballot.is_none());
}
