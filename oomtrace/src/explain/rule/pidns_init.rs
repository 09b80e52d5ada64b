//! The first process of a container died.

use super::{super::finding::Fix, Case, Conclusion, Rule};
use crate::{incident::Verdict, words::name};

pub const RULE: Rule = Rule {
    incident: Some(holds),
    ..Rule::new("pidns-init", include_str!("../../../docs/findings/pidns-init.md"))
};

fn holds(case: &Case<'_>) -> Option<Conclusion> {
    let victim = case.victim()?;
    let (pid, ns_pid) = (victim.pid?, victim.kinship.ns_pid?);
    if ns_pid != 1 || pid == 1 {
        return None;
    }
    let with_it =
        case.incident.victims.iter().filter(|other| other.verdict == Some(Verdict::PidnsCollateral)).count();
    let told = Conclusion::notice(format!(
        "{} was the first process of its container (pid 1 there), so everything else in the container died with it",
        name(victim.comm.as_deref())
    ))
    .with("victim_pid", pid)
    .with("ns_pid", ns_pid)
    .with("killed_with_it_so_far", with_it as u64);
    Some(told.fix(Fix::advice(
        "if the rest is to survive, run an init that starts the program as a child (docker run --init, tini)",
        "a container that goes on without its main program looks healthy",
    )))
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{ids, memcg};

    /// Guards the first process of a container against that of the machine, others of a container, and what is not known.
    #[test]
    fn the_first_process_takes_all_with_it() {
        for (pid, ns_pid, tells) in [
            (10, Some(1), true),
            (10, Some(2), false),
            (1, Some(1), false),
            (10, Some(10), false),
            (10, None, false),
        ] {
            let mut incident = memcg();
            incident.victims[0].pid = Some(pid);
            incident.victims[0].kinship.ns_pid = ns_pid;
            let expected: &[_] = if tells { &["memcg-limit", "pidns-init"] } else { &["memcg-limit"] };
            assert_eq!(ids(&incident), expected, "{pid} {ns_pid:?}");
        }
    }
}
