use std::fs;

use super::*;
use crate::profile::report::{BogoOps, IncidentCounts, Run};

/// A report whose runs had so many kills of its own, and did so many bogo operations a second.
fn report(kernel: &str, runs: &[(u64, f64)]) -> Report {
    let run = |(kills, rate): &(u64, f64)| Run {
        started: "2026-01-02T03:04:05.000000000Z".into(),
        duration_ns: 1_000_000_000,
        incidents: IncidentCounts {
            count: *kills,
            kills: *kills,
            own_kills: *kills,
            ..IncidentCounts::default()
        },
        bogo_ops: vec![BogoOps { stressor: "vm".into(), per_second: Some(*rate), ..BogoOps::default() }],
        ..Run::default()
    };
    let mut report = Report { runs: runs.iter().map(run).collect(), ..Report::default() };
    report.machine.kernel = kernel.into();
    report.machine.page_bytes = 4096;
    report
}

fn row<'a>(comparison: &'a Comparison, measure: &str) -> &'a Row {
    comparison.rows.iter().find(|row| row.measure == measure).unwrap()
}

fn compared(reports: &[Report]) -> Comparison {
    let labelled: Vec<_> =
        reports.iter().zip(1..).map(|(report, number)| (format!("side {number}"), report.clone())).collect();
    compare(&labelled).unwrap()
}

const STEADY: [(u64, f64); 3] = [(0, 1000.0), (0, 1010.0), (0, 990.0)];

/// Guards verdicts: both directions of better, each side by itself, and what stays the same.
#[test]
fn better_and_worse_are_told_beyond_noise() {
    let worse = [(9, 500.0), (10, 505.0), (12, 495.0)];
    let same = [(0, 1005.0), (0, 995.0), (0, 1002.0)];
    let comparison = compared(&[report("a", &STEADY), report("b", &worse), report("c", &same)]);
    let kills = row(&comparison, "kills");
    let rate = row(&comparison, "bogo_ops_per_second.vm");
    let verdicts = |row: &Row| row.changes.iter().map(|change| change.verdict).collect::<Vec<_>>();
    assert_eq!(verdicts(kills), [Verdict::Worse, Verdict::Same]);
    assert_eq!(verdicts(rate), [Verdict::Worse, Verdict::Same]);
    let change = &rate.changes[0];
    assert!(
        (change.percent.unwrap() + 50.0).abs() < 1e-9 && (change.difference.unwrap() + 500.0).abs() < 1e-9
    );
    let interval = change.interval.unwrap();
    assert!(interval.low < -500.0 && interval.high > -500.0 && interval.high < -450.0);
    // Of 0 there are no hundredths, and of what is the same everywhere no probability.
    assert_eq!(
        (kills.changes[0].percent, kills.changes[1].p, kills.changes[1].difference),
        (None, None, Some(0.0))
    );
    let back = compared(&[report("b", &worse), report("a", &STEADY)]);
    assert_eq!(verdicts(row(&back, "kills")), [Verdict::Better]);
    assert_eq!(verdicts(row(&back, "bogo_ops_per_second.vm")), [Verdict::Better]);
    assert_eq!(row(&back, "kills").values[0].median, Some(10.0));
}

/// Guards against certainty from a single run, or two: the figures are shown, and nothing is said of them.
#[test]
fn few_runs_are_unsure() {
    for few in [1, 2] {
        let comparison = compared(&[report("a", &STEADY), report("b", &[(50, 1.0); 2][..few])]);
        for row in &comparison.rows {
            let change = &row.changes[0];
            assert_eq!(
                (change.verdict, change.interval, change.p),
                (Verdict::Unsure, None, None),
                "{}",
                row.measure
            );
            assert!(change.why.is_some());
        }
        let change = &row(&comparison, "kills").changes[0];
        assert_eq!(change.difference, Some(50.0));
        assert!(change.why.as_ref().unwrap().contains(&format!("3 and {few}")));
    }
}

/// Guards against finding a difference among many measures just since they are many.
#[test]
fn one_of_many_is_not_enough() {
    let many = |shift: f64| {
        let run = |noise: f64| {
            let rate = |stressor: usize| {
                // Each has its own noise, and the first one a difference that would do by itself.
                let own = noise * if stressor.is_multiple_of(2) { 1.0 } else { -1.0 };
                let shift = if stressor == 0 { shift } else { 0.0 };
                BogoOps {
                    stressor: format!("s{stressor:02}"),
                    per_second: Some(100.0 + own + shift),
                    ..BogoOps::default()
                }
            };
            Run { bogo_ops: (0..40).map(rate).collect(), ..Run::default() }
        };
        Report { runs: [-1.0, 0.0, 1.0].map(run).into(), ..Report::default() }
    };
    let comparison = compared(&[many(0.0), many(3.0)]);
    let change = &row(&comparison, "bogo_ops_per_second.s00").changes[0];
    assert_eq!(change.verdict, Verdict::Unsure);
    assert!(change.p.unwrap() < 0.05 && change.interval.unwrap().low > 0.0);
    assert!(change.why.as_ref().unwrap().contains("measures are compared"));
    assert_eq!(row(&comparison, "bogo_ops_per_second.s01").changes[0].verdict, Verdict::Same);
    let far = compared(&[many(0.0), many(30.0)]);
    assert_eq!(row(&far, "bogo_ops_per_second.s00").changes[0].verdict, Verdict::Better);
}

/// Guards what one side has not: no figure and no verdict, but the reason; and what none has is left out.
#[test]
fn what_is_absent_has_a_reason() {
    let mut other = report("b", &STEADY);
    for run in &mut other.runs {
        run.bogo_ops.clear();
    }
    let comparison = compared(&[report("a", &STEADY), other]);
    let rate = row(&comparison, "bogo_ops_per_second.vm");
    let change = &rate.changes[0];
    assert_eq!((change.difference, change.verdict, rate.values[1].mean), (None, Verdict::Unsure, None));
    assert!(change.why.as_ref().unwrap().starts_with("side 2 has no value: stress-ng's file"));
    assert_eq!(rate.values[1].runs, [None; 3]);
    assert!(comparison.rows.iter().all(|row| row.measure != "reclaim_p99_ms" && row.measure != "peak_bytes"));
}

/// Guards the list of what else differs, and only that.
#[test]
fn other_conditions_are_named() {
    let mut other = report("6.12", &STEADY);
    other.command = vec!["stress-ng".into(), "--vm".into(), "2".into()];
    other.settings.cgroup_limit_bytes = Some(512 << 20);
    other.machine.memory_bytes = Some((8 << 30) + 4096);
    other.machine.sysctls.insert("vm.swappiness".into(), "60".into());
    let mut baseline = report("6.1", &STEADY);
    baseline.machine.memory_bytes = Some(8 << 30);
    let comparison = compared(&[baseline, other]);
    let of = |what: &str, one: Option<&str>, two: &str| Condition {
        what: what.into(),
        values: vec![one.map(Into::into), Some(two.into())],
    };
    assert_eq!(
        comparison.conditions,
        [
            of("command", Some(""), "stress-ng --vm 2"),
            of("kernel", Some("6.1"), "6.12"),
            of("cgroup limit", None, "512.0 MiB"),
            of("vm.swappiness", None, "60"),
        ]
    );
    assert_eq!(compared(&[report("a", &STEADY), report("a", &STEADY)]).conditions, []);
}

/// Guards what there is nothing to compare of, and labels that are given twice.
#[test]
fn there_are_at_least_two_with_runs() {
    let one = ("a.json".to_owned(), report("a", &STEADY));
    assert_eq!(compare(std::slice::from_ref(&one)), Err(CompareError::TooFew));
    assert_eq!(compare(&vec![one.clone(); MOST + 1]), Err(CompareError::TooMany(17)));
    let none = ("b.json".to_owned(), Report::default());
    assert_eq!(compare(&[one.clone(), none]), Err(CompareError::NoRun("b.json".into())));
    let labels: Vec<_> =
        compare(&vec![one; 3]).unwrap().sides.into_iter().map(|side| (side.label, side.runs)).collect();
    assert_eq!(labels, [("a.json".into(), 3), ("a.json (2)".into(), 3), ("a.json (3)".into(), 3)]);
}

/// Guards the format: what is written is read as the same, and fits its own schema.
#[test]
fn a_comparison_is_what_its_schema_says() {
    let comparison = compared(&[report("a", &STEADY), report("b", &[(3, 5.0), (4, 6.0), (5, 9.0)])]);
    let json = serde_json::to_value(&comparison).unwrap();
    let schema = serde_json::to_value(schemars::schema_for!(Comparison)).unwrap();
    assert!(jsonschema::validator_for(&schema).unwrap().is_valid(&json));
    assert_eq!(json["schema"], "oomtrace-diff/1");
    assert_eq!(serde_json::from_value::<Comparison>(json).unwrap(), comparison);
}

fn read_text(text: impl AsRef<[u8]>) -> Result<Report, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a\u{1b}.json");
    fs::write(&path, text).unwrap();
    read(&path)
}

/// Guards files that are no reports: a sentence each that says which file, what it is instead, and nothing that moves the cursor.
#[test]
fn other_files_are_refused_in_a_sentence() {
    let whole = serde_json::to_string(&report("a", &STEADY)).unwrap();
    assert_eq!(read_text(&whole).unwrap(), report("a", &STEADY));
    for (text, told) in [
        ("", "is empty"),
        ("  \n", "is empty"),
        ("oops", "no JSON at all"),
        ("\u{0}\u{1}", "no JSON at all"),
        ("{}", "is no report of a run"),
        ("[1]", "is no report of a run"),
        ("{\"schema\":7}", "is no report of a run"),
        ("{\"schema\":\"oomtrace/1\",\"type\":\"oom\"}", "in the format \"oomtrace/1\""),
        ("{\"schema\":\"oomtrace/1\"}\n{\"schema\":\"oomtrace/1\"}\n", "several lines of JSON"),
        ("{\"schema\":\"oomtrace-diff/1\"}", "in the format \"oomtrace-diff/1\""),
        ("{\"schema\":\"oomtrace-run/2\"}", "in a later format (oomtrace-run/2)"),
        ("{\"schema\":\"\\u001b[2J\"}", "in the format \"\\u{1b}[2J\""),
        ("{\"schema\":\"oomtrace-run/1\",\"runs\":7}", "is damaged: "),
        (
            "{\"schema\":\"oomtrace-run/1\",\"runs\":[{\"course\":{\"marks\":[{\"kind\":\"\\u001b\"}]}}]}",
            "is damaged: ",
        ),
        (&whole[..whole.len() / 2], "is damaged"),
    ] {
        let error = read_text(text).unwrap_err();
        assert!(error.contains(told) && error.contains("a\\u{1b}.json"), "{text:?}: {error}");
        assert!(!error.contains(char::is_control), "{error:?}");
    }
    assert!(
        read("/nonexistent/a.json".as_ref())
            .unwrap_err()
            .starts_with("/nonexistent/a.json cannot be read: No such")
    );
}

/// Guards the bound of what is read, also of a file without end.
#[test]
fn a_file_without_end_is_refused() {
    assert!(read("/dev/zero".as_ref()).unwrap_err().contains("more than 32 MiB"));
}

/// Guards against values that nobody measures: whatever fits the format is compared, and can be written.
#[test]
fn extremes_are_compared() {
    let extreme = [(u64::MAX, f64::MAX), (0, f64::MIN), (u64::MAX, 0.0)];
    let comparison = compared(&[report("a", &STEADY), report("b", &extreme), report("c", &[(0, -0.0); 3])]);
    assert!(serde_json::to_string(&comparison).is_ok_and(|json| json.len() > 1000));
}
