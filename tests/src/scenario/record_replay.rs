//! A recorded run says the same when it is replayed.

use std::collections::BTreeSet;

use anyhow::Result;
use serde_json::{Map, Value};

use super::{Needs, Scenario};
use crate::compare::Expected;
use crate::eat::{Eat, word};
use crate::incident::Incident;
use crate::size::MIB;
use crate::stage::{Scratch, Stage, argument};
use crate::watch::read;

/// What a replay has of its own.
const OWN: [&str; 1] = ["source"];

/// Guards `--record` and `replay`: bug reports and demonstrations rest on them.
pub const SCENARIO: Scenario = Scenario {
    name: "record_replay",
    guards: "a recorded run, replayed, gives the same incidents, but for their source",
    needs: Needs::Memcg,
    kills: 1,
    once: true,
    run,
};

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let scratch = Scratch::new(stage.name)?;
    let recording = scratch.file("recording");
    let tree = stage.tree()?;
    let group = tree.group("recorded")?;
    group.set_limit(32 * MIB)?;
    let mut eater = stage.eater("recorded", &Eat { anon: 64 * MIB, ..Eat::default() }, Some(&group))?;

    let watch = stage.watch(&["--record", argument(&recording)?])?;
    eater.order(word::FILL)?;
    eater.killed(stage.deadline)?;
    let expected = [Expected::kill(&eater.facts, &eater.facts, &group)];
    let seen = stage.finish(watch, &expected)?;
    stage.judge(&seen, &expected, &[&eater.facts]);

    let (Some(tool), Some(traced)) = (stage.tool, &seen.traced) else { return Ok(()) };
    let output = tool.program.run(&["replay", argument(&recording)?, "--json"], stage.deadline)?;
    stage.keep_output("replay", &output)?;
    stage
        .checks
        .that(output.status.success(), || format!("replay ended with {}: {}", output.status, output.said()));
    let replayed = read(output)?;
    tool.schema.check(&mut stage.checks, &replayed.objects);
    let count = (replayed.incidents.len(), traced.incidents.len());
    stage.checks.equal("replayed incidents", Some(count.0), Some(count.1), "the live run");
    for (again, live) in replayed.incidents.iter().zip(&traced.incidents) {
        let differing = differing(&own_left_out(again), &own_left_out(live), "");
        stage.checks.that(differing.is_empty(), || format!("the replay differs in {}", differing.join(", ")));
    }
    for incident in &replayed.incidents {
        stage.checks.equal("source", incident.fields.source.as_deref(), Some("replay"), "the contract");
    }
    Ok(())
}

/// An incident's object without what a replay has of its own, and without swap space, which is read as it is reported.
pub(super) fn own_left_out(incident: &Incident) -> Value {
    let mut json = incident.json.clone();
    if let Some(object) = json.as_object_mut() {
        object.retain(|key, _| !OWN.contains(&key.as_str()));
        for part in ["host_memory", "missing"] {
            let Some(part) = object.get_mut(part).and_then(Value::as_object_mut) else { continue };
            part.retain(|key, _| !key.trim_start_matches("host_memory.").starts_with("swap_"));
        }
    }
    json
}

/// The paths at which two values differ.
fn differing(one: &Value, other: &Value, path: &str) -> Vec<String> {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let keys: BTreeSet<_> = one.keys().chain(other.keys()).collect();
            let value =
                |object: &Map<String, Value>, key: &String| object.get(key).cloned().unwrap_or_default();
            keys.iter()
                .flat_map(|key| differing(&value(one, key), &value(other, key), &format!("{path}/{key}")))
                .collect()
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            let pairs = one.iter().zip(other).enumerate();
            pairs.flat_map(|(at, (one, other))| differing(one, other, &format!("{path}/{at}"))).collect()
        }
        _ if one == other => Vec::new(),
        _ => vec![format!("{path} ({one}, not {other})")],
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Guards the comparison of a replay: any change, wherever it is, is found and named.
    #[test]
    fn differences_are_named() {
        let live = json!({"a": 1, "b": [{"c": 2}, 3], "d": null});
        assert_eq!(differing(&live, &live, ""), [""; 0]);
        let replayed = json!({"b": [{"c": 4}, 3], "e": []});
        assert_eq!(
            differing(&replayed, &live, ""),
            ["/a (null, not 1)", "/b/0/c (4, not 2)", "/e ([], not null)"]
        );
        assert_eq!(differing(&json!([1]), &json!([1, 2]), "").len(), 1);
    }
}
