//! Forks that fail, for each cause that can be brought about here.

use std::collections::{BTreeMap, BTreeSet};
use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;
use serde_json::Value;

use super::{Needs, Scenario};
use crate::fork::cause::{CASES, MAPPED, Needs as CauseNeeds};
use crate::fork::ground::Ground;
use crate::fork::truth::{Level, Truth};
use crate::incident::kind;
use crate::stage::Stage;
use crate::watch::{Traced, read};
use crate::witness::kmsg::KernelLog;

/// Guards each cause: its name, error, limit, usage and level, and the count to the last one; that a fork which wants nothing
/// is told by nobody; and that what hooks can prove is proved.
pub const SCENARIO: Scenario = Scenario {
    name: "forks",
    guards: "forks fail for each cause that can be brought about, and are told with it, every one of them; others are not",
    needs: Needs::Memcg,
    kills: 0,
    once: true,
    run,
};

/// How often each call fails.
const TIMES: u64 = 10;
/// The same where each takes a process of its own with thousands of mappings.
const TIMES_LARGE: u64 = 4;
/// After this, what was counted and not told is told.
pub const SETTLED: Duration = Duration::from_millis(2600);
/// By how much a count of the machine's threads may have moved until it was looked at.
const THREADS_MOVE: u64 = 16;
/// The same of memory that is charged or promised by others, in bytes.
const OTHERS_MOVE: u64 = 4 << 20;
/// Children are counted up to this.
const MOST_CHILDREN: u64 = 256;
/// What hooks prove.
const PROVED: [&str; 3] = ["pids_max", "pid_max", "pidns_dead"];

fn run(stage: &mut Stage<'_>) -> Result<()> {
    // Taken only where nothing better is to be had.
    let oomtrace = stage.tracer(&["--json", "--fork-syscalls"])?;
    let alone = stage.tier().map_or(!stage.machine.disposable, |tier| tier == "tracepoint");
    let by_log = if alone { stage.tracer(&["--json"])? } else { None };
    let mut log = KernelLog::mark()?;
    let mut truths = Vec::new();
    for case in CASES {
        // Whose limit it is shows in an argument alone, which no other tier has; and the task is in another cgroup.
        if case.needs.unmet(stage.machine)?.is_some() || case.name == "pids_max/into_cgroup" {
            continue;
        }
        let ground = Ground { machine: stage.machine, deadline: stage.deadline };
        let times = if case.name == "fatal_signal" { TIMES_LARGE } else { TIMES };
        match (case.provoke)(&ground, times) {
            Ok(more) => truths.extend(more),
            Err(error) => stage.checks.fail(format!("{} could not be brought about: {error:#}", case.name)),
        }
    }
    let causes: BTreeSet<_> = truths.iter().filter_map(|truth| truth.cause).collect();
    stage.checks.note("causes", causes.into_iter().collect::<Vec<_>>());
    stage.checks.that(!truths.is_empty(), || "no cause could be brought about here".to_owned());
    let Some(oomtrace) = oomtrace else { return Ok(()) };
    sleep(SETTLED);
    let output = oomtrace.stop(stage.deadline)?;
    stage.keep_output("oomtrace", &output)?;
    let traced = read(output)?;
    stage.judge_course(&traced);
    let tier = traced.objects.first().and_then(|status| text(status, "/tier"));
    let by_tracepoints = tier == Some("tracepoint");
    compare(stage, &truths, &traced, by_tracepoints);
    if let Some(by_log) = by_log {
        let traced = read(by_log.stop(stage.deadline)?)?;
        stage.judge_course(&traced);
        log.read()?;
        let said =
            log.text().iter().filter_map(|line| Some(line.rsplit_once(REFUSED)?.1.trim_end().to_owned()));
        logged(stage, &truths, &traced, &said.collect::<Vec<_>>())?;
    }
    Ok(())
}

/// The failures that an oomtrace told.
fn failures(traced: &Traced) -> impl Iterator<Item = &Value> {
    traced.objects.iter().filter(|object| kind(object) == "fork_failure")
}

fn text<'a>(line: &'a Value, pointer: &str) -> Option<&'a str> {
    line.pointer(pointer).and_then(Value::as_str)
}

fn number(line: &Value, pointer: &str) -> Option<u64> {
    line.pointer(pointer).and_then(Value::as_u64)
}

/// What failures have in common: name, user, cause, and whose limit it is.
type Common = (String, u64, String, Option<String>);

/// Whose limit it is, in oomtrace's words.
fn place(stage: &Stage<'_>, truth: &Truth) -> Option<String> {
    match &truth.level {
        // Which descriptors and namespaces there may be is not told.
        _ if matches!(truth.cause, Some("fd_limit" | "namespace_limit")) => None,
        Level::Machine => Some("host".to_owned()),
        Level::Cgroup { path, .. } => Some(path.clone()),
        Level::PidNamespace { inode, .. } if truth.cause == Some("pid_max") => {
            inode.map(|inode| format!("PID namespace {inode}"))
        }
        Level::User { uid, .. } if !stage.machine.is_at_least(5, 14) => Some(format!("uid {uid}")),
        Level::User { uid, namespace } => Some(format!("uid {uid} in user namespace {namespace}")),
        Level::PidNamespace { .. } | Level::Task => None,
    }
}

fn compare(stage: &mut Stage<'_>, truths: &[Truth], traced: &Traced, by_tracepoints: bool) {
    let mut expected: BTreeMap<Common, Vec<&Truth>> = BTreeMap::new();
    for truth in truths.iter().filter(|truth| truth.count > 0) {
        if let Some(cause) = truth.cause {
            let key = (truth.comm.clone(), truth.uid, cause.to_owned(), place(stage, truth));
            expected.entry(key).or_default().push(truth);
        }
    }
    let mut told: BTreeMap<Common, Vec<&Value>> = BTreeMap::new();
    let ours: Vec<&str> = truths.iter().map(|truth| truth.comm.as_str()).collect();
    // What a filter of system calls refuses looks like the kernel's own refusal where these alone are seen.
    let filtered =
        |comm: &str| by_tracepoints && truths.iter().any(|truth| truth.comm == comm && !truth.reached);
    for line in failures(traced) {
        let Some(comm) = text(line, "/task/comm")
            .filter(|comm| (ours.contains(comm) || comm.ends_with("-forker")) && !filtered(comm))
        else {
            continue;
        };
        let cause = text(line, "/cause").unwrap_or_default().to_owned();
        let key = (
            comm.to_owned(),
            number(line, "/task/uid").unwrap_or(u64::MAX),
            cause,
            text(line, "/limit_at").map(str::to_owned),
        );
        told.entry(key).or_default().push(line);
    }
    for (key, lines) in &told {
        let known = expected.contains_key(key);
        stage.checks.that(known, || {
            format!("{} failures of {key:?} are told, and there were none: {}", count(lines), lines[0])
        });
    }
    for (key, truths) in &expected {
        let lines = told.get(key).map_or(&[][..], Vec::as_slice);
        group(stage, key, truths, lines, by_tracepoints);
    }
}

fn count(lines: &[&Value]) -> u64 {
    lines.iter().filter_map(|line| number(line, "/count")).sum()
}

/// Compares the failures that have all in common.
fn group(stage: &mut Stage<'_>, key: &Common, truths: &[&Truth], lines: &[&Value], by_tracepoints: bool) {
    let (comm, _, cause, _) = key;
    let of = |field: &str| format!("{field} of {comm}, {cause}");
    // Each may have been killed between two forks; and a system call that never ends shows none of it.
    if cause == "fatal_signal" {
        let most = truths.len() as u64;
        let seen = count(lines);
        stage.checks.that(seen <= most, || {
            format!("{} is {seen}, and {most} were killed while they forked", of("count"))
        });
        stage.checks.note("told of those who were killed while they forked", seen);
        return;
    }
    let failures = truths.iter().map(|truth| truth.count).sum();
    stage.checks.equal(&of("count"), Some(count(lines)), Some(failures), "the forker");
    let Some(first) = lines.first() else { return };
    let pids: Vec<u64> = truths.iter().map(|truth| truth.pid).collect();
    let pid = number(first, "/task/pid");
    stage.checks.that(pid.is_some_and(|pid| pids.contains(&pid)), || {
        format!("{} is {pid:?}, not of {pids:?}", of("task.pid"))
    });
    let errno = truths.first().and_then(|truth| truth.errno).and_then(|errno| u64::try_from(errno).ok());
    let proof = if by_tracepoints || !PROVED.contains(&cause.as_str()) { "state" } else { "hook" };
    for line in lines {
        stage.checks.equal(&of("errno"), number(line, "/errno"), errno, "the forker");
        stage.checks.equal(&of("proof"), text(line, "/proof"), Some(proof), "the tier");
    }
    // Where it was the same all the time.
    let children: BTreeSet<_> = truths.iter().map(|truth| truth.children).collect();
    if let (Some(Some(children)), 1) = (children.first(), children.len()) {
        stage.checks.equal(
            &of("task.children"),
            number(first, "/task/children"),
            Some((*children).min(MOST_CHILDREN)),
            "/proc",
        );
    }
    let bytes = truths.iter().any(|truth| truth.unit == "bytes");
    let (limit, usage) = if bytes { ("/limit_bytes", "/usage_bytes") } else { ("/limit", "/usage") };
    let told = !matches!(cause.as_str(), "fd_limit" | "namespace_limit");
    let known = truths.first().filter(|_| told);
    if let Some(expected) = known.and_then(|truth| truth.limit) {
        stage.checks.equal(&of("limit"), number(first, limit), Some(expected), "the set-up");
    }
    if let Some(expected) = known.and_then(|truth| truth.usage) {
        let bound = match cause.as_str() {
            "threads_max" => THREADS_MOVE,
            // What the forker's next attempt was promised by then, before that was refused in turn: at most all of its own.
            "overcommit" => MAPPED + OTHERS_MOVE,
            "memcg_kmem" => stage.machine.charge_stock_bytes() + OTHERS_MOVE,
            _ => 0,
        };
        stage.checks.within(&of("usage"), number(first, usage), Some(expected), bound, "the set-up");
    }
    // In version 2 a task is in one cgroup.
    if stage.machine.unified()
        && let Some(cgroup) = truths.first().and_then(|truth| truth.cgroup.as_deref())
    {
        stage.checks.equal(&of("task.cgroup"), text(first, "/task/cgroup"), Some(cgroup), "the set-up");
    }
}

/// What the kernel says once for each cgroup (kernel/cgroup/pids.c), before its path.
const REFUSED: &str = "cgroup: fork rejected by pids controller in ";

/// Without any hook the log tells of the first fork that a cgroup refused: `said` has their paths.
fn logged(stage: &mut Stage<'_>, truths: &[Truth], traced: &Traced, said: &[String]) -> Result<()> {
    if CauseNeeds::Pids.unmet(stage.machine)?.is_some() {
        return Ok(());
    }
    let refused: BTreeSet<_> = truths
        .iter()
        .filter(|truth| truth.cause == Some("pids_max"))
        .filter_map(|truth| truth.cgroup.clone())
        .collect();
    for cgroup in refused {
        let lines: Vec<_> =
            failures(traced).filter(|line| text(line, "/task/cgroup") == Some(&cgroup)).collect();
        let expected = said.iter().filter(|path| **path == cgroup).count();
        stage.checks.that(expected > 0, || format!("the kernel log does not have {cgroup}"));
        stage.checks.equal(
            &format!("lines of {cgroup}"),
            Some(lines.len()),
            Some(expected),
            "the kernel log",
        );
        for line in lines {
            let said = (text(line, "/cause"), text(line, "/proof"), text(line, "/source"));
            stage.checks.equal(
                "cause by the log",
                Some(said),
                Some((Some("pids_max"), Some("log"), Some("kmsg"))),
                "the tier",
            );
        }
    }
    Ok(())
}
