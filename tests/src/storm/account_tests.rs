use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::storm::roster::{Home, comm};
use crate::witness::line::killed;

fn roster() -> Roster {
    let mut roster = Roster::default();
    for (serial, number) in [(1, 4), (2, 5), (3, 4)] {
        let path = format!("/t/g{number:03}");
        let home = Arc::new(Home { number, path, id: 100 + number as u64, limit_bytes: 1 << 20 });
        roster.enter(Entry { comm: comm(number, serial), pid: 40 + serial, home, killed: true });
    }
    roster
}

fn incident() -> Value {
    json!({
        "type": "oom", "outcome": "killed", "lost_records": 0,
        "scope": {"kind": "memcg", "cause": "allocation", "capacity_bytes": 1 << 20,
                  "memcg": {"path": "/t/g004", "id": 104},
                  "limits": [{"path": "/t/g004", "limit_bytes": 1 << 20}]},
        "trigger": {"pid": 43, "comm": comm(4, 3), "cgroup": "/t/g004"},
        "victims": [{"pid": 41, "tid": 41, "comm": comm(4, 1), "cgroup": "/t/g004", "verdict": "killed"}],
    })
}

fn read(json: Value) -> Incident {
    Incident::from_json(json).unwrap()
}

fn set(pointer: &str, value: Value) -> Incident {
    let mut json = incident();
    *json.pointer_mut(pointer).unwrap() = value;
    read(json)
}

/// Guards the roster's judgement: an incident that is all one cgroup's passes, and one that has anything of another
/// cgroup, of an earlier one of that name, or of an unknown process does not.
#[test]
fn whatever_is_anothers_is_found() {
    let roster = roster();
    assert_eq!(wrong(&read(incident()), &roster), [""; 0]);
    for (pointer, value) in [
        ("/scope/memcg/path", json!("/t/g005")),
        ("/scope/memcg/id", json!(105)),
        ("/scope/capacity_bytes", json!(2 << 20)),
        ("/scope/limits/0/path", json!("/t")),
        ("/scope/cause", json!("limit_lowered")),
        ("/victims/0/cgroup", json!("/t/g005")),
        ("/victims/0/pid", json!(42)),
        ("/victims/0/comm", json!(comm(4, 9))),
        ("/trigger/cgroup", json!("/t/g005")),
        ("/trigger/comm", json!("sh")),
        ("/trigger/pid", json!(42)),
        ("/trigger", json!({"pid": 42, "comm": comm(5, 2), "cgroup": "/t/g004"})),
        ("/victims", json!([{"pid": 41, "comm": comm(4, 1)}, {"pid": 43, "comm": comm(4, 3)}])),
        ("/victims", json!([])),
        ("/scope/memcg", Value::Null),
    ] {
        assert_eq!(wrong(&set(pointer, value), &roster).len().min(1), 1, "{pointer}");
    }
    let mut others = set("/victims/0/comm", json!("sh")).json;
    others["trigger"]["comm"] = json!("sh");
    assert_eq!(wrong(&read(others), &roster), [""; 0], "no tenant of the storm");
}

/// Guards the excuse for what is absent: records were lost, and said to be; a wrong figure is never excused.
#[test]
fn losses_excuse_what_is_absent_alone() {
    let with_losses = |pointer: &str, value: Value| {
        let mut json = set(pointer, value).json;
        *json.pointer_mut("/lost_records").unwrap() = json!(3);
        wrong(&read(json), &roster())
    };
    assert_eq!(with_losses("/scope/memcg", Value::Null), [""; 0]);
    assert_eq!(with_losses("/scope/memcg/path", json!("/t/g005")).len(), 1);
}

/// Guards the excuse for what the tier cannot know: it is absent, and `missing` has it, or what it is part of.
#[test]
fn a_reason_excuses_what_it_is_for() {
    let mut json = set("/scope/memcg", Value::Null).json;
    json["missing"] = json!({"scope.memcg": "not at its limit any more"});
    assert_eq!(wrong(&read(json.clone()), &roster()), [""; 0]);
    assert!(leaves_scope_out(&read(json.clone())));
    json["trigger"]["cgroup"] = Value::Null;
    assert_eq!(wrong(&read(json), &roster()).len(), 1);
}

/// Guards the one-to-one match of kills and victims.
#[test]
fn each_kill_is_one_victim() {
    let line = |pid: u64, serial: u64| {
        let text = format!(
            "Memory cgroup out of memory: Killed process {pid} ({}) total-vm:1kB, anon-rss:2kB, file-rss:3kB, \
             shmem-rss:4kB, UID:0 pgtables:5kB oom_score_adj:6",
            comm(4, serial)
        );
        LoggedOom { kills: vec![killed(&text).unwrap()], ..LoggedOom::default() }
    };
    let victim = |pid: u64, serial: u64, verdict: &str| {
        set("/victims", json!([{"pid": pid, "tid": pid, "comm": comm(4, serial), "verdict": verdict}]))
    };
    let log = [line(41, 1), line(42, 2), line(43, 3)];
    let all = [
        victim(43, 3, "killed"),
        victim(41, 1, "killed"),
        victim(42, 2, "killed"),
        victim(9, 9, "already_exiting"),
    ];
    let good = matched(&log, &all);
    assert_eq!((good.logged, good.reported, good.exiting), (3, 3, 1));
    let mut checks = Checks::default();
    good.check_complete(&mut checks);
    assert_eq!(checks.failures(), [""; 0]);

    let bad = matched(
        &log,
        &[
            victim(41, 1, "killed"),
            victim(41, 1, "killed"),
            victim(42, 3, "killed"),
            victim(43, 3, "already_exiting"),
        ],
    );
    let split = matched(&log[..1], &[victim(41, 1, "killed"), victim(41, 1, "already_exiting")]);
    assert_eq!((split.repeated.len(), split.exiting), (1, 0));
    let kill = |pid: u64, serial: u64| (pid, comm(4, serial));
    assert_eq!(bad.repeated, [kill(41, 1)]);
    assert_eq!(bad.invented, [kill(42, 3)]);
    assert_eq!(bad.misjudged, [kill(43, 3)]);
    assert_eq!(bad.missing, [kill(42, 2), kill(43, 3)]);
    let mut checks = Checks::default();
    bad.check_complete(&mut checks);
    assert_eq!(checks.failures().len(), 4);
}
