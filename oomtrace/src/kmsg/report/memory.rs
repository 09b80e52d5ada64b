//! The machine's memory (show_mem(), show_free_areas(): mm/page_alloc.c, lib/show_mem.c, mm/show_mem.c and, before 2.6.3x, each
//! architecture's): `Mem-Info:` and what follows.

use super::{
    bounded::{bytes, insert},
    types::{HugePages, MemInfo, NodeInfo},
    zone::{self, ZoneLine},
};

/// Nodes, at the most: as many as a kernel may have (`CONFIG_NODES_SHIFT` is 10 at the most).
const NODES: usize = 1024;
/// Pools of huge pages, at the most: two of each node.
const POOLS: usize = 2 * NODES;

/// What is being read of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// The sums' lines have begun: others' messages may look like their next.
    sums: bool,
}

/// Whether it is the beginning.
pub fn begins(text: &[u8]) -> bool {
    // As the architectures write it, as lib/show_mem.c does, and some with a line's end before.
    matches!(text.trim_ascii(), b"Mem-Info:" | b"Mem-info:")
}

/// Takes a line in; whether it is one of its.
pub fn take(memory: &mut MemInfo, reading: &mut Reading, text: &[u8]) -> bool {
    if begins(text) {
        reading.sums = true;
        return true;
    }
    let Ok(text) = str::from_utf8(text) else { return false };
    if sums(memory, reading, text) {
        return true;
    }
    let taken = match text.as_bytes().first() {
        Some(b'N' | b'D' | b'H' | b'M') => node_or_zone(memory, text),
        Some(b'l' | b'p') => reserve(memory, text),
        Some(b'F' | b'T') => swap(memory, text),
        Some(b'0'..=b'9') => pages(memory, text),
        Some(b'h') => huge_pages(memory, None, text),
        // `CPU    0: hi:  186, btch:  31 usd:  30`, `cpu 0 hot: low 32, high 96, batch 16`, `Swap cache: add 0, delete 0, …`.
        Some(b'C') => text.starts_with("CPU ") && text.contains(": hi:"),
        Some(b'c') => text.starts_with("cpu ") && text.contains(", batch "),
        Some(b'S') => text.starts_with("Swap cache: "),
        _ => false,
    };
    reading.sums &= !taken;
    taken
}

/// `active_anon:41701 inactive_anon:0 …` with what follows in the same message or the next; before 2.6.28 `Active:… inactive:…`,
/// until 2.6.31 `Active_anon:…`. The names are kept in small letters.
fn sums(memory: &mut MemInfo, reading: &mut Reading, text: &str) -> bool {
    let begins = ["active_anon:", "Active:", "Active_anon:"].iter().any(|words| text.starts_with(words));
    if !(begins || reading.sums && text.starts_with(' ')) {
        return false;
    }
    let mut any = false;
    for figure in text.split_ascii_whitespace() {
        let sum = figure.split_once(':').and_then(|(key, value)| Some((key, value.parse().ok()?)));
        let Some((key, value)) = sum else { break };
        if key.is_empty() {
            break;
        }
        insert(&mut memory.sums_pages, &key.to_ascii_lowercase(), value);
        any = true;
    }
    reading.sums |= any;
    any
}

fn node_or_zone(memory: &mut MemInfo, text: &str) -> bool {
    let (node, rest) = match text.strip_prefix("Node ").and_then(|rest| rest.split_once(' ')) {
        Some((node, rest)) => match node.parse() {
            Ok(node) => (Some(node), rest),
            Err(_) => return false,
        },
        None => (None, text),
    };
    if let Some(node) = node {
        if rest.starts_with("active_anon:") {
            if memory.nodes.len() < NODES && memory.nodes.iter().all(|known| known.node != node) {
                memory.nodes.push(NodeInfo { node, bytes: zone::sizes(rest) });
            }
            return true;
        }
        if huge_pages(memory, Some(node), rest) {
            return true;
        }
    }
    match zone::parse(rest) {
        Some(ZoneLine::Sizes(name, sizes)) => {
            if let Some(zone) = zone::entry(&mut memory.zones, node, name)
                && zone.bytes.is_empty()
            {
                zone.bytes = sizes;
            }
            true
        }
        Some(ZoneLine::Free(name, free, page_bytes)) => {
            if let Some(zone) = zone::entry(&mut memory.zones, node, name) {
                zone.free_by_order.get_or_insert(free);
            }
            memory.page_bytes = memory.page_bytes.or(page_bytes.filter(|bytes| *bytes > 0));
            true
        }
        Some(ZoneLine::Other) => true,
        None => false,
    }
}

fn reserve(memory: &mut MemInfo, text: &str) -> bool {
    let Some(pages) = zone::reserve(text) else { return false };
    if let Some(zone) = memory.zones.last_mut() {
        zone.reserve_pages.get_or_insert(pages);
    }
    true
}

/// `hugepages_total=4 hugepages_free=4 hugepages_surp=0 hugepages_size=2048kB` (hugetlb_show_meminfo(), since 3.9).
fn huge_pages(memory: &mut MemInfo, node: Option<u32>, text: &str) -> bool {
    let mut words = text.split(' ');
    let mut next = |key: &str| words.next()?.strip_prefix(key)?.strip_prefix('=');
    let mut pool = || -> Option<HugePages> {
        let total = next("hugepages_total")?.parse().ok()?;
        let free = next("hugepages_free")?.parse().ok()?;
        next("hugepages_surp")?;
        let size_bytes = bytes(next("hugepages_size")?)?;
        Some(HugePages { node, total, free, size_bytes })
    };
    let Some(pool) = pool() else { return false };
    if memory.huge_pages.len() < POOLS {
        memory.huge_pages.push(pool);
    }
    true
}

/// `Total swap = 0kB`, `Free swap  = 0kB`; before 2.6.20 `Free swap:            0kB`.
fn swap(memory: &mut MemInfo, text: &str) -> bool {
    let (to, rest) = match (text.strip_prefix("Free swap"), text.strip_prefix("Total swap")) {
        (Some(rest), _) => (&mut memory.swap_free_bytes, rest),
        (_, Some(rest)) => (&mut memory.swap_total_bytes, rest),
        // 2.6.9 to 2.6.18: the sums say it too.
        _ => return text.starts_with("Free pages: "),
    };
    let Some(bytes) = rest.trim_start_matches([' ', '=', ':']).split(' ').next().and_then(bytes) else {
        return false;
    };
    to.get_or_insert(bytes);
    true
}

/// `65397 pages RAM` and kin; before 2.6.3x `65397 pages of RAM`, `2345 reserved pages`.
fn pages(memory: &mut MemInfo, text: &str) -> bool {
    let Some((count, what)) = text.split_once(' ') else { return false };
    let Ok(count) = count.parse::<u64>() else { return false };
    let to = match what.trim_end() {
        "pages RAM" | "pages of RAM" => &mut memory.ram_pages,
        "pages reserved" | "reserved pages" => &mut memory.reserved_pages,
        "pages HighMem/MovableOnly" | "pages HighMem" | "pages of HIGHMEM" => &mut memory.high_pages,
        what => return what.starts_with("pages ") || what.starts_with("total pagecache pages"),
    };
    to.get_or_insert(count);
    true
}
