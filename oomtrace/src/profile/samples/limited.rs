//! stress-ng in a cgroup of 512 MiB, with bystanders.

use super::{Chance, MIB, SECOND, cost, map};
use crate::profile::report::{
    AllocFailureCount, BogoOps, CgroupMemory, Counters, Course, End, FindingCount, ForkFailureCount,
    IncidentCounts, Kswapd, Mark, MarkKind, Point, Pressure, PressureKind, Psi, Run, Series, StressorMemory,
    VictimCount, VictimRow, Whose,
};

const COMMS: [&str; 4] = ["stress-ng-vm", "stress-ng-brk", "stress-ng-bighe", "stress-ng-mmap"];

/// A run of a minute.
pub fn limited(seed: u64) -> Run {
    let mut chance = Chance(seed);
    let course = course(&mut chance);
    let (victims, marks) = victims();
    let forks = marks.iter().filter(|mark| mark.kind == MarkKind::ForkFailure).map(|mark| mark.count).sum();
    let name = |whose, comm: &str, kills, bytes| VictimCount {
        whose,
        comm: Some(comm.to_owned()),
        kills,
        largest_rss_bytes: Some(bytes),
        first_at_ns: 6_400_000_000,
        last_at_ns: 50_000_000_000,
    };
    let pressure = pressure(&mut chance);
    Run {
        started: "2026-11-28T18:41:20.123456789Z".into(),
        duration_ns: 60 * SECOND + 112_000_000,
        end: End { exit_status: Some(0), ..End::default() },
        incidents: IncidentCounts {
            count: 10,
            by_scope: map(&[("memcg", 7), ("global", 3)]),
            by_outcome: map(&[("killed", 10)]),
            kills: 10,
            own_kills: 7,
            bystander_kills: 3,
            userspace_kills: 0,
        },
        victims,
        victims_by_name: vec![
            name(Whose::Bystander, "redis-server", 1, 64 * MIB),
            name(Whose::Bystander, "postgres", 1, 41 * MIB),
            name(Whose::Bystander, "java", 1, 412 * MIB),
            name(Whose::Own, "stress-ng-vm", 7, 198 * MIB),
        ],
        fork_failures: fork_failures(forks),
        alloc_failures: vec![AllocFailureCount {
            whose: Whose::Own,
            comm: Some("stress-ng-mmap".into()),
            what: "page_fault".into(),
            count: 3,
        }],
        pressure,
        stall: chance.latency(60_000_000, 10),
        relief: chance.latency(9_000_000, 10),
        decision: Some(chance.latency(400_000, 10)),
        cgroup: Some(cgroup(forks)),
        stressors: COMMS
            .iter()
            .zip([230, 150, 110, 60])
            .map(|(comm, mib)| StressorMemory {
                comm: (*comm).to_owned(),
                peak_rss_bytes: mib * MIB,
                peak_swap_bytes: mib * MIB / 10,
                most_processes: 4,
            })
            .collect(),
        counters: counters(),
        psi: Some(Psi { some_ns: 11 * SECOND, full_ns: 3 * SECOND }),
        kswapd: Some(Kswapd {
            cpu_ns: 1_310_000_000,
            scanned_bytes: 4_100 * MIB,
            reclaimed_bytes: 1_900 * MIB,
        }),
        course: Course { marks, ..course },
        findings: findings(),
        bogo_ops: bogo_ops(),
        cost: cost(),
    }
}

fn course(chance: &mut Chance) -> Course {
    let count = 240;
    let mut points = Vec::new();
    let mut series: Vec<Series> =
        COMMS.iter().map(|comm| Series { comm: Some((*comm).to_owned()), rss_bytes: Vec::new() }).collect();
    for nth in 0..count {
        let wave = (nth % 30).min(22);
        let mut own = 0;
        for (which, one) in series.iter_mut().enumerate() {
            let share = [9, 6, 4, 2][which];
            let bytes = wave * share * MIB + chance.below(8 * MIB);
            one.rss_bytes.push(bytes);
            own += bytes;
        }
        points.push(Point {
            at_ns: nth * SECOND / 4,
            available_bytes: Some((14_800 - own / MIB) * MIB),
            swap_used_bytes: Some(nth * MIB / 2),
            cgroup_bytes: Some((own + 20 * MIB).min(512 * MIB)),
            own_rss_bytes: Some(own),
            psi_some: Some(if wave > 20 { 0.2 + 0.5 * chance.part() } else { 0.01 }),
            waiting: Some(if wave > 20 { 2.0 * chance.part() } else { 0.0 }),
            major_faults_per_second: Some(if wave > 20 { 900.0 * chance.part() } else { 3.0 }),
            swapped_bytes_per_second: Some(if wave > 20 { 9e6 * chance.part() } else { 0.0 }),
        });
    }
    Course { interval_ns: SECOND / 4, points, stressors: series, ..Course::default() }
}

fn victims() -> (Vec<VictimRow>, Vec<Mark>) {
    let mut victims = Vec::new();
    let mut marks = Vec::new();
    let mut kill = |at_ns, whose, comm: &str, bytes, line: &str| {
        let bystander = whose == Whose::Bystander;
        marks.push(Mark {
            at_ns,
            kind: if bystander { MarkKind::BystanderKill } else { MarkKind::OwnKill },
            count: 1,
            comm: Some(comm.to_owned()),
        });
        victims.push(VictimRow {
            at_ns,
            incident: format!("i{at_ns}"),
            whose,
            pid: Some(u32::try_from(4000 + at_ns / SECOND).unwrap()),
            comm: Some(comm.to_owned()),
            cmdline: Some(line.to_owned()),
            verdict: Some("killed".into()),
            rss_bytes: Some(bytes),
            swap_bytes: Some(bytes / 20),
            oom_score_adj: Some(if bystander { 0 } else { 1000 }),
            cgroup: Some(
                if bystander { "/system.slice/redis-server.service" } else { "/oomtrace-run-4711" }.into(),
            ),
            scope: if bystander { "global" } else { "memcg" }.into(),
            scope_path: (!bystander).then(|| "/oomtrace-run-4711".into()),
            trigger_comm: Some("stress-ng-vm".into()),
            trigger_whose: Whose::Own,
            stall_ns: Some(214_000_000),
            freed_ns: Some(31_000_000),
        });
    };
    for wave in 1..8 {
        let at = wave * 7_500_000_000 - SECOND - wave * 100_000_000;
        kill(
            at,
            Whose::Own,
            "stress-ng-vm",
            198 * MIB,
            "stress-ng --vm 2 --vm-bytes 512M --brk 2 --bigheap 1 --timeout 60s",
        );
    }
    kill(21_000_000_000, Whose::Bystander, "redis-server", 64 * MIB, "/usr/bin/redis-server 127.0.0.1:6379");
    kill(21_600_000_000, Whose::Bystander, "postgres", 41 * MIB, "postgres: 15/main: checkpointer");
    kill(
        44_000_000_000,
        Whose::Bystander,
        "java",
        412 * MIB,
        "java -Xmx700m -cp /opt/shop/lib/* com.example.shop.Main --spring.config.location=/etc/shop/application.yaml --server.port=8080",
    );
    for nth in 0..40_u64 {
        marks.push(Mark {
            at_ns: (30 + nth % 10) * SECOND + nth,
            kind: MarkKind::ForkFailure,
            count: 30 + nth,
            comm: Some("stress-ng-fork".into()),
        });
    }
    marks.sort_by_key(|mark| mark.at_ns);
    victims.sort_by_key(|victim| (victim.whose, victim.at_ns));
    (victims, marks)
}

fn pressure(chance: &mut Chance) -> Vec<Pressure> {
    let mut pressure = Vec::new();
    for (kind, whose, comm, ns, count) in [
        (PressureKind::MemcgReclaim, Whose::Own, "stress-ng-vm", 60_000, 21_411),
        (PressureKind::MemcgReclaim, Whose::Own, "stress-ng-brk", 41_000, 9_120),
        (PressureKind::DirectReclaim, Whose::Own, "stress-ng-bighe", 220_000, 3_110),
        (PressureKind::DirectReclaim, Whose::Bystander, "redis-server", 900_000, 212),
        (PressureKind::DirectReclaim, Whose::Bystander, "postgres", 700_000, 41),
        (PressureKind::Compaction, Whose::Bystander, "kcompactd0", 1_400_000, 55),
        (PressureKind::Compaction, Whose::Own, "stress-ng-mmap", 90_000, 320),
    ] {
        let latency = chance.latency(ns, count);
        let freed = (kind != PressureKind::Compaction).then_some(count * 32 * 4096);
        pressure.push(Pressure { kind, whose, comm: Some(comm.to_owned()), latency, reclaimed_bytes: freed });
    }
    pressure
}

fn fork_failures(forks: u64) -> Vec<ForkFailureCount> {
    vec![
        ForkFailureCount {
            whose: Whose::Own,
            comm: Some("stress-ng-fork".into()),
            cause: "pids_max".into(),
            errno_name: Some("EAGAIN".into()),
            count: forks,
            limit: Some(64),
            limit_at: Some("/oomtrace-run-4711".into()),
            first_at_ns: 30 * SECOND,
            last_at_ns: 39 * SECOND,
        },
        ForkFailureCount {
            whose: Whose::Bystander,
            comm: Some("cron".into()),
            cause: "memory".into(),
            errno_name: Some("ENOMEM".into()),
            count: 2,
            first_at_ns: 21 * SECOND,
            last_at_ns: 22 * SECOND,
            ..ForkFailureCount::default()
        },
    ]
}

fn cgroup(forks: u64) -> CgroupMemory {
    CgroupMemory {
        path: "/oomtrace-run-4711".into(),
        peak_bytes: Some(512 * MIB),
        peak_from: Some("memory.peak".into()),
        limit_bytes: Some(512 * MIB),
        events: map(&[
            ("low", 0),
            ("high", 0),
            ("max", 30_112),
            ("oom", 7),
            ("oom_kill", 7),
            ("pids.max", forks),
        ]),
        psi: Some(Psi { some_ns: 9 * SECOND, full_ns: 2 * SECOND }),
        most_pids: Some(64),
        ..CgroupMemory::default()
    }
}

fn counters() -> Counters {
    Counters(map(&[
        ("oom_kill", 10),
        ("pgmajfault", 21_310),
        ("allocstall_normal", 3_363),
        ("pswpin", 10_211),
        ("pswpout", 41_102),
        ("compact_stall", 320),
        ("pgscan_direct", 812_000),
        ("pgsteal_direct", 399_000),
        ("pgscan_kswapd", 0),
    ]))
}

fn findings() -> Vec<FindingCount> {
    vec![
            FindingCount {
                id: "collateral".into(),
                severity: "critical".into(),
                count: 3,
                summary: "The machine ran out of memory because of stress-ng-vm (pid 4017), and redis-server (pid 4021), which had not grown, was killed for it.".into(),
                fixes: vec![
                    "protect what must live by a lower score: systemctl set-property redis-server.service OOMScoreAdjust=-500".into(),
                    "give the test a limit of its own: oomtrace run --cgroup-limit 512M -- …".into(),
                ],
            },
            FindingCount {
                id: "fork_pids_max".into(),
                severity: "warning".into(),
                count: 40,
                summary: "Forks failed with EAGAIN since /oomtrace-run-4711 may have 64 processes and threads (pids.max).".into(),
                fixes: vec!["raise the limit: oomtrace run --pids-limit 256 -- …".into()],
            },
            FindingCount { id: "memcg_limit".into(), severity: "notice".into(), count: 7, summary: "The memory cgroup /oomtrace-run-4711 reached its limit of 512.0 MiB.".into(), fixes: vec![] },
        ]
}

fn bogo_ops() -> Vec<BogoOps> {
    [
        ("vm", 412_311, 6_870.2),
        ("brk", 9_120_331, 152_005.5),
        ("bigheap", 55_112, 918.4),
        ("mmap", 812, 13.53),
    ]
    .map(|(stressor, ops, rate)| BogoOps {
        stressor: stressor.into(),
        bogo_ops: ops,
        wall_ns: Some(60 * SECOND),
        per_second: Some(rate),
        cpu_ns: Some(54 * SECOND),
    })
    .into()
}
