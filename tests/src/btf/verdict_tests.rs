//! Guards the judge: what is right, lacks something for a reason, or is wrong, is called so.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use serde_json::json;

use super::*;
use crate::compare::tests::Scene;
use crate::tracer::Output;

/// What becomes of an oomtrace that reports `report`, beside a control that reports the scene's own incident.
fn verdict(scene: &Scene, report: &Value) -> Verdict {
    verdict_beside(scene, &scene.incident(), report)
}

/// The same beside another control.
fn verdict_beside(scene: &Scene, control: &Value, report: &Value) -> Verdict {
    let seen = scene.seen(control);
    let trial = Trial {
        expected: &Expected::kill(&scene.eater, &scene.eater, &scene.limited),
        logged: seen.logged(scene.eater.pid()).unwrap(),
        seen: &seen,
        machine: &scene.machine,
        schema: &Schema::new(&json!({"type": "object"})).unwrap(),
        control: seen.traced.as_ref().unwrap().incidents.first().unwrap(),
        incidents: 1,
        reliefs: &[],
    };
    let status = |state: &str| json!({"type": "status", "state": state});
    let lines = [status("armed"), report.clone(), status("ended")];
    let stdout = lines.iter().map(|line| line.to_string().into_bytes()).collect();
    let output = Output { stdout, stderr: Vec::new(), status: ExitStatus::from_raw(0) };
    trial.verdict(Said { output, traced: true, in_time: true })
}

/// Guards every figure of a candidate and of the ballot: another one than the control's is wrong.
#[test]
fn a_wrong_candidate_is_noticed() {
    let scene = Scene::new();
    assert_eq!(verdict(&scene, &scene.incident()), Verdict::Right);
    for (pointer, value) in [
        ("/candidates/1/pid", json!(4131)),
        ("/candidates/1/comm", json!("other")),
        ("/candidates/1/points", json!(1971)),
        ("/candidates/1/rss_bytes", json!(8_196_096)),
        ("/candidates/1/swap_bytes", json!(0)),
        ("/candidates/1/oom_score_adj", json!(0)),
        ("/ballot/examined", json!(4)),
        // The witnesses have nothing against this one.
        ("/ballot", json!({"examined": 4, "unkillable": 2})),
    ] {
        let mut report = scene.incident();
        *report.pointer_mut(pointer).unwrap() = value;
        let verdict = verdict(&scene, &report);
        assert!(matches!(verdict, Verdict::Wrong(_)), "{pointer} may be wrong: {verdict}");
    }
    let mut report = scene.incident();
    let one_more = json!({"pid": 4132, "points": 1});
    report["candidates"].as_array_mut().unwrap().push(one_more);
    assert!(matches!(verdict(&scene, &report), Verdict::Wrong(_)), "one more than there are");
}

/// Guards absent candidates, and absent figures of theirs: they take a reason each.
#[test]
fn an_absent_candidate_takes_a_reason() {
    let scene = Scene::new();
    let mut report = scene.incident();
    for key in ["candidates", "ballot"] {
        report.as_object_mut().unwrap().remove(key).unwrap();
    }
    assert!(matches!(verdict(&scene, &report), Verdict::Wrong(_)), "no reason");
    report["missing"]["candidates"] = json!("because");
    assert!(matches!(verdict(&scene, &report), Verdict::Wrong(_)), "no reason for the ballot");
    report["missing"]["ballot"] = json!("because");
    let absent = |fields: &[&str]| Verdict::Absent(fields.iter().map(|&field| field.to_owned()).collect());
    assert_eq!(verdict(&scene, &report), absent(&["ballot", "candidates"]));
    let mut report = scene.incident();
    report["candidates"][1].as_object_mut().unwrap().remove("rss_bytes").unwrap();
    assert!(matches!(verdict(&scene, &report), Verdict::Wrong(_)), "no reason");
    report["missing"]["candidates[1].rss_bytes"] = json!("because");
    assert_eq!(verdict(&scene, &report), absent(&["candidates[1].rss_bytes"]));
}

/// Guards command lines: they may come too late for the control or for the report, and a wrong one is noticed anyway.
#[test]
fn a_command_line_may_come_too_late_for_one() {
    let scene = Scene::new();
    let mut late = scene.incident();
    late["victims"][0].as_object_mut().unwrap().remove("cmdline").unwrap();
    late["missing"]["victims[0].cmdline"] = json!("it came too late");
    assert_eq!(verdict_beside(&scene, &late, &scene.incident()), Verdict::Right);
    assert_eq!(verdict(&scene, &late), Verdict::Absent(vec!["victims[0].cmdline".to_owned()]));
    let mut wrong = scene.incident();
    wrong["victims"][0]["cmdline"] = json!(["eat", "--little"]);
    for control in [late, scene.incident()] {
        assert!(matches!(verdict_beside(&scene, &control, &wrong), Verdict::Wrong(_)));
    }
}
