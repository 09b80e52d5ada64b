//! oomtrace as a child process.

use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail};

use crate::deadline::Deadline;
use crate::incident::victim_pids;
use crate::lines::Lines;
use crate::process::{die_with_us, end, terminate, wait_exit};
use crate::told::Told;

/// What it says on standard error once all its hooks are in place.
const ATTACHED: &str = "complete in";

/// How to run oomtrace.
#[derive(Debug, Clone)]
pub struct Program {
    /// The binary.
    pub path: PathBuf,
    /// The tier to insist on.
    pub tier: Option<String>,
    /// What its traces say.
    pub told: Told,
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

/// A running oomtrace. Dropping it kills it.
///
/// What only storms do to it is in [`crate::storm::handled`].
#[derive(Debug)]
pub struct Tracer {
    child: Child,
    unread: Option<ChildStdout>,
    out: Option<Lines>,
    err: Option<Lines>,
    stdout: Vec<Vec<u8>>,
    stderr: Vec<Vec<u8>>,
    /// Where what it said goes to, too.
    told: Option<Told>,
}

impl Program {
    /// Starts tracing with the given options and waits until the hooks are attached.
    pub fn trace(&self, options: &[&str], deadline: Deadline) -> Result<Tracer> {
        let mut tracer = self.trace_unread(options, deadline)?;
        tracer.listen();
        Ok(tracer)
    }

    /// The same, and reads nothing of its standard output yet.
    pub fn trace_unread(&self, options: &[&str], deadline: Deadline) -> Result<Tracer> {
        let mut tracer = self.begin(options)?;
        tracer.must_hear(ATTACHED, deadline)?;
        Ok(tracer)
    }

    /// Starts tracing, and neither waits nor reads its standard output yet.
    pub fn begin(&self, options: &[&str]) -> Result<Tracer> {
        let mut command = Command::new(&self.path);
        command.args(options);
        if let Some(tier) = &self.tier {
            command.args(["--tier", tier]);
        }
        let mut tracer = Tracer::start(command)?;
        tracer.told = Told::is_owed(options).then(|| self.told.clone());
        Ok(tracer)
    }

    /// Runs a subcommand to its end.
    pub fn run(&self, arguments: &[&str], deadline: Deadline) -> Result<Output> {
        let mut command = Command::new(&self.path);
        command.args(arguments);
        Tracer::start(command)?.finish(deadline)
    }
}

impl Tracer {
    /// Starts it with both outputs to us.
    fn start(mut command: Command) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        die_with_us(&mut command);
        let child = command.spawn();
        child.map(Self::of).with_context(|| format!("cannot start {}", command.get_program().display()))
    }

    /// One that has been started. Of its outputs, those that come to us are followed: standard error from now
    /// on, standard output from [`Self::listen`] on.
    #[must_use]
    pub fn of(mut child: Child) -> Self {
        let (unread, err) = (child.stdout.take(), child.stderr.take().map(Lines::follow));
        Self { child, unread, out: None, err, stdout: Vec::new(), stderr: Vec::new(), told: None }
    }

    /// Reads its standard output from now on. Whatever takes or awaits that output listens by itself.
    pub fn listen(&mut self) {
        if let Some(unread) = self.unread.take() {
            self.out = Some(Lines::follow(unread));
        }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line on its standard error that contains `words`. Gives whether it came, and not the end.
    pub fn hear(&mut self, words: &str, deadline: Deadline) -> Result<bool> {
        let Some(err) = &self.err else { return Ok(false) };
        while let Some(line) = err.next(deadline, &format!("oomtrace to say {words:?}"))? {
            let said = String::from_utf8_lossy(&line).contains(words);
            self.stderr.push(line);
            if said {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The same, where an end is an error.
    pub fn must_hear(&mut self, words: &str, deadline: Deadline) -> Result<()> {
        if self.hear(words, deadline)? {
            return Ok(());
        }
        let status = wait_exit(&mut self.child, deadline, "oomtrace to end")?;
        bail!("oomtrace ended with {status} and never said {words:?}, but: {}", joined(&self.stderr))
    }

    /// Waits until all its hooks are in place. Gives whether they are; otherwise it has ended.
    pub fn attached(&mut self, deadline: Deadline) -> Result<bool> {
        self.hear(ATTACHED, deadline)
    }

    /// Waits until its standard output, so far as it has come, satisfies `enough`. Gives whether it does;
    /// otherwise the output has ended, or does not come to us.
    pub fn until(
        &mut self,
        deadline: Deadline,
        what: &str,
        enough: impl Fn(&[Vec<u8>]) -> bool,
    ) -> Result<bool> {
        self.listen();
        while !enough(&self.stdout) {
            let Some(out) = &self.out else { return Ok(false) };
            match out.next(deadline, what)? {
                Some(line) => self.stdout.push(line),
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Waits until it has reported `victims` or the deadline has passed. Gives whether it has.
    pub fn reported(&mut self, victims: &[u64], deadline: Deadline) -> bool {
        let complete = |lines: &[Vec<u8>]| {
            let pids = victim_pids(lines);
            victims.iter().all(|pid| pids.contains(pid))
        };
        self.until(deadline, "the reports", complete).unwrap_or(false)
    }

    /// What it has said on standard error, as far as that was listened to.
    #[must_use]
    pub fn said(&self) -> String {
        joined(&self.stderr)
    }

    /// Where it serves metrics, as it said when it started.
    pub fn url(&self) -> Result<String> {
        let said = self.said();
        let url = said.lines().find_map(|line| Some(format!("http{}", line.split_once("metrics: http")?.1)));
        url.with_context(|| format!("it does not say where its metrics are: {said}"))
    }

    /// Whether it has not ended yet.
    pub fn runs(&mut self) -> Result<bool> {
        Ok(self.child.try_wait().context("cannot ask whether oomtrace has ended")?.is_none())
    }

    /// Asks it to end, and does not wait.
    pub fn ask_to_end(&self) -> Result<()> {
        terminate(&self.child)
    }

    /// Asks it to end and takes the rest of its output.
    pub fn stop(self, deadline: Deadline) -> Result<Output> {
        self.ask_to_end()?;
        self.finish(deadline)
    }

    /// Takes its output to the end.
    pub fn finish(mut self, deadline: Deadline) -> Result<Output> {
        self.listen();
        for (lines, to) in [(&self.out, &mut self.stdout), (&self.err, &mut self.stderr)] {
            let Some(lines) = lines else { continue };
            while let Some(line) = lines.next(deadline, "oomtrace to end")? {
                to.push(line);
            }
        }
        let status = wait_exit(&mut self.child, deadline, "oomtrace to end")?;
        let (stdout, stderr) = (std::mem::take(&mut self.stdout), std::mem::take(&mut self.stderr));
        if let Some(told) = &self.told {
            told.add(&stdout);
        }
        Ok(Output { stdout, stderr, status })
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
        let deadline = Deadline::after(Duration::from_secs(30));
        let error = shell("echo 'no BTF here' >&2; exit 3").must_hear(ATTACHED, deadline);
        let error = error.unwrap_err().to_string();
        assert!(error.contains("no BTF here") && error.contains('3'), "{error}");
    }

    /// Guards the course of a run: hooks attached, lines awaited, SIGTERM, the rest of the output, exit
    /// status.
    #[test]
    fn a_run_from_its_start_to_its_end() {
        let deadline = Deadline::after(Duration::from_secs(30));
        let mut tracer = shell(
            "trap 'echo last; exit 0' TERM; echo complete in 5 ms >&2; echo one; while :; do sleep 0.01; done",
        );
        tracer.listen();
        tracer.must_hear(ATTACHED, deadline).unwrap();
        assert!(tracer.until(deadline, "a line", |lines| !lines.is_empty()).unwrap());
        let output = tracer.stop(deadline).unwrap();
        assert_eq!(output.stdout, [b"one".to_vec(), b"last".to_vec()]);
        assert_eq!(output.status.code(), Some(0));
    }
}
