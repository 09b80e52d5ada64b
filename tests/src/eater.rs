//! A process that eats memory, as the scenario that started it sees it.

use std::env::current_exe;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::SystemTime;
use std::{io, thread};

use anyhow::{Context, Result, bail};

use crate::deadline::Deadline;
use crate::eat::{Eat, word};
use crate::lines::Lines;
use crate::process::{end, go_on, stop, wait_exit};
use crate::witness::cgroup::Cgroup;
use crate::witness::procfs::{self, Process, Walked};

/// A running eater. Dropping it kills it.
#[derive(Debug)]
pub struct Eater {
    child: Child,
    orders: Option<ChildStdin>,
    words: Lines,
    /// What is known of it.
    pub facts: Facts,
}

/// What is known of an eater without oomtrace.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Its comm.
    pub name: Vec<u8>,
    /// The cgroup that it joined.
    pub cgroup: Option<Cgroup>,
    /// What /proc said when it was ready.
    pub before: Process,
    /// What a walk of its page tables found when it had filled its memory and slept.
    pub held: Option<Walked>,
    /// The wall clock before and after it was started.
    pub started: (SystemTime, SystemTime),
}

impl Eater {
    /// Starts an eater in `cgroup` and waits until it is ready.
    pub fn start(
        name: impl AsRef<[u8]>,
        eat: &Eat,
        cgroup: Option<&Cgroup>,
        deadline: Deadline,
    ) -> Result<Self> {
        Self::spawn(name.as_ref(), eat, cgroup, deadline, Command::spawn)
    }

    /// Starts one that is the first process of a PID namespace of its own.
    pub fn start_first(
        name: impl AsRef<[u8]>,
        eat: &Eat,
        cgroup: Option<&Cgroup>,
        deadline: Deadline,
    ) -> Result<Self> {
        // SAFETY: only what this thread's children are to be changes.
        let unshare = || unsafe { libc::unshare(libc::CLONE_NEWPID) };
        Self::spawn(name.as_ref(), eat, cgroup, deadline, |command| apart(unshare, command))
    }

    /// Starts one in the PID namespace of another.
    pub fn start_beside(
        other: &Self,
        name: impl AsRef<[u8]>,
        eat: &Eat,
        cgroup: Option<&Cgroup>,
        deadline: Deadline,
    ) -> Result<Self> {
        let path = format!("/proc/{}/ns/pid", other.pid());
        let namespace = File::open(&path).with_context(|| format!("cannot open {path}"))?;
        // SAFETY: only what this thread's children are to be changes.
        let enter = || unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWPID) };
        Self::spawn(name.as_ref(), eat, cgroup, deadline, |command| apart(enter, command))
    }

    /// Starts one by `spawn`, and waits until it is ready.
    fn spawn(
        name: &[u8],
        eat: &Eat,
        cgroup: Option<&Cgroup>,
        deadline: Deadline,
        spawn: impl FnOnce(&mut Command) -> io::Result<Child>,
    ) -> Result<Self> {
        let name = name.to_vec();
        let before = SystemTime::now();
        let mut child = spawn(&mut command(&name, eat, cgroup)?).context("cannot start an eater")?;
        let orders = child.stdin.take();
        let words = Lines::follow(child.stdout.take().context("an eater has no standard output")?);
        let pid = u64::from(child.id());
        let started = (before, SystemTime::now());
        let facts = Facts { name, cgroup: cgroup.cloned(), before: Process::default(), held: None, started };
        let mut eater = Self { child, orders, words, facts };
        eater.hear(word::READY, deadline)?;
        eater.facts.before = procfs::process(pid)?;
        Ok(eater)
    }

    /// Its pid.
    #[must_use]
    pub fn pid(&self) -> u64 {
        self.facts.pid()
    }

    /// Lets it go on to the step `order`, without waiting. What it held before is no measure of it any more.
    pub fn order(&mut self, order: &str) -> Result<()> {
        self.facts.held = None;
        let orders = self.orders.as_mut().context("an eater has no standard input")?;
        writeln!(orders, "{order}").with_context(|| format!("cannot tell {} to {order}", self.facts.label()))
    }

    /// Has it fill its memory and waits until it sleeps again; then walks its page tables.
    pub fn fill_and_hold(&mut self, deadline: Deadline) -> Result<()> {
        self.take_and_hold(word::FILL, deadline)
    }

    /// The same of what it is to hoard, which it maps only then.
    pub fn hoard_and_hold(&mut self, deadline: Deadline) -> Result<()> {
        self.take_and_hold(word::HOARD, deadline)?;
        self.facts.before = procfs::process(self.pid())?;
        Ok(())
    }

    fn take_and_hold(&mut self, order: &str, deadline: Deadline) -> Result<()> {
        self.order(order)?;
        self.hear(word::FULL, deadline)?;
        self.facts.held = Some(procfs::walk(self.pid())?);
        Ok(())
    }

    /// Waits until the kernel has refused what it was told to hoard.
    pub fn refused(&mut self, deadline: Deadline) -> Result<()> {
        self.hear(word::REFUSED, deadline)
    }

    /// Waits until it has filled or gathered what it was told to.
    pub fn full(&mut self, deadline: Deadline) -> Result<()> {
        self.hear(word::FULL, deadline)
    }

    /// Waits until it has filled what it was told to, or has been killed over it. Gives whether it survived.
    pub fn survived(&mut self, deadline: Deadline) -> Result<bool> {
        let what = format!("{} to be done", self.facts.label());
        match self.words.next(deadline, &what)? {
            Some(word) if word == word::FULL.as_bytes() => Ok(true),
            Some(word) => bail!("{} said {:?}", self.facts.label(), word.escape_ascii().to_string()),
            None => self.killed(deadline).map(|()| false),
        }
    }

    /// Waits until it has been killed; an error if it ended in another way.
    pub fn killed(&mut self, deadline: Deadline) -> Result<()> {
        let what = format!("{} to be killed", self.facts.label());
        while let Some(word) = self.words.next(deadline, &what)? {
            if word == word::FULL.as_bytes() {
                bail!("{} filled all its memory and should have been killed before", self.facts.label());
            }
        }
        let status = wait_exit(&mut self.child, deadline, &what)?;
        if status.signal() == Some(9) {
            Ok(())
        } else {
            bail!("{} ended with {status}, not by SIGKILL", self.facts.label())
        }
    }

    /// Sends it SIGKILL, and does not wait.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill().context("cannot kill an eater")
    }

    /// Stops it (SIGSTOP), and waits until it stands still: what it does in the kernel has ended.
    pub fn stand_still(&self, deadline: Deadline) -> Result<()> {
        stop(&self.child, deadline)
    }

    /// Lets it go on (SIGCONT).
    pub fn go_on(&self) -> Result<()> {
        go_on(&self.child)
    }

    /// Whether it has not ended yet.
    pub fn lives(&mut self) -> Result<bool> {
        Ok(self.child.try_wait().context("cannot ask whether an eater has ended")?.is_none())
    }

    /// Waits for one word.
    fn hear(&mut self, expected: &str, deadline: Deadline) -> Result<()> {
        let what = format!("{} to say {expected}", self.facts.label());
        match self.words.next(deadline, &what)? {
            Some(word) if word == expected.as_bytes() => Ok(()),
            Some(word) => bail!(
                "{} said {:?} instead of {expected}",
                self.facts.label(),
                word.escape_ascii().to_string()
            ),
            None => {
                let status = wait_exit(&mut self.child, deadline, &what)?;
                bail!("{} ended with {status} before it said {expected}", self.facts.label())
            }
        }
    }
}

impl Facts {
    /// Its pid.
    #[must_use]
    pub fn pid(&self) -> u64 {
        self.before.pid
    }

    /// The number of its threads.
    #[must_use]
    pub fn threads(&self) -> u64 {
        self.before.tids.len() as u64
    }

    /// Its name for messages.
    #[must_use]
    pub fn label(&self) -> String {
        self.name.escape_ascii().to_string()
    }
}

impl Drop for Eater {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// Spawns a command from a thread whose children are to be in another PID namespace by `enter`, which then ends.
fn apart(enter: impl FnOnce() -> libc::c_int + Send, command: &mut Command) -> io::Result<Child> {
    let aside = || match enter() {
        0 => command.spawn(),
        _ => Err(io::Error::last_os_error()),
    };
    let failed = |_| Err(io::Error::other("the thread that was to start it panicked"));
    thread::scope(|scope| scope.spawn(aside).join().unwrap_or_else(failed))
}

/// The command line of an eater.
fn command(name: &[u8], eat: &Eat, cgroup: Option<&Cgroup>) -> Result<Command> {
    use std::os::unix::{ffi::OsStrExt, process::CommandExt};

    let mut command = Command::new(current_exe().context("cannot find the scenarios' own binary")?);
    if let Some(program) = &eat.program {
        command.arg0(program);
    }
    command.envs(eat.environment.iter().map(|(name, value)| (name, value)));
    command.arg("eat").stdin(Stdio::piped()).stdout(Stdio::piped());
    command.arg("--name").arg(std::ffi::OsStr::from_bytes(name));
    for (option, bytes) in [
        ("--anon", eat.anon),
        ("--pace", eat.pace),
        ("--file", eat.file),
        ("--shmem", eat.shmem),
        ("--more", eat.more),
    ] {
        command.arg(option).arg(bytes.to_string());
    }
    let hoarded = [
        ("--written", eat.written),
        ("--messages", eat.messages),
        ("--locked", eat.locked),
        ("--shred", eat.shred),
    ];
    let kin = [("--sharers", eat.sharers as u64), ("--children", eat.children as u64)];
    let pipes = [("--pipes", eat.pipes as u64)];
    for (option, number) in hoarded.into_iter().chain(kin).chain(pipes).filter(|(_, number)| *number > 0) {
        command.arg(option).arg(number.to_string());
    }
    if eat.promised {
        command.arg("--promised");
    }
    if let Some(node) = eat.node {
        command.arg("--node").arg(node.to_string());
    }
    if let Some(path) = &eat.asks_about {
        command.arg("--asks-about").arg(path);
    }
    command.arg("--threads").arg(eat.threads.max(1).to_string());
    if let Some(adj) = eat.adj {
        command.arg("--adj").arg(adj.to_string());
    }
    if let Some(uid) = eat.uid {
        command.arg("--uid").arg(uid.to_string());
    }
    if let Some(cgroup) = cgroup {
        command.arg("--cgroup-procs").arg(cgroup.procs_file()?);
    }
    command.arg("--").args(&eat.ballast);
    Ok(command)
}
