//! Files in memory and shared memory fill it.

use super::{super::finding::Fix, Case, Conclusion, Rule, SERVERS};
use crate::{
    host::node::Node,
    words::{name, size},
};

pub const RULE: Rule = Rule {
    incident: Some(holds),
    node: Some(|node| of_node(node).into_iter().collect()),
    yields_to: SERVERS,
    ..Rule::new("shmem", include_str!("../../../docs/findings/shmem.md"))
};

fn holds(case: &Case<'_>) -> Option<Conclusion> {
    Some(make_room(if case.nodes_ran_out() { of_machine(case)? } else { of_group(case)? }))
}

fn of_node(node: &Node) -> Option<Conclusion> {
    much(node.memory.shmem?, node.settings.memory_bytes?).map(make_room)
}

fn make_room(told: Conclusion) -> Conclusion {
    told.fix(Fix::look(
            "see which tmpfs is full, and remove what is not needed there (/dev/shm, /tmp, /run, emptyDir volumes in memory)",
            "df -h -t tmpfs",
            "what is removed is gone",
        ))
        .fix(Fix::advice(
            "give each tmpfs a size (mount -o remount,size=…; sizeLimit of an emptyDir), and remove what is left of System V shared \
             memory (ipcs -m, ipcrm)",
            "writers get \"no space left\" instead",
        ))
}

/// Much of the machine's memory.
fn of_machine(case: &Case<'_>) -> Option<Conclusion> {
    much(case.used()?.shmem_bytes?, case.memory_bytes()?)
}

fn much(shmem: u64, memory: u64) -> Option<Conclusion> {
    (shmem >= memory / 3).then(|| {
        Conclusion::warning(format!(
            "{} of the machine's {} are files in memory (tmpfs) and shared memory: they stay when a program is killed",
            size(shmem),
            size(memory)
        ))
        .with("shmem_bytes", shmem)
        .with("memory_bytes", memory)
    })
}

/// Most of what the victim of a limit had, or of what is charged to the group itself, where a log tells.
fn of_group(case: &Case<'_>) -> Option<Conclusion> {
    let hit = case.hit()?;
    let victim = case.victim()?;
    let best = victim.rss.map(|rss| (rss.anon_bytes, rss.shmem_bytes));
    let held = best.or_else(|| victim.rss_kernel.and_then(|rss| rss.anon_bytes.zip(rss.shmem_bytes)));
    let of_victim = held.filter(|(anon, shmem)| *shmem >= hit.limit_bytes / 2 && shmem > anon);
    let told = if let Some((_, shmem)) = of_victim {
        Conclusion::warning(format!(
            "most of what {} held ({}) is shared memory or files in memory (tmpfs), which may stay when it is killed",
            name(victim.comm.as_deref()),
            size(shmem)
        ))
        .with("shmem_bytes", shmem)
    } else {
        let stats = &case.incident.scope.memcg_stats;
        let shmem = *stats.get("shmem").filter(|shmem| **shmem >= hit.limit_bytes / 2)?;
        Conclusion::warning(format!(
            "{} of the {} that the processes here may have together are files in memory (tmpfs) and shared memory: they stay when a \
             program is killed",
            size(shmem),
            size(hit.limit_bytes)
        ))
        .with("shmem_bytes", shmem)
    };
    Some(told.with("limit_bytes", hit.limit_bytes))
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{MIB, global, ids, memcg};

    /// Guards both: much of the machine's memory, and most of what a group's victim had.
    #[test]
    fn files_in_memory_fill_it() {
        let mut machine = global();
        machine.host_memory.as_mut().unwrap().shmem_bytes = Some(400 * MIB);
        assert_eq!(ids(&machine), ["shmem"]);
        let mut group = memcg();
        let rss = group.victims[0].rss.as_mut().unwrap();
        (rss.anon_bytes, rss.shmem_bytes) = (4 * MIB, 26 * MIB);
        assert_eq!(ids(&group), ["shmem", "memcg-limit"]);
        // A log tells what the group is charged for: a container's /dev/shm need not be mapped by anybody.
        let mut logged = memcg();
        logged.scope.memcg_stats.insert("shmem".to_owned(), 17 * MIB);
        assert_eq!(ids(&logged), ["shmem", "memcg-limit"]);
    }

    /// Guards against an ordinary amount in both.
    #[test]
    fn near_misses() {
        let mut machine = global();
        machine.host_memory.as_mut().unwrap().shmem_bytes = Some(300 * MIB);
        assert_eq!(ids(&machine), ["node-exhausted"]);
        let mut group = memcg();
        let rss = group.victims[0].rss.as_mut().unwrap();
        (rss.anon_bytes, rss.shmem_bytes) = (20 * MIB, 10 * MIB);
        group.scope.memcg_stats.insert("shmem".to_owned(), 15 * MIB);
        assert_eq!(ids(&group), ["memcg-limit"]);
    }
}
