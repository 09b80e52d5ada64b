//! The kernel keeps too little free for itself.

use super::{
    super::{
        finding::{Fix, Lasts},
        reserve,
    },
    Case, Conclusion, Rule,
};
use crate::{host::node::Node, words::size};

pub const RULE: Rule = Rule {
    incident: Some(holds),
    node: Some(|node| of_node(node).into_iter().collect()),
    ..Rule::new("min-free-tiny", include_str!("../../../docs/findings/min-free-tiny.md"))
};

fn holds(case: &Case<'_>) -> Option<Conclusion> {
    if !case.nodes_ran_out() {
        return None;
    }
    of(case.memory_bytes()?, case.min_free_bytes()?)
}

fn of_node(node: &Node) -> Option<Conclusion> {
    of(node.settings.memory_bytes?, node.settings.min_free_kbytes?.saturating_mul(1024))
}

fn of(memory: u64, min_free: u64) -> Option<Conclusion> {
    let proper = reserve::by_default(memory);
    if min_free >= proper / 4 {
        return None;
    }
    let told = Conclusion::notice(format!(
        "vm.min_free_kbytes keeps only {} free for the kernel, which would choose {} itself: network cards and drivers, which cannot \
         wait, may go without",
        size(min_free),
        size(proper)
    ))
    .with("min_free_bytes", min_free)
    .with("default_bytes", proper);
    Some(
        told.fix(
            Fix::command(
                "set vm.min_free_kbytes to what the kernel itself would choose",
                format!("sysctl vm.min_free_kbytes={}", proper >> 10),
                "programs have that much less",
            )
            .lasting(Lasts::UntilBoot),
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{global, ids_with, memcg, settings};
    use crate::host::settings::Settings;

    /// Guards a setting far below the kernel's own choice, which is 4 MiB here, and one near it.
    #[test]
    fn too_little_is_kept_free() {
        for (kbytes, expected) in [
            (500, vec!["node-exhausted", "min-free-tiny"]),
            (1100, vec!["node-exhausted"]),
            (4096, vec!["node-exhausted"]),
        ] {
            let settings = Settings { min_free_kbytes: Some(kbytes), ..settings() };
            assert_eq!(ids_with(&global(), &settings), expected, "{kbytes}");
            assert_eq!(ids_with(&memcg(), &settings), ["memcg-limit"]);
        }
    }
}
