//! What came of a guest.

use std::time::Duration;

use anyhow::{Result, bail};

use super::boot::Booted;
use super::console;
use crate::process;

/// How a guest ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The command ended with this status.
    Exited(i32),
    /// The kernel panicked, and was meant to.
    Panicked,
    /// The guest died, or the wrong thing happened; in words.
    Failed(String),
}

/// What came of a guest.
#[derive(Debug)]
pub struct Report {
    /// How it ended.
    pub end: End,
    /// The command's standard output, if it was captured.
    #[expect(dead_code, reason = "for subcommands that judge what a guest wrote")]
    pub stdout: Vec<u8>,
    /// The command's standard error, if it was captured.
    pub stderr: Vec<u8>,
    /// What the kernel wrote to its console: severe messages only, unless more was asked for.
    pub console: String,
    /// The kernel's whole log; empty when the guest died.
    #[expect(dead_code, reason = "for subcommands that judge what a guest wrote")]
    pub kernel_log: String,
    /// The splats in both, each with the lines that follow it.
    pub splats: Vec<String>,
    /// How many boots it took.
    pub attempts: u32,
    /// From QEMU's start until init ran, of the last boot.
    pub boot: Duration,
    /// From the first start to the end.
    pub elapsed: Duration,
}

impl Report {
    /// The command's exit status (0 for a panic that was wanted); an error if the guest failed or its kernel splatted.
    pub fn status(&self) -> Result<i32> {
        if let Some(first) = self.splats.first() {
            bail!("the kernel complained ({} times); first:\n{first}", self.splats.len());
        }
        match &self.end {
            End::Exited(status) => Ok(*status),
            End::Panicked => Ok(0),
            End::Failed(why) => {
                bail!("{why}; its console ended so:\n{}", process::last_lines(&self.console, 25))
            }
        }
    }
}

/// Whether a guest's kernel may panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Panic {
    /// It must not.
    Unwanted,
    /// It has to, which is the guest's end.
    Ends,
    /// It has to, and the guest starts again.
    Restarts,
}

/// How the guest ended, judged by what it told, what its console shows and whether a panic was wanted.
pub fn end(booted: &Booted, console: &str, panic: Panic) -> End {
    let panicked = console::panicked(console);
    match (booted.exit, panic) {
        (Some(status), Panic::Unwanted) => End::Exited(status),
        (Some(status), Panic::Restarts) if panicked => End::Exited(status),
        (Some(status), Panic::Ends | Panic::Restarts) => {
            End::Failed(format!("the kernel did not panic, the command exited with {status}"))
        }
        (None, Panic::Ends) if panicked => End::Panicked,
        (None, _) => {
            let crashed = || "the guest crashed while the command ran".into();
            End::Failed(booted.stopped.clone().unwrap_or_else(crashed))
        }
    }
}

/// The splats in the kernel's log and on its console, which shows the severe part of what the log may have lost.
pub fn splats(console: &str, kernel_log: &str, tainted: u64, expect_panic: bool) -> Vec<String> {
    let mut splats = console::splats(kernel_log, expect_panic);
    for splat in console::splats(console, expect_panic) {
        if !splats.iter().any(|known| known.lines().next() == splat.lines().next()) {
            splats.push(splat);
        }
    }
    if splats.is_empty() { console::tainted(tainted) } else { splats }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(end: End, splats: &[&str]) -> Report {
        Report {
            end,
            stdout: Vec::new(),
            stderr: Vec::new(),
            console: "last words".into(),
            kernel_log: String::new(),
            splats: splats.iter().map(ToString::to_string).collect(),
            attempts: 1,
            boot: Duration::ZERO,
            elapsed: Duration::ZERO,
        }
    }

    /// Guards that a splat fails a run whose command succeeded.
    #[test]
    fn what_counts_as_success() {
        assert_eq!(report(End::Exited(3), &[]).status().unwrap(), 3);
        assert_eq!(report(End::Panicked, &[]).status().unwrap(), 0);
        assert!(report(End::Exited(0), &["BUG: x"]).status().unwrap_err().to_string().contains("BUG: x"));
        let err = report(End::Failed("it crashed".into()), &[]).status().unwrap_err();
        assert!(err.to_string().contains("last words"), "{err}");
    }

    /// Guards that a crash never passes for an exit, nor for a panic unless one was wanted and happened.
    #[test]
    fn how_a_guest_ends() {
        let booted = |exit| Booted { exit, ..Booted::default() };
        let panic = "[ 1.0] Kernel panic - not syncing: x";
        let failed = |exit, console, panic| matches!(end(&booted(exit), console, panic), End::Failed(_));
        assert_eq!(end(&booted(Some(3)), "", Panic::Unwanted), End::Exited(3));
        assert_eq!(end(&booted(None), panic, Panic::Ends), End::Panicked);
        assert_eq!(end(&booted(Some(3)), panic, Panic::Restarts), End::Exited(3));
        assert!(failed(None, panic, Panic::Unwanted) && failed(None, "", Panic::Ends));
        assert!(failed(Some(0), panic, Panic::Ends));
        assert!(failed(Some(0), "", Panic::Restarts) && failed(None, panic, Panic::Restarts));
    }

    /// Guards that a splat which both sources show counts once, and that the taint alone suffices.
    #[test]
    fn sources_of_splats() {
        let line = "[ 1.0] BUG: x";
        assert_eq!(splats(line, &format!("{line}\n[ 1.1] Call Trace:"), 0, false).len(), 1);
        assert_eq!(splats(line, "", 0, false), [line]);
        assert_eq!(splats("", "", 512, false).len(), 1);
    }
}
