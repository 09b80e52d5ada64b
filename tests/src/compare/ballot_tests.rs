//! Guards the comparison of candidates: what agrees passes, and each wrong figure fails.

use serde_json::{Value, json};

use super::tests::Scene;
use super::*;

/// The trigger's figures in the table.
const EATER: &str = "13047    11511     1280      256   163840";

/// The failures that the candidates of `incident` alone come to, by oomtrace's `tier`.
fn failures(scene: &Scene, incident: &Value, expected: &Expected<'_>, tier: &str) -> Vec<String> {
    let seen = scene.seen(incident);
    let case = Case {
        incident: seen.traced.as_ref().unwrap().incidents.first().unwrap(),
        logged: seen.logged(scene.eater.pid()).unwrap(),
        seen: &seen,
        expected,
        machine: &scene.machine,
        tier: Some(tier),
    };
    let mut checks = Checks::default();
    ballot::check(&mut checks, &case);
    checks.failures().to_vec()
}

/// The same, for the usual case.
fn usual(scene: &Scene, incident: &Value) -> Vec<String> {
    let expected = Expected::kill(&scene.eater, &scene.eater, &scene.limited);
    failures(scene, incident, &expected, "trampoline")
}

fn changed(scene: &Scene, pointer: &str, value: Value) -> Value {
    let mut incident = scene.incident();
    *incident.pointer_mut(pointer).unwrap() = value;
    incident
}

fn without_candidates(scene: &Scene, reason: Option<&str>) -> Value {
    let mut incident = scene.incident();
    for key in ["candidates", "ballot"] {
        incident.as_object_mut().unwrap().remove(key).unwrap();
    }
    if let Some(reason) = reason {
        for key in ["candidates", "ballot"] {
            incident["missing"][key] = reason.into();
        }
    }
    incident
}

/// Guards the figures that a candidate may lack: absent passes here (the floor decides), wrong does not.
#[test]
fn optional_figures_may_be_absent_and_not_wrong() {
    let scene = Scene::new();
    assert_eq!(usual(&scene, &scene.incident()), [""; 0]);
    for (key, wrong, failing) in [
        ("comm", json!("bystande"), 1),
        // These two are part of the score besides.
        ("rss_bytes", json!(8_192_000 + 4096), 2),
        ("swap_bytes", json!(0), 2),
        ("oom_score_adj", json!(-4), 2),
    ] {
        let mut incident = changed(&scene, &format!("/candidates/1/{key}"), wrong);
        assert_eq!(usual(&scene, &incident).len(), failing, "{key} may be wrong");
        incident["candidates"][1].as_object_mut().unwrap().remove(key).unwrap();
        assert_eq!(usual(&scene, &incident), [""; 0], "{key} may not be absent");
    }
}

/// Guards the form of a ballot: its order, its pids, its size.
#[test]
fn the_form_is_checked() {
    let scene = Scene::new();
    let mut incident = scene.incident();
    incident["candidates"].as_array_mut().unwrap().swap(0, 1);
    assert_eq!(usual(&scene, &incident).len(), 3, "not sorted, so another one wins, by other points");
    let first = scene.incident()["candidates"][0].clone();
    let incident = changed(&scene, "/candidates/1", first);
    assert_eq!(usual(&scene, &incident).len(), 2, "a pid twice, and the other one not at all");
    let mut incident = scene.incident();
    incident["candidates"].as_array_mut().unwrap().pop();
    assert_eq!(usual(&scene, &incident).len(), 2, "fewer than may be killed, and fewer than the table has");
    incident["ballot"]["examined"] = json!(2);
    assert_eq!(usual(&scene, &incident).len(), 2, "the table has more to be killed, and each is looked for");
    incident.as_object_mut().unwrap().remove("ballot");
    assert_eq!(usual(&scene, &incident).len(), 4, "nothing to hold the candidates against");
}

/// Guards the winner: whoever was killed must have had the highest score, of which there may be several.
#[test]
fn the_winner_was_killed() {
    let mut scene = Scene::new();
    let incident = changed(&scene, "/victims/0/pid", json!(4130));
    assert_eq!(usual(&scene, &incident).len(), 1);
    let incident = changed(&scene, "/victims/0/points", json!(14_286));
    assert_eq!(
        usual(&scene, &incident),
        ["points of the victim is 14286, but the highest score of the candidates says 14287"]
    );
    let incident = changed(&scene, "/victims/0/verdict", json!("already_exiting"));
    assert_eq!(usual(&scene, &incident), [""; 0], "nobody won");

    scene.log = scene
        .log
        .replace("2000     1500      500        0    81920       10            -5", EATER)
        .replace("   163840 bystander", "   163840        0           100 bystander");
    let mut incident = scene.incident();
    let mut tied = incident["candidates"][0].clone();
    (tied["pid"], tied["comm"]) = (json!(4130), json!("bystander"));
    incident["candidates"] = json!([tied, incident["candidates"][0]]);
    assert_eq!(usual(&scene, &incident), [""; 0], "the later one of two that are equal");
}

/// Guards the comparison with the table: whoever is in one is in the other.
#[test]
fn candidates_are_those_of_the_table() {
    let mut scene = Scene::new();
    let incident = scene.incident();
    let log = scene.log.clone();
    let row = "[   4132]     0  4132     1024      300      100      200        0    40960        0             0 x\n";
    scene.log = log.replace("oom-kill:", &format!("{row}oom-kill:"));
    assert_eq!(usual(&scene, &incident).len(), 2, "one more, and it is no candidate");
    scene.log = log.replace("  -1000 never", "      0 never");
    assert_eq!(usual(&scene, &incident).len(), 2, "it may be killed");
    scene.log = log.replace("    -5 bystander", " -1000 bystander");
    assert_ne!(usual(&scene, &incident), [""; 0], "it may not be killed");
    scene.log = log.replace("[   4130]  1235  4130 ", "[   4130]  1235  4140 ");
    assert_eq!(usual(&scene, &incident).len(), 2, "another process");
    let zombie = changed(&scene, "/ballot", json!({"examined": 9, "unkillable": 7}));
    scene.log.clone_from(&log);
    assert_eq!(usual(&scene, &zombie), [""; 0], "what has no memory any more is not listed");
    let lines = log.lines().filter(|line| !line.starts_with('[')).map(|line| format!("{line}\n"));
    scene.log = lines.collect();
    assert_eq!(usual(&scene, &incident), [""; 0], "there is no table to compare with");
}

/// Guards the one reason for which the table lists somebody who is not scored: having been killed before.
#[test]
fn those_killed_before_are_not_scored_again() {
    let mut scene = Scene::new();
    let log = scene.log.clone();
    let row = "[   4132]     0  4132     1024      300      100      200        0    40960        0             0 x\n";
    scene.log = log.replace("oom-kill:", &format!("{row}oom-kill:"));
    let kill = "Memory cgroup out of memory: Killed process 4132 (x) total-vm:1kB, anon-rss:1kB, file-rss:1kB, \
                shmem-rss:1kB, UID:0 pgtables:1kB oom_score_adj:0\n";
    scene.log = format!("{kill}{}", scene.log);
    assert_eq!(usual(&scene, &scene.incident()), [""; 0]);
    scene.log = format!("{}{kill}", scene.log.strip_prefix(kill).unwrap());
    assert_eq!(usual(&scene, &scene.incident()).len(), 2, "killed later");
}

/// Guards the best sixteen: of those in the table that are left out, none may have scored more.
#[test]
fn the_best_are_candidates() {
    let mut scene = Scene::new();
    let mut incident = scene.incident();
    let fillers: Vec<(u64, u64)> = (5000..5020).map(|pid| (pid, pid - 4900)).collect();
    for (pid, pages) in &fillers {
        if *pid >= 5006 {
            let filler = json!({
                "pid": pid, "comm": "filler", "points": pages + 10, "rss_bytes": pages * 4096, "swap_bytes": 0,
                "oom_score_adj": 0
            });
            incident["candidates"].as_array_mut().unwrap().insert(2, filler);
        }
    }
    incident["ballot"]["examined"] = json!(23);
    let rows = fillers
        .iter()
        .map(|(pid, pages)| format!("[{pid:>7}] 0 {pid} 1024 {pages} 0 {pages} 0 40960 0 0 filler\n"));
    let rows: String = rows.collect();
    scene.log = scene.log.replace("oom-kill:", &format!("{rows}oom-kill:"));
    assert_eq!(usual(&scene, &incident), [""; 0]);
    let mut worse = incident.clone();
    let last = &mut worse["candidates"][15];
    (last["pid"], last["points"], last["rss_bytes"]) = (json!(5005), json!(115), json!(105 * 4096));
    assert_eq!(usual(&scene, &worse), ["5006 of the task table is no candidate, with points of Some(116)"]);
    let filler = incident["candidates"][15].clone();
    incident["candidates"].as_array_mut().unwrap().push(filler);
    assert_ne!(usual(&scene, &incident), [""; 0], "more than there are seats");
}

/// Guards the allowance for a process of several threads: what they may have moved, in its figures and in its score.
#[test]
fn what_several_threads_move_is_excused_to_its_bound() {
    let mut scene = Scene::new();
    scene.eater.before.tids.push(4122);
    let bound = scene.machine.counter_error_bytes(2) + scene.machine.charge_stock_bytes();
    let mut incident = scene.incident();
    incident["candidates"][0]["rss_bytes"] = json!(53_440_512 + bound);
    assert_eq!(usual(&scene, &incident), [""; 0]);
    incident["candidates"][0]["rss_bytes"] = json!(53_440_512 + bound + 4096);
    assert_eq!(usual(&scene, &incident).len(), 2, "more than they can have moved");
}

/// Guards the machine's ballot, with processes of which the scenario knows nothing: who they are must agree, and the
/// score within the page tables.
#[test]
fn strangers_agree_as_far_as_is_known() {
    let mut scene = Scene::new();
    scene.log.push_str("12288 pages RAM\n0 pages reserved\nTotal swap = 0kB\n");
    let expected = Expected::machine_wide(&scene.eater, "allocation");
    let of = |pointer: &str, value: Value| {
        failures(&scene, &changed(&scene, pointer, value), &expected, "trampoline").len()
    };
    assert_eq!(of("/candidates/1/rss_bytes", json!(8_192_000 + 20 * 4096)), 0);
    assert_eq!(of("/candidates/1/rss_bytes", json!(8_192_000 + 21 * 4096)), 1);
    assert_eq!(of("/candidates/1/comm", json!("other")), 1);
    assert_eq!(of("/candidates/1/pid", json!(4140)), 2);
    assert_eq!(
        of("/candidates/0/rss_bytes", json!(53_440_512 + 4096)),
        2,
        "the trigger is in the OOM killer"
    );
}

/// Guards the absence of candidates: with a reason only, and only where no hook sees the scores.
#[test]
fn candidates_are_absent_only_where_they_may_be() {
    let mut scene = Scene::new();
    let (reason, none) = (without_candidates(&scene, Some("because")), without_candidates(&scene, None));
    assert_eq!(usual(&scene, &reason).len(), 1, "they are owed");
    assert_eq!(usual(&scene, &none).len(), 3, "and no reason is given, for either");
    let kill = Expected::kill(&scene.eater, &scene.eater, &scene.limited);
    let starting = Expected { starting: true, ..kill.clone() };
    assert_eq!(failures(&scene, &reason, &starting, "trampoline"), [""; 0]);
    assert_eq!(failures(&scene, &none, &starting, "trampoline").len(), 2);
    for (pointer, value) in [("/scope/cause", json!("sysrq")), ("/scope/constraint", Value::Null)] {
        let mut other = reason.clone();
        *other.pointer_mut(pointer).unwrap() = value;
        assert_eq!(usual(&scene, &other), [""; 0], "{pointer}");
    }
    assert_eq!(failures(&scene, &reason, &kill, "tracepoint"), [""; 0]);
    assert_eq!(failures(&scene, &scene.incident(), &kill, "tracepoint").len(), 1, "who saw the scores?");
    assert_eq!(failures(&scene, &none, &kill, "tracepoint").len(), 2);
    scene.machine.kernel = "5.10.223".to_owned();
    assert_eq!(usual(&scene, &scene.incident()).len(), 1, "who saw the scores there?");
    let mut computed = scene.incident();
    computed["ballot"]["computed"] = json!(true);
    assert_eq!(usual(&scene, &computed), [""; 0]);
}
