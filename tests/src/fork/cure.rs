//! Causes of forks that fail, each brought about once, with a place for what is to lift it: after that the very same forker
//! makes the child that it was refused.

use anyhow::{Context, Result, ensure};

use super::call::Call;
use super::cause::{DESCRIPTOR, MAPPING, Promises, TABLE_LIMIT, fill, lead_into, threads_of_machine};
use super::forker::Forker;
use super::ground::Ground;
use super::order::Order;
use super::setting::Setting;
use super::state::Policy;
use crate::legacy::Legacy;
use crate::machine::Machine;
use crate::size::MIB;
use crate::systemd::Systemd;
use crate::witness::cgroup::Cgroup;
use crate::witness::tree::Tree;

/// What is done about the one failure of the forker of this name, in a shell of the machine's or, if given, in the namespaces of a
/// process.
pub type Remedy<'a> = &'a mut dyn FnMut(&str, Option<u64>) -> Result<()>;

/// A failure, and what of its finding is to be proved.
#[derive(Debug, Clone, Copy)]
pub struct Cure {
    /// Its name.
    pub name: &'static str,
    /// The one rule that is to hold.
    pub rule: &'static str,
    /// Whether a command lifts it; otherwise there is only advice.
    pub by_command: bool,
    /// Whether it takes a systemd.
    pub by_systemd: bool,
    /// The first kernel on which it can be brought about so.
    pub since: (u64, u64),
    /// Brings it about, has something done about it, and has the same forker try again, if a command was to help.
    pub run: fn(&Ground<'_>, Remedy<'_>) -> Result<()>,
}

/// A failure that a command lifts.
const fn command(
    name: &'static str,
    rule: &'static str,
    run: fn(&Ground<'_>, Remedy<'_>) -> Result<()>,
) -> Cure {
    Cure { name, rule, by_command: true, by_systemd: false, since: (0, 0), run }
}

/// One that is up to whoever reads of it.
const fn advice(
    name: &'static str,
    rule: &'static str,
    run: fn(&Ground<'_>, Remedy<'_>) -> Result<()>,
) -> Cure {
    Cure { name, rule, by_command: false, by_systemd: false, since: (0, 0), run }
}

/// All of them.
pub const CURES: &[Cure] = &[
    command("pids.max of the own cgroup", "fork-pids-max", |ground, remedy| {
        let tree = ground.tasks()?;
        // What is pasted has such a name in it.
        let group = tree.group("it's \"full\"; exit 9")?;
        full(ground, (&group, &group), "own", remedy)
    }),
    command("pids.max of a cgroup above", "fork-pids-max", |ground, remedy| {
        let tree = ground.tasks()?;
        let inner = tree.group("outer/inner")?;
        full(ground, (&tree.base().child("outer"), &inner), "above", remedy)
    }),
    command("pids.max in version 1", "fork-pids-max", legacy),
    command("RLIMIT_NPROC below the hard limit", "fork-nproc", |ground, remedy| {
        crowded(ground, "soft", 10 * PROCESSES, remedy)
    }),
    command("RLIMIT_NPROC at the hard limit", "fork-nproc", |ground, remedy| {
        crowded(ground, "hard", PROCESSES, remedy)
    }),
    Cure { since: (5, 14), ..advice("RLIMIT_NPROC of who made the user namespace", "fork-nproc", owner) },
    command("kernel.threads-max", "fork-threads-max", |ground, remedy| {
        let mut forker = ground.forker("cure-threads")?;
        let setting = Setting::keep("kernel/threads-max")?;
        setting.set(threads_of_machine()?.saturating_sub(FEW))?;
        lift(&mut forker, Call::Fork, libc::EAGAIN, remedy)
    }),
    command("kernel.pid_max", "fork-pid-max", |ground, remedy| {
        let mut forker = ground.forker("cure-ids")?;
        let setting = Setting::keep("kernel/pid_max")?;
        setting.set(IDS)?;
        take_ids(&mut forker)?;
        remedy(&forker.name, None)?;
        forker.succeed(Call::Fork)?;
        forker.tell(&Order::Release).map(drop)
    }),
    Cure { since: (6, 14), ..advice("kernel.pid_max of a container", "fork-pid-max", container) },
    command("vm.overcommit_ratio", "fork-overcommit", |ground, remedy| {
        promised(ground, "ratio", Promises::limit_by_ratio, remedy)
    }),
    command("vm.overcommit_kbytes", "fork-overcommit", |ground, remedy| {
        promised(ground, "kbytes", Promises::limit, remedy)
    }),
    command("memory.max", "fork-memcg-kmem", charged),
    // Before, nothing leads to whose limit it is.
    Cure {
        since: (5, 14),
        ..command("user.max_*_namespaces of a user namespace", "fork-namespace-limit", |ground, remedy| {
            let (mut forker, file) = sandbox(ground, "cure-ns-own")?;
            forker.tell(&Order::Write { file: file.into(), text: "1".to_owned() })?;
            forker.hold(UTS, 1)?;
            lift(&mut forker, UTS, libc::ENOSPC, remedy)
        })
    },
    command("user.max_*_namespaces of the machine", "fork-namespace-limit", |ground, remedy| {
        let (mut forker, _) = sandbox(ground, "cure-ns-first")?;
        let setting = Setting::keep("user/max_uts_namespaces")?;
        setting.set(1)?;
        forker.hold(UTS, 1)?;
        lift(&mut forker, UTS, libc::ENOSPC, remedy)
    }),
    command("RLIMIT_NOFILE", "fork-fd-limit", descriptor),
    command("fs.nr_open", "fork-fd-limit", |ground, remedy| {
        let mut forker = ground.forker("cure-table")?;
        forker.tell(&Order::Open { file: "/dev/null".into(), descriptor: DESCRIPTOR })?;
        let setting = Setting::keep("fs/nr_open")?;
        setting.set(TABLE_LIMIT)?;
        lift(&mut forker, Call::Fork, libc::EMFILE, remedy)
    }),
    advice("a PID namespace without its first process", "fork-pidns-dead", |ground, remedy| {
        let mut forker = ground.forker("cure-orphan")?;
        forker.tell(&Order::Unshare(PID))?;
        forker.succeed(Call::Fork)?;
        forker.fail(Call::Fork, 1, libc::ENOMEM)?;
        remedy(&forker.name, None)
    }),
    advice("SCHED_DEADLINE", "fork-deadline-policy", |ground, remedy| {
        let mut forker = ground.forker("cure-deadline")?;
        forker.tell(&Order::Schedule(Policy::DEADLINE))?;
        forker.fail(Call::Fork, 1, libc::EAGAIN)?;
        remedy(&forker.name, None)?;
        // As it says.
        forker.tell(&Order::Schedule(Policy::DeadlineReset))?;
        forker.succeed(Call::Fork)
    }),
    advice("an exec in progress", "fork-exec-in-progress", |ground, remedy| {
        let mut forker = ground.forker("cure-exec")?;
        forker.tell(&Order::Execute)?;
        let share = Call::Clone { flags: libc::CLONE_FS as u64 };
        forker.fail(share, 1, libc::EAGAIN)?;
        remedy(&forker.name, None)?;
        forker.tell(&Order::ExecuteNoMore)?;
        forker.succeed(share)
    }),
    // Last: it takes over all cgroups.
    Cure { by_systemd: true, ..command("TasksMax= of a unit", "fork-pids-max", unit) },
];

impl Cure {
    /// Whether it can be brought about here.
    #[must_use]
    pub fn is_for(&self, machine: &Machine) -> bool {
        machine.is_at_least(self.since.0, self.since.1) && (!self.by_systemd || Systemd::is_here())
    }
}

/// How many processes there may be.
const PROCESSES: u64 = 3;
/// How many threads fewer than there are there may be.
const FEW: u64 = 5;
/// How many ids there may be: little more than the least that the setting takes (`pid_max_min`, kernel/pid.c).
const IDS: u64 = 312;
/// What is eaten of a memory cgroup.
const EATEN: u64 = 16 * MIB;
const PID: u64 = libc::CLONE_NEWPID as u64;
const UTS: Call = Call::Clone { flags: libc::CLONE_NEWUTS as u64 };
/// Where the controller is on machines with version 1.
const LEGACY: &str = "/sys/fs/cgroup/pids";

/// Has the forker be refused once, and make the child after the remedy.
fn lift(forker: &mut Forker, call: Call, errno: i32, remedy: Remedy<'_>) -> Result<()> {
    forker.fail(call, 1, errno)?;
    remedy(&forker.name, None)?;
    forker.succeed(call)
}

/// Has a forker in `inside` meet the limit of `limited`.
fn full(
    ground: &Ground<'_>,
    (limited, inside): (&Cgroup, &Cgroup),
    which: &str,
    remedy: Remedy<'_>,
) -> Result<()> {
    limited.set_task_limit(Some(PROCESSES))?;
    let mut forker = ground.forker(&format!("cure-{which}"))?;
    forker.join(inside)?;
    forker.hold(Call::Fork, PROCESSES - 1)?;
    lift(&mut forker, Call::Fork, libc::EAGAIN, remedy)
}

/// Has a forker meet the limit of a unit of systemd's that it is in.
fn unit(ground: &Ground<'_>, remedy: Remedy<'_>) -> Result<()> {
    let systemd = Systemd::start(PROCESSES, ground.deadline)?;
    let mut forker = ground.forker("cure-unit")?;
    forker.join(&systemd.unit)?;
    // The unit's own process is in it, too.
    forker.hold(Call::Fork, PROCESSES - 2)?;
    forker.fail(Call::Fork, 1, libc::EAGAIN)?;
    remedy(&forker.name, Some(systemd.first))?;
    forker.succeed(Call::Fork)
}

/// The same where the controller is in version 1.
fn legacy(ground: &Ground<'_>, remedy: Remedy<'_>) -> Result<()> {
    let unified = ground.machine.hierarchy.as_ref().context("there is no hierarchy")?.top();
    unified.withdraw("pids")?;
    let done = Legacy::take_over(c"pids", LEGACY.as_ref()).and_then(|legacy| {
        let done = legacy.hierarchy().and_then(|hierarchy| {
            let tree = Tree::new(&hierarchy, "fork_cures")?;
            let group = tree.group("full")?;
            full(ground, (&group, &group), "legacy", remedy)
        });
        legacy.give_back(ground.deadline)?;
        std::fs::remove_dir(LEGACY).with_context(|| format!("cannot remove {LEGACY}"))?;
        done
    });
    unified.delegate("pids")?;
    done
}

/// Has a user's forker meet its own limit.
fn crowded(ground: &Ground<'_>, which: &str, hard: u64, remedy: Remedy<'_>) -> Result<()> {
    let mut forker = ground.forker(&format!("cure-{which}"))?;
    forker.tell(&Order::Become(ground.user()))?;
    forker.tell(&Order::Limit { resource: libc::RLIMIT_NPROC, soft: PROCESSES, hard })?;
    forker.hold(Call::Fork, PROCESSES - 1)?;
    lift(&mut forker, Call::Fork, libc::EAGAIN, remedy)
}

/// Has a forker meet the limit that its user namespace was made under.
fn owner(ground: &Ground<'_>, remedy: Remedy<'_>) -> Result<()> {
    let mut forker = ground.forker("cure-owner")?;
    let (user, hard) = (ground.user(), 10 * PROCESSES);
    let limit = |soft| Order::Limit { resource: libc::RLIMIT_NPROC, soft, hard };
    forker.tell(&Order::Become(user))?;
    forker.tell(&limit(PROCESSES))?;
    forker.enter_user_namespace(user)?;
    forker.tell(&limit(hard))?;
    forker.hold(Call::Fork, PROCESSES - 1)?;
    forker.fail(Call::Fork, 1, libc::EAGAIN)?;
    remedy(&forker.name, None)
}

/// Has a forker take all ids, and be refused the first that there is not.
fn take_ids(forker: &mut Forker) -> Result<()> {
    let share = Call::Clone { flags: libc::CLONE_VM as u64 };
    let tally = forker.tell(&Order::Hold { call: share, count: IDS + 1 })?;
    ensure!(tally.failed(libc::EAGAIN) == 1, "the ids should have come to an end: {tally:?}");
    Ok(())
}

/// Has a forker take all ids of a PID namespace of its own.
fn container(ground: &Ground<'_>, remedy: Remedy<'_>) -> Result<()> {
    let mut forker = ground.forker("cure-container")?;
    forker.tell(&Order::Enter(PID))?;
    forker.tell(&Order::Write { file: "/proc/sys/kernel/pid_max".into(), text: IDS.to_string() })?;
    take_ids(&mut forker)?;
    remedy(&forker.name, None)?;
    forker.tell(&Order::Release).map(drop)
}

/// Has a forker want a copy of more than may be promised.
fn promised(
    ground: &Ground<'_>,
    which: &str,
    limit: fn(&Promises) -> Result<()>,
    remedy: Remedy<'_>,
) -> Result<()> {
    let mut forker = ground.forker(&format!("cure-{which}"))?;
    let promises = Promises::keep()?;
    forker.tell(&MAPPING)?;
    limit(&promises)?;
    lift(&mut forker, Call::Fork, libc::ENOMEM, remedy)?;
    promises.restore()
}

/// Has a forker in a full memory cgroup be refused the kernel's own memory for a child.
fn charged(ground: &Ground<'_>, remedy: Remedy<'_>) -> Result<()> {
    let tree = ground.memory()?;
    let group = tree.group("charged")?;
    let (mut eater, _) = fill(ground, &group, &group, EATEN)?;
    let mut forker = ground.forker("cure-charged")?;
    lead_into(&mut forker, &group)?;
    let attempt = Order::Within(vec![Order::Attempt { call: Call::Fork, times: 1 }]);
    let tally = forker.tell(&attempt)?;
    ensure!(tally.failed(libc::ENOMEM) == 1, "it should have failed: {tally:?}");
    remedy(&forker.name, None)?;
    let tally = forker.tell(&attempt)?;
    ensure!(tally.successes == 1, "it should be able to make a child again: {tally:?}");
    ensure!(eater.lives()?, "the eater was killed, and should not have been");
    Ok(())
}

/// Starts a forker that is root of a user namespace of its own. Gives the file of a limit that it sets there, too.
fn sandbox(ground: &Ground<'_>, name: &str) -> Result<(Forker, &'static str)> {
    let mut forker = ground.forker(name)?;
    let user = ground.user();
    forker.tell(&Order::Become(user))?;
    forker.enter_user_namespace(user)?;
    Ok((forker, "/proc/sys/user/max_uts_namespaces"))
}

/// Has a forker want a descriptor more than it may have.
fn descriptor(ground: &Ground<'_>, remedy: Remedy<'_>) -> Result<()> {
    let mut forker = ground.forker("cure-pidfd")?;
    let resource = libc::RLIMIT_NOFILE;
    let call = Call::Clone3 { flags: libc::CLONE_PIDFD as u64 };
    // Without descriptors it cannot answer: it waits for the remedy by itself.
    let orders = Order::All(vec![
        Order::Limit { resource, soft: 0, hard: 256 },
        Order::Attempt { call, times: 1 },
        Order::AwaitLimit { resource },
        Order::Attempt { call, times: 1 },
    ]);
    forker.send(&orders)?;
    remedy(&forker.name, None)?;
    let tally = forker.answer(&orders)?;
    ensure!(
        tally.failed(libc::EMFILE) == 1 && tally.successes == 1,
        "the first should have failed, and the second should not: {tally:?}"
    );
    Ok(())
}
