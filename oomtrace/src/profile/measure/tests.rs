use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::profile::report::{
    BogoOps, CgroupMemory, Counters, End, ForkFailureCount, IncidentCounts, Pressure,
};

fn value(report: &Report, name: &str) -> Reading {
    Measure::named(name).unwrap().read(report, &report.runs[0])
}

/// Times, each so often, ns.
fn latency(times: &[(u64, u64)]) -> Latency {
    use oomtrace_ebpf::histogram;
    let mut counts = [0; histogram::BUCKETS];
    for (ns, count) in times {
        counts[histogram::bucket(*ns)] += count;
    }
    let total = times.iter().map(|(ns, count)| ns * count).sum();
    Latency::of(&counts, total, times.iter().map(|(ns, _)| *ns).max().unwrap_or(0))
}

fn report(run: Run) -> Report {
    let mut report = Report { runs: vec![run], ..Report::default() };
    report.machine.page_bytes = 4096;
    report
}

/// Guards names: no two measures have the same, each has its unit at its end, and all are plain.
#[test]
fn names_are_unique_and_have_their_unit() {
    let names: BTreeSet<_> = all().iter().map(|measure| &measure.name).collect();
    assert_eq!(names.len(), all().len());
    for measure in all() {
        let ending = match measure.unit {
            Unit::Milliseconds => "_ms",
            Unit::Bytes => "_bytes",
            Unit::Percent => "_percent",
            Unit::Count | Unit::PerSecond | Unit::Code => "",
        };
        let name = &measure.name;
        assert!(
            name.ends_with(ending) && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'),
            "{name}"
        );
        assert!(!measure.what.is_empty());
    }
    for unit in ["_ms", "_bytes", "_percent"] {
        let other = all().iter().find(|measure| {
            measure.name.ends_with(unit) && matches!(measure.unit, Unit::Count | Unit::PerSecond | Unit::Code)
        });
        assert!(other.is_none(), "{other:?}");
    }
}

/// Guards each measure's place in the report: what is counted there is what it reads, and no other.
#[test]
fn measures_read_their_own_field() {
    let incidents = IncidentCounts {
        count: 7,
        by_outcome: BTreeMap::from([("no_victim".into(), 2), ("killed".into(), 5)]),
        kills: 6,
        own_kills: 4,
        bystander_kills: 2,
        userspace_kills: 1,
        ..IncidentCounts::default()
    };
    let failures = |whose, count| ForkFailureCount { whose, count, ..ForkFailureCount::default() };
    let counters = [("pgmajfault", 31), ("pswpin", 3), ("pswpout", 5)];
    let run = Run {
        duration_ns: 2_000_000_000,
        incidents,
        fork_failures: vec![failures(Whose::Own, 10), failures(Whose::Bystander, 3), failures(Whose::Own, 1)],
        cgroup: Some(CgroupMemory { peak_bytes: Some(1 << 20), ..CgroupMemory::default() }),
        counters: Counters(counters.map(|(name, count)| (name.to_owned(), count)).into()),
        psi: Some(crate::profile::report::Psi { some_ns: 500_000_000, full_ns: 20_000_000 }),
        end: End { signal: Some(9), ..End::default() },
        bogo_ops: vec![BogoOps { stressor: "vm".into(), per_second: Some(12.5), ..BogoOps::default() }],
        ..Run::default()
    };
    let report = report(run);
    for (name, expected) in [
        ("kills", 6.0),
        ("own_kills", 4.0),
        ("bystander_kills", 2.0),
        ("userspace_kills", 1.0),
        ("incidents", 7.0),
        ("no_victim", 2.0),
        ("fork_failures", 14.0),
        ("own_fork_failures", 11.0),
        ("bystander_fork_failures", 3.0),
        ("alloc_failures", 0.0),
        ("peak_bytes", 1_048_576.0),
        ("psi_some_percent", 25.0),
        ("psi_full_percent", 1.0),
        ("major_faults", 31.0),
        ("swap_in_bytes", 12_288.0),
        ("swap_out_bytes", 20_480.0),
        ("duration_ms", 2000.0),
        ("exit_status", 137.0),
        ("lost_records", 0.0),
        ("bogo_ops_per_second.vm", 12.5),
    ] {
        assert_eq!(value(&report, name), Reading::Value(expected), "{name}");
    }
}

/// Guards families of waits: kinds and owners are kept apart, and what is together is merged before percentiles are taken.
#[test]
fn waits_are_merged_by_family() {
    let wait = |kind, whose, times: &[(u64, u64)]| Pressure {
        kind,
        whose,
        latency: latency(times),
        ..Pressure::default()
    };
    let pressure = vec![
        wait(PressureKind::DirectReclaim, Whose::Bystander, &[(1_000_000, 90)]),
        wait(PressureKind::MemcgReclaim, Whose::Own, &[(50_000_000, 10)]),
        wait(PressureKind::Compaction, Whose::Own, &[(7_000_000, 1)]),
        Pressure {
            comm: Some("kcompactd0".into()),
            ..wait(PressureKind::Compaction, Whose::Bystander, &[(9_000_000, 5)])
        },
    ];
    let report = report(Run { pressure, ..Run::default() });
    let of = |name| value(&report, name).value().unwrap();
    assert!((of("reclaim_count"), of("memcg_reclaim_count"), of("own_reclaim_count")) == (100.0, 10.0, 10.0));
    assert!((of("bystander_reclaim_count"), of("compaction_count")) == (90.0, 1.0));
    assert!(of("reclaim_p50_ms") >= 1.0 && of("reclaim_p50_ms") <= 1.25 && of("reclaim_p90_ms") <= 1.25);
    assert!((of("reclaim_p99_ms"), of("reclaim_max_ms"), of("reclaim_total_ms")) == (50.0, 50.0, 590.0));
    assert!(of("direct_reclaim_max_ms") <= 1.0);
}

/// Guards what is absent: of nothing there is no percentile but a count of 0, and what cannot be seen is neither.
#[test]
fn nothing_is_not_zero() {
    let mut report = report(Run::default());
    assert_eq!(value(&report, "reclaim_p99_ms"), Reading::OfNothing);
    assert_eq!(value(&report, "reclaim_count"), Reading::Value(0.0));
    for name in [
        "peak_bytes",
        "psi_some_percent",
        "major_faults",
        "exit_status",
        "decision_p99_ms",
        "bogo_ops_per_second.vm",
    ] {
        assert!(matches!(value(&report, name), Reading::Unseen(_)), "{name}");
    }
    report.tracing.missing.insert("pressure".into(), "no tracepoint".into());
    report.tracing.missing.insert("incidents.bystander_kills".into(), "no ancestors".into());
    report.tracing.missing.insert("kill".into(), "a word that others begin with".into());
    assert_eq!(value(&report, "reclaim_count"), Reading::Unseen("no tracepoint".into()));
    assert_eq!(value(&report, "own_reclaim_p50_ms"), Reading::Unseen("no tracepoint".into()));
    assert_eq!(value(&report, "bystander_kills"), Reading::Unseen("no ancestors".into()));
    assert_eq!(value(&report, "kills"), Reading::Value(0.0));
}

/// Guards against a 0 of what no hook looks at.
#[test]
fn without_hooks_there_is_nothing_to_see() {
    let mut report = report(Run::default());
    report.tracing.tier = "tracepoint".into();
    report.tracing.hooks.insert("fork_failure".into(), vec![]);
    report.tracing.hooks.insert("pressure".into(), vec!["raw_tp:mm_vmscan_direct_reclaim_begin".into()]);
    for name in
        ["fork_failures", "bystander_fork_failures", "alloc_failures", "stall_p99_ms", "relief_max_ms"]
    {
        assert_eq!(value(&report, name), Reading::Unseen("no hook in use shows it".into()), "{name}");
    }
    assert_eq!(value(&report, "own_reclaim_count"), Reading::Value(0.0));
    report.tracing.missing.insert("whose".into(), "no ancestors".into());
    assert_eq!(value(&report, "own_reclaim_count"), Reading::Unseen("no ancestors".into()));
    assert_eq!(value(&report, "bystander_kills"), Reading::Value(0.0));
    report.runs[0].relief = latency(&[(1_000_000, 1)]);
    assert_eq!(value(&report, "relief_max_ms"), Reading::Value(1.0));
    report.tracing.missing.insert("pressure.compaction".into(), "no tracepoint".into());
    assert_eq!(value(&report, "compaction_count"), Reading::Unseen("no tracepoint".into()));
    assert_eq!(value(&report, "reclaim_count"), Reading::Value(0.0));
}

/// Guards against counting as nobody's what may be anybody's.
#[test]
fn whose_is_unknown_is_not_zero() {
    let incidents = IncidentCounts { kills: 3, own_kills: 2, ..IncidentCounts::default() };
    let fork_failures = vec![ForkFailureCount { count: 4, ..ForkFailureCount::default() }];
    let report = report(Run { incidents, fork_failures, ..Run::default() });
    for name in ["own_kills", "bystander_kills", "own_fork_failures", "bystander_fork_failures"] {
        assert!(matches!(value(&report, name), Reading::Unseen(_)), "{name}");
    }
    assert_eq!(value(&report, "kills"), Reading::Value(3.0));
    assert_eq!(value(&report, "fork_failures"), Reading::Value(4.0));
}

/// Guards what is said to a misspelt name.
#[test]
fn the_nearest_name_is_told() {
    for (wrong, near) in [
        ("bystander_kill", "did you mean bystander_kills?"),
        ("reclaim_p99", "did you mean reclaim_p99_ms?"),
        ("Kills", "did you mean kills?"),
        ("bogo_ops_per_second", "did you mean bogo_ops_per_second.?"),
        ("", "such are"),
        ("\u{1b}[2J", "\\u{1b}[2J"),
        ("bogo_ops_per_second.", "lacks the name"),
        ("bogo_ops_per_second.'vm'", "lacks the name"),
    ] {
        let told = Measure::named(wrong).unwrap_err();
        assert!(told.contains(near), "{wrong}: {told}");
    }
}

/// Guards the list for comparisons: each stressor of any report once.
#[test]
fn stressors_are_measures() {
    let rate = |name: &str| BogoOps { stressor: name.into(), per_second: Some(1.0), ..BogoOps::default() };
    let one = report(Run { bogo_ops: vec![rate("vm"), rate("brk")], ..Run::default() });
    let other = report(Run { bogo_ops: vec![rate("vm")], ..Run::default() });
    let names: Vec<_> =
        of_reports(&[&one, &other]).split_off(all().len()).into_iter().map(|m| m.name).collect();
    assert_eq!(names, ["bogo_ops_per_second.brk", "bogo_ops_per_second.vm"]);
}

/// Guards figures for people: units, signs, and what is too large.
#[test]
fn values_are_shown_with_their_unit() {
    for (unit, value, shown) in [
        (Unit::Milliseconds, 62.5, "62 ms"),
        (Unit::Milliseconds, -0.05, "-50 µs"),
        (Unit::Bytes, 1_610_612_736.0, "1.5 GiB"),
        (Unit::Percent, 12.345, "12.3 %"),
        (Unit::PerSecond, 1234.5, "1,235/s"),
        (Unit::Count, 2.5, "2.5"),
        (Unit::Count, 12_345.0, "12,345"),
        (Unit::Code, 137.0, "137"),
        (Unit::Count, f64::INFINITY, "9,223,372,036,854,775,807"),
        (Unit::Count, f64::NAN, "0"),
    ] {
        assert_eq!(unit.shown(value), shown);
    }
}

/// Guards the manual: it has each measure, as it is, and no other.
#[test]
fn the_manual_lists_all() {
    let rates = table::bogo_ops("STRESSOR");
    let row = |measure: &Measure| {
        let better = match measure.better {
            Better::Lower => "less",
            Better::Higher => "more",
            Better::Neither => "",
        };
        format!("| `{}` | {} | {better} |", measure.name, measure.what)
    };
    let rows: Vec<_> = all().iter().chain([&rates]).map(row).collect();
    let manual = include_str!("../../../docs/measures.md");
    let told: Vec<_> = manual.lines().filter(|line| line.starts_with("| `")).collect();
    assert_eq!(told, rows, "the table of docs/measures.md has to be:\n{}", rows.join("\n"));
}
