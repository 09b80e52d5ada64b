//! Others died since they share the victim's memory.

use super::{Case, Conclusion, Rule};
use crate::{
    incident::{Verdict, Victim},
    words::{id, name},
};

pub const RULE: Rule = Rule {
    incident: Some(holds),
    ..Rule::new("collateral", include_str!("../../../docs/findings/collateral.md"))
};

fn holds(case: &Case<'_>) -> Option<Conclusion> {
    let victims = case.incident.victims.iter();
    let sharers: Vec<&Victim> = victims.filter(|victim| victim.verdict == Some(Verdict::MmShared)).collect();
    let who: Vec<_> = sharers
        .iter()
        .map(|victim| format!("{} (pid {})", name(victim.comm.as_deref()), id(victim.pid)))
        .collect();
    let first = who.first()?;
    let others = match who.len() {
        1 => format!("{first} was"),
        more => format!("{first} and {} more were", more - 1),
    };
    let told = Conclusion::notice(format!(
        "{others} killed as well, since they use the same memory as the one that was chosen (CLONE_VM): without that, nothing would \
         have been freed"
    ));
    Some(told.with("killed_with_it", who))
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{ids, memcg, victim};
    use crate::incident::Verdict;

    /// Guards those who share memory against others who die along.
    #[test]
    fn sharers_die_too() {
        for (verdict, expected) in [
            (Verdict::MmShared, vec!["memcg-limit", "collateral"]),
            (Verdict::PidnsCollateral, vec!["memcg-limit"]),
            (Verdict::AlreadyExiting, vec!["memcg-limit"]),
        ] {
            let mut incident = memcg();
            incident.victims.push(victim("sharer", 11, 30, "/web"));
            incident.victims[1].verdict = Some(verdict);
            assert_eq!(ids(&incident), expected);
        }
    }
}
