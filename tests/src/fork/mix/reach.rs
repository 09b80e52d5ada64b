//! Has every limit of a mixture be reached, or nearly.

use anyhow::{Context, Result};

use super::ingredient::{Ingredient, State};
use super::kitchen::Kitchen;
use super::pot::Pot;
use super::recipe::Recipe;
use crate::fork::cause::{TABLE_LIMIT, promised_memory, threads_of_machine};
use crate::fork::order::Order;
use crate::fork::state::{Policy, schedule};
use crate::fork::truth::{Level, namespace};

/// How far the number of threads is from the limit, either way: the kernel's own come and go.
const THREADS: u64 = 4;
const FEW_THREADS: u64 = 30;
/// How many processes a user may have at most.
const TASKS: u64 = 100;
/// The limits that forbid and allow a large table of descriptors.
pub const TABLE: (u64, u64) = (TABLE_LIMIT, 256);

impl Kitchen<'_> {
    /// Lets every limit be reached, or nearly.
    pub(super) fn reach(&mut self, recipe: &Recipe, pot: &mut Pot) -> Result<()> {
        let forker = &mut self.forker;
        if let (Some(state), Some(user)) = (recipe.state(Ingredient::UserLimit), pot.user) {
            let limit = pot.tasks_of_user + spare(state);
            forker.tell(&Order::Limit { resource: libc::RLIMIT_NPROC, soft: limit, hard: TASKS })?;
            let namespaced = self.ground.machine.is_at_least(5, 14);
            let namespace =
                namespace(if namespaced { forker.who.pid } else { std::process::id().into() }, "user")?;
            let level = Level::User { uid: user.into(), namespace };
            pot.know(Ingredient::UserLimit, (level, Some(limit), Some(pot.tasks_of_user), "tasks"));
        }
        if recipe.has(Ingredient::DeadNamespace) {
            let inode = Some(namespace(forker.who.pid, "pid_for_children")?);
            let level = forker.who.ns_pids.len() as u64;
            pot.know(Ingredient::DeadNamespace, (Level::PidNamespace { level, inode }, None, None, ""));
        }
        self.limit_tasks(recipe, pot)?;
        let Self { forker, settings, .. } = self;
        if let Some(state) = recipe.state(Ingredient::Deadline) {
            let policy = if state == State::Reached { Policy::DEADLINE } else { Policy::DeadlineReset };
            schedule(forker.process()?.as_raw_nonzero().get(), policy)?;
            pot.know(Ingredient::Deadline, (Level::Task, None, None, ""));
        }
        if let Some(state) = recipe.state(Ingredient::Table) {
            let limit = if state == State::Reached { TABLE.0 } else { TABLE.1 };
            settings.table.set(limit)?;
            pot.know(Ingredient::Table, (Level::Machine, Some(limit), None, "descriptors"));
        }
        if recipe.has(Ingredient::Overcommit) {
            settings.promises.limit()?;
            let (limit, promised) = promised_memory()?;
            pot.know(Ingredient::Overcommit, (Level::Machine, Some(limit), Some(promised), "bytes"));
        }
        if let (true, Some(end)) = (recipe.has(Ingredient::FirstPidMax), pot.full_below) {
            let limit = u64::try_from(end).context("an id is negative")?;
            settings.ids.set(limit)?;
            let level =
                Level::PidNamespace { level: 0, inode: Some(namespace(std::process::id().into(), "pid")?) };
            pot.know(Ingredient::FirstPidMax, (level, Some(limit), None, "ids"));
        }
        if let Some(state) = recipe.state(Ingredient::Threads) {
            let threads = threads_of_machine()?;
            let limit = if state == State::Reached { threads - THREADS } else { threads + FEW_THREADS };
            settings.threads.set(limit)?;
            pot.know(Ingredient::Threads, (Level::Machine, Some(limit), Some(threads), "threads"));
        }
        Ok(())
    }

    /// Limits the tasks of the cgroup that the forker will be in, and of that two levels up.
    fn limit_tasks(&self, recipe: &Recipe, pot: &mut Pot) -> Result<()> {
        let limits = [(Ingredient::Tasks, &self.place.inner), (Ingredient::OuterTasks, &self.place.outer)];
        let there = self.place_there(recipe);
        for (one, cgroup) in limits {
            let Some(state) = recipe.state(one) else { continue };
            let (cgroup, more) = match (there, one) {
                (None, _) => (cgroup, 0),
                (Some(place), Ingredient::Tasks) => (&place.inner, pot.threads),
                (Some(place), _) => (&place.outer, pot.threads),
            };
            let tasks = cgroup.tasks()? + more;
            let limit = tasks + spare(state);
            cgroup.set_task_limit(Some(limit))?;
            let level = Level::Cgroup { path: cgroup.path.clone(), hierarchy: cgroup.hierarchy_id() };
            pot.know(one, (level, Some(limit), Some(tasks), "tasks"));
        }
        Ok(())
    }
}

/// How many more than are used may be had.
fn spare(state: State) -> u64 {
    match state {
        State::Reached => 0,
        State::Near => 1,
    }
}
