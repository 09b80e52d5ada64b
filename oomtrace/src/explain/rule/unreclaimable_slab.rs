//! The kernel's own data fill memory.

use super::{super::finding::Fix, Case, Conclusion, Rule};
use crate::{host::node::Node, words::size};

pub const RULE: Rule = Rule {
    incident: Some(holds),
    node: Some(|node| of_node(node).into_iter().collect()),
    ..Rule::new("unreclaimable-slab", include_str!("../../../docs/findings/unreclaimable-slab.md"))
};

fn holds(case: &Case<'_>) -> Option<Conclusion> {
    let used = case.used()?;
    let slab = used.slab_unreclaimable_bytes?;
    let lists = [
        used.inactive_anon_bytes?,
        used.active_anon_bytes?,
        used.inactive_file_bytes?,
        used.active_file_bytes?,
        used.unevictable_bytes?,
    ];
    let lru = lists.into_iter().fold(0_u64, u64::saturating_add);
    // The kernel's own test before it logs its caches (should_dump_unreclaim_slab(), mm/oom_kill.c); or what is much by itself.
    let much = case.memory_bytes().is_some_and(|memory| slab >= memory / 3);
    if slab <= lru && !much {
        return None;
    }
    let told = Conclusion::critical(format!(
        "the kernel's own data take {}, which it cannot give back, while all programs and files together have {}: killing programs \
         does not help for long",
        size(slab),
        size(lru)
    ))
    .with("slab_unreclaimable_bytes", slab)
    .with("programs_and_files_bytes", lru);
    Some(told.fix(look()))
}

fn of_node(node: &Node) -> Option<Conclusion> {
    let (slab, memory) = (node.memory.slab_unreclaimable?, node.settings.memory_bytes?);
    (slab >= memory / 3).then(|| {
        Conclusion::warning(format!(
            "the kernel's own data take {} of {}, which it cannot give back",
            size(slab),
            size(memory)
        ))
        .with("slab_unreclaimable_bytes", slab)
        .with("memory_bytes", memory)
        .fix(look())
    })
}

fn look() -> Fix {
    Fix::look(
        "see which of the kernel's caches it is; what fills it must be found and ended, or the machine restarted",
        "slabtop -o -s c | head -20",
        "none",
    )
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{MIB, global, ids};
    use crate::incident::{HostMemory, Incident};

    fn slab(slab: u64, anon: u64) -> Incident {
        let mut incident = global();
        let memory = incident.host_memory.take().unwrap();
        incident.host_memory = Some(HostMemory {
            slab_unreclaimable_bytes: Some(slab * MIB),
            active_anon_bytes: Some(anon * MIB),
            inactive_anon_bytes: Some(0),
            ..memory
        });
        incident
    }

    /// Guards slab that is more than all else, and slab that is much of memory.
    #[test]
    fn slab_fills_memory() {
        assert_eq!(ids(&slab(300, 200)), ["unreclaimable-slab"]);
        assert_eq!(ids(&slab(400, 500)), ["unreclaimable-slab"]);
    }

    /// Guards against an ordinary amount, and a counter that is not known.
    #[test]
    fn near_misses() {
        assert_eq!(ids(&slab(200, 600)), ["node-exhausted"]);
        let mut unread = slab(300, 200);
        unread.host_memory.as_mut().unwrap().unevictable_bytes = None;
        assert_eq!(ids(&unread), ["node-exhausted"]);
    }
}
