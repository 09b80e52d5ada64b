//! What happens on a machine now and then.

use std::fs;
use std::process::Command;
use std::thread::sleep;

use anyhow::{Context, Result};

use crate::eat::{Eat, word};
use crate::fork::call::Call;
use crate::fork::forker::Forker;
use crate::scenario::forks::SETTLED;
use crate::scenario::userspace_kill::act_as;
use crate::size::MIB;
use crate::stage::Stage;
use crate::witness::tree::{Tree, remove};

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// A cgroup is at its limit.
    Cgroup,
    /// A cgroup has as many tasks as it may.
    Forks,
    /// A daemon in user space kills.
    Daemon,
    /// The machine has no memory left.
    Machine,
}

impl Trouble {
    /// What comes as number `number`; at half of `all` the machine runs out, where it may.
    pub fn at(number: u64, all: u64, disposable: bool) -> Self {
        match number % 4 {
            _ if disposable && number == all / 2 => Self::Machine,
            1 => Self::Forks,
            3 => Self::Daemon,
            _ => Self::Cgroup,
        }
    }
}

/// What has come of all of it.
#[derive(Debug, Default)]
pub struct Toll {
    /// Whom the kernel killed.
    pub killed: Vec<u64>,
    /// How many of them in cgroups, by the cgroups' own counts.
    pub counted: u64,
    /// Whom a daemon killed.
    pub by_daemon: Vec<u64>,
    /// Forks that were refused, by the cgroups' own counts.
    pub refused: u64,
}

/// How many tasks there may be in a cgroup, and how often one more is asked for.
const TASKS: u64 = 2;
const REFUSALS: u64 = 10;

/// Has it happen, in a cgroup of its own that is gone afterwards.
pub fn provoke(
    stage: &Stage<'_>,
    trouble: Trouble,
    trees: [&Tree; 2],
    number: u64,
    toll: &mut Toll,
) -> Result<()> {
    let [memory, tasks] = trees;
    let name = format!("soak-{number:03}");
    let tree = if trouble == Trouble::Forks { tasks } else { memory };
    let group = tree.group(&name)?;
    match trouble {
        Trouble::Cgroup => {
            group.set_limit(16 * MIB)?;
            let mut eater = stage.eater(&name, &Eat { anon: 32 * MIB, ..Eat::default() }, Some(&group))?;
            eater.order(word::FILL)?;
            eater.killed(stage.deadline)?;
            toll.killed.push(eater.pid());
            toll.counted += group.oom_kills()?;
        }
        Trouble::Forks => {
            group.set_task_limit(Some(TASKS))?;
            let mut forker = Forker::start(&name, stage.deadline)?;
            forker.join(&group)?;
            forker.hold(Call::Fork, TASKS - 1)?;
            forker.fail(Call::Fork, REFUSALS, libc::EAGAIN)?;
            // Where no hook shows forks, it is the group's own count that is read, as long as there is one.
            sleep(SETTLED);
            toll.refused += group.tasks_refused()?;
        }
        Trouble::Daemon => {
            let mut eater = stage.eater(&name, &Eat { anon: 8 * MIB, ..Eat::default() }, Some(&group))?;
            eater.fill_and_hold(stage.deadline)?;
            act_as("systemd-oomd", &format!("kill -9 {}", eater.pid()))?;
            eater.killed(stage.deadline)?;
            toll.by_daemon.push(eater.pid());
        }
        Trouble::Machine => {
            let everything = 2 * (stage.machine.memory_bytes + stage.machine.swap_bytes);
            let mut eater = stage.eater(&name, &Eat { anon: everything, ..Eat::default() }, None)?;
            eater.order(word::FILL)?;
            eater.killed(stage.deadline)?;
            toll.killed.push(eater.pid());
        }
    }
    remove(&group, &group.dir().context("a cgroup has no folder")?)
}

/// A process and a cgroup come and go.
pub fn pass(tree: &Tree) -> Result<()> {
    let group = tree.group("passing")?;
    let folder = group.dir().context("a cgroup has no folder")?;
    Command::new("true").status().context("cannot start a program")?;
    fs::remove_dir(&folder).with_context(|| format!("cannot remove {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the mixture: each of them comes, the machine runs out once, and never where it was not made for that.
    #[test]
    fn all_of_it_comes() {
        let of = |disposable| (0..40).map(|number| Trouble::at(number, 40, disposable)).collect::<Vec<_>>();
        let count = |all: &[Trouble], one| all.iter().filter(|trouble| **trouble == one).count();
        let (here, there) = (of(false), of(true));
        assert_eq!((count(&here, Trouble::Machine), count(&there, Trouble::Machine)), (0, 1));
        assert_eq!((count(&here, Trouble::Forks), count(&here, Trouble::Daemon)), (10, 10));
        assert_eq!((count(&here, Trouble::Cgroup), count(&there, Trouble::Cgroup)), (20, 19));
    }
}
