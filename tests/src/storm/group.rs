//! One cgroup of a storm: made, filled, emptied by the OOM killer, and removed or filled again.

use std::env::current_exe;
use std::fs;
use std::io::{PipeReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::deadline::Deadline;
use crate::process::{end, wait_exit, wait_readable};
use crate::size::KIB;
use crate::storm::Mix;
use crate::storm::room::Room;
use crate::storm::roster::{Counted, Entry, Home, comm};
use crate::witness::cgroup::{Cgroup, Version};
use crate::witness::tree::Tree;

/// What a process eats that may live, in bytes.
const CRUMB: u64 = 64 * KIB;

/// Who lives in a cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// One process.
    Lone,
    /// One process with four threads.
    Threaded,
    /// Three processes, one killed after the other.
    Crowd,
    /// One process, after which the cgroup is removed.
    Vanishing,
    /// One process, and two that ask for a little and end by themselves if they may.
    Visited,
}

/// What one process eats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Diet {
    fill: u64,
    more: u64,
    threads: usize,
    /// Whether it may end without being killed.
    may_live: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Group<'a> {
    tree: &'a Tree,
    number: usize,
    kind: Kind,
    room: Room,
    home: Option<(Cgroup, Arc<Home>)>,
    tenants: Vec<Running>,
}

/// A process. Dropping it kills it.
#[derive(Debug)]
struct Running {
    comm: String,
    child: Child,
    diet: Diet,
}

impl Kind {
    /// The kind of cgroup `number`: a fifth of them each.
    fn of(number: usize, mix: Mix) -> Self {
        match (mix, number % 5) {
            (Mix::Plain, _) | (_, 0) => Self::Lone,
            (_, 1) => Self::Threaded,
            (_, 2) => Self::Crowd,
            (_, 3) => Self::Vanishing,
            _ => Self::Visited,
        }
    }

    /// What its tenants eat where the limit is `limit` bytes, of which `slack` bytes stay free before the
    /// gate. Each that must not live eats more than the limit by itself.
    fn diets(self, limit: u64, slack: u64) -> Vec<Diet> {
        let eaters = if self == Self::Crowd { 3 } else { 1 };
        let threads = if self == Self::Threaded { 4 } else { 1 };
        let visitors = if self == Self::Visited { 2 } else { 0 };
        let eater = Diet { fill: (limit - slack) / eaters, more: 2 * limit, threads, may_live: false };
        let visitor = Diet { fill: 0, more: CRUMB, threads: 1, may_live: true };
        let eaters = (0..eaters).map(|_| eater);
        eaters.chain((0..visitors).map(|_| visitor)).collect()
    }
}

impl<'a> Group<'a> {
    /// Cgroup `number`, to be made below `tree`.
    #[must_use]
    pub fn new(tree: &'a Tree, number: usize, mix: Mix, room: Room) -> Self {
        Self { tree, number, kind: Kind::of(number, mix), room, home: None, tenants: Vec::new() }
    }

    /// Makes the cgroup unless it is there, and starts its tenants, with `gate` to wait at. Gives how many
    /// have to be killed.
    pub fn settle(&mut self, gate: &PipeReader, serials: &AtomicU64) -> Result<u64> {
        let limit = self.room.limit(self.number);
        if self.home.is_none() {
            let cgroup = self.tree.group(&format!("g{:03}", self.number))?;
            cgroup.set_limit(limit)?;
            let home =
                Home { number: self.number, path: cgroup.path.clone(), id: cgroup.id()?, limit_bytes: limit };
            self.home = Some((cgroup, Arc::new(home)));
        }
        let (cgroup, _) = self.home.as_ref().context("a cgroup was not made")?;
        let diets = self.kind.diets(limit, self.room.slack);
        for &diet in &diets {
            let comm = comm(self.number, serials.fetch_add(1, Ordering::Relaxed));
            let child = command(&comm, diet, cgroup, gate)?.spawn().context("cannot start a tenant")?;
            self.tenants.push(Running { comm, child, diet });
        }
        Ok(diets.iter().filter(|diet| !diet.may_live).count() as u64)
    }

    /// Waits until the tenants stand at the gate. Gives whether the cgroup is at its limit, but for the
    /// slack.
    pub fn filled(&mut self, deadline: Deadline) -> Result<bool> {
        for tenant in &mut self.tenants {
            let said = tenant.child.stdout.as_mut().context("a tenant has no standard output")?;
            wait_readable(&mut *said, deadline, "a tenant to fill its cgroup")?;
            // The end of the output: it was killed before the gate, and will be found so.
            let _nothing_if_killed = said.read(&mut [0; 1]).context("cannot hear a tenant")?;
        }
        let (cgroup, home) = self.home.as_ref().context("a cgroup was not made")?;
        Ok(usage(cgroup)? + 2 * self.room.slack >= home.limit_bytes)
    }

    /// Waits for the end of all tenants and enters them in `entries`.
    pub fn emptied(&mut self, deadline: Deadline, entries: &mut Vec<Entry>) -> Result<()> {
        let (_, home) = self.home.as_ref().context("a cgroup was not made")?;
        for mut tenant in self.tenants.drain(..) {
            let status = wait_exit(&mut tenant.child, deadline, "a tenant to be killed")?;
            let killed = status.signal() == Some(9);
            let lived = tenant.diet.may_live && status.success();
            if !(killed || lived) {
                bail!("{} ended with {status}, not by SIGKILL", tenant.comm);
            }
            let (comm, pid) = (std::mem::take(&mut tenant.comm), u64::from(tenant.child.id()));
            entries.push(Entry { comm, pid, home: Arc::clone(home), killed });
        }
        Ok(())
    }

    /// Whether the cgroup goes with its last process.
    #[must_use]
    pub fn vanishes(&self) -> bool {
        self.kind == Kind::Vanishing
    }

    /// Gives what the cgroup counted, and removes it if it is of those that vanish.
    pub fn leave(&mut self, deadline: Deadline) -> Result<Option<Counted>> {
        let Some((cgroup, home)) = self.home.take() else { return Ok(None) };
        let oom_kills = cgroup.oom_kills()?;
        if self.vanishes() {
            remove(&cgroup, deadline)?;
        }
        Ok(Some(Counted { home, oom_kills, removed: self.vanishes() }))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// The memory charged to a cgroup, in bytes.
fn usage(cgroup: &Cgroup) -> Result<u64> {
    let file = if cgroup.version() == Version::V1 { "memory.usage_in_bytes" } else { "memory.current" };
    let dir = cgroup.dir().with_context(|| format!("{} is not in the mounted part", cgroup.path))?;
    let text = fs::read_to_string(dir.join(file));
    let text = text.with_context(|| format!("cannot read {file} of {}", cgroup.path))?;
    text.trim().parse().with_context(|| format!("{file} of {} is no number", cgroup.path))
}

/// Removes an empty cgroup. The kernel may call it busy for a moment after its last process was reaped.
pub fn remove(cgroup: &Cgroup, deadline: Deadline) -> Result<()> {
    let dir = cgroup.dir().with_context(|| format!("{} is not in the mounted part", cgroup.path))?;
    while let Err(error) = fs::remove_dir(&dir) {
        deadline.left("a cgroup to be removable").with_context(|| format!("{}: {error}", dir.display()))?;
        sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// The command line of a tenant.
fn command(comm: &str, diet: Diet, cgroup: &Cgroup, gate: &PipeReader) -> Result<Command> {
    let mut command = Command::new(current_exe().context("cannot find the scenarios' own binary")?);
    command.args(["tenant", "--name", comm]).arg("--cgroup-procs").arg(cgroup.procs_file()?);
    for (option, number) in [("--fill", diet.fill), ("--more", diet.more), ("--threads", diet.threads as u64)]
    {
        command.arg(option).arg(number.to_string());
    }
    command.stdin(gate.try_clone().context("cannot share the gate")?).stdout(Stdio::piped());
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards that the kinds are all there, that each tenant that must die eats more than its cgroup may
    /// have, and that all of them together leave the slack free before the gate, and no more, however many
    /// CPUs there are.
    #[test]
    fn diets_lead_to_the_kills_that_are_meant() {
        for cpus in [1, 4, 16] {
            let room = Room::of(cpus);
            let mut kills = Vec::new();
            for number in 0..5 {
                let limit = room.limit(number);
                let diets = Kind::of(number, Mix::Everything).diets(limit, room.slack);
                let free = limit.checked_sub(diets.iter().map(|diet| diet.fill).sum());
                let free = free.and_then(|free| free.checked_sub(room.slack));
                assert!(free.is_some_and(|rounded| rounded < 4 * KIB), "{cpus} CPUs: {diets:?}");
                assert!(
                    diets.iter().all(|diet| diet.may_live || diet.more > limit),
                    "{cpus} CPUs: {diets:?}"
                );
                kills.push(diets.iter().filter(|diet| !diet.may_live).count());
            }
            assert_eq!(kills, [1, 1, 3, 1, 1], "{cpus} CPUs");
        }
        assert!((0..5).all(|number| Kind::of(number, Mix::Plain) == Kind::Lone));
    }
}
