//! What systemd does next to the unit.

use super::{
    super::{finding::Fix, shell::quoted, systemd::systemctl},
    Case, Conclusion, Rule,
};
use crate::incident::Outcome;

pub const RULE: Rule = Rule {
    incident: Some(holds),
    ..Rule::new("systemd-oompolicy", include_str!("../../../docs/findings/systemd-oompolicy.md"))
};

fn holds(case: &Case<'_>) -> Option<Conclusion> {
    let victim = case.victim().filter(|victim| victim.place.container.is_none())?;
    let unit = victim.place.unit.as_deref()?;
    let path = victim.place.cgroup.as_deref()?;
    // systemd watches memory.events of version 2's groups, and has the policy for services; of one process it sees the end.
    let scope = &case.incident.scope;
    let v2 = case.limited().is_none_or(|memcg| memcg.hierarchy == Some(0))
        && scope.limits.iter().all(|level| level.memsw_usage_bytes.is_none());
    let service =
        unit.rsplit_once('.').is_some_and(|(_, kind)| kind == "service") && !unit.starts_with("user@");
    if !v2 || !service || case.incident.outcome != Some(Outcome::Killed) {
        return None;
    }
    let told = Conclusion::notice(format!(
        "systemd stops all of {unit} now, unless its OOMPolicy= is \"continue\"; whether it comes back is up to its Restart="
    ))
    .likely()
    .with("unit", unit);
    Some(told.fix(Fix::look(
        "see what is set, and whether it is back",
        format!("{} show -p OOMPolicy,Restart,Result,ActiveState -- {}", systemctl(path, unit), quoted(unit)),
        "none",
    )))
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{global, ids, memcg_in, told};
    use crate::incident::{Outcome, Place};

    /// Guards a service's process, and the user's own.
    #[test]
    fn a_services_process_died() {
        let incident = memcg_in("/system.slice/web.service");
        assert_eq!(ids(&incident), ["memcg-limit", "systemd-oompolicy"]);
        let finding = told("systemd-oompolicy", &incident).conclusion;
        let command = "systemctl show -p OOMPolicy,Restart,Result,ActiveState -- web.service";
        assert_eq!(finding.fix[0].command.as_deref(), Some(command));
        let mut machine = global();
        machine.victims[0].place =
            Place::of(Some("/user.slice/user-1000.slice/user@1000.service/app.slice/a.service".to_owned()));
        assert_eq!(ids(&machine), ["node-exhausted", "systemd-oompolicy"]);
        assert!(
            told("systemd-oompolicy", &machine).conclusion.fix[0]
                .command
                .as_ref()
                .unwrap()
                .contains("--user")
        );
    }

    /// Guards against scopes, containers, version 1, a user's manager itself, and kills that were none.
    #[test]
    fn near_misses() {
        let container = format!("/system.slice/docker-{}.scope", "4e9bf3a17c02".repeat(5) + "4e9b");
        for path in [
            "/user.slice/user-1000.slice/session-3.scope",
            &container,
            "/user.slice/user@1000.service",
            "/web",
        ] {
            assert_eq!(ids(&memcg_in(path)), ["memcg-limit"], "{path}");
        }
        let mut v1 = memcg_in("/system.slice/web.service");
        v1.scope.memcg.as_mut().unwrap().hierarchy = Some(4);
        assert_eq!(ids(&v1), ["memcg-limit"]);
        let mut spared = memcg_in("/system.slice/web.service");
        spared.outcome = Some(Outcome::AlreadyExiting);
        assert_eq!(ids(&spared), [""; 0]);
    }
}
