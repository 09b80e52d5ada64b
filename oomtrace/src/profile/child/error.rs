//! Why the command does not run.

use std::{
    ffi::OsStr,
    io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use super::program::Program;
use crate::{
    text::{from_kernel, printable},
    words,
};

/// Why the command does not run, in sentences that say what to do. Nothing of it has run then, and nothing is left of what was
/// prepared for it.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is no such program.
    #[error("{0}")]
    NotFound(String),
    /// There is, and it cannot be run.
    #[error("{0}")]
    NotExecutable(String),
    /// A limit that nothing runs with.
    #[error("{0}")]
    Limit(String),
    /// It cannot have a cgroup of its own.
    #[error("{0}")]
    Cgroup(String),
    /// There is no process for it.
    #[error("No process can be made for the command: {0}")]
    Fork(String),
    /// A signal came first.
    #[error("The command was not started: signal {0} came first.")]
    Interrupted(i32),
}

impl StartError {
    /// What oomtrace ends with: what env(1) and shells do if they cannot start a program, 128 and the signal's number, 2 for a
    /// limit (wrong usage), else 1.
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::NotFound(_) => 127,
            Self::NotExecutable(_) => 126,
            Self::Limit(_) => 2,
            Self::Cgroup(_) | Self::Fork(_) => 1,
            Self::Interrupted(signal) => u8::try_from(*signal).unwrap_or(0).saturating_add(128),
        }
    }

    /// fork() failed.
    pub(super) fn fork(error: &io::Error) -> Self {
        Self::Fork(match error.raw_os_error() {
            Some(libc::EAGAIN) => "there are as many already as there may be. Look at pids.max of this cgroup and of those that it \
                 is in, at `ulimit -u`, and at kernel.pid_max and kernel.threads-max (`oomtrace check`)."
                .to_owned(),
            Some(libc::ENOMEM) => {
                "memory is short. Free some, or raise the limit of the cgroup that oomtrace is in.".to_owned()
            }
            _ => format!("{error}."),
        })
    }

    /// execve() failed.
    pub(super) fn exec(program: &Program, error: &io::Error) -> Self {
        let name = shown(program.path.as_os_str());
        let why = program.why_not(error);
        match error.raw_os_error() {
            // As env(1): what is not there is not found, though it be the interpreter.
            Some(libc::ENOENT) => Self::NotFound(format!("{name} cannot be started: {why}.")),
            Some(libc::E2BIG) => Self::NotExecutable(format!(
                "{name} cannot be started: its arguments and the environment are longer than the kernel takes (execve(2)). Pass fewer."
            )),
            _ => Self::NotExecutable(format!("{name} cannot be started: {why}.")),
        }
    }

    /// It was killed before its first instruction, or had no memory to get there.
    pub(super) fn too_small(program: &Program, limit_bytes: u64) -> Self {
        Self::Limit(format!(
            "{} cannot be started in a cgroup of {}: that is not enough to load it, and it would be killed before its first \
             instruction. Raise --cgroup-limit.",
            shown(program.arg0.as_os_str()),
            words::size(limit_bytes),
        ))
    }
}

/// A name or path for people.
pub(super) fn shown(name: &OsStr) -> String {
    printable(&from_kernel(name.as_bytes()))
}

/// The same of a path.
pub(super) fn shown_path(path: &Path) -> String {
    shown(path.as_os_str())
}

/// Several of them.
pub(super) fn listed(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| shown_path(path)).collect::<Vec<_>>().join(", ")
}
