//! What people call a container and its pod, from what runtimes and the kubelet keep of it on this host. No runtime is
//! asked: it may be what is out of memory. All of it is a help and none a need: a container may be gone with its files by
//! the time that they are read, and what is damaged or too large says nothing.

mod conmon;
mod files;
mod read;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::container::{self, Runtime, is_id};
use crate::incident::{Ancestor, Incident, Kinship, Place, Victim};
use files::Files;

/// Containers of which is kept what was found. Those not asked for the longest go first.
const KEPT: usize = 256;
/// How long what was found is the answer, so that a storm in one container costs one look. Not longer: a container may get
/// another name (`docker rename`), and what is not there yet may come.
const FRESH: Duration = Duration::from_secs(1);

/// Finds names.
pub struct Names {
    root: PathBuf,
    /// The one asked for last at the end.
    known: VecDeque<Known>,
}

/// What is known of a container.
struct Known {
    key: Key,
    looked: Instant,
    found: Found,
}

/// What a look depends on: not on the id alone, since a cgroup's path may put any id into any pod, or below a user.
#[derive(Clone, PartialEq, Eq)]
struct Key {
    id: String,
    pod_uid: Option<String>,
    users: bool,
}

/// What was found of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Found {
    runtime: Option<Runtime>,
    name: Option<String>,
    pod_name: Option<String>,
    namespace: Option<String>,
}

impl Found {
    /// Takes over what only `other` knows.
    fn complete(&mut self, other: Self) {
        self.runtime = self.runtime.or(other.runtime);
        self.name = self.name.take().or(other.name);
        // The two belong together.
        if self.pod_name.is_none() {
            self.pod_name = other.pod_name;
            self.namespace = other.namespace.or(self.namespace.take());
        }
    }

    /// Whether nothing more is to be found.
    fn is_complete(&self, in_pod: bool) -> bool {
        self.name.is_some() && (!in_pod || self.pod_name.is_some())
    }
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
        self.complete_victims(&mut incident.victims);
        self.complete_task(&mut incident.trigger.place, Some(&incident.trigger.kinship));
    }

    /// Completes the containers of victims.
    pub fn complete_victims(&mut self, victims: &mut [Victim]) {
        for victim in victims {
            self.complete_task(&mut victim.place, Some(&victim.kinship));
        }
    }

    /// Completes the container of a task, of whose ancestors something may be known.
    pub fn complete_task(&mut self, place: &mut Place, kinship: Option<&Kinship>) {
        let ancestors = kinship.and_then(|kinship| kinship.ancestors.as_deref());
        self.name(place, ancestors.unwrap_or_default());
    }

    fn name(&mut self, place: &mut Place, ancestors: &[Ancestor]) {
        let Place { cgroup: Some(cgroup), container: Some(container), .. } = place else { return };
        // Of others the id is the name; and it becomes a part of paths.
        if !is_id(&container.id) {
            return;
        }
        let key = Key {
            id: container.id.clone(),
            pod_uid: container.pod_uid.clone(),
            users: container::is_users(cgroup),
        };
        let mut known = self.known(key);
        if known.found.name.is_none() {
            let watched = conmon::name(&self.root.join("proc"), &container.id, ancestors);
            known.found.complete(watched.map_or_else(Found::default, |name| known.key.named(&name)));
        }
        let found = known.found.clone();
        self.known.push_back(known);
        container.runtime = container.runtime.or(found.runtime);
        container.name = found.name;
        container.pod_name = found.pod_name;
        container.namespace = found.namespace;
    }

    /// What the files say, or said when they were there. There is room for it in `known` then.
    fn known(&mut self, key: Key) -> Known {
        let at = self.known.iter().position(|known| known.key == key);
        let before = at.and_then(|at| self.known.remove(at));
        if self.known.len() >= KEPT {
            self.known.pop_front();
        }
        match before {
            Some(known) if known.looked.elapsed() < FRESH => known,
            before => {
                // A user's own containers are not in the system's files.
                let mut found = Found::default();
                if !key.users {
                    found = Files::new(&self.root).find(&key);
                }
                // Files that are there count: there may be another name in them than there was.
                found.complete(before.map(|known| known.found).unwrap_or_default());
                Known { key, looked: Instant::now(), found }
            }
        }
    }
}

impl Key {
    /// What a name tells: it itself, or what Kubernetes's containers are called where a runtime wants one name of all
    /// (`k8s_CONTAINER_POD_NAMESPACE_UID_ATTEMPT`: CRI-O's `SetNameAndID()`; cri-dockerd's `makeContainerName()`, with a
    /// random number behind it if that name was taken).
    fn named(&self, name: &str) -> Found {
        let own = || Found { name: read::text(name), ..Found::default() };
        let Some(pod_uid) = &self.pod_uid else { return own() };
        // None of them has a `_`: they are DNS names.
        match name.split('_').collect::<Vec<_>>()[..] {
            ["k8s", name, pod_name, namespace, uid, _, ..] if uid == pod_uid => Found {
                runtime: None,
                name: read::text(name),
                pod_name: read::text(pod_name),
                namespace: read::text(namespace),
            },
            _ => own(),
        }
    }
}
