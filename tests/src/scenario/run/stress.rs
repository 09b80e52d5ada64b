//! stress-ng at the limit of a cgroup.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result};
use serde_json::Value;

use super::super::{Needs, Scenario};
use super::on_its_own;
use super::profile::{Profiler, Ran, is, number, rows, sum};
use super::witness::{Counted, witnessed};
use crate::stage::{Stage, argument};
use crate::witness::counters::keyed;

/// Guards the report's totals: they are the kernel's own counts, and those that stress-ng makes of its processes' deaths.
pub const SCENARIO: Scenario = Scenario {
    name: "run_stress",
    guards: "stress-ng's stressors one after the other in a limited cgroup: kills, faults, reclaim and peak are what the kernel and \
             stress-ng count, and all kills are the command's own",
    needs: Needs::StressNg,
    // As many as it comes to: more than the log has headers of.
    kills: 0,
    once: true,
    run,
};

/// What the cgroup may have.
const LIMIT: &str = "64M";
const LIMIT_BYTES: u64 = 64 << 20;

/// Those whose child is killed and started again, each time with a message (`stress_oomable_child()` and its like), and how much
/// they ask for. All but the last two go beyond the limit.
const STRESSORS: [(&str, &[&str]); 10] = [
    ("vm", &["vm-bytes 200m"]),
    ("bigheap", &["bigheap-growth 4m"]),
    ("mmap", &["mmap-bytes 200m"]),
    ("malloc", &["malloc-bytes 200m"]),
    ("mremap", &["mremap-bytes 200m"]),
    ("memfd", &["memfd-bytes 200m"]),
    ("pagemove", &["pagemove-bytes 200m"]),
    ("clone", &[]),
    ("brk", &[]),
    ("stack", &[]),
];
/// How many are sure to have a kill in the time that they have, under emulation as well.
const SURE: usize = 5;

/// Those of vmstat's counts that are compared.
const COUNTS: [&str; 4] = ["oom_kill", "pgmajfault", "pswpin", "pswpout"];

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let Some(profiler) = Profiler::of(stage)? else { return Ok(()) };
    on_its_own(stage);
    let seconds = if stage.machine.disposable { 2 } else { 1 };
    let jobs = profiler.file("stress.job");
    fs::write(&jobs, job_file(seconds)).context("cannot write stress-ng's job file")?;
    let yaml = profiler.file("stress.yaml");
    let (jobs, yaml) = (argument(&jobs)?.to_owned(), argument(&yaml)?.to_owned());
    let command = witnessed(&["stress-ng", "--verbose", "--yaml", &yaml, "--job", &jobs])?;
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    let before = vmstat()?;
    let options = ["--cgroup-limit", LIMIT, "--stress-ng-yaml", &yaml];
    let ran = profiler.run(stage, "stress", &options, &command)?;
    let after = vmstat()?;
    let counted = Counted::of(&ran)?;
    let run = ran.first()?;
    stage.checks.equal("exit status", ran.output.status.code(), Some(0), "stress-ng");

    let kills = number(run, "/incidents/kills");
    stage.checks.equal(
        "kills of the command's own",
        number(run, "/incidents/own_kills"),
        counted.oom_kills(),
        "its cgroup",
    );
    stage.checks.that(kills >= Some(SURE as u64), || format!("there were only {kills:?} kills"));
    // Elsewhere on the machine others may be killed meanwhile.
    let cgroup = run.pointer("/cgroup/path").and_then(Value::as_str);
    let is_there = |victim: &&Value| victim.get("scope_path").and_then(Value::as_str) == cgroup;
    let there: Vec<_> = rows(run, "/victims").filter(is_there).collect();
    let others = there.iter().filter(|victim| !is(victim, "whose", "own")).count();
    stage.checks.equal("victims there that are not its own", Some(others), Some(0), "the scenario");
    stage.checks.that(there.len() >= SURE, || format!("only {} victims are told of its cgroup", there.len()));
    // From the outside more is counted, from the inside less: the report's are in between.
    for name in COUNTS {
        let reported = number(run, &format!("/counters/{name}"));
        let (inside, outside) = (counted.vmstat(name), difference(&before, &after, name));
        stage.checks.note(&format!("{name}, inside, reported, outside"), vec![inside, reported, outside]);
        let between = (inside <= reported) && (reported <= outside) && inside.is_some();
        stage.checks.that(between, || {
            format!("{name}: {reported:?}, which is not within {inside:?} and {outside:?}")
        });
    }
    judge_cgroup(stage, run, &counted);
    judge_stressors(stage, run, &ran);
    Ok(())
}

/// The cgroup's own counts, its peak, and rounds of reclaim at its limit.
fn judge_cgroup(stage: &mut Stage<'_>, run: &Value, counted: &Counted) {
    let checks = &mut stage.checks;
    let reported = number(run, "/cgroup/events/oom_kill");
    checks.equal("the cgroup's oom_kill in the report", reported, counted.oom_kills(), "the cgroup");
    checks.equal("the cgroup's limit", number(run, "/cgroup/limit_bytes"), Some(LIMIT_BYTES), "the option");
    let peak = number(run, "/cgroup/peak_bytes");
    // Before `memory.peak` (5.19) there are samples alone, which come and go between kills.
    let sampled = run.pointer("/cgroup/peak_from").and_then(Value::as_str) == Some("samples");
    let least = if sampled { 1 } else { LIMIT_BYTES / 2 };
    checks.that(peak.is_some_and(|peak| (least..=LIMIT_BYTES).contains(&peak)), || {
        format!("the cgroup's peak is {peak:?}, and its limit {LIMIT_BYTES}")
    });
    if let Some(witness) = counted.get("peak", "bytes") {
        checks.equal("the cgroup's peak", peak, Some(witness), "its file");
    }
    let rounds = sum(run, "/pressure", "count", |row| is(row, "kind", "memcg_reclaim"));
    let own =
        sum(run, "/pressure", "count", |row| is(row, "kind", "memcg_reclaim") && is(row, "whose", "own"));
    checks.note("rounds of memcg reclaim", rounds);
    checks.note("of the command's own", own);
    if let Some(most) = counted.get("memory.events", "max") {
        checks.note("memory.events max", most);
        // Each time the limit was hit, try_charge_memcg() counts it and reclaims (mm/memcontrol.c).
        checks.that(own >= most, || format!("{own} rounds of reclaim, and the limit was hit {most} times"));
    }
    checks.that(own > 0, || "nothing of the command's own waited for memory".to_owned());
    for row in rows(run, "/pressure") {
        let buckets: u64 = sum(row, "/buckets", "count", |_| true);
        checks.equal("a histogram's sum", Some(buckets), number(row, "/count"), "its count");
    }
}

/// What stress-ng itself says: how many of each kind were killed, and how much they did.
fn judge_stressors(stage: &mut Stage<'_>, run: &Value, ran: &Ran) {
    let said = restarts(ran.lines().chain(ran.output.said().lines().map(str::to_owned)));
    let mut sure = 0;
    for (name, _) in STRESSORS {
        let comm = format!("stress-ng-{name}");
        let told = sum(run, "/victims_by_name", "kills", |row| {
            row.get("comm").is_some_and(|is| *is == comm[..comm.len().min(15)])
        });
        let said = said.get(name).copied().unwrap_or(0);
        stage.checks.note(&format!("kills of {name}"), told);
        // One that dies as its stressor's time ends is not started again, and stress-ng does not say that it was killed.
        let at_its_end = told.checked_sub(said).is_some_and(|more| more <= 1);
        stage
            .checks
            .that(at_its_end, || format!("{told} kills of {comm} are told, and stress-ng says {said}"));
        sure += usize::from(told > 0);
    }
    stage.checks.that(sure >= SURE, || format!("only {sure} stressors had a kill"));
    let told: BTreeMap<_, _> = rows(run, "/bogo_ops")
        .filter_map(|row| Some((row.get("stressor")?.as_str()?, number(row, "/bogo_ops")?)))
        .collect();
    for (name, _) in STRESSORS {
        stage
            .checks
            .that(told.contains_key(name), || format!("the report has no bogo-ops of {name}: {told:?}"));
    }
}

/// stress-ng's own format (Documentation: stress-ng(1), `--job`).
fn job_file(seconds: u64) -> String {
    let head = format!("run sequential\ntimeout {seconds}\nmetrics\n");
    let stressors = STRESSORS.map(|(name, options)| format!("{name} 1\n{}\n", options.join("\n")));
    head + &stressors.concat()
}

/// How often each stressor said that one of its processes was killed: "stress-ng: debug: [12] vm: assuming killed by OOM killer,
/// restarting again (instance 0)".
fn restarts(lines: impl Iterator<Item = String>) -> BTreeMap<String, u64> {
    let mut restarts = BTreeMap::new();
    for line in lines {
        if let Some((before, _)) = line.split_once(": assuming killed by OOM killer")
            && let Some((_, name)) = before.rsplit_once(' ')
        {
            *restarts.entry(name.to_owned()).or_default() += 1;
        }
    }
    restarts
}

fn vmstat() -> Result<String> {
    fs::read_to_string("/proc/vmstat").context("cannot read /proc/vmstat")
}

fn difference(before: &str, after: &str, name: &str) -> Option<u64> {
    keyed(after, name)?.checked_sub(keyed(before, name)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards stress-ng's wording.
    #[test]
    fn restarts_are_counted_by_stressor() {
        let said = "stress-ng: debug: [12] vm: child died: signal 9 'SIGKILL' (instance 0)\n\
                    stress-ng: debug: [12] vm: assuming killed by OOM killer, restarting again (instance 0)\n\
                    stress-ng: debug: [12] vm: assuming killed by OOM killer, bailing out (instance 0)\n\
                    stress-ng: debug: [14] mmap: assuming killed by OOM killer, restarting again (instance 0)\n";
        let told = restarts(said.lines().map(str::to_owned));
        assert_eq!(told, BTreeMap::from([("vm".to_owned(), 2), ("mmap".to_owned(), 1)]));
    }
}
