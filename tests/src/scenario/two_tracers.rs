//! Two tracers at once.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;
use serde_json::Value;

use super::{Needs, Scenario};
use crate::checks::Checks;
use crate::compare::Expected;
use crate::eat::{Eat, word};
use crate::incident::Incident;
use crate::size::MIB;
use crate::stage::Stage;
use crate::watch::read;
use crate::witness::cgroup::Cgroup;

/// What each tracer has of its own: when its own programs ran, and how it counts.
const OWN: [&str; 4] = ["id", "seq", "time", "boot_ns"];
/// How far apart two readings of the difference between the clocks may be.
const CLOCKS: Duration = Duration::from_millis(10);

/// Guards that tracers do not get in each other's way: they share hooks, and nothing else.
pub const SCENARIO: Scenario = Scenario {
    name: "two_tracers",
    guards: "two oomtraces at once both report an incident, with the same figures",
    needs: Needs::Memcg,
    kills: 1,
    once: true,
    run,
};

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let tree = stage.tree()?;
    let group = tree.group("seen-twice")?;
    group.set_limit(32 * MIB)?;
    let mut eater = stage.eater("seen-twice", &Eat { anon: 64 * MIB, ..Eat::default() }, Some(&group))?;
    let other = stage.tracer(&["--json"])?;
    let watch = stage.watch(&[])?;
    eater.order(word::FILL)?;
    eater.killed(stage.deadline)?;
    let expected = [Expected::kill(&eater.facts, &eater.facts, &group)];
    let seen = stage.finish(watch, &expected)?;
    stage.judge(&seen, &expected, &[&eater.facts]);

    let (Some(other), Some(traced)) = (other, &seen.traced) else { return Ok(()) };
    let output = other.stop(stage.deadline)?;
    stage.keep_output("other", &output)?;
    let others = read(output)?;
    stage.judge_course(&others);
    let both = (traced.incident_of(eater.pid()), others.incident_of(eater.pid()));
    if let (Some(one), Some(other)) = both {
        same(&mut stage.checks, one, other, tree.base());
    } else {
        stage.checks.fail("one of the two does not report the kill");
    }
    Ok(())
}

/// Compares two accounts of one incident.
fn same(checks: &mut Checks, one: &Incident, other: &Incident, base: &Cgroup) {
    let (mut left, mut right) = (shared(one, base), shared(other, base));
    // One of them may have missed a part (7.x), and says so.
    if one.fields.stall.is_none() || other.fields.stall.is_none() {
        for object in [&mut left, &mut right].into_iter().filter_map(Value::as_object_mut) {
            object.remove("stall");
        }
    }
    let (left, right) = (left.as_object(), right.as_object());
    let keys: BTreeSet<_> = left.into_iter().chain(right).flat_map(|object| object.keys()).collect();
    for key in keys {
        let value =
            |object: Option<&serde_json::Map<String, Value>>| object.and_then(|it| it.get(key)).cloned();
        checks.equal(key, value(left), value(right), "the other oomtrace");
    }
    let started = |incident: &Incident| {
        let time = incident.fields.victims.first()?.start_time.clone()?;
        humantime::parse_rfc3339(&time).ok()
    };
    let apart = started(one)
        .zip(started(other))
        .map(|(one, other)| one.duration_since(other).unwrap_or_else(|earlier| earlier.duration()));
    checks.that(apart.is_some_and(|apart| apart <= CLOCKS), || {
        format!("start_time is {apart:?} apart from the other's")
    });
}

/// An incident without what each tracer has of its own, and without the limits above `base`, whose usage others
/// change at any time.
fn shared(incident: &Incident, base: &Cgroup) -> Value {
    let mut json = incident.json.clone();
    if let Some(object) = json.as_object_mut() {
        object.retain(|key, _| !OWN.contains(&key.as_str()));
    }
    if let Some(object) = json.as_object_mut() {
        // Each reads the clock for itself, and looks at the machine's memory after the other, which moves meanwhile.
        object.retain(|key, _| !["decision_ns", "zones", "host_memory"].contains(&key.as_str()));
    }
    // Each reads the clock for itself at both ends of a round.
    json.pointer_mut("/stall").and_then(Value::as_object_mut).map(|stall| stall.remove("duration_ns"));
    for victim in json.pointer_mut("/victims").and_then(Value::as_array_mut).into_iter().flatten() {
        victim.as_object_mut().map(|victim| victim.remove("start_time"));
    }
    // The two look one after the other, and what is charged moves meanwhile: so does what findings quote of it.
    if let Some(findings) = json.pointer_mut("/findings").and_then(Value::as_array_mut) {
        for evidence in
            findings.iter_mut().filter_map(|finding| finding.pointer_mut("/evidence")?.as_object_mut())
        {
            evidence.retain(|key, _| !key.ends_with("usage_bytes"));
        }
    }
    if let Some(limits) = json.pointer_mut("/scope/limits").and_then(Value::as_array_mut) {
        let below = |path: &str| path.starts_with(&base.path);
        limits.retain(|limit| limit.get("path").and_then(Value::as_str).is_some_and(below));
        // The two look one after the other, and what is charged moves meanwhile.
        for limit in limits.iter_mut().filter_map(Value::as_object_mut) {
            limit.retain(|key, _| !key.ends_with("usage_bytes"));
        }
    }
    json
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::incident::tests::sample;
    use crate::witness::cgroup::Hierarchy;

    /// Guards the comparison: what each has of its own may differ, and nothing else.
    #[test]
    fn only_what_is_ones_own_may_differ() {
        let base = Hierarchy::at(PathBuf::from("/")).cgroup("/t");
        let failures = |pointer: &str, value: Value| {
            let mut json = sample().json;
            *json.pointer_mut(pointer).unwrap() = value;
            let mut checks = Checks::default();
            same(&mut checks, &sample(), &Incident::from_json(json).unwrap(), &base);
            checks.failures().len()
        };
        assert_eq!(failures("/seq", Value::from(77)), 0);
        assert_eq!(failures("/id", Value::from("other")), 0);
        assert_eq!(failures("/victims/0/points", Value::from(1)), 1);
        assert_eq!(failures("/trigger/tid", Value::from(1)), 1);
        assert_eq!(failures("/victims/0/start_time", Value::from("2001-01-01T00:00:00Z")), 1);
    }
}
