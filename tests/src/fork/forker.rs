//! A process that forks, as who started it sees it.

use std::env::current_exe;
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Pid;

use crate::deadline::Deadline;
use crate::fork::call::Call;
use crate::fork::order::{Answer, Order, Tally};
use crate::lines::Lines;
use crate::process::{die_with_us, end, wait_exit};
use crate::witness::cgroup::Cgroup;

/// A running forker. Dropping it ends it, and all that it made.
#[derive(Debug)]
pub struct Forker {
    child: Child,
    orders: Option<ChildStdin>,
    words: Lines,
    deadline: Deadline,
    /// Its comm.
    pub name: String,
    /// Who it was when it answered last.
    pub who: Answer,
}

/// How long it may take to end of itself.
const END: Duration = Duration::from_secs(5);

impl Forker {
    /// Starts one.
    pub fn start(name: &str, deadline: Deadline) -> Result<Self> {
        Self::spawn(name, &[], deadline)
    }

    /// Starts one that forks from a thread which is not its process's first.
    pub fn start_threaded(name: &str, deadline: Deadline) -> Result<Self> {
        Self::spawn(name, &["--thread"], deadline)
    }

    fn spawn(name: &str, options: &[&str], deadline: Deadline) -> Result<Self> {
        let mut command = Command::new(current_exe().context("cannot find the scenarios' own binary")?);
        command.arg("fork").arg("--name").arg(OsStr::from_bytes(name.as_bytes())).args(options);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        die_with_us(&mut command);
        let mut child = command.spawn().context("cannot start a forker")?;
        let words = Lines::follow(child.stdout.take().context("a forker has no standard output")?);
        let orders = child.stdin.take();
        let mut forker =
            Self { child, orders, words, deadline, name: name.to_owned(), who: Answer::default() };
        forker.tell(&Order::All(Vec::new()))?;
        Ok(forker)
    }

    /// Has it carry out an order, and waits until it has. Gives what came of its calls, if there were any.
    pub fn tell(&mut self, order: &Order) -> Result<Tally> {
        self.send(order)?;
        self.answer(order)
    }

    /// Lets it begin to carry out an order.
    pub fn send(&mut self, order: &Order) -> Result<()> {
        let orders = self.orders.as_mut().context("a forker has no standard input")?;
        let line = serde_json::to_string(order).context("cannot write an order")?;
        writeln!(orders, "{line}").with_context(|| format!("cannot tell {} to {order:?}", self.name))
    }

    /// Waits for the answer to the order that was sent.
    pub fn answer(&mut self, order: &Order) -> Result<Tally> {
        let what = format!("{} to be done with {order:?}", self.name);
        let Some(line) = self.words.next(self.deadline, &what)? else {
            let status = wait_exit(&mut self.child, self.deadline, &what)?;
            bail!("{} ended with {status} over {order:?}", self.name)
        };
        let answer: Answer = serde_json::from_slice(&line).context("an answer does not have its form")?;
        self.who = answer.clone();
        match answer.error {
            Some(error) => bail!("{} could not {order:?}: {error}", self.name),
            None => Ok(answer.tally.unwrap_or_default()),
        }
    }

    /// Has it take another name.
    pub fn rename(&mut self, name: &str) -> Result<()> {
        self.tell(&Order::Name(name.to_owned()))?;
        name.clone_into(&mut self.name);
        Ok(())
    }

    /// Has it join a cgroup.
    pub fn join(&mut self, cgroup: &Cgroup) -> Result<()> {
        self.tell(&join(cgroup)?).map(drop)
    }

    /// Has it be root of a user namespace of its own, as the user `outside` that it is.
    pub fn enter_user_namespace(&mut self, outside: u32) -> Result<()> {
        self.tell(&Order::Unshare(libc::CLONE_NEWUSER.cast_unsigned().into()))?;
        self.tell(&Order::MapUser { inside: 0, outside }).map(drop)
    }

    /// Has it make children that sleep. An error if it cannot make all of them.
    pub fn hold(&mut self, call: Call, count: u64) -> Result<()> {
        let tally = self.tell(&Order::Hold { call, count })?;
        ensure!(tally.successes == count, "{} can make only some of {count}: {tally:?}", self.name);
        Ok(())
    }

    /// Has it make children that end, so often.
    pub fn attempt(&mut self, call: Call, times: u64) -> Result<Tally> {
        self.tell(&Order::Attempt { call, times })
    }

    /// Has it try so often in vain. An error if not every time the same error came back.
    pub fn fail(&mut self, call: Call, times: u64, errno: i32) -> Result<Tally> {
        let tally = self.attempt(call, times)?;
        ensure!(
            tally.failed(errno) == times && tally.attempts == times,
            "{} was to be refused {times} times by error {errno}: {tally:?}",
            self.name
        );
        Ok(tally)
    }

    /// Has it make one child, which shows that what refused that before has been lifted.
    pub fn succeed(&mut self, call: Call) -> Result<()> {
        let tally = self.attempt(call, 1)?;
        ensure!(tally.successes == 1, "{} should be able to make a child again: {tally:?}", self.name);
        Ok(())
    }

    /// Its real uid, as the outermost user namespace has it.
    pub fn uid(&self) -> Result<u64> {
        let file = format!("/proc/{}/status", self.who.pid);
        let status = fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
        let uid = status
            .lines()
            .find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().next()?.parse().ok());
        uid.with_context(|| format!("{file} has no Uid"))
    }

    /// Whom to send signals to.
    pub fn process(&self) -> Result<Pid> {
        i32::try_from(self.who.pid).ok().and_then(Pid::from_raw).context("a forker has no pid")
    }
}

impl Drop for Forker {
    fn drop(&mut self) {
        // Of itself it waits for all that it made, which others might take their time to do.
        self.orders = None;
        let _killed_then = wait_exit(&mut self.child, Deadline::after(END), "a forker to end");
        end(&mut self.child);
    }
}

/// The order to join a cgroup.
pub fn join(cgroup: &Cgroup) -> Result<Order> {
    Ok(Order::Write { file: cgroup.procs_file()?, text: "0".to_owned() })
}
