//! Makes a forker what a mixture wants it to be, with nothing in its way yet.

use anyhow::{Context, Result, ensure};

use super::ingredient::{Ingredient, State};
use super::kitchen::Kitchen;
use super::pot::Pot;
use super::recipe::Recipe;
use crate::fork::call::Call;
use crate::fork::cause::{DESCRIPTOR, MAPPING};
use crate::fork::forker::{Forker, join};
use crate::fork::order::Order;
use crate::fork::truth::{Level, namespace};
use crate::witness::cgroup::Version;

/// The least that `kernel.pid_max` can be, and the first id after a new start.
const LEAST_PID_MAX: u64 = 301;
const FIRST_ID: u64 = 300;
/// Some more than that.
const FEW_IDS: u64 = 12;
/// How many namespaces are more than are asked for.
const FEW_NAMESPACES: u64 = 16;

impl Kitchen<'_> {
    /// Makes the forker what it has to be, with nothing in its way yet.
    pub(super) fn prepare(&mut self, recipe: &Recipe, pot: &mut Pot) -> Result<()> {
        let forker = &mut self.forker;
        forker.tell(&join(&self.place.inner)?)?;
        if let (true, Some(full)) = (recipe.has(Ingredient::MemoryCgroup), &self.full) {
            if full.place.inner.version() == Version::V2 {
                forker.tell(&Order::Write {
                    file: "/proc/self/oom_score_adj".into(),
                    text: "-1000".to_owned(),
                })?;
            }
            // On version 1 the way back is to where it is in this hierarchy: the root.
            let back = match full.place.inner.version() {
                Version::V1 => full.place.inner.chain().last().context("a cgroup has no root")?,
                Version::V2 => self.place.inner.clone(),
            };
            forker.tell(&Order::Gate { there: full.place.inner.procs_file()?, back: back.procs_file()? })?;
            // Its memory is its own from here on: no page needs to be copied, and charged, in there.
            forker.tell(&Order::Lock)?;
        }
        if recipe.has(Ingredient::Table) {
            forker.tell(&Order::Open { file: "/dev/null".into(), descriptor: DESCRIPTOR })?;
        }
        if recipe.state(Ingredient::Overcommit) == Some(State::Reached) {
            forker.tell(&MAPPING)?;
        }
        if recipe.has(Ingredient::NestedPidMax) || recipe.has(Ingredient::FirstPidMax) {
            forker.tell(&write_setting("kernel/ns_last_pid", FIRST_ID - 1))?;
            let tally = forker.tell(&Order::Hold { call: Call::Clone { flags: 0 }, count: 1 })?;
            pot.full_below = Some(tally.last_id.context("no child could be made")? + 1);
        }
        let alone = !recipe.has(Ingredient::Execution);
        if recipe.has(Ingredient::DeadNamespace) && alone {
            have_a_first_process(forker, recipe)?;
        }
        let becomes = recipe.has(Ingredient::UserLimit) || recipe.has(Ingredient::Namespaces);
        if recipe.has(Ingredient::NestedPidMax) && becomes {
            limit_ids_within(forker, recipe, pot)?;
        }
        self.change_user(recipe, pot)?;
        let forker = &mut self.forker;
        if recipe.has(Ingredient::Execution) {
            forker.tell(&Order::Execute)?;
            if recipe.state(Ingredient::Execution) == Some(State::Near) {
                forker.tell(&Order::ExecuteNoMore)?;
            } else {
                pot.threads += 1;
                pot.tasks_of_user += 1;
            }
        }
        if recipe.has(Ingredient::DeadNamespace) && !alone {
            have_a_first_process(forker, recipe)?;
            pot.tasks_of_user += u64::from(recipe.state(Ingredient::DeadNamespace) == Some(State::Near));
        }
        if recipe.has(Ingredient::NestedPidMax) && !becomes {
            limit_ids_within(forker, recipe, pot)?;
        }
        Ok(())
    }

    /// Makes the forker a user, and root of a user namespace, where the mixture wants it.
    fn change_user(&mut self, recipe: &Recipe, pot: &mut Pot) -> Result<()> {
        let forker = &mut self.forker;
        let mut outside = 0;
        if recipe.has(Ingredient::UserLimit) {
            outside = self.ground.user();
            forker.tell(&Order::Become(outside))?;
            (pot.user, pot.tasks_of_user) = (Some(outside), 1);
        }
        // A user needs rights over what it has to do later, too.
        let needs_rights = recipe.has(Ingredient::UserLimit)
            && recipe.has(Ingredient::Execution)
            && recipe.has(Ingredient::DeadNamespace);
        if recipe.has(Ingredient::Namespaces) || needs_rights {
            forker.enter_user_namespace(outside)?;
        }
        if let Some(state) = recipe.state(Ingredient::Namespaces) {
            let limit = if state == State::Reached { 0 } else { FEW_NAMESPACES };
            forker.tell(&write_setting("user/max_uts_namespaces", limit))?;
            let level = Level::User { uid: outside.into(), namespace: namespace(forker.who.pid, "user")? };
            pot.know(Ingredient::Namespaces, (level, Some(limit), Some(0), "namespaces"));
        }
        Ok(())
    }
}

/// The order to change a setting of the kernel's, which may be one of the forker's namespace alone.
fn write_setting(name: &str, value: u64) -> Order {
    Order::Write { file: format!("/proc/sys/{name}").into(), text: value.to_string() }
}

/// Makes the first process of a PID namespace for the forker's children, which ends or stays.
fn have_a_first_process(forker: &mut Forker, recipe: &Recipe) -> Result<()> {
    forker.tell(&Order::Unshare(libc::CLONE_NEWPID as u64))?;
    match recipe.state(Ingredient::DeadNamespace) {
        Some(State::Near) => forker.hold(Call::Fork, 1),
        _ => forker.succeed(Call::Fork),
    }
}

/// Limits the ids of the PID namespace that the forker is in.
fn limit_ids_within(forker: &mut Forker, recipe: &Recipe, pot: &mut Pot) -> Result<()> {
    ensure!(
        pot.full_below == i32::try_from(LEAST_PID_MAX).ok(),
        "the namespace gave id {:?}",
        pot.full_below
    );
    let near = recipe.state(Ingredient::NestedPidMax) == Some(State::Near);
    let limit = if near { LEAST_PID_MAX + FEW_IDS } else { LEAST_PID_MAX };
    let level = Level::PidNamespace { level: 1, inode: Some(namespace(forker.who.pid, "pid")?) };
    forker.tell(&write_setting("kernel/pid_max", limit))?;
    pot.know(Ingredient::NestedPidMax, (level, Some(limit), None, "ids"));
    Ok(())
}
