//! What a machine cannot do without may be killed like anything else.

use super::{
    super::finding::{Fix, Lasts},
    Conclusion, Rule,
};
use crate::{
    host::node::{Node, Process},
    text::printable,
};

pub const RULE: Rule = Rule {
    node: Some(of_node),
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

fn of_node(node: &Node) -> Vec<Conclusion> {
    let bare = node.programs().filter(|process| is_needed(process) && is_bare(process));
    let told = bare.map(|process| {
        let (name, pid) = (printable(&process.comm), process.pid);
        Conclusion::warning(format!(
            "{name} (pid {pid}) may be killed like any other program (oom_score_adj 0 or more), and the machine cannot be reached or \
             kept running without it"
        ))
        .with("pid", pid)
        .with("comm", process.comm.as_str())
        .with_known("unit", process.place.unit.as_deref())
        .fix(Fix::command(
            "protect it, now and where it is set (OOMScoreAdjust=-900 in its unit: systemctl edit)",
            format!("echo -900 > /proc/{pid}/oom_score_adj"),
            "what it starts inherits it, if it does not set its own: others die for what those do",
        ).lasting(Lasts::WithProcess))
    });
    told.collect()
}

/// The service itself, and in the machine's own unit: what logs in through sshd, instances of it, the buses of users and what runs in
/// containers are not.
fn is_needed(process: &Process) -> bool {
    let unit = process.place.unit.as_deref().unwrap_or_default();
    let of_unit = unit.ends_with(".service") && !unit.contains('@') && process.place.container.is_none();
    let of_user = process.place.cgroup.as_deref().is_some_and(|path| path.contains("/user@"));
    // What launches the bus is the first process's child.
    let is_main = process.ppid == Some(1) || process.comm == "dbus-broker";
    of_unit && !of_user && is_main && NEEDED.contains(&process.comm.as_str())
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
        let place = |path: &str| Place::of(Some(path.to_owned()));
        let sshd =
            Process { ppid: Some(1), place: place("/system.slice/ssh.service"), ..process(700, "sshd", 8) };
        let with = |process: Process| {
            let mut machine = node();
            machine.processes.push(process);
            node_ids(&machine)
        };
        assert_eq!(with(sshd.clone()), ["service-unprotected"]);
        assert_eq!(with(Process { oom_score_adj: Some(-1000), ..sshd.clone() }), [""; 0]);
        assert_eq!(with(Process { oom_score_adj: None, ..sshd.clone() }), [""; 0]);
        assert_eq!(with(Process { ppid: Some(70), ..sshd.clone() }), [""; 0]);
        let session = place("/user.slice/user-1000.slice/session-3.scope");
        assert_eq!(with(Process { place: session, ..sshd.clone() }), [""; 0]);
        let instance = place("/system.slice/system-sshd.slice/sshd@7.service");
        assert_eq!(with(Process { place: instance, ..sshd.clone() }), [""; 0]);
        let user = "/user.slice/user-1000.slice/user@1000.service/app.slice/x.service";
        assert_eq!(with(Process { place: place(user), ..sshd.clone() }), [""; 0]);
        assert_eq!(with(Process { comm: "sshd-helper".to_owned(), ..sshd.clone() }), [""; 0]);
        let contained = place(&format!("/docker/{}", "ab".repeat(32)));
        assert_eq!(with(Process { place: contained, ..sshd }), ["container-unlimited"]);
    }
}
