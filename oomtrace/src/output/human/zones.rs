//! Zones, and what memory was used for.

use std::fmt::Write as _;

use super::words::{id, name, size};
use crate::incident::{HostMemory, Zone};

/// How short a zone was of free memory, and in pieces of which size it had some.
pub(super) fn zone(zone: &Zone) -> String {
    let mut text = format!("node {} {}", id(zone.node), name(zone.name.as_deref()));
    // Writing to a String cannot fail.
    if let (Some(free), Some(min)) = (zone.free_bytes, zone.min_bytes) {
        // __zone_watermark_ok(): what is free must be more than both together.
        let reserve = zone.lowmem_reserve_bytes.unwrap_or(0);
        let is = if free <= min.saturating_add(reserve) { "below" } else { "above" };
        let _ = write!(text, ": free {} {is} min {}", size(free), size(min));
        if reserve > 0 && free > min {
            let _ = write!(text, " + reserve {}", size(reserve));
        }
    }
    if let Some(managed) = zone.managed_bytes {
        let _ = write!(text, " of {}", size(managed));
    }
    if let Some(blocks) = &zone.free_by_order {
        match blocks.iter().rposition(|blocks| *blocks > 0) {
            None => text.push_str("; no free block"),
            Some(order) if order + 1 < blocks.len() => {
                let _ = write!(text, "; no block above order {order}");
            }
            Some(_) => {}
        }
    }
    text
}

/// What memory was used for.
pub(super) fn used(memory: &HostMemory) -> String {
    let both = |one: Option<u64>, other: Option<u64>| Some(one?.saturating_add(other?));
    let of = |what: &str, bytes: Option<u64>| Some(format!("{what} {}", size(bytes?)));
    let slab = both(memory.slab_reclaimable_bytes, memory.slab_unreclaimable_bytes);
    let swap = || {
        let (free, when) = match (memory.swap_free_bytes, memory.swap_free_after_bytes) {
            (Some(free), _) => (free, ""),
            (None, after) => (after?, " now"),
        };
        match memory.swap_total_bytes? {
            0 => Some("no swap".to_owned()),
            total => Some(format!("swap free{when} {} of {}", size(free), size(total))),
        }
    };
    let parts = [
        of("anon", memory.anon_mapped_bytes),
        of("file", both(memory.active_file_bytes, memory.inactive_file_bytes)),
        of("shmem", memory.shmem_bytes),
        of("slab", slab),
        of("page tables", memory.pagetables_bytes),
        swap(),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the row of a zone: whether it is below what this request must leave, and the largest free block.
    #[test]
    fn zones_say_what_they_lack() {
        let low = Zone {
            node: Some(0),
            name: Some("DMA32".to_owned()),
            free_bytes: Some(1 << 20),
            min_bytes: Some(2 << 20),
            managed_bytes: Some(200 << 20),
            free_by_order: Some(vec![3, 1, 0, 0]),
            ..Zone::default()
        };
        assert_eq!(
            zone(&low),
            "node 0 DMA32: free 1.0 MiB below min 2.0 MiB of 200.0 MiB; no block above order 1"
        );
        let kept = Zone {
            free_bytes: Some(3 << 20),
            lowmem_reserve_bytes: Some(4 << 20),
            free_by_order: Some(vec![0, 0, 0, 1]),
            ..low
        };
        assert_eq!(
            zone(&kept),
            "node 0 DMA32: free 3.0 MiB below min 2.0 MiB + reserve 4.0 MiB of 200.0 MiB"
        );
    }
}
