//! What the kernel would kill first: `oom_badness()` of everything that runs (mm/oom_kill.c).

use std::cmp::Reverse;

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    host::node::{Group, Node, Process},
    incident::{Command, Place, badness},
};

/// How many of each kind are told.
const TOLD: usize = 10;

/// Nobody runs out of memory there.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no memory cgroup {path:?} with a limit here: it cannot run out of memory by itself. `oomtrace check` without --cgroup \
     shows the machine's order, and `oomtrace check --json | jq .headroom` the groups that have limits"
)]
pub struct NoLimit {
    path: String,
}

/// Who would die first, and who not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Order {
    /// Where memory would have run out: absent, on the whole machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<String>,
    /// Memory and swap that there are: what `oom_score_adj` is a share of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity_bytes: Option<u64>,
    /// Processes that may be killed.
    pub killable: u64,
    /// The first ten of them, in the kernel's order. Of those with the same score it takes the one that was started last.
    pub first: Vec<Doomed>,
    /// Of those that may not be killed, the ten largest: they are shielded (oom_score_adj -1000), or the first process of all.
    pub shielded: Vec<Doomed>,
}

/// A process, as the OOM killer sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Doomed {
    /// Process id.
    pub pid: u32,
    /// Name of its first thread.
    pub comm: String,
    /// What it was started with.
    #[serde(flatten)]
    pub command: Command,
    /// Whose it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Its score, pages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub points: Option<i64>,
    /// What the operator adds to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i32>,
    /// What it has in memory.
    pub rss_bytes: u64,
    /// What it has in swap.
    pub swap_bytes: u64,
    /// Its page tables.
    pub pgtables_bytes: u64,
    /// Where it runs.
    #[serde(flatten)]
    pub place: Place,
}

impl Order {
    /// On a machine, if it ran out of memory, or a cgroup of it did.
    ///
    /// # Errors
    /// There is no such cgroup, or it has no limit.
    pub fn of(node: &Node, cgroup: Option<&str>, page_bytes: u32) -> Result<Self, NoLimit> {
        let cgroup = cgroup.map(|path| format!("/{}", path.trim_matches('/')));
        let capacity_bytes = match &cgroup {
            None => {
                let set = &node.settings;
                node.settings
                    .memory_bytes
                    .map(|memory| memory.saturating_add(set.swap_total_bytes.unwrap_or(0)))
            }
            Some(path) => {
                let group = node.groups.iter().find(|group| group.path == *path);
                let capacity = group.and_then(|group| capacity(group, node));
                Some(capacity.ok_or_else(|| NoLimit { path: path.clone() })?)
            }
        };
        let within = |process: &&Process| {
            cgroup.as_deref().is_none_or(|path| {
                let own = process.place.cgroup.as_deref();
                let own = own.and_then(|own| own.strip_prefix(path.trim_end_matches('/')));
                own.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
        };
        let of = |process: &Process| doomed(process, capacity_bytes, page_bytes);
        let (mut shielded, mut first): (Vec<_>, Vec<_>) = node
            .programs()
            .filter(within)
            .map(|process| (node.is_shielded(process), of(process)))
            .partition(|(shielded, _)| *shielded);
        first.sort_by_key(|(_, one)| Reverse((one.points, one.pid)));
        shielded.sort_by_key(|(_, one)| Reverse(one.rss_bytes.saturating_add(one.swap_bytes)));
        let told = |list: Vec<(bool, Doomed)>| list.into_iter().map(|(_, one)| one).take(TOLD).collect();
        Ok(Self {
            cgroup,
            capacity_bytes,
            killable: first.len() as u64,
            first: told(first),
            shielded: told(shielded),
        })
    }
}

/// `mem_cgroup_get_max()` (mm/memcontrol.c), but for a group that may not swap at all (`memory.swappiness` 0).
fn capacity(group: &Group, node: &Node) -> Option<u64> {
    let memory = group.memory.as_ref()?;
    let limit = memory.limit_bytes?;
    let all_swap = node.settings.swap_total_bytes.unwrap_or(0);
    let swap = match memory.swap_limit_bytes {
        Some(both) if memory.legacy => both.saturating_sub(limit),
        Some(swap) => swap,
        None => all_swap,
    };
    Some(limit.saturating_add(swap.min(all_swap)))
}

fn doomed(process: &Process, capacity_bytes: Option<u64>, page_bytes: u32) -> Doomed {
    let page = u64::from(page_bytes).max(1);
    let pages = |bytes: u64| i64::try_from(bytes / page).unwrap_or(i64::MAX);
    let rss_bytes = process.rss_bytes.unwrap_or(0);
    let capacity = capacity_bytes.map(|bytes| bytes / page);
    let held = [pages(rss_bytes), pages(process.swap_bytes), 0, 0];
    Doomed {
        pid: process.pid,
        comm: process.comm.clone(),
        command: process.command.clone(),
        uid: process.uid,
        points: process
            .oom_score_adj
            .and_then(|adj| badness(&held, process.pgtables_bytes, adj, capacity, page_bytes)),
        oom_score_adj: process.oom_score_adj,
        rss_bytes,
        swap_bytes: process.swap_bytes,
        pgtables_bytes: process.pgtables_bytes,
        place: process.place.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::node::GroupMemory;

    const MIB: u64 = 1 << 20;

    fn process(pid: u32, rss_mib: u64, adj: i32, cgroup: &str) -> Process {
        Process {
            pid,
            comm: format!("p{pid}"),
            rss_bytes: Some(rss_mib * MIB),
            oom_score_adj: Some(adj),
            place: Place::of(Some(cgroup.to_owned())),
            ..Process::default()
        }
    }

    fn machine() -> Node {
        let mut node = Node { whole: true, ..Node::default() };
        node.settings.memory_bytes = Some(1000 * 4096 * 10);
        node.settings.swap_total_bytes = Some(1000 * 4096);
        node.processes = vec![
            process(1, 500, 0, "/"),
            process(2, 1, 0, "/a"),
            process(3, 1, 1, "/a/b"),
            process(4, 1, 0, "/ab"),
            process(5, 90, -1000, "/a"),
            Process { rss_bytes: None, ..process(6, 0, 0, "/") },
        ];
        node.processes[1].swap_bytes = 4096;
        node
    }

    fn pids(list: &[Doomed]) -> Vec<u32> {
        list.iter().map(|one| one.pid).collect()
    }

    /// Guards the order: by the kernel's score, of which 1 of oom_score_adj is a thousandth of memory and swap; the younger of equals;
    /// without the first process of all, the shielded ones and the kernel's own.
    #[test]
    fn the_kernels_order() {
        let order = Order::of(&machine(), None, 4096).unwrap();
        assert_eq!(pids(&order.first), [3, 2, 4]);
        let points: Vec<_> = order.first.iter().filter_map(|one| one.points).collect();
        assert_eq!(points, [256 + 11, 257, 256]);
        assert_eq!((pids(&order.shielded), order.killable), (vec![1, 5], 3));
        let mut equals = machine();
        equals.processes[1].swap_bytes = 0;
        assert_eq!(pids(&Order::of(&equals, None, 4096).unwrap().first), [3, 4, 2]);
    }

    /// Guards a group: only what is in it or below counts, by the group's own limits; one without a limit has no order.
    #[test]
    fn a_groups_order() {
        let mut node = machine();
        let memory = GroupMemory {
            limit_bytes: Some(2000 * 4096),
            swap_limit_bytes: Some(0),
            ..GroupMemory::default()
        };
        node.groups = vec![Group { path: "/a".to_owned(), memory: Some(memory), ..Group::default() }];
        let order = Order::of(&node, Some("a/"), 4096).unwrap();
        assert_eq!((pids(&order.first), pids(&order.shielded)), (vec![3, 2], vec![5]));
        assert_eq!((order.first[0].points, order.capacity_bytes), (Some(256 + 2), Some(2000 * 4096)));
        assert!(Order::of(&node, Some("/b"), 4096).is_err());
        // In a container that sees its own group as the root, where 1 is no more than the first of its processes.
        node.whole = false;
        node.groups[0].path = "/".to_owned();
        let order = Order::of(&node, Some("/"), 4096).unwrap();
        assert_eq!((pids(&order.first), pids(&order.shielded)), (vec![1, 3, 2, 4], vec![5]));
    }
}
