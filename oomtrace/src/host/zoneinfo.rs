//! What /proc says of zones and nodes: `/proc/zoneinfo` and `/proc/buddyinfo`.

use std::{fs, path::Path};

/// All zones of all nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ZoneInfo {
    /// In the order of their nodes and of their numbers there, those without memory too.
    pub zones: Vec<Zone>,
}

/// A zone. In pages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Zone {
    /// The node that it belongs to.
    pub node: u32,
    /// Its number there.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Free.
    pub free: u64,
    /// What is added to the watermarks for a while, where the kernel tells (5.12 and later).
    pub boost: Option<u64>,
    /// Watermark, with the boost.
    pub min: u64,
    /// Watermark, with the boost.
    pub low: u64,
    /// Watermark, with the boost.
    pub high: u64,
    /// There.
    pub present: u64,
    /// Managed by the page allocator.
    pub managed: u64,
    /// What requests that a higher zone could serve must leave, by that zone's number.
    pub protection: Vec<u64>,
    /// Its counters, in the order of `enum zone_stat_item`; of one without memory none.
    pub counters: Vec<(String, u64)>,
    /// Its node's, in the order of `enum node_stat_item`; of the node's first zone with memory alone.
    pub node_counters: Vec<(String, u64)>,
    /// Free blocks by order; of one without memory none.
    pub blocks: Vec<u64>,
}

/// Where in a zone's part a line is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Node,
    Pages,
    Counters,
    Rest,
}

impl ZoneInfo {
    /// Reads what is below `proc` (`/proc`); `None` if that cannot be read.
    #[must_use]
    pub fn read(proc: &Path) -> Option<Self> {
        let text = |name: &str| fs::read_to_string(proc.join(name)).ok();
        let mut info = Self::of(&text("zoneinfo")?)?;
        info.add_blocks(&text("buddyinfo")?);
        Some(info)
    }

    fn of(text: &str) -> Option<Self> {
        let mut zones: Vec<Zone> = Vec::new();
        let mut part = Part::Rest;
        for line in text.lines() {
            if let Some((node, name)) = head(line) {
                let index = zones.iter().filter(|zone| zone.node == node).count();
                let index = u32::try_from(index).ok()?;
                zones.push(Zone { node, index, name: name.to_owned(), ..Zone::default() });
                part = Part::Pages;
                continue;
            }
            let Some(zone) = zones.last_mut() else { continue };
            let line = line.trim_start();
            if line == "per-node stats" {
                part = Part::Node;
            } else if line == "pagesets" {
                part = Part::Rest;
            } else if let Some(free) = line.strip_prefix("pages free") {
                part = Part::Pages;
                zone.free = free.trim().parse().ok()?;
            } else if let Some(list) = line.strip_prefix("protection: (") {
                part = Part::Counters;
                let list = list.strip_suffix(')')?.split(", ").map(str::parse);
                zone.protection = list.collect::<Result<_, _>>().ok()?;
            } else if let Some((name, count)) = line.split_once(' ')
                && part != Part::Rest
                && let Ok(count) = count.trim().parse()
            {
                zone.count(part, name, count);
            }
        }
        (!zones.is_empty()).then_some(Self { zones })
    }

    fn add_blocks(&mut self, text: &str) {
        for line in text.lines() {
            let Some((node, rest)) = head(line) else { continue };
            let mut words = rest.split_ascii_whitespace();
            let name = words.next().unwrap_or_default();
            let Some(zone) = self.zones.iter_mut().find(|zone| zone.node == node && zone.name == name) else {
                continue;
            };
            zone.blocks = words.map_while(|word| word.parse().ok()).collect();
        }
    }
}

impl Zone {
    fn count(&mut self, part: Part, name: &str, count: u64) {
        match (part, name) {
            (Part::Node, _) => self.node_counters.push((name.to_owned(), count)),
            (Part::Counters, _) => self.counters.push((name.to_owned(), count)),
            (Part::Pages, "boost") => self.boost = Some(count),
            (Part::Pages, "min") => self.min = count,
            (Part::Pages, "low") => self.low = count,
            (Part::Pages, "high") => self.high = count,
            (Part::Pages, "present") => self.present = count,
            (Part::Pages, "managed") => self.managed = count,
            _ => {}
        }
    }
}

/// `Node 0, zone   Normal …`: the node, and what follows.
fn head(line: &str) -> Option<(u32, &str)> {
    let (node, rest) = line.strip_prefix("Node ")?.split_once(", zone")?;
    Some((node.trim().parse().ok()?, rest.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZONEINFO: &str = "\
Node 0, zone      DMA
  per-node stats
      nr_inactive_anon 216712
      nr_active_anon 392
  pages free     3840
        boost    1
        min      33
        low      41
        high     49
        promo    57
        spanned  4095
        present  3998
        managed  3840
        cma      0
        protection: (0, 3019, 7499)
      nr_free_pages 3840
      nr_zone_inactive_anon 7
  pagesets
    cpu: 0
              count:    0
              high:     9
  vm stats threshold: 4
  node_unreclaimable:  0
  start_pfn:           1
Node 0, zone  Movable
  pages free     0
        min      0
        low      0
        high     0
        spanned  0
        present  0
        managed  0
        cma      0
        protection: (0, 0, 0)
";
    const BUDDYINFO: &str = "Node 0, zone      DMA      1      0      2 \n";

    /// Guards the comparison's own witness: each figure lands where it belongs, and those of CPUs nowhere.
    #[test]
    fn figures_are_found_in_the_files() {
        let mut info = ZoneInfo::of(ZONEINFO).unwrap();
        info.add_blocks(BUDDYINFO);
        let [dma, movable] = info.zones.as_slice() else { panic!("{info:?}") };
        assert_eq!((dma.node, dma.index, dma.name.as_str(), dma.free), (0, 0, "DMA", 3840));
        assert_eq!((dma.boost, dma.min, dma.low, dma.high), (Some(1), 33, 41, 49));
        assert_eq!((dma.present, dma.managed), (3998, 3840));
        assert_eq!(dma.protection, [0, 3019, 7499]);
        assert_eq!(dma.blocks, [1, 0, 2]);
        let named = |name: &str, count| (name.to_owned(), count);
        assert_eq!(dma.counters, [named("nr_free_pages", 3840), named("nr_zone_inactive_anon", 7)]);
        assert_eq!(dma.node_counters, [named("nr_inactive_anon", 216_712), named("nr_active_anon", 392)]);
        assert_eq!((movable.index, movable.managed, movable.boost), (1, 0, None));
        assert_eq!(movable.blocks, [0; 0]);
        assert!(ZoneInfo::of("").is_none());
    }

    /// Guards the reader on this machine: there is memory.
    #[test]
    fn this_machine_has_zones() {
        let info = ZoneInfo::read(Path::new("/proc")).unwrap();
        let zone = info.zones.iter().find(|zone| zone.managed > 0).unwrap();
        assert!(zone.blocks.len() >= 10 && zone.node_counters.len() > 10, "{zone:?}");
    }
}
