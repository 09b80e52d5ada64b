//! The kernel log's lines about zones and nodes, which a global OOM has (`show_mem()`).

use std::collections::BTreeMap;

/// A zone as the log prints it: its own line, the line of its reserves, and that of its free blocks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoggedZone {
    /// Its node.
    pub node: u64,
    /// Its name.
    pub name: String,
    /// The figures of its line by their names (`free`, `min`, `managed`, …), in kB.
    pub kb: BTreeMap<String, u64>,
    /// What requests that a higher zone could serve must leave, by that zone's number, in pages.
    pub reserve_pages: Vec<u64>,
    /// Free blocks by order.
    pub blocks: Vec<u64>,
}

/// The memory that the log tells of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoggedMemory {
    /// The zones, in the log's order.
    pub zones: Vec<LoggedZone>,
    /// The nodes' figures by their names (`active_anon`, …), in kB, added up.
    pub nodes_kb: BTreeMap<String, u64>,
    /// The machine's slab, in pages: nodes do not tell theirs.
    pub slab_pages: BTreeMap<String, u64>,
    /// Whether the log has gone on to tell of the memory at another time: an allocation failed meanwhile.
    over: bool,
}

impl LoggedMemory {
    /// What the zones have that it lists, kB: those of the nodes that were allowed.
    #[must_use]
    pub fn present_kb(&self) -> Option<u64> {
        let present = self.zones.iter().map(|zone| zone.kb.get("present").copied());
        present.sum::<Option<u64>>().filter(|_| !self.zones.is_empty())
    }

    /// Takes a line, if it is about memory.
    pub fn line(&mut self, text: &str) {
        self.over |= text.starts_with("Mem-Info:") && !self.zones.is_empty();
        if self.over {
            return;
        }
        if let Some(list) = text.strip_prefix("lowmem_reserve[]:") {
            if let Some(zone) = self.zones.last_mut() {
                zone.reserve_pages = list.split_whitespace().map_while(|word| word.parse().ok()).collect();
            }
        } else if let Some((node, rest)) = node(text) {
            self.of_node(node, rest);
        } else if text.starts_with("active_anon:") {
            let pages = figures(text, "").filter(|(name, _)| name.starts_with("slab_"));
            self.slab_pages.extend(pages);
        }
    }

    /// Takes a line about a node: its own figures, a zone's, or a zone's free blocks.
    fn of_node(&mut self, node: u64, text: &str) {
        let Some((name, rest)) = text.split_once(' ') else { return };
        if name.contains(':') && !name.ends_with(':') {
            for (name, kb) in figures(text, "kB") {
                *self.nodes_kb.entry(name).or_default() += kb;
            }
        } else if let Some(name) = name.strip_suffix(':') {
            let zone = self.zones.iter_mut().find(|zone| zone.node == node && zone.name == name);
            let blocks = rest.split_whitespace().filter_map(|word| word.split_once('*')?.0.parse().ok());
            if let Some(zone) = zone {
                zone.blocks = blocks.collect();
            }
        } else if rest.starts_with("free:") {
            let (name, kb) = (name.to_owned(), figures(rest, "kB").collect());
            self.zones.push(LoggedZone { node, name, kb, ..LoggedZone::default() });
        }
    }
}

/// `Node 0 …`: the node, and what follows.
fn node(text: &str) -> Option<(u64, &str)> {
    let (node, rest) = text.strip_prefix("Node ")?.split_once(' ')?;
    Some((node.parse().ok()?, rest))
}

/// `name:12kB name:3kB …`, with that unit. What else there is is left out.
fn figures(text: &str, unit: &str) -> impl Iterator<Item = (String, u64)> {
    let words = text.split("\\x0a").flat_map(str::split_whitespace);
    words.filter_map(move |word| {
        let (name, figure) = word.split_once(':')?;
        Some((name.to_owned(), figure.strip_suffix(unit)?.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the lines of a real log (6.12), and those beside them that say something else.
    #[test]
    fn lines_of_a_global_oom_are_understood() {
        let mut memory = LoggedMemory::default();
        for line in [
            "active_anon:42928 inactive_anon:1172 isolated_anon:0\\x0a active_file:0\\x0a slab_reclaimable:229 \
             slab_unreclaimable:2164\\x0a mapped:3158",
            "Node 0 active_anon:171712kB inactive_anon:4688kB isolated(anon):0kB all_unreclaimable? yes",
            "Node 0 DMA free:752kB boost:0kB min:140kB low:172kB high:204kB reserved_highatomic:0KB managed:15360kB",
            "lowmem_reserve[]: 0 170 170 170 170",
            "Node 0 DMA: 1*4kB (U) 0*8kB 3*16kB (UM) = 740kB",
            "Node 0 hugepages_total=0 hugepages_free=0 hugepages_surp=0 hugepages_size=2048kB",
        ] {
            memory.line(line);
        }
        let [zone] = memory.zones.as_slice() else { panic!("{memory:?}") };
        assert_eq!((zone.node, zone.name.as_str()), (0, "DMA"));
        assert_eq!((zone.kb.get("free"), zone.kb.get("managed")), (Some(&752), Some(&15360)));
        assert_eq!(
            (zone.reserve_pages.as_slice(), zone.blocks.as_slice()),
            (&[0, 170, 170, 170, 170][..], &[1, 0, 3][..])
        );
        assert_eq!(memory.nodes_kb.get("active_anon"), Some(&171_712));
        assert_eq!(memory.slab_pages.get("slab_unreclaimable"), Some(&2164));
    }
}
