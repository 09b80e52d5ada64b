//! Reports to look at and to test with: such as there are, and such as there should not be.

mod extreme;
mod limited;
mod storm;

use std::collections::BTreeMap;

use oomtrace_ebpf::histogram;

use self::limited::limited;
pub use self::{
    extreme::{HOSTILE, hostile, maximal},
    storm::storm,
};
use super::report::{
    Cost, Course, End, Latency, Machine, MarkKind, Point, Report, Run, Settings, StressorMemory, Tracing,
    Whose,
};

pub const MIB: u64 = 1 << 20;
pub const SECOND: u64 = 1_000_000_000;

/// Numbers that look like chance and are the same every time (Knuth's MMIX generator).
pub struct Chance(pub u64);

impl Chance {
    /// Below `most`.
    pub fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 20) % most.max(1)
    }

    /// 0 to 1.
    pub fn part(&mut self) -> f64 {
        f64::from(u32::try_from(self.below(1 << 20)).unwrap()) / f64::from(1_u32 << 20)
    }

    /// Times around `ns`, some of them much longer.
    pub fn latency(&mut self, ns: u64, count: u64) -> Latency {
        let mut counts = [0; histogram::BUCKETS];
        let (mut total, mut most) = (0, 0);
        for _ in 0..count.min(2000) {
            let mut one = ns / 4 + self.below(ns);
            while self.below(4) == 0 {
                one *= 2;
            }
            counts[histogram::bucket(one)] += count.div_ceil(2000);
            total += one * count.div_ceil(2000);
            most = most.max(one);
        }
        Latency::of(&counts, total, most)
    }
}

pub fn map<V: Clone>(pairs: &[(&str, V)]) -> BTreeMap<String, V> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

pub fn report(command: &[&str], runs: Vec<Run>) -> Report {
    Report {
        oomtrace: "0.1.0".into(),
        command: command.iter().map(|word| (*word).to_owned()).collect(),
        machine: Machine {
            host: "lab-17".into(),
            kernel: "6.12.48-amd64".into(),
            cpus: 8,
            memory_bytes: Some(16_000 * MIB),
            swap_bytes: Some(2048 * MIB),
            page_bytes: 4096,
            sysctls: map(&[
                ("vm.overcommit_memory", "0".to_owned()),
                ("vm.swappiness", "60".into()),
                ("vm.panic_on_oom", "0".into()),
                ("vm.oom_kill_allocating_task", "0".into()),
                ("vm.min_free_kbytes", "67584".into()),
                ("kernel.pid_max", "4194304".into()),
                ("kernel.threads-max", "126214".into()),
                ("kernel/mm/transparent_hugepage/enabled", "always [madvise] never".into()),
            ]),
        },
        settings: Settings { sample_interval_ns: SECOND / 4, ..Settings::default() },
        tracing: Tracing {
            tier: "trampoline".into(),
            hooks: map(&[
                ("alloc_failure", vec!["fexit:pagefault_out_of_memory".to_owned()]),
                ("candidates", vec![]),
                ("decision", vec!["fentry:oom_kill_process".into()]),
                (
                    "fork_failure",
                    vec!["fexit:copy_process".into(), "fexit:alloc_pid".into(), "fexit:pids_can_fork".into()],
                ),
                (
                    "pressure",
                    vec![
                        "raw_tp:mm_vmscan_direct_reclaim_begin".into(),
                        "raw_tp:mm_vmscan_memcg_reclaim_begin".into(),
                    ],
                ),
                ("relief", vec!["raw_tp:exit_mmap".into(), "raw_tp:sched_process_exit".into()]),
                ("stall", vec!["raw_tp:mm_vmscan_memcg_reclaim_begin".into()]),
                ("victim", vec!["tp_btf:mark_victim".into(), "fentry:__oom_kill_process".into()]),
            ]),
            missing: map(&[(
                "candidates",
                "oom_badness() is inlined by this kernel's compiler, and oom_evaluate_task() has no symbol"
                    .to_owned(),
            )]),
        },
        runs,
        ..Report::default()
    }
}

pub fn cost() -> Cost {
    Cost {
        cpu_ns: 183_000_000,
        sampling_cpu_ns: 61_000_000,
        programs_ns: Some(9_400_000),
        program_runs: Some(48_211),
        peak_rss_bytes: Some(18 * MIB),
        lost: BTreeMap::new(),
    }
}

/// Nothing happened.
pub fn quiet() -> Report {
    let points = (0..24).map(|nth| Point {
        at_ns: nth * SECOND / 4,
        available_bytes: Some((15_100 - nth % 7) * MIB),
        own_rss_bytes: Some((12 + nth % 5) * MIB),
        swap_used_bytes: Some(0),
        psi_some: Some(0.0),
        waiting: Some(0.0),
        major_faults_per_second: Some(0.0),
        swapped_bytes_per_second: Some(0.0),
        ..Point::default()
    });
    let run = Run {
        started: "2026-11-28T18:41:20.123456789Z".into(),
        duration_ns: 6 * SECOND,
        end: End { exit_status: Some(0), ..End::default() },
        course: Course { interval_ns: SECOND / 4, points: points.collect(), ..Course::default() },
        stressors: vec![StressorMemory {
            comm: "make".into(),
            peak_rss_bytes: 16 * MIB,
            peak_swap_bytes: 0,
            most_processes: 3,
        }],
        cost: Cost { programs_ns: None, program_runs: None, ..cost() },
        ..Run::default()
    };
    report(&["make", "-j8", "check"], vec![run])
}

const STRESS: [&str; 12] = [
    "/usr/bin/stress-ng",
    "--vm",
    "2",
    "--vm-bytes",
    "512M",
    "--brk",
    "2",
    "--bigheap",
    "1",
    "--oomable",
    "--timeout",
    "60s",
];

/// See [`limited`](mod@limited).
pub fn bystanders() -> Report {
    let mut report = report(&STRESS, vec![limited(7)]);
    report.name = Some("baseline 6.12".into());
    report.settings.cgroup_limit_bytes = Some(512 * MIB);
    report.settings.pids_limit = Some(64);
    report.settings.cgroup_version = Some(2);
    report
}

/// The same five times.
pub fn repeated(shift: u64) -> Report {
    let mut report = bystanders();
    report.runs = (0..5)
        .map(|nth| {
            let mut run = limited(100 + shift + nth);
            run.duration_ns += nth * 90_000_000;
            run.relief = Chance(nth).latency(9_000_000 + shift * 4_000_000 + nth * 100_000, 40);
            for ops in &mut run.bogo_ops {
                let rate = ops.per_second.unwrap();
                ops.per_second = Some(
                    rate * (1.0 - 0.1 * f64::from(u32::try_from(shift).unwrap()))
                        + Chance(nth).part() * rate / 50.0,
                );
            }
            if nth % 2 == 0 {
                run.victims.retain(|victim| victim.whose == Whose::Own);
                run.victims_by_name.retain(|victim| victim.whose == Whose::Own);
                run.course.marks.retain(|mark| mark.kind != MarkKind::BystanderKill);
                (run.incidents.bystander_kills, run.incidents.kills) = (0, 7);
            }
            run
        })
        .collect();
    report.settings.warmup = 1;
    report
}
