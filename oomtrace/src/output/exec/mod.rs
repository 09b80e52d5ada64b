//! A program for each incident, with the incident's JSON line on its standard input.
//!
//! Never by a shell, and with the arguments that the settings have: nothing of an incident becomes an argument or a variable.
//! The programs are started by a process of its own, the [`Runner`], which is forked before the agent confines itself: they get
//! neither the agent's filter of system calls nor its capabilities, and the agent needs no right to start anything. Which
//! program it is, is fixed by then: who got hold of the agent could not have another one run.
//!
//! Every line either ends as written (its program ended with status 0) or as lost.

mod frame;
mod job;
mod outcome;
mod runner;

use std::{
    ffi::OsString,
    io::{self, Write as _},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use self::outcome::Report;
pub use self::runner::Runner;
use super::{Closed, Format as _, Health, Json, LineKind, Message, Sink, backlog::Backlog};
use crate::text::printable;

/// Memory for lines that wait for a program to end, bytes.
const WAITING_BYTES: usize = 4 << 20;
/// Longer lines are none of ours, bytes: the runner refuses them.
const LONGEST_LINE: usize = 1 << 20;
/// More programs at once are a load of their own.
const MOST_AT_ONCE: u32 = 64;
/// A program that takes longer is none for incidents.
const LONGEST_RUN: Duration = Duration::from_hours(1);
/// How long it takes to hear of a program's end, at the most. No timer runs while none does.
const LOOK: Duration = Duration::from_millis(50);
/// How long programs may go on after the last line, until the agent ends.
const LAST_RUNS: Duration = Duration::from_millis(1500);

/// What the exec output is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecSettings {
    /// The program, by its absolute path, and its arguments.
    pub command: Vec<OsString>,
    /// What it is run for. [`LineKind::OF_INCIDENTS`] unless told otherwise.
    pub kinds: Vec<LineKind>,
    /// How long it may run. After that its process group gets SIGTERM, and two seconds later SIGKILL.
    pub timeout: Duration,
    /// How many may run at once.
    pub concurrency: u32,
    /// Whether programs keep the capabilities that the agent was started with. Otherwise they have none, and cannot get any.
    pub keep_capabilities: bool,
}

/// Why no programs can be run.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// No program, or one that a search would have to find.
    #[error(
        "The program to run for each incident must be given by its absolute path, such as /usr/local/bin/on-oom"
    )]
    Command,
    /// A NUL cannot be in an argument.
    #[error("An argument of the program to run for each incident has a NUL in it")]
    Nul,
    /// None at once, or very many.
    #[error("Of the program to run for each incident, 1 to {MOST_AT_ONCE} may run at once, not {0}")]
    Concurrency(u32),
    /// No time, or very much.
    #[error("The program to run for each incident needs a time limit of more than 0 s and at most an hour")]
    Timeout,
    /// There are threads already.
    #[error(
        "Programs for incidents can only be prepared before anything else is started: {0} threads run already"
    )]
    Threads(usize),
    /// The runner cannot be started.
    #[error("The process that runs programs for incidents cannot be started: {0}")]
    Start(#[from] io::Error),
    /// The runner gave up.
    #[error("The process that runs programs for incidents gave up at its start: {0}")]
    Refused(String),
}

impl ExecSettings {
    /// Whether this can be done. That the program is there is not asked: it may come, or go, later.
    pub fn check(&self) -> Result<(), ExecError> {
        let program = self.command.first().ok_or(ExecError::Command)?;
        if !Path::new(program).is_absolute() {
            return Err(ExecError::Command);
        }
        if self.command.iter().any(|argument| argument.as_encoded_bytes().contains(&0)) {
            return Err(ExecError::Nul);
        }
        if self.concurrency == 0 || self.concurrency > MOST_AT_ONCE {
            return Err(ExecError::Concurrency(self.concurrency));
        }
        if self.timeout.is_zero() || self.timeout > LONGEST_RUN {
            return Err(ExecError::Timeout);
        }
        Ok(())
    }
}

/// See the module.
pub struct Exec {
    program: String,
    kinds: Vec<LineKind>,
    concurrency: u32,
    health: Arc<Health>,
    /// `None`: it is gone.
    runner: Option<Runner>,
    backlog: Backlog,
    /// Lines that the runner has.
    running: u32,
}

impl Exec {
    /// Takes the runner that was started with the same settings.
    pub fn new(settings: &ExecSettings, runner: Runner, health: Arc<Health>) -> Result<Self, ExecError> {
        settings.check()?;
        let program = settings.command.first().ok_or(ExecError::Command)?;
        Ok(Self {
            program: printable(&program.to_string_lossy()),
            kinds: settings.kinds.clone(),
            concurrency: settings.concurrency,
            health,
            runner: Some(runner),
            backlog: Backlog::new(WAITING_BYTES),
            running: 0,
        })
    }

    /// Hears of programs that ended, and hands over as many lines as may be handled at once.
    fn pump(&mut self) {
        let Some(runner) = &mut self.runner else { return };
        let heard = runner.reports();
        for report in runner.take_reports() {
            self.running = self.running.saturating_sub(1);
            self.tell(&report);
        }
        if let Err(error) = heard {
            return self.gone(&error);
        }
        while self.running < self.concurrency
            && let Some(runner) = &mut self.runner
            && let Some(line) = self.backlog.pop()
        {
            // From here on it is the runner's: should that go, it counts among those that ran.
            self.running += 1;
            if let Err(error) = runner.jobs().write_all(&frame::framed(&line)) {
                return self.gone(&error);
            }
        }
    }

    fn tell(&self, report: &Report) {
        match report.failure(&self.program) {
            None => {
                self.health.wrote(1);
                self.health.works();
            }
            Some(failure) => {
                self.health.lost(1);
                self.health.fails(failure, "it is not run again for this one");
            }
        }
    }

    /// The runner ended. It is not started anew: to be able to do so, the confined agent would have to be able to start
    /// anything. Nothing but a signal that somebody sent it by hand ends it.
    fn gone(&mut self, error: &io::Error) {
        self.runner = None;
        self.health.fails(
            format_args!("the process that runs {} is gone: {error}", self.program),
            "it is run no more until the agent is started anew",
        );
        self.give_up();
    }

    /// Counts whatever has not ended well.
    fn give_up(&mut self) {
        self.health.lost(u64::from(self.running).saturating_add(self.backlog.len() as u64));
        self.running = 0;
        while self.backlog.pop().is_some() {}
    }
}

impl Sink for Exec {
    fn wants(&self) -> fn(&Message) -> bool {
        Json.shows()
    }

    fn take(&mut self, message: &Arc<Message>) -> Result<(), Closed> {
        if !LineKind::of(message).is_some_and(|kind| self.kinds.contains(&kind)) {
            return Ok(());
        }
        let line = Json::line(message);
        if self.runner.is_none() || line.len() > LONGEST_LINE {
            self.health.lost(1);
        } else if !self.backlog.push(line) {
            self.health.lost(1);
            self.health.fails(
                format_args!("{} does not keep up: 4 MiB of lines wait for it", self.program),
                "it is not run for those that find no room",
            );
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Closed> {
        self.pump();
        Ok(())
    }

    fn rest(&mut self) -> Option<Duration> {
        self.pump();
        (self.running > 0).then_some(LOOK)
    }

    fn end(&mut self) {
        let until = Instant::now() + LAST_RUNS;
        self.pump();
        while self.running > 0 && Instant::now() < until {
            std::thread::sleep(LOOK / 5);
            self.pump();
        }
        self.give_up();
        // The runner hears of it, and ends what still runs.
        self.runner = None;
    }
}

#[cfg(test)]
mod tests;
