//! What an agent takes of the machine, by /proc.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

/// What it takes at one moment, with the process that it runs programs by.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    at: Instant,
    /// Its resident memory, and what is the other process's alone, bytes.
    pub resident: u64,
    /// Its open files.
    pub descriptors: u64,
    /// Its threads.
    pub threads: u64,
    /// Time on processors since their start.
    cpu: Duration,
    /// That of the flight recorder's thread; `None` where there is none, or the kernel does not count it.
    flight: Option<Duration>,
}

impl Reading {
    /// Reads it.
    pub fn of(pid: u32) -> Result<Self> {
        let mut reading = Self {
            at: Instant::now(),
            resident: rolled(pid, &["Rss:"])?,
            descriptors: entries(pid, "fd")?,
            threads: entries(pid, "task")?,
            cpu: cpu(pid)?,
            flight: flight(pid),
        };
        for child in children(pid) {
            // Programs that it runs come and go.
            let Ok(private) = rolled(child, &["Private_Clean:", "Private_Dirty:"]) else { continue };
            let Ok(cpu) = cpu(child) else { continue };
            reading.resident += private;
            reading.cpu += cpu;
        }
        Ok(reading)
    }
}

/// Time on processors in stretches without incidents.
#[derive(Debug, Default)]
pub struct Calm {
    /// How long they were together.
    pub time: Duration,
    cpu: Duration,
    flight: Option<Duration>,
    /// The largest share of a stretch.
    pub worst: u64,
}

impl Calm {
    /// Adds one.
    pub fn add(&mut self, from: &Reading, to: &Reading) {
        let time = to.at.saturating_duration_since(from.at);
        let cpu = to.cpu.saturating_sub(from.cpu);
        self.time += time;
        self.cpu += cpu;
        self.worst = self.worst.max(share(cpu, time).unwrap_or_default());
        if let (Some(from), Some(to)) = (from.flight, to.flight) {
            *self.flight.get_or_insert_default() += to.saturating_sub(from);
        }
    }

    /// The share of one processor that all of it took, parts per million.
    pub fn cpu(&self) -> Option<u64> {
        share(self.cpu, self.time)
    }

    /// The flight recorder's part of that.
    pub fn flight(&self) -> Option<u64> {
        share(self.flight?, self.time)
    }
}

/// Parts per million.
fn share(part: Duration, whole: Duration) -> Option<u64> {
    u64::try_from((part.as_nanos() * 1_000_000).checked_div(whole.as_nanos())?).ok()
}

/// One value of the second quarter, by `of`, and that of the last one: in the first, caches and memories of a fixed size fill. `None`:
/// too few.
pub fn quarters(values: &[u64], of: fn(&[u64]) -> Option<u64>) -> Option<[u64; 2]> {
    let quarter = values.len() / 4;
    let last = values.len() - quarter;
    Some([of(values.get(quarter..2 * quarter)?)?, of(values.get(last..)?)?])
}

/// What memory is judged by.
pub fn most(values: &[u64]) -> Option<u64> {
    values.iter().max().copied()
}

/// What is judged by that which also comes and goes, such as a connection: what leaks stays.
pub fn least(values: &[u64]) -> Option<u64> {
    values.iter().min().copied()
}

/// The sum of these lines of `smaps_rollup`, which the kernel counts page by page when it is read, bytes.
fn rolled(pid: u32, names: &[&str]) -> Result<u64> {
    let file = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
    let of = |name: &&str| {
        let line = text.lines().find_map(|line| line.strip_prefix(*name));
        line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok())
            .with_context(|| format!("{file} has no {name}"))
    };
    names.iter().map(of).sum::<Result<u64>>().map(|kilobytes| kilobytes * 1024)
}

fn entries(pid: u32, folder: &str) -> Result<u64> {
    let folder = format!("/proc/{pid}/{folder}");
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot list {folder}"))?;
    Ok(entries.filter_map(Result::ok).count() as u64)
}

/// Processes that its first thread started.
fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

/// The processor time of a process, threads that have ended included, ns by ns: /proc/PID/stat has ticks of 10 ms, and a
/// thousandth of a minute is six of them.
fn cpu(pid: u32) -> Result<Duration> {
    let pid = i32::try_from(pid).context("no pid")?;
    let mut clock = 0;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: it writes to `clock` alone, which outlives the call.
    let found = unsafe { libc::clock_getcpuclockid(pid, &raw mut clock) };
    ensure!(found == 0, "process {pid} has no clock");
    // SAFETY: it writes to `time` alone, which outlives the call.
    let read = unsafe { libc::clock_gettime(clock, &raw mut time) };
    ensure!(read == 0, "the clock of process {pid} cannot be read");
    Ok(Duration::new(time.tv_sec.try_into()?, time.tv_nsec.try_into()?))
}

/// The first number of a thread's `schedstat`: its time on processors, ns (Documentation/scheduler/sched-stats.rst).
fn flight(pid: u32) -> Option<Duration> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let thread = tasks
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|task| fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim_end() == "flight"))?;
    let text = fs::read_to_string(thread.join("schedstat")).ok()?;
    text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards what growth is judged by: the second quarter against the last, whatever the first was.
    #[test]
    fn the_last_quarter_stands_against_the_second() {
        let values = [90, 91, 5, 6, 7, 8, 3, 9, 2];
        assert_eq!(quarters(&values, most), Some([6, 9]));
        assert_eq!(quarters(&values, least), Some([5, 2]));
        assert_eq!(quarters(&[1, 2, 3], most), None);
    }

    /// Guards the measure itself: work shows as processor time, a mapping that is touched as memory, and both in bytes and shares of
    /// one processor.
    #[test]
    fn work_and_memory_show() {
        let before = Reading::of(std::process::id()).unwrap();
        let touched = std::hint::black_box(vec![1_u8; 64 << 20]);
        while cpu(std::process::id()).unwrap() < before.cpu + Duration::from_millis(50) {}
        let after = Reading::of(std::process::id()).unwrap();
        drop(touched);
        assert!(after.resident >= before.resident + (48 << 20), "{before:?} {after:?}");
        assert!(after.descriptors > 2 && after.threads >= 1);
        let mut calm = Calm::default();
        calm.add(&before, &after);
        assert!(
            calm.cpu().unwrap() > 1000 && calm.worst == calm.cpu().unwrap() && calm.flight().is_none(),
            "{calm:?}"
        );
    }
}
