//! What a machine cannot do without may be killed like anything else.

use super::{super::finding::Fix, Conclusion, Rule};
use crate::{
    host::node::{Node, Process},
    text::printable,
};

pub const RULE: Rule = Rule {
    node: Some(|node| of_node(node).into_iter().collect()),
    ..Rule::new("service-unprotected", include_str!("../../../docs/findings/service-unprotected.md"))
};

/// Services through which a machine is reached and kept running, by the names of their processes. Each comes with a score below 0,
/// by its own doing or its unit's: one that has none has lost it.
const NEEDED: [&str; 9] = [
    "sshd",
    "systemd-journal",
    "systemd-udevd",
    "dbus-daemon",
    "dbus-broker",
    "kubelet",
    "containerd",
    "dockerd",
    "crio",
];

fn of_node(node: &Node) -> Option<Conclusion> {
    let bare: Vec<_> = node.programs().filter(|process| is_needed(process) && is_bare(process)).collect();
    let first = bare.first()?;
    let names: Vec<_> =
        bare.iter().map(|process| format!("{} (pid {})", printable(&process.comm), process.pid)).collect();
    let told = Conclusion::warning(format!(
        "{} may be killed like any other program (oom_score_adj 0 or more), and the machine cannot be reached or kept running without",
        names.join(", ")
    ))
    .with("processes", names)
    .fix(Fix::command(
        "protect it, now and where it is set (OOMScoreAdjust=-900 in its unit: systemctl edit)",
        format!("echo -900 > /proc/{}/oom_score_adj", first.pid),
        "what it starts inherits it: others die for what those do",
    ));
    Some(told)
}

/// The service itself: what logs in through sshd, the buses of users and what runs in containers are not.
fn is_needed(process: &Process) -> bool {
    let is_system = process.ppid == Some(1) && process.place.container.is_none();
    let of_user = process.place.cgroup.as_deref().is_some_and(|path| path.contains("/user@"));
    is_system && !of_user && NEEDED.contains(&process.comm.as_str())
}

fn is_bare(process: &Process) -> bool {
    process.oom_score_adj.is_some_and(|adj| adj >= 0)
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{node, node_ids, process};
    use crate::{host::node::Process, incident::Place};

    /// Guards which are told: the service and not its sessions, not a user's, not a container's, and not one that is protected.
    #[test]
    fn needed_services_are_protected() {
        let sshd = Process { ppid: Some(1), ..process(700, "sshd", 8) };
        let with = |process: Process| {
            let mut machine = node();
            machine.processes.push(process);
            node_ids(&machine)
        };
        assert_eq!(with(sshd.clone()), ["service-unprotected"]);
        assert_eq!(with(Process { oom_score_adj: Some(-1000), ..sshd.clone() }), [""; 0]);
        assert_eq!(with(Process { oom_score_adj: None, ..sshd.clone() }), [""; 0]);
        assert_eq!(with(Process { ppid: Some(70), ..sshd.clone() }), [""; 0]);
        let place = |path: &str| Place::of(Some(path.to_owned()));
        let user = "/user.slice/user-1000.slice/user@1000.service/app.slice/x.service";
        assert_eq!(with(Process { place: place(user), ..sshd.clone() }), [""; 0]);
        let contained = place(&format!("/docker/{}", "ab".repeat(32)));
        assert_eq!(with(Process { place: contained, ..sshd }), ["container-unlimited"]);
        assert_eq!(with(Process { ppid: Some(1), ..process(701, "sshd-helper", 8) }), [""; 0]);
    }
}
