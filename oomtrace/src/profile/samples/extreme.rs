//! What there should not be: names that are markup, and all that there may be of everything.

use oomtrace_ebpf::histogram;

use super::{Chance, SECOND, bystanders, limited::limited};
use crate::profile::report::{
    AllocFailureCount, BogoOps, Counters, Course, FindingCount, ForkFailureCount, Latency, Mark, MarkKind,
    Point, Pressure, Report, Series, StressorMemory, VictimCount, VictimRow,
};

/// What no name may do to whoever looks at it.
pub const HOSTILE: &str =
    "</script><script>alert(1)</script>\"'><img src=x onerror=alert(2)>\u{1b}[2J\u{202e}\n&amp;${x}";

/// Names that are markup, of any length, everywhere.
pub fn hostile() -> Report {
    let mut report = bystanders();
    let text = || Some(HOSTILE.to_owned());
    report.name = text();
    report.command = vec![HOSTILE.to_owned(); 3];
    (report.machine.host, report.machine.kernel, report.tracing.tier) =
        (HOSTILE.into(), HOSTILE.into(), HOSTILE.into());
    report.oomtrace = HOSTILE.into();
    report.machine.sysctls.insert(HOSTILE.into(), HOSTILE.into());
    report.tracing.missing.insert(HOSTILE.into(), HOSTILE.into());
    report.tracing.hooks.insert(HOSTILE.into(), vec![HOSTILE.into()]);
    let run = &mut report.runs[0];
    run.started = HOSTILE.into();
    for victim in &mut run.victims {
        (victim.comm, victim.cmdline, victim.cgroup, victim.scope_path) = (text(), text(), text(), text());
        (victim.verdict, victim.trigger_comm, victim.scope, victim.incident) =
            (text(), text(), HOSTILE.into(), HOSTILE.into());
    }
    run.victims[0].cmdline = Some("long ".repeat(900));
    run.victims[1].comm = Some("日本語のとても長い名前".repeat(9));
    run.victims_by_name.iter_mut().for_each(|name| name.comm = text());
    for failure in &mut run.fork_failures {
        (failure.comm, failure.limit_at, failure.errno_name, failure.cause) =
            (text(), text(), text(), HOSTILE.into());
    }
    run.alloc_failures.iter_mut().for_each(|failure| (failure.comm, failure.what) = (text(), HOSTILE.into()));
    run.pressure.iter_mut().for_each(|one| one.comm = text());
    run.stressors.iter_mut().for_each(|one| one.comm = HOSTILE.into());
    run.course.stressors.iter_mut().for_each(|one| one.comm = text());
    run.course.marks.iter_mut().for_each(|one| one.comm = text());
    for finding in &mut run.findings {
        (finding.id, finding.severity, finding.summary) = (HOSTILE.into(), HOSTILE.into(), HOSTILE.into());
        finding.fixes = vec![HOSTILE.into()];
    }
    run.bogo_ops.iter_mut().for_each(|one| one.stressor = HOSTILE.into());
    run.counters.0.insert(HOSTILE.into(), 1);
    run.cost.lost.insert(HOSTILE.into(), 1);
    let cgroup = run.cgroup.as_mut().unwrap();
    (cgroup.path, cgroup.peak_from) = (HOSTILE.into(), text());
    cgroup.events.insert(HOSTILE.into(), 1);
    report
}

/// All that there may be of everything, each name as long as can be, and of letters that take most bytes on the page.
pub fn maximal() -> Report {
    let mut chance = Chance(11);
    let long = "\"'&".repeat(200);
    let text = || Some(long.clone());
    let span = 86_400 * SECOND;
    let most = Course::MOST;
    let all: Vec<u64> = (0..histogram::BUCKETS).map(|bucket| histogram::bounds(bucket).0).collect();
    let latency = || {
        let counts = [7; histogram::BUCKETS];
        Latency::of(&counts, u64::MAX, *all.last().unwrap())
    };
    let kinds = [
        MarkKind::OwnKill,
        MarkKind::BystanderKill,
        MarkKind::UserspaceKill,
        MarkKind::NoVictim,
        MarkKind::ForkFailure,
        MarkKind::AllocFailure,
    ];
    let points = (0..most).map(|nth| Point {
        at_ns: u64::try_from(nth).unwrap() * span / u64::try_from(most).unwrap(),
        available_bytes: Some(chance.below(1 << 40)),
        swap_used_bytes: Some(chance.below(1 << 40)),
        cgroup_bytes: Some(chance.below(1 << 40)),
        own_rss_bytes: Some(chance.below(1 << 40)),
        psi_some: Some(chance.part()),
        waiting: Some(chance.part() * 900.0),
        major_faults_per_second: Some(chance.part() * 1e7),
        swapped_bytes_per_second: Some(chance.part() * 1e10),
    });
    let points: Vec<_> = points.collect();
    let series = (0..9)
        .map(|_| Series { comm: text(), rss_bytes: (0..most).map(|_| chance.below(1 << 38)).collect() });
    let series: Vec<_> = series.collect();
    let marks = (0..Course::MOST_MARKS).map(|nth| Mark {
        at_ns: chance.below(span),
        kind: kinds[nth % 6],
        count: 1000,
        comm: text(),
    });
    let mut marks: Vec<_> = marks.collect();
    marks.sort_by_key(|mark| mark.at_ns);
    let mut run = limited(1);
    run.duration_ns = span;
    run.course = Course { interval_ns: 1, points, stressors: series, marks };
    let victim = VictimRow {
        comm: text(),
        cmdline: text(),
        cgroup: text(),
        scope_path: text(),
        scope: long.clone(),
        trigger_comm: text(),
        verdict: text(),
        incident: long.clone(),
        ..run.victims[0].clone()
    };
    run.victims = vec![victim; 200];
    run.victims_by_name =
        vec![VictimCount { comm: text(), kills: 1000, ..run.victims_by_name[0].clone() }; 101];
    let fork = ForkFailureCount {
        comm: text(),
        cause: long.clone(),
        errno_name: text(),
        limit_at: text(),
        ..run.fork_failures[0].clone()
    };
    run.fork_failures = vec![fork; 101];
    run.alloc_failures =
        vec![AllocFailureCount { comm: text(), what: long.clone(), ..run.alloc_failures[0].clone() }; 101];
    run.pressure = vec![Pressure { comm: text(), latency: latency(), ..run.pressure[0].clone() }; 1024];
    (run.stall, run.relief, run.decision) = (latency(), latency(), Some(latency()));
    run.stressors = vec![StressorMemory { comm: long.clone(), ..run.stressors[0].clone() }; 64];
    run.findings = vec![
        FindingCount {
            id: long.clone(),
            severity: long.clone(),
            summary: long.clone(),
            fixes: vec![long.clone(); 8],
            count: 9
        };
        64
    ];
    run.bogo_ops = vec![BogoOps { stressor: long.clone(), ..run.bogo_ops[0].clone() }; 400];
    run.counters = Counters((0..300_u64).map(|nth| (format!("{nth}{long}"), nth)).collect());
    let mut report = bystanders();
    report.name = text();
    report.command = vec![long.clone(); 100];
    report.machine.sysctls = (0..100).map(|nth| (format!("{nth}{long}"), long.clone())).collect();
    report.tracing.missing = (0..100).map(|nth| (format!("{nth}{long}"), long.clone())).collect();
    report.tracing.hooks = (0..40).map(|nth| (format!("{nth}{long}"), vec![long.clone(); 9])).collect();
    report.runs = vec![run; 4];
    report
}
