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
/// cgroupfs driver too). `libpod-payload-` is Podman's with `--cgroups=split`, which every Quadlet unit has: the unit's
/// own cgroup then holds both the container and, beside it, what watches it.
const PREFIXES: [(&str, Runtime); 6] = [
    ("docker-", Runtime::Docker),
    ("cri-containerd-", Runtime::Containerd),
    ("nerdctl-", Runtime::Containerd),
    ("crio-", Runtime::CriO),
    ("libpod-", Runtime::Podman),
    ("libpod-payload-", Runtime::Podman),
];

/// The innermost container that a cgroup is in.
#[must_use]
pub fn of(path: &str) -> Option<Container> {
    let steps = Steps::of(path);
    let (at, runtime, id) = steps.innermost()?;
    // A pod that another container holds (a cluster within a container) is not this one's.
    let pod_uid = steps.0.iter().take(at + 1).rev().find_map(|step| pod(step));
    // Who gives no other id gives a name.
    let name = matches!(runtime, Some(Runtime::Lxc | Runtime::SystemdNspawn)).then(|| id.clone());
    Some(Container { runtime, id, name, pod_uid, pod_name: None, namespace: None })
}

/// Whether the container of a cgroup is below a user's own systemd (`user@UID.service`), where that user calls cgroups what
/// they like, after anyone's container: what the system's runtimes keep says nothing of what is there.
pub(super) fn is_users(path: &str) -> bool {
    let steps = Steps::of(path);
    let until = steps.innermost().map_or(steps.0.len(), |(at, _, _)| at);
    steps.0.iter().take(until).any(|step| step.starts_with("user@") && step.ends_with(".service"))
}

/// A cgroup's path, a directory each.
struct Steps<'path>(Vec<&'path str>);

impl<'path> Steps<'path> {
    fn of(path: &'path str) -> Self {
        Self(path.split('/').filter(|step| !step.is_empty()).collect())
    }

    fn step(&self, at: usize) -> Option<&'path str> {
        self.0.get(at).copied()
    }

    fn innermost(&self) -> Option<(usize, Option<Runtime>, String)> {
        (0..self.0.len()).rev().find_map(|at| {
            let (runtime, id) = self.container(at)?;
            Some((at, runtime, id))
        })
    }

    /// The container that a directory is the cgroup of.
    fn container(&self, at: usize) -> Option<(Option<Runtime>, String)> {
        let step = self.step(at)?;
        let parent = at.checked_sub(1).and_then(|above| self.step(above));
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
                // Where nobody asks for another path, containerd takes `/NAMESPACE/ID`.
                Some("default" | "k8s.io") => Some(Runtime::Containerd),
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
        Some((Some(Runtime::SystemdNspawn), self.nspawn(at)?))
    }

    /// The name of the systemd-nspawn container that a directory is the cgroup of: `systemd-nspawn@NAME.service`; started
    /// by hand `machine-NAME.scope`, or with `--register=no` `NAME.scope`. Virtual machines have such scopes, too, but it
    /// alone has the folder `payload` for what it contains (`create_subcgroup()`, v2 only).
    fn nspawn(&self, at: usize) -> Option<String> {
        let step = self.step(at)?;
        if let Some(unit) = step.strip_prefix("systemd-nspawn@") {
            return unit.strip_suffix(".service").map(unescaped);
        }
        let parent = at.checked_sub(1).and_then(|above| self.step(above));
        if parent != Some("machine.slice") || self.step(at + 1) != Some("payload") {
            return None;
        }
        let name = step.strip_suffix(".scope")?;
        Some(unescaped(name.strip_prefix("machine-").unwrap_or(name)))
    }
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
        // Behind a path for the systemd driver there may be more: see `Steps::container`.
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

    /// The container of a path in which `ID` and `POD` stand for theirs, `DI` for another container's or a Podman pod's, and
    /// `USER` for what systemd has of a user's.
    fn found(path: &str) -> Option<(Option<Runtime>, String, Option<String>)> {
        let path = path.replace("POD", POD).replace("ID", ID).replace("DI", &ID.replace('0', "f"));
        let path = path.replace("USER", "/user.slice/user-1000.slice/user@1000.service");
        of(&path).map(|found| (found.runtime, found.id, found.pod_uid))
    }

    /// Guards the names that each runtime gives, by both of its cgroup drivers, as they were seen: Docker 20.10.24 and
    /// 26.1.5, containerd 1.6.20 and 1.7.24, Podman 4.3.1 and 5.4.2 with runc and crun, LXC 6.0.4, systemd 257. Of the
    /// others a source tells.
    #[test]
    fn each_runtimes_paths_are_known() {
        use Runtime::{Containerd, Docker, Lxc, Podman, SystemdNspawn};
        let cases = [
            ("/docker/ID", Some(Docker), ID),
            // `--cgroup-parent /shop`
            ("/shop/ID", None, ID),
            ("/system.slice/docker-ID.scope", Some(Docker), ID),
            ("/system.slice/docker-ID.scope/init.scope", Some(Docker), ID),
            ("/shop.slice/docker-ID.scope", Some(Docker), ID),
            // By ctr.
            ("/default/ID", Some(Containerd), ID),
            // containerd/nerdctl, pkg/cmd/container/run_cgroup_linux.go
            ("/system.slice/nerdctl-ID.scope", Some(Containerd), ID),
            // runc has the processes in the scope, crun in a folder below it.
            ("/machine.slice/libpod-ID.scope", Some(Podman), ID),
            ("/machine.slice/libpod-ID.scope/container", Some(Podman), ID),
            // In a container in which a systemd runs, with a user logged in.
            ("/machine.slice/libpod-ID.scope/container/user.slice/user@0.service", Some(Podman), ID),
            ("/machine.slice/machine-libpod_pod_DI.slice/libpod-ID.scope/container", Some(Podman), ID),
            ("/libpod_parent/libpod-ID", Some(Podman), ID),
            // `--cgroup-parent /shop`
            ("/shop/libpod-ID", Some(Podman), ID),
            // containers/podman, libpod/runtime_pod_linux.go, NewPod(), by the cgroupfs driver
            ("/libpod_parent/DI/libpod-ID", Some(Podman), ID),
            // `--cgroups=split`, with runc, with crun, and as a Quadlet unit.
            ("/system.slice/web.service/libpod-payload-ID", Some(Podman), ID),
            // A user's own.
            ("USER/user.slice/libpod-ID.scope/container", Some(Podman), ID),
            ("USER/app.slice/web.service/libpod-payload-ID", Some(Podman), ID),
            ("/lxc.payload.web", Some(Lxc), "web"),
            ("/lxc.payload.my.box-1/init.scope", Some(Lxc), "my.box-1"),
            // Incus 6.0.4: an instance of the project `shop`.
            ("/lxc.payload.shop_cart", Some(Lxc), "shop_cart"),
            // LXC before 4.0.
            ("/lxc/web/system.slice/nginx.service", Some(Lxc), "web"),
            ("/machine.slice/systemd-nspawn@web.box.service/payload", Some(SystemdNspawn), "web.box"),
            ("/machine.slice/systemd-nspawn@my\\x2dbox.service/payload", Some(SystemdNspawn), "my-box"),
            ("/machine.slice/machine-my\\x2dbox.scope/payload", Some(SystemdNspawn), "my-box"),
            (
                "/machine.slice/machine-box.scope/payload/system.slice/nginx.service",
                Some(SystemdNspawn),
                "box",
            ),
            // `--register=no`
            ("/machine.slice/plain.scope/payload", Some(SystemdNspawn), "plain"),
        ];
        for (path, runtime, id) in cases {
            assert_eq!(found(path), Some((runtime, id.to_owned(), None)), "{path}");
        }
    }

    /// Guards the pods of each class, by each cgroup driver of the kubelet's and each runtime. kubernetes/kubernetes,
    /// pkg/kubelet/cm: `pod_container_manager_linux.go`, GetPodContainerName() (what is guaranteed has no class in its
    /// path), and `cgroup_manager_linux.go`, ConvertCgroupNameToSystemd() (all of `-` becomes `_`). Containers in them:
    /// containerd/containerd, internal/cri/server/podsandbox/helpers.go, getCgroupsPath(), seen with 1.6.20 and 1.7.24;
    /// cri-o/cri-o, internal/config/cgmgr, ContainerCgroupPath() of `cgroupfs_linux.go` and `systemd_linux.go`; Docker by
    /// Mirantis/cri-dockerd hands its own names in.
    #[test]
    fn pods_of_each_class_are_known_by_each_driver_and_runtime() {
        use Runtime::{Containerd, CriO, Docker};
        let static_pod = "0a1b2c3d".repeat(4);
        for (pod, root, slices) in [
            (POD, "/", "/"),
            (&static_pod, "/", "/"),
            // The kubelet's `cgroupRoot`; a cluster's node that is a container (kind).
            (POD, "/kubelet/", "/kubelet.slice/kubelet-"),
            (POD, "/docker/DI/kubelet/", "/docker/DI/kubelet.slice/kubelet-"),
        ] {
            let escaped = pod.replace('-', "_");
            for class in ["", "burstable", "besteffort"] {
                let expected = |runtime| Some((runtime, ID.to_owned(), Some(pod.to_owned())));
                let cgroupfs = format!("{root}kubepods/{class}/pod{pod}").replace("//", "/");
                for (name, runtime) in
                    [("ID", None), ("crio-ID", Some(CriO)), ("crio-ID/container", Some(CriO))]
                {
                    let path = format!("{cgroupfs}/{name}");
                    assert_eq!(found(&path), expected(runtime), "{path}");
                }
                let before = slices.rsplit_once('/').map_or("", |(_, before)| before);
                let top = format!("{slices}kubepods.slice");
                let systemd = if class.is_empty() {
                    format!("{top}/{before}kubepods-pod{escaped}.slice")
                } else {
                    format!(
                        "{top}/{before}kubepods-{class}.slice/{before}kubepods-{class}-pod{escaped}.slice"
                    )
                };
                for (name, runtime) in [
                    ("cri-containerd-ID.scope", Containerd),
                    ("crio-ID.scope", CriO),
                    ("crio-ID.scope/container", CriO),
                    ("docker-ID.scope", Docker),
                ] {
                    let path = format!("{systemd}/{name}");
                    assert_eq!(found(&path), expected(Some(runtime)), "{path}");
                }
                // The kubelet's paths are for systemd, and a runtime takes them for the cgroupfs driver.
                let slice = systemd.rsplit('/').next().unwrap_or_default();
                let path = format!("/{slice}:cri-containerd:ID");
                assert_eq!(found(&path), expected(Some(Containerd)), "{path}");
            }
        }
    }

    /// Guards whose word counts: a user's cgroups are called what that user likes.
    #[test]
    fn a_users_containers_are_told_from_the_systems() {
        for (path, users) in [
            ("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope/container", true),
            ("/user.slice/user-1000.slice/user@1000.service/docker-ID.scope", true),
            ("/system.slice/docker-ID.scope", false),
            ("/machine.slice/libpod-ID.scope/container/user.slice/user@0.service", false),
            ("/user.slice/user-1000.slice/session-2.scope", false),
        ] {
            assert_eq!(is_users(&path.replace("ID", ID)), users, "{path}");
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
            "/system.slice/web.service/runtime",
            "/machine.slice/libpod-payload-0123456789ab",
            "/machine.slice/machine-libpod_pod_ID.slice",
            "/kubepods/burstable/podPOD",
            "/kubepods.slice/kubepods-pod7a3c1f2e_0b1d_4c5e_9f60_718293a4b5c6.slice",
            "/docker/0123456789ab",
            "/lxc.monitor.web",
            "/lxc.payload.",
            "/lxc.payload./x",
            // libvirt's and systemd-vmspawn's virtual machines
            "/machine.slice/machine-qemu\\x2d1\\x2dweb.scope/libvirt/emulator",
            "/machine.slice/machine-web.scope",
            "/machine.slice/web.scope/x/payload",
            "/system.slice/web.scope/payload",
            "/machine.slice/web.service/payload",
            "/kubepods/podPOD/crio-conmon-ID",
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
