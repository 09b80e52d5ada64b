//! Metrics and rules by Prometheus' own tool, `promtool`: that it finds nothing to object to, and that the rules fire and do not
//! fire as their tests say.

use std::fs::File;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::table::{Cell, Status};
use crate::vm::package;
use crate::{process, progress, workspace};

const NAME: &str = "promtool";
/// What a unit test holds the metrics to, to the letter.
const METRICS: &str = "tests/golden/metrics/prometheus.txt";
const RULES: &str = "oomtrace/deploy/prometheus";

/// One cell for all of it.
pub fn check() -> Cell {
    match tool() {
        Ok(promtool) => Cell::of(NAME, "host", progress::step("promtool", || all(&promtool))),
        Err(error) => Cell {
            row: NAME.to_owned(),
            column: "host".to_owned(),
            status: Status::Skipped,
            reason: format!("{error:#}"),
        },
    }
}

/// The system's own, or that of the cache.
fn tool() -> Result<std::path::PathBuf> {
    process::find(NAME).map_or_else(|| Ok(package::prometheus()?.join(NAME)), Ok)
}

fn all(promtool: &Path) -> Result<()> {
    let metrics = workspace::root().join(METRICS);
    let metrics = File::open(&metrics).with_context(|| format!("cannot open {}", metrics.display()))?;
    silent(Command::new(promtool).args(["check", "metrics"]).stdin(metrics))?;
    let rules = workspace::root().join(RULES);
    // It reads the rules from beside their tests.
    let run =
        |args: &[&str]| process::output(Command::new(promtool).args(args).current_dir(&rules)).map(drop);
    run(&["check", "rules", "oomtrace.rules.yml"])?;
    run(&["test", "rules", "oomtrace.rules.test.yml"])
}

/// Runs what has nothing to say unless something is wrong: some of what promtool objects to leaves its exit status at 0.
fn silent(command: &mut Command) -> Result<()> {
    let output = command.output().context("promtool cannot be started")?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    ensure!(output.status.success() && said.trim().is_empty(), "{}: {said}", output.status);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards against objections that leave the exit status at 0: whatever is said is a failure.
    #[test]
    fn whatever_promtool_says_is_a_failure() {
        let shell = |script: &str| silent(Command::new("sh").args(["-c", script]));
        assert!(shell("true").is_ok());
        assert!(shell("false").is_err());
        let error = shell("echo 'no help text' >&2").unwrap_err().to_string();
        assert!(error.contains("no help text"), "{error}");
    }
}
