//! Which incidents and failures are shown.

use wildmatch::WildMatch;

use crate::{
    cli::{FilterArgs, Kind},
    incident::{AllocFailure, ForkFailure, Incident, Place, Proof, UserKill, Victim},
};

/// See [`FilterArgs`].
#[derive(Clone, Debug)]
pub struct Filter {
    cgroup: Option<WildMatch>,
    /// The beginning of an id, and a name.
    container: Option<(WildMatch, WildMatch)>,
    comm: Option<WildMatch>,
    pid: Option<u32>,
    min_rss: Option<u64>,
    /// Whether kills and failed allocations are shown, and failed forks.
    oom: bool,
    fork: bool,
}

impl Filter {
    /// From the command line.
    #[must_use]
    pub fn new(args: &FilterArgs) -> Self {
        Self {
            cgroup: args.cgroup.as_deref().map(|pattern| {
                let pattern = pattern.trim_end_matches('/');
                WildMatch::new(if pattern.is_empty() { "/" } else { pattern })
            }),
            // People know the first digits of an id.
            container: args
                .container
                .as_deref()
                .map(|pattern| (WildMatch::new(&format!("{pattern}*")), WildMatch::new(pattern))),
            comm: args.comm.as_deref().map(WildMatch::new),
            pid: args.pid,
            min_rss: args.min_rss,
            oom: args.takes(Kind::Oom),
            fork: args.takes(Kind::Fork),
        }
    }

    /// Whether one victim of the incident passes every filter; without a filter, every incident does.
    #[must_use]
    pub fn passes(&self, incident: &Incident) -> bool {
        self.passes_victims(&incident.victims)
    }

    /// The same of a kill by a daemon in user space.
    #[must_use]
    pub fn passes_user_kill(&self, kill: &UserKill) -> bool {
        self.passes_victims(&kill.victims)
    }

    fn passes_victims(&self, victims: &[Victim]) -> bool {
        self.oom && (self.is_none() || victims.iter().any(|victim| self.passes_victim(victim)))
    }

    /// Whether the task of a failed allocation does. Its memory is not known.
    #[must_use]
    pub fn passes_failure(&self, failure: &AllocFailure) -> bool {
        let task = &failure.task;
        self.oom && self.passes_process(task.pid, task.comm.as_deref(), &task.place, None)
    }

    /// Whether the task of a fork that failed does. The same.
    #[must_use]
    pub fn passes_fork(&self, failure: &ForkFailure) -> bool {
        let task = &failure.task;
        // Where forks are counted by the limit, its cgroup is what is known.
        let by_limit = (failure.proof == Proof::Count && task.place.cgroup.is_none())
            .then(|| Place { cgroup: failure.limit_at.clone(), ..Place::default() });
        let place = by_limit.as_ref().unwrap_or(&task.place);
        self.fork && self.passes_process(task.pid, task.comm.as_deref(), place, None)
    }

    fn is_none(&self) -> bool {
        self.cgroup.is_none()
            && self.container.is_none()
            && self.comm.is_none()
            && self.pid.is_none()
            && self.min_rss.is_none()
    }

    fn passes_victim(&self, victim: &Victim) -> bool {
        let kernels = || victim.rss_kernel.map(|rss| rss.total_bytes);
        let rss = victim.rss.map(|rss| rss.total_bytes).or_else(kernels);
        self.passes_process(victim.pid, victim.comm.as_deref(), &victim.place, rss)
    }

    fn passes_process(&self, pid: Option<u32>, comm: Option<&str>, place: &Place, rss: Option<u64>) -> bool {
        let cgroup = self.cgroup.as_ref().is_none_or(|pattern| {
            place.cgroup.as_deref().is_some_and(|path| ancestors(path).any(|path| pattern.matches(path)))
        });
        let container = self.container.as_ref().is_none_or(|(id, name)| {
            place.container.as_ref().is_some_and(|container| {
                id.matches(&container.id) || container.name.as_deref().is_some_and(|own| name.matches(own))
            })
        });
        let comm = self.comm.as_ref().is_none_or(|pattern| comm.is_some_and(|comm| pattern.matches(comm)));
        let pid = self.pid.is_none_or(|wanted| pid == Some(wanted));
        let rss = self.min_rss.is_none_or(|least| rss.is_some_and(|rss| rss >= least));
        cgroup && container && comm && pid && rss
    }
}

/// The path and every cgroup above it.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| match path.rfind('/')? {
        0 if path.len() > 1 => Some("/"),
        0 => None,
        end => path.get(..end),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::{Place, Rss};

    fn victim() -> Victim {
        Victim {
            pid: Some(7),
            comm: Some("java".to_owned()),
            place: Place::of(Some("/kubepods/pod1/app".to_owned())),
            rss: Some(Rss {
                anon_bytes: 1,
                file_bytes: 0,
                shmem_bytes: 0,
                total_bytes: 10 << 20,
                error_bytes: 0,
            }),
            ..Victim::default()
        }
    }

    fn passes(args: &FilterArgs) -> bool {
        Filter::new(args).passes_victim(&victim())
    }

    /// Guards what each filter lets through, and what it does not.
    #[test]
    fn filters_look_at_the_victim() {
        let none = FilterArgs::default;
        for cgroup in ["/kubepods/pod1/app", "/kubepods", "/kubepods/", "/kubepods/pod*", "*app", "/"] {
            assert!(passes(&FilterArgs { cgroup: Some(cgroup.to_owned()), ..none() }), "{cgroup}");
        }
        for cgroup in ["/kube", "/kubepods/pod1/ap", "/pod1", ""] {
            let shown = passes(&FilterArgs { cgroup: Some(cgroup.to_owned()), ..none() });
            assert_eq!(shown, cgroup.is_empty(), "{cgroup}");
        }
        assert!(passes(&FilterArgs { comm: Some("ja*".to_owned()), pid: Some(7), ..none() }));
        assert!(!passes(&FilterArgs { comm: Some("jav".to_owned()), ..none() }));
        assert!(!passes(&FilterArgs { pid: Some(8), ..none() }));
        assert!(passes(&FilterArgs { min_rss: Some(10 << 20), ..none() }));
        assert!(!passes(&FilterArgs { min_rss: Some((10 << 20) + 1), ..none() }));
    }

    /// Guards the filter by container: people know the first digits of an id.
    #[test]
    fn a_container_is_known_by_how_its_id_begins() {
        let id = "4e9bf3a17c02".repeat(5) + "4e9b";
        let within = Victim { place: Place::of(Some(format!("/docker/{id}"))), ..victim() };
        let filter = |container: &str| {
            Filter::new(&FilterArgs { container: Some(container.to_owned()), ..FilterArgs::default() })
        };
        for pattern in [id.as_str(), "4e9bf3a17c02", "*", "*3a17c02*"] {
            assert!(filter(pattern).passes_victim(&within), "{pattern}");
        }
        assert!(!filter("e9bf3a17c02").passes_victim(&within));
        assert!(!filter("*").passes_victim(&victim()), "it is in no container");
    }
}
