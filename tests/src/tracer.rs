//! oomtrace as a child process.

use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail};

use crate::deadline::Deadline;
use crate::lines::Lines;
use crate::process::{die_with_us, end, terminate, wait_exit};

/// How to run oomtrace.
#[derive(Debug, Clone)]
pub struct Program {
    /// The binary.
    pub path: PathBuf,
    /// The tier to insist on.
    pub tier: Option<String>,
}

/// All that an oomtrace printed, by lines, and how it ended.
#[derive(Debug)]
pub struct Output {
    /// Standard output.
    pub stdout: Vec<Vec<u8>>,
    /// Standard error.
    pub stderr: Vec<Vec<u8>>,
    /// Its exit status.
    pub status: ExitStatus,
}

/// A running tracer. Dropping it kills it.
#[derive(Debug)]
pub struct Tracer {
    child: Child,
    out: Lines,
    err: Lines,
    stdout: Vec<Vec<u8>>,
    stderr: Vec<Vec<u8>>,
}

impl Program {
    /// Starts tracing with the given options and waits until the hooks are attached. The kernel log is left to
    /// the scenarios: `--no-kmsg`.
    pub fn trace(&self, options: &[&str], deadline: Deadline) -> Result<Tracer> {
        let mut tracer = self.begin(options)?;
        tracer.complete(deadline)?;
        Ok(tracer)
    }

    /// Starts tracing, and does not wait.
    pub fn begin(&self, options: &[&str]) -> Result<Tracer> {
        let mut command = Command::new(&self.path);
        command.arg("--no-kmsg").args(options);
        if let Some(tier) = &self.tier {
            command.args(["--tier", tier]);
        }
        Tracer::start(command)
    }

    /// Runs a subcommand to its end.
    pub fn run(&self, arguments: &[&str], deadline: Deadline) -> Result<Output> {
        let mut command = Command::new(&self.path);
        command.args(arguments);
        Tracer::start(command)?.finish(deadline)
    }
}

impl Tracer {
    /// Starts it with its output followed.
    fn start(mut command: Command) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        die_with_us(&mut command);
        let mut child =
            command.spawn().with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let out = Lines::follow(child.stdout.take().context("oomtrace has no standard output")?);
        let err = Lines::follow(child.stderr.take().context("oomtrace has no standard error")?);
        Ok(Self { child, out, err, stdout: Vec::new(), stderr: Vec::new() })
    }

    /// Waits for the line on standard error that says that all hooks are attached. Gives whether it came, and not the
    /// end.
    pub fn attached(&mut self, deadline: Deadline) -> Result<bool> {
        while let Some(line) = self.err.next(deadline, "oomtrace to attach all its hooks")? {
            let complete = String::from_utf8_lossy(&line).contains("complete in");
            self.stderr.push(line);
            if complete {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The same, where an end is an error.
    fn complete(&mut self, deadline: Deadline) -> Result<()> {
        if self.attached(deadline)? {
            return Ok(());
        }
        let status = wait_exit(&mut self.child, deadline, "oomtrace")?;
        bail!(
            "oomtrace ended with {status} before all its hooks were attached; it said: {}",
            joined(&self.stderr)
        )
    }

    /// Waits until its standard output, so far as it has come, satisfies `enough`. Ends early, without an error,
    /// when the output does: the comparison says what is missing.
    pub fn until(
        &mut self,
        deadline: Deadline,
        what: &str,
        enough: impl Fn(&[Vec<u8>]) -> bool,
    ) -> Result<()> {
        while !enough(&self.stdout) {
            match self.out.next(deadline, what)? {
                Some(line) => self.stdout.push(line),
                None => break,
            }
        }
        Ok(())
    }

    /// Asks it to end and takes the rest of its output.
    pub fn stop(self, deadline: Deadline) -> Result<Output> {
        self.ask_to_end()?;
        self.finish(deadline)
    }

    /// Asks it to end, and does not wait.
    pub fn ask_to_end(&self) -> Result<()> {
        terminate(&self.child)
    }

    /// Takes its output to the end.
    pub fn finish(mut self, deadline: Deadline) -> Result<Output> {
        while let Some(line) = self.out.next(deadline, "oomtrace to end")? {
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
}

impl Output {
    /// Standard error as one text.
    #[must_use]
    pub fn said(&self) -> String {
        joined(&self.stderr)
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// Lines as one text.
fn joined(lines: &[Vec<u8>]) -> String {
    lines.iter().map(|line| String::from_utf8_lossy(line)).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn shell(script: &str) -> Tracer {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Tracer::start(command).unwrap()
    }

    /// Guards that a tracer which cannot start tells why, at once and not at the time limit.
    #[test]
    fn an_early_end_is_reported_with_its_words() {
        let error =
            shell("echo 'no BTF here' >&2; exit 3").complete(Deadline::after(Duration::from_secs(30)));
        let error = error.unwrap_err().to_string();
        assert!(error.contains("no BTF here") && error.contains('3'), "{error}");
    }

    /// Guards the course of a run: hooks attached, lines awaited, SIGTERM, the rest of the output, exit status.
    #[test]
    fn a_run_from_its_start_to_its_end() {
        let deadline = Deadline::after(Duration::from_secs(30));
        let mut tracer = shell(
            "trap 'echo last; exit 0' TERM; echo complete in 5 ms >&2; echo one; while :; do sleep 0.01; done",
        );
        tracer.complete(deadline).unwrap();
        tracer.until(deadline, "a line", |lines| !lines.is_empty()).unwrap();
        let output = tracer.stop(deadline).unwrap();
        assert_eq!(output.stdout, [b"one".to_vec(), b"last".to_vec()]);
        assert_eq!(output.status.code(), Some(0));
    }
}
