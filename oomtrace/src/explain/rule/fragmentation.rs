//! Memory is free, but not in one piece.

use super::{super::finding::Fix, Case, Conclusion, Rule};
use crate::words::size;

pub const RULE: Rule = Rule {
    incident: Some(holds),
    ..Rule::new("fragmentation", include_str!("../../../docs/findings/fragmentation.md"))
};

fn holds(case: &Case<'_>) -> Option<Conclusion> {
    let order = u32::try_from(case.incident.trigger.order?).ok().filter(|order| *order > 0)?;
    // __zone_watermark_ok() (mm/page_alloc.c): enough is free, and then there must be a block of that order or above.
    let enough = case.zones().filter(|zone| {
        let least = zone.min_bytes.and_then(|min| Some(min.saturating_add(zone.lowmem_reserve_bytes?)));
        zone.free_bytes.zip(least).is_some_and(|(free, least)| free > least)
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
    Some(
        told.fix(Fix::command(
            "have the kernel put free memory together now",
            "echo 1 > /proc/sys/vm/compact_memory".to_owned(),
            "takes CPU time, and programs may wait for a moment",
        ))
        .fix(Fix::command(
            "have it begin earlier to reclaim, so that more is left together",
            "sysctl vm.watermark_scale_factor=100".to_owned(),
            "one percent of memory is kept free",
        )),
    )
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{global, ids, zone};
    use crate::incident::Incident;

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
        let mut unread = asked(2, &[0], 40_000);
        unread.zones[0].free_by_order = None;
        assert_eq!(ids(&unread), ["node-exhausted"]);
    }
}
