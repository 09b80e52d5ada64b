//! The process that forks: `scenarios fork`, started by [`crate::fork::forker::Forker`].
//!
//! It does what standard input tells it, one [`Order`] a line, says what came of each, and ends when standard input does.
//! Whatever it makes ends with it.

use std::ffi::{CString, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, Write, stdin, stdout};
use std::mem;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::process::exit;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::Args;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, set_parent_process_death_signal, waitpid};
use rustix::thread::{UnshareFlags, set_name, unshare_unsafe};

use crate::fork::call::{Bed, Call};
use crate::fork::execution::Execution;
use crate::fork::order::{Answer, Order, Tally};
use crate::fork::{state, trap};
use crate::watch::Clocks;

/// What to be.
#[derive(Debug, Clone, Default, Args)]
pub struct Fork {
    /// The comm to take; any bytes but NUL.
    #[arg(long)]
    name: Option<OsString>,
    /// Fork from a thread that is not the process's first.
    #[arg(long)]
    thread: bool,
}

/// How long threads that were told to end may take.
const END: Duration = Duration::from_secs(10);

/// What it has made and must undo.
#[derive(Debug, Default)]
struct Works {
    bed: Option<Bed>,
    /// Children that sleep in it, and are no threads.
    held: Vec<i32>,
    execution: Option<Execution>,
    /// What forks wait for.
    trap: Option<OwnedFd>,
    /// The way into a cgroup and back.
    gate: Option<(File, File)>,
    /// Whether the child has ended as which it went on for a while.
    resumed: bool,
    /// Whether it is such a child, and is to end.
    leaves: bool,
    /// How many threads it had before it made any.
    alone: usize,
}

/// Runs the forker until its standard input ends.
pub fn run(fork: &Fork) -> Result<()> {
    let name = fork.name.clone();
    let work = move || {
        name.map_or(Ok(()), take_name)?;
        Works { alone: threads()?, ..Works::default() }.obey()
    };
    if fork.thread {
        thread::spawn(work).join().map_err(|_| anyhow!("the forking thread panicked"))?
    } else {
        work()
    }
}

impl Works {
    /// Carries out one order after the other.
    fn obey(&mut self) -> Result<()> {
        let mut line = String::new();
        // One at a time is sent, so that none is in the buffer when this process is doubled.
        while stdin().lock().read_line(&mut line).context("cannot read standard input")? > 0 {
            let order = serde_json::from_str(&line).context("an order does not have the known form")?;
            let done = self.carry_out(order);
            if mem::take(&mut self.resumed) {
                // The child has answered.
                line.clear();
                continue;
            }
            let mut answer = who()?;
            match done {
                Ok(tally) => answer.tally = tally,
                Err(error) => answer.error = Some(format!("{error:#}")),
            }
            let text = serde_json::to_string(&answer).context("cannot write an answer")?;
            let mut out = stdout().lock();
            writeln!(out, "{text}").and_then(|()| out.flush()).context("nobody listens any more")?;
            if self.leaves {
                exit(0);
            }
            line.clear();
        }
        self.release()
    }

    /// Carries out one order. Gives what came of its calls, if there were any.
    fn carry_out(&mut self, order: Order) -> Result<Option<Tally>> {
        match order {
            Order::Name(name) => take_name(name.into())?,
            Order::Write { file, text } => fs::write(&file, &text)
                .with_context(|| format!("cannot write {text:?} to {}", file.display()))?,
            Order::Become(uid) => state::become_user(uid)?,
            Order::Limit { resource, soft, hard } => state::limit(resource, soft, hard)?,
            Order::AwaitLimit { resource } => state::await_limit(resource)?,
            Order::Open { file, descriptor } => state::open(&file, descriptor)?,
            Order::Unshare(flags) => leave_namespaces(flags)?,
            Order::Enter(flags) => self.enter(flags)?,
            Order::Leave => {
                self.execution.take().map_or(Ok(()), Execution::end)?;
                self.release()?;
                self.leaves = true;
            }
            Order::MapUser { inside, outside } => state::map_user(inside, outside)?,
            Order::Map { bytes, pieces, touch } => state::map(bytes, pieces, touch)?,
            Order::Lock => state::lock()?,
            Order::Schedule(policy) => state::schedule(0, policy)?,
            Order::Filter(error) => state::filter(error)?,
            Order::Dawdle => state::dawdle()?,
            Order::Heed(signal) => state::heed(signal)?,
            Order::Execute => self.execution = Some(Execution::begin()?),
            Order::ExecuteNoMore => {
                self.execution.take().context("nothing is executed")?.end()?;
                self.await_threads()?;
            }
            Order::Hold { call, count } => return self.hold(call, count).map(Some),
            Order::Release => self.release()?,
            Order::Attempt { call, times } => {
                return attempt(call, true, |done| done < times).map(Some);
            }
            Order::Storm { call, millis } => {
                let end = Instant::now() + Duration::from_millis(millis);
                return attempt(call, true, |_| Instant::now() < end).map(Some);
            }
            Order::Flood { call, millis } => {
                state::disown()?;
                let end = Instant::now() + Duration::from_millis(millis);
                return attempt(call, false, |_| Instant::now() < end).map(Some);
            }
            Order::Trap => self.trap = Some(trap::set()?),
            Order::Gate { there, back } => {
                let open = |file: &Path| {
                    let opened = OpenOptions::new().write(true).open(file);
                    opened.with_context(|| format!("cannot open {}", file.display()))
                };
                self.gate = Some((open(&there)?, open(&back)?));
            }
            Order::Within(orders) => {
                let (mut there, mut back) = self.gate.take().context("there is no gate")?;
                there.write_all(b"0").context("cannot join a cgroup")?;
                let done = self.carry_out_all(orders);
                if let Err(error) = back.write_all(b"0") {
                    // There is no memory to say so in any other way.
                    exit(error.raw_os_error().unwrap_or(1));
                }
                self.gate = Some((there, back));
                return done.map(Some);
            }
            Order::All(orders) => return self.carry_out_all(orders).map(Some),
        }
        Ok(None)
    }

    /// Carries out one after the other, whatever fails. Gives the sum of what came of their calls.
    fn carry_out_all(&mut self, orders: Vec<Order>) -> Result<Tally> {
        let mut all = Tally::default();
        let mut failed = Ok(());
        for order in orders {
            match self.carry_out(order) {
                Ok(tally) => all.add(&tally.unwrap_or_default()),
                Err(error) => failed = failed.and(Err(error)),
            }
        }
        failed.map(|()| all)
    }

    /// Makes sleeping children.
    fn hold(&mut self, call: Call, count: u64) -> Result<Tally> {
        ensure!(call != Call::Vfork, "a child of vfork that sleeps would hold up its parent for good");
        let bed = match &mut self.bed {
            Some(bed) => bed,
            none => none.insert(Bed::make()?),
        };
        let mut tally = begun();
        while tally.attempts < count {
            let made = call.make(Some(bed));
            tally.count(made);
            match made {
                Ok(id) if !call.makes_thread() => self.held.push(id),
                Ok(_) => {}
                Err(_) => break,
            }
        }
        tally.ended_ns = Clocks::now().boot_ns;
        Ok(tally)
    }

    /// Lets the sleeping children end, and waits until they are gone.
    fn release(&mut self) -> Result<()> {
        self.bed = None;
        for id in self.held.drain(..) {
            reap(id)?;
        }
        self.await_threads()
    }

    /// Waits until threads that were told to end are gone: nobody is told when the kernel has quite done with one, and until then it
    /// counts.
    fn await_threads(&self) -> Result<()> {
        let end = Instant::now() + END;
        while threads()? > self.alone + usize::from(self.execution.is_some()) {
            ensure!(Instant::now() < end, "threads do not end");
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Goes on in new namespaces as a child. This process waits for its end, and goes on itself if that was wanted.
    fn enter(&mut self, flags: u64) -> Result<()> {
        if !go_on_as_child()? {
            self.resumed = true;
            return Ok(());
        }
        *self = Self { alone: 1, ..Self::default() };
        if flags != 0 {
            // New PID namespaces are for children alone, and this process's must stay as they are for its further ones:
            // hence one more in between.
            leave_namespaces(flags)?;
            if !go_on_as_child()? {
                exit(0)
            }
        }
        Ok(())
    }
}

/// Goes on as a child: true. Or false, as its parent, once it has ended well.
fn go_on_as_child() -> Result<bool> {
    // SAFETY: there is no other thread, so that the child may do what this process may.
    match unsafe { libc::fork() } {
        -1 => Err(std::io::Error::last_os_error()).context("cannot make a child"),
        0 => set_parent_process_death_signal(Some(Signal::KILL))
            .context("cannot choose what to die of")
            .map(|()| true),
        child => {
            let mut status = 0;
            // SAFETY: the status is a number of ours.
            while unsafe { libc::waitpid(child, &raw mut status, 0) } == -1 {}
            if status != 0 {
                eprintln!("a forker ended with wait status {status:#x}");
                exit(1)
            }
            Ok(false)
        }
    }
}

/// How many threads this process has.
fn threads() -> Result<usize> {
    Ok(fs::read_dir("/proc/self/task").context("cannot list the threads")?.count())
}

/// Takes a name.
fn take_name(name: OsString) -> Result<()> {
    let name = CString::new(name.into_vec()).context("a name cannot hold a NUL")?;
    set_name(&name).context("cannot set the name")
}

/// A count that begins now.
fn begun() -> Tally {
    Tally { begun_ns: Clocks::now().boot_ns, ..Tally::default() }
}

/// Makes children that end at once, while `more` of the number of attempts holds, and waits for each if wanted.
fn attempt(call: Call, wait: bool, more: impl Fn(u64) -> bool) -> Result<Tally> {
    let mut tally = begun();
    while more(tally.attempts) {
        let made = call.make(None);
        tally.count(made);
        if let (Ok(id), true) = (made, wait && !call.makes_thread()) {
            reap(id)?;
        }
    }
    tally.ended_ns = Clocks::now().boot_ns;
    Ok(tally)
}

/// Waits for the end of a child, however it was made.
fn reap(id: i32) -> Result<()> {
    let all = WaitOptions::from_bits_retain(libc::__WALL.cast_unsigned());
    loop {
        match waitpid(Pid::from_raw(id), all) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error).with_context(|| format!("cannot wait for the child {id}")),
        }
    }
}

/// Leaves namespaces for new ones.
fn leave_namespaces(flags: u64) -> Result<()> {
    let flags = UnshareFlags::from_bits_retain(u32::try_from(flags).context("flags out of range")?);
    // SAFETY: namespaces are all that is unshared; descriptors stay as they are.
    unsafe { unshare_unsafe(flags) }.context("cannot leave a namespace")
}

/// Who this is.
fn who() -> Result<Answer> {
    let status = fs::read_to_string("/proc/thread-self/status").context("cannot read /proc; mount it")?;
    let numbers = |key: &str| {
        let values = status.lines().find_map(|line| line.strip_prefix(key));
        let values = values.map(|values| values.split_whitespace().filter_map(|value| value.parse().ok()));
        values.map(Iterator::collect::<Vec<u64>>).with_context(|| format!("/proc/PID/status has no {key}"))
    };
    let (Some(&pid), Some(&tid)) = (numbers("Tgid:")?.first(), numbers("Pid:")?.first()) else {
        bail!("/proc/PID/status does not say which process it is of")
    };
    Ok(Answer { pid, tid, ns_pids: numbers("NSpid:")?, ..Answer::default() })
}
