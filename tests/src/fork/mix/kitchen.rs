//! Brings mixtures about.

use std::fs::File;

use anyhow::{Context, Result, ensure};

use super::ingredient::{Ingredient, State};
use super::recipe::Recipe;
use crate::eat::Eat;
use crate::eater::Eater;
use crate::fork::call::Call;
use crate::fork::cause::{fill_up, promised_memory, threads_of_machine};
use crate::fork::forker::{Forker, join};
use crate::fork::ground::Ground;
use crate::fork::order::{Order, Tally};
use crate::fork::setting::Setting;
use crate::fork::state::{Policy, schedule};
use crate::fork::truth::{Level, Truth, namespace};
use crate::size::MIB;
use crate::witness::cgroup::{Cgroup, Version};
use crate::witness::tree::Tree;

/// What is made once for all mixtures. Their forkers are children of one process for a while.
#[derive(Debug)]
pub struct Kitchen<'m> {
    ground: Ground<'m>,
    forker: Forker,
    /// Where the forkers are.
    place: Place,
    /// What is full of memory, where there is such a thing.
    full: Option<Full>,
    settings: Settings,
    _trees: Vec<Tree>,
}

/// A cgroup, and that two levels up.
#[derive(Debug)]
struct Place {
    outer: Cgroup,
    inner: Cgroup,
}

/// A memory cgroup at its limit, in which nobody may be killed.
#[derive(Debug)]
struct Full {
    place: Place,
    limit: u64,
    _eater: Eater,
    /// The cgroup.procs file of the root, whose rights the kernel asks for when a task goes from here to elsewhere: as long as it is
    /// open, that takes no memory (`cgroup_procs_write_permission()`, kernel/cgroup/cgroup.c).
    _root: File,
}

/// What concerns the whole machine. Each is set back once a mixture is done.
#[derive(Debug)]
struct Settings {
    threads: Setting,
    promises: Setting,
    table: Setting,
    ids: Setting,
}

/// A mixture in the making.
#[derive(Debug, Default)]
struct Pot {
    /// Whether the forker is a user without rights.
    user: Option<u32>,
    /// How many tasks that user has.
    tasks_of_user: u64,
    /// How many threads the forker has.
    threads: u64,
    /// The id below which all are used up.
    full_below: Option<i32>,
    /// What is known of each limit that is reached: its place, itself, what is used of it, and what that counts.
    known: Vec<(Ingredient, Known)>,
}

/// What is known of a limit.
type Known = (Level, Option<u64>, Option<u64>, &'static str);

/// What the eater eats, and how far below that the limit is.
const EATEN: u64 = 8 * MIB;
const BELOW: u64 = MIB;
/// The least that `kernel.pid_max` can be, and the first id after a new start.
const LEAST_PID_MAX: u64 = 301;
const FIRST_ID: u64 = 300;
/// Some more than that.
const FEW_IDS: u64 = 12;
/// How far the number of threads is from the limit, either way: the kernel's own come and go.
const THREADS: u64 = 4;
const FEW_THREADS: u64 = 30;
/// A descriptor, and the limits that forbid and allow a table with it.
const DESCRIPTOR: i32 = 200;
const TABLE: (u64, u64) = (64, 256);
/// How many descriptors the forker may have: no more than the least that all may have.
const DESCRIPTORS: u64 = TABLE.0;
/// How many processes a user may have at most.
const TASKS: u64 = 100;
/// How many namespaces are more than are asked for.
const FEW_NAMESPACES: u64 = 16;
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
            promises: Setting::keep("vm/overcommit_memory")?,
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

    /// Makes the forker what it has to be, with nothing in its way yet.
    fn prepare(&mut self, recipe: &Recipe, pot: &mut Pot) -> Result<()> {
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
            let (limit, promised) = promised_memory()?;
            forker.tell(&Order::Map {
                bytes: limit.saturating_sub(promised) / 5 * 3,
                pieces: 1,
                touch: false,
            })?;
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
            forker.tell(&Order::Unshare(libc::CLONE_NEWUSER as u64))?;
            forker.tell(&Order::MapUser { inside: 0, outside })?;
        }
        if let Some(state) = recipe.state(Ingredient::Namespaces) {
            let limit = if state == State::Reached { 0 } else { FEW_NAMESPACES };
            forker.tell(&write_setting("user/max_uts_namespaces", limit))?;
            let level = Level::User { uid: outside.into(), namespace: namespace(forker.who.pid, "user")? };
            pot.know(Ingredient::Namespaces, (level, Some(limit), Some(0), "namespaces"));
        }
        Ok(())
    }

    /// Lets every limit be reached, or nearly.
    fn reach(&mut self, recipe: &Recipe, pot: &mut Pot) -> Result<()> {
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
            let policy = if state == State::Reached { Policy::Deadline } else { Policy::DeadlineReset };
            schedule(forker.process()?.as_raw_nonzero().get(), policy)?;
            pot.know(Ingredient::Deadline, (Level::Task, None, None, ""));
        }
        if let Some(state) = recipe.state(Ingredient::Table) {
            let limit = if state == State::Reached { TABLE.0 } else { TABLE.1 };
            settings.table.set(limit)?;
            pot.know(Ingredient::Table, (Level::Machine, Some(limit), None, "descriptors"));
        }
        if recipe.has(Ingredient::Overcommit) {
            settings.promises.set(2)?;
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
        // In version 2 it is one and the same cgroup that is full of memory, which the forker joins with its threads.
        let full = self.full.as_ref().filter(|full| full.place.inner.version() == Version::V2);
        let there = match full {
            Some(full) if recipe.has(Ingredient::MemoryCgroup) => Some(&full.place),
            _ => None,
        };
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
            (Ingredient::Overcommit, &settings.promises),
            (Ingredient::Table, &settings.table),
        ];
        for (_, setting) in concerned.iter().filter(|(one, _)| recipe.has(*one)) {
            setting.restore()?;
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
        let errno = one.errno();
        Ok(Truth {
            cause: Some(one.cause()),
            comm,
            level,
            limit,
            usage,
            unit,
            proof: PROOF,
            count: recipe.times,
            ..Truth::of(&self.forker, recipe.call, errno, tally)?
        })
    }
}

impl Pot {
    fn know(&mut self, one: Ingredient, known: Known) {
        self.known.push((one, known));
    }
}

impl Place {
    /// Makes it, and has the pids controller count there.
    fn make(tree: &Tree, name: &str) -> Result<Self> {
        let inner = tree.group(&format!("{name}/middle/inner"))?;
        let outer = tree.base().child(name);
        if inner.version() == Version::V2 {
            for above in inner.chain().collect::<Vec<_>>().iter().skip(1).rev() {
                above.delegate("pids")?;
            }
        }
        Ok(Self { outer, inner })
    }
}

impl Full {
    fn make(tree: &Tree, ground: &Ground<'_>) -> Result<Self> {
        let inner = tree.group("full/middle/inner")?;
        let outer = tree.base().child("full");
        let eaters = tree.group("full/eaters")?;
        let adj = match inner.version() {
            Version::V1 => outer.disable_oom_killer().map(|()| None)?,
            Version::V2 => {
                for above in inner.chain().collect::<Vec<_>>().iter().skip(1).rev() {
                    above.delegate("pids")?;
                }
                Some(-1000)
            }
        };
        let eat = Eat { anon: EATEN, adj, ..Eat::default() };
        let mut eater = Eater::start("mix-eater", &eat, Some(&eaters), ground.deadline)?;
        eater.fill_and_hold(ground.deadline)?;
        let limit = fill_up(&outer, EATEN - BELOW, ground.deadline)?;
        let root = inner.chain().last().context("a cgroup has no root")?.procs_file()?;
        let root = File::open(&root).with_context(|| format!("cannot open {}", root.display()))?;
        Ok(Self { place: Place { outer, inner }, limit, _eater: eater, _root: root })
    }
}

/// How many more than are used may be had.
fn spare(state: State) -> u64 {
    match state {
        State::Reached => 0,
        State::Near => 1,
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
