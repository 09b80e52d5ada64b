//! Zones and memory, by the log's `Mem-Info`.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    super::missing::{self, lacking, unless_known},
    HostMemory, Reported, Scope, ScopeKind, Trigger, Zone,
};
use crate::kmsg::report::{MemInfo, ZoneInfo};

/// As many as a hook tells.
const ZONES: usize = 16;
/// Places of zones in `lowmem_reserve[]` (`enum zone_type`, include/linux/mmzone.h), by what a machine has.
const WITH_DMA32: [&str; 5] = ["DMA", "DMA32", "Normal", "Movable", "Device"];
const WITH_HIGHMEM: [&str; 4] = ["DMA", "Normal", "HighMem", "Movable"];
/// `GFP_ZONEMASK`: the lowest four bits, whose places have not moved since 2.6.
const GFP_DMA: u32 = 1;
const GFP_HIGHMEM: u32 = 2;
const GFP_DMA32: u32 = 4;
const GFP_MOVABLE: u32 = 8;

impl Reported<'_> {
    pub(super) fn memory(
        &self,
        scope: &Scope,
        trigger: &Trigger,
        page_bytes: Option<u64>,
        missing: &mut BTreeMap<String, String>,
    ) -> (Vec<Zone>, Option<HostMemory>) {
        let memory = &self.report.memory;
        let order = order(memory);
        // What serves the request: zones up to the one that it asks for, from there down.
        let asked = trigger.gfp_mask.map(|mask| place(mask, order));
        let serves = |zone: &ZoneInfo| {
            let at = order.iter().position(|name| *name == zone.name);
            asked.zip(at).is_none_or(|(asked, at)| at <= asked)
        };
        let mut of_request: Vec<_> = memory.zones.iter().filter(|zone| serves(zone)).collect();
        of_request.sort_by_key(|zone| {
            (zone.node, std::cmp::Reverse(order.iter().position(|name| *name == zone.name)))
        });
        let mut zones = Vec::new();
        for info in of_request.into_iter().take(ZONES) {
            let at = zones.len();
            zones.push(zone(info, at, asked, page_bytes, self.lacks(), missing));
        }
        if zones.is_empty() {
            missing.insert("zones".to_owned(), self.lacks().to_owned());
        }
        let used = used(memory, scope, page_bytes);
        match &used {
            None => {
                missing.insert("host_memory".to_owned(), self.lacks().to_owned());
            }
            Some(used) => self.unsaid(used, missing),
        }
        (zones, used)
    }

    fn unsaid(&self, used: &HostMemory, missing: &mut BTreeMap<String, String>) {
        missing::all(
            missing,
            ["anon_mapped_bytes", "swap_free_after_bytes"].map(|field| format!("host_memory.{field}")),
            self.reasons.never,
        );
        let unsaid = [
            ("mem_total_bytes", used.mem_total_bytes),
            ("inactive_anon_bytes", used.inactive_anon_bytes),
            ("active_anon_bytes", used.active_anon_bytes),
            ("inactive_file_bytes", used.inactive_file_bytes),
            ("active_file_bytes", used.active_file_bytes),
            ("unevictable_bytes", used.unevictable_bytes),
            ("slab_reclaimable_bytes", used.slab_reclaimable_bytes),
            ("slab_unreclaimable_bytes", used.slab_unreclaimable_bytes),
            ("file_mapped_bytes", used.file_mapped_bytes),
            ("shmem_bytes", used.shmem_bytes),
            ("dirty_bytes", used.dirty_bytes),
            ("writeback_bytes", used.writeback_bytes),
            ("kernel_stack_bytes", used.kernel_stack_bytes),
            ("pagetables_bytes", used.pagetables_bytes),
            ("swap_total_bytes", used.swap_total_bytes),
            ("swap_free_bytes", used.swap_free_bytes),
        ];
        let unsaid = unsaid.into_iter().map(|(field, value)| (field, value.is_none()));
        unless_known(missing, lacking(unsaid).map(|field| format!("host_memory.{field}")), self.lacks());
    }
}

/// The zones that the machine can have, from the lowest up.
fn order(memory: &MemInfo) -> &'static [&'static str] {
    let high = memory.zones.iter().any(|zone| zone.name == "HighMem");
    if high { &WITH_HIGHMEM } else { &WITH_DMA32 }
}

/// The place of the highest zone that a request may be served from (gfp_zone(), include/linux/gfp.h).
fn place(mask: u32, order: &[&str]) -> usize {
    let name = match mask & (GFP_DMA | GFP_HIGHMEM | GFP_DMA32 | GFP_MOVABLE) {
        zone if zone & GFP_DMA != 0 => "DMA",
        zone if zone & GFP_DMA32 != 0 => "DMA32",
        zone if zone & GFP_HIGHMEM != 0 && zone & GFP_MOVABLE != 0 => "Movable",
        zone if zone & GFP_HIGHMEM != 0 => "HighMem",
        _ => "Normal",
    };
    let normal = order.iter().position(|known| *known == "Normal").unwrap_or(0);
    order.iter().position(|known| *known == name).unwrap_or(normal)
}

fn zone(
    info: &ZoneInfo,
    at: usize,
    asked: Option<usize>,
    page_bytes: Option<u64>,
    lacks: &str,
    missing: &mut BTreeMap<String, String>,
) -> Zone {
    let bytes = |key: &str| info.bytes.get(key).copied();
    let reserve = info.reserve_pages.as_ref().zip(asked).and_then(|(pages, asked)| pages.get(asked));
    let zone = Zone {
        // A machine that has but one node calls it nothing, or 0.
        node: Some(info.node.unwrap_or(0)),
        name: Some(info.name.clone()),
        free_bytes: bytes("free"),
        min_bytes: bytes("min"),
        low_bytes: bytes("low"),
        high_bytes: bytes("high"),
        boost_bytes: bytes("boost"),
        managed_bytes: bytes("managed"),
        present_bytes: bytes("present"),
        lowmem_reserve_bytes: reserve.zip(page_bytes).and_then(|(pages, bytes)| pages.checked_mul(bytes)),
        free_by_order: info.free_by_order.clone(),
    };
    let unsaid = [
        ("free_bytes", zone.free_bytes.is_none()),
        ("min_bytes", zone.min_bytes.is_none()),
        ("low_bytes", zone.low_bytes.is_none()),
        ("high_bytes", zone.high_bytes.is_none()),
        ("boost_bytes", zone.boost_bytes.is_none()),
        ("managed_bytes", zone.managed_bytes.is_none()),
        ("present_bytes", zone.present_bytes.is_none()),
        ("lowmem_reserve_bytes", zone.lowmem_reserve_bytes.is_none()),
        ("free_by_order", zone.free_by_order.is_none()),
    ];
    missing::all(missing, lacking(unsaid).map(|field| format!("zones[{at}].{field}")), lacks);
    zone
}

/// What memory is used for: by nodes (since 4.8), else by zones, else as sums over all.
fn used(memory: &MemInfo, scope: &Scope, page_bytes: Option<u64>) -> Option<HostMemory> {
    let sums = |key: &str| memory.sums_pages.get(key)?.checked_mul(page_bytes?);
    if memory.zones.is_empty() && memory.nodes.is_empty() && memory.sums_pages.is_empty() {
        return None;
    }
    let nodes: BTreeSet<u32> = memory
        .zones
        .iter()
        .map(|zone| zone.node.unwrap_or(0))
        .chain(memory.nodes.iter().map(|node| node.node))
        .collect();
    // The sums are over all nodes, and a confined request has the others' left out of its report.
    let all = scope.kind == Some(ScopeKind::Global);
    let added = |each: Vec<Option<u64>>| {
        let known = !each.is_empty();
        let sum = each.into_iter().try_fold(0_u64, |sum, one| Some(sum.saturating_add(one?)));
        sum.filter(|_| known)
    };
    let of = |key: &str| {
        let by_node = added(memory.nodes.iter().map(|node| node.bytes.get(key).copied()).collect());
        let by_zone = || added(memory.zones.iter().map(|zone| zone.bytes.get(key).copied()).collect());
        by_node.or_else(by_zone).or_else(|| sums(key).filter(|_| all))
    };
    let total =
        memory.ram_pages.zip(memory.reserved_pages).and_then(|(ram, reserved)| ram.checked_sub(reserved));
    Some(HostMemory {
        nodes: nodes.into_iter().collect(),
        mem_total_bytes: total.zip(page_bytes).and_then(|(pages, bytes)| pages.checked_mul(bytes)),
        inactive_anon_bytes: of("inactive_anon"),
        active_anon_bytes: of("active_anon"),
        inactive_file_bytes: of("inactive_file"),
        active_file_bytes: of("active_file"),
        unevictable_bytes: of("unevictable"),
        slab_reclaimable_bytes: of("slab_reclaimable"),
        slab_unreclaimable_bytes: of("slab_unreclaimable"),
        anon_mapped_bytes: None,
        file_mapped_bytes: of("mapped"),
        shmem_bytes: of("shmem"),
        dirty_bytes: of("dirty"),
        writeback_bytes: of("writeback"),
        kernel_stack_bytes: of("kernel_stack"),
        pagetables_bytes: of("pagetables"),
        swap_total_bytes: memory.swap_total_bytes,
        swap_free_bytes: memory.swap_free_bytes,
        swap_free_after_bytes: None,
    })
}
