//! The machine has free swap, and the cgroup may not use it.

use super::{
    super::{case::own_bytes, place::allow_swap},
    Case, Conclusion, Rule,
};
use crate::{incident::Limit, words::size};

pub const RULE: Rule = Rule {
    incident: Some(holds),
    yields_to: &["limit-lowered"],
    ..Rule::new("swap-forbidden", include_str!("../../../docs/findings/swap-forbidden.md"))
};

fn holds(case: &Case<'_>) -> Option<Conclusion> {
    let hit = case.hit()?;
    let (total, free) = case.swap()?;
    // Swap that is nearly full helps nobody, and what is no anonymous memory does not go there.
    let has_anon = own_bytes(case.victim()?).is_some_and(|own| own >= hit.limit_bytes / 2);
    if free < total / 10 || total == 0 || !has_anon {
        return None;
    }
    let scope = &case.incident.scope;
    let to_hit = scope.limits.iter().position(|level| level.path == hit.level.path)?;
    let level = scope.limits.get(..=to_hit)?.iter().find(|level| is_forbidden(level))?;
    let limit = level.swap_limit_bytes.unwrap_or(0);
    let how = match (limit, level.memsw_limit_bytes) {
        (_, Some(_)) => "its limit of memory and swap together leaves none".to_owned(),
        (0, None) => "it may use none of it".to_owned(),
        (limit, None) => format!("it may use {} of it, which it does", size(limit)),
    };
    let told = Conclusion::notice(format!(
        "the machine has {} of free swap, but {} could not use it: {how}",
        size(free),
        level.path
    ))
    .with("swap_free_bytes", free)
    .with("limit_at", level.path.as_str())
    .with_known("swap_limit_bytes", level.swap_limit_bytes)
    .with_known("memory_and_swap_limit_bytes", level.memsw_limit_bytes);
    let hierarchy = case.limited().and_then(|memcg| memcg.hierarchy);
    Some(told.fix(allow_swap(&level.path, hierarchy)))
}

/// Whether a level may use no (more) swap: `memory.swap.max` of version 2; `memory.memsw.limit_in_bytes` of version 1.
fn is_forbidden(level: &Limit) -> bool {
    let v2 = level.swap_limit_bytes.is_some_and(|limit| level.swap_usage_bytes.unwrap_or(0) >= limit);
    let v1 = level.memsw_limit_bytes.is_some() && level.memsw_limit_bytes == level.limit_bytes;
    v1 || v2
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{MIB, ids, ids_with, memcg, settings, told, victim};
    use crate::host::settings::Settings;

    fn forbidden() -> crate::incident::Incident {
        let mut incident = memcg();
        incident.scope.limits[0].swap_limit_bytes = Some(0);
        incident
    }

    /// Guards the three ways: none allowed, all that is allowed used, and version 1's limit of both.
    #[test]
    fn swap_is_forbidden() {
        assert_eq!(ids(&forbidden()), ["memcg-limit", "swap-forbidden"]);
        assert!(
            told("swap-forbidden", &forbidden())
                .conclusion
                .summary
                .contains("512.0 MiB of free swap, but /web")
        );
        let mut full = forbidden();
        full.scope.limits[0].swap_limit_bytes = Some(8 * MIB);
        full.scope.limits[0].swap_usage_bytes = Some(8 * MIB);
        assert_eq!(ids(&full), ["memcg-limit", "swap-forbidden"]);
        let mut v1 = memcg();
        v1.scope.limits[0].memsw_limit_bytes = Some(32 * MIB);
        assert_eq!(ids(&v1), ["memcg-limit", "swap-forbidden"]);
    }

    /// Guards against swap that would not have helped: the machine has none, or none free, or it is not known; the group may
    /// use more; the memory is not the victim's; the level that forbids is not below the limit.
    #[test]
    fn near_misses() {
        let none = Settings { swap_total_bytes: Some(0), swap_free_bytes: Some(0), ..settings() };
        let full = Settings { swap_free_bytes: Some(MIB), ..settings() };
        for settings in [none, full, Settings::default()] {
            assert_eq!(ids_with(&forbidden(), &settings), ["memcg-limit"]);
        }
        let mut more = forbidden();
        more.scope.limits[0].swap_limit_bytes = Some(8 * MIB);
        assert_eq!(ids(&more), ["memcg-limit"]);
        let mut cache = forbidden();
        cache.victims = vec![victim("app", 10, 2, "/web")];
        assert_eq!(ids(&cache), ["memcg-limit"]);
        let mut above = memcg();
        above.scope.limits[1].swap_limit_bytes = Some(0);
        assert_eq!(ids(&above), ["memcg-limit"]);
    }
}
