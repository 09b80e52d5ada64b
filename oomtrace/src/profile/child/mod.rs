//! The command of `oomtrace run`: found and tried out, started, waited for, and cleaned up after.
//!
//! All that can be found out is found out by [`Prepared::new`], before anything is traced and before any of the command runs. Started, it is
//! as if oomtrace were not there: it has the priorities, signals and limits that oomtrace was started with, is in the same process group (so
//! that a terminal's Ctrl-C and Ctrl-Z reach both), and in a cgroup of its own only if it is to have limits.

pub mod cgroup;
mod descendants;
mod error;
mod inherited;
mod program;
mod rehearsal;
mod requests;
mod running;
mod spawn;
#[cfg(test)]
mod tests;

use std::{ffi::OsString, path::Path, sync::Arc};

pub use self::{cgroup::OwnCgroup, error::StartError, running::Running};
use self::{
    cgroup::{Limits, Place},
    error::shown,
    inherited::Inherited,
    program::Program,
    rehearsal::rehearse,
    requests::Requests,
    running::Watch,
    spawn::{Plan, spawn},
};

/// No program starts with less: the tables of its pages alone take as much, and /bin/true is killed in 128 KiB (6.18, x86-64). Whoever writes
/// that has forgotten the unit.
const LEAST_BYTES: u64 = 64 << 10;

/// What is to be run.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// The command and its arguments.
    pub command: Vec<OsString>,
    /// What its memory cgroup may have, in bytes.
    pub memory_limit_bytes: Option<u64>,
    /// How many processes and threads it may have.
    pub pids_limit: Option<u64>,
}

/// A command that can be started, any number of times, one after the other. Signals are caught until it is dropped.
pub struct Prepared {
    plan: Plan,
    limits: Limits,
    place: Option<Arc<Place>>,
    cgroup: Option<Arc<OwnCgroup>>,
    /// Whether a run had that.
    used: bool,
    requests: Option<Arc<Requests>>,
}

impl Prepared {
    /// Checks everything that can be without running any of it, and makes its cgroup. To be called before oomtrace changes anything of
    /// itself, on the thread that starts it later.
    pub fn new(wanted: Wanted) -> Result<Self, StartError> {
        let inherited = Inherited::read();
        let limits = checked(&wanted)?;
        let mut command = wanted.command.into_iter();
        let program =
            Program::find(&command.next().unwrap_or_default(), std::env::var_os("PATH").as_deref())?;
        // From here on whoever is asked to end does so with nothing left behind.
        let requests = Requests::catch(&inherited).ok().map(Arc::new);
        let plan = Plan { program, arguments: command.collect(), inherited };
        let mut place = None;
        let controllers = limits.controllers();
        if !controllers.is_empty() {
            let mut found = Place::find(Path::new("/"), &controllers)?;
            found.enable()?;
            place = Some(Arc::new(found));
        }
        let make = || place.as_ref().map(|place| OwnCgroup::make(place, limits)).transpose();
        // In one that goes again, so that what is counted is of the command alone.
        rehearse(&plan, make()?.as_ref(), limits.memory_bytes)?;
        let cgroup = make()?.map(Arc::new);
        Ok(Self { plan, limits, place, cgroup, used: false, requests })
    }

    /// Its cgroup, if it is to have one of its own: of the next run; once that is started, of that.
    #[must_use]
    pub fn cgroup(&self) -> Option<&Arc<OwnCgroup>> {
        self.cgroup.as_ref()
    }

    /// Starts it. To be called on the event loop, once whatever ran before has ended.
    pub fn start(&mut self) -> Result<Running, StartError> {
        if let Some(request) = self.requests.as_ref().and_then(|requests| requests.take()) {
            return Err(StartError::Interrupted(request.signal));
        }
        if self.used
            && let Some(place) = &self.place
        {
            self.cgroup = Some(Arc::new(OwnCgroup::make(place, self.limits)?));
        }
        self.used = true;
        let watch = Watch::begin(self.requests.as_ref())
            .map_err(|error| StartError::Fork(format!("its end cannot be watched for: {error}.")))?;
        let pid = spawn(&self.plan, self.cgroup.as_deref(), false)
            .map_err(|failure| failure.told(&self.plan.program))?;
        Ok(Running::new(shown(&self.plan.program.arg0), pid, self.cgroup.clone(), watch))
    }
}

/// The limits, if anything could run with them.
fn checked(wanted: &Wanted) -> Result<Limits, StartError> {
    if let Some(bytes) = wanted.memory_limit_bytes.filter(|bytes| *bytes < LEAST_BYTES) {
        return Err(StartError::Limit(format!(
            "--cgroup-limit {bytes} is {bytes} bytes, in which no program can be started. Give it a unit, as in --cgroup-limit 512M."
        )));
    }
    if wanted.pids_limit == Some(0) {
        return Err(StartError::Limit(
            "--pids-limit 0 leaves no room for the command itself: it takes 1 at the least.".to_owned(),
        ));
    }
    Ok(Limits { memory_bytes: wanted.memory_limit_bytes, pids: wanted.pids_limit })
}
