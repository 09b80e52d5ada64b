use super::*;

/// Written by stress-ng 0.15.06 of Debian.
const METRICS: &str = include_str!("../../../tests/fixtures/stress-ng/metrics.yaml");
/// The same with `--sn`.
const SCIENTIFIC: &str = include_str!("../../../tests/fixtures/stress-ng/scientific.yaml");
/// The same without `--metrics`.
const WITHOUT: &str = include_str!("../../../tests/fixtures/stress-ng/without-metrics.yaml");

fn of(stressor: &str, bogo_ops: u64, wall_ns: u64, per_second: f64, cpu_ns: u64) -> BogoOps {
    BogoOps {
        stressor: stressor.into(),
        bogo_ops,
        wall_ns: Some(wall_ns),
        per_second: Some(per_second),
        cpu_ns: Some(cpu_ns),
    }
}

/// Guards what stress-ng really writes, with figures of single stressors between the others', in both ways of writing numbers.
#[test]
fn real_files_are_read() {
    assert_eq!(
        parse(METRICS).unwrap(),
        [
            of("cpu", 716, 1_003_988_000, 713.156_084, 427_490_000),
            of("pipe", 161_667, 1_000_510_000, 161_584.557_013, 426_125_000),
            of("fork", 22, 1_007_479_000, 21.836_679, 22_576_000),
        ]
    );
    assert_eq!(
        parse(SCIENTIFIC).unwrap(),
        [
            of("mmap", 3, 1_091_301_000, 2.749_012, 134_231_000),
            of("vm", 4166, 1_010_531_000, 4122.586, 123_686_000)
        ]
    );
}

/// Guards what other versions and locales write: quotes, no maximum of resident memory (0.13), figures of single instances (0.20),
/// other sections with stressors behind the metrics, decimal commas, what is not YAML, and ends of lines of other systems.
#[test]
fn other_versions_and_locales_are_read() {
    let text = "---\nsystem-info:\n      stress-ng-version: '0.20.01'\n      nodename: a: b: [\n\nmetrics:\n    - stressor: 'vm'\n      bogo-ops: 10\n      \
        bogo-ops-per-second-usr-sys-time: 7,5\n      bogo-ops-per-second-real-time: 5,000000\n      wall-clock-time: 2,0\n      instances:\n          \
        - instance: 0\n            bogo-ops: 4\n            bogo-ops-per-second-real-time: 1.0\n      user-time: 1,0\n      system-time: 0,5\n\n    \
        - stressor: fork\n      bogo-ops: 3\n      wall-clock-time: 2.000000\n      %: odd\n\nperfstats:\n    - stressor: vm\n      bogo-ops: 99\n\n...\n";
    let expected = [
        of("vm", 10, 2_000_000_000, 5.0, 1_500_000_000),
        BogoOps { cpu_ns: None, ..of("fork", 3, 2_000_000_000, 1.5, 0) },
    ];
    assert_eq!(parse(text).unwrap(), expected);
    assert_eq!(parse(&text.replace('\n', "\r\n")).unwrap(), expected);
}

/// Guards stressors that were run more than once: together they are one, and its rate is that of the whole time.
#[test]
fn a_stressor_is_told_once() {
    let one = "    - stressor: vm\n      bogo-ops: 100\n      bogo-ops-per-second-real-time: 50.0\n      wall-clock-time: 2.0\n";
    let other = one.replace("100", "500").replace("50.0", "250.0");
    let told = parse(&format!("---\nmetrics:\n{one}{other}...\n")).unwrap();
    assert_eq!(told, [BogoOps { cpu_ns: None, ..of("vm", 600, 4_000_000_000, 150.0, 0) }]);
}

/// Guards figures of no time: none is made of what is no number, and the rest counts.
#[test]
fn what_is_no_number_is_absent() {
    let told = parse(
        "---\nmetrics:\n  - stressor: vm\n    bogo-ops: 0\n    bogo-ops-per-second-real-time: -nan\n    wall-clock-time: inf\n...\n",
    );
    let expected = BogoOps { stressor: "vm".into(), ..BogoOps::default() };
    assert_eq!(told.unwrap(), [expected]);
}

/// Guards what is said of files that are damaged, or something else.
#[test]
fn other_files_are_refused_in_a_sentence() {
    let stressor = |name: &str| format!("---\nmetrics:\n    - stressor: {name}\n      bogo-ops: 1\n...\n");
    for (text, told) in [
        ("", "begins with a line of ---"),
        ("{\"metrics\": []}", "begins with a line of ---"),
        (WITHOUT, "give stress-ng --metrics too"),
        ("---\nmetrics:\n...", "has no metrics"),
        (&METRICS[..METRICS.len() / 2], "ends early"),
        (&METRICS[..METRICS.len() - 30], "ends early"),
        (&METRICS.replace("bogo-ops: 716", "bogo-ops: 71x"), "bogo-ops of the stressor cpu is \"71x\""),
        (&METRICS.replace("bogo-ops: 716", "bogo-ops: -1"), "bogo-ops of the stressor cpu is \"-1\""),
        (&METRICS.replace("bogo-ops: 716", "other: 716"), "bogo-ops of the stressor cpu is \"\""),
        (&METRICS.replace("1.003988", "1.0.0"), "wall-clock-time of the stressor cpu is \"1.0.0\""),
        (&stressor("\u{1b}[2J"), "it has a stressor \"\\u{1b}[2J\""),
        (&stressor(""), "it has a stressor \"\""),
        (&stressor(&"x".repeat(100_000)), "it has a stressor \"xxx"),
    ] {
        let error = parse(text).unwrap_err();
        assert!(error.contains(told) && error.len() < 300, "{error}");
        assert!(!error.contains(char::is_control), "{error:?}");
    }
    let many = (0..=MOST_STRESSORS).map(|n| format!("  - stressor: s{n}\n    bogo-ops: 1\n"));
    assert!(
        parse(&format!("---\nmetrics:\n{}...\n", many.collect::<Vec<_>>().concat()))
            .unwrap_err()
            .contains("more than 1024 stressors")
    );
    assert!(read("/dev/zero".as_ref()).unwrap_err().contains("more than 8 MiB"));
    assert!(
        read("/nonexistent.yaml".as_ref())
            .unwrap_err()
            .contains("Did stress-ng write it (--yaml /nonexistent.yaml)?")
    );
}

/// Guards the reader against whatever is in a file: real ones with bytes cut out, put in and changed give an answer, bounded and
/// plain.
#[test]
fn no_file_breaks_it() {
    const PIECES: [&str; 14] = [
        "\n",
        " ",
        ":",
        "- ",
        "...",
        "---",
        "metrics:",
        "stressor: ",
        "bogo-ops: ",
        "\t",
        "9",
        "'",
        "\u{0}",
        "é",
    ];
    let mut state = 3_u64;
    let mut next = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    let (mut read, mut refused) = (0, 0);
    for _ in 0..3000 {
        let mut text = [METRICS, SCIENTIFIC][next(2)].to_owned();
        for _ in 0..=next(4) {
            let drawn = next(text.len() + 1);
            let at = (0..=drawn).rev().find(|at| text.is_char_boundary(*at)).unwrap();
            let end = (at..=text.len()).find(|end| *end > at + next(20) && text.is_char_boundary(*end));
            text.replace_range(at..end.unwrap_or(at), PIECES[next(PIECES.len())]);
        }
        match parse(&text) {
            Ok(all) => {
                read += 1;
                assert!(!all.is_empty() && all.len() < 10);
                assert!(
                    all.iter().all(|one| one.per_second.is_none_or(|rate| rate.is_finite() && rate >= 0.0))
                );
            }
            Err(error) => {
                refused += 1;
                assert!(!error.contains(char::is_control), "{error:?}");
            }
        }
    }
    assert!(read > 200 && refused > 200, "{read} {refused}");
}
