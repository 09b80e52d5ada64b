//! More was promised than there is.

use super::{
    super::{
        finding::{Fix, Lasts},
        node::nearly_reached,
    },
    Case, Conclusion, Rule,
};
use crate::{
    host::{node::Node, settings::Settings},
    words::size,
};

pub const RULE: Rule = Rule {
    incident: Some(holds),
    node: Some(|node| of_node(node).into_iter().collect()),
    ..Rule::new("overcommit", include_str!("../../../docs/findings/overcommit.md"))
};

/// Who needs mode 1.
const ASKED_FOR: &str = "Redis and others that fork with much data ask for 1, as the kubelet does: they may fail to save, or to start";

fn holds(case: &Case<'_>) -> Option<Conclusion> {
    let settings = case.settings.filter(|_| case.machine_ran_out())?;
    let mode = settings.overcommit_memory?;
    let committed = settings.committed_bytes?;
    let there = settings.memory_bytes?.saturating_add(settings.swap_total_bytes?);
    let told = match mode {
        1 if committed > there => Conclusion::notice(format!(
            "vm.overcommit_memory is 1: programs are promised any amount, and were promised {}, where memory and swap are {}",
            size(committed),
            size(there)
        ))
        .fix(within_reason(ASKED_FOR)),
        2 => {
            let limit = settings.commit_limit_bytes?;
            Conclusion::notice(format!(
                "vm.overcommit_memory is 2, and memory ran out all the same: {} of {} that may be promised were, and the kernel, page \
                 cache and shared files come on top",
                size(committed),
                size(limit)
            ))
            .with("commit_limit_bytes", limit)
            .fix(Fix::advice(
                "lower vm.overcommit_ratio, so that some memory is left for what is not promised",
                "programs are refused memory earlier",
            ))
        }
        _ => return None,
    };
    Some(
        told.with("overcommit_memory", mode)
            .with("committed_bytes", committed)
            .with("memory_and_swap_bytes", there),
    )
}

/// Before anything ran out: what mode 2 refuses while there is memory, and what mode 1 has promised in excess.
fn of_node(node: &Node) -> Option<Conclusion> {
    let settings = &node.settings;
    let mode = settings.overcommit_memory?;
    let committed = settings.committed_bytes?;
    // vm_commit_limit() (mm/util.c) leaves out what is set aside for huge pages.
    let memory = settings.memory_bytes?.saturating_sub(settings.huge_pages_bytes.unwrap_or(0));
    let there = memory.saturating_add(settings.swap_total_bytes?);
    // The kubelet sets 1, or does not start with anything else (--protect-kernel-defaults).
    let of_kubelet = node.programs().any(|process| process.comm == "kubelet");
    let told = match mode {
        1 if committed > there && !of_kubelet => Conclusion::notice(format!(
            "vm.overcommit_memory is 1, and programs were promised {}, where memory and swap are {}: if they use it, something is killed",
            size(committed),
            size(there)
        ))
        .fix(within_reason(ASKED_FOR)),
        2 => {
            let limit = settings.commit_limit_bytes?;
            let idle = there.saturating_sub(limit);
            let short = nearly_reached(committed, limit);
            // A tenth for the kernel and for page cache is what such a limit is for.
            if !short && idle <= there / 10 * 3 {
                return None;
            }
            let left = size(limit.saturating_sub(committed));
            let summary = format!(
                "vm.overcommit_memory is 2: programs may be promised {} of the {} that there are, and {left} of that are left; then forks \
                 and allocations fail (\"Cannot allocate memory\"), whatever is free",
                size(limit),
                size(there)
            );
            let told = if short { Conclusion::critical(summary) } else { Conclusion::warning(summary) };
            let raise = higher_ratio(settings, memory, committed).map(|ratio| {
                Fix::command(
                    "let programs be promised more of the memory",
                    format!("sysctl vm.overcommit_ratio={ratio}"),
                    "the kernel and page cache have the rest: with too little of it the machine can run out of memory all the same",
                ).lasting(Lasts::UntilBoot)
            });
            let told = told.with("commit_limit_bytes", limit);
            raise.into_iter().fold(told, Conclusion::fix).fix(within_reason("memory that is promised may then not be there: something is killed"))
        }
        _ => return None,
    };
    Some(
        told.with("overcommit_memory", mode)
            .with("committed_bytes", committed)
            .with("memory_and_swap_bytes", there),
    )
}

/// Nine tenths of the memory, or a quarter more than is promised; `None`: there is more already, or vm.overcommit_kbytes is set, for
/// which the ratio counts for nothing.
fn higher_ratio(settings: &Settings, memory: u64, committed: u64) -> Option<u64> {
    let now = settings.overcommit_ratio.filter(|_| settings.overcommit_kbytes == Some(0))?;
    let beside_swap = committed.saturating_add(committed / 4).saturating_sub(settings.swap_total_bytes?);
    let percent = u128::from(beside_swap) * 100 / u128::from(memory.max(1));
    let ratio = u64::try_from(percent).ok()?.saturating_add(1).max(90);
    (ratio > now.into()).then_some(ratio)
}

fn within_reason(risk: &'static str) -> Fix {
    Fix::command(
        "have the kernel refuse only what is out of all proportion",
        "sysctl vm.overcommit_memory=0".to_owned(),
        risk,
    )
    .lasting(Lasts::UntilBoot)
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{MIB, global, ids_with, memcg, settings};
    use crate::host::settings::Settings;

    /// Guards when it matters: promises beyond what there is in mode 1, any in mode 2; not in mode 0, nor for a group's limit.
    #[test]
    fn promises_matter_where_they_are_broken() {
        for (mode, committed_mib, tells) in
            [(0, 9000, false), (1, 9000, true), (1, 900, false), (2, 900, true)]
        {
            let settings = Settings {
                overcommit_memory: Some(mode),
                committed_bytes: Some(committed_mib * MIB),
                ..settings()
            };
            let expected: &[_] = if tells { &["node-exhausted", "overcommit"] } else { &["node-exhausted"] };
            assert_eq!(ids_with(&global(), &settings), expected, "{mode} {committed_mib}");
            assert_eq!(ids_with(&memcg(), &settings), ["memcg-limit"]);
        }
    }
}
