//! One kill that oomtraces under different conditions see, or refuse to.

use std::time::Duration;

use anyhow::{Context, Result};

use super::ending::{check, of_case, status};
use super::privilege::{Case, Ending, table};
use super::run::{Installed, Start};
use crate::btf::fleet::Said;
use crate::btf::verdict::Trial;
use crate::compare::Expected;
use crate::eat::{Eat, word};
use crate::incident::{Incident, kind, object, victim_pids};
use crate::size::MIB;
use crate::stage::{Stage, Tool};
use crate::tracer::{Output, Tracer};
use crate::watch::{Watch, read};

/// How long a report may take once the control has made its own.
const PATIENCE: Duration = Duration::from_secs(5);

/// Checks each case beside a control that has all rights.
pub fn cases(stage: &mut Stage<'_>, tool: &Tool, oomtrace: &Installed) -> Result<()> {
    let tree = stage.tree()?;
    let group = tree.group("seen-by-all")?;
    group.set_limit(32 * MIB)?;
    let eat = Eat { anon: 64 * MIB, uid: Some(1234), ..Eat::default() };
    let mut eater = stage.eater("seen-by-all", &eat, Some(&group))?;

    let mut control = oomtrace.trace(&Start::default(), &["--json"])?;
    let traces = control.attached(stage.deadline)?;
    stage.checks.that(traces, || "oomtrace with all rights does not trace".to_owned());
    let mut runs = Vec::new();
    for case in table(stage, oomtrace)? {
        let start = Start { conditions: case.conditions.clone(), ..Start::default() };
        let options: Vec<_> = ["--json"].into_iter().chain(case.options.iter().map(String::as_str)).collect();
        let run = match case.ending {
            Ending::FollowsLog(_) => oomtrace.trace_with_log(&start, &options),
            Ending::Reports(_) | Ending::Refuses(_) => oomtrace.trace(&start, &options),
        };
        let mut run = run.with_context(|| format!("the conditions \"{}\" cannot be made", case.name))?;
        let traces = run.attached(stage.deadline)?;
        runs.push((case, run, traces));
    }

    let watch = Watch::begin(None, &[], stage.deadline)?;
    eater.order(word::FILL)?;
    eater.killed(stage.deadline)?;
    let kill = Expected::kill(&eater.facts, &eater.facts, &group);
    let mut seen = watch.finish(&[eater.pid()], stage.deadline)?;
    control.reported(&[eater.pid()], stage.deadline);
    seen.traced = Some(read(control.stop(stage.deadline)?)?);
    of_case(stage, "with all rights", |stage| {
        stage.judge(&seen, std::slice::from_ref(&kill), &[&eater.facts]);
    });

    let control = seen.traced.as_ref().context("there is no control")?;
    let report = control.incident_of(eater.pid());
    let trial = Trial {
        expected: &kill,
        logged: seen.logged(eater.pid()).context("the kernel log does not have the kill")?,
        seen: &seen,
        machine: stage.machine,
        schema: &tool.schema,
        control: report.context("oomtrace with all rights does not report the kill")?,
        incidents: control.incidents.len(),
        reliefs: &control.objects,
    };
    for (case, run, traces) in runs {
        let said = end(run, traces, eater.pid(), stage)?;
        stage.keep_output(&case.name, &said.output)?;
        judge(stage, &case, &trial, said);
    }
    Ok(())
}

/// Ends a run, once it has reported the kill if it traces.
fn end(mut run: Tracer, traced: bool, victim: u64, stage: &Stage<'_>) -> Result<Said> {
    let in_time = traced && run.reported(&[victim], stage.deadline.or_after(PATIENCE));
    let output = if traced { run.stop(stage.deadline)? } else { run.finish(stage.deadline)? };
    Ok(Said { output, traced, in_time })
}

/// Judges one run, and notes what came of it.
fn judge(stage: &mut Stage<'_>, case: &Case, trial: &Trial<'_>, said: Said) {
    let control = trial.control.fields.tier.as_deref();
    if let Ending::FollowsLog(words) = case.ending {
        followed(stage, case, words, trial, &said);
        return;
    }
    if said.traced {
        let tier = tier(&said.output);
        let what = format!("{}: the tier", case.name);
        stage.checks.equal(&what, tier.as_deref(), case.tier().or(control), "the control");
    } else {
        let refusal = (status::CANNOT_TRACE, case.ending.words());
        check(&mut stage.checks, &case.name, &said.output, refusal);
    }
    let verdict = trial.verdict(said);
    println!("    {}: {verdict}", case.name);
    stage.checks.note(&case.name, verdict.to_string());
    let differs = case.ending.differs(&verdict);
    stage.checks.that(differs.is_none(), || format!("{}: {}", case.name, differs.unwrap_or_default()));
}

/// Judges one run that had nothing but the kernel log: what it says of kills is compared elsewhere.
fn followed(stage: &mut Stage<'_>, case: &Case, words: &[&str], trial: &Trial<'_>, said: &Said) {
    let (name, output) = (&case.name, &said.output);
    let stderr = String::from_utf8_lossy(&output.stderr.concat()).into_owned();
    stage.checks.equal(&format!("{name}: the tier"), tier(output).as_deref(), Some("kmsg"), "the kernel log");
    stage.checks.that(said.in_time, || format!("{name}: the kill is not reported in time"));
    stage.checks.that(output.status.success(), || format!("{name}: it ended with {}", output.status));
    let ours = trial.expected.victims.first().map(|victim| victim.pid());
    let pids = victim_pids(&output.stdout);
    stage.checks.that(ours.is_some_and(|pid| pids.contains(&pid)), || {
        format!("{name}: the victim {ours:?} is none of {pids:?}")
    });
    for word in words {
        stage
            .checks
            .that(stderr.contains(word), || format!("{name}: it does not say {word:?}, but: {stderr}"));
    }
}

/// The tier of the first incident in an output.
fn tier(output: &Output) -> Option<String> {
    let objects = output.stdout.iter().filter_map(|line| object(line).ok());
    let mut incidents = objects.filter(|object| kind(object) == "oom");
    Incident::from_json(incidents.next()?).ok()?.fields.tier
}
