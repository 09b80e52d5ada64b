//! What is left of each limit.

use schemars::JsonSchema;
use serde::Serialize;

use crate::host::node::{Group, Node, User};

/// A limit, and what is in use of it: in bytes, or a number of processes and threads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Headroom {
    /// Whose.
    #[serde(flatten)]
    pub of: Of,
    /// What is in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<u64>,
    /// How much may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// What is in use, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage_bytes: Option<u64>,
    /// How much may be, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_bytes: Option<u64>,
}

/// What has a limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "of", rename_all = "snake_case")]
pub enum Of {
    /// The machine's memory, but for what programs could have at once (`MemAvailable`).
    Memory,
    /// Its swap space.
    Swap,
    /// What programs are promised: a limit only where `vm.overcommit_memory` is 2.
    Commit,
    /// Processes and threads of the machine's (`kernel.threads-max`).
    Threads,
    /// Their ids (`kernel.pid_max`).
    Pids,
    /// Processes and threads of a user (RLIMIT_NPROC).
    User {
        /// The user.
        uid: u32,
    },
    /// What cannot simply be dropped of a cgroup's memory (`memory.max`).
    GroupMemory {
        /// Its path.
        path: String,
    },
    /// Processes and threads of a cgroup (`pids.max`).
    GroupPids {
        /// Its path.
        path: String,
    },
}

impl Headroom {
    fn count(of: Of, usage: Option<u64>, limit: Option<u64>) -> Option<Self> {
        Some(Self { of, usage: Some(usage?), limit: Some(limit?), usage_bytes: None, limit_bytes: None })
    }

    fn bytes(of: Of, usage: Option<u64>, limit: Option<u64>) -> Option<Self> {
        Some(Self { of, usage: None, limit: None, usage_bytes: Some(usage?), limit_bytes: Some(limit?) })
    }

    /// How much of it is in use, in percent.
    #[must_use]
    pub fn percent(&self) -> u64 {
        let usage = self.usage.or(self.usage_bytes).unwrap_or(0);
        let limit = self.limit.or(self.limit_bytes).unwrap_or(0).max(1);
        u64::try_from(u128::from(usage) * 100 / u128::from(limit)).unwrap_or(u64::MAX)
    }
}

/// Of the machine first, then of users and groups, the fullest first.
pub(super) fn of(node: &Node) -> Vec<Headroom> {
    let (memory, set) = (&node.memory, &node.settings);
    let used = |all: Option<u64>, free: Option<u64>| Some(all?.saturating_sub(free?));
    let commit_limit = set.commit_limit_bytes.filter(|_| set.overcommit_memory == Some(2));
    let machine = [
        Headroom::bytes(Of::Memory, used(set.memory_bytes, memory.available), set.memory_bytes),
        Headroom::bytes(Of::Swap, used(set.swap_total_bytes, set.swap_free_bytes), set.swap_total_bytes)
            .filter(|swap| swap.limit_bytes != Some(0)),
        Headroom::bytes(Of::Commit, set.committed_bytes, commit_limit),
        Headroom::count(Of::Threads, node.threads, set.threads_max),
        Headroom::count(Of::Pids, node.threads, set.pid_max),
    ];
    let of_user = |user: &User| Headroom::count(Of::User { uid: user.uid }, Some(user.threads), user.limit);
    let of_group = |group: &Group| {
        let path = || group.path.clone();
        let memory = group.memory.as_ref();
        let memory = memory.and_then(|memory| {
            let needed = memory.needed_bytes.or(memory.usage_bytes);
            Headroom::bytes(Of::GroupMemory { path: path() }, needed, memory.limit_bytes)
        });
        let pids = group
            .pids
            .and_then(|pids| Headroom::count(Of::GroupPids { path: path() }, Some(pids.usage), pids.limit));
        memory.into_iter().chain(pids)
    };
    let mut others: Vec<_> =
        node.users.iter().filter_map(of_user).chain(node.groups.iter().flat_map(of_group)).collect();
    others.sort_by_key(|one| std::cmp::Reverse(one.percent()));
    machine.into_iter().flatten().chain(others).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{node::GroupMemory, pids::Room};

    /// Guards what is told: what is known, promises only where they are limited, and the fullest group first.
    #[test]
    fn the_fullest_comes_first() {
        let mut node = Node::default();
        assert_eq!(of(&node), []);
        (node.settings.memory_bytes, node.memory.available) = (Some(100), Some(30));
        (node.settings.commit_limit_bytes, node.settings.committed_bytes) = (Some(100), Some(5));
        node.settings.swap_total_bytes = Some(0);
        node.settings.swap_free_bytes = Some(0);
        node.users = vec![User { uid: 7, threads: 5, limit: None, limited_pid: None }];
        let memory = GroupMemory {
            limit_bytes: Some(10),
            usage_bytes: Some(9),
            needed_bytes: Some(2),
            ..GroupMemory::default()
        };
        let pids = Some(Room { limit: Some(10), usage: 8 });
        node.groups = vec![Group { path: "/a".to_owned(), memory: Some(memory), pids, ..Group::default() }];
        let told: Vec<_> = of(&node).into_iter().map(|one| (one.percent(), one.of)).collect();
        let path = || "/a".to_owned();
        assert_eq!(
            told,
            [(70, Of::Memory), (80, Of::GroupPids { path: path() }), (20, Of::GroupMemory { path: path() })]
        );
        node.settings.overcommit_memory = Some(2);
        assert_eq!(of(&node)[1].of, Of::Commit);
    }
}
