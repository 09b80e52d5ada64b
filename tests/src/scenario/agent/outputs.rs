//! Everything that an agent writes and sends.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::super::{Needs, Scenario};
use super::web::{Inbox, page, sum};
use super::{Home, PROGRAM, kills_of, lines};
use crate::compare::Expected;
use crate::eat::{Eat, word};
use crate::size::MIB;
use crate::stage::Stage;

/// Guards that no output has another account than the trace: what the history, the file, the program and the web server get is the
/// line that stands on standard output, and the metrics count what the kernel counts.
pub const SCENARIO: Scenario = Scenario {
    name: "agent_outputs",
    guards: "the agent's history, file, program, webhook and metrics tell a kill once, as its standard output does",
    needs: Needs::Memcg,
    kills: 1,
    once: true,
    run,
};

/// How long what is sent may take.
const DELIVERY: Duration = Duration::from_mins(1);

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let Some(tool) = stage.tool else { return Ok(()) };
    // It is turned away once, and tries again.
    let inbox = Inbox::start(1)?;
    let home = Home::new(
        stage.name,
        &format!(
            "[stdout]\nform = \"json\"\n\
             [history]\npath = \"HOME/history.db\"\nrecover = false\n\
             [metrics]\nlisten = \"127.0.0.1:0\"\n\
             [file]\npath = \"HOME/incidents.ndjson\"\n\
             {PROGRAM}\
             [webhook]\nurl = \"http://{}/oom\"\n",
            inbox.address
        ),
    )?;
    let tree = stage.tree()?;
    let group = tree.group("told-by-all")?;
    group.set_limit(32 * MIB)?;
    let mut eater = stage.eater("told-by-all", &Eat { anon: 64 * MIB, ..Eat::default() }, Some(&group))?;
    let mut agent = home.agent(&tool.program, stage.deadline)?;
    let watch = stage.watch(&[])?;
    eater.order(word::FILL)?;
    eater.killed(stage.deadline)?;
    let expected = [Expected::kill(&eater.facts, &eater.facts, &group)];
    let seen = stage.finish(watch, &expected)?;
    stage.judge(&seen, &expected, &[&eater.facts]);

    stage.checks.that(agent.reported(&[eater.pid()], stage.deadline.or_after(DELIVERY)), || {
        "the agent does not tell the kill on its standard output".to_owned()
    });
    let sent = inbox.next(DELIVERY);
    let metrics = page(&agent.url()?)?;
    let output = agent.stop(stage.deadline)?;
    stage.keep_output("agent", &output)?;
    let told = super::objects(&output)?;
    let told = kills_of(&told, eater.pid());
    stage.checks.equal("kills told by the agent", Some(told.len()), Some(1), "the victim");
    let told = told.first().copied().context("no kill was told")?;

    let history = home.history(&tool.program, &[], stage.deadline)?;
    let file = lines(&home.file("incidents.ndjson"))?;
    let program = home.given()?;
    for (name, objects) in [("history", &history), ("file", &file), ("program", &program)] {
        same(stage, name, told, &kills_of(objects, eater.pid()));
    }
    match sent {
        Ok(sent) => same(stage, "webhook", told, &[&sent]),
        Err(error) => stage.checks.fail(format!("webhook: {error:#}")),
    }
    let reliefs = |objects: &[Value]| {
        let is = |object: &&Value| {
            object.get("type").is_some_and(|kind| kind == "relief") && object.get("id") == told.get("id")
        };
        objects.iter().filter(is).count()
    };
    stage.checks.equal("reliefs in the file", Some(reliefs(&file)), Some(1), "the kill");
    let counted = group.oom_kills()?;
    let kills = sum(&metrics, "oomtrace_kills_total", &["scope=\"memcg\""]);
    stage.checks.equal("kills in the metrics", kills, Some(counted), "the group's count");
    stage.keep_text("metrics.txt", &metrics)?;
    Ok(())
}

/// Checks that an output has the kill once, and as it was told.
pub(super) fn same(stage: &mut Stage<'_>, name: &str, told: &Value, others: &[&Value]) {
    stage.checks.equal(&format!("kills of the victim in {name}"), Some(others.len()), Some(1), "the trace");
    if let Some(other) = others.first() {
        stage.checks.that(*other == told, || format!("{name} has {other}, and standard output {told}"));
    }
}
