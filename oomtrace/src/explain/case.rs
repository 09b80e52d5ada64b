//! What rules see of an incident, and what several of them ask of it.

use super::earlier::Times;
use crate::{
    host::settings::Settings,
    incident::{
        Candidate, Cause, Cgroup, HostMemory, Incident, Limit, Place, ScopeKind, Verdict, Victim, Zone,
    },
};

/// An incident, and how the machine was set up, where that is known.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// The incident.
    pub incident: &'a Incident,
    /// The settings.
    pub settings: Option<&'a Settings>,
    /// How often the same has died of late, if that was counted.
    pub times: Option<&'a Times>,
}

/// A memory cgroup at its limit.
#[derive(Clone, Copy, Debug)]
pub struct Hit<'a> {
    /// Its usage and limits.
    pub level: &'a Limit,
    /// The limit that was reached: of memory, or (v1) of memory and swap.
    pub limit_bytes: u64,
    /// Whether that is of memory and swap.
    pub with_swap: bool,
    /// Whether it is the victim's own cgroup, or that of its container or unit.
    pub own: bool,
}

/// What a process can have of memory at the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room<'a> {
    /// How much.
    pub bytes: u64,
    /// The path of the memory cgroup whose limit that is; `None`: it is the machine's memory.
    pub of: Option<&'a str>,
}

impl<'a> Case<'a> {
    /// Who was chosen.
    #[must_use]
    pub fn victim(&self) -> Option<&'a Victim> {
        self.incident.victims.first().filter(|victim| victim.verdict != Some(Verdict::AlreadyExiting))
    }

    /// The memory cgroup at its limit, where one ran out.
    #[must_use]
    pub fn hit(&self) -> Option<Hit<'a>> {
        let scope = &self.incident.scope;
        let path = scope.memcg.as_ref().filter(|_| scope.kind == Some(ScopeKind::Memcg))?.path.as_deref()?;
        let level = scope.limits.iter().find(|level| level.path == path)?;
        let full = |usage: Option<u64>, limit: Option<u64>| usage >= limit && limit.is_some();
        // v1: both have a limit, and either makes a charge fail.
        let with_swap = full(level.memsw_usage_bytes, level.memsw_limit_bytes)
            && !full(level.usage_bytes, level.limit_bytes);
        let limit_bytes = if with_swap { level.memsw_limit_bytes } else { level.limit_bytes }?;
        let own = self.victim().is_some_and(|victim| is_home(path, &victim.place));
        Some(Hit { level, limit_bytes, with_swap, own })
    }

    /// The memory cgroup at its limit, as what can be done about it wants it: where the number of its hierarchy is not known, as by
    /// a log, version 1 shows in what is limited with swap; its number stands for any then.
    #[must_use]
    pub fn limited(&self) -> Option<Cgroup> {
        let scope = &self.incident.scope;
        let mut memcg = scope.memcg.clone()?;
        let level = scope.limits.iter().find(|level| Some(&level.path) == memcg.path.as_ref());
        let legacy = level.is_some_and(|level| level.memsw_usage_bytes.is_some());
        memcg.hierarchy = memcg.hierarchy.or(legacy.then_some(1));
        Some(memcg)
    }

    /// Whether nodes' memory ran out: not a cgroup's, and not because an operator asked for a kill.
    #[must_use]
    pub fn nodes_ran_out(&self) -> bool {
        let scope = &self.incident.scope;
        matches!(scope.kind, Some(ScopeKind::Global | ScopeKind::Cpuset | ScopeKind::Mempolicy))
            && scope.cause != Some(Cause::Sysrq)
    }

    /// Whether the whole machine's memory ran out.
    #[must_use]
    pub fn machine_ran_out(&self) -> bool {
        self.nodes_ran_out() && self.incident.scope.kind == Some(ScopeKind::Global)
    }

    /// All memory of the machine.
    #[must_use]
    pub fn memory_bytes(&self) -> Option<u64> {
        let seen = self.incident.host_memory.as_ref().and_then(|memory| memory.mem_total_bytes);
        seen.or_else(|| self.settings?.memory_bytes)
    }

    /// What memory was used for, where nodes ran out.
    #[must_use]
    pub fn used(&self) -> Option<&'a HostMemory> {
        self.incident.host_memory.as_ref().filter(|_| self.nodes_ran_out())
    }

    /// `vm.min_free_kbytes`: the zones' watermarks without their boost come to it.
    #[must_use]
    pub fn min_free_bytes(&self) -> Option<u64> {
        let set = self.settings.and_then(|settings| settings.min_free_kbytes?.checked_mul(1024));
        let of_zones = || {
            let mut each = self.zones().map(|zone| zone.min_bytes?.checked_sub(zone.boost_bytes?));
            each.try_fold(0_u64, |sum, one| sum.checked_add(one?)).filter(|sum| *sum > 0)
        };
        set.or_else(of_zones)
    }

    /// Swap space, and what of it is free.
    #[must_use]
    pub fn swap(&self) -> Option<(u64, u64)> {
        let of_settings =
            self.settings.and_then(|settings| Some((settings.swap_total_bytes?, settings.swap_free_bytes?)));
        of_settings.or_else(|| {
            let memory = self.incident.host_memory.as_ref()?;
            Some((memory.swap_total_bytes?, memory.swap_free_bytes.or(memory.swap_free_after_bytes)?))
        })
    }

    /// What a process can have at the most, by the limits above it and the machine's memory.
    #[must_use]
    pub fn room(&self) -> Option<Room<'a>> {
        let limits = self.incident.scope.limits.iter();
        let limits =
            limits.filter_map(|level| Some(Room { bytes: level.limit_bytes?, of: Some(&level.path) }));
        let machine = self.memory_bytes().map(|bytes| Room { bytes, of: None });
        limits.chain(machine).min_by_key(|room| room.bytes)
    }

    /// The candidate that had most memory and swap. With one of several processes left out it would be another one's.
    #[must_use]
    pub fn biggest(&self) -> Option<(&'a Candidate, u64)> {
        let sizes = self.incident.candidates.iter().filter_map(|one| Some((one, size_of(one)?)));
        sizes.max_by_key(|(_, size)| *size)
    }

    /// Zones that the request could be served from, with what tells whether they are short.
    pub fn zones(&self) -> impl Iterator<Item = &'a Zone> {
        self.incident.zones.iter().filter(|_| self.nodes_ran_out())
    }
}

/// Memory and swap of a candidate.
pub fn size_of(candidate: &Candidate) -> Option<u64> {
    Some(candidate.rss_bytes?.saturating_add(candidate.swap_bytes.unwrap_or(0)))
}

/// What a victim had of memory that a limit counts as its own: file pages may be charged to others.
pub fn own_bytes(victim: &Victim) -> Option<u64> {
    let best = victim.rss.map(|rss| rss.anon_bytes.saturating_add(rss.shmem_bytes));
    // Before 4.5 shared memory is among files'.
    best.or_else(|| {
        let rss = victim.rss_kernel?;
        Some(rss.anon_bytes?.saturating_add(rss.shmem_bytes.unwrap_or(0)))
    })
}

/// Whether a cgroup is where a task lives: its own, or the one that its container or its unit is known by.
fn is_home(path: &str, place: &Place) -> bool {
    if place.cgroup.as_deref() == Some(path) {
        return true;
    }
    let of_path = Place::of(Some(path.to_owned()));
    match (&of_path.container, &place.container) {
        (Some(one), Some(other)) => one.id == other.id,
        (None, None) => of_path.unit.is_some() && of_path.unit == place.unit,
        _ => false,
    }
}
