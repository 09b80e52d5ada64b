//! An oomtrace that is started under conditions of a scenario's choice.

use std::env;
use std::fs::{self, File};
use std::io::pipe;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::process::{die_with_us, start_new};
use crate::refusal::conditions::Conditions;
use crate::stage::Scratch;
use crate::tracer::{Program, Tracer};

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
    pub fn start(&self, start: &Start, arguments: &[&str]) -> Result<Tracer> {
        let mut command = Command::new(&self.path);
        command.args(arguments).stdin(Stdio::null());
        command.stdout(start.stdout.stdio()?).stderr(start.stderr.stdio()?);
        start.conditions.impose(&mut command);
        // After the rights, which would undo it.
        die_with_us(&mut command);
        let child = start_new(|| {
            command.spawn().with_context(|| format!("cannot start {} so", self.path.display()))
        })?;
        let mut run = Tracer::of(child);
        run.listen();
        Ok(run)
    }

    /// Starts tracing with these options and without the kernel log, in the tier that the scenarios insist on unless they name one.
    pub fn trace(&self, start: &Start, options: &[&str]) -> Result<Tracer> {
        self.trace_with_log(start, &[&["--no-kmsg"], options].concat())
    }

    /// The same of one that may take from the kernel log what it does not get otherwise.
    pub fn trace_with_log(&self, start: &Start, options: &[&str]) -> Result<Tracer> {
        let mut arguments = options.to_vec();
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::deadline::Deadline;

    fn shell(name: &str) -> Installed {
        Installed::new(
            &Program { path: "/bin/sh".into(), tier: None, told: crate::told::Told::default() },
            name,
        )
        .unwrap()
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
