//! Forks that cgroups refuse, where no hook shows forks.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value};

use super::{Needs, Scenario};
use crate::deadline::Deadline;
use crate::fork::call::Call;
use crate::fork::compare::{failures, text};
use crate::fork::forker::Forker;
use crate::fork::ground::Ground;
use crate::stage::{Scratch, Stage, argument};
use crate::tracer::Program;
use crate::watch::{Traced, read};
use crate::witness::cgroup::{Cgroup, Version};
use crate::witness::tree::Tree;

/// Guards the count of refused forks by the cgroups' own files: exact for what lives long enough to be read, told once, and by
/// the level at which the kernel counts; what was refused before is nobody's.
pub const SCENARIO: Scenario = Scenario {
    name: "pids_events",
    guards: "where no hook shows forks, all that cgroups refuse are told with the limit, by the cgroups' own counts",
    needs: Needs::Pids,
    kills: 0,
    once: true,
    run,
};

/// How many tasks there may be.
const LIMIT: u64 = 2;
/// After this, what was refused has been told, and oomtrace looks at once again.
const TOLD: Duration = Duration::from_millis(2600);

/// A cgroup in which forks were refused.
struct Refused {
    inside: Cgroup,
    limited: Cgroup,
    /// How many.
    count: u64,
}

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let ground = Ground { machine: stage.machine, deadline: stage.deadline };
    let scratch = Scratch::new(stage.name)?;
    let recording = scratch.file("recording");
    let tree = ground.tasks()?;
    let early = tree.group("early")?;
    let mut first = full(&ground, &early, &early)?;
    refuse(&mut first, 7)?;
    let Some(tool) = stage.tool else { return Ok(()) };
    let program = Program { tier: Some("tracepoint".to_owned()), ..tool.program.clone() };
    let options = ["--json", "--kind", "fork", "--record", argument(&recording)?];
    let oomtrace = program.trace(&options, stage.deadline)?;
    let by_limit = early.version() == Version::V2
        && early.dir().is_some_and(|dir| dir.join("pids.events.local").exists());
    stage.checks.note("the kernel counts where the limit is", by_limit);

    refuse(&mut first, 5)?;
    let mut refused = vec![Refused { inside: early.clone(), limited: early, count: 5 }];
    refused.extend(provoke(&ground, &tree)?);
    let brief = brief(&ground, &tree)?;
    sleep(TOLD);

    let output = oomtrace.stop(stage.deadline)?;
    stage.keep_output("oomtrace", &output)?;
    let traced = read(output)?;
    let own = stage.tier().map_or(!stage.machine.disposable, |tier| tier == "tracepoint");
    if own {
        stage.judge_course(&traced);
    } else {
        stage.judge_lines(&traced);
    }
    judge(stage, &traced, &refused, &brief, by_limit);
    replay(stage, &program, argument(&recording)?, &traced)
}

/// Refusals of every kind whose cgroups live on.
fn provoke(ground: &Ground<'_>, tree: &Tree) -> Result<Vec<Refused>> {
    let own = tree.group("own")?;
    let outer = tree.group("outer/inner").map(|inner| (inner, tree.base().child("outer")))?;
    let mut forker = full(ground, &own, &own)?;
    refuse(&mut forker, 100)?;
    let mut inner = full(ground, &outer.1, &outer.0)?;
    refuse(&mut inner, 30)?;
    sleep(TOLD);
    // What is watched by now.
    refuse(&mut forker, 50)?;
    let other = tree.group("outer/other")?;
    // There is no room for one more.
    outer.1.set_task_limit(Some(LIMIT + 1))?;
    let mut second = ground.forker("second-forker")?;
    second.join(&other)?;
    refuse(&mut second, 20)?;
    sleep(TOLD);
    // Another cgroup of the same name: its count begins anew.
    drop(forker);
    let dir = own.dir().context("a cgroup has no folder")?;
    remove(&dir, ground.deadline)?;
    let again = tree.group("own")?;
    let mut forker = full(ground, &again, &again)?;
    refuse(&mut forker, 40)?;
    sleep(TOLD);
    Ok(vec![
        Refused { inside: again.clone(), limited: again, count: 100 + 50 + 40 },
        Refused { inside: outer.0, limited: outer.1.clone(), count: 30 },
        Refused { inside: other, limited: outer.1, count: 20 },
    ])
}

/// A cgroup that is gone as soon as forks were refused.
fn brief(ground: &Ground<'_>, tree: &Tree) -> Result<Refused> {
    let group = tree.group("brief")?;
    let mut forker = full(ground, &group, &group)?;
    refuse(&mut forker, 9)?;
    drop(forker);
    remove(&group.dir().context("a cgroup has no folder")?, ground.deadline)?;
    Ok(Refused { inside: group.clone(), limited: group, count: 9 })
}

fn remove(dir: &std::path::Path, deadline: Deadline) -> Result<()> {
    while let Err(error) = fs::remove_dir(dir) {
        deadline.left("a cgroup to be free of tasks")?;
        ensure!(dir.exists(), "{} is gone: {error}", dir.display());
        sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// A forker in a cgroup that has no room for another task.
fn full(ground: &Ground<'_>, limited: &Cgroup, inside: &Cgroup) -> Result<Forker> {
    limited.set_task_limit(Some(LIMIT))?;
    let mut forker = ground.forker("pids-forker")?;
    forker.join(inside)?;
    forker.hold(Call::Fork, LIMIT - 1)?;
    Ok(forker)
}

fn refuse(forker: &mut Forker, times: u64) -> Result<()> {
    forker.fail(Call::Fork, times, libc::EAGAIN).map(drop)
}

fn judge(stage: &mut Stage<'_>, traced: &Traced, refused: &[Refused], brief: &Refused, by_limit: bool) {
    let checks = &mut stage.checks;
    let counted_at = |refused: &Refused| {
        if by_limit { refused.limited.path.clone() } else { refused.inside.path.clone() }
    };
    let key = if by_limit { "/limit_at" } else { "/task/cgroup" };
    for each in refused {
        let at = counted_at(each);
        let lines: Vec<_> = failures(traced).filter(|line| text(line, key) == Some(&at)).collect();
        let told: u64 = lines.iter().filter_map(|line| line["count"].as_u64()).sum();
        let count = refused.iter().filter(|other| counted_at(other) == at).map(|other| other.count).sum();
        checks.equal(&format!("count of {at}"), Some(told), Some(count), "the generators");
        for line in lines {
            let said = ["/cause", "/proof", "/source", "/errno_name"].map(|key| text(line, key));
            let expected = ["pids_max", "count", "cgroup", "EAGAIN"].map(Some);
            checks.equal("what is told", Some(said), Some(expected), "the tier");
            checks.equal("limit_at", text(line, "/limit_at"), Some(each.limited.path.as_str()), "the set-up");
            let (limit, usage) = (line["limit"].as_u64(), line["usage"].as_u64());
            checks.that(limit.is_some_and(|limit| (LIMIT..=LIMIT + 1).contains(&limit)), || {
                format!("limit of {at} is {limit:?}")
            });
            checks.that(usage.is_some() && usage >= limit, || {
                format!("usage of {at} is {usage:?} of {limit:?}")
            });
        }
    }
    // How many there were is lost with the cgroup, unless it was looked at in time; that there were some is not.
    let at = counted_at(brief);
    let lines: Vec<_> = failures(traced)
        .filter(|line| ["/task/cgroup", "/limit_at"].iter().any(|key| text(line, key) == Some(&at)))
        .collect();
    let told: u64 = lines.iter().filter_map(|line| line["count"].as_u64()).sum();
    checks.that((1..=brief.count).contains(&told), || format!("count of {at}, which is gone, is {told}"));
    let expected: u64 = refused.iter().map(|refused| refused.count).sum();
    let all: u64 = failures(traced).filter_map(|line| line["count"].as_u64()).sum();
    // The machine may be in use.
    if stage.machine.disposable {
        stage.checks.equal("failures in all", Some(all), Some(expected + told), "the generators");
    }
}

/// Guards the recording: it has the counts, and not only what they were read for.
fn replay(stage: &mut Stage<'_>, program: &Program, recording: &str, traced: &Traced) -> Result<()> {
    let output = program.run(&["replay", recording, "--json", "--kind", "fork"], stage.deadline)?;
    let replayed = read(output)?;
    let plain = |traced: &Traced| -> Vec<Map<String, Value>> {
        failures(traced)
            .filter_map(Value::as_object)
            .map(|line| line.clone().into_iter().filter(|(key, _)| key != "source").collect())
            .collect()
    };
    let (again, live) = (plain(&replayed), plain(traced));
    stage.checks.that(again == live, || {
        format!("the replay tells {} failures otherwise than the live run tells {}", again.len(), live.len())
    });
    Ok(())
}
