//! More was promised than there is.

use super::{super::finding::Fix, Case, Conclusion, Rule};
use crate::words::size;

pub const RULE: Rule = Rule {
    incident: Some(holds),
    ..Rule::new("overcommit", include_str!("../../../docs/findings/overcommit.md"))
};

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
        .fix(Fix::command(
            "have the kernel refuse what is out of all proportion",
            "sysctl vm.overcommit_memory=0".to_owned(),
            "Redis and others that fork with much data ask for 1: they may fail to save",
        )),
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
