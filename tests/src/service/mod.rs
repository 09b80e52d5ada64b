//! The agent as a service of a machine with systemd: its start, an OOM kill before it and one after it, a reload, a
//! panic for want of memory, and what the history knows after the reset.
//!
//! Runs twice on a machine that was made for it (`cargo xtask test` makes it): once before the panic and once after.

mod history;
mod unit;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::checks::Checks;
use crate::deadline::Deadline;
use crate::results::{Outcome, Results, Status};
use history::History;

/// The service that is judged.
#[derive(Debug, Args)]
pub struct Service {
    /// The folder for the results of both starts: `first.jsonl` and `second.jsonl`.
    #[arg(long)]
    folder: PathBuf,
    /// The oomtrace whose history is asked for.
    #[arg(long, default_value = "oomtrace")]
    oomtrace: PathBuf,
}

/// Tells the second start from the first, and keeps the units that run out of memory from doing so again.
const STARTED: &str = "/var/lib/oomtrace-tests";
/// How long each thing that is waited for may take.
const PATIENCE: Duration = Duration::from_secs(40);

impl Service {
    /// Judges the start that this is. Gives whether all was as it should be; the first start does not come back.
    pub fn run(&self) -> Result<bool> {
        ensure!(
            std::process::id() != 1 && Path::new("/run/systemd/system").is_dir(),
            "this machine has no systemd"
        );
        if Path::new(STARTED).exists() { self.second() } else { self.first() }
    }

    fn first(&self) -> Result<bool> {
        let mut results = Results::new(Some(&self.folder.join("first.jsonl")))?;
        // The machine is up: what is to run out of memory meanwhile has done so.
        let _degraded_is_fine = systemctl(&["is-system-running", "--wait"]);
        results.add(&outcome("service_starts", unit::is_up))?;
        results.add(&outcome("service_hardened", unit::is_hardened))?;
        results.add(&outcome("service_reloads", unit::reloads))?;
        results.add(&outcome("oom_at_start", |checks| {
            let history = self.history(History::has_both_kills)?;
            history.judge_kills(checks);
            history.judge_sight(checks);
            Ok(())
        }))?;
        // What is to survive the panic must be on the disk.
        fs::create_dir_all(STARTED).with_context(|| format!("cannot create {STARTED}"))?;
        run(Command::new("journalctl").arg("--sync"))?;
        rustix::fs::sync();
        systemctl(&["start", "--no-block", "oom-panic.service"])?;
        sleep(PATIENCE);
        bail!("the kernel did not panic")
    }

    fn second(&self) -> Result<bool> {
        let mut results = Results::new(Some(&self.folder.join("second.jsonl")))?;
        let _degraded_is_fine = systemctl(&["is-system-running", "--wait"]);
        results.add(&outcome("service_starts_again", unit::is_up))?;
        results.add(&outcome("panic_in_history", |checks| {
            let history = self.history(History::has_panic)?;
            history.judge_kills(checks);
            history.judge_panic(checks);
            checks.note("sources", history.sources());
            Ok(())
        }))?;
        results.add(&outcome("bugreport_has_history", |checks| self.judge_report(checks)))?;
        Ok(results.summary())
    }

    /// A report for a maintainer takes the last incidents along.
    fn judge_report(&self, checks: &mut Checks) -> Result<()> {
        let path = self.folder.join("bugreport.tar.gz");
        let mut bugreport = Command::new(&self.oomtrace);
        run(bugreport.args(["bugreport", "--output"]).arg(&path))?;
        let mut tar = Command::new("tar");
        let incidents = run(tar.args(["-xzOf"]).arg(&path).arg("oomtrace-bugreport/incidents.ndjson"))?;
        let reported = History::parse(&incidents)?;
        let mut history = Command::new(&self.oomtrace);
        let history = History::parse(&run(history.args(["history", "--json"]))?)?;
        checks.equal("the report's incidents", Some(reported.len()), Some(history.len()), "the history");
        Ok(())
    }

    /// The history, once it is `complete` or the time for that is over.
    fn history(&self, complete: impl Fn(&History) -> bool) -> Result<History> {
        let deadline = Deadline::after(PATIENCE);
        loop {
            let mut command = Command::new(&self.oomtrace);
            let history = History::parse(&run(command.args(["history", "--json"]))?)?;
            let complete = complete(&history);
            if complete {
                // What would be a second time may come a little later.
                sleep(Duration::from_secs(1));
                return History::parse(&run(&mut command)?);
            }
            if deadline.left("the history").is_err() {
                return Ok(history);
            }
            sleep(Duration::from_millis(250));
        }
    }
}

/// What comes of a judgement.
fn outcome(name: &'static str, judge: impl FnOnce(&mut Checks) -> Result<()>) -> Outcome {
    let (began, mut checks) = (Instant::now(), Checks::default());
    if let Err(error) = judge(&mut checks) {
        checks.fail(format!("{error:#}"));
    }
    checks.note("comparisons", checks.made());
    let (failures, details) = checks.into_parts();
    let status = if failures.is_empty() { Status::Passed } else { Status::Failed };
    let millis = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    Outcome { scenario: name, status, reason: failures.join("\n"), millis, details }
}

fn systemctl(arguments: &[&str]) -> Result<String> {
    run(Command::new("systemctl").args(arguments))
}

/// Runs a command to its end; what it wrote to its standard output.
fn run(command: &mut Command) -> Result<String> {
    let name = format!("{command:?}");
    let output =
        command.stdin(File::open("/dev/null")?).output().with_context(|| format!("cannot start {name}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name} ended with {}: {}", output.status, said.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
