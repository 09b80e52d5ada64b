//! More than the ring between kernel and agent has room for.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::super::{Needs, Scenario, storm};
use super::web::{page, sum};
use super::{Home, lines};
use crate::deadline::Deadline;
use crate::incident::{Incident, kind};
use crate::stage::Stage;
use crate::storm::loss::Losses;
use crate::storm::watch::Storm;
use crate::storm::{Mix, Size, account};
use crate::watch::{Traced, read};

/// Guards that every output has the same losses, and that with them the books balance: a kill is told or counted as lost, by
/// all of them.
pub const SCENARIO: Scenario = Scenario {
    name: "agent_losses",
    guards: "kills into a ring of one page while the agent stands still: history, file, metrics and standard output tell each, or \
             count it as lost, and agree",
    needs: Needs::Memcg,
    kills: 0,
    once: true,
    run,
};

/// Each record of it is far larger than what a page has room for.
const SIZE: Size = Size { kills: 50, cgroups: 25 };
/// How long what was told may take to all outputs.
const DELIVERY: Duration = Duration::from_secs(10);
/// By when the agent has held what it saw against the kernel's count twice.
const RECONCILED: Duration = Duration::from_millis(1500);

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let Some(tool) = stage.tool else { return Ok(()) };
    stage.untraced = Some("the ring has no room for them, and the log is not read");
    let home = Home::new(
        stage.name,
        "[trace]\nring_size = \"4K\"\nkmsg = false\n\
         [stdout]\nform = \"json\"\n\
         [history]\npath = \"HOME/history.db\"\nrecover = false\n\
         [metrics]\nlisten = \"127.0.0.1:0\"\n\
         [flight]\nenabled = false\n\
         [file]\npath = \"HOME/incidents.ndjson\"\n",
    )?;
    let tree = stage.tree()?;
    let mut agent = home.agent(&tool.program, stage.deadline)?;
    agent.hold()?;
    let storm = Storm::make(&tree, SIZE, Mix::Plain, stage.machine, stage.deadline);
    // Whatever became of it.
    agent.go_on()?;
    let storm = storm?;
    storm::note(stage, &storm);
    storm::keep_log(stage, "kernel", &storm)?;
    account::witnesses(&mut stage.checks, &storm);
    agent.must_hear("no room", stage.deadline)?;
    sleep(RECONCILED);
    let metrics = metrics(&agent.url()?, stage.deadline.or_after(DELIVERY))?;
    stage.keep_text("metrics.txt", &metrics)?;
    let output = agent.stop(stage.deadline)?;
    stage.keep_output("agent", &output)?;
    stage.checks.that(output.status.success(), || format!("the agent ended with {}", output.status));
    let traced = read(output)?;

    let losses = Losses::of(&traced.objects);
    balanced(stage, &storm, &traced, &losses);
    let mut history = home.history(&tool.program, &["--kind", "oom"], stage.deadline)?;
    history.extend(home.history(&tool.program, &["--kind", "loss"], stage.deadline)?);
    for (name, objects) in [("history", history), ("file", lines(&home.file("incidents.ndjson"))?)] {
        for what in ["oom", "loss"] {
            let (ours, theirs) = (of(&objects, what), of(&traced.objects, what));
            stage.checks.that(ours == theirs, || {
                format!("{name} has the lines {ours:?} of the type {what}, and standard output {theirs:?}")
            });
        }
        let counts = Losses::of(&objects).counts;
        stage.checks.equal(
            &format!("losses in {name}"),
            Some(counts),
            Some(losses.counts.clone()),
            "the trace",
        );
    }
    let lost = sum(&metrics, "oomtrace_lost_records_total", &[]);
    stage.checks.equal("records lost in the metrics", lost, Some(losses.total()), "the trace");
    let in_ring = sum(&metrics, "oomtrace_lost_records_total", &["place=\"ring\""]);
    let ring = losses.counts.iter().filter(|((place, _), _)| place == "ring").map(|(_, count)| count).sum();
    stage.checks.equal("of these in the ring", in_ring, Some(ring), "the trace");
    let incidents = sum(&metrics, "oomtrace_incidents_total", &[]);
    let told =
        traced.incidents.iter().filter(|incident| incident.json.get("outcome").is_some()).count() as u64;
    stage.checks.equal("incidents in the metrics", incidents, Some(told), "the trace");
    let unwritten = sum(&metrics, "oomtrace_output_lost_messages_total", &[]);
    stage.checks.equal("messages that an output lost", unwritten, Some(0), "the scenario");
    Ok(())
}

/// Every kill that the kernel counted is told or counted as lost.
fn balanced(stage: &mut Stage<'_>, storm: &Storm, traced: &Traced, losses: &Losses) {
    let matched = storm::judge(stage, storm, traced);
    let checks = &mut stage.checks;
    matched.check_no_inventions(checks);
    // Such a victim is known by its decision alone, and is among those whose mark was lost.
    let by_decision = |incident: &&Incident| incident.fields.missing.contains_key("victims[0].rss");
    let by_decision = traced.incidents.iter().filter(by_decision).count() as u64;
    let marks = losses.count("ring", "mark");
    checks.note("marks lost", marks);
    checks.note("records lost", losses.total());
    checks.that(marks > 0, || "no mark was lost, which proves nothing".to_owned());
    checks.equal(
        "victims told and marks lost",
        (matched.reported + marks).checked_sub(by_decision),
        Some(storm.oom_kills),
        "/proc/vmstat",
    );
    checks.equal("lost_records at the end", losses.ended, Some(losses.total()), "the sum of the loss lines");
}

/// The metrics, once they have all that other outputs have written.
fn metrics(url: &str, deadline: Deadline) -> Result<String> {
    loop {
        let page = page(url)?;
        let lines = |output| sum(&page, "oomtrace_output_messages_total", &[output]);
        let written = lines("output=\"metrics\"").zip(lines("output=\"file\""));
        let (counted, written) = written.context("the metrics do not tell of outputs")?;
        if counted >= written || deadline.left("the metrics").is_err() {
            return Ok(page);
        }
        sleep(Duration::from_millis(20));
    }
}

/// The lines of a type, in no order.
fn of(objects: &[Value], what: &str) -> Vec<String> {
    let mut lines: Vec<_> =
        objects.iter().filter(|object| kind(object) == what).map(ToString::to_string).collect();
    lines.sort_unstable();
    lines
}
