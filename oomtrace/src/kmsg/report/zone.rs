//! Zones and their free lists (show_free_areas(), mm/page_alloc.c; mm/show_mem.c since 6.4).

use std::collections::BTreeMap;

use super::{
    bounded::{bytes, insert},
    types::ZoneInfo,
};

/// `zone_names[]` (mm/page_alloc.c). Where one begins with another, the longer first.
const NAMES: [&str; 6] = ["DMA32", "DMA", "Normal", "HighMem", "Movable", "Device"];
/// Orders of free blocks, at the most: `MAX_ORDER` is 10 or, on arm64 with pages of 64 KiB and on ia64, up to 17.
const ORDERS: usize = 24;
/// Zones of a reserve, at the most.
const RESERVES: usize = 16;

/// What a line says of a zone.
#[derive(Debug, PartialEq, Eq)]
pub enum ZoneLine<'a> {
    /// `DMA free:3580kB min:68kB …`.
    Sizes(&'a str, BTreeMap<String, u64>),
    /// `DMA: 1*4kB 0*8kB (UM) … = 3580kB`: free blocks by order, and the size of the smallest.
    Free(&'a str, Vec<u64>, Option<u64>),
    /// `DMA per-cpu:`, `DMA: empty`: nothing that is kept.
    Other,
}

/// Parses a line, without the `Node 0 ` that may stand in front.
pub fn parse(text: &str) -> Option<ZoneLine<'_>> {
    let name = NAMES.into_iter().find(|name| text.starts_with(name))?;
    let (name, rest) = text.split_at_checked(name.len())?;
    if rest.starts_with(" free:") {
        return Some(ZoneLine::Sizes(name, sizes(rest)));
    }
    if rest.starts_with(" per-cpu:") || rest.starts_with(": empty") {
        return Some(ZoneLine::Other);
    }
    let (free, page_bytes) = free(rest.strip_prefix(": ")?)?;
    Some(ZoneLine::Free(name, free, page_bytes))
}

/// `free:912kB boost:0kB … pages_scanned:0 all_unreclaimable? no`: those with a unit, bytes.
pub fn sizes(text: &str) -> BTreeMap<String, u64> {
    let mut map = BTreeMap::new();
    for figure in text.split(' ') {
        if let Some((key, value)) = figure.split_once(':')
            && let Some(value) = bytes(value)
        {
            insert(&mut map, key, value);
        }
    }
    map
}

/// `1*4kB (M) 0*8kB … = 900kB`. A line that lost its end loses those orders.
fn free(text: &str) -> Option<(Vec<u64>, Option<u64>)> {
    let mut counts = Vec::new();
    let mut smallest: Option<u64> = None;
    for word in text.split(' ').take_while(|word| *word != "=") {
        // Migrate types of the blocks.
        if word.is_empty() || word.starts_with('(') {
            continue;
        }
        let block = word.split_once('*').and_then(|(count, size)| Some((count.parse().ok()?, bytes(size)?)));
        let Some((count, size)) = block else { break };
        let expected = smallest.get_or_insert(size).checked_shl(u32::try_from(counts.len()).ok()?);
        if expected != Some(size) || counts.len() >= ORDERS {
            break;
        }
        counts.push(count);
    }
    (!counts.is_empty()).then_some((counts, smallest))
}

/// `lowmem_reserve[]: 0 193 193`, before 2.6.11 `protections[]: 0 0 0`: pages.
pub fn reserve(text: &str) -> Option<Vec<u64>> {
    let rest = text.strip_prefix("lowmem_reserve[]:").or_else(|| text.strip_prefix("protections[]:"))?;
    let pages: Option<Vec<u64>> =
        rest.split_ascii_whitespace().take(RESERVES).map(|pages| pages.parse().ok()).collect();
    pages.filter(|pages| !pages.is_empty())
}

/// The zone of a name, which is added if there is room.
pub fn entry<'a>(zones: &'a mut Vec<ZoneInfo>, node: Option<u32>, name: &str) -> Option<&'a mut ZoneInfo> {
    /// Zones, at the most.
    const ZONES: usize = 256;
    let at = zones.iter().position(|zone| zone.node == node && zone.name == name);
    let at = match at {
        Some(at) => at,
        None if zones.len() < ZONES => {
            zones.push(ZoneInfo { node, name: name.to_owned(), ..ZoneInfo::default() });
            zones.len() - 1
        }
        None => return None,
    };
    zones.get_mut(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards zones of 2.6.18, 3.10 and 7.2.
    #[test]
    fn sizes_of_zones() {
        let Some(ZoneLine::Sizes("DMA", sizes)) = parse(
            "DMA free:3580kB min:68kB low:84kB high:100kB active:0kB inactive:0kB present:16384kB pages_scanned:7 \
             all_unreclaimable? yes",
        ) else {
            panic!("no zone")
        };
        assert_eq!((sizes["free"], sizes["present"], sizes.len()), (3580 << 10, 16384 << 10, 7));
        let Some(ZoneLine::Sizes("DMA32", sizes)) = parse(
            "DMA32 free:1452kB boost:8kB min:1532kB low:1912kB high:2292kB reserved_highatomic:4KB \
             isolated(anon):12kB managed:197840kB local_pc",
        ) else {
            panic!("no zone")
        };
        assert_eq!(
            (sizes["boost"], sizes["reserved_highatomic"], sizes["isolated(anon)"]),
            (8192, 4096, 12288)
        );
        assert!(!sizes.contains_key("local_pc"));
    }

    /// Guards free lists: with and without migrate types, empty, cut short, of larger pages.
    #[test]
    fn free_lists() {
        assert_eq!(
            parse("Normal: 1*4kB (M) 0*8kB 3*16kB (UME) = 52kB"),
            Some(ZoneLine::Free("Normal", vec![1, 0, 3], Some(4096)))
        );
        assert_eq!(parse("DMA: 5*64kB 1*128kB 7*25"), Some(ZoneLine::Free("DMA", vec![5, 1], Some(65536))));
        assert_eq!(parse("Normal: 1*4kB 2*16kB = 36kB"), Some(ZoneLine::Free("Normal", vec![1], Some(4096))));
        assert_eq!(parse("HighMem: empty"), Some(ZoneLine::Other));
        assert_eq!(parse("DMA32 per-cpu:"), Some(ZoneLine::Other));
        let long: String = (0..40).map(|_| "1*0kB ").collect();
        assert_eq!(parse(&format!("DMA: {long}")), Some(ZoneLine::Free("DMA", vec![1; ORDERS], Some(0))));
        for other in
            ["DMA: preallocated 512 KiB pool for atomic allocations", "DMA", "DMAR: x", "Normal mode", ""]
        {
            assert_eq!(parse(other), None, "{other}");
        }
    }

    /// Guards reserves, by 2.6.9's name and today's.
    #[test]
    fn reserves() {
        assert_eq!(reserve("lowmem_reserve[]: 0 193 194"), Some(vec![0, 193, 194]));
        assert_eq!(reserve("protections[]: 0 0 0"), Some(vec![0, 0, 0]));
        assert_eq!(reserve("lowmem_reserve[]:"), None);
        assert_eq!(reserve("lowmem_reserve[]: 0 x"), None);
    }

    /// Guards memory.
    #[test]
    fn zones_are_bounded() {
        let mut zones = Vec::new();
        for node in 0..1000 {
            entry(&mut zones, Some(node % 500), "Normal");
        }
        assert_eq!(zones.len(), 256);
    }
}
