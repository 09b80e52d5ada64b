//! What a trigger and its victim were started with.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::{Needs, Scenario};
use crate::eat::{Eat, word};
use crate::eater::Facts;
use crate::incident::{relieved_pids, victim_pids};
use crate::size::MIB;
use crate::stage::{Scratch, Stage, argument};
use crate::tracer::Tracer;
use crate::watch::{Traced, read};

/// Guards command lines: whose they are, their secrets, their length, and that they can be left out.
pub const SCENARIO: Scenario = Scenario {
    name: "cmdline",
    guards: "trigger and victim have their own command lines, without their secrets, which are in no record either",
    needs: Needs::Memcg,
    kills: 2,
    once: false,
    run,
};

/// The cgroup's limit in bytes.
const LIMIT: u64 = 48 * MIB;
/// Bytes of a command line that are told, at the most.
const TOLD: usize = 4040;
/// What must be nowhere.
const SECRETS: [&str; 3] = ["hunter2hunter2", "opensesame", "tops3cret"];

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let scratch = Scratch::new(stage.name)?;
    let recording = scratch.file("recording");
    let tree = stage.tree()?;
    let group = tree.group("commanded")?;
    group.set_limit(LIMIT)?;
    let [hunter, sesame, top] = SECRETS;
    let asking =
        [&format!("postgres://me:{hunter}@db/shop"), "--token", sesame, ""].map(OsString::from).to_vec();
    // No text, a screen's escape, more than is told.
    let hostile = OsString::from_vec(b"\xff\x1b[2J\n".to_vec());
    let sleeping = vec![format!("--password={top}").into(), hostile, "long".repeat(1500).into()];
    let sleeper = Eat { anon: 28 * MIB, ballast: sleeping, ..Eat::default() };
    let asker = Eat { anon: 24 * MIB, ballast: asking, ..Eat::default() };
    let mut victim = stage.eater("commanded", &sleeper, Some(&group))?;
    let mut trigger = stage.eater("commander", &asker, Some(&group))?;
    victim.fill_and_hold(stage.deadline)?;

    let without = stage.tracer(&["--json", "--no-cmdline"])?;
    let oomtrace = stage.tracer(&["--json", "--record", argument(&recording)?])?;
    trigger.order(word::FILL)?;
    victim.killed(stage.deadline)?;
    trigger.survived(stage.deadline)?;
    let (Some(oomtrace), Some(without)) = (oomtrace, without) else { return Ok(()) };

    let traced = until(oomtrace, stage, "the relief", |lines| relieved_pids(lines).contains(&victim.pid()))?;
    stage.keep_output("oomtrace", &traced.output)?;
    check_trigger(stage, &traced, &victim.facts, &trigger.facts)?;
    check_victim(stage, &traced, &victim.facts)?;
    let recorded = fs::read(&recording).context("the recording cannot be read")?;
    for (place, bytes) in [("the recording", recorded), ("the output", traced.output.stdout.concat())] {
        for secret in SECRETS {
            stage.checks.that(!has(&bytes, secret), || format!("{secret} is in {place}"));
        }
        stage.checks.that(has(&bytes, "commander"), || format!("{place} is of something else"));
    }

    let traced = until(without, stage, "the incident", |lines| victim_pids(lines).contains(&victim.pid()))?;
    stage.keep_output("without", &traced.output)?;
    let told = has(&traced.output.stdout.concat(), "\"cmdline\":");
    stage.checks.that(!told, || "--no-cmdline was given, and there is one".to_owned());
    let incident = traced.incident_of(victim.pid()).context("--no-cmdline left out the kill")?;
    let reason = incident.fields.missing.get("trigger.cmdline").and_then(Value::as_str);
    stage.checks.equal("missing.trigger.cmdline", reason, Some("--no-cmdline was given"), "the command line");
    Ok(())
}

/// Checks the trigger's command line: all of it, but for its secrets.
fn check_trigger(stage: &mut Stage<'_>, traced: &Traced, victim: &Facts, trigger: &Facts) -> Result<()> {
    let incident = traced.incident_of(victim.pid()).context("oomtrace does not report the kill")?;
    let asked = &incident.fields.trigger;
    let expected = masked(trigger);
    stage.checks.equal("trigger.cmdline", asked.cmdline.as_ref(), Some(&expected), "/proc, masked");
    stage
        .checks
        .that(!asked.cmdline_truncated, || "the trigger's command line is called cut short".to_owned());
    Ok(())
}

/// Checks the victim's, which is cut short. It comes with the incident or with its relief.
fn check_victim(stage: &mut Stage<'_>, traced: &Traced, victim: &Facts) -> Result<()> {
    let victims = |line: &Value| line.get("victims").and_then(Value::as_array).cloned().unwrap_or_default();
    let own = |told: &Value| told.get("pid").and_then(Value::as_u64) == Some(victim.pid());
    let mut told = traced.objects.iter().flat_map(victims).filter(own);
    let told = told.find(|told| told.get("cmdline").is_some());
    let told = told.context("nothing tells the victim's command line")?;
    let truncated = told.get("cmdline_truncated") == Some(&Value::Bool(true));
    stage.checks.that(truncated, || "the victim's command line is not called cut short".to_owned());
    let line: Vec<String> = serde_json::from_value(told.get("cmdline").cloned().unwrap_or_default())?;
    let (last, first) = line.split_last().context("the victim's command line is empty")?;
    let expected = masked(victim);
    stage.checks.equal("victims[0].cmdline", Some(first), expected.get(..first.len()), "/proc, masked");
    let whole = expected.last().map_or("", String::as_str);
    stage.checks.that(whole.starts_with(last.as_str()) && (TOLD / 2..TOLD).contains(&last.len()), || {
        format!("{} bytes are told of the last argument, which has {}", last.len(), whole.len())
    });
    Ok(())
}

/// What /proc said, with its secrets masked.
fn masked(facts: &Facts) -> Vec<String> {
    let mask =
        |argument: &String| SECRETS.iter().fold(argument.clone(), |text, secret| text.replace(secret, "***"));
    facts.before.cmdline.iter().map(mask).collect()
}

/// Stops a tracer once its lines have what is waited for.
fn until(
    mut tracer: Tracer,
    stage: &Stage<'_>,
    what: &str,
    has: impl Fn(&[Vec<u8>]) -> bool,
) -> Result<Traced> {
    tracer.until(stage.deadline.or_after(Duration::from_secs(40)), what, has)?;
    read(tracer.stop(stage.deadline)?)
}

fn has(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}
