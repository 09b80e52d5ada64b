//! What is changed: every member, function, tracepoint, constant and struct that oomtrace goes by.

use std::collections::BTreeSet;
use std::fmt::{self, Display};

use super::edit::Edit;
use super::{Btf, Member, Record, kind};

/// The members that oomtrace reads: struct, and path within it. Of alternatives each kernel has one.
pub(super) const FIELDS: [(&str, &str); 80] = [
    ("task_struct", "pid"),
    ("task_struct", "tgid"),
    ("task_struct", "comm"),
    ("task_struct", "flags"),
    ("task_struct", "thread_pid"),
    ("task_struct", "start_boottime"),
    ("task_struct", "real_start_time"),
    ("task_struct", "real_parent"),
    ("task_struct", "group_leader"),
    ("task_struct", "mm"),
    ("task_struct", "signal"),
    ("task_struct", "real_cred"),
    ("task_struct", "cgroups"),
    ("pid", "level"),
    ("pid", "numbers[0].nr"),
    ("task_struct", "pending.signal.sig[0]"),
    ("task_struct", "memcg_in_oom"),
    ("task_struct", "mems_allowed.bits[0]"),
    ("cred", "uid"),
    ("signal_struct", "oom_score_adj"),
    ("signal_struct", "nr_threads"),
    ("signal_struct", "live.counter"),
    ("signal_struct", "oom_mm"),
    ("mm_struct", "mm_users.counter"),
    ("mm_struct", "total_vm"),
    ("mm_struct", "arg_start"),
    ("mm_struct", "arg_end"),
    ("mm_struct", "env_start"),
    ("mm_struct", "env_end"),
    ("mm_struct", "pgtables_bytes"),
    ("mm_struct", "rss_stat.count[0]"),
    ("mm_struct", "rss_stat[0].count"),
    ("mm_struct", "rss_stat[1].count"),
    ("mm_struct", "rss_stat[0].counters"),
    ("bpf_array", "pptrs[0]"),
    ("css_set", "subsys[0]"),
    ("cgroup_subsys_state", "cgroup"),
    ("cgroup_subsys_state", "parent"),
    ("cgroup", "kn"),
    ("cgroup", "root"),
    ("cgroup_root", "hierarchy_id"),
    ("kernfs_node", "id"),
    ("kernfs_node", "name"),
    ("mem_cgroup", "css.cgroup"),
    ("mem_cgroup", "oom_group"),
    ("mem_cgroup", "memory.usage"),
    ("mem_cgroup", "memory.max"),
    ("mem_cgroup", "swap.usage"),
    ("mem_cgroup", "swap.max"),
    ("mem_cgroup", "memsw.usage"),
    ("mem_cgroup", "memsw.max"),
    ("oom_control", "zonelist"),
    ("oom_control", "memcg"),
    ("oom_control", "nodemask"),
    ("oom_control", "gfp_mask"),
    ("oom_control", "order"),
    ("oom_control", "totalpages"),
    ("oom_control", "chosen"),
    ("oom_control", "chosen_points"),
    ("oom_control", "constraint"),
    ("zonelist", "_zonerefs[0].zone"),
    ("zonelist", "_zonerefs[1].zone"),
    ("zoneref", "zone"),
    ("zone", "zone_pgdat"),
    ("zone", "name"),
    ("zone", "_watermark[0]"),
    ("zone", "watermark_boost"),
    ("zone", "managed_pages.counter"),
    ("zone", "present_pages"),
    ("zone", "lowmem_reserve[0]"),
    ("zone", "vm_stat[0]"),
    ("zone", "free_area[0].nr_free"),
    ("zone", "free_area[1].nr_free"),
    ("pglist_data", "node_id"),
    ("pglist_data", "vm_stat[0]"),
    ("pglist_data", "node_zones[0].zone_pgdat"),
    ("pglist_data", "node_zones[1].zone_pgdat"),
    ("pglist_data", "nr_zones"),
    ("mem_cgroup", "nodeinfo[0]"),
    ("mem_cgroup_per_node", "lruvec.pgdat"),
];

/// Those that are read as a fork fails. A kill, by which changes are judged, shows none of them.
#[cfg(test)]
pub(super) const OF_FORKS: [(&str, &str); 34] = [
    ("task_struct", "policy"),
    ("task_struct", "fs"),
    ("fs_struct", "in_exec"),
    ("task_struct", "nsproxy"),
    ("nsproxy", "pid_ns_for_children"),
    ("pid_namespace", "pid_allocated"),
    ("pid_namespace", "pid_max"),
    ("pid_namespace", "parent"),
    ("pid_namespace", "ns.inum"),
    ("pid_namespace", "level"),
    ("cred", "cap_effective"),
    ("cred", "user"),
    ("cred", "user_ns"),
    ("cred", "ucounts"),
    ("user_struct", "processes.counter"),
    ("ucounts", "rlimit[0].counter"),
    ("ucounts", "uid"),
    ("ucounts", "ns"),
    ("user_namespace", "ucounts"),
    ("user_namespace", "rlimit_max[0]"),
    ("user_namespace", "ns.inum"),
    ("user_namespace", "level"),
    ("cred", "euid"),
    ("signal_struct", "rlim[6].rlim_cur"),
    ("mm_struct", "data_vm"),
    ("mm_struct", "stack_vm"),
    ("percpu_counter", "count"),
    ("pt_regs", "di"),
    ("pt_regs", "orig_ax"),
    ("task_struct", "children.next"),
    ("kernel_clone_args", "flags"),
    ("pids_cgroup", "css.cgroup"),
    ("pids_cgroup", "counter.counter"),
    ("pids_cgroup", "limit.counter"),
];

/// Tracepoints that `oomtrace run` alone attaches to: a trace knows nothing of them.
#[cfg(test)]
pub(super) const TRACEPOINTS_OF_RUNS: [&str; 2] = ["mm_compaction_begin", "mm_compaction_end"];

/// The functions that it attaches to as well, for forks.
#[cfg(test)]
pub(super) const FUNCTIONS_OF_FORKS: [&str; 3] = ["alloc_pid", "pids_can_fork", "copy_process"];

/// The functions that it attaches to.
pub(super) const FUNCTIONS: [&str; 11] = [
    "oom_kill_process",
    "__oom_kill_process",
    "mark_oom_victim",
    "out_of_memory",
    "oom_badness",
    "oom_evaluate_task",
    "exit_mmap",
    "pagefault_out_of_memory",
    "alloc_hugetlb_folio",
    "alloc_huge_page",
    "warn_alloc",
];

/// The tracepoints that it attaches to.
pub(super) const TRACEPOINTS: [&str; 11] = [
    "mark_victim",
    "signal_generate",
    "signal_deliver",
    "mm_vmscan_direct_reclaim_begin",
    "mm_vmscan_direct_reclaim_end",
    "mm_vmscan_memcg_reclaim_begin",
    "mm_vmscan_memcg_reclaim_end",
    "reclaim_retry_zone",
    "sched_process_exit",
    "exit_mmap",
    "finish_task_reaping",
];

/// One way in which the type information differs from the kernel.
#[derive(Debug, Clone)]
pub struct Mutation {
    /// What is changed.
    pub of: String,
    /// In what way.
    pub how: String,
    /// The changes to the file.
    pub edits: Vec<Edit>,
}

impl Display for Mutation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.of, self.how)
    }
}

/// A member on the way to a field.
#[derive(Debug, Clone)]
struct Hop {
    /// Its name, with that of the struct.
    label: String,
    /// The struct or union that has it; an anonymous one, where it is in one.
    of: Record,
    /// The members of that.
    members: Vec<Member>,
    /// Which of these it is.
    index: usize,
}

/// All mutations for this kernel, those of one thing together.
#[must_use]
pub fn all(btf: &Btf) -> Vec<Vec<Mutation>> {
    let mut seen = BTreeSet::new();
    let hops = FIELDS.iter().flat_map(|(of, path)| hops(btf, of, path).unwrap_or_default());
    let hops: Vec<Hop> = hops.filter(|hop| seen.insert(hop.of.at + 12 * hop.index)).collect();
    let members = hops.iter().map(|hop| hop.mutations(btf));
    let structs: BTreeSet<&str> = FIELDS.iter().map(|(of, _)| *of).collect();
    let structs = structs.into_iter().filter_map(|name| {
        let at = btf.record(btf.find(&[kind::STRUCT], name)?)?.at;
        Some(one(&format!("struct {name}"), "renamed", vec![Edit::Rename { at }]))
    });
    let groups = members.chain(structs).chain(functions(btf)).chain(tracepoints(btf)).chain(constants(btf));
    groups.filter(|group| !group.is_empty()).collect()
}

/// The members on the way to a field; None where this kernel does not have it.
fn hops(btf: &Btf, of: &str, path: &str) -> Option<Vec<Hop>> {
    let (mut id, mut name) = (btf.find(&[kind::STRUCT], of)?, of.to_owned());
    let mut hops = Vec::new();
    for step in path.split('.') {
        let (step, _index) = step.split_once('[').unwrap_or((step, ""));
        let (of, members, index) = member(btf, id, step)?;
        let type_id = members.get(index)?.type_id;
        hops.push(Hop { label: format!("{name}.{step}"), of, members, index });
        id = btf.element(type_id);
        name = btf.name(id).unwrap_or_else(|| format!("{name}.{step}"));
    }
    Some(hops)
}

/// Finds a member in a struct or union, or in an anonymous one within.
fn member(btf: &Btf, id: u32, name: &str) -> Option<(Record, Vec<Member>, usize)> {
    let of = btf.record(btf.peeled(id))?;
    if !matches!(of.kind, kind::STRUCT | kind::UNION) {
        return None;
    }
    let members = btf.members(of);
    if let Some(index) = members.iter().position(|member| member.name == name) {
        return Some((of, members, index));
    }
    members.iter().filter(|inner| inner.name.is_empty()).find_map(|inner| member(btf, inner.type_id, name))
}

impl Hop {
    /// All ways in which the member can be elsewhere, something else, or nowhere.
    fn mutations(&self, btf: &Btf) -> Vec<Mutation> {
        let Some(own) = self.members.get(self.index) else { return Vec::new() };
        let make = |how: String, edits| Mutation { of: self.label.clone(), how, edits };
        let mut mutations = vec![
            make("renamed".to_owned(), vec![Edit::Rename { at: own.at }]),
            make("moved by +8".to_owned(), moved(own, 64)),
        ];
        if own.bit >= 64 {
            mutations.push(make("moved by -8".to_owned(), moved(own, -64)));
        }
        for (other, how) in self.alike(btf, own) {
            let swap = vec![placed(own, other.bit), placed(other, own.bit)];
            mutations.push(make(format!("{how} {}", shown(&other.name)), swap));
        }
        if let Some(type_id) = size(btf, own).and_then(|bytes| btf.integer(if bytes == 8 { 4 } else { 8 })) {
            mutations.push(make("resized".to_owned(), vec![Edit::Word { at: own.at + 4, word: type_id }]));
        }
        mutations.push(make("removed".to_owned(), self.removed(btf, own)));
        if self.of.kind == kind::STRUCT {
            mutations.push(make("pushed by a new member".to_owned(), self.pushed(own)));
        }
        mutations
    }

    /// The nearest member of the same size, and the nearest of the same type: to change places with.
    fn alike(&self, btf: &Btf, own: &Member) -> Vec<(&Member, &'static str)> {
        let nearest = |fits: &dyn Fn(&Member) -> bool| {
            let others =
                self.members.iter().enumerate().filter(|(_, other)| other.bit != own.bit && fits(other));
            others.min_by_key(|(index, _)| (index.abs_diff(self.index), *index)).map(|(_, other)| other)
        };
        let own_size = size(btf, own);
        let neighbour = nearest(&|other| own_size.is_some() && size(btf, other) == own_size);
        let type_id = btf.peeled(own.type_id);
        let twin = nearest(&|other| !other.bitfield && btf.peeled(other.type_id) == type_id);
        let neighbour = neighbour.map(|other| (other, "swapped with its neighbour"));
        let twin = twin.map(|other| (other, "swapped with its twin"));
        let distinct = twin.filter(|(twin, _)| neighbour.is_none_or(|(neighbour, _)| neighbour != *twin));
        neighbour.into_iter().chain(distinct).collect()
    }

    /// Takes the member out of its struct.
    fn removed(&self, btf: &Btf, own: &Member) -> Vec<Edit> {
        let info = btf.word(self.of.at + 4).unwrap_or(0);
        vec![Edit::Word { at: self.of.at + 4, word: info - 1 }, Edit::Cut { at: own.at, bytes: 12 }]
    }

    /// Makes room for 8 bytes before the member, as if the kernel had another one there.
    fn pushed(&self, own: &Member) -> Vec<Edit> {
        let later = self.members.iter().filter(|member| member.bit >= own.bit);
        let size = Edit::Word { at: self.of.at + 8, word: self.of.value + 8 };
        later.map(|member| placed(member, member.bit + 64)).chain([size]).collect()
    }
}

/// Moves a member alone.
fn moved(own: &Member, bits: i32) -> Vec<Edit> {
    own.bit.checked_add_signed(bits).map(|bit| placed(own, bit)).into_iter().collect()
}

/// Puts a member somewhere else.
fn placed(member: &Member, bit: u32) -> Edit {
    Edit::Word { at: member.at + 8, word: member.place & !0xff_ffff | bit }
}

/// The size of a member that is no bitfield, bytes.
fn size(btf: &Btf, member: &Member) -> Option<u32> {
    btf.size(member.type_id).filter(|_| !member.bitfield)
}

/// The functions: each by itself missing, and all of them.
fn functions(btf: &Btf) -> Vec<Vec<Mutation>> {
    let named = FUNCTIONS.iter().filter_map(|name| {
        let at = btf.record(btf.find(&[kind::FUNC], name)?)?.at;
        Some((*name, Edit::Rename { at }))
    });
    missing("function", &named.collect::<Vec<_>>())
}

/// The tracepoints: each missing, and all of them; and those that are called with something else.
fn tracepoints(btf: &Btf) -> Vec<Vec<Mutation>> {
    let typedef = |name: &str| btf.record(btf.find(&[kind::TYPEDEF], &format!("btf_trace_{name}"))?);
    let named = TRACEPOINTS.iter().filter_map(|name| Some((*name, Edit::Rename { at: typedef(name)?.at })));
    let mut groups = missing("tracepoint", &named.collect::<Vec<_>>());
    let pointer = |name| btf.pointer_to(btf.find(&[kind::STRUCT], name)?);
    let (Some(int), Some(task), Some(memcg)) =
        (btf.integer(4), pointer("task_struct"), pointer("mem_cgroup"))
    else {
        return groups;
    };
    for (name, how, parameters) in [
        ("mark_victim", "called with (pid)", vec![int]),
        ("mark_victim", "called with (task, uid)", vec![task, int]),
        ("mark_victim", "called with (uid, task)", vec![int, task]),
        ("mm_vmscan_memcg_reclaim_begin", "called with (memcg)", vec![memcg]),
        ("mm_vmscan_memcg_reclaim_begin", "called with (order, memcg)", vec![int, memcg]),
        ("mm_vmscan_memcg_reclaim_begin", "called with (order, gfp, memcg)", vec![int, int, memcg]),
    ] {
        let Some(typedef) = typedef(name) else { continue };
        // Every tracepoint passes its own context first, a `void *`.
        let parameters = btf.pointer_to(0).into_iter().chain(parameters).collect();
        let edit = Edit::Prototype { at: typedef.at + 8, parameters };
        groups.push(one(&format!("tracepoint {name}"), how, vec![edit]));
    }
    groups
}

/// The constants: those of controllers, and those of memory counters.
fn constants(btf: &Btf) -> Vec<Vec<Mutation>> {
    let controllers = btf.find(&[kind::ENUM], "cgroup_subsys_id");
    let counters = btf.enum_with("MM_ANONPAGES");
    let place = |of: Option<u32>, name: &str| {
        btf.pairs(btf.record(of?)?)
            .into_iter()
            .find(|(_, value, _)| value == name)
            .map(|(at, _, value)| (at, value))
    };
    let mut groups = Vec::new();
    if let Some((at, value)) = place(controllers, "memory_cgrp_id") {
        for (how, value) in [("one higher", value + 1), ("one lower", value.wrapping_sub(1))] {
            groups.push(one("memory_cgrp_id", how, vec![Edit::Word { at: at + 4, word: value }]));
        }
        groups.push(one("memory_cgrp_id", "renamed", vec![Edit::Rename { at }]));
    }
    for (left, right) in [("MM_FILEPAGES", "MM_ANONPAGES"), ("MM_ANONPAGES", "MM_SHMEMPAGES")] {
        let (Some(left_at), Some(right_at)) = (place(counters, left), place(counters, right)) else {
            continue;
        };
        let swap = [(left_at.0, right_at.1), (right_at.0, left_at.1)];
        let edits = swap.map(|(at, word)| Edit::Word { at: at + 4, word }).to_vec();
        groups.push(one(left, &format!("swapped with {right}"), edits));
    }
    let [zones, nodes, kinds] =
        ["zone_stat_item", "node_stat_item", "zone_type"].map(|name| btf.find(&[kind::ENUM], name));
    for (of, name) in [
        (zones, "NR_FREE_PAGES"),
        (nodes, "NR_ACTIVE_ANON"),
        (nodes, "NR_SLAB_UNRECLAIMABLE_B"),
        (nodes, "NR_SHMEM"),
        (nodes, "NR_FILE_DIRTY"),
        (kinds, "ZONE_NORMAL"),
    ] {
        let Some((at, value)) = place(of, name) else { continue };
        groups.push(vec![
            Mutation {
                of: name.to_owned(),
                how: "one higher".to_owned(),
                edits: vec![Edit::Word { at: at + 4, word: value + 1 }],
            },
            Mutation { of: name.to_owned(), how: "renamed".to_owned(), edits: vec![Edit::Rename { at }] },
        ]);
    }
    if let Some((at, _)) = place(counters, "MM_SWAPENTS") {
        groups.push(one("MM_SWAPENTS", "renamed", vec![Edit::Rename { at }]));
    }
    groups
}

/// Things that are missing: each by itself, and all of them.
fn missing(what: &str, named: &[(&str, Edit)]) -> Vec<Vec<Mutation>> {
    let each = named.iter().map(|(name, edit)| one(&format!("{what} {name}"), "missing", vec![edit.clone()]));
    let all = one(&format!("every {what}"), "missing", named.iter().map(|(_, edit)| edit.clone()).collect());
    each.chain([all]).collect()
}

/// A group of one mutation.
fn one(of: &str, how: &str, edits: Vec<Edit>) -> Vec<Mutation> {
    vec![Mutation { of: of.to_owned(), how: how.to_owned(), edits }]
}

/// A member's name.
fn shown(name: &str) -> &str {
    if name.is_empty() { "(anonymous)" } else { name }
}
