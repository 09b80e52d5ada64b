//! Forks that fail as fast as they can, on every processor of a small machine.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::Value;

use super::{Needs, Scenario};
use crate::bench::usage::activity;
use crate::fork::call::Call;
use crate::fork::cause::{DESCRIPTOR, TABLE_LIMIT, threads_of_machine};
use crate::fork::forker::Forker;
use crate::fork::ground::Ground;
use crate::fork::order::Order;
use crate::fork::setting::Setting;
use crate::incident::kind;
use crate::stage::Stage;
use crate::storm::loss::Losses;
use crate::watch::read;
use crate::witness::cgroup::Cgroup;

/// Guards the counts: exact to the last one, however fast they come, by some lines a second, at a price that does not grow
/// with them.
pub const SCENARIO: Scenario = Scenario {
    name: "fork_storm",
    guards: "forks fail on every processor, for seconds by each cause that can be: all are counted, in a line a second, and oomtrace itself hardly runs",
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
    call: Call,
    /// Whether all of the machine is concerned.
    disposable: bool,
}

const STORMS: [Storm; 7] = [
    // The one in which most fail.
    storm("rlimit_nproc", libc::EAGAIN, "storm-nproc"),
    storm("pids_max", libc::EAGAIN, "storm-pids"),
    storm("pidns_dead", libc::ENOMEM, "storm-orphan"),
    Storm { call: Call::Clone { flags: UTS }, ..storm("namespace_limit", libc::ENOSPC, "storm-names") },
    Storm { disposable: true, ..storm("fd_limit", libc::EMFILE, "storm-files") },
    Storm { disposable: true, ..storm("threads_max", libc::EAGAIN, "storm-threads") },
    Storm { disposable: true, ..storm("pid_max", libc::EAGAIN, "storm-ids") },
];

const fn storm(cause: &'static str, errno: i32, name: &'static str) -> Storm {
    Storm { cause, errno, name, call: Call::Fork, disposable: false }
}

const UTS: u64 = libc::CLONE_NEWUTS as u64;
/// The least `kernel.pid_max` of a small machine, and some more than so many ids.
const IDS: u64 = 301;
/// How many threads more than may be there are.
const TOO_MANY: u64 = 5;

/// How long the first storm lasts, in seconds.
const FIRST: u64 = 10;
/// The same of the others.
pub const SECONDS: u64 = 2;
/// What the command line asks for in place of that.
pub static CHOICE: OnceLock<u64> = OnceLock::new();

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let ground = Ground { machine: stage.machine, deadline: stage.deadline };
    let Some(oomtrace) = stage.tracer(&["--json", "--kind", "fork", "--fork-syscalls"])? else {
        return Ok(());
    };
    ground.fail_first()?;
    let mut failed = Vec::new();
    let storms: Vec<_> =
        STORMS.iter().filter(|storm| stage.machine.disposable || !storm.disposable).collect();
    for (nth, storm) in storms.iter().enumerate() {
        let tasks = ground.tasks()?;
        let group = tasks.group("storm")?;
        let forkers: Result<Vec<_>> = (0..FORKERS).map(|_| ground.forker(storm.name)).collect();
        let mut forkers = forkers?;
        // Dropped, and set back, once the storm is over.
        let (_setting, mut failures) = prepare(storm, &mut forkers, ground.user(), &group)?;
        let seconds = if nth == 0 { FIRST } else { CHOICE.get().copied().unwrap_or(SECONDS) };
        let before = (activity(oomtrace.pid())?, Instant::now());
        let order = Order::Storm { call: storm.call, millis: seconds.saturating_mul(1000) };
        for forker in &mut forkers {
            forker.send(&order)?;
        }
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
    for (storm, failures) in storms.into_iter().zip(failed) {
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

/// Leaves forkers without a fork that could succeed. Gives what has to be set back, and how many failed on the way.
fn prepare(
    storm: &Storm,
    forkers: &mut [Forker],
    user: u32,
    group: &Cgroup,
) -> Result<(Option<Setting>, u64)> {
    for forker in forkers.iter_mut() {
        match storm.cause {
            "rlimit_nproc" => {
                forker.tell(&Order::Become(user))?;
                forker.tell(&Order::Limit { resource: libc::RLIMIT_NPROC, soft: 1, hard: 1 })?;
            }
            "pids_max" => {
                forker.join(group)?;
                group.set_task_limit(Some(1))?;
            }
            "pidns_dead" => {
                forker.tell(&Order::Unshare(libc::CLONE_NEWPID.cast_unsigned().into()))?;
                // The first process of the new namespace, which ends at once.
                forker.succeed(Call::Fork)?;
            }
            "namespace_limit" => {
                forker.tell(&Order::Become(user))?;
                forker.enter_user_namespace(user)?;
                let file = "/proc/sys/user/max_uts_namespaces".into();
                forker.tell(&Order::Write { file, text: "0".to_owned() })?;
            }
            "fd_limit" => {
                forker.tell(&Order::Open { file: "/dev/null".into(), descriptor: DESCRIPTOR })?;
            }
            _ => {}
        }
    }
    let set = |name, value| {
        let setting = Setting::keep(name)?;
        setting.set(value)?;
        anyhow::Ok(Some(setting))
    };
    let setting = match storm.cause {
        "fd_limit" => set("fs/nr_open", TABLE_LIMIT)?,
        "threads_max" => set("kernel/threads-max", threads_of_machine()?.saturating_sub(TOO_MANY))?,
        "pid_max" => set("kernel/pid_max", IDS)?,
        _ => None,
    };
    let mut failures = 0;
    if let ("pid_max", Some(first)) = (storm.cause, forkers.first_mut()) {
        // It makes children until there is no id left.
        let share = Call::Clone { flags: libc::CLONE_VM as u64 };
        failures = first.tell(&Order::Hold { call: share, count: IDS })?.failed(storm.errno);
    }
    Ok((setting, failures))
}
