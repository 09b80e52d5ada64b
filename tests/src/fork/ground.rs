//! What a cause is brought about with.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::deadline::Deadline;
use crate::fork::call::Call;
use crate::fork::forker::Forker;
use crate::fork::order::Order;
use crate::machine::Machine;
use crate::witness::cgroup::Hierarchy;
use crate::witness::tree::Tree;

/// Users that nobody else is begin here, for each run a number of them.
const USERS: u32 = 1 << 28;
const OF_A_RUN: u32 = 64;
static USED: AtomicU32 = AtomicU32::new(0);

/// After this it has been looked up.
const LOOKED_UP: Duration = Duration::from_millis(2500);

/// The machine, and until when.
#[derive(Debug, Clone, Copy)]
pub struct Ground<'m> {
    /// The machine.
    pub machine: &'m Machine,
    /// When it has to be over.
    pub deadline: Deadline,
}

impl Ground<'_> {
    /// A throwaway subtree of the hierarchy that counts tasks.
    pub fn tasks(self) -> Result<Tree> {
        tree("pids")
    }

    /// A throwaway subtree of the memory hierarchy.
    pub fn memory(self) -> Result<Tree> {
        tree("memory")
    }

    /// Starts a forker.
    pub fn forker(&self, name: &str) -> Result<Forker> {
        Forker::start(name, self.deadline)
    }

    /// Has the first fork of a run fail, which has no other part in it. It is judged by what /proc says right after it; then
    /// oomtrace looks up where the kernel has that, which takes a second under emulation.
    pub fn fail_first(&self) -> Result<()> {
        let mut forker = self.forker("first-forker")?;
        forker.tell(&Order::Become(self.user()))?;
        forker.tell(&Order::Limit { resource: libc::RLIMIT_NPROC, soft: 1, hard: 1 })?;
        forker.fail(Call::Fork, 1, libc::EAGAIN)?;
        sleep(LOOKED_UP);
        Ok(())
    }

    /// A user that has no processes, and had none in this run.
    #[must_use]
    pub fn user(&self) -> u32 {
        USERS + std::process::id() * OF_A_RUN + USED.fetch_add(1, Ordering::Relaxed) % OF_A_RUN
    }
}

fn tree(controller: &'static str) -> Result<Tree> {
    let hierarchy = Hierarchy::of(controller)?;
    let hierarchy = hierarchy.with_context(|| format!("the controller {controller} is in no hierarchy"))?;
    Tree::new(&hierarchy, &format!("fork_{controller}"))
}
