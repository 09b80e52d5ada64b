//! Resolves the fields that the programs read from a kernel's BTF.

use std::collections::BTreeMap;

use oomtrace_ebpf::{
    ABSENT, Field, Layout, MAX_ORDERS, NAMESPACE_COUNTERS, NO_ARGUMENT, NODE_COUNTERS, NODE_WORDS, Params,
    RSS_ANON, RSS_FILE, RSS_SHMEM, RSS_SWAP,
};

use super::btf::{Btf, TypeShape};

/// How a kernel stores the resident-set counters of an address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RssCounters {
    /// One atomic each (6.1 and before): a read lacks what threads have not yet handed in.
    Atomic,
    /// Per-CPU counters (6.2 and later): a plain read lacks what CPUs hold back.
    PerCpu,
}

/// What the programs need to know of a kernel, and what they cannot.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// Offsets of fields.
    pub layout: Layout,
    /// Everything else.
    pub params: Params,
    /// How the resident-set counters are stored, if that is known.
    pub rss_counters: Option<RssCounters>,
    /// Fields of [`Layout`] that this kernel lacks, and why.
    pub missing: BTreeMap<&'static str, String>,
}

impl Resolved {
    /// Has the programs read no command line, and no environment.
    pub fn leave_out_cmdline(&mut self, reason: &str) {
        (self.layout.mm_arg_start, self.layout.mm_env_start) = (ABSENT, ABSENT);
        for field in ["mm_arg_start", "mm_env_start"] {
            self.missing.insert(field, reason.to_owned());
        }
    }

    /// Why no process's command line can be read, if so.
    #[must_use]
    pub fn no_cmdline(&self) -> Option<&str> {
        self.first_missing(["mm_arg_start", "mm_arg_end", "task_mm"])
    }

    /// Why no process's environment can be read, if so.
    #[must_use]
    pub fn no_environment(&self) -> Option<&str> {
        self.first_missing(["mm_env_start", "mm_env_end", "task_mm"])
    }

    fn first_missing(&self, fields: [&'static str; 3]) -> Option<&str> {
        fields.iter().find_map(|field| self.missing.get(field)).map(String::as_str)
    }
}

/// Resolves every field. What is missing is noted, never guessed.
///
/// `cpus` is the number of possible CPUs.
#[must_use]
pub fn resolve(btf: &Btf, cpus: u32) -> Resolved {
    let mut missing = BTreeMap::new();
    let offsets = std::array::from_fn(|index| {
        let field = &Layout::FIELDS[index];
        place(btf, field).unwrap_or_else(|reason| {
            missing.insert(field.name, reason);
            ABSENT
        })
    });
    let mut layout = Layout::from_offsets(offsets);
    if let Err(reason) = rss_indices(btf) {
        layout.mm_rss_atomic = ABSENT;
        layout.mm_rss_percpu = ABSENT;
        missing.insert("mm_rss_atomic", reason.clone());
        missing.insert("mm_rss_percpu", reason);
    }
    let rss_counters = if layout.mm_rss_atomic != ABSENT {
        Some(RssCounters::Atomic)
    } else if layout.mm_rss_percpu != ABSENT && layout.mm_rss_percpu_next != ABSENT {
        Some(RssCounters::PerCpu)
    } else {
        None
    };
    // A kernel stores its counters one way: the other's absence is no lack.
    match rss_counters {
        Some(RssCounters::Atomic) => {
            for name in ["mm_rss_percpu", "mm_rss_percpu_next", "mm_rss_percpu_counters", "bpf_array_pptrs"] {
                missing.remove(name);
            }
        }
        Some(RssCounters::PerCpu) => {
            missing.remove("mm_rss_atomic");
        }
        None => {}
    }
    let can_sum = rss_counters == Some(RssCounters::PerCpu)
        && layout.mm_rss_percpu_counters != ABSENT
        && layout.bpf_array_pptrs != ABSENT;
    let upid_bytes = btf.strukt("upid").map_or_else(
        |reason| {
            layout.pid_numbers = ABSENT;
            missing.insert("pid_numbers", reason.to_string());
            0
        },
        |upid| u64::from(upid.size),
    );
    // Each is a pointer.
    let mut css = |name: &'static str| match (layout.css_set_subsys, controller(btf, name, &mut missing)) {
        (subsys, Some(index)) if subsys != ABSENT => subsys + u64::from(index) * 8,
        _ => ABSENT,
    };
    let (memory_css, pids_css) = (css("memory_cgrp_id"), css("pids_cgrp_id"));
    let (reset_on_fork, reset_on_fork_mask) = reset_on_fork(btf);
    if let Err(reason) = nproc_index(btf) {
        (layout.ucounts_nproc, layout.user_ns_nproc_max) = (ABSENT, ABSENT);
        missing.insert("ucounts_nproc", reason);
    }
    let namespaces = NamespaceCounts::of(btf, &mut missing);
    let mut element = |of: &str, name: &'static str, array: u64| {
        let index = index(btf, of, name).map_err(|reason| missing.insert(name, reason)).ok();
        index.map_or(ABSENT, |index| array.saturating_add(u64::from(index) * 8))
    };
    let params = Params {
        memory_css,
        pids_css,
        reset_on_fork,
        reset_on_fork_mask,
        upid_bytes,
        zone_free: element("zone_stat_item", "NR_FREE_PAGES", layout.zone_stat),
        zone_reserve_normal: element("zone_type", "ZONE_NORMAL", layout.zone_reserve),
        zone_reserve_movable: element("zone_type", "ZONE_MOVABLE", layout.zone_reserve),
        node_counters: NODE_COUNTERS.map(|name| element("node_stat_item", name, layout.pgdat_stat)),
        namespace_counts: namespaces.counts,
        namespace_max: namespaces.max,
        namespace_count_bytes: namespaces.bytes,
        cpus: if can_sum { cpus } else { 0 },
        reclaim_memcg_arg: reclaim_memcg_arg(btf),
        reclaim_gfp_arg: unsigned_arg(btf, "mm_vmscan_direct_reclaim_begin"),
        reclaimed_arg: reclaimed_arg(btf),
        page_shift: crate::host::page_bytes().trailing_zeros(),
        orders: orders(btf, &layout),
        node_words: node_words(btf),
        run_tgid: 0,
        pressure: 0,
        reserved: 0,
    };
    Resolved { layout, params, rss_counters, missing }
}

/// The offset of a field: the first of its places that this kernel has, in the size that the programs read.
fn place(btf: &Btf, field: &Field) -> Result<u64, String> {
    let mut reasons = Vec::new();
    for (of, path) in field.places {
        match btf.member(of, path) {
            Ok(member) if member.bits.is_some() => reasons.push(format!("{of}.{path} is a bitfield")),
            Ok(member) if member.size != field.size => {
                reasons.push(format!("{of}.{path} has {} bytes instead of {}", member.size, field.size));
            }
            Ok(member) => return Ok(u64::from(member.offset)),
            Err(missing) => reasons.push(missing.to_string()),
        }
    }
    Err(reasons.join("; "))
}

/// The programs index the counters by constants: they hold only if this kernel numbers them so.
fn rss_indices(btf: &Btf) -> Result<(), String> {
    for (name, expected) in [
        ("MM_FILEPAGES", RSS_FILE),
        ("MM_ANONPAGES", RSS_ANON),
        ("MM_SWAPENTS", RSS_SWAP),
        ("MM_SHMEMPAGES", RSS_SHMEM),
    ] {
        let actual = btf.enum_value("", name).map_err(|missing| missing.to_string())?;
        if usize::try_from(actual) != Ok(expected) {
            return Err(format!("{name} is {actual} instead of {expected} on this kernel"));
        }
    }
    Ok(())
}

/// The bit that says whether children are scheduled in another way, and where its word is; no bit where it cannot be read.
fn reset_on_fork(btf: &Btf) -> (u64, u32) {
    let Ok(member) = btf.member("task_struct", "sched_reset_on_fork") else { return (ABSENT, 0) };
    let Some(bits) = member.bits.filter(|bits| bits.width == 1 && member.size == 4 && bits.offset < 32)
    else {
        return (ABSENT, 0);
    };
    (u64::from(member.offset), 1 << bits.offset)
}

/// The programs know it by its number, 0. Before 5.14 there is none: then a user's processes are counted elsewhere.
fn nproc_index(btf: &Btf) -> Result<(), String> {
    const NAME: &str = "UCOUNT_RLIMIT_NPROC";
    // 5.14 to 5.19 count it among others: there the field is missing by itself.
    match btf.enum_value("rlimit_type", NAME) {
        Ok(0) => Ok(()),
        Ok(other) => Err(format!("{NAME} is {other} instead of 0 on this kernel")),
        Err(missing) => Err(missing.to_string()),
    }
}

/// Where counts of namespaces are, and how high they may be.
struct NamespaceCounts {
    counts: [u64; NAMESPACE_COUNTERS.len()],
    max: [u64; NAMESPACE_COUNTERS.len()],
    /// The size of each.
    bytes: u32,
}

impl NamespaceCounts {
    /// All of one kernel are of one size.
    fn of(btf: &Btf, missing: &mut BTreeMap<&'static str, String>) -> Self {
        let none = [ABSENT; NAMESPACE_COUNTERS.len()];
        let mut found = Self { counts: none, max: none, bytes: 0 };
        for ((name, count), max) in NAMESPACE_COUNTERS.into_iter().zip(&mut found.counts).zip(&mut found.max)
        {
            match namespace_count(btf, name, found.bytes) {
                Ok(place) => (*count, *max, found.bytes) = place,
                Err(reason) => drop(missing.insert(name, reason)),
            }
        }
        found
    }
}

/// Where a counter of namespaces is, and how high it may be, and the size of both: of these `bytes`, unless that is 0.
fn namespace_count(btf: &Btf, name: &str, bytes: u32) -> Result<(u64, u64, u32), String> {
    let index = index(btf, "ucount_type", name)?;
    let member = |of: &str, path: &str| btf.member(of, path).map_err(|missing| missing.to_string());
    let count = member("ucounts", &format!("ucount[{index}].counter"))?;
    let max = member("user_namespace", &format!("ucount_max[{index}]"))?;
    let fits = |size: u32| matches!(size, 4 | 8) && (bytes == 0 || size == bytes);
    if count.size != max.size || !fits(count.size) {
        return Err(format!("{name} has {} bytes, and its limit {}", count.size, max.size));
    }
    Ok((count.offset.into(), max.offset.into(), count.size))
}

/// A controller's index among a task's. Another's would lead to another cgroup, which may look alike.
fn controller(btf: &Btf, name: &'static str, missing: &mut BTreeMap<&'static str, String>) -> Option<u32> {
    const OF: &str = "cgroup_subsys_id";
    let index = || {
        let index = index(btf, OF, name)?;
        let names = btf.enum_names(OF, index.into()).map_err(|missing| missing.to_string())?;
        match names.len() {
            1 => Ok(index),
            _ => Err(format!("{} have the same value in enum {OF}", names.join(" and "))),
        }
    };
    index().map_err(|reason| missing.insert(name, reason)).ok()
}

/// A constant that is an index: none of the arrays has as many as 256 elements.
fn index(btf: &Btf, of: &str, name: &str) -> Result<u32, String> {
    let value = btf.enum_value(of, name).map_err(|missing| missing.to_string())?;
    u32::try_from(value).ok().filter(|index| *index < 256).ok_or_else(|| format!("{name} is {value}"))
}

/// How many orders of free blocks a zone counts (`NR_PAGE_ORDERS`); 0 where that is more than there is room for.
fn orders(btf: &Btf, layout: &Layout) -> u32 {
    if layout.zone_blocks == ABSENT || layout.zone_blocks_next == ABSENT {
        return 0;
    }
    let has = |order: &usize| btf.member("zone", &format!("free_area[{order}].nr_free")).is_ok();
    let orders = (0..=MAX_ORDERS).take_while(has).count();
    if orders <= MAX_ORDERS { u32::try_from(orders).unwrap_or(0) } else { 0 }
}

fn reclaim_memcg_arg(btf: &Btf) -> u32 {
    let Ok(prototype) = btf.typedef_prototype("btf_trace_mm_vmscan_memcg_reclaim_begin") else {
        return NO_ARGUMENT;
    };
    // The first parameter is the tracing context, which programs do not see.
    let position =
        prototype.params.iter().skip(1).position(|parameter| points_to(&parameter.type_, "mem_cgroup"));
    position
        .and_then(|position| u32::try_from(position).ok())
        .filter(|position| *position <= 2)
        .unwrap_or(NO_ARGUMENT)
}

/// The same argument of the ends of both kinds of reclaim.
fn reclaimed_arg(btf: &Btf) -> u32 {
    let [direct, memcg] =
        ["direct", "memcg"].map(|of| unsigned_arg(btf, &format!("mm_vmscan_{of}_reclaim_end")));
    if direct == memcg { direct } else { NO_ARGUMENT }
}

/// Which argument of a tracepoint is unsigned: of where reclaim begins the `gfp_t`, and of its end the pages that it freed
/// (`unsigned long`), and nothing else.
fn unsigned_arg(btf: &Btf, tracepoint: &str) -> u32 {
    let Ok(prototype) = btf.typedef_prototype(&format!("btf_trace_{tracepoint}")) else {
        return NO_ARGUMENT;
    };
    let unsigned = |shape: &TypeShape| matches!(shape, TypeShape::Int { signed: false });
    // The first parameter is the tracing context, which programs do not see.
    let position = prototype.params.iter().skip(1).position(|parameter| unsigned(&parameter.type_));
    position
        .and_then(|position| u32::try_from(position).ok())
        .filter(|position| *position <= 1)
        .unwrap_or(NO_ARGUMENT)
}

/// How large a `nodemask_t` is, in words of 64 nodes; 0 where that is more than there is room for, or something else.
fn node_words(btf: &Btf) -> u32 {
    let words = btf.member("task_struct", "mems_allowed").map_or(0, |mask| mask.size / 8);
    if words as usize <= NODE_WORDS { words } else { 0 }
}

fn points_to(shape: &TypeShape, name: &str) -> bool {
    matches!(shape, TypeShape::Pointer { to: Some(to) } if to == name)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    /// Guards what reclaim is said to have freed and for which request: by type, since the order of arguments changed in 7.x.
    #[test]
    fn arguments_of_reclaim_are_found_by_type() {
        for (kernel, [gfp, memcg, reclaimed]) in [
            ("5.10.223", [1, NO_ARGUMENT, 0]),
            ("6.1", [1, NO_ARGUMENT, 0]),
            ("6.12", [1, NO_ARGUMENT, 0]),
            ("7.2", [0, 2, 0]),
        ] {
            let fixtures = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/btf");
            let params = resolve(&Btf::read(&fixtures.join(format!("{kernel}.btf"))).unwrap(), 1).params;
            let found = [params.reclaim_gfp_arg, params.reclaim_memcg_arg, params.reclaimed_arg];
            assert_eq!(found, [gfp, memcg, reclaimed], "{kernel}");
            assert_eq!((params.run_tgid, params.pressure), (0, 0), "nobody runs a command");
        }
    }
}
