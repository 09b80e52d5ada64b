//! What the agent gives up once its programs are attached.
//!
//! From then on it reads a ring buffer, /proc and cgroup files, and writes to its outputs. It needs next to no capability for
//! that, starts no program, and makes some two hundred kinds of system calls, of which most are harmless. The names that it
//! handles are whatever processes call themselves: should one of them ever get the better of it, there is nothing to be had.
//!
//! Capabilities are each thread's own (capset(2) changes no other thread's since Linux 2.6.25), and threads inherit them: so
//! this is applied while there is one thread. The filter of system calls goes to all threads there are, and whatever is
//! started later inherits both.

mod capabilities;
mod filter;
mod syscalls;

use std::{fmt, io};

use rustix::thread::CapabilitySet;

use crate::host;

pub use self::capabilities::{Kept, drop_all, may_lock_memory};

/// What is to stay possible.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Whether the agent has programs in the kernel, whose maps it goes on reading.
    pub programs: bool,
    /// Capabilities that stay beside those that [`apply`] finds to be needed, with the reason.
    pub keep: Vec<Kept>,
}

/// What was given up, and what was not.
#[derive(Clone, Debug)]
pub struct Confined {
    /// The capabilities that stayed.
    pub kept: Vec<Kept>,
    /// Kinds of system calls that are allowed. `None`: there is no filter.
    pub syscalls: Option<usize>,
    /// What could not be given up, in a sentence each without an end.
    pub failed: Vec<String>,
}

/// Why nothing was given up.
#[derive(Debug, thiserror::Error)]
pub enum ConfineError {
    /// Threads would keep their capabilities.
    #[error(
        "The agent must give up its privileges before it starts threads, and has {0} already: this is a fault of oomtrace's"
    )]
    Threads(usize),
    /// The kernel does not tell.
    #[error("What this process may do cannot be asked: {0}. Is /proc mounted?")]
    Unknown(io::Error),
    /// The kernel refused.
    #[error("The kernel does not let oomtrace give up its capabilities: {0}")]
    Capabilities(io::Error),
}

/// Gives up what is not needed any more. What a kernel cannot do (one without seccomp) is told in [`Confined::failed`] and is no
/// error.
pub fn apply(plan: &Plan) -> Result<Confined, ConfineError> {
    let threads = host::own_threads().map_err(ConfineError::Unknown)?.len();
    if threads != 1 {
        return Err(ConfineError::Threads(threads));
    }
    let mut failed = Vec::new();
    let mut note = |what: &str, result: io::Result<()>| {
        if let Err(error) = result {
            failed.push(format!("{what}: {error}"));
        }
    };
    let kept = capabilities::needed(plan).map_err(ConfineError::Unknown)?;
    // It takes CAP_SETPCAP. Without it, no_new_privs is enough: what is executed gets nothing that this process has not.
    let _ = capabilities::empty_bounding_set();
    note("the ambient set stays", rustix::thread::clear_ambient_capability_set().map_err(Into::into));
    note("new privileges can be had", rustix::thread::set_no_new_privs(true).map_err(Into::into));
    let sets = kept.iter().fold(CapabilitySet::empty(), |all, kept| all | kept.capability);
    capabilities::reduce_to(sets).map_err(ConfineError::Capabilities)?;
    // Others of this user can neither read its memory nor attach to it, and it leaves no core, in which names and tokens are.
    let hidden = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    note("others of this user can look into this process", hidden.map_err(Into::into));
    let filtered = filter::load();
    let syscalls = filtered.as_ref().ok().copied();
    note("system calls are not filtered", filtered.map(drop));
    Ok(Confined { kept, syscalls, failed })
}

impl fmt::Display for Confined {
    /// A sentence without an end, for the agent's status.
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kept[..] {
            [] => write!(to, "no capability is kept")?,
            kept => {
                write!(to, "kept: ")?;
                for (number, kept) in kept.iter().enumerate() {
                    let before = if number > 0 { "; " } else { "" };
                    write!(to, "{before}{kept}")?;
                }
            }
        }
        if let Some(count) = self.syscalls {
            write!(to, "; {count} system calls are allowed")?;
        }
        for failed in &self.failed {
            write!(to, "; {failed}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
