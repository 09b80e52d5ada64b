//! What `oomtrace run` costs the command that it runs: stress-ng's stressors with and without it in turns.
//!
//! Where the clock counts instructions, each does a fixed number of its bogo-ops, and what all tasks execute meanwhile is compared:
//! oomtrace's own work, in the kernel and beside it, is part of it. Elsewhere each has a fixed time, and bogo-ops a second are.

mod counted;
mod interval;
mod timed;
mod work;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rustix::param::page_size;

pub use self::counted::Counted;
use self::work::{Amount, Ground, WORKS, Work};
use super::tool::Tool;
use super::{Bench, sample, tool};
use crate::process::{on_path, start_new};
use crate::size::MIB;
use crate::stage::argument;

/// What a command is run by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// Nothing.
    Itself,
    /// `oomtrace run` with these options.
    Oomtrace(&'static [&'static str]),
}

/// What is measured, and its name in the figures.
const SUBJECTS: [(&str, By); 2] =
    [("oomtrace run", By::Oomtrace(&[])), ("oomtrace run --light", By::Oomtrace(&["--light"]))];

/// Measures where the clock counts instructions.
pub fn counted(bench: &Bench) -> Result<()> {
    let ground = Ground::new(Some(256 * MIB), page_size() as u64)?;
    let alone = measured(bench, &ground)?;
    if bench.alone {
        return Ok(());
    }
    let peer = tool::pressure_peer();
    beside(bench, &ground, &peer, &alone)
}

/// Each of the works without and with, in turns: A B A B … A. What is added is a B over the mean of the two A around it. Gives what
/// each takes alone, at the median.
fn measured(bench: &Bench, ground: &Ground) -> Result<Vec<f64>> {
    let mut alone = Vec::new();
    for work in &WORKS {
        // Warms up the kernel's caches; does not count.
        once(bench, ground, work, By::Itself)?;
        let mut without = vec![once(bench, ground, work, By::Itself)?];
        // Where nothing is short the two do the same.
        let subjects = SUBJECTS.iter().take(if work.is_short() { 2 } else { 1 });
        for (subject, by) in subjects {
            for _ in 0..bench.runs {
                let with = once(bench, ground, work, *by)?;
                let after = once(bench, ground, work, By::Itself)?;
                let before = *without.last().unwrap_or(&after);
                let least = f64::midpoint(before, after);
                let added = 100.0 * (with - least) / least;
                sample(&format!("added to {}", work.name), subject, "%", Some(added))?;
                without.push(after);
            }
        }
        for each in &without {
            sample(&format!("{}, a bogo-op", work.name), "by itself", "instructions", Some(*each))?;
        }
        alone.push(median(without));
    }
    Ok(alone)
}

/// The same beside a tool that is there all the time, for it takes seconds to start: over what each takes alone.
fn beside(bench: &Bench, ground: &Ground, peer: &Tool, alone: &[f64]) -> Result<()> {
    let armed = peer.start(std::process::Stdio::null())?;
    // Its programs are attached one after the other.
    std::thread::sleep(std::time::Duration::from_secs(5));
    for (work, alone) in WORKS.iter().zip(alone) {
        once(bench, ground, work, By::Itself)?;
        for _ in 0..bench.runs {
            let with = once(bench, ground, work, By::Itself)?;
            let added = 100.0 * (with - alone) / alone;
            sample(&format!("added to {}", work.name), peer.name, "%", Some(added))?;
        }
    }
    armed.stop()
}

/// Instructions for a bogo-op.
fn once(bench: &Bench, ground: &Ground, work: &Work, by: By) -> Result<f64> {
    let (counts, yaml) = (ground.file("counts"), ground.file("yaml"));
    let _none_before = (fs::remove_file(&counts), fs::remove_file(&yaml));
    let command = ground.command(work, Amount::Ops(work.ops), &counts, &yaml)?;
    run(bench, by, &command)?;
    let read = fs::read_to_string(&counts).context("what a command took was not written")?;
    let took: f64 = read.trim().parse().context("what a command took is no number")?;
    let (ops, ..) = work::bogo_ops(&yaml).with_context(|| work.name)?;
    Ok(took / ops)
}

/// Measures here: bogo-ops a second, in pairs.
pub fn timed(bench: &Bench, seconds: u64) -> Result<()> {
    let ground = Ground::new(None, page_size() as u64)?;
    for work in &WORKS {
        timed::pairs(bench, &ground, work, SUBJECTS[0], seconds)?;
    }
    Ok(())
}

/// Runs a command to its end.
fn run(bench: &Bench, by: By, command: &[String]) -> Result<()> {
    let mut words: Vec<String> = Vec::new();
    if let By::Oomtrace(options) = by {
        words.push(argument(&bench.oomtrace)?.to_owned());
        words.extend(["run"].iter().chain(options).chain(&["--"]).map(|word| (*word).to_owned()));
    }
    words.extend(command.iter().cloned());
    let [program, arguments @ ..] = words.as_slice() else { return Ok(()) };
    let output = start_new(|| Command::new(program).args(arguments).output().context("cannot start it"))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{} ended with {}: {said}", words.join(" "), output.status);
    Ok(())
}

fn stress_ng() -> Result<PathBuf> {
    on_path("stress-ng").context("stress-ng is not installed")
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
