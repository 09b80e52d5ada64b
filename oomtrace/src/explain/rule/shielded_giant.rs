//! Something large may not be killed at all.

use super::{
    super::{
        case::size_of,
        finding::{Fix, Lasts},
    },
    Case, Conclusion, Rule,
};
use crate::{host::node::Node, text::printable, words::size};

pub const RULE: Rule = Rule {
    incident: Some(holds),
    node: Some(of_node),
    yields_to: &["all-shielded"],
    ..Rule::new("shielded-giant", include_str!("../../../docs/findings/shielded-giant.md"))
};

fn holds(case: &Case<'_>) -> Option<Conclusion> {
    let incident = case.incident;
    let ballot = incident.ballot.filter(|ballot| ballot.unkillable > 0)?;
    let anon = case.used().filter(|_| case.machine_ran_out())?.anon_mapped_bytes?;
    let memory = case.memory_bytes()?;
    let killable = ballot.examined.saturating_sub(ballot.unkillable) as usize;
    // Only if all of them are known, what is left can be the others'.
    if incident.candidates.len() < killable {
        return None;
    }
    let known = incident.candidates.iter().try_fold(0_u64, |sum, one| sum.checked_add(size_of(one)?))?;
    let rest = anon.saturating_sub(known);
    if rest < memory / 4 {
        return None;
    }
    let told = Conclusion::warning(format!(
        "about {} belong to processes that may not be killed ({} of them have oom_score_adj -1000 or are ending): so others had to die",
        size(rest),
        ballot.unkillable
    ))
    .likely()
    .with("shielded_bytes", rest)
    .with("unkillable", ballot.unkillable)
    .with("anon_bytes", anon)
    .with("killable_bytes", known);
    Some(told.fix(Fix::look(
        "see who is shielded and large, and give it -900 or so instead of -1000 (OOMScoreAdjust= in its unit)",
        "grep -lx -- -1000 /proc/[0-9]*/oom_score_adj | while IFS=/ read -r _ _ pid _; do ps -o rss=,pid=,args= -p \"$pid\"; done | sort \
         -n | tail",
        "what is no longer shielded may be killed",
    )))
}

/// Before anything ran out, each of them is known by name.
fn of_node(node: &Node) -> Vec<Conclusion> {
    let Some(memory) = node.settings.memory_bytes else { return Vec::new() };
    let giants = node.programs().filter(|process| process.oom_score_adj == Some(-1000));
    let giants = giants.filter(|process| process.size_bytes() >= memory / 4);
    let told = giants.map(|process| {
        let (pid, bytes) = (process.pid, process.size_bytes());
        Conclusion::warning(format!(
            "{} (pid {pid}) has {} of {}, and may not be killed (oom_score_adj -1000): whatever it does, others will die for it",
            printable(&process.comm),
            size(bytes),
            size(memory)
        ))
        .with("pid", pid)
        .with("comm", process.comm.as_str())
        .with("process_bytes", bytes)
        .with("memory_bytes", memory)
        .fix(Fix::command(
            "give it -900 in place of -1000, now and where it is set (OOMScoreAdjust= in its unit)",
            format!("echo -900 > /proc/{pid}/oom_score_adj"),
            "it may then be killed, if nothing else is left",
        ).lasting(Lasts::WithProcess))
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{candidate, global, ids};
    use crate::incident::{Ballot, Incident};

    fn shielded(unkillable: u32, killable_mib: u64) -> Incident {
        let mut incident = global();
        incident.candidates = vec![candidate("app", 10, killable_mib, 0)];
        incident.ballot = Some(Ballot { examined: 1 + unkillable, unkillable, computed: false });
        incident
    }

    /// Guards the inference: much memory that none of those has who could be killed.
    #[test]
    fn something_large_is_shielded() {
        assert_eq!(ids(&shielded(1, 601)), ["shielded-giant", "node-exhausted"]);
    }

    /// Guards against a machine where nobody is shielded, where those who are have little, and where not all others are known.
    #[test]
    fn near_misses() {
        assert_eq!(ids(&shielded(0, 601)), ["node-exhausted"]);
        assert_eq!(ids(&shielded(1, 800)), ["node-exhausted"]);
        let mut unknown = shielded(1, 601);
        unknown.ballot = Some(Ballot { examined: 30, unkillable: 1, computed: false });
        assert_eq!(ids(&unknown), ["node-exhausted"]);
    }
}
