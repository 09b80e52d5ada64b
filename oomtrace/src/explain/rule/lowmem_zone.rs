//! The request could only be served from a part of memory, and that part ran out.

use super::{super::finding::Fix, Case, Conclusion, Rule};
use crate::{host::node::Node, words::size};

pub const RULE: Rule = Rule {
    incident: Some(holds),
    node: Some(|node| of_node(node).into_iter().collect()),
    ..Rule::new("lowmem-zone", include_str!("../../../docs/findings/lowmem-zone.md"))
};

/// As many zones are told at the most: of more, the rest is not known.
const TOLD: usize = 16;

fn holds(case: &Case<'_>) -> Option<Conclusion> {
    if !case.machine_ran_out() || case.incident.zones.len() >= TOLD {
        return None;
    }
    let all = case.memory_bytes()?;
    // `___GFP_HIGHMEM` and `___GFP_MOVABLE`: only with both a request may be served from the movable zone (gfp_zone()).
    let movable = case.incident.trigger.gfp_mask.is_none_or(|mask| mask & 0xa == 0xa);
    let served = || case.zones().filter(|zone| movable || zone.name.as_deref() != Some("Movable"));
    let managed = served()
        // Before 3.7 the log does not tell them apart.
        .try_fold(0_u64, |sum, zone| Some(sum.saturating_add(zone.managed_bytes.or(zone.present_bytes)?)))
        .filter(|managed| *managed > 0)?;
    // What is not in these zones is more than a quarter of memory: another zone, from which this request may not be served.
    if managed >= all / 4 * 3 {
        return None;
    }
    let mut names: Vec<_> = served().filter_map(|zone| zone.name.clone()).collect();
    names.dedup();
    let told = Conclusion::warning(format!(
        "what was asked for could only be in a part of the machine's memory ({}: {} of {}), and that part is used up; the rest may \
         well be free",
        names.join(", "),
        size(managed),
        size(all)
    ))
    .likely()
    .with("zones", names)
    .with("zones_bytes", managed)
    .with("memory_bytes", all);
    Some(told.fix(Fix::advice(
        "give less of the memory to the movable zone (movablecore=, kernelcore=, memory that was added while running); on a 32-bit \
         kernel, use a 64-bit one",
        "takes a restart",
    )))
}

/// What the kernel of a 32-bit machine can reach directly is nearly used up (`LowFree`, of which `free -l` tells, too).
fn of_node(node: &Node) -> Option<Conclusion> {
    let (total, free) = (node.memory.low_total?, node.memory.low_free?);
    let all = node.settings.memory_bytes?;
    // Where all of memory is low, node-exhausted tells.
    if total == 0 || total >= all || free > total / 20 {
        return None;
    }
    // What could be dropped of it is not known from here.
    let told = Conclusion::notice(format!(
        "only {} of the {} that the kernel can reach directly (low memory) are free: when that is used up, it kills although high \
         memory is free",
        size(free),
        size(total)
    ))
    .with("low_total_bytes", total)
    .with("low_free_bytes", free)
    .with("memory_bytes", all);
    Some(told.fix(Fix::advice("use a 64-bit kernel, which has no such part", "takes a restart")))
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{global, ids, ids_with, zone};
    use crate::host::settings::Settings;

    /// Guards a request for the kernel's own use on a machine whose memory is mostly movable, and 32-bit low memory.
    #[test]
    fn a_part_of_memory_ran_out() {
        for name in ["Normal", "DMA32"] {
            let mut incident = global();
            incident.zones = vec![zone(name, 300, 900, 1000, &[0, 0])];
            assert_eq!(ids(&incident), ["lowmem-zone"], "{name}");
            // What an old log has of it.
            let managed_bytes = incident.zones[0].managed_bytes;
            (incident.zones[0].managed_bytes, incident.zones[0].present_bytes) = (None, managed_bytes);
            assert_eq!(ids(&incident), ["lowmem-zone"], "{name}");
            incident.zones[0].managed_bytes = managed_bytes;
            // The movable zone is told with the others, and is free: GFP_KERNEL may not have it, a page of a program may.
            incident.zones.push(zone("Movable", 700, 300_000, 100, &[0, 75_000]));
            for (mask, expected) in [(0xcc0, "lowmem-zone"), (0xcca, "node-exhausted")] {
                incident.trigger.gfp_mask = Some(mask);
                assert_eq!(ids(&incident), [expected], "{name}, {mask:#x}");
            }
        }
    }

    /// Guards against zones that are nearly all of memory, against more zones than are told, and a size that is not known.
    #[test]
    fn near_misses() {
        let mut most = global();
        most.zones = vec![zone("Normal", 800, 900, 1000, &[0, 0])];
        assert_eq!(ids(&most), ["node-exhausted"]);
        let mut many = global();
        many.zones = vec![zone("Normal", 10, 90, 100, &[0, 0]); 16];
        assert_eq!(ids(&many), ["node-exhausted"]);
        let mut unknown = global();
        unknown.zones = vec![zone("Normal", 300, 900, 1000, &[0, 0])];
        unknown.host_memory = None;
        assert_eq!(ids_with(&unknown, &Settings::default()), ["node-exhausted"]);
    }
}
