//! What died before: the same unit, container or program, again and again.

use std::collections::VecDeque;

use crate::incident::{Incident, Place, Verdict, Victim};

/// Incidents that are remembered, at most: with many that die, those that do so most often stay in view.
const REMEMBERED: usize = 1024;
/// How long they are, ns.
const WITHIN_NS: u64 = 3_600_000_000_000;

/// See the module.
#[derive(Debug, Default)]
pub struct Earlier {
    /// Whose, and when, ns since boot.
    kills: VecDeque<(String, u64)>,
}

/// How often the same has died, this time among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Times {
    /// What it is called.
    pub who: String,
    /// How often.
    pub count: u64,
    /// In how much time, ns.
    pub window_ns: u64,
}

impl Earlier {
    /// Takes an incident in, and tells how often its victim's kind has died within the last hour; `None`: nobody died, or what
    /// died cannot be told from others.
    pub fn note(&mut self, incident: &Incident) -> Option<Times> {
        let victim =
            incident.victims.first().filter(|victim| victim.verdict != Some(Verdict::AlreadyExiting))?;
        let (key, who) = name(victim)?;
        let now_ns = incident.common.clock_ns()?;
        self.kills.retain(|(_, at_ns)| now_ns.saturating_sub(*at_ns) <= WITHIN_NS);
        if self.kills.len() >= REMEMBERED {
            self.kills.pop_front();
        }
        self.kills.push_back((key.clone(), now_ns));
        let mut same = self.kills.iter().filter(|(known, _)| *known == key).map(|(_, at_ns)| *at_ns);
        let first_ns = same.next()?;
        let count = 1 + same.count() as u64;
        Some(Times { who, count, window_ns: now_ns.saturating_sub(first_ns) })
    }
}

/// What a victim is known by, when it is started anew: as a key, and for people.
fn name(victim: &Victim) -> Option<(String, String)> {
    let Place { container, unit, cgroup, .. } = &victim.place;
    if let Some(container) = container {
        // In a pod each start has a new id, and the same name.
        let of_pod = container.pod_uid.as_ref().zip(container.name.as_ref());
        let key = of_pod.map_or_else(|| container.id.clone(), |(pod, name)| format!("{pod}/{name}"));
        let who = container.name.clone().unwrap_or_else(|| container.short_id().to_owned());
        return Some((format!("container {key}"), format!("the container {who}")));
    }
    if let Some(unit) = unit.as_ref().filter(|unit| unit.as_str() != "init.scope") {
        return Some((format!("unit {}", cgroup.as_ref()?), unit.clone()));
    }
    let comm = victim.comm.as_ref()?;
    Some((format!("task {comm} {}", cgroup.as_ref()?), comm.clone()))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{memcg, memcg_in};
    use super::*;

    fn at(mut incident: Incident, seconds: u64) -> Incident {
        incident.common.boot_ns = Some(seconds * 1_000_000_000);
        incident
    }

    /// Guards who is taken for the same: by unit, container or program and place; and for how long.
    #[test]
    fn the_same_within_an_hour_are_counted() {
        let mut earlier = Earlier::default();
        let mut count = |incident: Incident| {
            earlier.note(&incident).map(|times| (times.count, times.window_ns / 1_000_000_000))
        };
        assert_eq!(count(at(memcg_in("/system.slice/a.service"), 10)), Some((1, 0)));
        assert_eq!(count(at(memcg_in("/system.slice/b.service"), 11)), Some((1, 0)));
        assert_eq!(count(at(memcg_in("/system.slice/a.service"), 70)), Some((2, 60)));
        assert_eq!(count(at(memcg(), 71)), Some((1, 0)));
        assert_eq!(count(at(memcg(), 72)), Some((2, 1)));
        let mut other = memcg();
        other.victims[0].comm = Some("other".to_owned());
        assert_eq!(count(at(other, 73)), Some((1, 0)));
        assert_eq!(
            count(at(memcg_in("/system.slice/a.service"), 3612)),
            Some((2, 3542)),
            "the first is forgotten"
        );
    }

    /// Guards the memory: it holds no more than so many, and nothing of incidents without a victim.
    #[test]
    fn memory_is_bounded() {
        let mut earlier = Earlier::default();
        for number in 0..3000 {
            earlier.note(&at(memcg_in(&format!("/system.slice/{number}.service")), 10));
        }
        assert_eq!(earlier.kills.len(), REMEMBERED);
        let mut nobody = memcg();
        nobody.victims.clear();
        assert_eq!(earlier.note(&nobody), None);
    }
}
