//! The memory of the machine at the decision.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::Case;
use crate::checks::Checks;
use crate::incident::Incident;
use crate::machine::Machine;
use crate::size::KIB;
use crate::witness::zones::LoggedZone;

/// Pages that a CPU may take from a zone or give back at once: a batch of its own list (`zone_batchsize()`). The log's
/// lines come some time after the decision's hook.
const BATCH_PAGES: u64 = 64;
/// Since 6.7 it is several batches at once where much is given back (`nr_pcp_free()`, mm/page_alloc.c: up to 32): as many as these were
/// seen, on 7.2.
const BATCHES: u64 = 4;
/// Names of a node's figures in the log (`show_free_areas()`), and ours.
const NODE_FIGURES: [(&str, &str); 11] = [
    ("active_anon", "active_anon_bytes"),
    ("inactive_anon", "inactive_anon_bytes"),
    ("active_file", "active_file_bytes"),
    ("inactive_file", "inactive_file_bytes"),
    ("unevictable", "unevictable_bytes"),
    ("mapped", "file_mapped_bytes"),
    ("dirty", "dirty_bytes"),
    ("writeback", "writeback_bytes"),
    ("shmem", "shmem_bytes"),
    ("kernel_stack", "kernel_stack_bytes"),
    ("pagetables", "pagetables_bytes"),
];
/// `___GFP_HIGHMEM` and `___GFP_MOVABLE`: with both, a request may be served from `ZONE_MOVABLE`.
const MOVABLE: u64 = 0x2 | 0x8;

/// A zone of an incident.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Zone {
    pub node: Option<u64>,
    pub name: Option<String>,
    pub free_bytes: Option<u64>,
    pub min_bytes: Option<u64>,
    pub low_bytes: Option<u64>,
    pub high_bytes: Option<u64>,
    pub boost_bytes: Option<u64>,
    pub managed_bytes: Option<u64>,
    pub present_bytes: Option<u64>,
    pub lowmem_reserve_bytes: Option<u64>,
    pub free_by_order: Option<Vec<u64>>,
}

impl Zone {
    /// Its watermarks without their boost.
    fn watermarks(&self) -> Option<[u64; 3]> {
        let boost = self.boost_bytes?;
        let [min, low, high] = [self.min_bytes?, self.low_bytes?, self.high_bytes?];
        Some([min.checked_sub(boost)?, low.checked_sub(boost)?, high.checked_sub(boost)?])
    }

    /// The pages of its free blocks.
    pub(super) fn block_pages(blocks: &[u64]) -> u64 {
        blocks.iter().enumerate().map(|(order, blocks)| blocks << order).sum()
    }
}

/// The zones of an incident.
fn zones(incident: &Incident) -> Vec<Zone> {
    let zones = incident.json.get("zones").and_then(Value::as_array);
    zones.into_iter().flatten().filter_map(|zone| Zone::deserialize(zone).ok()).collect()
}

/// What memory was used for, by an incident.
fn memory(incident: &Incident) -> Option<&Map<String, Value>> {
    incident.json.get("host_memory").and_then(Value::as_object)
}

/// Checks zones and nodes against the log's lines, which it has where a node's memory ran out. What the tier cannot
/// know is left to the floor table.
pub(super) fn check(checks: &mut Checks, case: &Case<'_>) {
    let ours = zones(case.incident);
    let logged = &case.logged.memory.zones;
    if ours.is_empty() || case.expected.limited.is_some() {
        return;
    }
    checks.that(!logged.is_empty(), || "the kernel log has no zones".to_owned());
    let key = |node: Option<u64>, name: Option<&str>| (node, name.map(str::to_owned));
    let mut names: Vec<_> = ours.iter().map(|zone| key(zone.node, zone.name.as_deref())).collect();
    let populated = logged.iter().filter(|zone| zone.kb.get("managed").is_some_and(|kb| *kb > 0));
    let mut theirs: Vec<_> = populated.map(|zone| key(Some(zone.node), Some(&zone.name))).collect();
    names.sort();
    theirs.sort();
    checks.equal("zones[].name", Some(names), Some(theirs), "the log");
    for zone in &ours {
        let same =
            |logged: &&LoggedZone| Some(logged.node) == zone.node && Some(&logged.name) == zone.name.as_ref();
        let Some(logged) = logged.iter().find(same) else { continue };
        one(checks, case, zone, logged);
    }
    used(checks, case);
}

/// How far what moves may have moved, in bytes.
pub(super) fn moved_bytes(machine: &Machine) -> u64 {
    let batches = if machine.is_at_least(6, 7) { BATCHES } else { 1 };
    batches * BATCH_PAGES * (machine.cpus + 1) * machine.page_bytes
}

fn one(checks: &mut Checks, case: &Case<'_>, zone: &Zone, logged: &LoggedZone) {
    let of = |field: &str| format!("zones[{}].{field}", logged.name);
    let bytes = |name: &str| logged.kb.get(name).map(|kb| kb * KIB);
    let bound = moved_bytes(case.machine);
    for (field, ours, name) in
        [("managed_bytes", zone.managed_bytes, "managed"), ("present_bytes", zone.present_bytes, "present")]
    {
        checks.equal(&of(field), ours, bytes(name), "the log");
    }
    checks.within(&of("free_bytes"), zone.free_bytes, bytes("free"), bound, "the log");
    // kswapd takes the boost away as soon as it has had its turn. 5.10 logs watermarks with it and does not tell it: then
    // it may be anything from all to nothing, for all three alike.
    let logged_boost = match (bytes("boost"), zone.watermarks(), bytes("min")) {
        (None, Some([min, ..]), Some(logged)) => {
            logged.checked_sub(min).filter(|boost| Some(*boost) <= zone.boost_bytes)
        }
        (boost, ..) => boost,
    };
    let unboosted = ["min", "low", "high"].map(|name| bytes(name)?.checked_sub(logged_boost?));
    let ours = zone.watermarks().map(|watermarks| watermarks.map(Some));
    checks.equal(&of("min, low and high without boost"), ours, Some(unboosted), "the log");
    // DMA, DMA32, Normal, Movable: the numbers of zones on x86-64.
    let mask = case.logged.invoked.as_ref().map(|line| line.gfp_mask);
    let class = if mask.is_some_and(|mask| mask & MOVABLE == MOVABLE) { 3 } else { 2 };
    let reserve = logged.reserve_pages.get(class).map(|pages| pages * case.machine.page_bytes);
    checks.equal(&of("lowmem_reserve_bytes"), zone.lowmem_reserve_bytes, reserve, "the log");
    let Some(ours) = &zone.free_by_order else { return };
    checks.equal(&of("free_by_order"), Some(ours.len()), Some(logged.blocks.len()), "the log, orders");
    let pages = |blocks: &[u64]| Some(Zone::block_pages(blocks) * case.machine.page_bytes);
    checks.within(&of("free_by_order"), pages(ours), pages(&logged.blocks), bound, "the log, in all");
    // A large block may have been split, or two joined.
    for (order, (ours, theirs)) in ours.iter().zip(&logged.blocks).enumerate().skip(8) {
        checks.within(&of(&format!("free_by_order[{order}]")), Some(*ours), Some(*theirs), 1, "the log");
    }
}

fn used(checks: &mut Checks, case: &Case<'_>) {
    let Some(memory) = memory(case.incident) else { return };
    let ours = |field: &str| memory.get(field).and_then(Value::as_u64);
    let bound = moved_bytes(case.machine);
    let logged = &case.logged.memory;
    for (name, field) in NODE_FIGURES {
        // Older kernels tell page tables by zone.
        let Some(kb) = logged.nodes_kb.get(name) else { continue };
        if let Some(ours) = ours(field) {
            checks.within(&format!("host_memory.{field}"), Some(ours), Some(kb * KIB), bound, "the log");
        }
    }
    // The log has these of the whole machine alone.
    for name in ["slab_reclaimable", "slab_unreclaimable"].iter().filter(|_| !case.is_of_nodes()) {
        let theirs = logged.slab_pages.get(*name).map(|pages| pages * case.machine.page_bytes);
        let field = format!("{name}_bytes");
        checks.within(&format!("host_memory.{field}"), ours(&field), theirs, bound, "the log");
    }
    checks.equal(
        "host_memory.mem_total_bytes",
        ours("mem_total_bytes"),
        Some(case.machine.memory_bytes),
        "/proc/meminfo",
    );
    checks.equal(
        "host_memory.swap_total_bytes",
        ours("swap_total_bytes"),
        Some(case.machine.swap_bytes),
        "/proc/meminfo",
    );
}

/// Compares zones and nodes with those of another report of the same decision. What moves may have moved while the hooks
/// ran.
pub fn same(checks: &mut Checks, ours: &Incident, theirs: &Incident, machine: &Machine) {
    let bound = 4 * moved_bytes(machine);
    for (index, (ours, theirs)) in zones(ours).iter().zip(&zones(theirs)).enumerate() {
        let fixed = |zone: &Zone| {
            let sizes = [zone.managed_bytes, zone.present_bytes, zone.lowmem_reserve_bytes];
            (zone.node, zone.name.clone(), zone.watermarks(), sizes)
        };
        checks.that(fixed(ours) == fixed(theirs), || {
            format!("zones[{index}] is {ours:?}, the control says {theirs:?}")
        });
        checks.within(
            &format!("zones[{index}].free_bytes"),
            ours.free_bytes,
            theirs.free_bytes,
            bound,
            "the control",
        );
        let pages = |zone: &Zone| Some(Zone::block_pages(zone.free_by_order.as_ref()?) * machine.page_bytes);
        checks.within(
            &format!("zones[{index}].free_by_order"),
            pages(ours),
            pages(theirs),
            bound,
            "the control",
        );
    }
    let (Some(ours), Some(theirs)) = (memory(ours), memory(theirs)) else { return };
    for (field, theirs) in theirs {
        let what = format!("host_memory.{field}");
        match theirs.as_u64() {
            Some(theirs) => {
                let ours = ours.get(field).and_then(Value::as_u64);
                checks.within(&what, ours, Some(theirs), bound, "the control");
            }
            None => checks.that(ours.get(field) == Some(theirs), || format!("{what} is not the control's")),
        }
    }
}
