//! What storms do to an oomtrace: they stop it and let it go on, kill it, or wait for very many lines.

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use crate::deadline::Deadline;
use crate::tracer::Tracer;

impl Tracer {
    /// Stops it, and waits until all its threads stand.
    pub fn hold(&self) -> Result<()> {
        let pid = self.signal(Signal::STOP)?;
        waitid(WaitId::Pid(pid), WaitIdOptions::STOPPED)
            .context("cannot wait for oomtrace to stand still")?;
        Ok(())
    }

    /// Lets it go on.
    pub fn go_on(&self) -> Result<()> {
        self.signal(Signal::CONT).map(drop)
    }

    /// Has it read its settings again.
    pub fn hang_up(&self) -> Result<()> {
        self.signal(Signal::HUP).map(drop)
    }

    /// Kills it without a warning, and waits for its end.
    pub fn kill(self, deadline: Deadline) -> Result<()> {
        self.signal(Signal::KILL)?;
        self.finish(deadline).map(drop)
    }

    /// Waits until it has written so many lines in all; those that come late are left to the comparison.
    pub fn wait_for_lines(&mut self, count: usize, deadline: Deadline) {
        let _late_or_ended = self.until(deadline, "the reports", |lines| lines.len() >= count);
    }

    /// Sends a signal to it. Gives its pid.
    fn signal(&self, signal: Signal) -> Result<Pid> {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        let pid = pid.context("oomtrace has no valid pid")?;
        kill_process(pid, signal).with_context(|| format!("cannot send {signal:?} to oomtrace"))?;
        Ok(pid)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::{Command, Stdio};
    use std::time::Duration;

    use super::*;

    /// Guards that holding means standing still, and that nothing written meanwhile is missed.
    #[test]
    fn a_held_program_stands_still_and_goes_on() {
        let deadline = Deadline::after(Duration::from_secs(30));
        let script = "trap 'echo last; exit 0' TERM; echo one; echo complete in 5 ms >&2; while :; do sleep 0.01; done";
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut tracer = Tracer::of(command.spawn().unwrap());
        tracer.must_hear("complete in", deadline).unwrap();
        tracer.hold().unwrap();
        let stat = fs::read_to_string(format!("/proc/{}/stat", tracer.pid())).unwrap();
        assert!(stat.rsplit_once(") ").unwrap().1.starts_with('T'), "{stat}");
        tracer.go_on().unwrap();
        tracer.wait_for_lines(1, deadline);
        let output = tracer.stop(deadline).unwrap();
        assert_eq!(output.stdout, [b"one".to_vec(), b"last".to_vec()]);
        assert_eq!(output.status.code(), Some(0));
    }
}
