//! How many forks that fail oomtrace reads, decodes, assembles and tells in a second, one by one, on one processor.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, PipeReader, pipe};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread::scope;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use rustix::fd::AsRawFd;
use rustix::fs::{MemfdFlags, memfd_create};

use super::turn::{first_in_line_on_last_cpu, on_first_cpu};
use super::{Bench, sample};
use crate::deadline::Deadline;
use crate::flood::Flood;
use crate::process::{die_with_us, wait_exit};

/// How long a replay may take.
const PATIENCE: Duration = Duration::from_mins(5);

/// Replays as many failures as often as asked for: those that are identical, and those that differ. The first turn of each
/// warms up and does not count. What is told must add up to all of them.
///
/// The recording is in memory. All of oomtrace is kept to the first processor, and the lines are read and counted on the last.
/// Of a processor that it has to itself, a second of CPU time is a second by the clock.
pub fn measure(bench: &Bench, failures: u32) -> Result<()> {
    for (name, flood) in [("identical", Flood::Identical), ("all different", Flood::Different)] {
        let file: File =
            memfd_create("failures", MemfdFlags::CLOEXEC).context("cannot make a file in memory")?.into();
        flood.write(failures, BufWriter::new(&file))?;
        for run in 0..=bench.runs {
            let (told, took) = replay(bench, &file)?;
            ensure!(
                told.failures == u64::from(failures),
                "of {failures} failures {} were told",
                told.failures
            );
            ensure!(
                told.lines == u64::from(failures),
                "{failures} failures were told in {} lines",
                told.lines
            );
            if run > 0 {
                let rate = |time: Duration| Some(f64::from(failures) / time.as_secs_f64());
                sample("fork failures replayed", name, "per second of CPU time", rate(took.cpu))?;
                sample("fork failures replayed, by the clock", name, "per second", rate(took.clock))?;
            }
        }
    }
    Ok(())
}

/// What was told.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    lines: u64,
    /// The sum of their counts.
    failures: u64,
}

/// How long a replay took, from the fork on.
#[derive(Debug)]
struct Took {
    /// On the processor, in oomtrace and in the kernel for it.
    cpu: Duration,
    clock: Duration,
}

/// Replays a file.
fn replay(bench: &Bench, file: &File) -> Result<(Told, Took)> {
    // Opened by that name it is read from its start.
    let path = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
    let (lines, stdout) = pipe().context("cannot make a pipe")?;
    let mut command = Command::new(&bench.oomtrace);
    command.args(["replay", "--json", &path]).stdin(Stdio::null()).stdout(stdout);
    die_with_us(&mut command);
    let keep = || {
        on_first_cpu();
        Ok(())
    };
    // SAFETY: between fork and exec only async-signal-safe things may be done; this is one system call.
    unsafe { command.pre_exec(keep) };
    let (began, before) = (Instant::now(), of_children()?);
    let mut child = command.spawn().context("cannot start oomtrace")?;
    // It holds the pipe's other end.
    drop(command);
    let reader = move || {
        first_in_line_on_last_cpu();
        count(lines)
    };
    // In a thread of its own, since who it is kept to is not taken back.
    let told = scope(|scope| scope.spawn(reader).join()).map_err(|_| anyhow!("counting lines panicked"))?;
    let status = wait_exit(&mut child, Deadline::after(PATIENCE), "a replay to end")?;
    let took = Took { cpu: of_children()?.saturating_sub(before), clock: began.elapsed() };
    ensure!(status.success(), "a replay ended with {status}");
    Ok((told?, took))
}

/// The CPU time of all children that have been waited for.
fn of_children() -> Result<Duration> {
    // SAFETY: all of it may be zero.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a structure of ours.
    if unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage) } != 0 {
        return Err(std::io::Error::last_os_error()).context("cannot ask for the CPU time of children");
    }
    let time = |time: libc::timeval| {
        Duration::from_secs(time.tv_sec.unsigned_abs()) + Duration::from_micros(time.tv_usec.unsigned_abs())
    };
    Ok(time(usage.ru_utime) + time(usage.ru_stime))
}

fn count(lines: PipeReader) -> Result<Told> {
    let mut told = Told::default();
    let (mut lines, mut line) = (BufReader::with_capacity(1 << 20, lines), Vec::new());
    while lines.read_until(b'\n', &mut line).context("cannot read what is told")? > 0 {
        told.lines += 1;
        told.failures += count_of(&line)?;
        line.clear();
    }
    Ok(told)
}

/// What a line counts. It is found by its name, since reading all of each line would take longer than telling it.
fn count_of(line: &[u8]) -> Result<u64> {
    let text = str::from_utf8(line).context("a line is not UTF-8")?;
    ensure!(text.contains("\"type\":\"fork_failure\""), "a line is of no fork that failed: {text}");
    let count = text.rsplit_once("\"count\":").map(|(_, rest)| rest);
    let digits = count.map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default());
    digits.and_then(|digits| digits.parse().ok()).with_context(|| format!("a line counts nothing: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the sum: what is no line of a fork that failed, or lacks its count, is no zero.
    #[test]
    fn counts_are_found_or_missed() {
        let line = |rest: &str| format!("{{\"type\":\"fork_failure\",\"task\":{{}}{rest}}}\n").into_bytes();
        assert_eq!(count_of(&line(",\"count\":4170,\"window_ns\":5")).unwrap(), 4170);
        count_of(&line("")).unwrap_err();
        count_of(b"{\"type\":\"loss\",\"count\":3}\n").unwrap_err();
    }
}
