//! Memory that is set aside for huge pages, and not used.

use super::{super::finding::Fix, Case, Conclusion, Rule};
use crate::{
    host::{node::Node, settings::Settings},
    words::size,
};

pub const RULE: Rule = Rule {
    incident: Some(holds),
    node: Some(|node| of_node(node).into_iter().collect()),
    ..Rule::new("huge-pages-reserved", include_str!("../../../docs/findings/huge-pages-reserved.md"))
};

fn holds(case: &Case<'_>) -> Option<Conclusion> {
    of(case.settings.filter(|_| case.nodes_ran_out())?, case.memory_bytes()?)
}

fn of_node(node: &Node) -> Option<Conclusion> {
    of(&node.settings, node.settings.memory_bytes?)
}

fn of(settings: &Settings, memory: u64) -> Option<Conclusion> {
    let (all, unused) = (settings.huge_pages_bytes?, settings.huge_pages_free_bytes?);
    if unused < memory / 20 {
        return None;
    }
    let told = Conclusion::warning(format!(
        "{} of memory are set aside for huge pages (vm.nr_hugepages), of which {} are used by nobody, and nothing else may have them",
        size(all),
        size(unused)
    ))
    .with("huge_pages_bytes", all)
    .with("huge_pages_free_bytes", unused)
    .with("memory_bytes", memory);
    Some(told.fix(Fix::advice(
        "lower vm.nr_hugepages to what is used: HugePages_Total - HugePages_Free + HugePages_Rsvd of /proc/meminfo, 0 if nobody uses any",
        "a database or virtual machine that is started later may not find its huge pages",
    )))
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{MIB, global, ids_with, memcg, settings};
    use crate::host::settings::Settings;

    /// Guards unused huge pages against those that are in use, a few, and a cgroup's limit.
    #[test]
    fn huge_pages_that_nobody_uses() {
        for (all, free, expected) in
            [(400, 300, "huge-pages-reserved"), (400, 20, "node-exhausted"), (0, 0, "node-exhausted")]
        {
            let settings = Settings {
                huge_pages_bytes: Some(all * MIB),
                huge_pages_free_bytes: Some(free * MIB),
                ..settings()
            };
            assert_eq!(ids_with(&global(), &settings), [expected], "{free} of {all}");
            assert_eq!(ids_with(&memcg(), &settings), ["memcg-limit"]);
        }
    }
}
