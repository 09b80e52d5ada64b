use std::collections::BTreeMap;

use super::*;
use crate::{
    explain::tests::{fork_failure, memcg_in},
    incident::{Common, ForkCause, Relief, ReliefTag, Relieved, SchemaName},
};

/// When the command of these tests began.
const BEGAN_NS: u64 = 1_000;

fn at(common: &mut Common, boot_ns: u64) {
    common.boot_ns = Some(boot_ns);
}

fn kill(id: &str, comm: &str, of_run: Option<bool>, boot_ns: u64) -> Message {
    let mut incident = memcg_in("/t");
    id.clone_into(&mut incident.id);
    at(&mut incident.common, boot_ns);
    incident.victims[0].comm = Some(comm.to_owned());
    incident.victims[0].of_run = of_run;
    incident.trigger.of_run = Some(true);
    Message::Incident(Event::Closed(Box::new(incident)))
}

fn fork(comm: &str, of_run: Option<bool>, count: u64) -> Message {
    let mut failure = fork_failure(ForkCause::PidsMax);
    at(&mut failure.common, BEGAN_NS + 7);
    failure.task.comm = Some(comm.to_owned());
    failure.task.of_run = of_run;
    failure.count = count;
    Message::Incident(Event::ForkFailure(Box::new(failure)))
}

fn gathered(messages: impl IntoIterator<Item = Message>) -> Run {
    let gather = Gather::default();
    gather.begin(BEGAN_NS);
    let mut sink = gather.sink();
    for message in messages {
        sink.take(&Arc::new(message)).unwrap();
    }
    let mut run = Run::default();
    gather.tell(&mut run);
    run
}

/// Guards whom a kill is counted to, and that bystanders stand first.
#[test]
fn kills_are_the_commands_own_or_of_bystanders() {
    let kills = [("a", "own", Some(true)), ("b", "other", Some(false)), ("c", "stranger", None)];
    let run = gathered(kills.map(|(id, comm, of_run)| kill(id, comm, of_run, BEGAN_NS + 5)));
    let counts = &run.incidents;
    assert_eq!((counts.count, counts.kills, counts.own_kills, counts.bystander_kills), (3, 3, 1, 1));
    assert_eq!(counts.by_scope, BTreeMap::from([("memcg".to_owned(), 3)]));
    let whose: Vec<_> = run.victims.iter().map(|row| (row.whose, row.at_ns)).collect();
    assert_eq!(whose, [(Whose::Bystander, 5), (Whose::Unknown, 5), (Whose::Own, 5)]);
    assert_eq!(run.victims[0].trigger_whose, Whose::Own);
    let kinds: Vec<_> = run.course.marks.iter().map(|mark| mark.kind).collect();
    assert_eq!(kinds, [MarkKind::OwnKill, MarkKind::BystanderKill, MarkKind::BystanderKill]);
    assert!(!run.findings.is_empty() || memcg_in("/t").findings.is_empty());
}

/// Guards what happened before the command began: it is none of its.
#[test]
fn what_came_before_is_not_told() {
    let run = gathered([kill("a", "early", Some(false), BEGAN_NS - 1)]);
    assert_eq!((run.incidents.count, run.victims.len()), (0, 0));
}

/// Guards the bounds: of ten thousand kills every one is counted, and a bystander among the last is still told.
#[test]
fn ten_thousand_kills_are_counted_and_bounded() {
    let own = (0..10_000).map(|n| kill(&n.to_string(), &format!("own-{n}"), Some(true), BEGAN_NS + n));
    let run = gathered(own.chain([kill("x", "bystander", Some(false), BEGAN_NS + 10_000)]));
    assert_eq!((run.incidents.kills, run.incidents.own_kills), (10_001, 10_000));
    assert_eq!(run.victims.len(), 200);
    assert_eq!(run.victims[0].comm.as_deref(), Some("bystander"));
    assert!(run.victims_by_name.len() <= NAMES + 2);
    assert_eq!(run.victims_by_name.iter().map(|name| name.kills).sum::<u64>(), 10_001);
    assert_eq!(run.course.marks.iter().map(|mark| mark.count).sum::<u64>(), 10_001);
    assert!(run.course.marks.len() <= crate::profile::report::Course::MOST_MARKS);
    assert!(run.course.marks.iter().any(|mark| mark.kind == MarkKind::BystanderKill));
}

/// Guards that failed forks are summed by whose they were, and none is lost among very many names.
#[test]
fn forks_that_fail_are_summed() {
    let many = (0..500).map(|n| fork(&format!("f{n}"), Some(true), 2));
    let run = gathered(many.chain([fork("f1", Some(true), 3), fork("other", Some(false), 1)]));
    assert_eq!(run.fork_failures.iter().map(|row| row.count).sum::<u64>(), 1_004);
    assert_eq!(run.fork_failures[0].whose, Whose::Bystander);
    assert!(run.fork_failures.len() <= NAMES + 2);
    assert_eq!(run.fork_failures[0].cause, "pids_max");
}

/// Guards that what becomes of a victim is told with it.
#[test]
fn relief_joins_its_victim() {
    let mut incident = memcg_in("/t");
    at(&mut incident.common, BEGAN_NS + 1);
    let (id, pid) = (incident.id.clone(), incident.victims[0].pid.unwrap());
    let relieved = Relieved {
        pid,
        comm: None,
        command: incident.victims[0].command.clone(),
        exited_ns: None,
        freed_ns: Some(77),
        reaped: false,
        reaped_ns: None,
    };
    let relief = Relief {
        schema: SchemaName::V1,
        r#type: ReliefTag::Relief,
        id,
        common: incident.common.clone(),
        victims: vec![relieved],
        collateral: Vec::new(),
        findings: Vec::new(),
        missing: BTreeMap::new(),
    };
    let run = gathered([
        Message::Incident(Event::Closed(Box::new(incident))),
        Message::Incident(Event::Relieved(Box::new(relief))),
    ]);
    assert_eq!((run.victims[0].freed_ns, run.relief.count), (Some(77), 1));
}

/// Guards whom somebody counts to whose parents tell nothing: the command, if it is in its cgroup or below that, and nobody otherwise.
#[test]
fn whoever_is_in_its_cgroup_is_its_own() {
    let house = House(vec!["/t".to_owned()]);
    let whose = ["/t", "/t/below", "/other", "/t2"].map(|cgroup| house.whose(None, Some(cgroup)));
    assert_eq!(whose, [Whose::Own, Whose::Own, Whose::Unknown, Whose::Unknown]);
    assert_eq!(house.whose(Some(false), Some("/t")), Whose::Bystander);
    assert_eq!(House::default().whose(None, Some("/t")), Whose::Unknown);
}

/// Guards whether it was the command itself: by its process id, and by no other's.
#[test]
fn the_command_itself_is_known_by_its_id() {
    for (pid, killed) in [(memcg_in("/t").victims[0].pid.unwrap(), true), (1, false)] {
        let gather = Gather::default();
        gather.begin(BEGAN_NS);
        gather.command(pid);
        gather.sink().take(&Arc::new(kill("a", "own", Some(true), BEGAN_NS + 5))).unwrap();
        assert_eq!(gather.command_killed(), killed);
    }
}
