//! Which container a cgroup belongs to, by its path alone: what runtimes and the kubelet call their cgroups. Nothing
//! is asked of a runtime, which may be what is out of memory. What people call it is found by [`super::names`].

use schemars::JsonSchema;
use serde::Serialize;

/// Who made a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Runtime {
    /// Docker.
    Docker,
    /// containerd, by itself or for the kubelet.
    Containerd,
    /// CRI-O.
    CriO,
    /// Podman.
    Podman,
    /// LXC, Incus and LXD.
    Lxc,
    /// systemd-nspawn.
    SystemdNspawn,
}

impl Runtime {
    /// What people call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Docker => "Docker",
            Self::Containerd => "containerd",
            Self::CriO => "CRI-O",
            Self::Podman => "Podman",
            Self::Lxc => "LXC",
            Self::SystemdNspawn => "systemd-nspawn",
        }
    }
}

/// A container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Container {
    /// Who made it, where its cgroup's name tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<Runtime>,
    /// Its id: 64 hexadecimal digits; the name where the runtime has no other id (LXC, systemd-nspawn).
    pub id: String,
    /// What people call it, where the runtime's files tell: in a pod, its name there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The id of its Kubernetes pod, with dashes as in the pod's `metadata.uid`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<String>,
    /// The pod's name, where the runtime's or the kubelet's files tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_name: Option<String>,
    /// The pod's Kubernetes namespace, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

impl Container {
    /// The id as `docker ps`, `crictl ps` and `podman ps` show it: its first 12 digits; a name is whole.
    #[must_use]
    pub fn short_id(&self) -> &str {
        if is_id(&self.id) { self.id.get(..12).unwrap_or(&self.id) } else { &self.id }
    }
}

/// Length of the ids that Docker, containerd, CRI-O and Podman give.
const ID_LEN: usize = 64;

/// What runtimes put before a container's id (`runc`'s systemd driver: `PREFIX-ID.scope`; CRI-O and Podman by the
/// cgroupfs driver too).
const PREFIXES: [(&str, Runtime); 5] = [
    ("docker-", Runtime::Docker),
    ("cri-containerd-", Runtime::Containerd),
    ("nerdctl-", Runtime::Containerd),
    ("crio-", Runtime::CriO),
    ("libpod-", Runtime::Podman),
];

/// The innermost container that a cgroup is in.
#[must_use]
pub fn of(path: &str) -> Option<Container> {
    let steps: Vec<&str> = path.split('/').filter(|step| !step.is_empty()).collect();
    let (at, runtime, id) = (0..steps.len()).rev().find_map(|at| {
        let step = steps.get(at)?;
        let parent = at.checked_sub(1).and_then(|above| steps.get(above)).copied();
        let (runtime, id) = step_container(step, parent)?;
        Some((at, runtime, id))
    })?;
    // A pod that another container holds (a cluster within a container) is not this one's.
    let pod_uid = steps.iter().take(at + 1).rev().find_map(|step| pod(step));
    // Who gives no other id gives a name.
    let name = matches!(runtime, Some(Runtime::Lxc | Runtime::SystemdNspawn)).then(|| id.clone());
    Some(Container { runtime, id, name, pod_uid, pod_name: None, namespace: None })
}

/// The container that a directory is the cgroup of.
fn step_container(step: &str, parent: Option<&str>) -> Option<(Option<Runtime>, String)> {
    let name = step.strip_suffix(".scope").unwrap_or(step);
    for (prefix, runtime) in PREFIXES {
        if let Some(id) = name.strip_prefix(prefix).filter(|id| is_id(id)) {
            return Some((Some(runtime), id.to_owned()));
        }
    }
    // `SLICE:PREFIX:ID`: a path for the systemd driver that was given to the cgroupfs driver.
    if let [_, prefix, id] = name.split(':').collect::<Vec<_>>()[..]
        && is_id(id)
    {
        let by_prefix = PREFIXES.iter().find(|(known, _)| known.strip_suffix('-') == Some(prefix));
        return Some((by_prefix.map(|(_, runtime)| *runtime), id.to_owned()));
    }
    if is_id(name) {
        let runtime = match parent {
            Some("docker") => Some(Runtime::Docker),
            // containerd's own namespaces.
            Some("default" | "k8s.io" | "moby") => Some(Runtime::Containerd),
            _ => None,
        };
        return Some((runtime, name.to_owned()));
    }
    let lxc = name
        .strip_prefix("lxc.payload.")
        .or_else(|| matches!(parent, Some("lxc" | "lxc.payload")).then_some(name));
    if let Some(name) = lxc.filter(|name| !name.is_empty()) {
        return Some((Some(Runtime::Lxc), name.to_owned()));
    }
    let nspawn = step.strip_prefix("systemd-nspawn@")?.strip_suffix(".service")?;
    Some((Some(Runtime::SystemdNspawn), unescaped(nspawn)))
}

/// Whether it is an id as Docker, containerd, CRI-O and Podman give them.
pub(super) fn is_id(text: &str) -> bool {
    text.len() == ID_LEN && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// The pod that a directory is the cgroup of: `podUID`, or `kubepods[-QOS]-podUID.slice` with `_` for `-`.
fn pod(step: &str) -> Option<String> {
    let uid = match step.strip_suffix(".slice") {
        Some(slice) => {
            let (before, uid) = slice.rsplit_once("-pod")?;
            // The kubelet's `cgroupRoot` may stand before it.
            before.contains("kubepods").then(|| uid.replace('_', "-"))?
        }
        // Behind a path for the systemd driver there may be more: see `step_container`.
        None => match step.split_once(".slice:") {
            Some((slice, _)) => slice.rsplit_once("-pod")?.1.replace('_', "-"),
            None => step.strip_prefix("pod")?.to_owned(),
        },
    };
    is_uid(&uid).then_some(uid)
}

/// A UUID, or the hash that the kubelet gives a static pod.
fn is_uid(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_hexdigit).count();
    let dashes = text.bytes().enumerate().filter(|(_, byte)| *byte == b'-').map(|(at, _)| at);
    let shape: Vec<_> = dashes.collect();
    digits == 32 && (shape.is_empty() && text.len() == 32 || shape == [8, 13, 18, 23] && text.len() == 36)
}

/// `\x2d` back to what it stands for (`unit_name_unescape()`); what is no such escape stays.
fn unescaped(name: &str) -> String {
    let mut parts = name.split("\\x");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let byte = part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        if let Some(byte) = byte.filter(u8::is_ascii) {
            text.push(char::from(byte));
            text.push_str(part.get(2..).unwrap_or_default());
        } else {
            text.push_str("\\x");
            text.push_str(part);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const POD: &str = "7a3c1f2e-0b1d-4c5e-9f60-718293a4b5c6";

    /// The container of a path in which `ID`, `POD` and `P_D` (a pod's with `_`) stand for theirs.
    fn found(path: &str) -> Option<(Option<Runtime>, String, Option<String>)> {
        let path = path.replace("P_D", &POD.replace('-', "_")).replace("POD", POD).replace("ID", ID);
        of(&path).map(|found| (found.runtime, found.id, found.pod_uid))
    }

    /// Guards the names that each runtime gives, by both of its cgroup drivers, alone and for the kubelet in each of
    /// its classes.
    #[test]
    fn each_runtimes_paths_are_known() {
        use Runtime::{Containerd, CriO, Docker, Lxc, Podman, SystemdNspawn};
        let id = || ID.to_owned();
        let pod = || Some(POD.to_owned());
        let cases = [
            ("/docker/ID", Some(Docker), id(), None),
            ("/system.slice/docker-ID.scope", Some(Docker), id(), None),
            ("/system.slice/docker-ID.scope/init.scope", Some(Docker), id(), None),
            ("/default/ID", Some(Containerd), id(), None),
            ("/system.slice/nerdctl-ID.scope", Some(Containerd), id(), None),
            ("/machine.slice/libpod-ID.scope", Some(Podman), id(), None),
            ("/machine.slice/libpod-ID.scope/container", Some(Podman), id(), None),
            ("/libpod_parent/libpod-ID", Some(Podman), id(), None),
            (
                "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope/container",
                Some(Podman),
                id(),
                None,
            ),
            ("/kubepods/podPOD/ID", None, id(), pod()),
            ("/kubepods/burstable/podPOD/ID", None, id(), pod()),
            ("/kubepods/besteffort/podPOD/crio-ID", Some(CriO), id(), pod()),
            ("/kubepods.slice/kubepods-podP_D.slice/cri-containerd-ID.scope", Some(Containerd), id(), pod()),
            (
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podP_D.slice/crio-ID.scope",
                Some(CriO),
                id(),
                pod(),
            ),
            (
                "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podP_D.slice/docker-ID.scope",
                Some(Docker),
                id(),
                pod(),
            ),
            (
                "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-podP_D.slice/crio-ID.scope",
                Some(CriO),
                id(),
                pod(),
            ),
            ("/kubepods-burstable-podP_D.slice:cri-containerd:ID", Some(Containerd), id(), pod()),
            ("/lxc.payload.web", Some(Lxc), "web".to_owned(), None),
            ("/lxc/web/system.slice/nginx.service", Some(Lxc), "web".to_owned(), None),
            (
                "/machine.slice/systemd-nspawn@my\\x2dbox.service/payload",
                Some(SystemdNspawn),
                "my-box".to_owned(),
                None,
            ),
        ];
        for (path, runtime, id, pod) in cases {
            assert_eq!(found(path), Some((runtime, id, pod)), "{path}");
        }
    }

    /// Guards against containers that are none, and a pod that is another container's.
    #[test]
    fn what_only_looks_like_a_container_is_none() {
        let others = [
            "/",
            "",
            "/system.slice/docker.service",
            "/machine.slice/libpod-conmon-ID.scope",
            "/kubepods/burstable/podPOD",
            "/kubepods.slice/kubepods-podP_D.slice",
            "/docker/0123456789ab",
            "/lxc.monitor.web",
            "/lxc.payload.",
        ];
        for path in others {
            assert_eq!(found(path), None, "{path}");
        }
        // A cluster within a container: the innermost counts, and the pod above it.
        let inner = format!("/docker/ID/kubelet/kubepods/burstable/podPOD/{}", "f".repeat(64));
        assert_eq!(found(&inner), Some((None, "f".repeat(64), Some(POD.to_owned()))));
        let outer = "/kubepods/podPOD/ID/system.slice";
        assert_eq!(found(outer), Some((None, ID.to_owned(), Some(POD.to_owned()))));
    }

    /// Guards the ids of pods: UUIDs, and a static pod's hash.
    #[test]
    fn a_pods_id_is_a_uuid_or_a_hash() {
        assert!(is_uid(POD));
        assert!(is_uid(&"0a".repeat(16)));
        assert!(!is_uid(&"0a".repeat(15)));
        assert!(!is_uid("7a3c1f2e0-b1d-4c5e-9f60-718293a4b5c6"));
        assert!(!is_uid("7a3c1f2e-0b1d-4c5e-9f60-718293a4b5cx"));
    }

    /// Guards names whose escapes are none.
    #[test]
    fn only_whole_escapes_are_undone() {
        assert_eq!(unescaped("a\\x2db"), "a-b");
        assert_eq!(unescaped("a\\x2"), "a\\x2");
        assert_eq!(unescaped("a\\xzz\\x"), "a\\xzz\\x");
        assert_eq!(unescaped("\\xff"), "\\xff");
    }
}
