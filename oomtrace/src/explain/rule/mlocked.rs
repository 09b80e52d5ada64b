//! Locked memory.

use super::{super::finding::Fix, Case, Conclusion, Rule};
use crate::{host::node::Node, words::size};

pub const RULE: Rule = Rule {
    incident: Some(holds),
    node: Some(|node| of_node(node).into_iter().collect()),
    ..Rule::new("mlocked", include_str!("../../../docs/findings/mlocked.md"))
};

fn holds(case: &Case<'_>) -> Option<Conclusion> {
    of(case.used()?.unevictable_bytes?, case.memory_bytes()?)
}

fn of_node(node: &Node) -> Option<Conclusion> {
    of(node.memory.unevictable?, node.settings.memory_bytes?)
}

fn of(unevictable: u64, memory: u64) -> Option<Conclusion> {
    if unevictable < memory / 4 {
        return None;
    }
    let told = Conclusion::warning(format!(
        "{} of the machine's {} may not leave memory, most likely since programs have locked it (mlock): swap and reclaim cannot touch \
         it",
        size(unevictable),
        size(memory)
    ))
    .likely()
    .with("unevictable_bytes", unevictable)
    .with("memory_bytes", memory);
    Some(
        told.fix(Fix::look(
            "see who has locked how much",
            "grep -H VmLck /proc/[0-9]*/status | sort -k2 -n | tail",
            "none",
        ))
        .fix(Fix::advice(
            "bound it: LimitMEMLOCK= of the unit, or the setting of the program (mlockall, bootstrap.memory_lock)",
            "a program that may not lock may refuse to start",
        )),
    )
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{MIB, global, ids};

    /// Guards much locked memory against an ordinary amount.
    #[test]
    fn much_memory_is_locked() {
        for (mib, expected) in [(300, "mlocked"), (250, "node-exhausted")] {
            let mut incident = global();
            incident.host_memory.as_mut().unwrap().unevictable_bytes = Some(mib * MIB);
            assert_eq!(ids(&incident), [expected]);
        }
    }
}
