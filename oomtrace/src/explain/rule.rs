//! The rules, a file each.

mod all_shielded;
mod collateral;
mod confined;
mod container_unlimited;
mod crash_capture;
mod fork_deadline_policy;
mod fork_exec_in_progress;
mod fork_fatal_signal;
mod fork_fd_limit;
mod fork_memcg_kmem;
mod fork_memory;
mod fork_namespace_limit;
mod fork_nproc;
mod fork_overcommit;
mod fork_pid_max;
mod fork_pidns_dead;
mod fork_pids_max;
mod fork_threads_max;
mod fragmentation;
mod go_memlimit;
mod group_kill;
mod huge_pages_reserved;
mod jvm_heap;
mod limit_lowered;
mod log_limits;
mod long_stall;
mod lowmem_zone;
mod memcg_ancestor;
mod memcg_limit;
mod min_free_oversized;
mod min_free_tiny;
mod mlocked;
mod mysql_buffers;
mod nginx_workers;
mod node_exhausted;
mod node_heap;
mod oom_kill_allocating_task;
mod overcommit;
mod panic_on_oom;
mod pidns_init;
mod postgres_buffers;
mod redis_maxmemory;
mod repeat_offender;
mod service_unprotected;
mod shielded_giant;
mod shmem;
mod stuck_victim;
mod swap_forbidden;
mod swap_full;
mod swap_none;
mod systemd_oompolicy;
mod unreclaimable_slab;
mod userspace_killer;
mod victim_not_culprit;
mod who_grew;

use super::{case::Case, command_line::Server, finding::Conclusion};
use crate::{
    host::{node::Node, settings::Settings},
    incident::{ForkFailure, Relief, UserKill},
};

/// What concludes something from an incident.
pub type OfIncident = fn(&Case<'_>) -> Option<Conclusion>;
/// What concludes something from a fork that failed, and from how the machine is set up.
pub type OfFork = fn(&ForkFailure, Option<&Settings>) -> Option<Conclusion>;
/// What concludes something from a kill by a daemon in user space, and from how the machine is set up.
pub type OfUserKill = fn(&UserKill, Option<&Settings>) -> Option<Conclusion>;
/// What concludes something from what became of victims.
pub type OfRelief = fn(&Relief) -> Option<Conclusion>;

/// What concludes something from the settings of a server: of one that died, and of those that run.
pub type OfServer = fn(&Server<'_>) -> Option<Conclusion>;
/// What concludes something from a machine as it stands.
pub type OfNode = fn(&Node) -> Vec<Conclusion>;

/// One way to conclude something.
#[derive(Debug)]
pub struct Rule {
    /// Names it, for good.
    pub id: &'static str,
    /// What there is to read about it.
    pub page: &'static str,
    /// Rules that say more: where one of them holds, this one is left out.
    pub yields_to: &'static [&'static str],
    /// What it makes of an incident.
    pub incident: Option<OfIncident>,
    /// What it makes of a fork that failed.
    pub fork: Option<OfFork>,
    /// What it makes of a kill by a daemon in user space.
    pub user_kill: Option<OfUserKill>,
    /// What it makes of what became of the victims.
    pub relief: Option<OfRelief>,
    /// What it makes of a server's settings.
    pub server: Option<OfServer>,
    /// What it makes of a machine before anything happens.
    pub node: Option<OfNode>,
}

impl Rule {
    const fn new(id: &'static str, page: &'static str) -> Self {
        Self {
            id,
            page,
            yields_to: &[],
            incident: None,
            fork: None,
            user_kill: None,
            relief: None,
            server: None,
            node: None,
        }
    }

    /// What it says, in a line: the first of its page's that is no heading.
    #[must_use]
    pub fn title(&self) -> &'static str {
        self.page.lines().skip(1).find(|line| !line.is_empty()).unwrap_or_default()
    }
}

/// Rules about a setting of a server: they say what is behind a limit that was reached.
const SERVERS: &[&str] = &[
    "jvm-heap",
    "node-heap",
    "go-memlimit",
    "postgres-buffers",
    "mysql-buffers",
    "redis-maxmemory",
    "nginx-workers",
];

/// All rules. What an operator should look at first stands first: what leaves the machine or a service without a way out, then
/// the setting that is wrong, then the limit that was reached, or what is behind the memory that ran out, and that; then what would
/// soften it, and what follows.
pub const RULES: &[Rule] = &[
    all_shielded::RULE,
    limit_lowered::RULE,
    jvm_heap::RULE,
    node_heap::RULE,
    go_memlimit::RULE,
    postgres_buffers::RULE,
    mysql_buffers::RULE,
    redis_maxmemory::RULE,
    nginx_workers::RULE,
    shmem::RULE,
    memcg_limit::RULE,
    memcg_ancestor::RULE,
    confined::RULE,
    min_free_oversized::RULE,
    huge_pages_reserved::RULE,
    unreclaimable_slab::RULE,
    mlocked::RULE,
    fragmentation::RULE,
    lowmem_zone::RULE,
    oom_kill_allocating_task::RULE,
    shielded_giant::RULE,
    victim_not_culprit::RULE,
    who_grew::RULE,
    container_unlimited::RULE,
    node_exhausted::RULE,
    swap_none::RULE,
    swap_full::RULE,
    swap_forbidden::RULE,
    min_free_tiny::RULE,
    repeat_offender::RULE,
    long_stall::RULE,
    pidns_init::RULE,
    group_kill::RULE,
    collateral::RULE,
    systemd_oompolicy::RULE,
    stuck_victim::RULE,
    panic_on_oom::RULE,
    crash_capture::RULE,
    overcommit::RULE,
    userspace_killer::RULE,
    service_unprotected::RULE,
    log_limits::RULE,
    fork_pids_max::RULE,
    fork_pid_max::RULE,
    fork_threads_max::RULE,
    fork_nproc::RULE,
    fork_pidns_dead::RULE,
    fork_overcommit::RULE,
    fork_memory::RULE,
    fork_memcg_kmem::RULE,
    fork_namespace_limit::RULE,
    fork_fd_limit::RULE,
    fork_deadline_policy::RULE,
    fork_exec_in_progress::RULE,
    fork_fatal_signal::RULE,
];
