//! A victim does not end.

use super::{super::finding::Fix, Conclusion, Rule};
use crate::{
    incident::{NOT_IN_TIME, Relief},
    words::{duration, name},
};

pub const RULE: Rule = Rule {
    relief: Some(holds),
    ..Rule::new("stuck-victim", include_str!("../../../docs/findings/stuck-victim.md"))
};

/// The kernel gives a victim as long before it takes its memory (`OOM_REAPER_DELAY`, mm/oom_kill.c).
const SLOW_NS: u64 = 2_000_000_000;
/// Before 5.18 it takes it at once, beside the victim (commit e4a38402c36e): that says nothing of the victim. What is later than
/// this has waited, less what passes from the start of the wait to the line about the kill.
const REAPED_NS: u64 = 1_900_000_000;

fn holds(relief: &Relief) -> Option<Conclusion> {
    let (at, victim) = relief.victims.iter().enumerate().find(|(at, victim)| {
        let never = || {
            relief.missing.get(&format!("victims[{at}].freed_ns")).is_some_and(|reason| reason == NOT_IN_TIME)
        };
        let waited = victim.reaped_ns.is_some_and(|ns| ns >= REAPED_NS);
        waited || victim.freed_ns.map_or_else(never, |ns| ns >= SLOW_NS)
    })?;
    let who = name(victim.comm.as_deref());
    let how = match (victim.freed_ns, victim.reaped_ns) {
        (_, Some(ns)) => format!(
            "the kernel took its memory from it after {}, as it had not ended by itself",
            duration(ns)
        ),
        (Some(ns), None) => format!("its memory came back only after {}", duration(ns)),
        (None, None) => "its memory was not back after 30 s".to_owned(),
    };
    let told = Conclusion::warning(format!("{who} was killed, but was slow to die: {how}"))
        .with("victim_pid", victim.pid)
        .with("victim", at as u64)
        .with("reaped", victim.reaped)
        .with_known("freed_ns", victim.freed_ns)
        .with_known("exited_ns", victim.exited_ns);
    Some(told.fix(Fix::look(
        "see what its threads wait for, if it is still there: a disk, a network file system, a driver",
        // The first thread may be done while another one is stuck.
        format!("grep -e ^State -e +0x /proc/{0}/task/*/status /proc/{0}/task/*/stack", victim.pid),
        "none",
    )))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::super::{Explainer, tests::memcg};
    use super::*;
    use crate::incident::{Command, Event, ReliefTag, Relieved, SchemaName};

    fn ids(freed_ns: Option<u64>, reaped_ns: Option<u64>, reason: Option<&str>) -> Vec<&'static str> {
        let victim = Relieved {
            pid: 7,
            comm: Some("app".to_owned()),
            command: Command::default(),
            exited_ns: None,
            freed_ns,
            reaped: reaped_ns.is_some(),
            reaped_ns,
        };
        let missing = reason.map(|reason| ("victims[0].freed_ns".to_owned(), reason.to_owned()));
        let relief = Relief {
            schema: SchemaName::V1,
            r#type: ReliefTag::Relief,
            id: "x-1-2".to_owned(),
            common: memcg().common,
            victims: vec![victim],
            collateral: Vec::new(),
            findings: Vec::new(),
            missing: missing.into_iter().collect::<BTreeMap<_, _>>(),
        };
        let mut event = Event::Relieved(Box::new(relief));
        Explainer::default().complete(&mut event, None);
        let Event::Relieved(relief) = event else { panic!("another event") };
        relief.findings.iter().map(|finding| finding.id).collect()
    }

    /// Guards a victim that was reaped, slow, or still there, against a quick one, and one of which nobody knows.
    #[test]
    fn slow_victims_are_told() {
        assert_eq!(ids(Some(2_100_000_000), None, None), ["stuck-victim"]);
        assert_eq!(ids(Some(10_000_000), Some(2_050_000_000), None), ["stuck-victim"]);
        assert_eq!(ids(None, None, Some(NOT_IN_TIME)), ["stuck-victim"]);
        assert_eq!(ids(Some(1_900_000_000), None, None), [""; 0]);
        assert_eq!(ids(None, Some(3_000_000), None), [""; 0], "5.10 takes it at once");
        assert_eq!(ids(None, None, Some("tracing ended before it happened")), [""; 0]);
    }
}
