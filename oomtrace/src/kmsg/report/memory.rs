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

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(lines: &str) -> MemInfo {
        let (mut memory, mut reading) = (MemInfo::default(), Reading::default());
        for line in lines.lines() {
            assert!(take(&mut memory, &mut reading, line.as_bytes()), "{line}");
        }
        memory
    }

    /// Guards 2.6.9 on 32 bits (show_mem() of arch/i386/mm/pgtable.c, show_free_areas() of mm/page_alloc.c).
    #[test]
    fn before_2_6_11() {
        let memory = memory(
            "Mem-info:
DMA per-cpu:
cpu 0 hot: low 2, high 6, batch 1
cpu 0 cold: low 0, high 2, batch 1
HighMem per-cpu: empty
Free pages:        2752kB (0kB HighMem)
Active:27927 inactive:1585 dirty:4 writeback:0 unstable:0 free:688 slab:4444 mapped:27000 pagetables:123
DMA free:1008kB min:28kB low:56kB high:84kB active:308kB inactive:256kB present:16384kB
protections[]: 14 252 252
HighMem free:512kB min:128kB low:256kB high:384kB active:0kB inactive:0kB present:262144kB
protections[]: 0 0 0
DMA: 0*4kB 0*8kB 1*16kB 1*32kB 1*64kB 1*128kB 1*256kB 1*512kB 0*1024kB 0*2048kB 0*4096kB = 1008kB
HighMem: empty
Swap cache: add 0, delete 0, find 0/0, race 0+0
Free swap:       257000kB
65520 pages of RAM
65000 pages of HIGHMEM
1579 reserved pages
19651 pages shared
0 pages swap cached",
        );
        assert_eq!((memory.sums_pages["active"], memory.sums_pages["pagetables"]), (27927, 123));
        let [dma, high] = &memory.zones[..] else { panic!("{:?}", memory.zones) };
        assert_eq!(
            (dma.node, dma.bytes["present"], dma.reserve_pages.as_deref()),
            (None, 16 << 20, Some(&[14, 252, 252][..]))
        );
        assert_eq!((high.bytes["free"], high.free_by_order.as_ref()), (512 << 10, None));
        assert_eq!(dma.free_by_order.as_ref().unwrap().len(), 11);
        assert_eq!((memory.swap_free_bytes, memory.swap_total_bytes), (Some(257_000 << 10), None));
        assert_eq!(
            (memory.ram_pages, memory.high_pages, memory.reserved_pages),
            (Some(65520), Some(65000), Some(1579))
        );
        assert_eq!(memory.page_bytes, Some(4096));
    }

    /// Guards 2.6.26 to 2.6.32: the sums in pieces, nodes.
    #[test]
    fn of_2_6_32() {
        let memory = memory(
            "Mem-Info:
Node 0 DMA per-cpu:
CPU    0: hi:    0, btch:   1 usd:   0
active_anon:31 inactive_anon:489 isolated_anon:0
 active_file:12 inactive_file:13 isolated_file:0
 unevictable:7 dirty:0 writeback:2 unstable:0
 free:3005 slab_reclaimable:7514 slab_unreclaimable:99
 mapped:1 shmem:5 pagetables:1063 bounce:0
Node 0 DMA free:7880kB min:28kB low:32kB high:40kB active_anon:0kB isolated(anon):0kB present:10788kB all_unreclaimable? yes
lowmem_reserve[]: 0 1971 1971 1971
Node 1 Normal free:4140kB min:5664kB low:7080kB high:8496kB present:2019172kB pages_scanned:782860 all_unreclaimable? no
lowmem_reserve[]: 0 0 0 0
Node 0 DMA: 4*4kB 3*8kB = 40kB
Node 1 Normal: 477*4kB 7*8kB = 1964kB
491299 total pagecache pages
12 pages in swap cache
Swap cache: add 495985, delete 4762, find 0/1
Free swap  = 3963444kB
Total swap = 5947384kB
515887 pages RAM
8379 pages reserved
83 pages shared
491223 pages non-shared",
        );
        assert_eq!(
            (memory.sums_pages["isolated_file"], memory.sums_pages["shmem"], memory.sums_pages.len()),
            (0, 5, 17)
        );
        let nodes: Vec<_> = memory.zones.iter().map(|zone| (zone.node, zone.name.as_str())).collect();
        assert_eq!(nodes, [(Some(0), "DMA"), (Some(1), "Normal")]);
        assert_eq!(memory.zones[1].free_by_order, Some(vec![477, 7]));
        assert_eq!((memory.swap_total_bytes, memory.ram_pages), (Some(5_947_384 << 10), Some(515_887)));
    }

    /// Guards pools of huge pages and nodes (3.9, 4.8: mm/hugetlb.c, mm/page_alloc.c).
    #[test]
    fn pools_and_nodes() {
        let memory = memory(
            "Node 1 active_anon:4kB inactive_anon:8kB all_unreclaimable? no
Node 1 active_anon:5kB inactive_anon:9kB all_unreclaimable? no
Node 1 hugepages_total=4 hugepages_free=3 hugepages_surp=0 hugepages_size=2048kB",
        );
        assert_eq!((memory.nodes.len(), memory.nodes[0].bytes["active_anon"]), (1, 4096));
        let pool = HugePages { node: Some(1), total: 4, free: 3, size_bytes: 2 << 20 };
        assert_eq!(memory.huge_pages, [pool]);
    }

    /// Guards against others' lines.
    #[test]
    fn other_lines() {
        let (mut memory, mut reading) = (MemInfo::default(), Reading::default());
        for text in [
            " active_anon:1 inactive_anon:1",
            " dump_stack+0x6b/0x83",
            "Node x DMA free:1kB",
            "Node 0 Normals free:1kB",
            "Free swap  = many",
            "12 monkeys",
            "12 ",
            "DMA",
            "hugepages_total=1",
            "cpu 0 x",
            "nothing",
            "",
        ] {
            assert!(!take(&mut memory, &mut reading, text.as_bytes()), "{text}");
        }
        assert_eq!(memory, MemInfo::default());
    }

    /// Guards memory against a log of nothing but nodes, pools and sums.
    #[test]
    fn it_is_bounded() {
        let (mut memory, mut reading) = (MemInfo::default(), Reading::default());
        for n in 0..5000 {
            for text in [
                format!("Node {n} active_anon:1kB"),
                format!("Node {n} Normal free:1kB"),
                format!("Node {n} hugepages_total=1 hugepages_free=1 hugepages_surp=0 hugepages_size=4kB"),
                format!("active_anon:1 x{n}:1"),
            ] {
                take(&mut memory, &mut reading, text.as_bytes());
            }
        }
        let lengths =
            (memory.nodes.len(), memory.zones.len(), memory.huge_pages.len(), memory.sums_pages.len());
        assert_eq!(lengths, (NODES, 256, POOLS, 200));
    }
}
