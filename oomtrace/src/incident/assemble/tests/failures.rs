//! Allocations that failed.

use jiff::tz::TimeZone;

use super::*;
use crate::{
    incident::failure::FailureKind,
    output::{Format as _, Human, Message},
};

/// A page fault of process 4 that failed, the `total`th since `first_ns`.
fn failure(first_ns: u64, total: u64, waits: Option<u64>) -> record::AllocFailure {
    record::AllocFailure {
        what: record::Failing::PageFault,
        task: task(4),
        gfp_mask: None,
        order: None,
        errno: None,
        first_ns,
        total,
        waits: waits.map(|id| CgroupId { hierarchy: 0, id }),
        remainder: false,
    }
}

/// A run with that failure and its cgroups.
fn failing(opened_ns: u64, failure: record::AllocFailure) -> Vec<Record> {
    let mut kernel = Kernel::run(4, opened_ns);
    let mut records = kernel.levels(false);
    records.push(Record::AllocFailure(kernel.key(), Box::new(failure)));
    records
}

fn failures(events: &[Event]) -> Vec<&AllocFailure> {
    events
        .iter()
        .map(|event| if let Event::AllocFailure(failure) = event { &**failure } else { panic!("{event:?}") })
        .collect()
}

/// Guards the line of a failure: whose it was, in which cgroups, and each one counted once, whether it is told or not.
#[test]
fn failures_are_told_with_their_cgroups_and_counted_once() {
    let mut assembler = assembler(Tier::Trampoline);
    let records = [failing(100, failure(100, 1, None)), failing(200, failure(100, 18, None))].concat();
    let events = feed(&mut assembler, records);
    let lines = failures(&events);
    assert_eq!(lines.iter().map(|line| (line.common.seq, line.count)).collect::<Vec<_>>(), [(1, 1), (2, 17)]);
    let line = lines[1];
    assert_eq!((line.what, line.task.pid), (FailureKind::PageFault, Some(4)));
    assert_eq!(line.task.place.cgroup.as_deref(), Some("/app"));
    assert_eq!(line.limits[0].limit_bytes, Some(8192 * 4096));
    assert_eq!(line.missing.keys().collect::<Vec<_>>(), ["task.cmdline"]);
    // Two threads told at the same time, and the one with fewer came later.
    assert_eq!(feed(&mut assembler, failing(300, failure(100, 17, None))), []);
    // What was counted and not told: it belongs to no run.
    let rest = record::AllocFailure { remainder: true, ..failure(100, 20, None) };
    let key = Key { trigger_tid: 0, opened_ns: 0, boot_ns: 400, index: 0, lost: 0 };
    let events = feed(&mut assembler, vec![Record::AllocFailure(key, Box::new(rest))]);
    let line = failures(&events)[0];
    assert_eq!((line.count, line.task.place.cgroup.as_deref()), (2, Some("/app")));
    assert!(line.limits.is_empty() && line.missing.contains_key("limits"));
    // The kernel half had forgotten it.
    let events = feed(&mut assembler, failing(500, failure(450, 3, None)));
    assert_eq!(failures(&events)[0].count, 3);
    assert_eq!(assembler.deadline_ns(), None, "nothing is left open");
}

/// Guards the cgroup that a task waits for against one that it is not in: then something else was read.
#[test]
fn a_task_waits_at_a_limit_of_its_own() {
    let mut assembler = assembler(Tier::Trampoline);
    let events = feed(&mut assembler, failing(100, failure(100, 1, Some(APP))));
    let line = failures(&events)[0];
    assert_eq!(line.what, FailureKind::MemcgOomDisabled);
    assert_eq!(line.memcg.as_ref().and_then(|memcg| memcg.path.as_deref()), Some("/app"));
    let events = feed(&mut assembler, failing(200, failure(100, 2, Some(77))));
    let line = failures(&events)[0];
    assert_eq!((line.what, &line.memcg), (FailureKind::PageFault, &None));
    assert!(line.missing.contains_key("memcg"));
}

/// Guards what people read of a failure.
#[test]
fn failures_are_a_line_for_people() {
    let mut assembler = assembler(Tier::Trampoline);
    let events = feed(&mut assembler, failing(100, failure(50, 1700, None)));
    let mut text = Vec::new();
    Human::new(false, TimeZone::UTC, None).format(&Message::Incident(events[0].clone()), &mut text);
    let text = String::from_utf8(text).unwrap();
    let first = text.lines().next().unwrap();
    assert!(
        first.ends_with("NO MEMORY  task4 (pid 4)  in /app   page fault failed, nobody was killed (×1,700)"),
        "{text}"
    );
    assert!(text.contains("raise the limit of /app: 31.9 MiB of 32.0 MiB"), "{text}");
}
