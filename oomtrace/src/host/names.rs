//! What people call a container and its pod, from the files in which runtimes and the kubelet keep it on this host. No
//! runtime is asked: it may be what is out of memory. All of it is a help and none a need: a container may be gone
//! with its files by the time that they are read, and what is damaged or too large says nothing.

use std::{
    collections::{BTreeMap, VecDeque},
    fs::{self, OpenOptions},
    io::Read as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, de::DeserializeOwned};

use super::container::{Container, Runtime, is_id};
use crate::incident::Incident;

/// Larger files are not read, bytes.
const LARGEST: u64 = 1 << 20;
/// Entries of a folder that are looked at.
const ENTRIES: usize = 8192;
/// Longer names are none (a DNS name has 253 letters).
const LONGEST: usize = 256;
/// Containers whose names are kept. The oldest go first.
const KEPT: usize = 256;

/// Finds names.
pub struct Names {
    root: PathBuf,
    known: VecDeque<(String, Found)>,
}

/// What was found of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Found {
    runtime: Option<Runtime>,
    name: Option<String>,
    pod_name: Option<String>,
    namespace: Option<String>,
}

impl Names {
    /// From this machine's files.
    #[must_use]
    pub fn here() -> Self {
        Self::new(Path::new("/"))
    }

    fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), known: VecDeque::new() }
    }

    /// Completes the containers of an incident.
    pub fn complete(&mut self, incident: &mut Incident) {
        let victims = incident.victims.iter_mut().map(|victim| &mut victim.place);
        for place in victims.chain([&mut incident.trigger.place]) {
            if let Some(container) = &mut place.container {
                self.name(container);
            }
        }
    }

    fn name(&mut self, container: &mut Container) {
        // Of others the id is the name; and it becomes a part of paths.
        if !is_id(&container.id) {
            return;
        }
        let known = self.known.iter().find(|(id, _)| *id == container.id).map(|(_, found)| found.clone());
        let found = known.unwrap_or_else(|| {
            let found = self.find(&container.id, container.pod_uid.as_deref());
            // What says nothing yet may do so later.
            if found != Found::default() {
                if self.known.len() >= KEPT {
                    self.known.pop_front();
                }
                self.known.push_back((container.id.clone(), found.clone()));
            }
            found
        });
        container.runtime = container.runtime.or(found.runtime);
        container.name = found.name;
        container.pod_name = found.pod_name;
        container.namespace = found.namespace;
    }

    /// Asks each source for what those before do not know.
    fn find(&self, id: &str, pod_uid: Option<&str>) -> Found {
        let mut found = Found::default();
        let sources: [&dyn Fn() -> Option<Found>; 6] = [
            &|| self.docker(id),
            &|| self.containerd(id),
            &|| self.containers_storage(id),
            &|| self.container_log(id),
            &|| self.pod_log(pod_uid?),
            &|| self.containers_storage_names(id),
        ];
        for source in sources {
            if found.name.is_some() && (pod_uid.is_none() || found.pod_name.is_some()) {
                break;
            }
            let Some(more) = source() else { continue };
            found.runtime = found.runtime.or(more.runtime);
            found.name = found.name.or(more.name);
            // The two belong together.
            if found.pod_name.is_none() {
                (found.pod_name, found.namespace) = (more.pod_name, more.namespace.or(found.namespace));
            }
        }
        found
    }

    /// Docker's own account of a container.
    fn docker(&self, id: &str) -> Option<Found> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct State {
            name: Option<String>,
            config: Option<Config>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Config {
            labels: Option<BTreeMap<String, String>>,
        }
        let state: State =
            json(&self.root.join("var/lib/docker/containers").join(id).join("config.v2.json"))?;
        let labels = state.config.and_then(|config| config.labels).unwrap_or_default();
        let own = state.name.as_deref().and_then(|name| text(name.trim_start_matches('/')));
        let of = |key| labels.get(key).and_then(|value| text(value));
        Some(Found {
            runtime: Some(Runtime::Docker),
            name: of("io.kubernetes.container.name").or(own),
            pod_name: of("io.kubernetes.pod.name"),
            namespace: of("io.kubernetes.pod.namespace"),
        })
    }

    /// The bundle that containerd gives its shim, below its state folder or that of K3s, in whichever of its namespaces.
    fn containerd(&self, id: &str) -> Option<Found> {
        let annotations = ["run/containerd", "run/k3s/containerd"].into_iter().find_map(|state| {
            let tasks = self.root.join(state).join("io.containerd.runtime.v2.task");
            let namespaces = entries(&tasks);
            namespaces.iter().find_map(|name| annotations(&tasks.join(name).join(id).join("config.json")))
        })?;
        let of = |key| annotations.get(key).and_then(|value| text(value));
        Some(Found {
            runtime: Some(Runtime::Containerd),
            name: of("io.kubernetes.cri.container-name").or_else(|| of("nerdctl/name")),
            pod_name: of("io.kubernetes.cri.sandbox-name"),
            namespace: of("io.kubernetes.cri.sandbox-namespace"),
        })
    }

    /// The bundle that CRI-O or Podman gives its monitor.
    fn containers_storage(&self, id: &str) -> Option<Found> {
        let annotations = DRIVERS.iter().find_map(|driver| {
            let folder = self.root.join("run/containers/storage").join(format!("{driver}-containers"));
            annotations(&folder.join(id).join("userdata/config.json"))
        })?;
        let of = |key| annotations.get(key).and_then(|value| text(value));
        let runtime = match annotations.get("io.container.manager").map(String::as_str) {
            Some("cri-o") => Some(Runtime::CriO),
            Some("libpod") => Some(Runtime::Podman),
            _ => None,
        };
        Some(Found {
            runtime,
            name: of("io.kubernetes.container.name"),
            pod_name: of("io.kubernetes.pod.name"),
            namespace: of("io.kubernetes.pod.namespace"),
        })
    }

    /// The names by which Podman (and CRI-O, with names of its own making) keeps containers' layers.
    fn containers_storage_names(&self, id: &str) -> Option<Found> {
        #[derive(Deserialize)]
        struct Entry {
            id: String,
            #[serde(default)]
            names: Option<Vec<String>>,
        }
        let name = DRIVERS.iter().find_map(|driver| {
            let folder = self.root.join("var/lib/containers/storage").join(format!("{driver}-containers"));
            ["containers.json", "volatile-containers.json"].into_iter().find_map(|file| {
                let all: Vec<Entry> = json(&folder.join(file))?;
                let own = all.into_iter().find(|entry| entry.id == id)?;
                text(own.names?.first()?)
            })
        });
        Some(Found { name: Some(name?), ..Found::default() })
    }

    /// The kubelet's link to a container's log: `POD_NAMESPACE_CONTAINER-ID.log`.
    fn container_log(&self, id: &str) -> Option<Found> {
        let ending = format!("-{id}.log");
        let links = entries(&self.root.join("var/log/containers"));
        let link = links.iter().find_map(|name| name.strip_suffix(&ending))?;
        // None of the three has a `_`: they are DNS names.
        let [pod_name, namespace, name] = link.split('_').collect::<Vec<_>>()[..] else { return None };
        Some(Found { runtime: None, name: text(name), pod_name: text(pod_name), namespace: text(namespace) })
    }

    /// The kubelet's folder of a pod's logs: `NAMESPACE_POD_UID`.
    fn pod_log(&self, uid: &str) -> Option<Found> {
        let folders = entries(&self.root.join("var/log/pods"));
        let named = folders.iter().find_map(|name| name.strip_suffix(uid)?.strip_suffix('_'))?;
        let (namespace, pod_name) = named.split_once('_')?;
        Some(Found { pod_name: text(pod_name), namespace: text(namespace), ..Found::default() })
    }
}

/// The storage drivers that containers/storage names its folders after.
const DRIVERS: [&str; 4] = ["overlay", "vfs", "btrfs", "zfs"];

/// The annotations in an OCI bundle.
fn annotations(path: &Path) -> Option<BTreeMap<String, String>> {
    #[derive(Deserialize)]
    struct Bundle {
        #[serde(default)]
        annotations: Option<BTreeMap<String, String>>,
    }
    json::<Bundle>(path).map(|bundle| bundle.annotations.unwrap_or_default())
}

fn json<T: DeserializeOwned>(path: &Path) -> Option<T> {
    // What is no file must not make us wait.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).ok()?;
    let data = file.metadata().ok().filter(|data| data.is_file() && data.len() <= LARGEST)?;
    let mut bytes = Vec::with_capacity(usize::try_from(data.len()).ok()?);
    // It may grow meanwhile.
    file.take(LARGEST).read_to_end(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// A name, if it is one.
fn text(name: &str) -> Option<String> {
    (!name.is_empty() && name.len() <= LONGEST).then(|| name.to_owned())
}

/// The names of what a folder holds, as far as they are text.
fn entries(folder: &Path) -> Vec<String> {
    let Ok(read) = fs::read_dir(folder) else { return Vec::new() };
    read.take(ENTRIES).filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "4e9bf3a17c0258d1a6b0c3f4e5d60718293a4b5c6d7e8f90a1b2c3d4e5f60718";
    const POD: &str = "7a3c1f2e-0b1d-4c5e-9f60-718293a4b5c6";

    /// A root folder with these files, removed when dropped. `ID` and `POD` stand for theirs.
    struct Root(PathBuf);

    impl Root {
        fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let root = std::env::temp_dir().join(format!("oomtrace-names-{}-{name}", std::process::id()));
            for (path, text) in files {
                let path = root.join(path.replace("POD", POD).replace("ID", ID));
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text.replace("POD", POD).replace("ID", ID)).unwrap();
            }
            Self(root)
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn container(pod: bool) -> Container {
        Container {
            runtime: None,
            id: ID.to_owned(),
            name: None,
            pod_uid: pod.then(|| POD.to_owned()),
            pod_name: None,
            namespace: None,
        }
    }

    /// Runtime, name, pod and namespace.
    type Told = (Option<Runtime>, Option<String>, Option<String>, Option<String>);

    fn told(root: &Root, pod: bool) -> Told {
        let mut container = container(pod);
        Names::new(&root.0).name(&mut container);
        (container.runtime, container.name, container.pod_name, container.namespace)
    }

    fn expected(runtime: Option<Runtime>, name: &str, pod: &str, namespace: &str) -> Told {
        (runtime, text(name), text(pod), text(namespace))
    }

    /// Guards each source by itself, in the form that each runtime writes.
    #[test]
    fn each_source_is_understood() {
        let cases = [
            (
                "docker",
                "var/lib/docker/containers/ID/config.v2.json",
                r#"{"StreamConfig":{},"State":{"Running":true,"Pid":41},"ID":"ID","Created":"2026-11-20T10:00:00Z",
                   "Path":"nginx","Args":[],"Config":{"Hostname":"4e9bf3a17c02","Labels":{"maintainer":"x"}},
                   "Name":"/web","Driver":"overlay2"}"#,
                expected(Some(Runtime::Docker), "web", "", ""),
            ),
            (
                "cri-dockerd",
                "var/lib/docker/containers/ID/config.v2.json",
                r#"{"Name":"/k8s_app_cart-0_shop_POD_0","Config":{"Labels":{"io.kubernetes.container.name":"app",
                   "io.kubernetes.pod.name":"cart-0","io.kubernetes.pod.namespace":"shop",
                   "io.kubernetes.pod.uid":"POD"}}}"#,
                expected(Some(Runtime::Docker), "app", "cart-0", "shop"),
            ),
            (
                "containerd",
                "run/containerd/io.containerd.runtime.v2.task/k8s.io/ID/config.json",
                r#"{"ociVersion":"1.1.0","process":{"args":["/cart"]},"annotations":{
                   "io.kubernetes.cri.container-name":"app","io.kubernetes.cri.container-type":"container",
                   "io.kubernetes.cri.image-name":"registry/cart:1","io.kubernetes.cri.sandbox-id":"ID",
                   "io.kubernetes.cri.sandbox-name":"cart-0","io.kubernetes.cri.sandbox-namespace":"shop",
                   "io.kubernetes.cri.sandbox-uid":"POD"},"linux":{"cgroupsPath":"/kubepods/burstable/podPOD/ID"}}"#,
                expected(Some(Runtime::Containerd), "app", "cart-0", "shop"),
            ),
            (
                "k3s",
                "run/k3s/containerd/io.containerd.runtime.v2.task/k8s.io/ID/config.json",
                r#"{"annotations":{"io.kubernetes.cri.container-name":"app",
                   "io.kubernetes.cri.sandbox-name":"cart-0","io.kubernetes.cri.sandbox-namespace":"shop"}}"#,
                expected(Some(Runtime::Containerd), "app", "cart-0", "shop"),
            ),
            (
                "cri-o",
                "run/containers/storage/overlay-containers/ID/userdata/config.json",
                r#"{"ociVersion":"1.0.2-dev","annotations":{"io.container.manager":"cri-o",
                   "io.kubernetes.container.name":"app","io.kubernetes.pod.name":"cart-0",
                   "io.kubernetes.pod.namespace":"shop","io.kubernetes.pod.uid":"POD",
                   "io.kubernetes.cri-o.Name":"k8s_app_cart-0_shop_POD_0"}}"#,
                expected(Some(Runtime::CriO), "app", "cart-0", "shop"),
            ),
            (
                "podman",
                "var/lib/containers/storage/overlay-containers/containers.json",
                r#"[{"id":"other","names":["db"],"layer":"a"},{"id":"ID","names":["web"],"image":"b","layer":"c",
                   "metadata":"{}","created":"2026-11-20T10:00:00Z","flags":{"MountLabel":""}}]"#,
                expected(None, "web", "", ""),
            ),
            (
                "kubelet-container",
                "var/log/containers/cart-0_shop_app-ID.log",
                "",
                expected(None, "app", "cart-0", "shop"),
            ),
            (
                "kubelet-pod",
                "var/log/pods/shop_cart-0_POD/app/0.log",
                "",
                expected(None, "", "cart-0", "shop"),
            ),
        ];
        for (name, path, content, expected) in cases {
            let root = Root::new(name, &[(path, content)]);
            assert_eq!(told(&root, true), expected, "{name}");
        }
    }

    /// Guards several sources that know a part each: the first to know counts.
    #[test]
    fn sources_complete_each_other() {
        let root = Root::new(
            "several",
            &[
                (
                    "run/containers/storage/overlay-containers/ID/userdata/config.json",
                    r#"{"annotations":{"io.container.manager":"libpod"}}"#,
                ),
                (
                    "var/lib/containers/storage/overlay-containers/containers.json",
                    r#"[{"id":"ID","names":["web"]}]"#,
                ),
                ("var/log/pods/shop_cart-0_POD/app/0.log", ""),
            ],
        );
        assert_eq!(told(&root, true), expected(Some(Runtime::Podman), "web", "cart-0", "shop"));
        assert_eq!(told(&root, false), expected(Some(Runtime::Podman), "web", "", ""));
    }

    /// Guards against files that are damaged, hostile, too large or not there: they say nothing.
    #[test]
    fn what_is_no_account_says_nothing() {
        let large = format!(r#"{{"Name":"/web","x":"{}"}}"#, "a".repeat(1 << 20));
        let deep = "[".repeat(100_000);
        let long = format!(r#"{{"Name":"/{}"}}"#, "a".repeat(1000));
        for (name, content) in [
            ("empty", ""),
            ("damaged", r#"{"Name":"/web""#),
            ("other", "[]"),
            ("typed", r#"{"Name":["/web"]}"#),
            ("large", &large),
            ("deep", &deep),
            ("long", &long),
        ] {
            let root = Root::new(name, &[("var/lib/docker/containers/ID/config.v2.json", content)]);
            assert_eq!(told(&root, false).1, None, "{name}");
        }
        let root = Root::new("folder", &[("var/lib/docker/containers/ID/config.v2.json/x", "")]);
        assert_eq!(told(&root, true), Told::default());
    }

    /// Guards paths: what is no id never becomes a part of one; and memory.
    #[test]
    fn only_ids_are_looked_up() {
        let root = Root::new("ids", &[("var/lib/docker/containers/ID/config.v2.json", r#"{"Name":"/web"}"#)]);
        let mut names = Names::new(&root.0);
        let mut other = Container { id: format!("../containers/{ID}"), ..container(false) };
        names.name(&mut other);
        assert_eq!(other.name, None);
        for number in 0..300 {
            names.known.push_back((number.to_string(), Found::default()));
            names.known.truncate(KEPT);
        }
        names.name(&mut container(false));
        assert_eq!(names.known.len(), KEPT);
        // It is remembered when its files are gone.
        drop(root);
        let mut again = container(false);
        names.name(&mut again);
        assert_eq!(again.name.as_deref(), Some("web"));
    }
}
