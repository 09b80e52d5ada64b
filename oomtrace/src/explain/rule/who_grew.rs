//! Who grew before the memory ran out, and whether it is who was killed.

use super::{super::finding::Fix, Case, Conclusion, Rule};
use crate::{
    incident::{Grower, GrowerKind},
    text::printable,
    words::{name, size, span},
};

pub const RULE: Rule = Rule {
    incident: Some(holds),
    ..Rule::new("who-grew", include_str!("../../../docs/findings/who-grew.md"))
};

/// Growth by less than this part of what ran out had little to do with it.
const PART: u64 = 10;

/// Who lived no longer than that is hardly followed, ns.
const MOMENTS_NS: u64 = 10_000_000_000;

fn holds(case: &Case<'_>) -> Option<Conclusion> {
    let before = case.incident.before.as_deref()?;
    let victim = case.victim()?;
    if !(case.machine_ran_out() || case.hit().is_some()) {
        return None;
    }
    let all = case.hit().map(|hit| hit.limit_bytes).or_else(|| case.memory_bytes())?;
    let enough = |grower: &&Grower| grower.grown_bytes >= (all / PART).max(1);
    let most = |kind| before.growers.iter().filter(|grower| grower.kind == kind).find(enough);
    let Some(grower) = most(GrowerKind::Process) else {
        return Some(told(of_group(most(GrowerKind::Cgroup)?), most(GrowerKind::Cgroup)?));
    };
    let who = process(grower);
    // That it became as large as it was, within moments of its start, is told by its size.
    if grower.victim && grower.began && grower.over_ns < MOMENTS_NS {
        return None;
    }
    if grower.victim {
        let conclusion = Conclusion::notice(format!("{who}, and was killed")).fix(Fix::advice(
            "if it grows like this whenever it runs, it leaks, or has no bound of its own: look at what it keeps; a higher limit only takes \
             longer to fill",
            "none",
        ));
        return Some(told(conclusion, grower).with("victim_grew", true));
    }
    let meanwhile = match before.victim_grown_bytes {
        // It was on its way, too: who of both used up what, the figures tell.
        Some(grown) if grown >= grower.grown_bytes / 2 => return None,
        Some(0) => "did not grow".to_owned(),
        Some(grown) => format!("grew by {}", size(grown)),
        None => "was not followed".to_owned(),
    };
    let dead = name(victim.comm.as_deref());
    let conclusion = Conclusion::warning(format!("{who}; {dead}, which was killed, {meanwhile}")).fix(Fix::advice(
        format!(
            "look at {} first, which runs on: give it a limit of its own, below what the others can spare, so that it is what dies the next \
             time",
            name(grower.comm.as_deref())
        ),
        "it is killed at that limit even while there is memory",
    ));
    let conclusion = conclusion.with_known("victim_grown_bytes", before.victim_grown_bytes);
    Some(told(conclusion, grower).with("victim_grew", false))
}

fn process(grower: &Grower) -> String {
    let grew = if grower.began { "has come to" } else { "grew by" };
    format!(
        "{} (pid {}) {grew} {} in {} ({}/s){}",
        name(grower.comm.as_deref()),
        grower.pid.unwrap_or_default(),
        size(grower.grown_bytes),
        span(grower.over_ns),
        size(grower.rate_bytes_per_second),
        if grower.began { ", since it began" } else { "" },
    )
}

/// No process did: many did together, or it is in files.
fn of_group(grower: &Grower) -> Conclusion {
    let path = grower.place.cgroup.as_deref().unwrap_or_default();
    Conclusion::notice(format!(
        "the group {} grew by {} in {} ({}/s), and no process by as much: several did together, or it is in files in memory and the like",
        printable(path),
        size(grower.grown_bytes),
        span(grower.over_ns),
        size(grower.rate_bytes_per_second),
    ))
    .likely()
    .fix(Fix::advice("look at its memory.stat: anon is its processes', shmem is files in memory, the rest is mostly the kernel's", "none"))
}

fn told(conclusion: Conclusion, grower: &Grower) -> Conclusion {
    conclusion
        .with_known("pid", grower.pid)
        .with_known("comm", grower.comm.as_deref())
        .with_known("cgroup", grower.place.cgroup.as_deref())
        .with("grown_bytes", grower.grown_bytes)
        .with("over_ns", grower.over_ns)
        .with("rate_bytes_per_second", grower.rate_bytes_per_second)
        .with("now_bytes", grower.now_bytes)
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{MIB, global, ids, memcg, told};
    use crate::incident::{Before, Cause, Grower, GrowerKind, Incident, Place};

    fn grower(pid: u32, comm: &str, mib: u64, victim: bool) -> Grower {
        Grower {
            kind: GrowerKind::Process,
            pid: Some(pid),
            comm: Some(comm.to_owned()),
            place: Place::of(Some("/web".to_owned())),
            victim,
            began: false,
            grown_bytes: mib * MIB,
            over_ns: 300_000_000_000,
            rate_bytes_per_second: mib * MIB / 300,
            now_bytes: 600 * MIB,
        }
    }

    fn with(mut incident: Incident, growers: Vec<Grower>, victim_grown_bytes: Option<u64>) -> Incident {
        incident.before = Some(Box::new(Before {
            span_ns: 300_000_000_000,
            samples: 31,
            interval_ns: 10_000_000_000,
            course: Vec::new(),
            machine: None,
            growers,
            victim_grown_bytes,
        }));
        incident
    }

    fn summary(incident: &Incident) -> String {
        told("who-grew", incident).conclusion.summary
    }

    /// Guards the plain case: who grew was killed, on a machine and in a group, with the rate.
    #[test]
    fn the_victim_grew() {
        let machine = with(global(), vec![grower(10, "app", 300, true)], Some(300 * MIB));
        assert_eq!(ids(&machine), ["who-grew", "node-exhausted"]);
        assert_eq!(summary(&machine), "app (pid 10) grew by 300.0 MiB in 5 min (1.0 MiB/s), and was killed");
        let group = with(memcg(), vec![grower(10, "app", 20, true)], Some(20 * MIB));
        assert_eq!(ids(&group), ["memcg-limit", "who-grew"]);
        let mut began = grower(10, "app", 300, true);
        began.began = true;
        let began = with(global(), vec![began], None);
        assert!(summary(&began).contains("has come to 300.0 MiB in 5 min (1.0 MiB/s), since it began"));
    }

    /// Guards the case that matters: another one grew, and is told of by name and rate; and what the victim did meanwhile.
    #[test]
    fn another_one_grew() {
        let machine = with(global(), vec![grower(11, "x\ny", 300, false)], Some(0));
        assert_eq!(
            summary(&machine),
            "x\\ny (pid 11) grew by 300.0 MiB in 5 min (1.0 MiB/s); app, which was killed, did not grow"
        );
        let little = with(global(), vec![grower(11, "x", 300, false)], Some(20 * MIB));
        assert!(summary(&little).ends_with("app, which was killed, grew by 20.0 MiB"));
        let unknown = with(global(), vec![grower(11, "x", 300, false)], None);
        assert!(summary(&unknown).ends_with("app, which was killed, was not followed"));
    }

    /// Guards against what says nothing: one that was killed moments after its start has grown to what it was, which is told anyway.
    #[test]
    fn who_has_just_begun_is_no_news() {
        let mut newcomer = grower(10, "app", 300, true);
        (newcomer.began, newcomer.over_ns) = (true, 300_000_000);
        assert_eq!(ids(&with(global(), vec![newcomer], None)), ["node-exhausted"]);
    }

    /// Guards groups in which no process grew.
    #[test]
    fn a_group_grew() {
        let mut group = grower(0, "", 300, false);
        (group.kind, group.pid, group.comm) = (GrowerKind::Cgroup, None, None);
        let machine = with(global(), vec![group, grower(11, "x", 20, false)], Some(0));
        let finding = told("who-grew", &machine).conclusion;
        assert!(finding.likely && finding.summary.starts_with("the group /web grew by 300.0 MiB in 5 min"));
    }

    /// Guards against growth that is none of the shortage's: too little, of one as fast as the victim, where somebody asked for a
    /// kill; and figures that no machine has.
    #[test]
    fn near_misses() {
        for (growers, grown) in [
            (vec![], None),
            (vec![grower(11, "x", 100, false)], Some(0)),
            (vec![grower(11, "x", 300, false)], Some(290 * MIB)),
        ] {
            assert_eq!(ids(&with(global(), growers, grown)), ["node-exhausted"]);
        }
        let mut asked = with(global(), vec![grower(10, "app", 300, true)], None);
        asked.scope.cause = Some(Cause::Sysrq);
        assert!(!ids(&asked).contains(&"who-grew"));
        let mut huge = grower(11, "x", 300, false);
        (huge.grown_bytes, huge.over_ns, huge.rate_bytes_per_second) = (u64::MAX, 0, u64::MAX);
        assert!(ids(&with(global(), vec![huge], Some(u64::MAX / 4))).contains(&"who-grew"));
    }
}
