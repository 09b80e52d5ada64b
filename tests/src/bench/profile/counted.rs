//! Runs a command in a cgroup and writes down what all tasks executed meanwhile. It is a program of its own, so that starting and
//! ending oomtrace is no part of it.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

/// See the module.
#[derive(Debug, Args)]
pub struct Counted {
    /// Where to write it.
    #[arg(long)]
    to: PathBuf,
    /// The cgroup.procs file of the cgroup to join.
    #[arg(long)]
    cgroup_procs: PathBuf,
    /// The command.
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

impl Counted {
    /// Runs it.
    pub fn run(&self) -> Result<()> {
        fs::write(&self.cgroup_procs, "0").context("cannot join the cgroup")?;
        let [program, arguments @ ..] = self.command.as_slice() else { bail!("there is no command") };
        let before = executed()?;
        let output = Command::new(program).args(arguments).output().context("cannot start the command")?;
        let after = executed()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success(), "the command ended with {}: {said}", output.status);
        // Kernels without it are those of machines where time is measured, and not instructions.
        let (Some(before), Some(after)) = (before, after) else { return Ok(()) };
        let count = after.saturating_sub(before).to_string();
        fs::write(&self.to, count).context("cannot write what was counted")
    }
}

/// Time that tasks have run on all processors, ns; which is instructions where these are counted. Idle time is none of it
/// (`rq_cpu_time`, the 7th figure of a processor; Documentation/scheduler/sched-stats.rst). `None`: the kernel is built without
/// CONFIG_SCHEDSTATS.
fn executed() -> Result<Option<u64>> {
    const FILE: &str = "/proc/schedstat";
    match fs::read_to_string(FILE) {
        Ok(text) => sum(&text).with_context(|| format!("{FILE} has no processors")).map(Some),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {FILE}")),
    }
}

fn sum(schedstat: &str) -> Option<u64> {
    let of = |line: &str| {
        let mut words = line.strip_prefix("cpu")?.split(' ');
        words.nth(7)?.parse::<u64>().ok()
    };
    schedstat.lines().filter_map(of).reduce(|sum, each| sum + each)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the figure that is read.
    #[test]
    fn the_seventh_figure_of_each_processor() {
        let text = "version 15\ntimestamp 4294902\ncpu0 0 0 0 0 0 0 700 31 9\ndomain0 3 1 2 3\ncpu1 0 0 0 0 0 0 42 1 2\n";
        assert_eq!(sum(text), Some(742));
        assert_eq!(sum("version 15\n"), None);
    }
}
