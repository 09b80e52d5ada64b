//! What led to an incident: by the samples before it, and by what the kernel itself had at that moment.

use std::collections::BTreeMap;

use super::{
    growth::{Growth, Point},
    memory::Memory,
    sample::{Key, Machine, Pressure, Process, Sample, Size, size_of},
};
use crate::incident::{
    Before, CoursePoint, Grower, GrowerKind, Incident, MachineChange, Place, ScopeKind, Victim,
};

/// Moments of the course that are told.
const MOMENTS: usize = 32;
/// Processes that are told.
const PROCESSES: usize = 5;
/// Cgroups that are told.
const CGROUPS: usize = 3;
/// What grew less is not told.
const LEAST_BYTES: u64 = 1 << 20;
/// Times of begins are told in ticks of a hundredth of a second, rounded down.
const SAME_BEGIN_NS: u64 = 20_000_000;

/// What is told of an incident, and what of it is missing.
#[derive(Debug)]
pub struct Told {
    pub before: Before,
    pub missing: BTreeMap<String, String>,
}

/// An incident, and the samples before it.
struct Look<'a> {
    memory: &'a Memory,
    samples: Vec<&'a Sample>,
    last: &'a Sample,
    incident: &'a Incident,
    /// The memory cgroup that ran out; `None`: the whole machine did.
    memcg: Option<&'a str>,
    /// When it happened, by the clock of incidents, and by the one that stops while the machine is suspended.
    boot_ns: u64,
    awake_ns: u64,
}

impl Told {
    /// What led to an incident.
    ///
    /// # Errors
    /// Why that is not known.
    pub fn of(memory: &Memory, incident: &Incident) -> Result<Self, String> {
        let look = Look::at(memory, incident)?;
        let mut missing = BTreeMap::new();
        let course = look.course();
        let lacks = |of: fn(&CoursePoint) -> bool| !course.iter().any(of);
        if lacks(|point| point.some_hundredths_percent.is_some()) {
            let reason = "the kernel does not tell of pressure (PSI is left out of it, or not switched on)";
            missing.insert("before.course[].some_hundredths_percent".to_owned(), reason.to_owned());
        }
        if look.memcg.is_some() && course.iter().filter(|point| point.usage_bytes.is_some()).count() < 2 {
            let reason = "the flight recorder has no sample of this cgroup: it was made after the last one, or is one of too many";
            missing.insert("before.course[].usage_bytes".to_owned(), reason.to_owned());
        }
        let before = Before {
            span_ns: look.samples.first().map_or(0, |first| look.ago_ns(first)),
            samples: u32::try_from(look.samples.len()).unwrap_or(u32::MAX),
            interval_ns: memory.interval_ns,
            course,
            machine: look.machine(),
            growers: look.growers(),
            victim_grown_bytes: look.victim_grown(),
        };
        Ok(Self { before, missing })
    }
}

impl<'a> Look<'a> {
    fn at(memory: &'a Memory, incident: &'a Incident) -> Result<Self, String> {
        let boot_ns =
            incident.common.boot_ns.ok_or("when this was by the flight recorder's clock is not known")?;
        let memcg = incident.scope.memcg.as_ref().and_then(|memcg| memcg.path.as_deref());
        let memcg = match incident.scope.kind {
            Some(ScopeKind::Global) => None,
            Some(ScopeKind::Memcg) => {
                Some(memcg.ok_or("which cgroup ran out is not known, so neither is its course")?)
            }
            Some(ScopeKind::Cpuset | ScopeKind::Mempolicy) => {
                return Err("the flight recorder does not follow the memory of single nodes".to_owned());
            }
            None => return Err("what ran out is not known, so neither is its course".to_owned()),
        };
        let samples = memory.until(boot_ns);
        let [_, .., last] = samples[..] else {
            return Err(format!(
                "the flight recorder has too few samples from before this ({}): it began a moment ago, or the machine was suspended",
                samples.len()
            ));
        };
        let awake_ns = last.at.awake_ns.saturating_add(boot_ns.saturating_sub(last.at.boot_ns));
        Ok(Self { memory, samples, last, incident, memcg, boot_ns, awake_ns })
    }

    fn ago_ns(&self, sample: &Sample) -> u64 {
        self.boot_ns.saturating_sub(sample.at.boot_ns)
    }

    /// Some of the samples, evenly, the first and the last among them.
    fn shown(&self) -> impl Iterator<Item = &'a Sample> {
        let (all, most) = (self.samples.len(), self.samples.len().min(MOMENTS));
        let last = most.saturating_sub(1).max(1);
        (0..most).filter_map(move |nth| self.samples.get(nth * (all - 1) / last).copied())
    }

    fn course(&self) -> Vec<CoursePoint> {
        // A later cgroup of the same path is another one.
        let key = self.memcg.and_then(|path| self.cgroup_key(path));
        let mut before = None;
        let mut points = Vec::new();
        for sample in self.shown() {
            let (some, full) = waited(before, sample).unzip();
            points.push(CoursePoint {
                ago_ns: self.ago_ns(sample),
                available_bytes: sample.machine.available.filter(|_| self.memcg.is_none()),
                usage_bytes: key.and_then(|key| size_of(&sample.cgroups, key)),
                swap_used_bytes: sample.machine.swap_used,
                some_hundredths_percent: some,
                full_hundredths_percent: full,
            });
            before = Some(sample);
        }
        if let Some(usage_bytes) = self.memcg.and_then(|path| self.usage_now(path)) {
            points.push(CoursePoint { usage_bytes: Some(usage_bytes), ..CoursePoint::default() });
        }
        points
    }

    /// The cgroup of a path that was there at the last sample.
    fn cgroup_key(&self, path: &str) -> Option<Key> {
        let id = self.incident.scope.memcg.as_ref().filter(|memcg| memcg.path.as_deref() == Some(path));
        let id = id.and_then(|memcg| memcg.id);
        self.last.cgroups.iter().map(|size| size.key).find(|key| {
            self.memory
                .cgroup(*key)
                .is_some_and(|cgroup| &*cgroup.path == path && id.is_none_or(|id| id == cgroup.id))
        })
    }

    /// What was charged to a cgroup at the incident, if the kernel's own figure came with it.
    fn usage_now(&self, path: &str) -> Option<u64> {
        self.incident.scope.limits.iter().find(|level| level.path == path)?.usage_bytes
    }

    fn machine(&self) -> Option<MachineChange> {
        let first = self.samples.first()?;
        let change = |of: fn(&Machine) -> Option<u64>| {
            let (then, now) = (of(&first.machine)?, of(&self.last.machine)?);
            i64::try_from(now).ok()?.checked_sub(i64::try_from(then).ok()?)
        };
        Some(MachineChange {
            over_ns: self.last.at.awake_ns.saturating_sub(first.at.awake_ns),
            free_change_bytes: change(|machine| machine.free),
            anon_change_bytes: change(|machine| machine.anon),
            file_change_bytes: change(|machine| machine.file),
            shmem_change_bytes: change(|machine| machine.shmem),
            slab_change_bytes: change(|machine| machine.slab),
        })
    }

    fn growers(&self) -> Vec<Grower> {
        let mut growers = self.grown_processes();
        growers.extend(self.grown_cgroups());
        growers.sort_by_key(|grower| std::cmp::Reverse(grower.grown_bytes));
        growers
    }

    /// Those of the last sample that memory ran out for, and those that began since.
    fn grown_processes(&self) -> Vec<Grower> {
        let mut told: Vec<_> = self
            .last
            .processes
            .iter()
            .filter_map(|size| {
                let process = self.memory.process(size.key)?;
                let instant = self.instant(process.pid);
                if !self.is_within(process, instant.is_some()) || self.is_another(process) {
                    return None;
                }
                let growth = self.process_growth(size.key, process, instant)?;
                let comm = self.comm(process.pid).unwrap_or(&process.comm);
                let cgroup = process.cgroup.and_then(|key| self.memory.cgroup(key));
                let place = Place::of(cgroup.map(|cgroup| cgroup.path.to_string()));
                let now_bytes = instant.unwrap_or(size.blocks.bytes());
                let began = self.began_within(process.began_ns) && growth.bytes == now_bytes;
                Some(self.grower(process.pid, Some(comm), place, growth, now_bytes, began))
            })
            .chain(self.newcomers())
            .filter(|grower| grower.grown_bytes >= LEAST_BYTES)
            .collect();
        told.sort_by_key(|grower| std::cmp::Reverse(grower.grown_bytes));
        told.truncate(PROCESSES);
        told
    }

    /// Those that the kernel looked at, and that were not there at the last sample.
    fn newcomers(&self) -> impl Iterator<Item = Grower> {
        let victims = self.incident.victims.iter().filter_map(|victim| {
            let (pid, now_bytes) = (victim.pid?, size_of_victim(victim)?);
            let began_ns = self.began_ns(victim).filter(|began_ns| self.began_within(*began_ns))?;
            let growth = self.growth_from_nothing(now_bytes, self.boot_ns.saturating_sub(began_ns))?;
            Some((pid, victim.comm.as_deref(), victim.place.clone(), growth, now_bytes))
        });
        let candidates = self.incident.candidates.iter().filter_map(|one| {
            // It began after the last sample, which was whole: it has grown at least as fast as this.
            let began = self.last.whole && self.victim(one.pid).is_none();
            let now_bytes = one.rss_bytes.filter(|_| began)?.saturating_add(one.swap_bytes.unwrap_or(0));
            let growth = self.growth_from_nothing(now_bytes, self.ago_ns(self.last))?;
            Some((one.pid, one.comm.as_deref(), Place::default(), growth, now_bytes))
        });
        victims.chain(candidates).filter(|(pid, ..)| self.key_of(*pid).is_none()).map(
            |(pid, comm, place, growth, now_bytes)| self.grower(pid, comm, place, growth, now_bytes, true),
        )
    }

    fn growth_from_nothing(&self, bytes: u64, over_ns: u64) -> Option<Growth> {
        let from = self.awake_ns.checked_sub(over_ns)?;
        Growth::of(&[(from, 0), (self.awake_ns, bytes)])
    }

    fn grower(
        &self,
        pid: u32,
        comm: Option<&str>,
        place: Place,
        growth: Growth,
        now_bytes: u64,
        began: bool,
    ) -> Grower {
        Grower {
            kind: GrowerKind::Process,
            pid: Some(pid),
            comm: comm.map(str::to_owned),
            place,
            victim: self.victim(pid).is_some(),
            began,
            grown_bytes: growth.bytes,
            over_ns: growth.over_ns,
            rate_bytes_per_second: growth.rate(),
            now_bytes,
        }
    }

    /// The process of that pid at the last sample.
    fn key_of(&self, pid: u32) -> Option<Key> {
        self.last.processes.iter().map(|size| size.key).find(|key| {
            self.memory.process(*key).is_some_and(|process| process.pid == pid && !self.is_another(process))
        })
    }

    fn victim_grown(&self) -> Option<u64> {
        let victim = self.incident.victims.first()?;
        let pid = victim.pid?;
        let Some(key) = self.key_of(pid) else {
            let newcomer = self.newcomers().find(|grower| grower.pid == Some(pid));
            return newcomer.map(|grower| grower.grown_bytes);
        };
        let process = self.memory.process(key)?;
        let growth = self.process_growth(key, process, self.instant(pid));
        Some(growth.map_or(0, |growth| growth.bytes))
    }

    fn process_growth(&self, key: Key, process: &Process, instant: Option<u64>) -> Option<Growth> {
        let mut points = self.points(key, |sample| &sample.processes);
        if self.began_within(process.began_ns) {
            let awake_ns = self.awake_ns.checked_sub(self.boot_ns.checked_sub(process.began_ns)?);
            points.insert(0, (awake_ns?, 0));
        }
        points.extend(instant.map(|bytes| (self.awake_ns, bytes)));
        Growth::of(&points)
    }

    fn points(&self, key: Key, sizes: fn(&Sample) -> &[Size]) -> Vec<Point> {
        let point = |sample: &&Sample| Some((sample.at.awake_ns, size_of(sizes(sample), key)?));
        self.samples.iter().filter_map(point).collect()
    }

    /// Whether something began after the first sample.
    fn began_within(&self, began_ns: u64) -> bool {
        let first = self.samples.first().map_or(u64::MAX, |first| first.at.boot_ns);
        (first.saturating_add(1)..self.boot_ns).contains(&began_ns)
    }

    /// Whether memory ran out for a process: the kernel looked for a victim among those only.
    fn is_within(&self, process: &Process, was_looked_at: bool) -> bool {
        let Some(memcg) = self.memcg else { return true };
        let path = process.cgroup.and_then(|key| self.memory.cgroup(key)).map(|cgroup| &*cgroup.path);
        was_looked_at || path.is_some_and(|path| is_in(path, memcg))
    }

    /// Whether a process that the incident has by its pid is not the one that was followed.
    fn is_another(&self, process: &Process) -> bool {
        let began_ns = self.victim(process.pid).and_then(|victim| self.began_ns(victim));
        began_ns.is_some_and(|began_ns| began_ns.abs_diff(process.began_ns) > SAME_BEGIN_NS)
    }

    fn victim(&self, pid: u32) -> Option<&'a Victim> {
        self.incident.victims.iter().find(|victim| victim.pid == Some(pid))
    }

    /// When a victim began, by the clock of incidents.
    fn began_ns(&self, victim: &Victim) -> Option<u64> {
        let ago = self.incident.common.time?.0.duration_since(victim.start_time?.0).as_nanos();
        self.boot_ns.checked_sub(u64::try_from(ago).ok()?)
    }

    /// What a process had at the incident, by the kernel.
    fn instant(&self, pid: u32) -> Option<u64> {
        self.victim(pid).and_then(size_of_victim).or_else(|| {
            let one = self.incident.candidates.iter().find(|candidate| candidate.pid == pid)?;
            Some(one.rss_bytes?.saturating_add(one.swap_bytes.unwrap_or(0)))
        })
    }

    /// What it was called then.
    fn comm(&self, pid: u32) -> Option<&str> {
        let candidate = || self.incident.candidates.iter().find(|one| one.pid == pid)?.comm.as_deref();
        self.victim(pid).and_then(|victim| victim.comm.as_deref()).or_else(candidate)
    }

    fn grown_cgroups(&self) -> Vec<Grower> {
        let mut grown: Vec<_> = self
            .last
            .cgroups
            .iter()
            .filter_map(|size| {
                let cgroup = self.memory.cgroup(size.key)?;
                // Of the one that ran out the course is told.
                let within =
                    self.memcg.is_none_or(|memcg| &*cgroup.path != memcg && is_in(&cgroup.path, memcg));
                let now = within.then(|| self.usage_now(&cgroup.path))?;
                let mut points = self.points(size.key, |sample| &sample.cgroups);
                points.extend(now.map(|bytes| (self.awake_ns, bytes)));
                let growth = Growth::of(&points).filter(|growth| growth.bytes >= LEAST_BYTES)?;
                Some(Grower {
                    kind: GrowerKind::Cgroup,
                    pid: None,
                    comm: None,
                    place: Place::of(Some(cgroup.path.to_string())),
                    victim: false,
                    began: false,
                    grown_bytes: growth.bytes,
                    over_ns: growth.over_ns,
                    rate_bytes_per_second: growth.rate(),
                    now_bytes: now.unwrap_or(size.blocks.bytes()),
                })
            })
            .collect();
        grown.sort_by_key(|grower| std::cmp::Reverse(grower.grown_bytes));
        let mut told = Vec::new();
        for grower in &grown {
            let path = grower.place.cgroup.as_deref().unwrap_or_default();
            let most = grower.grown_bytes / 10 * 9;
            let explained = grown.iter().any(|other| {
                let below = other.place.cgroup.as_deref().unwrap_or_default();
                below != path && is_in(below, path) && other.grown_bytes >= most
            });
            if !explained && told.len() < CGROUPS {
                told.push(grower.clone());
            }
        }
        told
    }
}

/// Whether a cgroup is one, or within it.
fn is_in(path: &str, of: &str) -> bool {
    path.strip_prefix(of).is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || of == "/")
}

/// Memory and swap of a victim, as the sampler reckons them.
fn size_of_victim(victim: &Victim) -> Option<u64> {
    let rss = victim.rss.map(|rss| rss.total_bytes).or(victim.rss_kernel.map(|rss| rss.total_bytes))?;
    Some(rss.saturating_add(victim.swap_bytes.unwrap_or(0)))
}

/// The share of time since a sample in which some and all waited; without one, in the ten seconds before, hundredths of a percent.
fn waited(before: Option<&Sample>, sample: &Sample) -> Option<(u32, u32)> {
    let now = sample.machine.pressure?;
    let Some(before) = before else { return Some((now.some_now, now.full_now)) };
    let then = before.machine.pressure?;
    let over_ns = sample.at.awake_ns.checked_sub(before.at.awake_ns).filter(|ns| *ns > 0)?;
    let share = |of: fn(&Pressure) -> u64| {
        let waited_us = of(&now).checked_sub(of(&then))?;
        let share = u128::from(waited_us) * 10_000_000 / u128::from(over_ns);
        u32::try_from(share.min(10_000)).ok()
    };
    Some((share(|pressure| pressure.some_us)?, share(|pressure| pressure.full_us)?))
}
