//! A container without a limit ate the machine.

use std::collections::BTreeMap;

use super::{
    super::{finding::Fix, shell::quoted},
    Case, Conclusion, Rule,
};
use crate::{
    host::{
        container::{Container, Runtime},
        node::Node,
    },
    incident::Limit,
    text::printable,
    words::{name, size},
};

/// As many are named.
const TOLD: usize = 5;

pub const RULE: Rule = Rule {
    incident: Some(holds),
    node: Some(|node| of_node(node).into_iter().collect()),
    ..Rule::new("container-unlimited", include_str!("../../../docs/findings/container-unlimited.md"))
};

fn holds(case: &Case<'_>) -> Option<Conclusion> {
    if !case.machine_ran_out() {
        return None;
    }
    let victim = case.victim()?;
    let container = victim.place.container.as_ref()?;
    let limits = &case.incident.scope.limits;
    let memory = case.memory_bytes().unwrap_or(u64::MAX);
    let of = |level: &Limit| [level.limit_bytes, level.memsw_limit_bytes];
    let limited = limits.iter().flat_map(of).flatten().any(|limit| binds(limit, memory));
    // Without its root, or with a level whose limit was not read, it is not known that there is none.
    let unread = case.incident.missing.keys().any(|field| field.starts_with("scope.limits"));
    if limited || unread || limits.last()?.path != "/" {
        return None;
    }
    let called = container.name.as_deref().unwrap_or_else(|| container.short_id());
    let usage = limits.first().and_then(|level| level.usage_bytes);
    // One that has little is no more than whom the kernel took first.
    usage.filter(|usage| *usage >= memory / 4)?;
    let used = usage.map_or_else(String::new, |usage| format!("; it used {}", size(usage)));
    let told = Conclusion::warning(format!(
        "the container {} of {} has no memory limit, nor has anything above it, so it can take all of the machine's memory{used}",
        printable(called),
        name(victim.comm.as_deref())
    ))
    .likely()
    .with("container", called)
    .with_known("usage_bytes", usage)
    .with_known("memory_bytes", case.memory_bytes());
    Some(told.fix(limit(container)))
}

/// Whether a limit keeps anything for others: the kubelet gives all pods together what the machine has, if nothing is reserved.
fn binds(limit: u64, memory: u64) -> bool {
    limit < memory / 10 * 9
}

/// Before anything ran out: all of them at once, since a machine may have many.
fn of_node(node: &Node) -> Option<Conclusion> {
    let unlimited = node.programs().filter_map(|process| {
        let container = process.place.container.as_ref()?;
        let limit = node.limit_above(process.place.cgroup.as_deref()?);
        let limited =
            limit.is_some_and(|(limit, _)| binds(limit, node.settings.memory_bytes.unwrap_or(u64::MAX)));
        (!limited).then_some((container.id.as_str(), container))
    });
    let unlimited: BTreeMap<_, _> = unlimited.collect();
    let (_, first) = unlimited.first_key_value()?;
    let names: Vec<_> = unlimited
        .values()
        .map(|container| printable(container.name.as_deref().unwrap_or_else(|| container.short_id())))
        .collect();
    let which = match names.len() {
        1 => "a container has".to_owned(),
        count => format!("{count} containers have"),
    };
    let told = Conclusion::notice(format!(
        "{which} no memory limit, nor has anything above: {} can take all of the machine's memory",
        names.iter().take(TOLD).cloned().collect::<Vec<_>>().join(", ")
    ));
    Some(told.with("containers", names).fix(limit(first)))
}

/// How a container gets a limit.
fn limit(container: &Container) -> Fix {
    const RISK: &str = "it is killed at its limit even while the machine has memory: choose what it needs";
    if container.pod_uid.is_some() {
        return Fix::advice(
            "set resources.limits.memory (and requests) of the pod's containers, or a LimitRange for the namespace",
            RISK,
        );
    }
    let what = "start the container with --memory; of one that runs, see what it uses first";
    let id = quoted(container.short_id());
    match container.runtime {
        Some(Runtime::Docker) => Fix::look(what, format!("docker stats --no-stream {id}"), RISK),
        Some(Runtime::Podman) => Fix::look(what, format!("podman stats --no-stream {id}"), RISK),
        _ => Fix::advice("give the container a memory limit where it is started", RISK),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{MIB, global, ids, level, memcg_in, told};
    use crate::incident::{Incident, Place, ScopeKind};

    const POD: &str = "/kubepods/besteffort/pod0c9d5a3e-7b1f-4c2d-8e6a-5f4039281706";

    fn id() -> String {
        "4e9bf3a17c02".repeat(5) + "4e9b"
    }

    fn contained(path: &str) -> Incident {
        let mut incident = global();
        incident.scope.limits = vec![level(path, 600, None), level("/", 0, None)];
        incident.victims[0].place = Place::of(Some(path.to_owned()));
        incident
    }

    /// Guards a container of each kind, and that it stands before the shortage of the machine.
    #[test]
    fn a_container_without_a_limit() {
        for (path, advice) in [
            (format!("/docker/{}", id()), "--memory"),
            (format!("/machine.slice/libpod-{}.scope", id()), "--memory"),
            (format!("{POD}/{}", id()), "resources.limits.memory"),
        ] {
            let incident = contained(&path);
            assert_eq!(ids(&incident), ["container-unlimited", "node-exhausted"], "{path}");
            let told = told("container-unlimited", &incident).conclusion;
            assert!(told.likely && told.fix[0].what.contains(advice), "{path}: {}", told.fix[0].what);
            assert_eq!(told.evidence["usage_bytes"], (600 * MIB).into());
        }
    }

    /// Guards against a limit anywhere above, limits that are not known, other scopes, and what is no container.
    #[test]
    fn near_misses() {
        let path = format!("{POD}/{}", id());
        let mut above = contained(&path);
        above.scope.limits.insert(1, level(POD, 600, Some(700)));
        let mut with_swap = contained(&path);
        with_swap.scope.limits[0].memsw_limit_bytes = Some(700 * MIB);
        let mut unknown = contained(&path);
        unknown.scope.limits.clear();
        let mut cut = contained(&path);
        cut.scope.limits.pop();
        let mut unread = contained(&path);
        unread.missing.insert("scope.limits[0].limit_bytes".to_owned(), "unread".to_owned());
        for incident in [above, with_swap, unknown, cut, unread, contained("/system.slice/web.slice")] {
            assert_eq!(ids(&incident), ["node-exhausted"]);
        }
        assert_eq!(ids(&memcg_in(&path)), ["memcg-limit"]);
        let mut confined = contained(&path);
        confined.scope.kind = Some(ScopeKind::Cpuset);
        assert!(!ids(&confined).contains(&"container-unlimited"));
    }
}
