//! Runs scenarios one after the other.

use std::collections::VecDeque;
use std::fs::File;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};
use rustix::time::{ClockId, clock_gettime};
use serde_json::Map;

use crate::aside::Aside;
use crate::checks::Checks;
use crate::deadline::Deadline;
use crate::fields::Fields;
use crate::floor::Floor;
use crate::machine::Machine;
use crate::results::{Outcome, Results, Status};
use crate::scenario::Scenario;
use crate::schema::Schema;
use crate::stage::{Stage, Tool};
use crate::tracer::Program;
use crate::witness::kmsg::KernelLog;
use crate::witness::tree::sweep;

/// The kernel prints at most ten OOM headers in five seconds (`oom_rs` in `oom_kill_process`, `mm/oom_kill.c`).
const HEADERS: usize = 10;
/// Those five seconds, and a little for its clock, which counts in jiffies.
const HEADER_WINDOW: Duration = Duration::from_millis(5200);

/// What was asked for.
#[derive(Debug)]
pub struct Plan {
    /// The scenarios to run.
    pub scenarios: Vec<&'static Scenario>,
    /// oomtrace; None to try out the scenarios and their witnesses alone.
    pub program: Option<Program>,
    /// Where to keep what was seen.
    pub keep: Option<PathBuf>,
    /// How long one scenario may take.
    pub limit: Duration,
    /// Whether another oomtrace follows the kernel's log beside each that kills.
    pub follow: bool,
}

impl Plan {
    /// Runs them all. Gives whether none failed.
    pub fn run(&self, machine: &Machine, results: &mut Results) -> Result<bool> {
        let _alone = alone(machine)?;
        let tool = if machine.lacking.is_empty() { self.tool() } else { Ok(None) };
        let mut pace = machine.lacking.is_empty().then(Pace::new).transpose()?;
        for &scenario in &self.scenarios {
            let outcome = match (refusal(scenario, machine), &tool) {
                (Some((status, reason)), _) => unrun(scenario, status, reason),
                (None, Err(error)) => unrun(scenario, Status::Failed, format!("{error:#}")),
                (None, Ok(tool)) => {
                    if let Some(pace) = &mut pace {
                        pace.wait(scenario.kills)?;
                    }
                    self.one(scenario, machine, tool.as_ref())
                }
            };
            results.add(&outcome)?;
        }
        Ok(results.summary())
    }

    /// Gets oomtrace ready, if there is one, and makes sure that it can trace here: otherwise each scenario would
    /// only find out the same.
    fn tool(&self) -> Result<Option<Tool>> {
        let Some(program) = self.program.clone() else { return Ok(None) };
        let deadline = Deadline::after(self.limit);
        let schema = Schema::of(&program, deadline)?;
        program.trace(&["--json"], deadline)?.stop(deadline)?;
        Ok(Some(Tool { program, schema, floor: Floor::checked_in()? }))
    }

    /// Runs one scenario.
    fn one(&self, scenario: &'static Scenario, machine: &Machine, tool: Option<&Tool>) -> Outcome {
        let began = Instant::now();
        let mut stage = Stage {
            name: scenario.name,
            machine,
            tool,
            deadline: Deadline::after(self.limit),
            checks: Checks::default(),
            fields: Fields::default(),
            log_fields: Fields::default(),
            skipped: None,
            untraced: None,
            keep: self.keep.clone(),
        };
        if let Err(error) = staged(scenario, self.follow, &mut stage) {
            stage.checks.fail(format!("{error:#}"));
        }
        stage.checks.note("comparisons", stage.checks.made());
        stage.checks.note("fields", stage.fields.into_json());
        stage.checks.note("log_fields", stage.log_fields.into_json());
        let (failures, details) = stage.checks.into_parts();
        let (status, reason) = match (failures.is_empty(), stage.skipped, tool) {
            (false, ..) => (Status::Failed, failures.join("\n")),
            (true, Some(reason), _) => (Status::Skipped, reason),
            (true, None, Some(_)) => (Status::Passed, String::new()),
            (true, None, None) => {
                (Status::Skipped, "the witnesses agree, and oomtrace was not run: give --oomtrace".to_owned())
            }
        };
        Outcome { scenario: scenario.name, status, reason, millis: millis(began), details }
    }
}

/// Runs a scenario, and compares what its oomtraces told with what the kernel logged from its beginning to its end.
fn staged(scenario: &Scenario, follow: bool, stage: &mut Stage<'_>) -> Result<()> {
    let aside = Aside::begin(stage, follow && scenario.kills > 0)?;
    (scenario.run)(stage)?;
    let began = Instant::now();
    aside.judge(stage)?;
    stage.checks.note("milliseconds of what stands aside", millis(began));
    Ok(())
}

/// Milliseconds since then.
fn millis(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Keeps within the kernel's rate for OOM headers: they are witnesses.
struct Pace {
    log: KernelLog,
    counted: usize,
    headers: VecDeque<Instant>,
}

impl Pace {
    /// Counts headers from here on, and those of the last seconds. How old these are is not quite certain, since
    /// printk's clock drifts, so they count as new.
    fn new() -> Result<Self> {
        let mut log = KernelLog::whole()?;
        let now = clock_gettime(ClockId::Monotonic).tv_sec;
        let recent = |micros: u64| i64::try_from(micros / 1_000_000).is_ok_and(|at| (at - now).abs() < 10);
        let headers = log.read()?.ooms().iter().filter(|oom| oom.invoked.is_some());
        let (counted, recent) =
            headers.fold((0, 0), |(all, new), oom| (all + 1, new + usize::from(recent(oom.micros))));
        Ok(Self { log, counted, headers: std::iter::repeat_n(Instant::now(), recent).collect() })
    }

    /// Waits until the kernel will print `wanted` more headers.
    fn wait(&mut self, wanted: usize) -> Result<()> {
        loop {
            let printed = self.log.read()?.ooms().iter().filter(|oom| oom.invoked.is_some()).count();
            let now = Instant::now();
            self.headers.extend((self.counted..printed).map(|_| now));
            self.counted = printed;
            while self.headers.front().is_some_and(|&at| now.duration_since(at) > HEADER_WINDOW) {
                self.headers.pop_front();
            }
            match self.headers.front() {
                Some(&oldest) if self.headers.len() + wanted > HEADERS => {
                    sleep((oldest + HEADER_WINDOW).saturating_duration_since(now) + Duration::from_millis(1));
                }
                _ => return Ok(()),
            }
        }
    }
}

/// Makes sure that no other run of the scenarios kills at the same time: the counters are the whole machine's.
/// The lock lasts as long as the file it gives. Then clears away what an interrupted run has left.
fn alone(machine: &Machine) -> Result<Option<File>> {
    let Some(hierarchy) = &machine.hierarchy else { return Ok(None) };
    let mount = hierarchy.mount();
    let folder = File::open(mount).with_context(|| format!("cannot open {}", mount.display()))?;
    if flock(&folder, FlockOperation::NonBlockingLockExclusive).is_err() {
        println!("another run of the scenarios is under way: waiting for its end");
        flock(&folder, FlockOperation::LockExclusive).context("cannot lock the memory hierarchy's folder")?;
    }
    sweep(hierarchy)?;
    Ok(Some(folder))
}

/// Why a scenario is not run here, if so.
fn refusal(scenario: &Scenario, machine: &Machine) -> Option<(Status, String)> {
    let applicable = scenario.needs.unmet(machine).map(|reason| (Status::NotApplicable, reason));
    let lacking = || (!machine.lacking.is_empty()).then(|| (Status::Skipped, machine.lacking.join("\n")));
    applicable.or_else(lacking)
}

/// The result of a scenario that was not run.
fn unrun(scenario: &Scenario, status: Status, reason: String) -> Outcome {
    Outcome { scenario: scenario.name, status, reason, millis: 0, details: Map::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::tests::machine;
    use crate::scenario::ALL;

    /// Guards the difference between a machine that a scenario is not for and one that only lacks something.
    #[test]
    fn refusals_say_which_kind_they_are() {
        let group = ALL.iter().find(|scenario| scenario.name == "group").unwrap();
        let (status, reason) = refusal(group, &machine()).unwrap();
        assert_eq!(status, Status::NotApplicable);
        assert!(!reason.is_empty());

        let sysrq = ALL.iter().find(|scenario| scenario.name == "sysrq").unwrap();
        let lacking = vec!["not root: run as root".to_owned()];
        let machine = Machine { disposable: true, lacking, ..machine() };
        assert_eq!(refusal(sysrq, &machine), Some((Status::Skipped, "not root: run as root".to_owned())));
    }
}
