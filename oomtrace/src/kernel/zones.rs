//! Whether what the programs read of zones and nodes is true: before the first incident they read all of them, and that
//! is compared with /proc/zoneinfo and /proc/buddyinfo, read before and after.
//!
//! /proc shows the same counters that the programs read, also without what CPUs hold back: but for what moves in
//! between, they are equal.

use std::{collections::BTreeMap, path::Path};

use anyhow::Context as _;
use aya::{
    Ebpf,
    maps::Array,
    programs::{RawTracePoint, RawTracePointRunOptions, TestRun},
};
use oomtrace_ebpf::{self as abi, ABSENT, NODE_COUNTERS};

use super::{layout::Resolved, load::Attached};
use crate::{
    host::zoneinfo::{self, ZoneInfo},
    incident::{COUNTERS, HOST_MEMORY, ZONES},
    record::{Node, Record, Zone, decode},
};

/// The program that shows a zone.
const PROGRAM: &str = "zones_raw_tp";
/// What it saw.
const SEEN: &str = "ZONES_SEEN";
const SEEN_BYTES: usize = size_of::<abi::Zone>() + size_of::<abi::Node>();

/// Looks until the two agree.
const ATTEMPTS: usize = 5;
/// Nodes that are compared, at the most.
const NODES: u32 = 8;
/// Pages by which what moves may differ beyond what /proc shows of its movement; and what each CPU may add to a
/// counter at once (`calculate_normal_threshold()`, mm/vmstat.c).
const SLACK_PAGES: u64 = 256;
const CPU_PAGES: u64 = 125;

/// What /proc/zoneinfo calls [`NODE_COUNTERS`] (`vmstat_text`, mm/vmstat.c).
const IN_PROC: [&str; NODE_COUNTERS.len()] = [
    "nr_inactive_anon",
    "nr_active_anon",
    "nr_inactive_file",
    "nr_active_file",
    "nr_unevictable",
    "nr_slab_reclaimable",
    "nr_slab_unreclaimable",
    "nr_anon_pages",
    "nr_mapped",
    "nr_shmem",
    "nr_dirty",
    "nr_writeback",
    "nr_kernel_stack",
    "nr_page_table_pages",
];

/// Which fields of incidents cannot be had on this kernel, and why: what its types lack, and all where they are not
/// this kernel's.
#[must_use]
pub fn missing(attached: &mut Attached, cpus: u32) -> BTreeMap<String, String> {
    // There it is missing anyway.
    if attached.roles.iter().any(|role| role.losses.contains_key(ZONES)) {
        return BTreeMap::new();
    }
    if let Err(differences) = check(&mut attached.ebpf, &attached.resolved, cpus) {
        let reason = format!("the kernel's zones are not where its types say: read by them, {differences}");
        return [ZONES, HOST_MEMORY].map(|field| (field.to_owned(), reason.clone())).into();
    }
    let lacks = &attached.resolved.missing;
    let fields = NODE_COUNTERS.iter().zip(COUNTERS);
    let lacking = fields.filter_map(|(counter, field)| {
        let reason = lacks.get(counter).or_else(|| lacks.get("pgdat_stat"))?;
        Some((format!("{HOST_MEMORY}.{field}"), reason.clone()))
    });
    lacking.collect()
}

/// `Err`: what differs. What cannot be compared is no difference.
fn check(ebpf: &mut Ebpf, resolved: &Resolved, cpus: u32) -> Result<(), String> {
    if load(ebpf).is_err() {
        return Ok(());
    }
    let mut differences = Vec::new();
    for _ in 0..ATTEMPTS {
        let proc = Path::new("/proc");
        let Some(before) = ZoneInfo::read(proc) else { break };
        let Ok(seen) = look(ebpf, &before) else { break };
        let Some(after) = ZoneInfo::read(proc) else { break };
        let comparison =
            Comparison { resolved, slack: SLACK_PAGES + CPU_PAGES * u64::from(cpus), found: Vec::new() };
        differences = comparison.all(&before, &seen, &after);
        if differences.is_empty() {
            break;
        }
    }
    unload(ebpf);
    if differences.is_empty() { Ok(()) } else { Err(differences.join("; ")) }
}

fn load(ebpf: &mut Ebpf) -> anyhow::Result<()> {
    let program = ebpf.program_mut(PROGRAM).context("the eBPF object lacks the program")?;
    let program: &mut RawTracePoint = program.try_into()?;
    Ok(program.load()?)
}

fn unload(ebpf: &mut Ebpf) {
    let program = ebpf.program_mut(PROGRAM).map(<&mut RawTracePoint>::try_from);
    if let Some(Ok(program)) = program {
        // One that cannot be unloaded was not loaded.
        let _ = program.unload();
    }
}

/// What the programs see of each zone of `info`; `None` where they see none.
fn look(ebpf: &mut Ebpf, info: &ZoneInfo) -> anyhow::Result<Vec<Option<(Zone, Node)>>> {
    let zones = info.zones.iter().filter(|zone| zone.node < NODES);
    zones.map(|zone| look_at(ebpf, zone.node, zone.index)).collect()
}

fn look_at(ebpf: &mut Ebpf, node: u32, index: u32) -> anyhow::Result<Option<(Zone, Node)>> {
    let program = ebpf.program_mut(PROGRAM).context("the eBPF object lacks the program")?;
    let program: &mut RawTracePoint = program.try_into()?;
    let mut run = RawTracePointRunOptions::new();
    (run.args[0], run.args[1]) = (u64::from(node), u64::from(index));
    program.test_run(run)?;
    let map = ebpf.map(SEEN).context("the eBPF object lacks the map")?;
    let seen: Array<_, [u8; SEEN_BYTES]> = map.try_into()?;
    let bytes = seen.get(&0, 0)?;
    if bytes.iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    let (zone, node) = bytes.split_at(size_of::<abi::Zone>());
    match (decode(zone)?, decode(node)?) {
        (Record::Zone(_, zone), Record::Node(_, node)) => Ok(Some((*zone, *node))),
        _ => anyhow::bail!("it is no zone"),
    }
}

struct Comparison<'a> {
    resolved: &'a Resolved,
    /// By how many pages what moves may differ.
    slack: u64,
    /// In words.
    found: Vec<String>,
}

impl Comparison<'_> {
    fn all(mut self, before: &ZoneInfo, seen: &[Option<(Zone, Node)>], after: &ZoneInfo) -> Vec<String> {
        let layout = &self.resolved.layout;
        // Without one of these the programs find no zone by themselves.
        let way = [
            layout.task_cgroups,
            layout.css_cgroup,
            layout.memcg_css_cgroup,
            self.resolved.params.memory_css,
            layout.memcg_nodeinfo,
            layout.memcg_node_pgdat,
            layout.pgdat_zone,
            layout.pgdat_zone_next,
            layout.pgdat_nr_zones,
            layout.zone_pgdat,
        ];
        if way.contains(&ABSENT) {
            return Vec::new();
        }
        self.numbers(before);
        for ((before, seen), after) in before.zones.iter().zip(seen).zip(&after.zones) {
            match seen {
                Some((zone, node)) => self.zone(before, zone, node, after),
                None if before.managed > 0 => {
                    self.found.push(format!("zone {} of node {} cannot be found", before.name, before.node));
                }
                None => {}
            }
        }
        self.found
    }

    /// The constants that arrays are indexed by: /proc lists what they index in the same order.
    fn numbers(&mut self, info: &ZoneInfo) {
        let (layout, params) = (&self.resolved.layout, &self.resolved.params);
        let Some(first) = info.zones.iter().find(|zone| !zone.node_counters.is_empty()) else { return };
        let counters = |list: &[(String, u64)], name: &str| list.iter().position(|(known, _)| known == name);
        let mut indices: Vec<_> = IN_PROC
            .iter()
            .zip(params.node_counters)
            .map(|(name, place)| (*name, layout.pgdat_stat, place, counters(&first.node_counters, name)))
            .collect();
        let free = counters(&first.counters, "nr_free_pages");
        indices.push(("nr_free_pages", layout.zone_stat, params.zone_free, free));
        for (name, place) in
            [("Normal", params.zone_reserve_normal), ("Movable", params.zone_reserve_movable)]
        {
            let zones = info.zones.iter().filter(|zone| zone.node == first.node);
            let index = zones.into_iter().position(|zone| zone.name == name);
            indices.push((name, layout.zone_reserve, place, index));
        }
        for (name, array, place, index) in indices {
            let known = (array != ABSENT && place != ABSENT).then(|| place.wrapping_sub(array) / 8);
            if let (Some(known), Some(index)) = (known, index)
                && known != index as u64
            {
                self.found
                    .push(format!("{name} is number {known} where /proc/zoneinfo has it as number {index}"));
            }
        }
    }

    fn zone(&mut self, before: &zoneinfo::Zone, zone: &Zone, node: &Node, after: &zoneinfo::Zone) {
        let (layout, params) = (&self.resolved.layout, &self.resolved.params);
        let of = format!("zone {} of node {}", before.name, before.node);
        let number = |of: u32| Some(u64::from(of));
        self.equal(
            &of,
            "zone_pgdat",
            &[layout.pgdat_node_id],
            zone.node.map(u64::from),
            number(before.node),
            None,
        );
        let named = zone.name.as_ref().map(|name| u64::from(*name == before.name));
        self.equal(&of, "name", &[layout.zone_name], named, Some(1), None);
        let exact = |figure: fn(&zoneinfo::Zone) -> u64| (Some(figure(before)), Some(figure(after)));
        for (field, place, seen, (before, after)) in [
            ("managed_pages", layout.zone_managed, zone.managed_pages, exact(|zone| zone.managed)),
            ("present_pages", layout.zone_present, zone.present_pages, exact(|zone| zone.present)),
            ("watermark_boost", layout.zone_watermark_boost, zone.boost_pages, (before.boost, after.boost)),
        ] {
            self.equal(&of, field, &[place], seen, before, after);
        }
        // What /proc shows has the boost in it.
        let boost = zone.boost_pages.unwrap_or(0);
        let figures: [fn(&zoneinfo::Zone) -> u64; 3] = [|zone| zone.min, |zone| zone.low, |zone| zone.high];
        for (index, figure) in figures.into_iter().enumerate() {
            let seen = zone.watermark_pages.and_then(|pages| pages.get(index).copied());
            let seen = seen.map(|pages| pages.saturating_add(boost));
            let places = [layout.zone_watermark, layout.zone_watermark_boost];
            self.equal(&of, "_watermark", &places, seen, Some(figure(before)), Some(figure(after)));
        }
        // The program asks as a request for ZONE_NORMAL does.
        let class = usize::try_from(params.zone_reserve_normal.wrapping_sub(layout.zone_reserve) / 8);
        let reserve = |info: &zoneinfo::Zone| info.protection.get(*class.as_ref().ok()?).copied();
        let places = [layout.zone_reserve, params.zone_reserve_normal];
        self.equal(&of, "lowmem_reserve", &places, zone.reserve_pages, reserve(before), reserve(after));
        self.near(
            &of,
            "vm_stat[NR_FREE_PAGES]",
            params.zone_free,
            zone.free_pages,
            before.free,
            after.free,
            0,
        );
        self.blocks(&of, before, zone, after);
        for (index, name) in IN_PROC.iter().enumerate() {
            let own = |info: &zoneinfo::Zone| {
                let found = info.node_counters.iter().find(|(known, _)| known == name);
                found.map(|(_, count)| *count)
            };
            let place = params.node_counters.get(index).copied().unwrap_or(ABSENT);
            let seen = node.counters.get(index).copied().flatten();
            if let (Some(before), Some(after)) = (own(before), own(after)) {
                self.near(&of, name, place, seen, before, after, 0);
            }
        }
    }

    fn blocks(&mut self, of: &str, before: &zoneinfo::Zone, zone: &Zone, after: &zoneinfo::Zone) {
        let places = [self.resolved.layout.zone_blocks, self.resolved.layout.zone_blocks_next];
        if places.contains(&ABSENT) || self.resolved.params.orders == 0 || before.blocks.is_empty() {
            return;
        }
        let seen = zone.blocks.as_deref().unwrap_or_default();
        if seen.len() != before.blocks.len() {
            let (ours, orders) = (seen.len(), before.blocks.len());
            self.found.push(format!("{of} has {ours} orders where /proc/buddyinfo has {orders}"));
        }
        for (order, ((seen, before), after)) in
            (0_u32..).zip(seen.iter().zip(&before.blocks).zip(&after.blocks))
        {
            self.near(of, "free_area", 0, Some(*seen), *before, *after, order);
        }
    }

    /// What does not move: as it was before or after.
    fn equal(
        &mut self,
        of: &str,
        field: &str,
        places: &[u64],
        seen: Option<u64>,
        before: Option<u64>,
        after: Option<u64>,
    ) {
        let Some(own) = before else { return };
        if !places.contains(&ABSENT) && seen != before && (after.is_none() || seen != after) {
            self.found.push(format!("{field} of {of} gives {seen:?} where /proc has {own}"));
        }
    }

    /// What moves: from where it was to where it came, and a bit further. In blocks of 2^order pages.
    #[expect(clippy::too_many_arguments, reason = "each is one fact, and the callers stand side by side")]
    fn near(
        &mut self,
        of: &str,
        field: &str,
        place: u64,
        seen: Option<u64>,
        before: u64,
        after: u64,
        order: u32,
    ) {
        let moved = before.abs_diff(after);
        // A block may be one of the next order by now, or two of the one before.
        let slack = (self.slack.checked_shr(order).unwrap_or(0)).saturating_add(moved).saturating_add(4);
        let (least, most) =
            (before.min(after).saturating_sub(slack), before.max(after).saturating_add(slack));
        if place != ABSENT && seen.is_none_or(|seen| !(least..=most).contains(&seen)) {
            self.found
                .push(format!("{field} of {of} gives {seen:?} where /proc has {before} and then {after}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use oomtrace_ebpf::{Layout, Params};

    use super::*;

    fn resolved() -> Resolved {
        let node_counters = std::array::from_fn(|index| index as u64 * 8);
        Resolved {
            layout: Layout::from_offsets([0; Layout::FIELDS.len()]),
            params: Params {
                memory_css: 0,
                zone_free: 0,
                zone_reserve_normal: 0,
                zone_reserve_movable: 8,
                node_counters,
                orders: 2,
                ..Params::UNRESOLVED
            },
            rss_counters: None,
            missing: BTreeMap::new(),
        }
    }

    fn info() -> ZoneInfo {
        let node_counters = IN_PROC.iter().zip((1..).map(|number| number * 10_000));
        let normal = zoneinfo::Zone {
            name: "Normal".to_owned(),
            free: 5000,
            boost: Some(4),
            min: 104,
            low: 204,
            high: 304,
            present: 90_000,
            managed: 80_000,
            protection: vec![7, 9],
            counters: vec![("nr_free_pages".to_owned(), 5000)],
            node_counters: node_counters.map(|(name, count)| ((*name).to_owned(), count)).collect(),
            blocks: vec![3000, 1000],
            ..zoneinfo::Zone::default()
        };
        let movable = zoneinfo::Zone { index: 1, name: "Movable".to_owned(), ..zoneinfo::Zone::default() };
        ZoneInfo { zones: vec![normal, movable] }
    }

    fn seen() -> (Zone, Node) {
        let zone = Zone {
            node: Some(0),
            name: Some("Normal".to_owned()),
            free_pages: Some(5010),
            watermark_pages: Some([100, 200, 300]),
            boost_pages: Some(4),
            managed_pages: Some(80_000),
            present_pages: Some(90_000),
            reserve_pages: Some(7),
            blocks: Some(vec![3010, 1000]),
        };
        let mut counters = [None; NODE_COUNTERS.len()];
        for (counter, number) in counters.iter_mut().zip(1_u64..) {
            *counter = Some(number * 10_000 + 5);
        }
        (zone, Node { node: Some(0), counters })
    }

    fn found(resolved: &Resolved, seen: Option<(Zone, Node)>) -> Vec<String> {
        let comparison = Comparison { resolved, slack: SLACK_PAGES, found: Vec::new() };
        comparison.all(&info(), &[seen, None], &info())
    }

    /// Guards against zones that are read from wrong places: every figure that differs is noticed, alone; a zone that is
    /// not found too.
    #[test]
    fn every_wrong_figure_is_noticed_by_itself() {
        assert_eq!(found(&resolved(), Some(seen())), [""; 0]);
        assert_eq!(found(&resolved(), None).len(), 1);
        let wrong: [fn(&mut Zone, &mut Node); 11] = [
            |zone, _| zone.node = Some(1),
            |zone, _| zone.name = Some("DMA".to_owned()),
            |zone, _| zone.name = None,
            |zone, _| zone.free_pages = Some(6000),
            |zone, _| zone.watermark_pages = Some([100, 200, 301]),
            |zone, _| zone.managed_pages = Some(90_000),
            |zone, _| zone.present_pages = Some(80_000),
            |zone, _| zone.reserve_pages = Some(9),
            |zone, _| zone.blocks = Some(vec![3000]),
            |zone, _| zone.blocks = Some(vec![3000, 2000]),
            |_, node| node.counters[4] = Some(0),
        ];
        for (number, change) in wrong.into_iter().enumerate() {
            let (mut zone, mut node) = seen();
            change(&mut zone, &mut node);
            let found = found(&resolved(), Some((zone, node)));
            assert_eq!(found.len(), 1, "change {number}: {found:?}");
        }
    }

    /// Guards constants: one that is another's is noticed by /proc's order, even where the figures are alike.
    #[test]
    fn wrong_constants_are_noticed() {
        let wrong: [fn(&mut Params); 3] = [
            |params| params.node_counters.swap(2, 3),
            |params| params.zone_free = 8,
            |params| params.zone_reserve_movable = 16,
        ];
        for (number, change) in wrong.into_iter().enumerate() {
            let mut resolved = resolved();
            change(&mut resolved.params);
            assert!(!found(&resolved, Some(seen())).is_empty(), "change {number}");
        }
    }

    /// Guards against leaving out what cannot be compared.
    #[test]
    fn what_cannot_be_compared_is_no_difference() {
        let mut without = resolved();
        without.layout.memcg_nodeinfo = ABSENT;
        assert_eq!(found(&without, None), [""; 0]);
        let mut without = resolved();
        without.layout.zone_name = ABSENT;
        let (zone, node) = seen();
        assert_eq!(found(&without, Some((Zone { name: None, ..zone }, node))), [""; 0]);
    }
}
