//! What `oomtrace check` says of machines: of one that is set up well, and of one that is not.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::cures::ground::{fixes, run as run_it};
use super::swap_limit::Zram;
use super::{Needs, Scenario};
use crate::eat::Eat;
use crate::fork::cause::threads_of_machine;
use crate::fork::ground::Ground;
use crate::fork::setting::Setting;
use crate::incident::found;
use crate::size::{KIB, MIB};
use crate::stage::Stage;

/// Guards `check`: what is amiss is named, each by itself, and nothing else.
pub const SCENARIO: Scenario = Scenario {
    name: "check",
    guards: "`oomtrace check` names every setting that is bad and every group that is nearly full, and is silent where nothing is amiss",
    needs: Needs::Pids,
    kills: 0,
    once: true,
    run,
};

fn run(stage: &mut Stage<'_>) -> Result<()> {
    if stage.tool.is_none() {
        return Ok(());
    }
    let swap = stage.machine.zram.then(|| Zram::enable(stage.machine.page_bytes, 64 * MIB)).transpose()?;
    if stage.machine.disposable {
        calm_down(stage)?;
        let found = ids(&check(stage, &[])?);
        let expected = if swap.is_some() { set(&[]) } else { set(&["swap-none"]) };
        stage.checks.equal(
            "findings of a machine that is set up well",
            Some(found),
            Some(expected),
            "the scenario",
        );
        exit_statuses(stage, swap.is_none())?;
    }
    groups(stage, swap.is_some())?;
    if stage.machine.disposable && swap.is_none() {
        badly_set_up(stage)?;
    }
    Ok(())
}

/// Runs it, and holds its line against the schema.
fn check(stage: &mut Stage<'_>, options: &[&str]) -> Result<Value> {
    let tool = stage.tool.context("no oomtrace")?;
    let arguments: Vec<_> = ["check", "--json"].iter().chain(options).copied().collect();
    let output = tool.program.run(&arguments, stage.deadline)?;
    stage.keep_output("check", &output)?;
    stage
        .checks
        .that(output.status.success(), || format!("`check` ended with {}: {}", output.status, output.said()));
    let line: Value = serde_json::from_slice(&output.stdout.join(&b'\n')).context("no JSON")?;
    tool.schema.check(&mut stage.checks, std::slice::from_ref(&line));
    Ok(line)
}

fn findings(check: &Value) -> impl Iterator<Item = &Value> {
    check.get("findings").and_then(Value::as_array).into_iter().flatten()
}

fn ids(check: &Value) -> BTreeSet<String> {
    found(check).into_iter().collect()
}

fn set(ids: &[&str]) -> BTreeSet<String> {
    ids.iter().map(ToString::to_string).collect()
}

/// The exit status follows from what is found and from what was asked for.
fn exit_statuses(stage: &mut Stage<'_>, has_notice: bool) -> Result<()> {
    let Some(tool) = stage.tool else { return Ok(()) };
    for (bound, expected) in [("notice", if has_notice { 4 } else { 0 }), ("warning", 0), ("critical", 0)] {
        let output = tool.program.run(&["check", "--fail-on", bound], stage.deadline)?;
        stage.checks.equal(
            &format!("exit status with {bound}"),
            output.status.code(),
            Some(expected),
            "the findings",
        );
    }
    Ok(())
}

/// Groups that are nearly full, and as many that are not.
fn groups(stage: &mut Stage<'_>, swaps: bool) -> Result<()> {
    let ground = Ground { machine: stage.machine, deadline: stage.deadline };
    let (memory, tasks) = (ground.memory()?, ground.tasks()?);
    let (tight, roomy) = (memory.group("tight")?, memory.group("roomy")?);
    let elastic = memory.group("elastic")?;
    let (full, free) = (tasks.group("full")?, tasks.group("free")?);
    let mut eaters = Vec::new();
    for group in [&tight, &roomy, &elastic] {
        group.set_limit(256 * MIB)?;
        let mut eater =
            stage.eater("fills-a-group", &Eat { anon: 24 * MIB, ..Eat::default() }, Some(group))?;
        eater.fill_and_hold(stage.deadline)?;
        eaters.push(eater);
    }
    tight.set_limit(tight.memory()? + 512 * KIB)?;
    roomy.set_limit(2 * roomy.memory()?)?;
    // What can be swapped out is not stuck. Version 1 does not say what a group may swap.
    let may_swap = swaps && stage.machine.unified();
    if may_swap {
        elastic.set_limit(elastic.memory()? + 512 * KIB)?;
        elastic.set_swap_limit(64 * MIB)?;
    }
    for (group, most) in [(&full, "4"), (&free, "8")] {
        eaters.push(stage.eater("fills-a-group", &Eat { children: 3, ..Eat::default() }, Some(group))?);
        let file = group.dir().context("a group is out of reach")?.join("pids.max");
        fs::write(&file, most).with_context(|| format!("cannot write {}", file.display()))?;
    }
    let told = check(stage, &[])?;
    let ours = [&tight, &roomy, &elastic, &full, &free].map(|group| group.path.as_str());
    let mut found: Vec<_> = findings(&told)
        .filter_map(|finding| {
            let at = finding.pointer("/evidence/limit_at")?.as_str()?;
            ours.contains(&at).then(|| (finding.get("id").and_then(Value::as_str).unwrap_or_default(), at))
        })
        .collect();
    found.sort_unstable();
    let mut expected = vec![("fork-pids-max", full.path.as_str()), ("memcg-limit", tight.path.as_str())];
    expected.sort_unstable();
    stage.checks.equal("findings of groups", Some(found), Some(expected), "the scenario");
    Ok(())
}

/// How many ids are used, and how many there are then. Once the highest has been given out, those below 300 are for nobody
/// (`RESERVED_PIDS`, kernel/pid.c): some above must be left, so most of those in use are far above.
const IDS: u64 = 330;
const PID_MAX: u64 = 350;
const FAR_ABOVE: u64 = 5000;

/// Everything at once that an operator can get wrong.
fn badly_set_up(stage: &mut Stage<'_>) -> Result<()> {
    let machine = stage.machine;
    let giant = Eat { anon: machine.memory_bytes / 10 * 3, adj: Some(-1000), ..Eat::default() };
    let mut giant = stage.eater("giant", &giant, None)?;
    giant.fill_and_hold(stage.deadline)?;
    let sharers = usize::try_from(IDS.saturating_sub(threads_of_machine()?))?;
    fs::write("/proc/sys/kernel/ns_last_pid", FAR_ABOVE.to_string()).context("cannot choose ids")?;
    // They share the memory of their maker: so many of their own would fill the machine.
    let _crowd = stage.eater("crowd", &Eat { sharers, ..Eat::default() }, None)?;
    let settings = [
        ("vm/min_free_kbytes", machine.memory_bytes / 10 / KIB),
        ("vm/panic_on_oom", 1),
        ("vm/oom_kill_allocating_task", 1),
        ("kernel/pid_max", PID_MAX),
        ("vm/overcommit_ratio", 50),
        ("vm/overcommit_memory", 2),
    ];
    let changed = settings.map(|(name, value)| {
        let setting = Setting::keep(name)?;
        setting.set(value).map(|()| setting)
    });
    let changed = changed.into_iter().collect::<Result<Vec<_>>>()?;
    service()?;
    let told = check(stage, &[])?;
    apply(stage, &told);
    let mended = check(stage, &[])?;
    drop(changed);
    let mut expected = set(&[
        "min-free-oversized",
        "panic-on-oom",
        "oom-kill-allocating-task",
        "fork-pid-max",
        "overcommit",
        "shielded-giant",
        "service-unprotected",
        "swap-none",
    ]);
    let loaded = ["/sys/kernel/kexec_crash_loaded", "/sys/kernel/kexec/crash_loaded"];
    if loaded.iter().any(|file| Path::new(file).exists()) {
        expected.insert("crash-capture".to_owned());
    }
    stage.checks.equal(
        "findings of a machine that is set up badly",
        Some(ids(&told)),
        Some(expected),
        "the scenario",
    );
    let giants = findings(&told).filter(|finding| finding.get("id").is_some_and(|id| id == "shielded-giant"));
    let pids: Vec<_> = giants.filter_map(|finding| finding.pointer("/evidence/pid")?.as_u64()).collect();
    stage.checks.equal(
        "findings once all that was proposed is done",
        Some(ids(&mended)),
        Some(set(&["swap-none"])),
        "the scenario",
    );
    stage.checks.equal("the giant", Some(pids), Some(vec![giant.pid()]), "the scenario");
    Ok(())
}

/// Waits until the machine's programs have not waited for memory of late: what was provoked before may have made them wait for
/// long, and that is found, too.
fn calm_down(stage: &Stage<'_>) -> Result<()> {
    /// Below what is told, in percent of a minute.
    const CALM: f64 = 9.0;
    loop {
        // A kernel without it has nothing to tell.
        let pressure = fs::read_to_string("/proc/pressure/memory").unwrap_or_default();
        let full = pressure.lines().find_map(|line| line.strip_prefix("full "));
        let minute = full.and_then(|full| full.split(' ').find_map(|average| average.strip_prefix("avg60=")));
        if minute.and_then(|minute| minute.parse::<f64>().ok()).is_none_or(|minute| minute < CALM) {
            return Ok(());
        }
        stage.deadline.left("the machine to calm down")?;
        sleep(Duration::from_millis(500));
    }
}

/// Starts what looks like a service that the machine needs: a child of the first process's. It ends by itself.
fn service() -> Result<()> {
    let own = std::env::current_exe().context("cannot find the program itself")?;
    let group = "/sys/fs/cgroup/system.slice/ssh.service";
    fs::create_dir_all(group).with_context(|| format!("cannot make {group}"))?;
    let line = format!(
        "sleep 20 | {} eat --name sshd --cgroup-procs {group}/cgroup.procs >/dev/null 2>&1 &",
        own.display()
    );
    let status = Command::new("sh").args(["-c", &line]).status().context("cannot start a shell")?;
    ensure!(status.success(), "the shell that starts a service ended with {status}");
    // Its shell has to end before it is the first process's.
    sleep(Duration::from_millis(300));
    Ok(())
}

/// Does what findings propose, by the commands as they stand. Swap takes a disk, which a guest does not have.
fn apply(stage: &mut Stage<'_>, told: &Value) {
    for finding in findings(told).filter(|finding| finding.get("id").is_some_and(|id| id != "swap-none")) {
        let Some(command) = fixes(finding, "change").next() else { continue };
        let mut shell = Command::new("sh");
        shell.args(["-c", command]);
        let done = run_it(shell);
        stage.checks.that(done.is_ok(), || format!("`{command}`: {done:?}"));
    }
}
