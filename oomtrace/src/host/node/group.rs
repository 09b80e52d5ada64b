//! Cgroups with what they use of their limits.

use std::collections::BTreeMap;

use super::super::memcg_files::{self, V1, V2};
use super::super::{
    cgroup::Hierarchy,
    pids::{Pids, Room},
};
use super::ROOT;

/// A cgroup that has a limit, or in which something was killed or refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// Its path.
    pub path: String,
    /// Its memory.
    pub memory: Option<GroupMemory>,
    /// Its processes and threads.
    pub pids: Option<Room>,
    /// Whether these are version 1's.
    pub pids_legacy: bool,
    /// Forks that were refused since it was made, by its limit or (up to 6.10, and with version 1) within it.
    pub forks_refused: u64,
}

/// What a cgroup has of memory, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupMemory {
    /// Whether it is version 1's.
    pub legacy: bool,
    /// Its limit; `None`: it has none.
    pub limit_bytes: Option<u64>,
    /// What it uses.
    pub usage_bytes: Option<u64>,
    /// What of that cannot simply be dropped: neither page cache nor what the kernel could give back.
    pub needed_bytes: Option<u64>,
    /// What it may have of swap (version 1: of memory and swap together); `None`: as much as there is.
    pub swap_limit_bytes: Option<u64>,
    /// Processes in it, and not in a cgroup below, that the OOM killer has killed since it was made.
    pub oom_kills: u64,
}

/// All that there are, by path.
pub(super) fn read(memory: Option<&Hierarchy>, pids: Option<&Pids>) -> Vec<Group> {
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    for path in memory.map(Hierarchy::all).unwrap_or_default() {
        if let Some(found) = memory.and_then(|hierarchy| memory_of(hierarchy, &path)) {
            groups.entry(path).or_default().memory = Some(found);
        }
    }
    for path in pids.map(Pids::all).unwrap_or_default() {
        let room = pids.and_then(|pids| pids.room(&path)).filter(|room| room.limit.is_some());
        let refused = pids.and_then(|pids| pids.count(&path)).map_or(0, |count| count.refused);
        if room.is_some() || refused > 0 {
            let group = groups.entry(path).or_default();
            (group.pids, group.forks_refused) = (room, refused);
            group.pids_legacy = pids.is_some_and(|pids| !pids.notifies());
        }
    }
    let called = |path: String| if path.is_empty() { ROOT.to_owned() } else { path };
    let named = groups.into_iter().map(|(path, group)| Group { path: called(path), ..group });
    named.collect()
}

/// What a cgroup has, if it has a limit or something was killed in it.
fn memory_of(hierarchy: &Hierarchy, path: &str) -> Option<GroupMemory> {
    let names = if hierarchy.is_unified() { V2 } else { V1 };
    let number = |file: &str| hierarchy.text(path, file)?.trim().parse::<u64>().ok();
    let limit = |file: &str| hierarchy.text(path, file).and_then(|text| memcg_files::limit_bytes(&text));
    let limit_bytes = limit(names.limit);
    // Both are counts of what was killed here (mem_cgroup_oom_control_read(), memory_events_local_show(), mm/memcontrol.c).
    let events = if hierarchy.is_unified() { "memory.events.local" } else { "memory.oom_control" };
    let oom_kills = hierarchy.text(path, events).and_then(|text| field(&text, "oom_kill")).unwrap_or(0);
    if limit_bytes.is_none() && oom_kills == 0 {
        return None;
    }
    let usage_bytes = number(if hierarchy.is_unified() { "memory.current" } else { "memory.usage_in_bytes" });
    let stat = hierarchy.text(path, "memory.stat").unwrap_or_default();
    // Version 1 counts those below by other names.
    let of = |name: &str| field(&stat, &format!("total_{name}")).or_else(|| field(&stat, name));
    let spare = of("inactive_file")
        .zip(of("active_file"))
        .map(|(one, other)| one.saturating_add(other).saturating_add(of("slab_reclaimable").unwrap_or(0)));
    Some(GroupMemory {
        legacy: !hierarchy.is_unified(),
        limit_bytes,
        usage_bytes,
        needed_bytes: usage_bytes.zip(spare).map(|(usage, spare)| usage.saturating_sub(spare)),
        swap_limit_bytes: limit(names.swap_limit),
        oom_kills,
    })
}

/// A line `name value`.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use super::*;

    fn tree(name: &str, files: &[(&str, &str)]) -> PathBuf {
        let root = std::env::temp_dir().join(format!("oomtrace-groups-{name}-{}", std::process::id()));
        for (file, text) in files {
            let path = root.join("sys/fs/cgroup").join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    /// Guards version 2: limits, what can be dropped, kills, and groups that have nothing to tell.
    #[test]
    fn groups_have_what_they_need() {
        let root = tree(
            "v2",
            &[
                ("cgroup.controllers", "memory pids\n"),
                ("a/memory.max", "1000000\n"),
                ("a/memory.current", "900000\n"),
                ("a/memory.stat", "anon 5\nactive_file 100000\ninactive_file 200000\nslab_reclaimable 1\n"),
                ("a/memory.swap.max", "0\n"),
                ("a/memory.events.local", "low 0\noom 4\noom_kill 3\noom_group_kill 1\n"),
                ("a/b/memory.max", "max\n"),
                ("a/b/memory.events.local", "oom_kill 0\n"),
                ("a/b/pids.max", "8\n"),
                ("a/b/pids.current", "7\n"),
                ("a/b/pids.events", "max 5\n"),
                ("c/memory.max", "max\n"),
            ],
        );
        let (memory, pids) = (Hierarchy::find(&root, "memory").unwrap(), Pids::find(&root).unwrap());
        let groups = read(Some(&memory), Some(&pids));
        fs::remove_dir_all(root).unwrap();
        let expected = GroupMemory {
            legacy: false,
            limit_bytes: Some(1_000_000),
            usage_bytes: Some(900_000),
            needed_bytes: Some(599_999),
            swap_limit_bytes: Some(0),
            oom_kills: 3,
        };
        assert_eq!(groups.iter().map(|group| group.path.as_str()).collect::<Vec<_>>(), ["/a", "/a/b"]);
        assert_eq!(groups[0].memory, Some(expected));
        assert_eq!(groups[1].pids, Some(Room { limit: Some(8), usage: 7 }));
        assert_eq!((groups[1].forks_refused, &groups[1].memory), (5, &None));
    }

    /// Guards version 1: other names, and the figures that include those below.
    #[test]
    fn groups_of_version_1_are_read() {
        let root = tree(
            "v1",
            &[
                ("memory/a/memory.limit_in_bytes", "1000000\n"),
                ("memory/a/memory.usage_in_bytes", "900000\n"),
                (
                    "memory/a/memory.stat",
                    "inactive_file 1\nactive_file 1\ntotal_inactive_file 300\ntotal_active_file 5\n",
                ),
                ("memory/a/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"),
                ("memory/b/memory.limit_in_bytes", "9223372036854771712\n"),
            ],
        );
        let groups = read(Some(&Hierarchy::find(&root, "memory").unwrap()), None);
        fs::remove_dir_all(root).unwrap();
        let [only] = groups.as_slice() else { panic!("{groups:?}") };
        let memory = only.memory.as_ref().unwrap();
        assert_eq!((memory.needed_bytes, memory.oom_kills, memory.legacy), (Some(899_695), 2, true));
    }
}
