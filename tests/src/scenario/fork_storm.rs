//! Forks that fail as fast as they can, on every processor of a small machine.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::Value;

use super::{Needs, Scenario};
use crate::bench::usage::activity;
use crate::fork::call::Call;
use crate::fork::forker::Forker;
use crate::fork::ground::Ground;
use crate::fork::order::Order;
use crate::incident::kind;
use crate::stage::Stage;
use crate::storm::loss::Losses;
use crate::watch::read;

/// Guards the counts: exact to the last one, however fast they come, by some lines a second, at a price that does not grow
/// with them.
pub const SCENARIO: Scenario = Scenario {
    name: "fork_storm",
    guards: "forks fail on every processor, for ten seconds by one cause: all are counted, in a line a second, and oomtrace itself hardly runs",
    needs: Needs::Memcg,
    kills: 0,
    once: true,
    run,
};

/// How many fork at once.
const FORKERS: usize = 2;
/// What oomtrace may take of one processor, in percent.
const SHARE: f64 = 10.0;

/// One kind of storm.
struct Storm {
    cause: &'static str,
    errno: i32,
    /// The forkers' name.
    name: &'static str,
    /// How long it lasts: the one in which most fail, for longer.
    millis: u64,
}

const STORMS: [Storm; 3] = [
    Storm { cause: "rlimit_nproc", errno: libc::EAGAIN, name: "storm-nproc", millis: 10_000 },
    Storm { cause: "pids_max", errno: libc::EAGAIN, name: "storm-pids", millis: 3000 },
    Storm { cause: "pidns_dead", errno: libc::ENOMEM, name: "storm-orphan", millis: 3000 },
];

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let ground = Ground { machine: stage.machine, deadline: stage.deadline };
    let Some(oomtrace) = stage.tracer(&["--json", "--kind", "fork", "--fork-syscalls"])? else {
        return Ok(());
    };
    ground.fail_first()?;
    let mut failed = Vec::new();
    for storm in &STORMS {
        let tasks = ground.tasks()?;
        let group = tasks.group("storm")?;
        let user = ground.user();
        let mut forkers = Vec::new();
        for _ in 0..FORKERS {
            let mut forker = ground.forker(storm.name)?;
            prepare(storm, &mut forker, user, &group)?;
            forkers.push(forker);
        }
        let before = (activity(oomtrace.pid())?, Instant::now());
        let order = Order::Storm { call: Call::Fork, millis: storm.millis };
        for forker in &mut forkers {
            forker.send(&order)?;
        }
        let mut failures = 0;
        for forker in &mut forkers {
            let tally = forker.answer(&order)?;
            ensure!(tally.successes == 0, "a child could be made in the storm {}: {tally:?}", storm.cause);
            failures += tally.failed(storm.errno);
        }
        let (after, elapsed) = (activity(oomtrace.pid())?, before.1.elapsed());
        let took = Duration::from_nanos(after.cpu_ns - before.0.cpu_ns);
        let share = 100.0 * took.as_secs_f64() / elapsed.as_secs_f64();
        stage.checks.that(share < SHARE, || {
            format!(
                "oomtrace took {share:.1} % of a processor in the storm {}, {SHARE} % are allowed",
                storm.cause
            )
        });
        stage.checks.note(&format!("failures by {}", storm.cause), failures);
        stage.checks.note(&format!("oomtrace's share of a processor in {}, in percent", storm.cause), share);
        failed.push(failures);
    }
    std::thread::sleep(super::forks::SETTLED);
    let output = oomtrace.stop(stage.deadline)?;
    stage.keep_output("oomtrace", &output)?;
    let traced = read(output)?;
    let losses = Losses::of(&traced.objects);
    // Where a program is preempted by a fork on the same processor, that one goes by unseen, and is told as such.
    let unseen = losses.count("programs", "fork");
    stage.checks.equal(
        "records that found no room",
        Some(losses.count("ring", "fork_failure")),
        Some(0),
        "the ring",
    );
    stage.checks.note("forks that went by unseen", unseen);
    for (storm, failures) in STORMS.iter().zip(failed) {
        let lines: Vec<&Value> = traced
            .objects
            .iter()
            .filter(|object| kind(object) == "fork_failure")
            .filter(|line| line.pointer("/task/comm").and_then(Value::as_str) == Some(storm.name))
            .collect();
        let causes: Vec<_> = lines.iter().filter_map(|line| line["cause"].as_str()).collect();
        stage.checks.that(causes.iter().all(|cause| *cause == storm.cause), || {
            format!("causes of {} are {causes:?}", storm.cause)
        });
        let told: u64 = lines.iter().filter_map(|line| line["count"].as_u64()).sum();
        stage.checks.that(told <= failures && failures - told <= unseen, || {
            format!(
                "{told} failures by {} are told and {unseen} forks went by unseen, of {failures}",
                storm.cause
            )
        });
        // The first at once, then one a second for each of the two, and what was left.
        let most = 2 * FORKERS + (FORKERS + 1) * 12;
        stage
            .checks
            .that(lines.len() <= most, || format!("{} lines tell of the storm {}", lines.len(), storm.cause));
    }
    Ok(())
}

/// Leaves a forker without a fork that could succeed.
fn prepare(
    storm: &Storm,
    forker: &mut Forker,
    user: u32,
    group: &crate::witness::cgroup::Cgroup,
) -> Result<()> {
    match storm.cause {
        "rlimit_nproc" => {
            forker.tell(&Order::Become(user))?;
            forker.tell(&Order::Limit { resource: libc::RLIMIT_NPROC, soft: 1, hard: 1 })?;
        }
        "pids_max" => {
            forker.join(group)?;
            group.set_task_limit(Some(1))?;
        }
        _ => {
            forker.tell(&Order::Unshare(libc::CLONE_NEWPID.cast_unsigned().into()))?;
            // The first process of the new namespace, which ends at once.
            forker.succeed(Call::Fork)?;
        }
    }
    Ok(())
}
