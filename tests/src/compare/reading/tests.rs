//! Guards the comparison of an import with what was told live: what agrees passes, and each thing that does not fails.

use serde_json::{Value, json};

use super::*;
use crate::compare::tests::LOG;
use crate::incident::tests::sample;
use crate::machine::tests::machine;
use crate::witness::klog::Assembler;

/// What an import makes of [`LOG`].
fn imported() -> Value {
    let mut json = sample().json;
    (json["source"], json["tier"]) = ("import".into(), "kmsg".into());
    (json["boot_ns"], json["id"], json["findings"]) = (5_040_000_000_u64.into(), "other".into(), json!([]));
    for (pointer, key) in [
        ("", "ballot"),
        ("", "decision_ns"),
        ("", "host"),
        ("/trigger", "uid"),
        ("/scope/memcg", "id"),
        ("/victims/0", "cmdline"),
        ("/victims/0", "threads"),
    ] {
        json.pointer_mut(pointer).unwrap().as_object_mut().unwrap().remove(key).unwrap();
    }
    json["scope"]["limits"] = json!([{"path": "/t", "usage_bytes": 50_331_648, "limit_bytes": 50_331_648}]);
    json
}

fn failures(told: &[Value], imported: &[Value], untraced: Option<&str>) -> Vec<String> {
    compared(told, imported, (untraced, false))
}

fn compared(told: &[Value], imported: &[Value], (untraced, alike): (Option<&str>, bool)) -> Vec<String> {
    let mut log = Assembler::default();
    LOG.lines().for_each(|line| log.line(line));
    let (told, machine) = ([told.to_vec()], machine());
    let mut checks = Checks::default();
    check(
        &mut checks,
        Reading {
            who: "import",
            told: &told,
            read: imported,
            log: log.ooms(),
            machine: &machine,
            cut: false,
            alike,
            untraced,
        },
    );
    checks.failures().to_vec()
}

/// Guards that a field which only one has is no difference, nor what is each telling's own.
#[test]
fn the_same_kill_passes() {
    assert_eq!(failures(&[sample().json], &[imported()], None), [""; 0]);
}

/// Guards that two readings of one log have the same fields, whatever these say of the machine.
#[test]
fn readings_of_one_log_are_alike() {
    let (live, mut other) = (sample().json, imported());
    let failures = compared(std::slice::from_ref(&live), &[imported()], (None, true));
    assert!(failures.len() == 1 && failures[0].contains("victims.threads"), "{failures:?}");
    other["host"] = "elsewhere".into();
    assert_eq!(compared(&[imported()], &[imported()], (None, true)), [""; 0]);
    assert_eq!(compared(&[imported()], &[other], (None, true)), [""; 0]);
}

/// Guards each field that both have.
#[test]
fn a_difference_fails() {
    for (pointer, wrong) in [
        ("/scope/kind", json!("global")),
        ("/scope/constraint", json!("CONSTRAINT_NONE")),
        ("/scope/memcg/path", json!("/u")),
        ("/scope/limits/0/limit_bytes", json!(4096)),
        ("/trigger/tid", json!(1)),
        ("/trigger/gfp_flags", json!(["GFP_ATOMIC"])),
        ("/trigger/order", json!(1)),
        ("/outcome", json!("panic")),
        ("/victims/0/cgroup", json!("/t")),
        ("/victims/0/swap_bytes", json!(4096)),
        ("/candidates/0/points", json!(14_286)),
        ("/kernel", json!("5.10.1")),
    ] {
        let mut import = imported();
        *import.pointer_mut(pointer).unwrap() = wrong;
        assert_eq!(failures(&[sample().json], &[import], None).len(), 1, "{pointer}");
    }
    // These stand in the log's line, too.
    for (key, wrong) in [("oom_score_adj", json!(0)), ("uid", json!(7)), ("comm", json!("cat"))] {
        let mut import = imported();
        import["victims"][0][key] = wrong;
        assert_eq!(failures(&[sample().json], &[import], None).len(), 2, "{key}");
    }
}

/// Guards the figures that may move between the mark and the line: of one that runs, within a bound, and still the log's own.
#[test]
fn figures_are_those_of_the_log_whatever_moved() {
    let mut live = sample().json;
    live["victims"][0]["rss_kernel"]["anon_bytes"] = (47_149_056 - 4096).into();
    assert_eq!(
        failures(std::slice::from_ref(&live), &[imported()], None).len(),
        1,
        "it was in the OOM killer itself"
    );
    live["victims"][0]["threads"] = 8.into();
    assert_eq!(failures(&[live], &[imported()], None), [""; 0]);
    let mut import = imported();
    import["victims"][0]["rss_kernel"]["anon_bytes"] = 47_144_960.into();
    let mut live = sample().json;
    live["victims"][0]["rss_kernel"]["anon_bytes"] = 47_144_960.into();
    let failures = failures(&[live], &[import], None);
    assert!(failures.len() == 1 && failures[0].contains("rss_kernel.anon_bytes"), "{failures:?}");
}

/// Guards that each kill is told once, and none is made up but where the scenario says why.
#[test]
fn kills_are_told_once() {
    let live = sample().json;
    assert_eq!(failures(std::slice::from_ref(&live), &[], None).len(), 2, "not found, and not in the import");
    assert_eq!(failures(std::slice::from_ref(&live), &[imported(), imported()], None).len(), 1);
    assert_eq!(failures(&[], &[imported()], None).len(), 1);
    assert_eq!(failures(&[], &[imported()], Some("nobody traced")), [""; 0]);
    let mut other = imported();
    other["boot_ns"] = 60_000_000_000_u64.into();
    assert_eq!(failures(&[live], &[other], None).len(), 2, "a kill of another time");
}

/// Guards that a thread's id may stand for its process, and no other's.
#[test]
fn a_thread_stands_for_its_process() {
    let mut live = sample().json;
    let mut import = imported();
    (live["victims"][0]["pid"], live["trigger"]["pid"]) = (4100.into(), 4100.into());
    import["trigger"].as_object_mut().unwrap().remove("pid");
    import["candidates"] = json!([]);
    assert_eq!(failures(std::slice::from_ref(&live), &[import.clone()], None), [""; 0]);
    import["victims"][0]["pid"] = 4101.into();
    assert_eq!(failures(&[live], &[import], None).len(), 1);
}

/// Guards the usage of a limit: what an earlier victim there still gives back is no difference, and anything else is.
#[test]
fn an_earlier_victim_may_still_give_back() {
    let (mut live, mut other) = (sample().json, imported());
    live["scope"]["limits"][1]["usage_bytes"] = 20_000_000.into();
    let mut earlier = sample().json;
    (earlier["victims"][0]["tid"], earlier["victims"][0]["pid"]) = (4100.into(), 4100.into());
    assert_eq!(failures(std::slice::from_ref(&live), &[imported()], None).len(), 1);
    assert_eq!(failures(&[earlier.clone(), live.clone()], &[imported()], None), [""; 0]);
    earlier["scope"]["memcg"]["path"] = "/elsewhere".into();
    assert_eq!(failures(&[earlier, live.clone()], &[imported()], None).len(), 1);
    other["scope"]["limits"][0]["limit_bytes"] = 1.into();
    assert_eq!(failures(&[live], &[other], None).len(), 2);
}

/// Guards runs without a victim: who asks again at once is told live once, and another is not.
#[test]
fn who_gets_nothing_may_ask_again() {
    let nobody = |path: &str, tid: u64, seq: u64| {
        let mut json = imported();
        json["scope"]["memcg"]["path"] = path.into();
        (json["outcome"], json["victims"], json["kmsg_seq"]) = ("no_victim".into(), json!([]), seq.into());
        json["trigger"]["tid"] = tid.into();
        json
    };
    let told = [sample().json, nobody("/t", 7, 3)];
    assert_eq!(failures(&told, &[imported(), nobody("/t", 7, 3), nobody("/t", 8, 9)], None), [""; 0]);
    assert_eq!(failures(&told, &[imported(), nobody("/t", 7, 3), nobody("/u", 7, 9)], None).len(), 1);
}
