//! Someone lowered a limit below what was used.

use super::{
    super::{
        finding::Fix,
        place::{Swap, raise_above},
    },
    Case, Conclusion, Rule,
};
use crate::{
    incident::Cause,
    words::{id, name, size},
};

pub const RULE: Rule = Rule {
    incident: Some(holds),
    ..Rule::new("limit-lowered", include_str!("../../../docs/findings/limit-lowered.md"))
};

fn holds(case: &Case<'_>) -> Option<Conclusion> {
    let incident = case.incident;
    let scope = &incident.scope;
    if scope.cause != Some(Cause::LimitLowered) {
        return None;
    }
    let trigger = &incident.trigger;
    let who = format!("{} (pid {})", name(trigger.comm.as_deref()), id(trigger.pid));
    let hit = case.hit();
    let to = hit.map_or_else(String::new, |hit| format!(" to {}", size(hit.limit_bytes)));
    let mut told = Conclusion::warning(format!(
        "nothing grew: {who} lowered the memory limit{to}, less than what was in use and could not be given back, so the kernel \
         kills until it fits"
    ))
    .with_known("lowered_by_pid", trigger.pid)
    .with_known("lowered_by", trigger.comm.as_deref())
    .with_known("limit_bytes", hit.map(|hit| hit.limit_bytes))
    .with_known("usage_bytes", hit.and_then(|hit| hit.level.usage_bytes));
    if let (Some(hit), Some(memcg)) = (hit, &scope.memcg) {
        let used = hit.level.usage_bytes.unwrap_or(0).max(hit.limit_bytes);
        told = told.fix(raise_above(memcg, hit.limit_bytes, used, Swap::of(hit.level)));
    }
    Some(told.fix(Fix::advice(
        "to shrink a group in use, lower memory.high first: it makes the group give memory back, and kills nobody",
        "the group is slowed down meanwhile",
    )))
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{ids, memcg, told};
    use super::*;

    /// Guards who is told to have done it: whoever wrote the limit, and not the victim; and that the limit is not called too
    /// small for the victim on top of it.
    #[test]
    fn whoever_lowered_it_is_named() {
        let mut lowered = memcg();
        lowered.scope.cause = Some(Cause::LimitLowered);
        (lowered.trigger.comm, lowered.trigger.pid) = (Some("sh".to_owned()), Some(77));
        assert_eq!(ids(&lowered), ["limit-lowered"]);
        let summary = told("limit-lowered", &lowered).conclusion.summary;
        assert!(summary.contains("sh (pid 77) lowered the memory limit to 32.0 MiB"), "{summary}");
    }

    /// Guards against an ordinary allocation, and against a cause that is not known.
    #[test]
    fn near_misses() {
        assert_eq!(ids(&memcg()), ["memcg-limit"]);
        let mut unknown = memcg();
        unknown.scope.cause = None;
        assert_eq!(ids(&unknown), ["memcg-limit"]);
    }
}
