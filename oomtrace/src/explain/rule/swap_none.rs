//! The machine has no swap.

use super::{
    super::finding::{Fix, Lasts},
    Case, Conclusion, Rule,
};
use crate::{host::node::Node, words::size};

pub const RULE: Rule = Rule {
    incident: Some(holds),
    node: Some(|node| of_node(node).into_iter().collect()),
    // There swap does not help.
    yields_to: &["min-free-oversized", "unreclaimable-slab", "mlocked", "fragmentation", "lowmem-zone"],
    ..Rule::new("swap-none", include_str!("../../../docs/findings/swap-none.md"))
};

fn holds(case: &Case<'_>) -> Option<Conclusion> {
    let (total, _) = case.swap().filter(|_| case.machine_ran_out())?;
    if total > 0 {
        return None;
    }
    let anon = case.used().and_then(|used| used.anon_mapped_bytes);
    let of = anon
        .map_or_else(String::new, |anon| format!(": {} of programs' data had to stay in memory", size(anon)));
    let told = Conclusion::warning(format!("the machine has no swap space to move unused data to{of}"))
        .with("swap_total_bytes", total)
        .with_known("anon_bytes", anon);
    Some(told.fix(add_swap()))
}

fn of_node(node: &Node) -> Option<Conclusion> {
    let total = node.settings.swap_total_bytes.filter(|total| *total == 0)?;
    let told = Conclusion::notice(
        "the machine has no swap space: what programs never use stays in memory all the same, and the first peak kills",
    );
    Some(told.with("swap_total_bytes", total).fix(add_swap()))
}

fn add_swap() -> Fix {
    Fix::command(
        "add swap space, as a buffer for peaks",
        "fallocate -l 1G /swapfile && chmod 600 /swapfile && mkswap /swapfile && swapon /swapfile".to_owned(),
        "a machine that needs much of it becomes slow instead; not for /swapfile on btrfs or ZFS, and the kubelet must be set up \
         for swap",
    ).lasting(Lasts::UntilBoot)
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{global, ids, ids_with, memcg, settings};
    use crate::host::settings::Settings;

    /// Guards the case of a machine without swap whose memory ran out.
    #[test]
    fn a_machine_without_swap() {
        let none = Settings { swap_total_bytes: Some(0), swap_free_bytes: Some(0), ..settings() };
        assert_eq!(ids_with(&global(), &none), ["node-exhausted", "swap-none"]);
    }

    /// Guards against a cgroup's limit, a machine that has swap, and one of which it is not known.
    #[test]
    fn near_misses() {
        let none = Settings { swap_total_bytes: Some(0), swap_free_bytes: Some(0), ..settings() };
        assert_eq!(ids_with(&memcg(), &none), ["memcg-limit"]);
        assert_eq!(ids(&global()), ["node-exhausted"]);
        assert_eq!(ids_with(&global(), &Settings::default()), ["node-exhausted"]);
    }
}
