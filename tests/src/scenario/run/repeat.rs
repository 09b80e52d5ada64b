//! Several runs in one report, conditions, and comparisons.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use super::super::{Needs, Scenario};
use super::on_its_own;
use super::profile::{Profiler, number};
use crate::schema::Schema;
use crate::stage::{Stage, argument};

/// Guards what is made of runs: reports keep to their schema, pages need nothing else and stay small, conditions decide the exit
/// status, and reports can be compared.
pub const SCENARIO: Scenario = Scenario {
    name: "run_repeat",
    guards: "repeated runs in one report that keeps to its schema, a page that needs nothing else, conditions that decide the exit \
             status, and a comparison of two reports",
    needs: Needs::StressNg,
    kills: 8,
    once: true,
    run,
};

const REPEATED: &str = "3";
const RUNS: usize = 3;
/// What oomtrace ends with where a condition is met and the command succeeded.
const MET: i32 = 4;
/// The most that a page may have.
const MOST: usize = 2_000_000;
/// Names a format, and is fetched by nobody.
const NAMES: [&str; 3] =
    ["http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink", "http://www.w3.org/1999/xhtml"];

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let Some(profiler) = Profiler::of(stage)? else { return Ok(()) };
    on_its_own(stage);
    let stress = ["stress-ng", "--vm", "1", "--vm-bytes", "96M", "--vm-keep", "--oomable", "--timeout", "10"];
    let page = profiler.file("met.html");
    let limit = ["--cgroup-limit", "32M"];
    let several =
        ["--repeat", REPEATED, "--warmup", "1", "--html", argument(&page)?, "--fail-if", "own_kills>0"];
    let met = profiler.run(stage, "met", &[&limit, several.as_slice()].concat(), &stress)?;
    let unmet = ["--fail-if", "own_kills>1000"];
    let unmet = profiler.run(stage, "unmet", &[&limit, unmet.as_slice()].concat(), &stress)?;
    let schema = schema(stage, &profiler, "--run")?;
    let checks = &mut stage.checks;
    checks.equal(
        "exit status, where a condition is met",
        met.output.status.code(),
        Some(MET),
        "the scenario",
    );
    checks.equal("exit status, where none is", unmet.output.status.code(), Some(0), "the command");
    checks.that(met.output.said().contains("own_kills"), || "it does not say which condition".to_owned());
    let reports: Vec<Value> = [&met, &unmet].into_iter().filter_map(|ran| ran.report.clone()).collect();
    checks.equal("reports", Some(reports.len()), Some(2), "the scenario");
    schema.check(checks, &reports);
    let runs = met.report.as_ref().and_then(|report| report.pointer("/runs")?.as_array());
    checks.equal("runs in the report", runs.map(Vec::len), Some(RUNS), "the option");
    for run in runs.into_iter().flatten() {
        checks.equal("own kills of a run", number(run, "/incidents/own_kills"), Some(1), "--oomable");
    }
    page_is_whole(stage, &page)?;
    compared(stage, &profiler)
}

/// The schema of reports, `--run`, or of comparisons, `--diff`.
fn schema(stage: &Stage<'_>, profiler: &Profiler<'_>, of: &str) -> Result<Schema> {
    let output = profiler.program().run(&["schema", of], stage.deadline)?;
    let text = output.stdout.join(&b'\n');
    Schema::new(&serde_json::from_slice(&text).with_context(|| format!("the schema {of} is no JSON"))?)
}

/// Checks that a page is one, is small, and fetches nothing.
fn page_is_whole(stage: &mut Stage<'_>, file: &Path) -> Result<()> {
    let page = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if let Some(kept) = stage.kept(&name)? {
        fs::write(&kept, &page).with_context(|| format!("cannot write {}", kept.display()))?;
    }
    let checks = &mut stage.checks;
    checks.that(page.starts_with("<!doctype html>") || page.starts_with("<!DOCTYPE html>"), || {
        format!("{name} is no page")
    });
    checks.that(page.trim_end().ends_with("</html>"), || format!("{name} is not complete"));
    checks.that(page.len() <= MOST, || format!("{name} has {} bytes", page.len()));
    checks.note(&format!("bytes of {name}"), page.len());
    let named = NAMES.iter().fold(page, |page, name| page.replace(name, ""));
    for fetched in ["http://", "https://", "@import", "<link", "src=\"", "url(\"/"] {
        checks.that(!named.contains(fetched), || format!("{name} has {fetched:?}"));
    }
    Ok(())
}

/// Compares the two reports in each form.
fn compared(stage: &mut Stage<'_>, profiler: &Profiler<'_>) -> Result<()> {
    let [met, unmet, page] = ["met.json", "unmet.json", "diff.html"].map(|name| profiler.file(name));
    let files = [argument(&met)?, argument(&unmet)?];
    let shown = profiler
        .program()
        .run(&[&["diff"], files.as_slice(), &["--html", argument(&page)?]].concat(), stage.deadline)?;
    stage.keep_output("diff", &shown)?;
    let told = profiler.program().run(&[&["diff", "--json"], files.as_slice()].concat(), stage.deadline)?;
    let schema = schema(stage, profiler, "--diff")?;
    let checks = &mut stage.checks;
    checks.that(shown.status.success() && !shown.stdout.is_empty(), || {
        format!("{}: {}", shown.status, shown.said())
    });
    checks.that(told.status.success(), || format!("{}: {}", told.status, told.said()));
    let told: Value =
        serde_json::from_slice(&told.stdout.join(&b'\n')).context("the comparison is no JSON")?;
    schema.check(checks, std::slice::from_ref(&told));
    let rows = told.pointer("/rows").and_then(Value::as_array);
    checks.that(rows.is_some_and(|rows| !rows.is_empty()), || format!("nothing is compared: {told}"));
    let alone = profiler.program().run(&["diff", argument(&met)?], stage.deadline)?;
    stage.checks.equal("exit status, with one report", alone.status.code(), Some(2), "the usage");
    page_is_whole(stage, &page)
}
