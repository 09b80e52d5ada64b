//! What a machine comes to before anything happens on it.

use super::{
    Evidence, Finding, RULES, Rule, Severity, case::Room, command_line::Server, finding::Conclusion,
};
use crate::{
    host::node::{Node, Process},
    text::printable,
};

/// What there is to mend on a machine, the worst first.
#[must_use]
pub fn of_node(node: &Node) -> Vec<Finding> {
    let mut found: Vec<(&Rule, Conclusion)> = Vec::new();
    for rule in RULES {
        let of_node = rule.node.map(|of_node| of_node(node)).unwrap_or_default();
        let of_servers = rule.server.map(|of_server| of_servers(node, of_server)).unwrap_or_default();
        found.extend(of_node.into_iter().chain(of_servers).map(|conclusion| (rule, conclusion)));
    }
    // What a server is set to says what is behind its group's or the machine's memory, and what is critical says all. Settings of the
    // machine's are each to be mended by themselves, whatever else is.
    let says_more = |(rule, conclusion): &&(&Rule, Conclusion)| {
        rule.server.is_some() || conclusion.severity == Severity::Critical
    };
    let known: Vec<_> =
        found.iter().filter(says_more).map(|(rule, conclusion)| (rule.id, whose(conclusion))).collect();
    found.retain(|(rule, conclusion)| {
        let about = whose(conclusion);
        !known.iter().any(|(id, of)| rule.yields_to.contains(id) && *of == about)
    });
    let mut found: Vec<_> =
        found.into_iter().map(|(rule, conclusion)| super::finding(rule, conclusion)).collect();
    // It keeps the order of those that are as bad.
    found.sort_by_key(|finding| finding.conclusion.severity);
    found
}

/// What a conclusion is about: a group, or the machine.
fn whose(conclusion: &Conclusion) -> Option<Evidence> {
    conclusion.evidence.get("limit_at").or_else(|| conclusion.evidence.get("cgroup")).cloned()
}

/// What a rule about servers makes of each process. Whose parent comes to the same is not told again: workers that were forked, and
/// whatever inherits an environment.
fn of_servers<'a>(node: &'a Node, of_server: super::rule::OfServer) -> Vec<Conclusion> {
    let concluded = |process: &'a Process| {
        of_server(&Server {
            arguments: process.command.cmdline.as_deref().unwrap_or_default(),
            environment: process.environment.as_ref(),
            room: room(node, process),
            memory_bytes: node.settings.memory_bytes,
        })
    };
    let told = node.programs().filter_map(|process| {
        let conclusion = concluded(process)?;
        let parent = process.ppid.and_then(|ppid| node.process(ppid));
        if parent.and_then(concluded).is_some_and(|same| same == conclusion) {
            return None;
        }
        let summary = format!("{} (pid {}): {}", printable(&process.comm), process.pid, conclusion.summary);
        Some(
            Conclusion { summary, ..conclusion }.with("pid", process.pid).with("comm", process.comm.as_str()),
        )
    });
    told.collect()
}

/// What a process can have at the most.
fn room<'a>(node: &'a Node, process: &Process) -> Option<Room<'a>> {
    let limit = process.place.cgroup.as_deref().and_then(|cgroup| node.limit_above(cgroup));
    let limit = limit.map(|(bytes, path)| Room { bytes, of: Some(path) });
    let machine = node.settings.memory_bytes.map(|bytes| Room { bytes, of: None });
    limit.into_iter().chain(machine).min_by_key(|room| room.bytes)
}

/// How many of how many may be in use before it is told, in percent.
const NEARLY: u64 = 90;

/// Whether hardly anything is left of a limit.
pub(super) fn nearly_reached(usage: u64, limit: u64) -> bool {
    limit > 0 && u128::from(usage) * 100 >= u128::from(limit) * u128::from(NEARLY)
}

/// A conclusion about a limit of the whole machine's: once it is reached, nobody can start anything.
pub(super) fn nearly(usage: u64, limit: u64, summary: String) -> Conclusion {
    let told = if usage >= limit { Conclusion::critical(summary) } else { Conclusion::warning(summary) };
    told.with("usage", usage).with("limit", limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the bound: nine tenths, for any numbers.
    #[test]
    fn nine_tenths_are_nearly_all() {
        assert!(nearly_reached(90, 100) && nearly_reached(1, 1) && nearly_reached(u64::MAX, u64::MAX));
        assert!(
            !nearly_reached(0, 0)
                && !nearly_reached(89, 100)
                && !nearly_reached(0, 1)
                && !nearly_reached(1, u64::MAX)
        );
    }
}
