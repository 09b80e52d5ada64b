//! The limit of a cgroup above the victim's was reached.

use super::{
    super::{
        finding::Fix,
        place::{Swap, raise},
    },
    Case, Conclusion, Rule, SERVERS,
};
use crate::{
    incident::{Cause, Outcome},
    words::{name, size},
};

pub const RULE: Rule = Rule {
    incident: Some(holds),
    yields_to: SERVERS,
    ..Rule::new("memcg-ancestor", include_str!("../../../docs/findings/memcg-ancestor.md"))
};

fn holds(case: &Case<'_>) -> Option<Conclusion> {
    let hit = case.hit().filter(|hit| !hit.own)?;
    let incident = case.incident;
    if incident.scope.cause == Some(Cause::LimitLowered) || incident.outcome != Some(Outcome::Killed) {
        return None;
    }
    let comm = name(case.victim()?.comm.as_deref());
    let own = incident.scope.limits.first().filter(|own| own.path != hit.level.path)?;
    let at = &hit.level.path;
    let limit = size(hit.limit_bytes);
    let of_own = match (own.usage_bytes, own.limit_bytes) {
        (Some(usage), Some(limit)) => {
            format!("{comm}'s own group used {} of its {}", size(usage), size(limit))
        }
        (Some(usage), None) => format!("{comm}'s own group used {} and has no limit itself", size(usage)),
        (None, _) => format!("what {comm}'s own group used is not known"),
    };
    let told = Conclusion::warning(format!(
        "the limit that was reached is not that of {comm} alone: all groups below {at} share {limit}; {of_own}"
    ))
    .with("limit_bytes", hit.limit_bytes)
    .with("limit_at", at.as_str())
    .with_known("usage_bytes", hit.level.usage_bytes)
    .with("own_cgroup", own.path.as_str())
    .with_known("own_usage_bytes", own.usage_bytes)
    .with_known("own_limit_bytes", own.limit_bytes)
    .fix(raise(&case.limited()?, hit.limit_bytes, Swap::of(hit.level)));
    Some(told.fix(Fix::advice(
        format!("give the groups below {at} limits that add up to no more than {limit}, so that each is stopped by its own"),
        "a group that needs more than its share is killed earlier",
    )))
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{ids, level, memcg, told, victim};

    fn nested(cgroup: &str, above: &str) -> crate::incident::Incident {
        let mut incident = memcg();
        incident.scope.limits =
            vec![level(cgroup, 20, Some(64)), level(above, 32, Some(32)), level("/", 0, None)];
        incident.scope.memcg.as_mut().unwrap().path = Some(above.to_owned());
        incident.victims = vec![victim("app", 10, 18, cgroup)];
        incident
    }

    /// Guards the level: a pod's limit, a slice's, any other above; and what is told of the victim's own.
    #[test]
    fn a_limit_above_is_not_the_victims() {
        for (cgroup, above) in [("/web/a", "/web"), ("/web.slice/a.service", "/web.slice")] {
            let finding = told("memcg-ancestor", &nested(cgroup, above));
            assert!(finding.conclusion.summary.contains("own group used 20.0 MiB of its 64.0 MiB"));
        }
        assert_eq!(ids(&nested("/web/a", "/web")), ["memcg-ancestor"]);
        assert!(told("memcg-ancestor", &nested("/w/a", "/w")).conclusion.fix.len() == 2);
    }

    /// Guards against blaming others for what a container or unit divides by itself: its limit is its own all the same.
    #[test]
    fn a_containers_inner_groups_are_its_own() {
        let id = "4e9bf3a17c02".repeat(5) + "4e9b";
        let container = format!("/docker/{id}");
        assert_eq!(ids(&nested(&format!("{container}/inner"), &container)), ["memcg-limit"]);
        let unit = nested("/system.slice/a.service/worker", "/system.slice/a.service");
        assert!(!ids(&unit).contains(&"memcg-ancestor"));
    }
}
