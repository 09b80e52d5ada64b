//! The files in which each runtime, and the kubelet, keep what containers are called.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::{
    Found, Key,
    read::{entries, json, text},
};
use crate::host::container::Runtime;

/// The storage drivers that containers/storage names its folders after.
const DRIVERS: [&str; 4] = ["overlay", "vfs", "btrfs", "zfs"];
/// Where containers/storage keeps what lasts, and what does not.
const STORAGES: [&str; 2] = ["var/lib/containers/storage", "run/containers/storage"];

/// A host's files, below its root.
pub(super) struct Files<'root> {
    root: &'root Path,
}

impl<'root> Files<'root> {
    pub(super) fn new(root: &'root Path) -> Self {
        Self { root }
    }

    /// Asks each source for what those before do not know.
    pub(super) fn find(&self, key: &Key) -> Found {
        let mut found = Found::default();
        let sources: [&dyn Fn() -> Option<Found>; 6] = [
            &|| self.docker(key),
            &|| self.containerd(&key.id),
            &|| self.bundle(&key.id),
            &|| self.container_log(&key.id),
            &|| self.pod_log(key.pod_uid.as_deref()?),
            &|| self.layer(key),
        ];
        for source in sources {
            if found.is_complete(key.pod_uid.is_some()) {
                break;
            }
            found.complete(source().unwrap_or_default());
        }
        found
    }

    /// Docker's own account of a container.
    fn docker(&self, key: &Key) -> Option<Found> {
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
        let state: State = json(&self.docker_root().join("containers").join(&key.id).join("config.v2.json"))?;
        let labels = state.config.and_then(|config| config.labels).unwrap_or_default();
        let of = |label| labels.get(label).and_then(|value| text(value));
        let mut found = Found {
            runtime: Some(Runtime::Docker),
            name: of("io.kubernetes.container.name"),
            pod_name: of("io.kubernetes.pod.name"),
            namespace: of("io.kubernetes.pod.namespace"),
        };
        found.complete(state.name.map(|name| key.named(name.trim_start_matches('/'))).unwrap_or_default());
        Some(found)
    }

    /// Where Docker keeps its state: elsewhere if it has been told so.
    fn docker_root(&self) -> PathBuf {
        #[derive(Deserialize)]
        struct Daemon {
            #[serde(rename = "data-root")]
            data_root: Option<PathBuf>,
        }
        let told =
            json(&self.root.join("etc/docker/daemon.json")).and_then(|daemon: Daemon| daemon.data_root);
        let told = told.as_ref().and_then(|path| path.strip_prefix("/").ok());
        self.root.join(told.unwrap_or(Path::new("var/lib/docker")))
    }

    /// The bundle that containerd gives its shim, below its state folder or that of K3s, in whichever of its namespaces.
    fn containerd(&self, id: &str) -> Option<Found> {
        let (namespace, annotations) =
            ["run/containerd", "run/k3s/containerd"].into_iter().find_map(|state| {
                let tasks = self.root.join(state).join("io.containerd.runtime.v2.task");
                entries(&tasks).into_iter().find_map(|namespace| {
                    let annotations = annotations(&tasks.join(&namespace).join(id).join("config.json"))?;
                    Some((namespace, annotations))
                })
            })?;
        let of = |key| annotations.get(key).and_then(|value| text(value));
        Some(Found {
            // Docker starts its own by containerd, in a namespace called so.
            runtime: Some(if namespace == "moby" { Runtime::Docker } else { Runtime::Containerd }),
            name: of("io.kubernetes.cri.container-name").or_else(|| of("nerdctl/name")),
            pod_name: of("io.kubernetes.cri.sandbox-name"),
            namespace: of("io.kubernetes.cri.sandbox-namespace"),
        })
    }

    /// The bundle that CRI-O or Podman gives its monitor. CRI-O keeps it in both places, Podman in the one that lasts, but
    /// for `--transient-store`.
    fn bundle(&self, id: &str) -> Option<Found> {
        let annotations = self.storages().find_map(|folder| {
            // CRI-O: `createSandboxContainer()`; Podman: `saveSpec()`.
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

    /// The names by which Podman (and CRI-O, with names of its own making) keeps containers' layers. Those of `--rm` are
    /// volatile.
    fn layer(&self, key: &Key) -> Option<Found> {
        #[derive(Deserialize)]
        struct Layer {
            id: String,
            #[serde(default)]
            names: Option<Vec<String>>,
        }
        let name = self.storages().find_map(|folder| {
            ["containers.json", "volatile-containers.json"].into_iter().find_map(|file| {
                let all: Vec<Layer> = json(&folder.join(file))?;
                let own = all.into_iter().find(|layer| layer.id == key.id)?;
                text(own.names?.first()?)
            })
        });
        Some(key.named(&name?))
    }

    /// The folders in which containers/storage keeps containers.
    fn storages(&self) -> impl Iterator<Item = PathBuf> {
        STORAGES.iter().flat_map(move |storage| {
            DRIVERS.iter().map(move |driver| self.root.join(storage).join(format!("{driver}-containers")))
        })
    }

    /// The kubelet's link to a container's log: `POD_NAMESPACE_CONTAINER-ID.log` (`logSymlink()`; one that would be longer
    /// than 255 bytes ends before its id does, and tells nothing).
    fn container_log(&self, id: &str) -> Option<Found> {
        let ending = format!("-{id}.log");
        let links = entries(&self.root.join("var/log/containers"));
        let link = links.iter().find_map(|name| name.strip_suffix(&ending))?;
        // None of the three has a `_`: they are DNS names.
        let [pod_name, namespace, name] = link.split('_').collect::<Vec<_>>()[..] else { return None };
        Some(Found { runtime: None, name: text(name), pod_name: text(pod_name), namespace: text(namespace) })
    }

    /// The kubelet's folder of a pod's logs: `NAMESPACE_POD_UID` (`BuildPodLogsDirectory()`).
    fn pod_log(&self, uid: &str) -> Option<Found> {
        let folders = entries(&self.root.join("var/log/pods"));
        let named = folders.iter().find_map(|name| name.strip_suffix(uid)?.strip_suffix('_'))?;
        let (namespace, pod_name) = named.split_once('_')?;
        Some(Found { pod_name: text(pod_name), namespace: text(namespace), ..Found::default() })
    }
}

/// The annotations in an OCI bundle.
fn annotations(path: &Path) -> Option<BTreeMap<String, String>> {
    #[derive(Deserialize)]
    struct Bundle {
        #[serde(default)]
        annotations: Option<BTreeMap<String, String>>,
    }
    json::<Bundle>(path).map(|bundle| bundle.annotations.unwrap_or_default())
}
