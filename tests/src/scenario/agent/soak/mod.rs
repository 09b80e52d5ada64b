//! An agent with all that it has, for long.

mod books;
mod gauge;
mod load;

use std::iter::once;
use std::path::Path;
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::Value;

use self::gauge::{Calm, Reading, least, most, quarters};
use self::load::{Toll, Trouble, pass, provoke};
use super::super::{Needs, Scenario};
use super::web::{Inbox, page, sum};
use super::{Home, PROGRAM, lines, on_its_own};
use crate::fork::ground::Ground;
use crate::machine::Pace;
use crate::size::MIB;
use crate::stage::Stage;
use crate::witness::counters::machine_oom_kills;
use crate::witness::tree::Tree;

/// Minutes that it lasts; the command line sets them.
pub static MINUTES: OnceLock<u64> = OnceLock::new();
/// What it usually lasts.
pub const USUAL_MINUTES: u64 = 40;

/// Guards that an agent is never the problem: it takes little, not more as time goes on, and loses nothing. Not among all scenarios:
/// it has a command of its own.
pub const SCENARIO: Scenario = Scenario {
    name: "agent_soak",
    guards: "an agent with every output under mixed load for long: its memory, files and threads stay as they are, it hardly runs, \
             and every output has everything",
    needs: Needs::Memcg,
    kills: 10,
    once: true,
    run,
};

/// How much memory it may have, with all its outputs.
const MOST_RESIDENT: u64 = 16 * MIB;
/// By how much the most of the last quarter may be above the most of the second: SQLite's cache and the flight recorder are still
/// filling where a quarter is shorter than ten minutes.
const GROWTH: u64 = MIB / 2;
/// What it may take of one processor while nothing happens, parts per million: 0.1 %.
const MOST_CPU: u64 = 1_000;
/// The same where instructions are emulated, which takes some tens of them for each.
const MOST_CPU_EMULATED: u64 = 30_000;
/// How long something is told, written and sent after it happened; the time after that is calm.
const SETTLED: Duration = Duration::from_secs(15);
/// From one trouble to the next, where there is time.
const ROUND: Duration = Duration::from_mins(1);
/// And where there is not.
const SHORT_ROUND: Duration = Duration::from_secs(30);
/// How often processes and cgroups come and go, metrics are read, and the agent is looked at.
const PASSING: Duration = Duration::from_millis(500);
const SCRAPE: u32 = 10;
const LOOK: u32 = 20;
/// How long what was sent last may take.
const DELIVERY: Duration = Duration::from_secs(30);

const SETTINGS: &str = "[stdout]\nform = \"json\"\n\
    [history]\npath = \"HOME/history.db\"\nrecover = false\n\
    [metrics]\nlisten = \"127.0.0.1:0\"\n\
    [file]\npath = \"HOME/incidents.ndjson\"\nmax_size = \"16K\"\nkeep = 1000\n\
    [flight]\ninterval = \"10s\"\n";

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let Some(tool) = stage.tool else { return Ok(()) };
    on_its_own(stage);
    let minutes = MINUTES.get().copied().unwrap_or(USUAL_MINUTES);
    let inbox = Inbox::start(0)?;
    let webhook = format!("[webhook]\nurl = \"http://{}/oom\"\n", inbox.address);
    let home = Home::new(stage.name, &format!("{SETTINGS}{PROGRAM}{webhook}"))?;
    let memory = stage.tree()?;
    let tasks = Ground { machine: stage.machine, deadline: stage.deadline }.tasks()?;
    let mut agent = home.agent(&tool.program, stage.deadline)?;
    let before = machine_oom_kills()?;
    let mut soak = Soak {
        pid: agent.pid(),
        url: agent.url()?,
        tree: &memory,
        readings: Vec::new(),
        calm: Calm::default(),
        scrapes: 0,
    };
    let round = if minutes < 10 { SHORT_ROUND } else { ROUND };
    let rounds = (60 * minutes).div_euclid(round.as_secs());
    let mut harm = Toll::default();
    for number in 0..rounds {
        let next = Instant::now() + round;
        let trouble = Trouble::at(number, rounds, stage.machine.disposable);
        provoke(stage, trouble, [&memory, &tasks], number, &mut harm)
            .with_context(|| format!("trouble {number}, {trouble:?}"))?;
        soak.live(Instant::now() + SETTLED)?;
        let from = Reading::of(soak.pid)?;
        soak.live(next)?;
        soak.calm.add(&from, &Reading::of(soak.pid)?);
        soak.progress(number, trouble);
    }
    soak.live(Instant::now() + SETTLED)?;
    let metrics = page(&soak.url)?;
    stage.keep_text("metrics.txt", &metrics)?;
    let counted = machine_oom_kills()? - before;
    let (pid, told) = (agent.pid(), agent.reported(&harm.killed, stage.deadline.or_after(DELIVERY)));
    stage.checks.that(told, || "not all kills are told".to_owned());
    stage.checks.equal("the agent's process", Some(pid), Some(soak.pid), "its start");
    stage.checks.note("minutes", minutes);
    judge_cost(stage, &soak);
    judge_metrics(stage, &metrics, &harm, counted);

    let output = agent.stop(stage.deadline)?;
    stage.keep_output("agent", &output)?;
    stage.checks.that(output.status.success(), || format!("the agent ended with {}", output.status));
    let mut sent = Vec::new();
    while let Ok(object) = inbox.next(Duration::from_secs(1)) {
        sent.push(object);
    }
    let (file, files) = rotated(&home.file("incidents.ndjson"));
    stage.checks.note("files", files);
    stage.checks.that(files > 1 || minutes < 3, || "the file was never rotated".to_owned());
    for (name, objects) in [
        ("standard output", super::objects(&output)),
        ("history", home.history(&tool.program, &[], stage.deadline)),
        ("file", file),
        ("program", home.given()),
        ("webhook", Ok(sent)),
    ] {
        match objects {
            Ok(objects) => books::compare(&mut stage.checks, name, &objects, &harm, &tasks.base().path),
            Err(error) => stage.checks.fail(format!("{name}: {error:#}; the agent said: {}", output.said())),
        }
    }
    Ok(())
}

/// An agent that is looked at.
struct Soak<'t> {
    pid: u32,
    url: String,
    tree: &'t Tree,
    readings: Vec<Reading>,
    calm: Calm,
    scrapes: u64,
}

impl Soak<'_> {
    /// Has processes and cgroups come and go until then, reads metrics and looks at the agent.
    fn live(&mut self, until: Instant) -> Result<()> {
        for number in 0_u32.. {
            if Instant::now() >= until {
                break;
            }
            pass(self.tree)?;
            if number % SCRAPE == 0 {
                page(&self.url).context("its metrics")?;
                self.scrapes += 1;
            }
            if number % LOOK == LOOK - 1 {
                self.readings.push(Reading::of(self.pid)?);
            }
            sleep(PASSING.min(until.saturating_duration_since(Instant::now())));
        }
        Ok(())
    }

    /// Says how it goes: nobody waits for an hour without a word.
    fn progress(&self, number: u64, trouble: Trouble) {
        let Some(last) = self.readings.last() else { return };
        eprintln!(
            "agent_soak: {number} {trouble:?}: {} KiB, {} files, {} threads, {} ppm of a processor so far, the recorder {} ppm",
            last.resident / 1024,
            last.descriptors,
            last.threads,
            self.calm.cpu().unwrap_or_default(),
            self.calm.flight().unwrap_or_default(),
        );
    }
}

fn judge_cost(stage: &mut Stage<'_>, soak: &Soak<'_>) {
    let emulated = stage.machine.pace() == Pace::Emulated;
    let checks = &mut stage.checks;
    let all = |of: fn(&Reading) -> u64| soak.readings.iter().map(of).collect::<Vec<_>>();
    let resident = most(&all(|reading| reading.resident));
    checks.note("most resident memory, bytes", resident);
    checks.that(resident.is_some_and(|resident| resident <= MOST_RESIDENT), || {
        format!("its resident memory is {resident:?} bytes, and may be {MOST_RESIDENT}")
    });
    for (what, values, of, growth) in [
        (
            "most resident memory, bytes",
            all(|reading| reading.resident),
            most as fn(&[u64]) -> Option<u64>,
            GROWTH,
        ),
        ("fewest open files", all(|reading| reading.descriptors), least, 0),
        ("fewest threads", all(|reading| reading.threads), least, 0),
    ] {
        let Some([second, last]) = quarters(&values, of) else {
            checks.fail(format!("{what}: only {} readings", values.len()));
            continue;
        };
        checks.note(&format!("{what}, in the second quarter"), second);
        checks.note(&format!("{what}, in the last quarter"), last);
        checks.that(last <= second + growth, || {
            format!("{what}: {second} in the second quarter, {last} in the last: {values:?}")
        });
    }
    let cpu = soak.calm.cpu();
    checks.note("readings", soak.readings.len());
    checks.note("scrapes", soak.scrapes);
    checks.note("calm seconds", soak.calm.time.as_secs());
    checks.note("processor while calm, ppm", cpu);
    checks.note("processor while calm, ppm, the worst stretch", soak.calm.worst);
    checks.note("flight recorder while calm, ppm", soak.calm.flight());
    let bound = if emulated { MOST_CPU_EMULATED } else { MOST_CPU };
    checks.that(cpu.is_some_and(|cpu| cpu <= bound), || {
        format!("it takes {cpu:?} ppm of a processor while nothing happens, and may take {bound}")
    });
}

fn judge_metrics(stage: &mut Stage<'_>, metrics: &str, harm: &Toll, counted: u64) {
    let disposable = stage.machine.disposable;
    let checks = &mut stage.checks;
    let kills = sum(metrics, "oomtrace_kills_total", &[]);
    if disposable {
        checks.equal("kills in the metrics", kills, Some(counted), "vmstat");
        checks.equal("kills that were provoked", Some(harm.killed.len() as u64), Some(counted), "vmstat");
    } else {
        // Others may have theirs here.
        let ours = harm.killed.len() as u64;
        checks.that(kills.is_some_and(|kills| (ours..=counted).contains(&kills)), || {
            format!("the metrics have {kills:?} kills: {ours} are ours, and vmstat counts {counted}")
        });
    }
    let in_cgroups = harm.killed.len() as u64 - u64::from(disposable && counted > harm.counted);
    checks.equal("kills in cgroups", Some(harm.counted), Some(in_cgroups), "the scenario");
    let is = |checks: &mut crate::checks::Checks, name: &str, labels: &[&str], value: u64| {
        checks.equal(&format!("{name}{labels:?}"), sum(metrics, name, labels), Some(value), "the scenario");
    };
    is(checks, "oomtrace_fork_failures_total", &["cause=\"pids_max\""], harm.refused);
    is(checks, "oomtrace_userspace_kills_total", &["systemd-oomd"], harm.by_daemon.len() as u64);
    is(checks, "oomtrace_output_lost_messages_total", &[], 0);
    is(checks, "oomtrace_lost_records_total", &[], 0);
}

/// What is in a file and in those that were put aside for it, and how many files that are.
fn rotated(file: &Path) -> (Result<Vec<Value>>, u64) {
    let older = (1..).map(|number: u32| file.with_added_extension(number.to_string()));
    let all: Vec<_> = once(file.to_owned()).chain(older.take_while(|older| older.exists())).collect();
    let objects = all.iter().map(|file| lines(file)).collect::<Result<Vec<_>>>();
    (objects.map(|objects| objects.concat()), all.len() as u64)
}
