//! Something larger was spared.

use super::{
    super::{
        case::size_of,
        finding::{Fix, Lasts},
    },
    Case, Conclusion, Rule,
};
use crate::{
    incident::Candidate,
    words::{name, size},
};

pub const RULE: Rule = Rule {
    incident: Some(holds),
    ..Rule::new("victim-not-culprit", include_str!("../../../docs/findings/victim-not-culprit.md"))
};

fn holds(case: &Case<'_>) -> Option<Conclusion> {
    let victim = case.victim()?;
    let own = |one: &&Candidate| Some(one.pid) == victim.pid;
    let candidates = &case.incident.candidates;
    // By the same measure as the others', where the ballot has the victim too.
    let victim_bytes =
        candidates.iter().find(own).and_then(size_of).or_else(|| {
            Some(victim.rss_kernel?.total_bytes.saturating_add(victim.swap_bytes.unwrap_or(0)))
        })?;
    let victim_adj = victim.oom_score_adj?;
    let (larger, bytes) = candidates
        .iter()
        .filter(|one| !own(one) && one.oom_score_adj.is_some_and(|adj| adj < victim_adj))
        .filter_map(|one| Some((one, size_of(one)?)))
        .max_by_key(|(_, bytes)| *bytes)?;
    if bytes < victim_bytes.saturating_add(victim_bytes / 2) {
        return None;
    }
    let adj = larger.oom_score_adj?;
    let (large, small) = (name(larger.comm.as_deref()), name(victim.comm.as_deref()));
    let told = Conclusion::warning(format!(
        "{large} (pid {}) was larger ({}) than {small} ({}), but is protected by its oom_score_adj of {adj}: so {small} died, which \
         need not be what grew",
        larger.pid,
        size(bytes),
        size(victim_bytes)
    ))
    .with("victim_bytes", victim_bytes)
    .with("victim_oom_score_adj", victim_adj)
    .with("larger_pid", larger.pid)
    .with_known("larger", larger.comm.as_deref())
    .with("larger_bytes", bytes)
    .with("larger_oom_score_adj", adj);
    Some(told.fix(Fix::command(
        format!(
            "if it should rather be {large} that dies the next time, take its protection away (for good: OOMScoreAdjust= in its unit; in \
             Kubernetes it follows from requests and limits)"
        ),
        format!("choom -n {victim_adj} -p {}", larger.pid),
        "it may be killed from then on",
    ).lasting(Lasts::WithProcess)))
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{candidate, global, ids, memcg, told};

    /// Guards the larger one that was shielded: of a machine and of a group.
    #[test]
    fn a_larger_one_was_spared() {
        let mut machine = global();
        machine.candidates.push(candidate("database", 12, 1000, -900));
        assert_eq!(ids(&machine), ["victim-not-culprit", "node-exhausted"]);
        let finding = told("victim-not-culprit", &machine).conclusion;
        assert!(
            finding.summary.starts_with("database (pid 12) was larger (1000.0 MiB) than app (601.0 MiB)")
        );
        assert_eq!(finding.fix[0].command.as_deref(), Some("choom -n 0 -p 12"));
        let mut group = memcg();
        group.victims[0].oom_score_adj = Some(500);
        group.candidates = vec![candidate("app", 10, 10, 500), candidate("other", 11, 20, 0)];
        assert_eq!(ids(&group), ["memcg-limit", "victim-not-culprit"]);
    }

    /// Guards against one that is a little larger, one that is no better shielded, a smaller one, and the victim itself.
    #[test]
    fn near_misses() {
        for other in
            [candidate("b", 12, 800, -900), candidate("b", 12, 1000, 0), candidate("b", 12, 100, -900)]
        {
            let mut machine = global();
            machine.candidates.push(other);
            assert_eq!(ids(&machine), ["node-exhausted"]);
        }
        let mut itself = global();
        itself.candidates = vec![candidate("app", 10, 601, -5)];
        assert_eq!(ids(&itself), ["node-exhausted"]);
    }
}
