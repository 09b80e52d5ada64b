//! Brings mixtures about.

use anyhow::Result;

use super::ingredient::{Ingredient, State};
use super::place::{Full, Place};
use super::pot::Pot;
use super::reach::TABLE;
use super::recipe::Recipe;
use crate::fork::cause::Promises;
use crate::fork::forker::Forker;
use crate::fork::ground::Ground;
use crate::fork::order::{Order, Tally};
use crate::fork::setting::Setting;
use crate::fork::state::{Policy, schedule};
use crate::fork::truth::{Level, Truth};
use crate::witness::cgroup::Version;
use crate::witness::tree::Tree;

/// What is made once for all mixtures. Their forkers are children of one process for a while.
#[derive(Debug)]
pub struct Kitchen<'m> {
    pub(super) ground: Ground<'m>,
    pub(super) forker: Forker,
    /// Where the forkers are.
    pub(super) place: Place,
    /// What is full of memory, where there is such a thing.
    pub(super) full: Option<Full>,
    pub(super) settings: Settings,
    _trees: Vec<Tree>,
}

/// What concerns the whole machine. Each is set back once a mixture is done.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) threads: Setting,
    pub(super) promises: Promises,
    pub(super) table: Setting,
    pub(super) ids: Setting,
}

/// How many descriptors the forker may have: no more than the least that all may have.
const DESCRIPTORS: u64 = TABLE.0;
const PROOF: &str =
    "it is the first in the order in which copy_process() looks of what is reached and the call asks for";

impl<'m> Kitchen<'m> {
    /// Makes it.
    pub fn open(ground: Ground<'m>) -> Result<Self> {
        let forker = ground.forker("mixer")?;
        let tasks = ground.tasks()?;
        let place = Place::make(&tasks, "roomy")?;
        let mut trees = vec![tasks];
        let full = if Ingredient::MemoryCgroup.is_available(ground.machine) {
            let memory = ground.memory()?;
            let full = Full::make(&memory, &ground)?;
            trees.push(memory);
            Some(full)
        } else {
            None
        };
        let settings = Settings {
            threads: Setting::keep("kernel/threads-max")?,
            promises: Promises::keep()?,
            table: Setting::keep("fs/nr_open")?,
            ids: Setting::keep("kernel/pid_max")?,
        };
        Ok(Self { ground, forker, place, full, settings, _trees: trees })
    }

    /// Brings a mixture about, with a forker of this name. Gives what came of its calls, and the truth of it.
    pub fn cook(&mut self, recipe: &Recipe, name: &str) -> Result<(Tally, Truth)> {
        let inside = if recipe.has(Ingredient::NestedPidMax) { libc::CLONE_NEWPID as u64 } else { 0 };
        self.forker.tell(&Order::Enter(inside))?;
        self.forker.tell(&Order::Name(name.to_owned()))?;
        let mut pot = Pot { threads: 1, ..Pot::default() };
        self.prepare(recipe, &mut pot)?;
        let tried = self.reach(recipe, &mut pot).and_then(|()| self.attempt(recipe));
        let back = self.put_back(recipe);
        let tally = tried?;
        back?;
        let truth = self.truth(recipe, &pot, &tally, name)?;
        self.forker.tell(&Order::Leave)?;
        Ok((tally, truth))
    }

    /// Has the forker try.
    fn attempt(&mut self, recipe: &Recipe) -> Result<Tally> {
        let mut orders = vec![Order::Attempt { call: recipe.call, times: recipe.times }];
        if let Some(state) = recipe.state(Ingredient::Pidfd) {
            let limit = |soft| Order::Limit { resource: libc::RLIMIT_NOFILE, soft, hard: DESCRIPTORS };
            let reached = limit(if state == State::Reached { 0 } else { DESCRIPTORS });
            orders = vec![reached, Order::All(orders), limit(DESCRIPTORS)];
        }
        let gated = recipe.has(Ingredient::MemoryCgroup);
        self.forker.tell(&if gated { Order::Within(orders) } else { Order::All(orders) })
    }

    /// Takes every limit of the machine's and the cgroups' back.
    fn put_back(&self, recipe: &Recipe) -> Result<()> {
        let settings = &self.settings;
        let concerned = [
            (Ingredient::Threads, &settings.threads),
            (Ingredient::FirstPidMax, &settings.ids),
            (Ingredient::Table, &settings.table),
        ];
        for (_, setting) in concerned.iter().filter(|(one, _)| recipe.has(*one)) {
            setting.restore()?;
        }
        if recipe.has(Ingredient::Overcommit) {
            settings.promises.restore()?;
        }
        if recipe.has(Ingredient::Deadline) {
            schedule(self.forker.process()?.as_raw_nonzero().get(), Policy::Usual)?;
        }
        let mut places = vec![&self.place];
        places.extend(
            self.full.as_ref().map(|full| &full.place).filter(|place| place.inner.version() == Version::V2),
        );
        for place in places {
            place.inner.set_task_limit(None)?;
            place.outer.set_task_limit(None)?;
        }
        Ok(())
    }

    /// The cgroup that the forker goes to for its attempts, with all its threads and to be counted there: in version 2
    /// what is full of memory is one with what counts tasks.
    pub(super) fn place_there(&self, recipe: &Recipe) -> Option<&Place> {
        let full = self.full.as_ref().filter(|full| full.place.inner.version() == Version::V2);
        full.filter(|_| recipe.has(Ingredient::MemoryCgroup)).map(|full| &full.place)
    }

    /// What is true of it.
    fn truth(&self, recipe: &Recipe, pot: &Pot, tally: &Tally, name: &str) -> Result<Truth> {
        let comm = name.to_owned();
        let Some(one) = recipe.refuses() else {
            return Ok(Truth { comm, errno: None, ..Truth::of(&self.forker, recipe.call, 0, tally)? });
        };
        let (level, limit, usage, unit) = match (one, &self.full) {
            (Ingredient::MemoryCgroup, Some(full)) => {
                let outer = &full.place.outer;
                let level = Level::Cgroup { path: outer.path.clone(), hierarchy: outer.hierarchy_id() };
                (level, Some(full.limit), Some(outer.memory()?), "bytes")
            }
            _ => pot
                .known
                .iter()
                .find(|(each, _)| *each == one)
                .map_or_else(|| (Level::Task, None, None, ""), |(_, known)| known.clone()),
        };
        let cgroup = match (one, &self.full) {
            (Ingredient::MemoryCgroup, Some(full)) => &full.place.inner,
            _ => &self.place_there(recipe).unwrap_or(&self.place).inner,
        };
        let errno = one.errno();
        Ok(Truth {
            cause: Some(one.cause()),
            comm,
            cgroup: Some(cgroup.path.clone()),
            level,
            limit,
            usage,
            unit,
            namespace: (one == Ingredient::Namespaces).then_some("uts"),
            proof: PROOF,
            count: recipe.times,
            ..Truth::of(&self.forker, recipe.call, errno, tally)?
        })
    }
}
