//! The measures.

use super::{
    BOGO_OPS, Better, Exactness, Measure, Need, Pressures, Reading, Source, Statistic, Unit, milliseconds,
    number,
};
use crate::profile::report::{Kswapd, Latency, PressureKind, Run, Whose};

/// A bucket of a histogram is at most a quarter of its lower end wide, and what is in it is told by its upper end.
const BUCKET: f64 = 0.25;
/// `USER_HZ` (include/asm-generic/param.h), ms: the unit of CPU times in /proc.
const TICK_MS: f64 = 10.0;

const RECLAIM: &[PressureKind] = &[PressureKind::DirectReclaim, PressureKind::MemcgReclaim];

/// Families of waits: name, what they are in words, and which.
const PRESSURES: [(&str, &str, Pressures); 6] = [
    ("reclaim", "reclaim, of the node and of cgroups", Pressures { kinds: RECLAIM, whose: None }),
    ("own_reclaim", "reclaim of the command's own", Pressures { kinds: RECLAIM, whose: Some(Whose::Own) }),
    (
        "bystander_reclaim",
        "reclaim of bystanders",
        Pressures { kinds: RECLAIM, whose: Some(Whose::Bystander) },
    ),
    (
        "direct_reclaim",
        "reclaim for want of the node's memory",
        Pressures { kinds: &[PressureKind::DirectReclaim], whose: None },
    ),
    (
        "memcg_reclaim",
        "reclaim for want of a cgroup's memory",
        Pressures { kinds: &[PressureKind::MemcgReclaim], whose: None },
    ),
    (
        "compaction",
        "compaction, but for kcompactd's own",
        Pressures { kinds: &[PressureKind::Compaction], whose: None },
    ),
];

/// What is told of times: the ending of the name, and words.
const STATISTICS: [(&str, &str, Statistic); 6] = [
    ("count", "number of waits", Statistic::Count),
    ("p50_ms", "median wait", Statistic::Percentile(50)),
    ("p90_ms", "90th percentile of waits", Statistic::Percentile(90)),
    ("p99_ms", "99th percentile of waits", Statistic::Percentile(99)),
    ("max_ms", "longest wait", Statistic::Max),
    ("total_ms", "time of all waits", Statistic::Total),
];

/// What is told of a latency that happens a few times.
const FEW: [(&str, &str, Statistic); 4] = [
    ("p50_ms", "median", Statistic::Percentile(50)),
    ("p90_ms", "90th percentile", Statistic::Percentile(90)),
    ("p99_ms", "99th percentile", Statistic::Percentile(99)),
    ("max_ms", "longest", Statistic::Max),
];

/// One that a function reads.
fn one(
    name: &'static str,
    what: &'static str,
    unit: Unit,
    better: Better,
    path: &'static str,
    read: fn(&Run) -> Reading,
) -> Measure {
    let exactness = if unit == Unit::Count { Exactness::Events } else { Exactness::Exact };
    let source = Source::Run(read);
    Measure { name: name.into(), what: what.into(), unit, better, exactness, need: None, path, source }
}

/// The rate of one of stress-ng's stressors.
pub fn bogo_ops(stressor: &str) -> Measure {
    Measure {
        name: format!("{BOGO_OPS}{stressor}").into(),
        what: format!("bogo operations a second of stress-ng's {stressor}").into(),
        unit: Unit::PerSecond,
        better: Better::Higher,
        exactness: Exactness::Exact,
        need: Some(Need::StressNgYaml),
        path: "bogo_ops",
        source: Source::BogoOps(stressor.to_owned()),
    }
}

pub fn table() -> Vec<Measure> {
    let mut table = kills();
    table.extend(failures());
    for (family, words, pressures) in PRESSURES {
        let path = match (family, pressures.whose) {
            ("compaction", _) => "pressure.compaction",
            (_, Some(_)) => "pressure.whose",
            (_, None) => "pressure",
        };
        let source = |statistic| Source::Pressure(pressures, statistic);
        table.extend(latencies(family, words, path, &STATISTICS, source));
    }
    for (family, words, read) in [
        (
            "stall",
            "wait before a run of the OOM killer",
            (|run| Some(&run.stall)) as fn(&Run) -> Option<&Latency>,
        ),
        ("relief", "time until a victim's memory was free", |run| Some(&run.relief)),
        ("decision", "time that the OOM killer took", |run| run.decision.as_ref()),
    ] {
        table.extend(latencies(family, words, family, &FEW, |statistic| Source::Latency(read, statistic)));
    }
    table.extend(memory());
    table.extend(course());
    table.extend(paging());
    table.extend(ends());
    table
}

fn latencies(
    family: &str,
    words: &str,
    path: &'static str,
    statistics: &[(&str, &str, Statistic)],
    source: impl Fn(Statistic) -> Source,
) -> Vec<Measure> {
    let one = |(ending, what, statistic): &(&str, &str, Statistic)| {
        let (unit, exactness) = match statistic {
            Statistic::Count => (Unit::Count, Exactness::Events),
            Statistic::Percentile(_) => (Unit::Milliseconds, Exactness::Within(BUCKET)),
            Statistic::Max | Statistic::Total => (Unit::Milliseconds, Exactness::Exact),
        };
        Measure {
            name: format!("{family}_{ending}").into(),
            what: format!("{words}: {what}").into(),
            unit,
            better: Better::Lower,
            exactness,
            need: None,
            path,
            source: source(*statistic),
        }
    };
    statistics.iter().map(one).collect()
}

fn kills() -> Vec<Measure> {
    /// A number of kills of somebody's: one of which it is not known may be one more.
    fn known(run: &Run, kills: u64) -> Reading {
        let all = &run.incidents;
        match all.kills.saturating_sub(all.own_kills.saturating_add(all.bystander_kills)) {
            0 => Reading::Value(number(kills)),
            unknown => Reading::Unseen(format!(
                "of {unknown} of {} kills it is not known whose they were",
                all.kills
            )),
        }
    }
    use Better::Lower;
    use Unit::Count;
    vec![
        one("kills", "processes that the OOM killer killed", Count, Lower, "incidents.kills", |run| {
            Reading::Value(number(run.incidents.kills))
        }),
        one(
            "own_kills",
            "processes of the command's own that it killed",
            Count,
            Lower,
            "incidents.own_kills",
            |run| known(run, run.incidents.own_kills),
        ),
        one(
            "bystander_kills",
            "bystanders that it killed",
            Count,
            Lower,
            "incidents.bystander_kills",
            |run| known(run, run.incidents.bystander_kills),
        ),
        one(
            "userspace_kills",
            "processes that daemons in user space killed",
            Count,
            Lower,
            "incidents.userspace_kills",
            |run| Reading::Value(number(run.incidents.userspace_kills)),
        ),
        one("incidents", "runs of the OOM killer", Count, Lower, "incidents.count", |run| {
            Reading::Value(number(run.incidents.count))
        }),
        one(
            "no_victim",
            "runs of the OOM killer without a victim",
            Count,
            Lower,
            "incidents.by_outcome",
            |run| Reading::Value(number(run.incidents.by_outcome.get("no_victim").copied().unwrap_or(0))),
        ),
    ]
}

fn failures() -> Vec<Measure> {
    fn forks(run: &Run, of: fn(Whose) -> bool) -> u64 {
        let chosen = run.fork_failures.iter().filter(|failures| of(failures.whose));
        chosen.fold(0, |sum: u64, failures| sum.saturating_add(failures.count))
    }
    /// As of kills.
    fn known(run: &Run, failures: u64) -> Reading {
        match forks(run, |whose| whose == Whose::Unknown) {
            0 => Reading::Value(number(failures)),
            unknown => {
                Reading::Unseen(format!("of {unknown} forks that failed it is not known whose they were"))
            }
        }
    }
    use Better::Lower;
    use Unit::Count;
    vec![
        one("fork_failures", "forks that failed", Count, Lower, "fork_failures", |run| {
            Reading::Value(number(forks(run, |_| true)))
        }),
        one(
            "own_fork_failures",
            "forks of the command's own that failed",
            Count,
            Lower,
            "fork_failures",
            |run| known(run, forks(run, |whose| whose == Whose::Own)),
        ),
        one(
            "bystander_fork_failures",
            "forks of bystanders that failed",
            Count,
            Lower,
            "fork_failures",
            |run| known(run, forks(run, |whose| whose == Whose::Bystander)),
        ),
        one(
            "alloc_failures",
            "allocations that failed without a kill",
            Count,
            Lower,
            "alloc_failures",
            |run| {
                let counts = run.alloc_failures.iter().map(|failures| failures.count);
                Reading::Value(number(counts.fold(0, u64::saturating_add)))
            },
        ),
    ]
}

fn memory() -> Vec<Measure> {
    let peak = one(
        "peak_bytes",
        "most memory charged to the command's cgroup",
        Unit::Bytes,
        Better::Neither,
        "cgroup.peak_bytes",
        |run| match &run.cgroup {
            None => Reading::Unseen("the command had no cgroup of its own (--cgroup-limit)".to_owned()),
            Some(cgroup) => {
                Reading::or(cgroup.peak_bytes.map(number), "its cgroup does not tell how much it had at most")
            }
        },
    );
    vec![
        Measure { need: Some(Need::Cgroup), ..peak },
        one(
            "peak_rss_bytes",
            "most resident memory of the command's processes in a sample",
            Unit::Bytes,
            Better::Neither,
            "course",
            |run| {
                let most = run.course.points.iter().filter_map(|point| point.own_rss_bytes).max();
                Reading::or(most.map(number), "no sample tells of its processes")
            },
        ),
        // What others have meanwhile is in it: less of it alone is not the command's doing.
        one(
            "least_available_bytes",
            "least MemAvailable in a sample",
            Unit::Bytes,
            Better::Neither,
            "course",
            |run| {
                let least = run.course.points.iter().filter_map(|point| point.available_bytes).min();
                Reading::or(least.map(number), "no sample tells of available memory")
            },
        ),
    ]
}

fn course() -> Vec<Measure> {
    fn share(run: &Run, ns: Option<u64>) -> Reading {
        let share = ns.filter(|_| run.duration_ns > 0).map(|ns| 100.0 * number(ns) / number(run.duration_ns));
        Reading::or(share, "this kernel does not measure pressure (PSI)")
    }
    use Better::Lower;
    use Unit::Percent;
    vec![
        one(
            "psi_some_percent",
            "part of the time in which some program waited for memory",
            Percent,
            Lower,
            "psi",
            |run| share(run, run.psi.map(|psi| psi.some_ns)),
        ),
        one(
            "psi_full_percent",
            "part of the time in which all programs waited for memory",
            Percent,
            Lower,
            "psi",
            |run| share(run, run.psi.map(|psi| psi.full_ns)),
        ),
    ]
}

fn paging() -> Vec<Measure> {
    fn kswapd(run: &Run, of: fn(&Kswapd) -> f64) -> Reading {
        Reading::or(run.kswapd.as_ref().map(of), "the kernel's kswapd was not seen")
    }
    use Better::{Lower, Neither};
    let swapped = |name, what, counter| {
        let unseen = one(name, what, Unit::Bytes, Lower, "counters", |_| Reading::OfNothing);
        Measure { source: Source::Pages(counter), ..unseen }
    };
    let kswapd_cpu = one("kswapd_cpu_ms", "CPU time of kswapd", Unit::Milliseconds, Lower, "kswapd", |run| {
        kswapd(run, |kswapd| milliseconds(kswapd.cpu_ns))
    });
    vec![
        one("major_faults", "page faults that had to read", Unit::Count, Lower, "counters", |run| {
            let faults = run.counters.0.get("pgmajfault").copied().map(number);
            Reading::or(faults, "this kernel does not count it")
        }),
        swapped("swap_in_bytes", "memory that was swapped in", "pswpin"),
        swapped("swap_out_bytes", "memory that was swapped out", "pswpout"),
        Measure { exactness: Exactness::Steps(TICK_MS), ..kswapd_cpu },
        one("kswapd_reclaimed_bytes", "memory that kswapd freed", Unit::Bytes, Neither, "kswapd", |run| {
            kswapd(run, |kswapd| number(kswapd.reclaimed_bytes))
        }),
    ]
}

fn ends() -> Vec<Measure> {
    use Better::{Lower, Neither};
    vec![
        one("duration_ms", "how long the run took", Unit::Milliseconds, Neither, "duration_ns", |run| {
            Reading::Value(milliseconds(run.duration_ns))
        }),
        one(
            "exit_status",
            "the command's exit status; 128 and the signal's number if that ended it",
            Unit::Code,
            Neither,
            "end",
            |run| {
                let signal = run.end.signal.map(|signal| f64::from(signal) + 128.0);
                let status = run.end.exit_status.map(f64::from).or(signal);
                Reading::or(status, "the command had not ended")
            },
        ),
        one("left_behind", "processes that the command left behind", Unit::Count, Lower, "end", |run| {
            Reading::Value(number(run.end.left_behind))
        }),
        one("lost_records", "records of oomtrace's that were lost", Unit::Count, Lower, "cost.lost", |run| {
            Reading::Value(number(run.cost.lost.values().fold(0, |sum: u64, lost| sum.saturating_add(*lost))))
        }),
        one(
            "oomtrace_cpu_ms",
            "CPU time that oomtrace itself took",
            Unit::Milliseconds,
            Neither,
            "cost",
            |run| Reading::Value(milliseconds(run.cost.cpu_ns)),
        ),
    ]
}
