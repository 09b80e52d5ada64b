//! What is told of incidents, by samples that are made up.

use std::time::Duration;

use super::{
    memory::Memory,
    sample::{Blocks, Cgroup, Key, Machine, Moment, Pressure, Process, Reading, Sample, Size},
};
use crate::{
    explain::tests::{MIB, candidate, global, memcg},
    incident::{Before, GrowerKind, Incident, ScopeKind, WallTime},
};

const SECOND: u64 = 1_000_000_000;
/// When the first sample is taken.
const BEGIN: u64 = 5000 * SECOND;
const APP: Key = Key(0);
const OTHER: Key = Key(1);
const OUTSIDE: Key = Key(2);

/// What a sample has: a second, and MiB of the three processes and of the three cgroups.
type Row = (u64, [u64; 3], [u64; 3]);

fn process(pid: u32, began_ns: u64, comm: &str, cgroup: u32) -> Process {
    Process { pid, began_ns, comm: comm.into(), cgroup: Some(Key(cgroup)) }
}

fn sizes(mib: [u64; 3]) -> Box<[Size]> {
    let sizes = mib.into_iter().zip(0..).filter(|(mib, _)| *mib > 0);
    sizes.map(|(mib, key)| Size { key: Key(key), blocks: Blocks::of(mib * MIB) }).collect()
}

/// A recorder that took these samples. `app` (10) and `other` (11) run in /web, and `outside` (12) in /elsewhere.
fn memory(rows: &[Row]) -> Memory {
    let mut memory = Memory::new(61, Duration::from_secs(10));
    for (second, processes, cgroups) in rows {
        let at = Moment { boot_ns: BEGIN + second * SECOND, awake_ns: second * SECOND };
        let machine = Machine {
            available: Some((1000 - processes.iter().sum::<u64>()) * MIB),
            anon: Some(processes.iter().sum::<u64>() * MIB),
            free: Some(7),
            swap_used: Some(second * MIB),
            pressure: Some(Pressure { some_us: second * 100_000, full_us: 0, some_now: 7, full_now: 0 }),
            ..Machine::default()
        };
        let sample =
            Sample { at, machine, processes: sizes(*processes), cgroups: sizes(*cgroups), whole: true };
        let cgroup = |path: &str, id| Cgroup { path: path.into(), id };
        let reading = Reading {
            sample,
            processes: vec![
                (APP, process(10, SECOND, "app", 0)),
                (OTHER, process(11, SECOND, "other", 0)),
                (OUTSIDE, process(12, SECOND, "outside", 1)),
            ],
            cgroups: vec![
                (Key(0), cgroup("/web", 7)),
                (Key(1), cgroup("/elsewhere", 8)),
                (Key(2), cgroup("/web/child", 9)),
            ],
        };
        memory.push(reading, 1000);
    }
    memory
}

/// An incident so many seconds after the first sample.
fn at(mut incident: Incident, second: u64) -> Incident {
    incident.common.boot_ns = Some(BEGIN + second * SECOND);
    incident.common.time = Some(WallTime::from_ns(i128::from(BEGIN + second * SECOND)));
    incident
}

fn complete(memory: &Memory, mut incident: Incident) -> Incident {
    memory.complete(&mut incident);
    incident
}

fn before(memory: &Memory, incident: Incident) -> Before {
    let incident = complete(memory, incident);
    *incident.before.unwrap_or_else(|| panic!("{:?}", incident.missing))
}

/// Pid, MiB, seconds, rate in MiB a second, MiB now.
fn figures(before: &Before) -> Vec<(Option<u32>, u64, u64, u64, u64)> {
    let of = |one: &crate::incident::Grower| {
        let rate = one.rate_bytes_per_second / MIB;
        (one.pid, one.grown_bytes / MIB, one.over_ns / SECOND, rate, one.now_bytes / MIB)
    };
    before.growers.iter().map(of).collect()
}

const GROWING: [Row; 4] = [
    (0, [100, 50, 10], [150, 10, 0]),
    (10, [100, 150, 10], [250, 10, 0]),
    (20, [100, 250, 10], [350, 10, 0]),
    (30, [100, 350, 10], [450, 10, 0]),
];

/// Guards the whole machine: its course until the last sample, who grew at which rate, and that the victim did not; what the kernel
/// had of whoever it looked at counts up to the incident.
#[test]
fn a_machine_is_told_with_who_grew() {
    let mut incident = at(global(), 35);
    incident.candidates = vec![candidate("other", 11, 400, 0), candidate("app", 10, 100, 0)];
    incident.victims[0].rss.as_mut().unwrap().total_bytes = 100 * MIB;
    let told = before(&memory(&GROWING), incident);
    assert_eq!((told.span_ns, told.samples, told.interval_ns), (35 * SECOND, 4, 10 * SECOND));
    let course: Vec<_> = told
        .course
        .iter()
        .map(|point| (point.ago_ns / SECOND, point.available_bytes.unwrap() / MIB))
        .collect();
    assert_eq!(course, [(35, 840), (25, 740), (15, 640), (5, 540)]);
    let waited: Vec<_> = told.course.iter().map(|point| point.some_hundredths_percent.unwrap()).collect();
    assert_eq!(waited, [7, 1000, 1000, 1000]);
    assert_eq!(told.course[3].swap_used_bytes, Some(30 * MIB));
    let machine = told.machine.unwrap();
    assert_eq!((machine.over_ns, machine.anon_change_bytes), (30 * SECOND, Some(300 * 1_048_576)));
    assert_eq!((machine.free_change_bytes, machine.slab_change_bytes), (Some(0), None));
    assert_eq!(figures(&told), [(None, 450, 35, 12, 600), (Some(11), 350, 35, 10, 400)]);
    assert_eq!((told.victim_grown_bytes, told.growers[0].victim), (Some(0), false));
    assert_eq!(told.growers[1].place.cgroup.as_deref(), Some("/web"));
}

/// Guards the scope of a memory cgroup: its course up to the kernel's own figure at the incident, and whoever grew in it, but nobody
/// outside.
#[test]
fn a_group_is_told_with_who_grew_in_it() {
    let rows =
        [(0, [10, 5, 100], [15, 100, 2]), (10, [14, 5, 300], [19, 300, 4]), (20, [18, 5, 500], [23, 500, 6])];
    let told = before(&memory(&rows), at(memcg(), 26));
    let course: Vec<_> =
        told.course.iter().map(|point| (point.ago_ns / SECOND, point.usage_bytes.unwrap() / MIB)).collect();
    assert_eq!(course, [(26, 15), (16, 19), (6, 23), (0, 32)]);
    assert!(told.course.iter().all(|point| point.available_bytes.is_none()));
    // `other` has 2 MiB by the ballot: it shrank.
    assert_eq!(figures(&told), [(Some(10), 21, 26, 0, 31), (None, 4, 20, 0, 6)]);
    assert_eq!((told.growers[0].victim, told.growers[1].kind), (true, GrowerKind::Cgroup));
    assert_eq!(
        (told.victim_grown_bytes, told.growers[0].rate_bytes_per_second),
        (Some(21 * MIB), 21 * MIB / 26)
    );
}

/// Guards samples from after the incident: by then its memory is free again.
#[test]
fn what_comes_after_does_not_count() {
    let mut rows = GROWING.to_vec();
    rows.push((40, [0, 1, 10], [1, 10, 0]));
    let mut incident = at(global(), 35);
    incident.candidates.clear();
    incident.scope.limits.clear();
    incident.victims[0].rss = None;
    let expected = [(Some(11), 300, 30, 10, 350), (None, 300, 30, 10, 450)];
    assert_eq!(figures(&before(&memory(&rows), incident)), expected);
}

/// Guards identity: a victim that has the pid of a process that was followed, and began later, is another one: it grew from nothing.
#[test]
fn a_later_process_of_that_pid_is_another() {
    let mut incident = at(global(), 35);
    incident.candidates.clear();
    incident.victims[0].start_time = Some(WallTime::from_ns(i128::from(BEGIN + 31 * SECOND)));
    let told = before(&memory(&GROWING), incident.clone());
    assert_eq!(figures(&told)[0], (Some(10), 601, 4, 150, 601));
    assert!(told.growers[0].began && told.growers[0].victim);
    assert_eq!(told.victim_grown_bytes, Some(601 * MIB));
    // The very process: the kernel tells hundredths of a second.
    incident.victims[0].start_time = Some(WallTime::from_ns(i128::from(SECOND + 9_000_000)));
    assert_eq!(figures(&before(&memory(&GROWING), incident))[0], (Some(10), 501, 5, 100, 601));
}

/// Guards whoever the kernel looked at and no sample has: it began since the last one, if that was whole.
#[test]
fn who_began_since_the_last_sample_grew_from_nothing() {
    let mut incident = at(global(), 32);
    incident.candidates = vec![candidate("late", 99, 200, 0)];
    let told = before(&memory(&GROWING), incident.clone());
    assert!(figures(&told).contains(&(Some(99), 200, 2, 100, 200)));
    assert!(told.growers.iter().any(|one| one.pid == Some(99) && one.began));
    let mut partial = memory(&GROWING);
    let sample = Sample { whole: false, ..Sample::default() };
    let at = Moment { boot_ns: BEGIN + 31 * SECOND, awake_ns: 31 * SECOND };
    partial.push(Reading { sample: Sample { at, ..sample }, ..Reading::default() }, 0);
    assert!(before(&partial, incident).growers.iter().all(|one| one.pid != Some(99)));
}

/// Guards reasons: with too few samples, of nodes, and where it is not known what ran out or when, nothing is made up.
#[test]
fn what_is_not_known_has_a_reason() {
    let few = complete(&memory(&GROWING[..1]), at(global(), 5));
    assert!(few.before.is_none() && few.missing["before"].contains("too few samples"));
    let mut nodes = at(global(), 35);
    nodes.scope.kind = Some(ScopeKind::Cpuset);
    let mut unknown = at(memcg(), 35);
    unknown.scope.memcg = None;
    let mut timeless = at(global(), 35);
    timeless.common.boot_ns = None;
    for (incident, reason) in
        [(nodes, "single nodes"), (unknown, "which cgroup"), (timeless, "by the flight")]
    {
        let told = complete(&memory(&GROWING), incident);
        assert!(told.before.is_none() && told.missing["before"].contains(reason), "{:?}", told.missing);
    }
    // A cgroup of that path that was made again.
    let mut again = at(memcg(), 35);
    again.scope.memcg.as_mut().unwrap().id = Some(77);
    let told = complete(&memory(&GROWING), again);
    assert!(told.missing.contains_key("before.course[].usage_bytes"));
    assert_eq!(told.before.unwrap().course.iter().filter(|point| point.usage_bytes.is_some()).count(), 1);
}

/// Guards clocks: minutes in which the machine was suspended slow no rate, and what was before hours of them is not told.
#[test]
fn a_suspended_machine_does_not_grow() {
    let mut memory = Memory::new(61, Duration::from_secs(10));
    for (boot, awake, mib) in [(0, 0, 100), (10, 10, 200), (320, 20, 300), (330, 30, 400)] {
        let at = Moment { boot_ns: BEGIN + boot * SECOND, awake_ns: awake * SECOND };
        let processes = sizes([mib, 0, 0]);
        let sample = Sample { at, processes, whole: true, ..Sample::default() };
        let processes = vec![(APP, process(10, SECOND, "app", 0))];
        memory.push(Reading { sample, processes, cgroups: Vec::new() }, 0);
    }
    let mut incident = at(global(), 330);
    incident.candidates.clear();
    incident.victims[0].pid = None;
    assert_eq!(figures(&before(&memory, incident.clone())), [(Some(10), 300, 30, 10, 400)]);
    let hours_later = complete(&memory, at(incident, 9000));
    assert!(hours_later.missing["before"].contains("suspended"));
}

/// Guards bounds: samples are no more than were asked for, the course is short, and who has gone is forgotten.
#[test]
fn memory_is_bounded() {
    let rows: Vec<Row> = (0..200).map(|n| (n * 10, [100 + n, 50, 10], [150, 10, 0])).collect();
    let mut memory = memory(&rows);
    let told = before(&memory, at(global(), 1991));
    assert_eq!((told.samples, told.course.len()), (61, 32));
    assert_eq!((told.course[0].ago_ns, told.course[31].ago_ns), (601 * SECOND, SECOND));
    for n in 0..2000_u32 {
        let sizes = [Size { key: Key(10 + n), blocks: Blocks::of(MIB) }].into();
        let sample = Sample { processes: sizes, ..Sample::default() };
        let processes = vec![(Key(10 + n), process(n, 0, "brief", 0))];
        memory.push(Reading { sample, processes, cgroups: Vec::new() }, 0);
    }
    assert_eq!(memory.followed(), (2, 0));
    assert_eq!(memory.cost.samples, 2200);
}
