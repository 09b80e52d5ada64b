//! What oomtrace itself takes while a command runs.

use std::fs;

use super::report::Cost;
use crate::{agent::programs::Program, flight::kilobytes, host};

/// What it has taken until a moment.
#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    cpu_ns: u64,
    /// Of the programs: time and runs.
    programs: Option<(u64, u64)>,
}

/// Tells what is taken from its making on.
#[derive(Debug)]
pub struct Meter {
    programs: Vec<Program>,
    begun: Taken,
}

impl Meter {
    /// Begins. `programs`: those that are attached.
    #[must_use]
    pub fn begin(programs: Vec<Program>) -> Self {
        let begun = Taken::now(&programs);
        Self { programs, begun }
    }

    /// What has been taken since.
    #[must_use]
    pub fn cost(&self) -> Cost {
        let now = Taken::now(&self.programs);
        // Where the kernel does not count, both stay as they are: something runs at each exit of a process.
        let programs = now.programs.zip(self.begun.programs).and_then(|(now, begun)| {
            let runs = now.1.saturating_sub(begun.1);
            (runs > 0).then(|| (now.0.saturating_sub(begun.0), runs))
        });
        Cost {
            cpu_ns: now.cpu_ns.saturating_sub(self.begun.cpu_ns),
            programs_ns: programs.map(|(ns, _)| ns),
            program_runs: programs.map(|(_, runs)| runs),
            peak_rss_bytes: peak_rss_bytes(),
            ..Cost::default()
        }
    }
}

impl Taken {
    fn now(programs: &[Program]) -> Self {
        let costs = programs.iter().filter_map(Program::cost);
        let sum = costs.reduce(|(ns, runs), (more_ns, more_runs)| {
            (ns.saturating_add(more_ns), runs.saturating_add(more_runs))
        });
        // Of all threads, and of no child.
        Self { cpu_ns: host::clock_ns(libc::CLOCK_PROCESS_CPUTIME_ID), programs: sum }
    }
}

/// The most that was resident of this process (`VmHWM`, fs/proc/task_mmu.c).
fn peak_rss_bytes() -> Option<u64> {
    kilobytes(&fs::read("/proc/self/status").ok()?, "VmHWM")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards that time is counted from the beginning on, and that what nobody counts is absent.
    #[test]
    fn costs_are_of_the_time_between() {
        let meter = Meter::begin(Vec::new());
        let before = meter.cost().cpu_ns;
        let mut work = 0_u64;
        while meter.cost().cpu_ns < before + 2_000_000 {
            work = std::hint::black_box(work + 1);
        }
        let cost = meter.cost();
        assert!(cost.cpu_ns < 10_000_000_000 && cost.peak_rss_bytes.is_some_and(|bytes| bytes > 100_000));
        assert_eq!((cost.programs_ns, cost.program_runs), (None, None));
    }
}
