//! Memory is free, but not in one piece.

use super::{
    super::finding::{Fix, Lasts},
    Case, Conclusion, Rule,
};
use crate::words::size;

pub const RULE: Rule = Rule {
    incident: Some(holds),
    ..Rule::new("fragmentation", include_str!("../../../docs/findings/fragmentation.md"))
};

fn holds(case: &Case<'_>) -> Option<Conclusion> {
    let order = u32::try_from(case.incident.trigger.order?).ok().filter(|order| *order > 0)?;
    // The last attempt before the kill (__alloc_pages_may_oom(), mm/page_alloc.c) takes a zone that has its high watermark and
    // reserve free (__zone_watermark_ok()), and then there must be a block of that order or above. One that has just enough has
    // it at one moment and not at the next, and proves nothing: so twice as much.
    let enough = case.zones().filter(|zone| {
        let least = zone.high_bytes.and_then(|high| Some(high.saturating_add(zone.lowmem_reserve_bytes?)));
        zone.free_bytes.zip(least).is_some_and(|(free, least)| free > least.saturating_mul(2))
    });
    let mut free_bytes = 0_u64;
    let mut largest = None;
    for zone in enough {
        free_bytes = free_bytes.saturating_add(zone.free_bytes?);
        // A list that could not be read proves nothing.
        let blocks = zone.free_by_order.as_ref()?;
        largest = largest.max(blocks.iter().rposition(|blocks| *blocks > 0));
    }
    let wanted = usize::try_from(order).ok()?;
    if free_bytes == 0 || largest.is_some_and(|largest| largest >= wanted) {
        return None;
    }
    let pieces = 1_u32.checked_shl(order)?;
    let told = Conclusion::warning(format!(
        "memory was free ({}), but only in small pieces: {pieces} pages in a row were asked for (order {order}), and no zone with \
         enough of it had them",
        size(free_bytes)
    ))
    .with("order", order)
    .with("free_bytes", free_bytes)
    .with_known("largest_free_order", largest.map(|largest| largest as u64));
    // The kernel itself compacts before it kills, so that it helps to have it compact by hand only where that may do more.
    let unmoved = case.settings.is_some_and(|settings| settings.compact_unevictable_allowed == Some(0));
    let told =
        if unmoved {
            told.with("compact_unevictable_allowed", 0_u32).fix(Fix::command(
            "let the kernel move locked memory as it puts free memory together, and have it do so now",
            "sysctl vm.compact_unevictable_allowed=1 && echo 1 > /proc/sys/vm/compact_memory".to_owned(),
            "programs that lock memory, to be quick at all times, may wait: real-time kernels have 0",
        ).lasting(Lasts::UntilBoot))
        } else {
            told
        };
    Some(told.fix(Fix::advice(
        "have whoever asks ask for less at once (buffers of drivers and network cards, jumbo frames), or the kernel begin earlier to \
         reclaim and compact: vm.watermark_scale_factor=100, vm.compaction_proactiveness",
        "one percent of memory is kept free, and compaction takes CPU time",
    )))
}

#[cfg(test)]
mod tests {
    use super::super::super::{
        of_incident,
        tests::{global, ids, settings, zone},
    };
    use crate::{host::settings::Settings, incident::Incident};

    fn asked(order: i32, blocks: &[u64], free_kib: u64) -> Incident {
        let mut incident = global();
        incident.trigger.order = Some(order);
        incident.zones = vec![zone("Normal", 1008, free_kib, 4000, blocks)];
        incident
    }

    /// Guards the case: enough is free, and no block is large enough.
    #[test]
    fn free_memory_in_small_pieces() {
        assert_eq!(ids(&asked(2, &[5000, 2500, 0, 0], 40_000)), ["fragmentation"]);
        assert_eq!(ids(&asked(3, &[0, 0, 0, 0], 40_000)), ["fragmentation"]);
    }

    /// Guards the one setting that keeps the kernel from putting memory together: it is changed only where it stands in the way.
    #[test]
    fn locked_memory_may_be_moved() {
        let incident = asked(2, &[5000, 2500, 0, 0], 40_000);
        for (allowed, changed) in [(0, true), (1, false)] {
            let settings = Settings { compact_unevictable_allowed: Some(allowed), ..settings() };
            let told = of_incident(&incident, Some(&settings));
            let command = told.first().and_then(|told| told.conclusion.fix.first()?.command.as_ref());
            assert_eq!(command.is_some(), changed);
        }
    }

    /// Guards against a single page, too little memory, a block that would do, and lists that are not known.
    #[test]
    fn near_misses() {
        for incident in [
            asked(0, &[0, 0, 0, 0], 40_000),
            asked(2, &[5000, 2500, 0, 0], 3900),
            asked(2, &[5000, 2500, 1, 0], 40_000),
            asked(2, &[5000, 2500, 0, 1], 40_000),
        ] {
            assert_eq!(ids(&incident), ["node-exhausted"]);
        }
        // A zone with a large block that has just as much free as must be left.
        let mut barely = asked(2, &[5000, 2500, 0, 0], 40_000);
        barely.zones.push(zone("DMA", 16, 160, 100, &[1, 0, 0, 1]));
        assert_eq!(ids(&barely), ["fragmentation"]);
        let mut unread = asked(2, &[0], 40_000);
        unread.zones[0].free_by_order = None;
        assert_eq!(ids(&unread), ["node-exhausted"]);
    }
}
