//! What becomes of signals that oomtrace gets while its command runs.

use std::time::Duration;

use rustix::process::{Pid, Signal, getpgid, getpgrp, kill_process};
use tokio::time::Instant;

use super::{super::requests::Request, Phase, Running, below_us};
use crate::say::say;

/// A key that is held down asks once.
const APART: Duration = Duration::from_millis(300);
/// So many requests to end are one too many.
const KILLED_AT: u32 = 3;

impl Running {
    /// Deals with signals that came.
    pub(super) fn hear(&mut self) {
        while let Some(request) = self.requests.as_ref().and_then(|ear| ear.get_ref().0.take()) {
            self.heed(request);
        }
    }

    fn heed(&mut self, request: Request) {
        // What the command sends to all of its group (`kill 0`) it means for itself.
        let by_itself = request.sender.is_some_and(|sender| below_us().iter().any(|own| own.pid == sender));
        if by_itself {
            return;
        }
        if request.is_to_end() {
            self.ask_to_end();
        }
        let command = Pid::from_raw(self.pid).filter(|_| matches!(self.phase, Phase::Runs));
        let (Some(command), Some(signal)) = (command, Signal::from_named_raw(request.signal)) else { return };
        // The terminal's reached its foreground group, which is ours; and the command's, unless it has one of its own.
        let has_it = request.sender.is_none() && getpgid(Some(command)).is_ok_and(|group| group == getpgrp());
        if !has_it {
            // It is not waited for yet, so that its number is nobody else's.
            let _ = kill_process(command, signal);
        }
    }

    fn ask_to_end(&mut self) {
        let now = Instant::now();
        if self.last_asked.is_some_and(|last| now.duration_since(last) < APART) {
            return;
        }
        self.last_asked = Some(now);
        self.asked = self.asked.saturating_add(1);
        if self.asked == KILLED_AT - 1 {
            say!(
                "{} (pid {}) has not ended yet. Once more, and it is killed with all that it started.",
                self.name,
                self.pid
            );
        }
    }

    /// Whether it was asked to end once too often.
    pub(super) fn is_insisted_on(&self) -> bool {
        self.asked >= KILLED_AT
    }

    /// Kills whatever it started, as far as that is known.
    pub(super) fn kill_all(&self) {
        if let Some(cgroup) = &self.cgroup {
            cgroup.kill();
        }
        for process in below_us().difference(&self.before) {
            if let Some(pid) = Pid::from_raw(process.pid) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}
