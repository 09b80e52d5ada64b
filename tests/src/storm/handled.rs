//! An oomtrace that is handled roughly: stopped and continued, killed, or not read from.

use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use crate::deadline::Deadline;
use crate::lines::Lines;
use crate::process::{die_with_us, end, terminate, wait_exit};
use crate::tracer::{Output, Program};

/// See the module. Dropping it kills it.
#[derive(Debug)]
pub struct Handled {
    child: Child,
    unread: Option<ChildStdout>,
    out: Option<Lines>,
    err: Lines,
    stdout: Vec<Vec<u8>>,
    stderr: Vec<Vec<u8>>,
}

impl Handled {
    /// Starts tracing in JSON with the given options, waits until the hooks are attached, and reads nothing of its
    /// standard output yet.
    pub fn start(program: &Program, options: &[&str], deadline: Deadline) -> Result<Self> {
        let mut command = Command::new(&program.path);
        command.args(["--no-kmsg", "--json"]).args(options);
        if let Some(tier) = &program.tier {
            command.args(["--tier", tier]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        die_with_us(&mut command);
        let mut child =
            command.spawn().with_context(|| format!("cannot start {}", program.path.display()))?;
        let unread = child.stdout.take();
        let err = Lines::follow(child.stderr.take().context("oomtrace has no standard error")?);
        let mut handled = Self { child, unread, out: None, err, stdout: Vec::new(), stderr: Vec::new() };
        handled.hear("complete in", deadline)?;
        Ok(handled)
    }

    /// Reads its standard output from now on.
    pub fn listen(&mut self) {
        self.out = self.unread.take().map(Lines::follow);
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

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

    /// Kills it without a warning, and waits for its end.
    pub fn kill(mut self, deadline: Deadline) -> Result<()> {
        self.signal(Signal::KILL)?;
        wait_exit(&mut self.child, deadline, "oomtrace to be killed").map(drop)
    }

    /// Waits for a line on its standard error that contains `word`.
    pub fn hear(&mut self, word: &str, deadline: Deadline) -> Result<()> {
        while let Some(line) = self.err.next(deadline, &format!("oomtrace to say {word:?}"))? {
            let said = String::from_utf8_lossy(&line).contains(word);
            self.stderr.push(line);
            if said {
                return Ok(());
            }
        }
        bail!("oomtrace ended and never said {word:?}, but: {}", self.said())
    }

    /// Waits until it has written so many lines in all; those that come late are left to the comparison.
    pub fn wait_for_lines(&mut self, count: usize, deadline: Deadline) {
        let Some(out) = &self.out else { return };
        while self.stdout.len() < count {
            match out.next(deadline, "the reports") {
                Ok(Some(line)) => self.stdout.push(line),
                Ok(None) | Err(_) => return,
            }
        }
    }

    /// Asks it to end and takes the rest of its output.
    pub fn stop(mut self, deadline: Deadline) -> Result<Output> {
        if self.out.is_none() {
            self.listen();
        }
        terminate(&self.child)?;
        let out = self.out.take().context("oomtrace has no standard output")?;
        while let Some(line) = out.next(deadline, "oomtrace to end")? {
            self.stdout.push(line);
        }
        while let Some(line) = self.err.next(deadline, "oomtrace to end")? {
            self.stderr.push(line);
        }
        let status = wait_exit(&mut self.child, deadline, "oomtrace to end")?;
        Ok(Output {
            stdout: std::mem::take(&mut self.stdout),
            stderr: std::mem::take(&mut self.stderr),
            status,
        })
    }

    /// Sends a signal to it. Gives its pid.
    fn signal(&self, signal: Signal) -> Result<Pid> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.context("oomtrace has no valid pid")?;
        kill_process(pid, signal).with_context(|| format!("cannot send {signal:?} to oomtrace"))?;
        Ok(pid)
    }

    /// Its standard error so far.
    fn said(&self) -> String {
        self.stderr.iter().map(|line| String::from_utf8_lossy(line)).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Handled {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;
    use std::time::Duration;

    use super::*;

    /// Guards that holding means standing still, and that nothing written meanwhile is missed.
    #[test]
    fn a_held_program_stands_still_and_goes_on() {
        let deadline = Deadline::after(Duration::from_secs(30));
        let folder = std::env::temp_dir().join(format!("oomtrace-handled-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path: PathBuf = folder.join("tracer");
        let script = "#!/bin/sh\ntrap 'echo last; exit 0' TERM\necho one\necho complete in 5 ms >&2\n\
                      while :; do sleep 0.01; done\n";
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let mut handled = Handled::start(&Program { path, tier: None }, &[], deadline).unwrap();
        handled.hold().unwrap();
        let stat = fs::read_to_string(format!("/proc/{}/stat", handled.pid())).unwrap();
        assert!(stat.rsplit_once(") ").unwrap().1.starts_with('T'), "{stat}");
        handled.go_on().unwrap();
        handled.listen();
        handled.wait_for_lines(1, deadline);
        let output = handled.stop(deadline).unwrap();
        fs::remove_dir_all(folder).unwrap();
        assert_eq!(output.stdout, [b"one".to_vec(), b"last".to_vec()]);
        assert_eq!(output.status.code(), Some(0));
    }
}
