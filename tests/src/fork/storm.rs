//! Forks that fail as fast as they can, on both processors of a small machine, for as long as is wanted: each cause that can
//! last so long.
//!
//! `fatal_signal` cannot: it ends a process with each failure, so that it is as fast as processes can be made and killed, and
//! no storm.

use std::any::Any;

use anyhow::{Result, ensure};

use crate::fork::call::Call;
use crate::fork::cause::{
    DESCRIPTOR, MAPPING, Needs, Promises, TABLE_LIMIT, fail_task_alloc, fill, lead_into, threads_of_machine,
};
use crate::fork::forker::Forker;
use crate::fork::ground::Ground;
use crate::fork::order::Order;
use crate::fork::setting::Setting;
use crate::fork::state::Policy;
use crate::size::MIB;

/// One kind of storm.
#[derive(Debug)]
pub struct Storm {
    /// What refuses.
    pub cause: &'static str,
    /// The forkers' name.
    pub name: &'static str,
    /// Where it can be brought about.
    pub needs: Needs,
    errno: i32,
    call: Call,
    /// Whether the forkers go through their gate for it.
    gated: bool,
    prepare: Prepare,
}

/// Leaves forkers without a fork that could succeed.
type Prepare = fn(&Ground<'_>, &mut [Forker]) -> Result<Held>;

/// What holds as long as a storm lasts. Dropping it takes it back.
type Held = Box<dyn Any>;

/// How many fork at once.
pub const FORKERS: usize = 2;
/// The longest that a storm may last, in seconds: after `/proc/sys/fs/lease-break-time`, 45, no execve is in progress any
/// more.
pub const LONGEST: u64 = 40;

/// All of them.
pub static STORMS: [Storm; 12] = [
    // The one in which most fail.
    storm("rlimit_nproc", libc::EAGAIN, "storm-nproc", rlimit_nproc),
    Storm { needs: Needs::Pids, ..storm("pids_max", libc::EAGAIN, "storm-pids", pids_max) },
    storm("pidns_dead", libc::ENOMEM, "storm-orphan", pidns_dead),
    Storm {
        call: Call::Clone { flags: UTS },
        ..storm("namespace_limit", libc::ENOSPC, "storm-names", namespace_limit)
    },
    storm("deadline_policy", libc::EAGAIN, "storm-deadline", deadline_policy),
    Storm {
        call: Call::Clone { flags: SHARE },
        ..storm("exec_in_progress", libc::EAGAIN, "storm-exec", exec_in_progress)
    },
    of_machine("fd_limit", libc::EMFILE, "storm-files", fd_limit),
    of_machine("threads_max", libc::EAGAIN, "storm-threads", threads_max),
    of_machine("pid_max", libc::EAGAIN, "storm-ids", pid_max),
    of_machine("overcommit", libc::ENOMEM, "storm-promise", overcommit),
    of_machine("memory", libc::ENOMEM, "storm-poor", memory),
    // Last: what the kernel writes to its log over this one is read for a while after it.
    Storm {
        needs: Needs::Unkillable,
        gated: true,
        ..storm("memcg_kmem", libc::ENOMEM, "storm-kmem", memcg_kmem)
    },
];

const fn storm(cause: &'static str, errno: i32, name: &'static str, prepare: Prepare) -> Storm {
    Storm { cause, name, needs: Needs::Root, errno, call: Call::Fork, gated: false, prepare }
}

/// One that concerns all of the machine.
const fn of_machine(cause: &'static str, errno: i32, name: &'static str, prepare: Prepare) -> Storm {
    Storm { needs: Needs::Disposable, ..storm(cause, errno, name, prepare) }
}

const UTS: u64 = libc::CLONE_NEWUTS as u64;
const SHARE: u64 = libc::CLONE_FS as u64;
/// How much of a processor each forker may have under `SCHED_DEADLINE`, in percent: nobody else runs there meanwhile, and
/// oomtrace must.
const TURN: u64 = 60;
/// What fills a memory cgroup.
const EATEN: u64 = 8 * MIB;
/// The least `kernel.pid_max` of a small machine, and some more than so many ids.
const IDS: u64 = 301;
/// How many threads more than may be there are.
const TOO_MANY: u64 = 5;

/// Forkers whose forks fail. Dropping them takes back what has them fail.
#[derive(Debug)]
pub struct Gathered<'s> {
    storm: &'s Storm,
    // Before what holds for them.
    forkers: Vec<Forker>,
    _held: Held,
}

impl Storm {
    /// Leaves forkers without a fork that could succeed.
    pub fn gather(&self, ground: &Ground<'_>) -> Result<Gathered<'_>> {
        let forkers: Result<Vec<_>> = (0..FORKERS).map(|_| ground.forker(self.name)).collect();
        let mut forkers = forkers?;
        let held = (self.prepare)(ground, &mut forkers)?;
        Ok(Gathered { storm: self, forkers, _held: held })
    }
}

impl Gathered<'_> {
    /// Has all of them fork for so long. Gives how often they failed; that none succeeded, and none for another reason, is
    /// seen to.
    pub fn rage(&mut self, seconds: u64) -> Result<u64> {
        let Storm { cause, errno, call, gated, .. } = *self.storm;
        let order = Order::Storm { call, millis: seconds.saturating_mul(1000) };
        let order = if gated { Order::Within(vec![order]) } else { order };
        for forker in &mut self.forkers {
            forker.send(&order)?;
        }
        let mut failures = 0;
        for forker in &mut self.forkers {
            let tally = forker.answer(&order)?;
            ensure!(
                tally.failed(errno) == tally.attempts,
                "not all forks failed by error {errno} in the storm {cause}: {tally:?}"
            );
            failures += tally.attempts;
        }
        Ok(failures)
    }
}

/// Tells each forker the same.
fn tell_each(forkers: &mut [Forker], order: &Order) -> Result<()> {
    forkers.iter_mut().try_for_each(|forker| forker.tell(order).map(drop))
}

/// Changes a setting of the kernel's for as long as the storm lasts.
fn set(name: &str, value: u64) -> Result<Held> {
    let setting = Setting::keep(name)?;
    setting.set(value)?;
    Ok(Box::new(setting))
}

/// Nothing has to be taken back: it ends with the forkers.
fn nothing() -> Held {
    Box::new(())
}

fn rlimit_nproc(ground: &Ground<'_>, forkers: &mut [Forker]) -> Result<Held> {
    tell_each(forkers, &Order::Become(ground.user()))?;
    tell_each(forkers, &Order::Limit { resource: libc::RLIMIT_NPROC, soft: 1, hard: 1 })?;
    Ok(nothing())
}

fn pids_max(ground: &Ground<'_>, forkers: &mut [Forker]) -> Result<Held> {
    let tree = ground.tasks()?;
    let group = tree.group("storm")?;
    forkers.iter_mut().try_for_each(|forker| forker.join(&group))?;
    group.set_task_limit(Some(1))?;
    Ok(Box::new(tree))
}

fn pidns_dead(_: &Ground<'_>, forkers: &mut [Forker]) -> Result<Held> {
    tell_each(forkers, &Order::Unshare(libc::CLONE_NEWPID.cast_unsigned().into()))?;
    // The first process of each new namespace, which ends at once.
    forkers.iter_mut().try_for_each(|forker| forker.succeed(Call::Fork))?;
    Ok(nothing())
}

fn namespace_limit(ground: &Ground<'_>, forkers: &mut [Forker]) -> Result<Held> {
    let user = ground.user();
    tell_each(forkers, &Order::Become(user))?;
    forkers.iter_mut().try_for_each(|forker| forker.enter_user_namespace(user))?;
    let file = "/proc/sys/user/max_uts_namespaces".into();
    tell_each(forkers, &Order::Write { file, text: "0".to_owned() })?;
    Ok(nothing())
}

fn deadline_policy(_: &Ground<'_>, forkers: &mut [Forker]) -> Result<Held> {
    tell_each(forkers, &Order::Schedule(Policy::Deadline { percent: TURN }))?;
    Ok(nothing())
}

/// For no longer than [`LONGEST`].
fn exec_in_progress(_: &Ground<'_>, forkers: &mut [Forker]) -> Result<Held> {
    tell_each(forkers, &Order::Execute)?;
    Ok(nothing())
}

/// In version 2 the kernel looks each time for somebody to kill, in vain, and writes a report of that to its log
/// (`out_of_memory()`, mm/oom_kill.c): faster than that can be read.
fn memcg_kmem(ground: &Ground<'_>, forkers: &mut [Forker]) -> Result<Held> {
    let tree = ground.memory()?;
    let group = tree.group("storm")?;
    let (eater, _) = fill(ground, &group, &group, EATEN)?;
    forkers.iter_mut().try_for_each(|forker| lead_into(forker, &group))?;
    Ok(Box::new((eater, tree)))
}

fn fd_limit(_: &Ground<'_>, forkers: &mut [Forker]) -> Result<Held> {
    tell_each(forkers, &Order::Open { file: "/dev/null".into(), descriptor: DESCRIPTOR })?;
    set("fs/nr_open", TABLE_LIMIT)
}

fn threads_max(_: &Ground<'_>, _: &mut [Forker]) -> Result<Held> {
    set("kernel/threads-max", threads_of_machine()?.saturating_sub(TOO_MANY))
}

fn pid_max(ground: &Ground<'_>, _: &mut [Forker]) -> Result<Held> {
    let mut holder = ground.forker("storm-holder")?;
    let setting = set("kernel/pid_max", IDS)?;
    // It makes children until there is no id left.
    holder.tell(&Order::Hold { call: Call::Clone { flags: libc::CLONE_VM as u64 }, count: IDS })?;
    Ok(Box::new((setting, holder)))
}

fn overcommit(_: &Ground<'_>, forkers: &mut [Forker]) -> Result<Held> {
    let promises = Promises::keep()?;
    tell_each(forkers, &MAPPING)?;
    promises.limit()?;
    Ok(Box::new(promises))
}

fn memory(_: &Ground<'_>, forkers: &mut [Forker]) -> Result<Held> {
    let begin = |forker: &Forker| fail_task_alloc(forker, libc::ENOMEM);
    let injections: Result<Vec<_>> = forkers.iter().map(begin).collect();
    Ok(Box::new(injections?))
}
