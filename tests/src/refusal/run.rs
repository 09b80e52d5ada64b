//! An oomtrace under conditions of a scenario's choice, from its first word to its last.

use std::env;
use std::fs::{self, File};
use std::io::pipe;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

use crate::deadline::Deadline;
use crate::incident::victim_pids;
use crate::lines::Lines;
use crate::process::{die_with_us, end, terminate, wait_exit};
use crate::refusal::conditions::Conditions;
use crate::stage::Scratch;
use crate::tracer::{Output, Program};

/// A copy of oomtrace that any user may run, and that nobody else does.
#[derive(Debug)]
pub struct Installed {
    path: PathBuf,
    tier: Option<String>,
    /// Its folder, for the files of the cases too.
    pub scratch: Scratch,
}

/// Where one of its outputs goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reader {
    /// To us.
    #[default]
    Here,
    /// Into a pipe whose other end is closed.
    Gone,
    /// To a device that is always full.
    Full,
}

/// How to start it.
#[derive(Debug, Clone, Default)]
pub struct Start {
    /// Under which conditions.
    pub conditions: Conditions,
    /// Where its standard output goes.
    pub stdout: Reader,
    /// Where its standard error goes.
    pub stderr: Reader,
}

/// A running oomtrace. Dropping it kills it.
#[derive(Debug)]
pub struct Run {
    child: Child,
    out: Option<Lines>,
    err: Option<Lines>,
    stdout: Vec<Vec<u8>>,
    stderr: Vec<Vec<u8>>,
}

/// Where a program is: what has no folder is looked for on the PATH, as a shell does.
fn found(program: &Path) -> PathBuf {
    let folders = env::var_os("PATH").unwrap_or_default();
    let mut places = env::split_paths(&folders).map(|folder| folder.join(program));
    let bare = program.components().count() == 1;
    places.find(|place| bare && place.is_file()).unwrap_or_else(|| program.to_owned())
}

impl Installed {
    /// Makes one for the scenario `name`.
    pub fn new(program: &Program, name: &str) -> Result<Self> {
        let scratch = Scratch::new(name)?;
        let path = scratch.file("oomtrace");
        let program_path = found(&program.path);
        fs::copy(&program_path, &path)
            .with_context(|| format!("cannot copy {} to {}", program_path.display(), path.display()))?;
        Ok(Self { path, tier: program.tier.clone(), scratch })
    }

    /// Starts it.
    pub fn start(&self, start: &Start, arguments: &[&str]) -> Result<Run> {
        let mut command = Command::new(&self.path);
        command.args(arguments).stdin(Stdio::null());
        command.stdout(start.stdout.stdio()?).stderr(start.stderr.stdio()?);
        start.conditions.impose(&mut command);
        // After the rights, which would undo it.
        die_with_us(&mut command);
        let child = command.spawn();
        let mut child = child.with_context(|| format!("cannot start {} so", self.path.display()))?;
        let (out, err) = (child.stdout.take().map(Lines::follow), child.stderr.take().map(Lines::follow));
        Ok(Run { child, out, err, stdout: Vec::new(), stderr: Vec::new() })
    }

    /// Starts tracing with these options, in the tier that the scenarios insist on unless they name one.
    pub fn trace(&self, start: &Start, options: &[&str]) -> Result<Run> {
        let mut arguments = vec!["--no-kmsg"];
        arguments.extend(options);
        if let Some(tier) = self.tier.as_ref().filter(|_| !options.contains(&"--tier")) {
            arguments.extend(["--tier", tier]);
        }
        self.start(start, &arguments)
    }

    /// The tier that the scenarios insist on.
    #[must_use]
    pub fn tier(&self) -> Option<&str> {
        self.tier.as_deref()
    }

    /// The processes that still run it.
    pub fn left_running(&self) -> Result<Vec<String>> {
        let processes = fs::read_dir("/proc").context("cannot list /proc")?;
        let runs_it = |entry: &fs::DirEntry| {
            // A process that has ended has no such link any more, and what is no process has none at all.
            fs::read_link(entry.path().join("exe")).is_ok_and(|exe| exe == self.path)
        };
        let running = processes.filter_map(Result::ok).filter(runs_it);
        Ok(running.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
    }
}

impl Reader {
    /// The output's end.
    fn stdio(self) -> Result<Stdio> {
        Ok(match self {
            Self::Here => Stdio::piped(),
            Self::Gone => pipe().context("cannot make a pipe")?.1.into(),
            Self::Full => {
                File::options().write(true).open("/dev/full").context("cannot open /dev/full")?.into()
            }
        })
    }
}

impl Run {
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

    /// Waits until all its hooks are in place. Gives whether they are; otherwise it has ended.
    pub fn attached(&mut self, deadline: Deadline) -> Result<bool> {
        self.hear("complete in", deadline)
    }

    /// Waits until it has reported `victims` or the deadline has passed. Gives whether it has.
    pub fn reported(&mut self, victims: &[u64], deadline: Deadline) -> bool {
        self.until(deadline, |lines| {
            let pids = victim_pids(lines);
            victims.iter().all(|pid| pids.contains(pid))
        })
    }

    /// Waits until it has printed a line or the deadline has passed. Gives whether it has.
    pub fn prints(&mut self, deadline: Deadline) -> bool {
        self.until(deadline, |lines| !lines.is_empty())
    }

    /// Waits until its standard output, so far as it has come, satisfies `enough`. Gives whether it did.
    fn until(&mut self, deadline: Deadline, enough: impl Fn(&[Vec<u8>]) -> bool) -> bool {
        while !enough(&self.stdout) {
            match self.out.as_ref().map(|out| out.next(deadline, "the reports")) {
                Some(Ok(Some(line))) => self.stdout.push(line),
                _ => return false,
            }
        }
        true
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

    /// Waits for its end.
    pub fn finish(mut self, deadline: Deadline) -> Result<Output> {
        for (lines, to) in [(&self.out, &mut self.stdout), (&self.err, &mut self.stderr)] {
            let Some(lines) = lines else { continue };
            while let Some(line) = lines.next(deadline, "oomtrace to end")? {
                to.push(line);
            }
        }
        let status = wait_exit(&mut self.child, deadline, "oomtrace to end")?;
        let (stdout, stderr) = (std::mem::take(&mut self.stdout), std::mem::take(&mut self.stderr));
        Ok(Output { stdout, stderr, status })
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn shell(name: &str) -> Installed {
        Installed::new(&Program { path: "/bin/sh".into(), tier: None }, name).unwrap()
    }

    /// Guards a run from its start to its end, and the search for what still runs.
    #[test]
    fn a_run_is_heard_stopped_and_gone() {
        let deadline = Deadline::after(Duration::from_secs(30));
        let installed = shell("run-is-heard");
        let script = "trap 'echo last; exit 3' TERM; echo armed in 1 ms >&2; while :; do sleep 0.01; done";
        let mut run = installed.start(&Start::default(), &["-c", script]).unwrap();
        assert!(run.hear("armed in", deadline).unwrap());
        // And, for a moment, what it has forked.
        assert!(installed.left_running().unwrap().contains(&run.pid().to_string()));
        let output = run.stop(deadline).unwrap();
        assert_eq!((output.stdout, output.status.code()), (vec![b"last".to_vec()], Some(3)));
        assert_eq!(installed.left_running().unwrap(), [""; 0]);
    }

    /// Guards the outputs that cannot be written to: writing fails, and how it fails differs.
    #[test]
    fn readers_are_gone_or_full() {
        let deadline = Deadline::after(Duration::from_secs(30));
        let installed = shell("readers");
        let said = |stdout| {
            let start = Start { stdout, ..Start::default() };
            installed
                .start(&start, &["-c", "trap '' PIPE; LC_ALL=C dd if=/dev/zero bs=1 count=1 status=none"])
                .unwrap()
                .finish(deadline)
                .unwrap()
                .said()
        };
        assert_eq!(said(Reader::Here), "");
        assert!(said(Reader::Gone).contains("roken pipe"), "{}", said(Reader::Gone));
        assert!(said(Reader::Full).contains("o space"), "{}", said(Reader::Full));
    }
}
