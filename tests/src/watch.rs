//! Watches one experiment from all sides: the tracer, the kernel log and the machine's counter.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;

use crate::checks::Checks;
use crate::deadline::Deadline;
use crate::incident::{Incident, kind, object};
use crate::tracer::{Output, Program, Tracer};
use crate::witness::counters::machine_oom_kills;
use crate::witness::klog::LoggedOom;
use crate::witness::kmsg::KernelLog;

/// How long records may take once the kernel log has the kill: a second at full speed, with room for emulation.
pub const DELIVERY: Duration = Duration::from_secs(30);

/// A watch that has begun.
#[derive(Debug)]
pub struct Watch {
    tracer: Option<Tracer>,
    log: KernelLog,
    kills: u64,
    began: Clocks,
}

/// Both clocks at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Clocks {
    /// Since boot, suspension included, in ns.
    pub boot_ns: u64,
    /// Wall clock.
    pub wall: SystemTime,
}

/// What was seen from all sides.
#[derive(Debug)]
pub struct Seen {
    /// oomtrace's incidents; None when it was not asked to trace.
    pub traced: Option<Traced>,
    /// The kernel log's account.
    pub log: Vec<LoggedOom>,
    /// The log's lines.
    pub log_text: Vec<String>,
    /// Whether some of the log was lost before it could be read.
    pub log_overrun: bool,
    /// The rise of the machine's `oom_kill` counter.
    pub oom_kills: u64,
    /// The clocks before and after.
    pub window: (Clocks, Clocks),
}

/// oomtrace's account.
#[derive(Debug)]
pub struct Traced {
    /// Every object that it wrote, in order.
    pub objects: Vec<Value>,
    /// Those that are incidents.
    pub incidents: Vec<Incident>,
    /// All it printed.
    pub output: Output,
}

impl Clocks {
    /// Reads both clocks.
    #[must_use]
    pub fn now() -> Self {
        let boot = clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(boot.tv_sec).unwrap_or_default();
        let boot_ns = seconds * 1_000_000_000 + u64::try_from(boot.tv_nsec).unwrap_or_default();
        Self { boot_ns, wall: SystemTime::now() }
    }
}

impl Watch {
    /// Starts oomtrace, if there is one to start, and marks the log and the counter once it is armed.
    pub fn begin(program: Option<&Program>, options: &[&str], deadline: Deadline) -> Result<Self> {
        let json_first: Vec<&str> = [&["--json"], options].concat();
        let tracer = program.map(|program| program.trace(&json_first, deadline)).transpose()?;
        Ok(Self { tracer, log: KernelLog::mark()?, kills: machine_oom_kills()?, began: Clocks::now() })
    }

    /// Ends the watch once the log has every kill that was counted, among them those of `victims`, and oomtrace
    /// has reported `victims`. A report that does not come in time is left for the comparison to find missing.
    pub fn finish(mut self, victims: &[u64], deadline: Deadline) -> Result<Seen> {
        let oom_kills = self.logged(victims, deadline)?;
        let traced = self.tracer.take().map(|tracer| reported(tracer, victims, deadline)).transpose()?;
        Ok(Seen {
            traced,
            log: self.log.read()?.ooms().to_vec(),
            log_text: self.log.text().to_vec(),
            log_overrun: self.log.overrun(),
            oom_kills,
            window: (self.began, Clocks::now()),
        })
    }

    /// Waits until the log has as many kills as the counter, those of `victims` among them. Gives the count.
    fn logged(&mut self, victims: &[u64], deadline: Deadline) -> Result<u64> {
        loop {
            let log = self.log.read()?;
            let counted = machine_oom_kills()? - self.kills;
            let complete = victims.iter().all(|&pid| log.ooms().iter().any(|oom| oom.killed(pid).is_some()));
            if complete && log.kill_lines() == counted {
                return Ok(counted);
            }
            let what = format!(
                "the kernel log to name {victims:?} ({} of {counted} kills so far)",
                log.kill_lines()
            );
            self.log.wait(deadline, &what)?;
        }
    }
}

/// Waits until oomtrace has reported `victims`, stops it and reads what it wrote.
fn reported(mut tracer: Tracer, victims: &[u64], deadline: Deadline) -> Result<Traced> {
    let _missing_is_found_by_the_comparison = tracer.reported(victims, deadline.or_after(DELIVERY));
    read(tracer.stop(deadline)?)
}

/// Reads oomtrace's output.
pub fn read(output: Output) -> Result<Traced> {
    let objects = output.stdout.iter().map(|line| object(line)).collect::<Result<Vec<_>>>();
    let objects = objects.with_context(|| format!("oomtrace said: {}", output.said()))?;
    let incidents = objects.iter().filter(|object| kind(object) == "oom").cloned().map(Incident::from_json);
    Ok(Traced { incidents: incidents.collect::<Result<_>>()?, objects, output })
}

impl Traced {
    /// The incident with victim `pid`.
    #[must_use]
    pub fn incident_of(&self, pid: u64) -> Option<&Incident> {
        self.incidents.iter().find(|incident| incident.has_victim(pid))
    }

    /// What is said of process `pid`, which died: beside the victims of an incident, or with its relief.
    #[must_use]
    pub fn died(&self, pid: u64) -> Option<&Value> {
        let lists = self.objects.iter().flat_map(|object| [&object["victims"], &object["collateral"]]);
        let of_it = |victim: &&Value| victim["pid"].as_u64() == Some(pid) && victim["verdict"].is_string();
        lists.filter_map(Value::as_array).flatten().find(of_it)
    }

    /// What is said to have become of process `pid`.
    #[must_use]
    pub fn verdict_of(&self, pid: u64) -> Option<&str> {
        self.died(pid)?["verdict"].as_str()
    }

    /// Checks that it ended well: status lines first and last, no loss, exit status 0. Where programs are preempted, forks on the
    /// same processor go by unseen (`misses_forks`), and are told as that.
    pub fn check_course(&self, misses_forks: bool, checks: &mut Checks) {
        let state = |object: Option<&Value>| {
            let object = object.filter(|object| kind(object) == "status")?;
            Some(object.get("state")?.as_str()?.to_owned())
        };
        checks.equal(
            "state of the first line",
            state(self.objects.first()),
            Some("armed".to_owned()),
            "the contract",
        );
        checks.equal(
            "state of the last line",
            state(self.objects.last()),
            Some("ended".to_owned()),
            "the contract",
        );
        let excused = |loss: &Value| misses_forks && loss["where"] == "programs";
        let losses: Vec<_> =
            self.objects.iter().filter(|object| kind(object) == "loss" && !excused(object)).collect();
        checks.that(losses.is_empty(), || format!("records were lost: {losses:?}"));
        checks.that(self.output.status.success(), || {
            format!("oomtrace ended with {} and said: {}", self.output.status, self.output.said())
        });
    }
}

impl Seen {
    /// The log's entry in which thread `pid` was killed.
    #[must_use]
    pub fn logged(&self, pid: u64) -> Option<&LoggedOom> {
        self.log.iter().find(|oom| oom.killed(pid).is_some())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use super::*;

    fn output(lines: &[&str], status: i32) -> Output {
        let stdout = lines.iter().map(|line| line.as_bytes().to_vec()).collect();
        Output { stdout, stderr: Vec::new(), status: ExitStatus::from_raw(status << 8) }
    }

    /// Guards the course of a run: each thing that may go wrong with it is a failure.
    #[test]
    fn a_bad_course_fails() {
        let (armed, ended) = (r#"{"type":"status","state":"armed"}"#, r#"{"type":"status","state":"ended"}"#);
        let course = |lines: &[&str], status, misses| {
            let mut checks = Checks::default();
            read(output(lines, status)).unwrap().check_course(misses, &mut checks);
            checks.failures().len()
        };
        let failures = |lines: &[&str], status| course(lines, status, false);
        let unseen = r#"{"type":"loss","where":"programs"}"#;
        assert_eq!((course(&[armed, unseen, ended], 0, true), failures(&[armed, unseen, ended], 0)), (0, 1));
        assert_eq!(course(&[armed, r#"{"type":"loss"}"#, ended], 0, true), 1);
        assert_eq!(failures(&[armed, ended], 0), 0);
        assert_eq!(failures(&[armed, ended], 1), 1);
        assert_eq!(failures(&[armed, r#"{"type":"loss"}"#, ended], 0), 1);
        assert_eq!(failures(&[ended], 0), 1);
        assert_eq!(failures(&[], 0), 2);
        assert!(read(output(&["garbage"], 0)).is_err());
    }
}
