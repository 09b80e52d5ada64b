//! Measurements of oomtrace beside other tools that report OOM kills: what `cargo xtask bench` runs.
//!
//! Each prints what it measured as a [`Sample`] a line and judges nothing; that is the caller's part.

mod child;
mod delay;
mod idle;
mod import;
mod marks;
mod paths;
mod profile;
mod replay;
mod runs;
mod start;
mod terminal;
mod tool;
mod turn;
pub mod usage;
mod wake;

use std::io::{Write, stdout};
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use serde::Serialize;

/// What to measure, with which oomtrace.
#[derive(Debug, Args)]
pub struct Bench {
    /// The oomtrace to measure.
    #[arg(long, default_value = "oomtrace", global = true)]
    oomtrace: PathBuf,
    /// Measure oomtrace alone.
    #[arg(long, global = true)]
    alone: bool,
    /// How often to measure.
    #[arg(long, default_value_t = 5, global = true)]
    runs: u32,
    #[command(subcommand)]
    what: What,
}

/// The measurements.
#[derive(Debug, Subcommand)]
enum What {
    /// The time from exec until a kill would be reported.
    Start,
    /// Memory, CPU time and wake-ups while nothing happens, and memory after one kill.
    Idle {
        /// Seconds over which wake-ups and CPU time are counted.
        #[arg(long, default_value_t = 30)]
        seconds: u64,
    },
    /// What oomtrace adds to shared paths of the kernel, by tier.
    Paths {
        /// The tiers to measure.
        #[arg(long, value_delimiter = ',', default_value = "trampoline,kprobe,tracepoint")]
        tiers: Vec<String>,
    },
    /// The time from the kernel's mark to a line at the other end of a pipe.
    Delay {
        /// How many kills.
        #[arg(long, default_value_t = 100)]
        kills: u32,
        /// How many processes burn CPU time meanwhile.
        #[arg(long, default_value_t = 0)]
        hogs: u32,
    },
    /// How fast kernel logs that were kept are read, and in how much memory.
    Import {
        /// How long the logs are, MiB.
        #[arg(long, default_value_t = 512)]
        mib: u64,
        /// How much is read from a pipe, MiB; of random bytes a tenth of that.
        #[arg(long, default_value_t = 10_240)]
        stream_mib: u64,
    },
    /// What `oomtrace run` costs the command that it runs, beside bpftrace. Where the clock counts instructions.
    Profile,
    /// The same in bogo-ops a second, alone.
    ProfileTimed {
        /// Seconds that each takes.
        #[arg(long, default_value_t = 2)]
        seconds: u64,
    },
    /// Count what is executed while a command runs.
    #[command(hide = true)]
    Counted(profile::Counted),
    /// How many forks that fail are told in a second.
    Replay {
        /// How many are replayed each time.
        #[arg(long, default_value_t = 100_000)]
        failures: u32,
    },
}

/// One measured value.
#[derive(Debug, Serialize)]
struct Sample<'a> {
    /// What was measured.
    figure: &'a str,
    /// Of which tool.
    subject: &'a str,
    /// The unit.
    unit: &'a str,
    /// The value; absent when there was nothing to measure, such as a kill that was not reported.
    value: Option<f64>,
}

impl Bench {
    /// Measures.
    pub fn run(&self) -> Result<()> {
        match &self.what {
            What::Start => start::measure(self),
            What::Idle { seconds } => idle::measure(self, *seconds),
            What::Paths { tiers } => paths::measure(self, tiers),
            What::Delay { kills, hogs } => delay::measure(self, *kills, *hogs),
            What::Import { mib, stream_mib } => import::measure(self, *mib, *stream_mib),
            What::Profile => profile::counted(self),
            What::ProfileTimed { seconds } => profile::timed(self, *seconds),
            What::Counted(counted) => counted.run(),
            What::Replay { failures } => replay::measure(self, *failures),
        }
    }
}

/// Prints a sample, at once, so that what was measured before a crash is not lost.
fn sample(figure: &str, subject: &str, unit: &str, value: Option<f64>) -> Result<()> {
    let line = serde_json::to_string(&Sample { figure, subject, unit, value })
        .context("cannot write a sample as JSON")?;
    let mut out = stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).context("nobody reads the samples any more")
}

/// A count as a sample's value. What is measured here stays far below 2^53.
#[expect(
    clippy::cast_precision_loss,
    reason = "nanoseconds of minutes and bytes of mebibytes are far below 2^53"
)]
fn value(count: u64) -> f64 {
    count as f64
}
