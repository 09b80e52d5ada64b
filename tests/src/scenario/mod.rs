//! The scenarios, one file each, and where each can run.

mod adj_decides;
pub mod agent;
mod all_unkillable;
mod alloc_failure;
mod ancestor_limit;
mod cgroup_removed;
mod check;
mod cmdline;
mod container;
mod cpuset;
mod cures;
mod early;
mod exhaust;
mod exiting;
mod filters;
mod findings;
mod fork_cures;
pub mod fork_mixtures;
pub mod fork_storm;
mod forks;
mod global;
mod global_container;
mod global_mlock;
mod global_slab;
mod global_tmpfs;
mod group;
mod hooks;
mod hostile_name;
mod kill_order;
mod killed_9;
mod kmsg;
mod limit_lowered;
mod memcg_other;
mod memcg_self;
mod mempolicy;
mod mm_shared;
pub mod mutated_btf;
mod nested_limit;
mod nodes;
mod oom_disabled;
mod order2;
mod other_kills;
mod pidns;
mod pids_events;
mod podman;
mod reader_stopped;
mod record_replay;
mod refusals;
mod relief;
mod ring_overflow;
pub mod run;
mod runtime;
mod small_cgroup;
mod stall;
pub mod storm;
mod stuck;
pub(crate) mod swap_limit;
mod sysrq;
mod threads;
mod two_cgroups;
mod two_tracers;
mod userspace_kill;

use anyhow::Result;

use crate::machine::Machine;
use crate::process::on_path;
use crate::size::MIB;
use crate::stage::Stage;
use crate::systemd::Systemd;
use crate::witness::cgroup::Hierarchy;

/// One thing that is provoked and looked at.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// What it guards, in one sentence.
    pub guards: &'static str,
    /// Where it can run.
    pub needs: Needs,
    /// How many OOM headers it has the kernel print.
    pub kills: usize,
    /// Whether one tier is enough on each kernel where time is short: it takes tens of seconds under emulation, or
    /// what it looks at is much the same in every tier.
    pub once: bool,
    /// Provokes, watches and compares. What it finds goes to the stage's checks; an error is what kept it from
    /// finding anything.
    pub run: fn(&mut Stage<'_>) -> Result<()>,
}

/// Where a scenario can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Wherever there is a memory controller.
    Memcg,
    /// Where there is a controller that counts tasks.
    Pids,
    /// Where the memory controller is in the version 2 hierarchy.
    Unified,
    /// Where stress-ng is.
    StressNg,
    /// Where Podman is installed.
    Podman,
    /// On a machine that was not made for these tests: it takes programs and memory that those have not.
    Host,
    /// On a machine made for it, since the whole of it is concerned.
    Disposable,
    /// On such a machine with little memory, which fills soon.
    SmallDisposable,
    /// On such a machine with two NUMA nodes.
    Numa,
    /// On such a machine with a device to swap to.
    Swap,
    /// On such a small machine with swap and the version 2 hierarchy, and with the programs that findings propose to call.
    Tools,
    /// On such a machine with the version 2 hierarchy, and with the programs that findings about failed forks propose to call.
    Repairable,
    /// On such a machine with systemd, too.
    Systemd,
    /// On a machine made for it, whose kernel can move the memory controller to version 1 and back.
    LegacyMemcg,
}

/// Of the programs that findings propose to call, those that a guest has only if it was given them.
const TOOLS: [&str; 4] = ["bash", "choom", "mke2fs", "slabtop"];
/// Of the programs that findings about failed forks propose to call, those that a guest has only if it was given them.
const REPAIRS: [&str; 4] = ["bash", "nsenter", "prlimit", "sysctl"];

/// The most memory that a small machine has.
const SMALL: u64 = 512 * MIB;

/// Every scenario, in the order in which they run.
pub static ALL: &[Scenario] = &[
    // It moves the memory controller to another hierarchy and back, which no removed cgroup may be in the way of.
    oom_disabled::SCENARIO,
    hooks::SCENARIO,
    memcg_self::SCENARIO,
    memcg_other::SCENARIO,
    cmdline::SCENARIO,
    findings::SCENARIO,
    kmsg::SCENARIO,
    check::SCENARIO,
    kill_order::SCENARIO,
    stall::SCENARIO,
    adj_decides::SCENARIO,
    ancestor_limit::SCENARIO,
    nested_limit::SCENARIO,
    threads::SCENARIO,
    two_cgroups::SCENARIO,
    container::SCENARIO,
    runtime::SCENARIO,
    podman::SCENARIO,
    hostile_name::SCENARIO,
    record_replay::SCENARIO,
    filters::SCENARIO,
    two_tracers::SCENARIO,
    cgroup_removed::SCENARIO,
    early::SCENARIO,
    small_cgroup::SCENARIO,
    refusals::SCENARIO,
    mutated_btf::SCENARIO,
    killed_9::SCENARIO,
    group::SCENARIO,
    mm_shared::SCENARIO,
    pidns::SCENARIO,
    all_unkillable::SCENARIO,
    exiting::SCENARIO,
    other_kills::SCENARIO,
    userspace_kill::SCENARIO,
    forks::SCENARIO,
    fork_cures::SCENARIO,
    fork_storm::SCENARIO,
    pids_events::SCENARIO,
    fork_mixtures::SCENARIO,
    relief::SCENARIO,
    stuck::SCENARIO,
    limit_lowered::SCENARIO,
    sysrq::SCENARIO,
    swap_limit::SCENARIO,
    cpuset::SCENARIO,
    mempolicy::SCENARIO,
    global::SCENARIO,
    global_container::SCENARIO,
    global_tmpfs::SCENARIO,
    global_slab::SCENARIO,
    global_mlock::SCENARIO,
    order2::SCENARIO,
    alloc_failure::SCENARIO,
    cures::SCENARIO,
    cures::units::SCENARIO,
    agent::outputs::SCENARIO,
    agent::flight::SCENARIO,
    agent::prometheus::SCENARIO,
    agent::reload::SCENARIO,
    agent::global::SCENARIO,
    agent::unprivileged::SCENARIO,
    agent::clock::SCENARIO,
    run::bad_input::SCENARIO,
    run::child::SCENARIO,
    run::forks::SCENARIO,
    run::bystander::SCENARIO,
    run::repeat::SCENARIO,
    run::stress::SCENARIO,
    // Last: after these no header is printed for some seconds.
    ring_overflow::SCENARIO,
    reader_stopped::SCENARIO,
    storm::SCENARIO,
    agent::losses::SCENARIO,
    agent::killed::SCENARIO,
];

impl Needs {
    /// Where it can run, in words.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::Memcg => "any machine with a memory controller, version 1 or 2",
            Self::Pids => "any machine with a pids controller, version 1 or 2",
            Self::Unified => "a machine with the memory controller in the version 2 hierarchy",
            Self::StressNg => {
                "a machine with controllers of memory and of tasks, version 1 or 2, and stress-ng"
            }
            Self::Podman => "a machine on which Podman is installed",
            Self::Host => {
                "a machine with a memory controller that was not made for these tests, and has room for Prometheus"
            }
            Self::Disposable => {
                "a machine made for these tests: one that runs from an initramfs, or --disposable"
            }
            Self::SmallDisposable => "a machine made for these tests, with at most 512 MiB of memory",
            Self::Numa => "a machine made for these tests, with two NUMA nodes and the version 2 hierarchy",
            Self::Swap => "a machine made for these tests, with zram and the version 2 hierarchy",
            Self::Tools => {
                "a machine made for these tests, with at most 512 MiB of memory, zram, the version 2 hierarchy, and bash, choom, mke2fs and slabtop"
            }
            Self::Repairable => {
                "a machine made for these tests, with the version 2 hierarchy, bash, nsenter, prlimit and sysctl"
            }
            Self::Systemd => {
                "a machine made for these tests, as for the scenario `cures`, with systemd installed"
            }
            Self::LegacyMemcg => {
                "a machine made for these tests, with Linux 5.x: later ones cannot well move the controller to version 1"
            }
        }
    }

    /// What of it this machine does not have.
    pub(crate) fn unmet(self, machine: &Machine) -> Option<String> {
        let met = match self {
            Self::Memcg => machine.hierarchy.is_some(),
            Self::Pids => Hierarchy::of("pids").is_ok_and(|hierarchy| hierarchy.is_some()),
            Self::Unified => machine.unified(),
            Self::StressNg => {
                Self::Memcg.unmet(machine).is_none()
                    && Self::Pids.unmet(machine).is_none()
                    && on_path("stress-ng").is_some()
            }
            Self::Podman => machine.hierarchy.is_some() && machine.podman.is_some(),
            Self::Host => machine.hierarchy.is_some() && !machine.disposable,
            Self::Disposable => machine.disposable,
            Self::Repairable => {
                let able = REPAIRS.iter().all(|program| on_path(program).is_some());
                machine.disposable && machine.unified() && able
            }
            Self::LegacyMemcg => machine.disposable && machine.moves_memcg(),
            Self::SmallDisposable => machine.disposable && machine.memory_bytes <= SMALL,
            Self::Numa => machine.disposable && machine.unified() && machine.nodes > 1,
            Self::Swap => machine.disposable && machine.unified() && machine.zram,
            Self::Tools => {
                Self::SmallDisposable.unmet(machine).is_none()
                    && Self::Swap.unmet(machine).is_none()
                    && TOOLS.iter().all(|tool| on_path(tool).is_some())
            }
            Self::Systemd => Self::Tools.unmet(machine).is_none() && Systemd::is_here(),
        };
        (!met).then(|| format!("it can run on {}", self.describe()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::machine::tests::machine;

    /// Guards the host against scenarios that would take the whole machine down.
    #[test]
    fn only_machines_made_for_it_run_out_as_a_whole() {
        let large = Machine { disposable: true, memory_bytes: 1024 * MIB, ..machine() };
        let small = Machine { disposable: true, ..machine() };
        assert!(Needs::SmallDisposable.unmet(&machine()).is_some());
        assert!(Needs::SmallDisposable.unmet(&large).is_some());
        assert!(Needs::SmallDisposable.unmet(&small).is_none());
        assert!(Needs::Disposable.unmet(&machine()).is_some());
        assert!(Needs::Disposable.unmet(&large).is_none());
        for name in [
            "global",
            "global_container",
            "global_tmpfs",
            "global_slab",
            "global_mlock",
            "order2",
            "sysrq",
            "cpuset",
            "mempolicy",
            "swap_limit",
            "stuck",
        ] {
            let scenario = ALL.iter().find(|scenario| scenario.name == name).unwrap();
            assert!(scenario.needs.unmet(&machine()).is_some(), "{name}");
        }
    }

    /// Guards the names: one each.
    #[test]
    fn names_are_distinct() {
        assert_eq!(ALL.iter().map(|scenario| scenario.name).collect::<BTreeSet<_>>().len(), ALL.len());
    }
}
