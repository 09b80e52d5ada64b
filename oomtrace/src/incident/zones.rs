//! What memory there was at the decision: zone by zone, and what it was used for.

use std::collections::BTreeMap;

use oomtrace_ebpf::NODE_COUNTERS;

use super::{
    missing::{self, UNREAD, lacking},
    types::{HostMemory, Zone},
};
use crate::{record, session::Session};

/// Field of an incident: the zones.
pub const ZONES: &str = "zones";
/// Field of an incident: what memory was used for.
pub const HOST_MEMORY: &str = "host_memory";
/// The fields of [`HostMemory`] that the counters of a [`record::Node`] come to, in their order.
pub const COUNTERS: [&str; NODE_COUNTERS.len()] = [
    "inactive_anon_bytes",
    "active_anon_bytes",
    "inactive_file_bytes",
    "active_file_bytes",
    "unevictable_bytes",
    "slab_reclaimable_bytes",
    "slab_unreclaimable_bytes",
    "anon_mapped_bytes",
    "file_mapped_bytes",
    "shmem_bytes",
    "dirty_bytes",
    "writeback_bytes",
    "kernel_stack_bytes",
    "pagetables_bytes",
];

/// Which of them is in KiB, not in pages: `NR_KERNEL_STACK_KB`.
const IN_KIB: usize = 12;
/// Which of them share a node's memory among them: those of the LRU lists and of slab.
const APART: std::ops::Range<usize> = 0..7;
/// `zone_names` (mm/page_alloc.c).
const NAMES: [&str; 6] = ["DMA", "DMA32", "Normal", "HighMem", "Movable", "Device"];
/// What a CPU holds back of a counter at the most, pages (`calculate_normal_threshold()`, mm/vmstat.c).
const HELD_BACK_PAGES: u64 = 125;
/// What other CPUs may allocate or free while the counts of one zone are read, one after the other, pages.
const MOVING_PAGES: u64 = 1024;
/// Memory that may have been added since tracing began: so many times as much, in all.
const GROWTH: u64 = 4;

/// Why there is no zone.
pub const NONE_SEEN: &str = "the records of the decision have none";
/// The same without a decision.
pub const NO_DECISION_SEEN: &str = "no decision was seen";
/// The same where no hook shows decisions.
pub const NOT_RECLAIMED: &str = "no reclaim of the trigger's showed them before the kill";
const NOT_RECORDED: &str = "it is read from /proc/meminfo when the incident is reported, and is in no record";

/// What a run's records tell.
pub(super) struct Seen<'a> {
    /// In the order of the request's list.
    pub zones: &'a [record::Zone],
    /// Their nodes.
    pub nodes: &'a [record::Node],
    /// Why there are no zones, if there are none: [`NONE_SEEN`], [`NO_DECISION_SEEN`] or [`NOT_RECLAIMED`].
    pub none: &'static str,
    /// The nodes that the request was confined to, if it was: the zones of others are not told.
    pub allowed: Option<&'a [u32]>,
}

impl Seen<'_> {
    /// What is told of it; why something is not goes to `missing`. `doubt`: why the decision is not told.
    pub(super) fn told(
        &self,
        doubt: Option<&str>,
        session: &Session,
        missing: &mut BTreeMap<String, String>,
    ) -> (Vec<Zone>, Option<HostMemory>) {
        let reason = if let Some(reason) = session.missing.get(ZONES) {
            Some(reason.clone())
        } else if let Some(reason) = doubt {
            Some(reason.to_owned())
        } else if !self.zones.iter().any(|zone| self.concerns(zone.node)) {
            Some(self.none.to_owned())
        } else {
            let contradiction = self.zones.iter().find_map(|zone| contradiction(zone, session));
            contradiction.map(|words| format!("the kernel's zones are not where its types say: {words}"))
        };
        if let Some(reason) = reason {
            missing.retain(|field, _| !field.starts_with("host_memory."));
            missing::unless_known(missing, [ZONES, HOST_MEMORY], &reason);
            return (Vec::new(), None);
        }
        let zones = self.zones.iter().filter(|zone| self.concerns(zone.node)).enumerate();
        let zones = zones.map(|(at, zone)| told(zone, at, session, missing)).collect();
        (zones, self.host_memory(session, missing))
    }

    /// Whether the request could have been served from that node.
    fn concerns(&self, node: Option<u32>) -> bool {
        self.allowed.zip(node).is_none_or(|(allowed, node)| allowed.contains(&node))
    }

    fn host_memory(&self, session: &Session, missing: &mut BTreeMap<String, String>) -> Option<HostMemory> {
        let refused = |reason: &str, missing: &mut BTreeMap<String, String>| {
            missing.retain(|field, _| !field.starts_with("host_memory."));
            missing.insert(HOST_MEMORY.to_owned(), reason.to_owned());
            None
        };
        let concerned: Vec<_> = self.nodes.iter().filter(|node| self.concerns(node.node)).collect();
        let Some(nodes) = concerned.iter().map(|node| node.node).collect::<Option<Vec<_>>>() else {
            return refused(UNREAD, missing);
        };
        if nodes.is_empty() {
            return refused(self.none, missing);
        }
        let host = &session.host;
        let page_bytes = u64::from(host.page_bytes);
        let sums: [Option<u64>; NODE_COUNTERS.len()] = std::array::from_fn(|index| {
            let unit = if index == IN_KIB { 1024 } else { page_bytes };
            let mut counts = concerned.iter().map(|node| node.counters.get(index).copied().flatten());
            counts.try_fold(0_u64, |sum, count| Some(sum.saturating_add(count?.saturating_mul(unit))))
        });
        let most = host.memory_bytes.map_or(u64::MAX, |bytes| bytes.saturating_mul(GROWTH));
        let lists =
            sums.iter().take(APART.end).flatten().fold(0, |sum: u64, bytes| sum.saturating_add(*bytes));
        if let Some(more) = sums.iter().flatten().chain([&lists]).find(|bytes| **bytes > most) {
            return refused(
                &format!("the kernel's node counters are not where its types say: one comes to {more} bytes"),
                missing,
            );
        }
        missing::unread(missing, HOST_MEMORY, COUNTERS.into_iter().zip(sums.map(|sum| sum.is_none())));
        let unrecorded = ["swap_total_bytes", "swap_free_after_bytes"];
        missing::all(missing, unrecorded.map(|field| format!("{HOST_MEMORY}.{field}")), NOT_RECORDED);
        if host.memory_bytes.is_none() {
            missing.insert(format!("{HOST_MEMORY}.mem_total_bytes"), "/proc/meminfo has none".to_owned());
        }
        let [
            inactive_anon_bytes,
            active_anon_bytes,
            inactive_file_bytes,
            active_file_bytes,
            unevictable_bytes,
            slab_reclaimable_bytes,
            slab_unreclaimable_bytes,
            anon_mapped_bytes,
            file_mapped_bytes,
            shmem_bytes,
            dirty_bytes,
            writeback_bytes,
            kernel_stack_bytes,
            pagetables_bytes,
        ] = sums;
        Some(HostMemory {
            nodes,
            mem_total_bytes: host.memory_bytes,
            inactive_anon_bytes,
            active_anon_bytes,
            inactive_file_bytes,
            active_file_bytes,
            unevictable_bytes,
            slab_reclaimable_bytes,
            slab_unreclaimable_bytes,
            anon_mapped_bytes,
            file_mapped_bytes,
            shmem_bytes,
            dirty_bytes,
            writeback_bytes,
            kernel_stack_bytes,
            pagetables_bytes,
            swap_total_bytes: None,
            swap_free_bytes: None,
            swap_free_after_bytes: None,
        })
    }
}

/// What of a zone cannot be true, in words. Where its fields are was compared before; whether it is a zone at all shows
/// here.
fn contradiction(zone: &record::Zone, session: &Session) -> Option<String> {
    if let Some(name) = &zone.name
        && !NAMES.contains(&name.as_str())
    {
        return Some(format!("one is called {name}"));
    }
    // Not even its name, and nothing else either.
    if zone.node.is_none() && zone.managed_pages.is_none() && zone.free_pages.is_none() {
        return Some("one cannot be read".to_owned());
    }
    if let Some([min, low, high]) = zone.watermark_pages
        && !(min <= low && low <= high)
    {
        return Some(format!("one has the watermarks {min}, {low} and {high} pages"));
    }
    let page_bytes = u64::from(session.host.page_bytes);
    let most = session.host.memory_bytes.map_or(u64::MAX, |bytes| bytes.saturating_mul(GROWTH) / page_bytes);
    let slack = slack(session);
    let most = zone.managed_pages.map_or(most, |managed| managed.min(most)).saturating_add(slack);
    let free = zone.free_pages.filter(|free| *free > most);
    let managed = zone.managed_pages.filter(|managed| *managed == 0 || *managed > most);
    free.or(managed).map(|pages| format!("one has {pages} pages, where at most {most} can be"))
}

/// By how much two counts of the same pages may differ.
fn slack(session: &Session) -> u64 {
    MOVING_PAGES.saturating_add(HELD_BACK_PAGES.saturating_mul(u64::from(session.host.cpus_possible)))
}

fn told(zone: &record::Zone, at: usize, session: &Session, missing: &mut BTreeMap<String, String>) -> Zone {
    let bytes = |pages: u64| pages.saturating_mul(u64::from(session.host.page_bytes));
    let watermark = |index: usize| {
        let pages = zone.watermark_pages.and_then(|pages| pages.get(index).copied())?;
        Some(bytes(pages.saturating_add(zone.boost_pages?)))
    };
    let mut told = Zone {
        node: zone.node,
        name: zone.name.clone(),
        free_bytes: zone.free_pages.map(bytes),
        min_bytes: watermark(0),
        low_bytes: watermark(1),
        high_bytes: watermark(2),
        boost_bytes: zone.boost_pages.map(bytes),
        managed_bytes: zone.managed_pages.map(bytes),
        present_bytes: zone.present_pages.map(bytes),
        lowmem_reserve_bytes: zone.reserve_pages.map(bytes),
        free_by_order: zone.blocks.clone(),
    };
    let path = |field: &str| format!("{ZONES}[{at}].{field}");
    let unread = [
        ("node", told.node.is_none()),
        ("name", told.name.is_none()),
        ("free_bytes", told.free_bytes.is_none()),
        ("min_bytes", told.min_bytes.is_none()),
        ("low_bytes", told.low_bytes.is_none()),
        ("high_bytes", told.high_bytes.is_none()),
        ("boost_bytes", told.boost_bytes.is_none()),
        ("managed_bytes", told.managed_bytes.is_none()),
        ("present_bytes", told.present_bytes.is_none()),
        ("lowmem_reserve_bytes", told.lowmem_reserve_bytes.is_none()),
        ("free_by_order", told.free_by_order.is_none()),
    ];
    missing::all(missing, lacking(unread).map(path), UNREAD);
    // Free pages that no block has are those that a guest has not accepted yet (`NR_UNACCEPTED`); the reverse cannot be.
    if let (Some(free), Some(blocks)) = (zone.free_pages, &zone.blocks) {
        let in_blocks = (0_u32..).zip(blocks).fold(0_u64, |sum, (order, blocks)| {
            sum.saturating_add(blocks.saturating_mul(1_u64.checked_shl(order).unwrap_or(u64::MAX)))
        });
        if in_blocks > free.saturating_add(slack(session)) {
            let reason = format!("{free} pages are counted as free, and the free blocks have {in_blocks}");
            missing::all(missing, ["free_bytes", "free_by_order"].map(path), &reason);
            (told.free_bytes, told.free_by_order) = (None, None);
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{kernel::hooks::Tier, session::tests::sample};

    fn session() -> Session {
        sample(Tier::Trampoline)
    }

    fn zone() -> record::Zone {
        record::Zone {
            node: Some(0),
            name: Some("DMA32".to_owned()),
            free_pages: Some(400),
            watermark_pages: Some([300, 400, 500]),
            boost_pages: Some(20),
            managed_pages: Some(50_000),
            present_pages: Some(60_000),
            reserve_pages: Some(170),
            blocks: Some(vec![10, 5, 0, 1, 0, 0, 0, 0, 0, 0, 0]),
        }
    }

    fn node(node: u32) -> record::Node {
        record::Node { node: Some(node), counters: [Some(100); NODE_COUNTERS.len()] }
    }

    fn of(zone: record::Zone) -> (Vec<Zone>, Option<HostMemory>, BTreeMap<String, String>) {
        let mut missing = BTreeMap::new();
        let seen = Seen { zones: &[zone], nodes: &[node(0), node(1)], none: NONE_SEEN, allowed: None };
        let (zones, memory) = seen.told(None, &session(), &mut missing);
        (zones, memory, missing)
    }

    /// Guards a request that was confined to some nodes: those of others are not its zones, nor their memory its.
    #[test]
    fn only_allowed_nodes_are_told() {
        let zones = [record::Zone { node: Some(0), ..zone() }, record::Zone { node: Some(1), ..zone() }];
        let nodes = [node(0), node(1)];
        let told = |allowed: &[u32]| {
            let mut missing = BTreeMap::new();
            let seen = Seen { zones: &zones, nodes: &nodes, none: NONE_SEEN, allowed: Some(allowed) };
            let (zones, memory) = seen.told(None, &session(), &mut missing);
            let of: Vec<_> = zones.iter().filter_map(|zone| zone.node).collect();
            (of, memory.map(|memory| memory.nodes), missing.contains_key(ZONES))
        };
        assert_eq!(told(&[1]), (vec![1], Some(vec![1]), false));
        assert_eq!(told(&[0, 1]), (vec![0, 1], Some(vec![0, 1]), false));
        assert_eq!(told(&[2]), (vec![], None, true));
    }

    /// Guards the figures: in bytes, watermarks with their boost, nodes added up.
    #[test]
    fn figures_are_in_bytes() {
        let (zones, memory, missing) = of(zone());
        let zone = &zones[0];
        assert_eq!([zone.min_bytes, zone.high_bytes], [Some(320 * 4096), Some(520 * 4096)]);
        assert_eq!((zone.free_bytes, zone.lowmem_reserve_bytes), (Some(400 * 4096), Some(170 * 4096)));
        let memory = memory.unwrap();
        assert_eq!(memory.nodes, [0, 1]);
        assert_eq!(
            (memory.active_anon_bytes, memory.kernel_stack_bytes),
            (Some(200 * 4096), Some(200 * 1024))
        );
        let keys: Vec<_> = missing.keys().map(String::as_str).collect();
        assert_eq!(keys, ["host_memory.swap_free_after_bytes", "host_memory.swap_total_bytes"]);
    }

    /// Guards against what is no zone: then neither zones nor nodes are told, and it is said why.
    #[test]
    fn what_is_no_zone_is_not_told() {
        let wrong: [fn(&mut record::Zone); 6] = [
            |zone| zone.name = Some("kworker/0:1".to_owned()),
            |zone| *zone = record::Zone::default(),
            |zone| zone.watermark_pages = Some([500, 400, 300]),
            |zone| zone.free_pages = Some(60_000),
            |zone| zone.managed_pages = Some(0),
            |zone| zone.managed_pages = Some(1 << 40),
        ];
        for (number, change) in wrong.into_iter().enumerate() {
            let mut zone = zone();
            change(&mut zone);
            let (zones, memory, missing) = of(zone);
            assert!(zones.is_empty() && memory.is_none(), "change {number}");
            assert!(missing.contains_key(ZONES) && missing.contains_key(HOST_MEMORY) && missing.len() == 2);
        }
    }

    /// Guards free memory against counts that contradict each other. That blocks lack pages is no contradiction.
    #[test]
    fn free_blocks_are_no_more_than_what_is_free() {
        let (zones, _, missing) =
            of(record::Zone { blocks: Some(vec![0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]), ..zone() });
        assert_eq!((zones[0].free_bytes, zones[0].free_by_order.as_ref()), (None, None));
        assert!(
            missing.contains_key("zones[0].free_bytes") && missing.contains_key("zones[0].free_by_order")
        );
        let (zones, _, _) = of(record::Zone { blocks: Some(vec![0]), free_pages: Some(40_000), ..zone() });
        assert_eq!(zones[0].free_by_order.as_deref(), Some(&[0][..]));
    }

    /// Guards nodes: counters that come to more than there is are not told, and one that is not read leaves the others.
    #[test]
    fn counters_are_told_if_they_can_be_true() {
        let told = |counters: fn(&mut [Option<u64>; NODE_COUNTERS.len()])| {
            let mut node = node(0);
            counters(&mut node.counters);
            let mut missing = BTreeMap::new();
            let seen = Seen { zones: &[zone()], nodes: &[node], none: NONE_SEEN, allowed: None };
            (seen.told(None, &session(), &mut missing).1, missing)
        };
        let (memory, missing) = told(|counters| counters[3] = Some(u64::MAX / 2));
        assert!(memory.is_none() && missing.contains_key(HOST_MEMORY));
        let (memory, missing) = told(|counters| counters[13] = None);
        assert_eq!(memory.unwrap().pagetables_bytes, None);
        assert_eq!(missing["host_memory.pagetables_bytes"], UNREAD);
    }
}
