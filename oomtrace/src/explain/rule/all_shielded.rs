//! Nobody may be killed.

use super::{super::finding::Fix, Case, Conclusion, Rule};
use crate::{
    host::node::Node,
    incident::{Outcome, ScopeKind},
};

pub const RULE: Rule = Rule {
    incident: Some(holds),
    node: Some(|node| of_node(node).into_iter().collect()),
    ..Rule::new("all-shielded", include_str!("../../../docs/findings/all-shielded.md"))
};

fn holds(case: &Case<'_>) -> Option<Conclusion> {
    let incident = case.incident;
    let ballot =
        incident.ballot.filter(|ballot| ballot.examined > 0 && ballot.examined == ballot.unkillable)?;
    if !matches!(incident.outcome, Some(Outcome::NoVictim | Outcome::Panic)) {
        return None;
    }
    let within = incident.scope.kind == Some(ScopeKind::Memcg);
    let (what, then) = if within {
        ("in this group", "so allocations fail there, over and over, and its programs hang or break")
    } else {
        ("on the machine", "so the kernel has no way out but to panic")
    };
    let told = Conclusion::critical(format!(
        "all {} processes {what} that could be looked at are shielded from being killed (oom_score_adj -1000), {then}",
        ballot.examined
    ))
    .with("examined", ballot.examined)
    .with("unkillable", ballot.unkillable);
    Some(told.fix(shield_less()))
}

/// Before anything ran out: nobody but the first process of all and the shielded ones has memory.
fn of_node(node: &Node) -> Option<Conclusion> {
    let programs = node.programs().filter(|process| !node.is_first(process));
    let (shielded, killable): (Vec<_>, Vec<_>) = programs.partition(|process| node.is_shielded(process));
    if shielded.is_empty() || !killable.is_empty() {
        return None;
    }
    let told = Conclusion::critical(format!(
        "all {} processes are shielded from being killed (oom_score_adj -1000): if memory runs out, the kernel can only panic",
        shielded.len()
    ));
    Some(told.with("shielded", shielded.len() as u64).fix(shield_less()))
}

fn shield_less() -> Fix {
    Fix::advice(
        "shield only what the machine cannot do without, and that with -900 or so instead of -1000: set OOMScoreAdjust= in the \
         unit, or `choom -n -900 -p PID`",
        "what is no longer shielded may be killed",
    )
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{ids, memcg, told};
    use super::*;
    use crate::incident::{Ballot, Incident};

    fn nobody(examined: u32, unkillable: u32) -> Incident {
        let mut incident = memcg();
        incident.victims.clear();
        incident.candidates.clear();
        incident.outcome = Some(Outcome::NoVictim);
        incident.ballot = Some(Ballot { examined, unkillable, computed: false });
        incident
    }

    /// Guards both consequences: a group's allocations fail, a machine panics.
    #[test]
    fn all_are_shielded() {
        assert_eq!(ids(&nobody(3, 3)), ["all-shielded"]);
        assert!(
            told("all-shielded", &nobody(3, 3)).conclusion.summary.contains("all 3 processes in this group")
        );
        let mut machine = nobody(3, 3);
        machine.scope.kind = Some(ScopeKind::Global);
        assert!(told("all-shielded", &machine).conclusion.summary.contains("panic"));
    }

    /// Guards against one that could have been killed, and against an empty group.
    #[test]
    fn near_misses() {
        assert_eq!(ids(&nobody(3, 2)), [""; 0]);
        assert_eq!(ids(&nobody(0, 0)), [""; 0]);
    }
}
