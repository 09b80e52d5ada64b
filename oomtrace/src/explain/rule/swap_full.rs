//! The machine's swap space is used up.

use super::{
    super::{finding::Fix, node::nearly_reached},
    Case, Conclusion, Rule,
};
use crate::{host::node::Node, words::size};

pub const RULE: Rule = Rule {
    incident: Some(holds),
    node: Some(|node| of_node(node).into_iter().collect()),
    ..Rule::new("swap-full", include_str!("../../../docs/findings/swap-full.md"))
};

fn holds(case: &Case<'_>) -> Option<Conclusion> {
    let (total, free) = case.swap().filter(|_| case.machine_ran_out())?;
    // What the victim had there may be free already: it is read some milliseconds after the kill.
    let victim = case.victim().and_then(|victim| victim.swap_bytes).unwrap_or(0);
    if total == 0 || free.saturating_sub(victim) > total / 20 {
        return None;
    }
    let told = Conclusion::warning(format!(
        "the swap space ({}) is full as well as the memory: this is no short peak, the programs need more than there is",
        size(total)
    ))
    .with("swap_total_bytes", total)
    .with("swap_free_bytes", free)
    .with("victim_swap_bytes", victim);
    Some(told.fix(need_less()))
}

fn of_node(node: &Node) -> Option<Conclusion> {
    let (total, free) = (node.settings.swap_total_bytes?, node.settings.swap_free_bytes?);
    let used = total.saturating_sub(free);
    // Data that nobody looks at may fill it for good, while there is memory.
    let short = node.memory.available? <= node.settings.memory_bytes? / 4;
    let told = if short { Conclusion::warning } else { Conclusion::notice };
    (total > 0 && nearly_reached(used, total)).then(|| {
        told(format!(
            "{} of {} of swap space are in use: hardly anything is left for a peak",
            size(used),
            size(total)
        ))
        .with("swap_total_bytes", total)
        .with("swap_free_bytes", free)
        .fix(need_less())
    })
}

fn need_less() -> Fix {
    Fix::advice(
        "see what holds most of it (`smem -t -s swap`, VmSwap in /proc/PID/status), and run less, or add memory or swap",
        "with more swap alone, the machine becomes slow before it kills",
    )
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{MIB, global, ids_with, memcg, settings};
    use crate::host::settings::Settings;

    fn free(mib: u64) -> Settings {
        Settings { swap_free_bytes: Some(mib * MIB), ..settings() }
    }

    /// Guards the case of full swap, also if some of it is free again since the victim died.
    #[test]
    fn swap_is_full() {
        assert_eq!(ids_with(&global(), &free(1)), ["node-exhausted", "swap-full"]);
        let mut victims = global();
        victims.victims[0].swap_bytes = Some(300 * MIB);
        assert_eq!(ids_with(&victims, &free(301)), ["node-exhausted", "swap-full"]);
    }

    /// Guards against swap with room, against a cgroup's limit, and against a machine that has none.
    #[test]
    fn near_misses() {
        assert_eq!(ids_with(&global(), &free(100)), ["node-exhausted"]);
        assert_eq!(ids_with(&memcg(), &free(1)), ["memcg-limit"]);
        let none = Settings { swap_total_bytes: Some(0), ..free(0) };
        assert_eq!(ids_with(&global(), &none), ["node-exhausted", "swap-none"]);
    }
}
