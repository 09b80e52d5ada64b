//! Forks that cgroups refuse, where no hook shows forks.

use jiff::tz::TimeZone;

use super::{feed, session};
use crate::{
    incident::{Assembler, Event, ForkFailure, Proof},
    kernel::hooks::Tier,
    output::{Format as _, Human, Message},
    record::{KernelLog, Key, PidsRefused, Record},
    session::Source,
};

const LINE: &str = "cgroup: fork rejected by pids controller in /app/worker";

fn key() -> Key {
    Key { trigger_tid: 0, opened_ns: 0, boot_ns: 5, index: 0, lost: 0 }
}

fn assembler(pids_events: bool) -> Assembler {
    let mut session = session(Tier::Tracepoint);
    (session.kmsg, session.pids_events) = (true, pids_events);
    Assembler::new(session, Source::Ebpf)
}

fn logged() -> Record {
    let text = LINE.as_bytes().to_vec();
    Record::KernelLog(key(), Box::new(KernelLog { seq: 1, usec: 0, text }))
}

fn failure(events: &[Event]) -> &ForkFailure {
    let [Event::ForkFailure(failure)] = events else { panic!("{events:?}") };
    failure
}

fn shown(events: Vec<Event>) -> String {
    let mut text = Vec::new();
    for event in events {
        Human::new(false, TimeZone::UTC, None).format(&Message::Incident(event), &mut text);
    }
    String::from_utf8(text).unwrap()
}

/// Guards the first that the log has: where nothing is counted, it is told with what the line has; the error is the one that
/// there is.
#[test]
fn the_log_tells_of_the_first() {
    let mut assembler = assembler(false);
    let events = feed(&mut assembler, [logged()]);
    let told = failure(&events);
    assert_eq!((told.proof, told.count, told.errno_name), (Proof::Log, 1, Some("EAGAIN")));
    assert_eq!(told.task.place.cgroup.as_deref(), Some("/app/worker"));
    assert!(["limit", "usage", "limit_at", "task.pid"].iter().all(|field| told.missing.contains_key(*field)));
    assert!(!told.missing.contains_key("task.cgroup"));
    assert!(assembler.refusing().is_empty());
}

/// Guards against telling it twice: where cgroups are counted, the line is no more than a hint at one.
#[test]
fn counts_stand_for_the_log() {
    let mut assembler = assembler(true);
    assert!(feed(&mut assembler, [logged()]).is_empty());
    assert_eq!(assembler.refusing(), ["/app/worker"]);
    assert!(assembler.refusing().is_empty());
    let refused = PidsRefused {
        cgroup: Some("/app/worker".to_owned()),
        limit_at: Some("/app".to_owned()),
        limit: Some(64),
        usage: Some(64),
        count: 3000,
        window_ns: 1_000_000_000,
        counted: true,
    };
    let events = feed(&mut assembler, [Record::PidsRefused(key(), Box::new(refused.clone()))]);
    let told = failure(&events);
    assert_eq!((told.proof, told.common.source, told.limit_depth), (Proof::Count, Source::Cgroup, Some(1)));
    assert_eq!((told.count, told.limit, told.usage), (3000, Some(64), Some(64)));
    assert!(
        shown(events)
            .contains("FORK FAILED  in /app/worker   pids.max 64 of /app reached (EAGAIN) (×3,000 in 1.0 s)")
    );
    // Since 6.11 it is not known whose forks these are.
    let by_limit = PidsRefused { cgroup: None, window_ns: 0, ..refused };
    let events = feed(&mut assembler, [Record::PidsRefused(key(), Box::new(by_limit))]);
    let told = failure(&events);
    assert!(told.task.place.cgroup.is_none() && told.missing.contains_key("task.cgroup"));
    assert!(shown(events).contains("FORK FAILED   pids.max 64 of /app reached (EAGAIN) (×3,000)\n"));
}
