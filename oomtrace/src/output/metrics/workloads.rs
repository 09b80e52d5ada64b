//! Kills by whose they were: a container, a systemd unit, or a cgroup that is neither. How many of these there are is up to
//! whoever starts them, so the number of series has a bound.

use std::{
    borrow::Cow,
    collections::HashMap,
    time::{Duration, Instant},
};

use super::{
    family::Labels,
    names::{OTHER, UNKNOWN},
};
use crate::{incident::Place, text::printable};

/// A workload that had no kill for so long makes room for another one.
const QUIET: Duration = Duration::from_hours(24);
/// Letters of a label's value, at the most. Kubernetes has no name that is longer than 253.
const LONGEST: usize = 253;

/// See the module.
#[derive(Debug)]
pub struct Workloads {
    most: usize,
    known: HashMap<Workload, Kills>,
    /// Of those for which there was no room.
    other: u64,
}

#[derive(Debug)]
struct Kills {
    count: u64,
    last: Instant,
}

/// Who runs there, as far as it is known. Empty: it is not, or there is no such thing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Workload {
    namespace: String,
    pod: String,
    container: String,
    unit: String,
    cgroup: String,
}

impl Workload {
    fn of(place: &Place) -> Self {
        let label = |text: &str| bounded(&printable(text));
        if let Some(container) = &place.container {
            let known = |text: &Option<String>| text.as_deref().map(label).unwrap_or_default();
            let pod = container.pod_name.as_ref().or(container.pod_uid.as_ref());
            return Self {
                namespace: known(&container.namespace),
                pod: pod.map(|pod| label(pod)).unwrap_or_default(),
                container: label(container.name.as_deref().unwrap_or(container.short_id())),
                ..Self::default()
            };
        }
        match (&place.unit, &place.cgroup) {
            (Some(unit), _) => Self { unit: label(unit), ..Self::default() },
            (None, Some(cgroup)) => Self { cgroup: label(cgroup), ..Self::default() },
            // A path begins with a slash.
            (None, None) => Self { cgroup: UNKNOWN.to_owned(), ..Self::default() },
        }
    }

    fn labels(&self) -> Labels {
        let own = |text: &String| Cow::Owned(text.clone());
        vec![
            ("namespace", own(&self.namespace)),
            ("pod", own(&self.pod)),
            ("container", own(&self.container)),
            ("unit", own(&self.unit)),
            ("cgroup", own(&self.cgroup)),
        ]
    }
}

/// The end of a text that is too long: that of a path says more than its beginning.
fn bounded(text: &str) -> String {
    let letters = text.chars().count();
    text.chars().skip(letters.saturating_sub(LONGEST)).collect()
}

impl Workloads {
    /// Of so many at the most; the rest are counted together.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { most, known: HashMap::new(), other: 0 }
    }

    /// One of its processes was killed.
    pub fn killed(&mut self, place: &Place, now: Instant) {
        let workload = Workload::of(place);
        if let Some(kills) = self.known.get_mut(&workload) {
            kills.count = kills.count.saturating_add(1);
            kills.last = now;
        } else if self.has_room(now) {
            self.known.insert(workload, Kills { count: 1, last: now });
        } else {
            self.other = self.other.saturating_add(1);
        }
    }

    /// Whether there is room for one more, after the one that has been quiet for longest has gone if it may.
    fn has_room(&mut self, now: Instant) -> bool {
        if self.known.len() < self.most {
            return true;
        }
        let quietest = self.known.iter().min_by_key(|(_, kills)| kills.last);
        let Some(workload) = quietest
            .filter(|(_, kills)| now.saturating_duration_since(kills.last) >= QUIET)
            .map(|(workload, _)| workload.clone())
        else {
            return false;
        };
        self.known.remove(&workload);
        true
    }

    /// The labels of each, and how many were killed; those that are counted together last.
    #[must_use]
    pub fn samples(&self) -> Vec<(Labels, u64)> {
        let mut known: Vec<_> = self.known.iter().collect();
        known.sort_unstable_by_key(|(workload, _)| *workload);
        let known = known.into_iter().map(|(workload, kills)| (workload.labels(), kills.count));
        let other = Labels::from([
            ("container", Cow::Borrowed(OTHER)),
            ("unit", OTHER.into()),
            ("cgroup", OTHER.into()),
        ]);
        known.chain([(other, self.other)]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(cgroup: &str) -> Place {
        Place::of(Some(cgroup.to_owned()))
    }

    fn values(labels: &Labels) -> Vec<&str> {
        labels.iter().map(|(_, value)| value.as_ref()).collect()
    }

    /// Guards whose a kill is: a pod's container by its names, one without names by its ids, a unit, a bare cgroup, nobody's.
    #[test]
    fn a_kill_is_its_workloads() {
        let id = "0123456789abcdef".repeat(4);
        let uid = "7a3c1f2e-0b1d-4c5e-9f60-718293a4b5c6";
        let nameless = place(&format!("/kubepods/burstable/pod{uid}/{id}"));
        let mut named = nameless.clone();
        if let Some(container) = &mut named.container {
            container.name = Some("app".to_owned());
            container.pod_name = Some("shop-0".to_owned());
            container.namespace = Some("web".to_owned());
        }
        let of = |place: &Place| Workload::of(place).labels();
        assert_eq!(values(&of(&named)), ["web", "shop-0", "app", "", ""]);
        assert_eq!(values(&of(&nameless)), ["", uid, "0123456789ab", "", ""]);
        assert_eq!(values(&of(&place("/system.slice/nginx.service"))), ["", "", "", "nginx.service", ""]);
        assert_eq!(values(&of(&place("/batch"))), ["", "", "", "", "/batch"]);
        assert_eq!(values(&of(&Place::default())), ["", "", "", "", "unknown"]);
    }

    /// Guards the number of series against whoever makes cgroups, and their length and letters against what they are called.
    #[test]
    fn neither_number_nor_names_grow_beyond_their_bounds() {
        let (mut workloads, now) = (Workloads::new(3), Instant::now());
        for job in 0..1000 {
            workloads.killed(&place(&format!("/job-{job}")), now);
        }
        let samples = workloads.samples();
        assert_eq!(samples.len(), 4);
        assert_eq!(samples.iter().map(|(_, count)| count).sum::<u64>(), 1000);
        assert_eq!(
            samples.last().map(|(labels, count)| (values(labels), *count)),
            Some((vec!["other"; 3], 997))
        );
        let labels = Workload::of(&place(&format!("/{}\n\u{1b}[2J", "é".repeat(4000)))).labels();
        let cgroup = values(&labels)[4].to_owned();
        assert_eq!(cgroup.chars().count(), LONGEST);
        assert!(cgroup.ends_with("é\\n\\u{1b}[2J"), "{cgroup}");
    }

    /// Guards months of running: what has been quiet for a day makes room, and nothing else does.
    #[test]
    fn the_quiet_make_room() {
        let (mut workloads, now) = (Workloads::new(2), Instant::now());
        workloads.killed(&place("/a"), now);
        workloads.killed(&place("/b"), now + QUIET / 2);
        workloads.killed(&place("/c"), now + QUIET / 4 * 3);
        workloads.killed(&place("/d"), now + QUIET);
        let samples = workloads.samples();
        let seen: Vec<_> = samples.iter().map(|(labels, count)| (values(labels), *count)).collect();
        let of = |path| vec!["", "", "", "", path];
        assert_eq!(seen, [(of("/b"), 1), (of("/d"), 1), (vec!["other"; 3], 1)]);
    }
}
