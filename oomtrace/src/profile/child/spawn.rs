//! From fork to exec.

use std::{
    ffi::OsString,
    io,
    os::{
        fd::{AsRawFd as _, BorrowedFd, OwnedFd, RawFd},
        unix::process::CommandExt as _,
    },
    process::Command,
};

use rustix::pipe::{PipeFlags, pipe_with};

use super::{
    cgroup::OwnCgroup,
    error::StartError,
    inherited::{Inherited, block_all_but_trap},
    program::Program,
};

/// What is started, and how.
pub struct Plan {
    pub program: Program,
    /// Without the command's name.
    pub arguments: Vec<OsString>,
    pub inherited: Inherited,
}

/// How far the child got: it writes one of these when it begins with that. What fails is the last of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Stage {
    Entry = b'c',
    Trace = b't',
    Exec = b'x',
}

/// Why nothing was started.
#[derive(Debug)]
pub enum Failure {
    /// fork() failed, or what it takes.
    Fork(io::Error),
    /// The child could not enter its cgroup.
    Entry(io::Error),
    /// The child may not be traced.
    Trace,
    /// execve() failed.
    Exec(io::Error),
}

impl Failure {
    /// For people.
    pub fn told(&self, program: &Program) -> StartError {
        match self {
            Self::Fork(error) => StartError::fork(error),
            Self::Entry(error) => {
                StartError::Cgroup(format!("The command cannot enter its cgroup: {error}."))
            }
            Self::Exec(error) => StartError::exec(program, error),
            // Nobody asked for that but a rehearsal, which does without.
            Self::Trace => StartError::Fork("it may not be traced.".to_owned()),
        }
    }
}

/// Starts the program, in this cgroup if there is one. It is a child of this thread, and has its process id.
///
/// `traced`: it stops before its first instruction, as a tracee of this thread (PTRACE_TRACEME), with its signals blocked.
pub fn spawn(plan: &Plan, cgroup: Option<&OwnCgroup>, traced: bool) -> Result<i32, Failure> {
    let (stages, stage) =
        pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).map_err(|error| Failure::Fork(error.into()))?;
    let entries = cgroup.map(OwnCgroup::entries).unwrap_or_default();
    let inherited = plan.inherited.clone();
    let told = stage.as_raw_fd();
    let mut command = Command::new(&plan.program.path);
    command.arg0(&plan.program.arg0).args(&plan.arguments);
    let between = move || {
        tell(told, Stage::Entry)?;
        // The cgroup first, as long as nobody kills us.
        for entry in &entries {
            // SAFETY: the file is open until the child has started.
            rustix::io::write(unsafe { BorrowedFd::borrow_raw(*entry) }, b"0")?;
        }
        inherited.restore();
        if traced {
            tell(told, Stage::Trace)?;
            // A signal would stop a tracee, which its tracer waits for in vain while it waits for exec.
            block_all_but_trap()?;
            // SAFETY: the call takes no pointer.
            if unsafe { libc::ptrace(libc::PTRACE_TRACEME) } != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        tell(told, Stage::Exec)
    };
    // SAFETY: what is called between fork and exec makes system calls only: it takes no lock and no memory.
    unsafe { command.pre_exec(between) };
    match command.spawn() {
        // Its end is waited for elsewhere, together with that of those that lost their parent.
        Ok(child) => i32::try_from(child.id()).map_err(|_| Failure::Fork(io::ErrorKind::InvalidData.into())),
        Err(error) => {
            drop(stage);
            Err(match last_stage(&stages) {
                None => Failure::Fork(error),
                Some(Stage::Entry) => Failure::Entry(error),
                Some(Stage::Trace) => Failure::Trace,
                Some(Stage::Exec) => Failure::Exec(error),
            })
        }
    }
}

fn tell(to: RawFd, stage: Stage) -> io::Result<()> {
    // SAFETY: the pipe is open until the child has started.
    rustix::io::write(unsafe { BorrowedFd::borrow_raw(to) }, &[stage as u8])?;
    Ok(())
}

fn last_stage(stages: &OwnedFd) -> Option<Stage> {
    let mut told = [0; 3];
    let length = rustix::io::read(stages, &mut told).ok()?;
    let last = told.get(..length)?.last()?;
    [Stage::Entry, Stage::Trace, Stage::Exec].into_iter().find(|stage| *stage as u8 == *last)
}
