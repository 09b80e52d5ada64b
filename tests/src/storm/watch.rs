//! A storm, and what the kernel logged and counted while it went on.

use std::sync::atomic::AtomicU64;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use crate::deadline::Deadline;
use crate::machine::Machine;
use crate::storm::group::Group;
use crate::storm::lane::{Lane, Report};
use crate::storm::room::Room;
use crate::storm::roster::{Counted, Roster};
use crate::storm::{Mix, Size};
use crate::witness::counters::machine_oom_kills;
use crate::witness::klog::LoggedOom;
use crate::witness::kmsg::KernelLog;
use crate::witness::tree::Tree;

/// Cgroups of a wave at the least, where there are so many: that is how many run out at the same time.
pub const AT_ONCE: u16 = 20;
/// How often the log is read at the least, so that the kernel's buffer does not wrap unread.
const READ_EVERY: Duration = Duration::from_millis(50);

/// What was seen of a storm without oomtrace.
#[derive(Debug)]
pub struct Storm {
    /// Who took part.
    pub roster: Roster,
    /// What the cgroups counted.
    pub counted: Vec<Counted>,
    /// For each wave, how many cgroups were at their limits.
    pub waves: Vec<usize>,
    /// The log's account.
    pub log: Vec<LoggedOom>,
    /// The log's lines.
    pub log_text: Vec<String>,
    /// Whether some of the log was lost before it could be read.
    pub log_overrun: bool,
    /// The rise of the machine's `oom_kill` counter.
    pub oom_kills: u64,
    /// How long it took.
    pub took: Duration,
}

impl Storm {
    /// Makes a storm below `tree`, on this machine, and watches it.
    pub fn make(tree: &Tree, size: Size, mix: Mix, machine: &Machine, deadline: Deadline) -> Result<Self> {
        let room = Room::of(machine.cpus);
        let (mut log, before, start) = (KernelLog::mark()?, machine_oom_kills()?, Instant::now());
        let (serials, begun) = (AtomicU64::new(0), AtomicU64::new(0));
        // Two waves that are out of step: one fills up while the other is killed.
        let lanes = if size.cgroups >= 2 * AT_ONCE { 2 } else { 1 };
        let reports: Vec<Result<Report>> = thread::scope(|scope| {
            let running: Vec<_> = (0..lanes)
                .map(|lane| {
                    let numbers = (lane..usize::from(size.cgroups)).step_by(lanes);
                    let groups = numbers.map(|number| Group::new(tree, number, mix, room)).collect();
                    let lane = Lane { groups, serials: &serials, begun: &begun, kills: size.kills, deadline };
                    scope.spawn(move || lane.run())
                })
                .collect();
            while running.iter().any(|lane| !lane.is_finished()) {
                if let Err(error) = log.read() {
                    return vec![Err(error)];
                }
                let _quiet_is_fine = log.wait(deadline.or_after(READ_EVERY), "the kernel log");
            }
            let crashed = |_| Err(anyhow!("a lane of the storm crashed"));
            running.into_iter().map(|lane| lane.join().unwrap_or_else(crashed)).collect()
        });
        let took = start.elapsed();
        let oom_kills = logged(&mut log, before, deadline)?;
        let mut storm = Self {
            roster: Roster::default(),
            counted: Vec::new(),
            waves: Vec::new(),
            log: log.ooms().ooms().to_vec(),
            log_text: log.text().to_vec(),
            log_overrun: log.overrun(),
            oom_kills,
            took,
        };
        for report in reports {
            let report = report.context("the storm could not be made")?;
            report.entries.into_iter().for_each(|entry| storm.roster.enter(entry));
            storm.counted.extend(report.counted);
            storm.waves.extend(report.waves);
        }
        Ok(storm)
    }
}

/// Waits until the log has as many kills as the counter has risen by. Gives that number. What was overwritten
/// unread will not come any more.
fn logged(log: &mut KernelLog, before: u64, deadline: Deadline) -> Result<u64> {
    loop {
        let lines = log.read()?.kill_lines();
        let counted = machine_oom_kills()? - before;
        if lines == counted || log.overrun() {
            return Ok(counted);
        }
        log.wait(deadline, &format!("the kernel log to have {counted} kills ({lines} so far)"))?;
    }
}
