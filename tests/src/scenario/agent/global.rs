//! An agent on a machine that runs out of memory again and again.

use std::collections::BTreeSet;

use anyhow::Result;
use serde_json::Value;

use super::super::{Needs, Scenario};
use super::{Home, Size, lines, on_its_own};
use crate::eat::{Eat, word};
use crate::size::MIB;
use crate::stage::Stage;
use crate::witness::counters::machine_oom_kills;

/// Guards that the agent lives through what it reports, and tells all of it, when it is the whole machine that runs out.
pub const SCENARIO: Scenario = Scenario {
    name: "agent_global",
    guards: "the machine runs out of memory as a whole, again and again: the agent lives, and its history and file have each kill",
    needs: Needs::SmallDisposable,
    kills: 10,
    once: true,
    run,
};

/// In the suite, and where it has the time.
const SIZES: [Size; 2] = [Size { kills: 5, deaths: 0 }, Size { kills: 100, deaths: 0 }];

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let Some(tool) = stage.tool else { return Ok(()) };
    on_its_own(stage);
    let home = Home::new(
        stage.name,
        "[stdout]\nform = \"json\"\n\
         [history]\npath = \"HOME/history.db\"\nrecover = false\n\
         [metrics]\nlisten = \"127.0.0.1:0\"\n\
         [file]\npath = \"HOME/incidents.ndjson\"\n",
    )?;
    let mut agent = home.agent(&tool.program, stage.deadline)?;
    let pid = agent.pid();
    let before = machine_oom_kills()?;
    let everything = 2 * (stage.machine.memory_bytes + stage.machine.swap_bytes);
    let mut killed = Vec::new();
    for number in 0..Size::of(&SIZES).kills {
        let eat = Eat { anon: everything.max(MIB), ..Eat::default() };
        let mut eater = stage.eater(format!("whole-{number:03}"), &eat, None)?;
        eater.order(word::FILL)?;
        eater.killed(stage.deadline)?;
        killed.push(eater.pid());
    }
    let counted = machine_oom_kills()? - before;
    stage
        .checks
        .that(agent.reported(&killed, stage.deadline), || "the agent does not tell all kills".to_owned());
    stage.checks.equal("the agent's process", Some(agent.pid()), Some(pid), "its start");
    let output = agent.stop(stage.deadline)?;
    stage.keep_output("agent", &output)?;
    stage.checks.that(output.status.success(), || format!("the agent ended with {}", output.status));
    let told = super::objects(&output)?;
    let history = home.history(&tool.program, &[], stage.deadline)?;
    let file = lines(&home.file("incidents.ndjson"))?;
    for (name, objects) in [("standard output", &told), ("history", &history), ("file", &file)] {
        let victims: BTreeSet<u64> = objects.iter().flat_map(victims).collect();
        let missing: Vec<_> = killed.iter().filter(|pid| !victims.contains(pid)).collect();
        stage.checks.that(missing.is_empty(), || format!("{name} lacks the kills of {missing:?}"));
        stage.checks.equal(
            &format!("victims in {name}"),
            Some(victims.len() as u64),
            Some(counted),
            "vmstat",
        );
    }
    Ok(())
}

/// Processes that an incident killed.
fn victims(object: &Value) -> Vec<u64> {
    let victims = object.get("victims").and_then(Value::as_array).into_iter().flatten();
    let counted = |victim: &&Value| {
        victim.get("verdict").is_some_and(|verdict| verdict == "killed" || verdict == "group_killed")
    };
    victims.filter(counted).filter_map(|victim| victim.get("pid")?.as_u64()).collect()
}
