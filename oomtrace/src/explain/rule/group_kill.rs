//! All of a group were killed together, or one of a container alone.

use super::{super::finding::Fix, Case, Conclusion, Rule};
use crate::{incident::Verdict, words::name};

pub const RULE: Rule = Rule {
    incident: Some(holds),
    yields_to: &["pidns-init"],
    ..Rule::new("group-kill", include_str!("../../../docs/findings/group-kill.md"))
};

fn holds(case: &Case<'_>) -> Option<Conclusion> {
    together(case).or_else(|| alone(case))
}

/// `memory.oom.group` is set.
fn together(case: &Case<'_>) -> Option<Conclusion> {
    let victims = &case.incident.victims;
    let others = victims.iter().filter(|victim| victim.verdict == Some(Verdict::GroupKilled)).count();
    if others == 0 {
        return None;
    }
    let group = case.incident.scope.limits.iter().rev().find(|level| level.oom_group == Some(true));
    let told = Conclusion::notice(format!(
        "{} were killed since one was to die: their group is set to be killed as a whole (memory.oom.group)",
        if others == 1 { "two processes".to_owned() } else { format!("{} processes", others + 1) }
    ))
    .with("killed", others as u64 + 1)
    .with_known("group", group.map(|level| level.path.as_str()));
    Some(told.fix(Fix::advice(
        "if the others could go on without the one (a pool of workers), have it killed alone: singleProcessOOMKill: true in the \
         kubelet's settings, OOMPolicy=continue in the unit, or 0 in memory.oom.group of the group",
        "half a service may look healthy",
    )))
}

/// It is not, in a container with several processes that nothing else watches.
fn alone(case: &Case<'_>) -> Option<Conclusion> {
    let incident = case.incident;
    let victim = case.victim()?;
    let hit = case.hit().filter(|hit| hit.own && hit.level.oom_group == Some(false))?;
    let container = victim.place.container.as_ref().filter(|container| container.pod_uid.is_none())?;
    let ballot = incident.ballot.filter(|ballot| ballot.examined > 1 && incident.victims.len() == 1)?;
    // Of the first process it is known that it takes all with it; of one that nothing is known of, it may be that.
    victim.kinship.ns_pid.filter(|ns_pid| *ns_pid != 1)?;
    let told = Conclusion::notice(format!(
        "only {} of the {} processes of its container was killed: the container goes on without it, and its restart policy sees \
         nothing",
        name(victim.comm.as_deref()),
        ballot.examined
    ))
    .with("processes", ballot.examined)
    .with("container", container.short_id())
    .with("group", hit.level.path.as_str());
    Some(told.fix(Fix::advice(
        "restart the container if it is of no use without it; to have all killed together the next time, so that the restart policy sees \
         it, write 1 to memory.oom.group of its group",
        "all of its processes die then, whichever is to blame",
    )))
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{ids, level, memcg, memcg_in, told, victim};
    use crate::incident::{Incident, Verdict};

    fn contained() -> Incident {
        let mut incident = memcg_in(&format!("/docker/{}", "4e9bf3a17c02".repeat(5) + "4e9b"));
        incident.victims[0].kinship.ns_pid = Some(7);
        incident
    }

    /// Guards both: a group that dies as a whole, and a container that goes on with the rest.
    #[test]
    fn together_or_alone() {
        let mut group = memcg();
        group.scope.limits[0].oom_group = Some(true);
        group.victims.push(victim("worker", 11, 1, "/web"));
        group.victims[1].verdict = Some(Verdict::GroupKilled);
        assert_eq!(ids(&group), ["memcg-limit", "group-kill"]);
        assert!(told("group-kill", &group).conclusion.summary.starts_with("two processes were killed"));
        assert_eq!(ids(&contained()), ["memcg-limit", "group-kill"]);
        assert!(
            told("group-kill", &contained()).conclusion.summary.starts_with("only app of the 2 processes")
        );
    }

    /// Guards against a group of one, a container's first process, its only one, no container, and a limit above it.
    #[test]
    fn near_misses() {
        let mut first = contained();
        first.victims[0].kinship.ns_pid = Some(1);
        assert_eq!(ids(&first), ["memcg-limit", "pidns-init"]);
        let mut only = contained();
        only.ballot.as_mut().unwrap().examined = 1;
        let mut plain = memcg();
        plain.victims[0].kinship.ns_pid = Some(7);
        let mut unknown = contained();
        unknown.victims[0].kinship.ns_pid = None;
        for incident in [only, plain, unknown] {
            assert_eq!(ids(&incident), ["memcg-limit"]);
        }
        let mut above = contained();
        above.scope.limits.insert(1, level("/docker", 32, Some(32)));
        above.scope.memcg.as_mut().unwrap().path = Some("/docker".to_owned());
        assert_eq!(ids(&above), ["memcg-ancestor"]);
    }
}
