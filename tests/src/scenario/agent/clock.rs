//! A wall clock that is set while the agent runs, and while it does not.

use std::thread::sleep;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use rustix::time::{ClockId, Timespec, clock_gettime, clock_settime};
use serde_json::Value;

use super::super::{Needs, Scenario};
use super::web::{page, sum};
use super::{Home, kills_of, lines, on_its_own};
use crate::eat::{Eat, word};
use crate::incident::kind;
use crate::size::MIB;
use crate::stage::{Stage, Tool};
use crate::witness::cgroup::Cgroup;

/// Guards whatever is in order, told apart or thrown away by time: a clock that jumps neither loses nor doubles a kill, and is
/// in no duration.
pub const SCENARIO: Scenario = Scenario {
    name: "agent_clock",
    guards: "the wall clock jumps an hour ahead and back: the agent's history has each kill once, also of those when it did not run, \
             and no duration is wrong",
    needs: Needs::Disposable,
    kills: 6,
    once: true,
    run,
};

const HOUR: i64 = 3600;
/// What two times of one jump differ by beside it, at the most.
const BESIDE: Duration = Duration::from_mins(1);
const RECOVERY: Duration = Duration::from_mins(1);

/// By the age alone an hour would be too much.
const SETTINGS: &str = "[stdout]\nform = \"json\"\n\
    [history]\npath = \"HOME/history.db\"\nmax_age = \"30m\"\n\
    [metrics]\nlisten = \"127.0.0.1:0\"\n\
    [flight]\nenabled = false\n\
    [file]\npath = \"HOME/incidents.ndjson\"\n";

/// The wall clock. Dropping it sets it right.
#[derive(Default)]
struct Clock {
    /// By how much it is ahead, seconds.
    ahead: i64,
}

impl Clock {
    /// Has it be ahead by so much.
    fn set(&mut self, ahead: i64) -> Result<()> {
        let now = clock_gettime(ClockId::Realtime);
        let then = Timespec { tv_sec: now.tv_sec + ahead - self.ahead, ..now };
        clock_settime(ClockId::Realtime, then).context("cannot set the clock")?;
        self.ahead = ahead;
        Ok(())
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        if let Err(error) = self.set(0) {
            eprintln!("{error:#}");
        }
    }
}

/// A kill, and by how much the clock was ahead, seconds.
struct Kill {
    pid: u64,
    ahead: i64,
}

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let Some(tool) = stage.tool else { return Ok(()) };
    on_its_own(stage);
    let home = Home::new(stage.name, SETTINGS)?;
    let tree = stage.tree()?;
    let group = tree.group("out-of-time")?;
    group.set_limit(16 * MIB)?;
    let mut clock = Clock::default();

    let mut agent = home.agent(&tool.program, stage.deadline)?;
    let mut killed = Vec::new();
    for ahead in [0, HOUR, HOUR, 0] {
        clock.set(ahead)?;
        let kill = kill(stage, &group, killed.len(), ahead)?;
        // The time is that of the clock as the agent reads the record.
        let told = agent.reported(&[kill.pid], stage.deadline);
        stage.checks.that(told, || format!("the agent does not tell the kill of {}", kill.pid));
        killed.push(kill);
    }
    let metrics = relieved(&agent.url()?, killed.len() as u64)?;
    stage.keep_text("metrics.txt", &metrics)?;
    let output = agent.stop(stage.deadline)?;
    stage.keep_output("agent", &output)?;
    for (name, objects) in
        [("standard output", super::objects(&output)?), ("file", lines(&home.file("incidents.ndjson"))?)]
    {
        each_once(stage, name, &objects, &killed);
        in_order(stage, name, &objects, &killed);
    }
    durations(stage, &metrics, killed.len() as u64);
    each_once(stage, "history", &history(&home, tool, stage)?, &killed);

    // What the log has is known, however its stamps are to be read by the clock as it is now; what is new is told.
    for (ahead, new) in [(HOUR, true), (-HOUR, true), (0, false)] {
        clock.set(ahead)?;
        if new {
            killed.push(kill(stage, &group, killed.len(), ahead)?);
        }
        let mut agent = home.agent(&tool.program, stage.deadline)?;
        agent.must_hear("recovered", stage.deadline.or_after(RECOVERY))?;
        let output = agent.stop(stage.deadline)?;
        stage.keep_output(&format!("agent-{}", killed.len()), &output)?;
        let said = output.said();
        let words = format!("recovered {} incidents", u8::from(new));
        stage.checks.that(said.contains(&words), || {
            format!("with the clock {ahead} s ahead the agent does not say {words:?}, but: {said}")
        });
        each_once(stage, "history", &history(&home, tool, stage)?, &killed);
    }
    Ok(())
}

/// Provokes a kill.
fn kill(stage: &Stage<'_>, group: &Cgroup, number: usize, ahead: i64) -> Result<Kill> {
    let eat = Eat { anon: 32 * MIB, ..Eat::default() };
    let mut eater = stage.eater(format!("clock-{number}"), &eat, Some(group))?;
    eater.order(word::FILL)?;
    eater.killed(stage.deadline)?;
    Ok(Kill { pid: eater.pid(), ahead })
}

/// The metrics, once they know what became of so many victims.
fn relieved(url: &str, victims: u64) -> Result<String> {
    let mut metrics = page(url)?;
    for _ in 0..100 {
        if sum(&metrics, "oomtrace_relief_seconds_count", &[]) >= Some(victims) {
            break;
        }
        sleep(Duration::from_millis(20));
        metrics = page(url)?;
    }
    Ok(metrics)
}

fn history(home: &Home, tool: &Tool, stage: &Stage<'_>) -> Result<Vec<Value>> {
    home.history(&tool.program, &["--kind", "oom"], stage.deadline)
}

fn each_once(stage: &mut Stage<'_>, name: &str, objects: &[Value], killed: &[Kill]) {
    for kill in killed {
        let times = kills_of(objects, kill.pid).len();
        stage.checks.equal(&format!("kills of {} in {name}", kill.pid), Some(times), Some(1), "the kernel");
    }
    // Those of before, which the kernel's log may have, are others'.
    let ours = |object: &&Value| {
        let name = object.pointer("/victims/0/comm").and_then(Value::as_str);
        kind(object) == "oom" && name.is_some_and(|name| name.starts_with("clock-"))
    };
    let incidents = objects.iter().filter(ours).count();
    stage.checks.equal(&format!("incidents in {name}"), Some(incidents), Some(killed.len()), "the kernel");
}

/// By the time since the machine started they follow each other, and the wall clock's time is what it was then.
fn in_order(stage: &mut Stage<'_>, name: &str, objects: &[Value], killed: &[Kill]) {
    let stamps = killed.iter().map(|kill| stamps(kills_of(objects, kill.pid).first()?));
    let Some(stamps) = stamps.collect::<Option<Vec<_>>>() else {
        stage.checks.fail(format!("{name} has a kill without its times"));
        return;
    };
    let boot_ns: Vec<_> = stamps.iter().map(|(boot_ns, _)| *boot_ns).collect();
    stage.checks.that(boot_ns.is_sorted_by(|one, next| one < next), || {
        format!("{name}: the times since boot do not rise: {boot_ns:?}")
    });
    let Some((first_boot_ns, first_time)) = stamps.first().copied() else { return };
    for ((boot_ns, time), kill) in stamps.iter().zip(killed) {
        let passed = Duration::from_nanos(boot_ns.saturating_sub(first_boot_ns));
        let right = first_time + passed + Duration::from_secs(kill.ahead.unsigned_abs());
        let wrong = time.duration_since(right).unwrap_or_else(|before| before.duration());
        stage.checks.that(wrong < BESIDE, || {
            format!("{name}: the time of the kill of {} is {wrong:?} beside the clock's", kill.pid)
        });
    }
}

/// When it was, since boot and by the wall clock.
fn stamps(incident: &Value) -> Option<(u64, SystemTime)> {
    let time = humantime::parse_rfc3339(incident.get("time")?.as_str()?).ok()?;
    Some((incident.get("boot_ns")?.as_u64()?, time))
}

/// No duration has the hour in it: everything took less than some seconds.
fn durations(stage: &mut Stage<'_>, metrics: &str, kills: u64) {
    let reliefs = sum(metrics, "oomtrace_relief_seconds_count", &[]);
    stage.checks.equal("reliefs in the metrics", reliefs, Some(kills), "the kernel");
    for name in ["oomtrace_relief_seconds", "oomtrace_stall_seconds"] {
        let (soon, all) = (format!("{name}_bucket"), format!("{name}_count"));
        let (soon, all) = (sum(metrics, &soon, &["le=\"10.0\""]), sum(metrics, &all, &[]));
        stage.checks.that(soon.is_some() && soon == all, || {
            format!("of {all:?} observations of {name} only {soon:?} are below 10 s")
        });
    }
    for name in ["oomtrace_relief_overdue_total", "oomtrace_lost_records_total"] {
        stage.checks.equal(name, sum(metrics, name, &[]), Some(0), "the scenario");
    }
}
