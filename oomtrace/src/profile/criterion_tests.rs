use super::*;
use crate::profile::report::{CgroupMemory, IncidentCounts, Run};

fn parsed(text: &str) -> Criterion {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// A report of runs with so many kills, and a cgroup that had 1 GiB at most.
fn report(kills: &[u64]) -> Report {
    let run = |kills: &u64| Run {
        incidents: IncidentCounts { kills: *kills, own_kills: *kills, ..IncidentCounts::default() },
        cgroup: Some(CgroupMemory { peak_bytes: Some(1 << 30), ..CgroupMemory::default() }),
        duration_ns: 1_500_000_000,
        ..Run::default()
    };
    Report { runs: kills.iter().map(run).collect(), ..Report::default() }
}

fn met(criterion: &str, report: &Report) -> Vec<usize> {
    let judgement = Judgement::of(&[parsed(criterion)], report);
    assert_eq!(judgement.unjudged, []);
    judgement.met.iter().map(|met| met.run).collect()
}

/// Guards each of the signs, at its bound and beside it.
#[test]
fn every_sign_compares_as_it_says() {
    let report = report(&[1, 2, 3]);
    for (sign, runs) in
        [(">", &[3][..]), (">=", &[2, 3]), ("<", &[1]), ("<=", &[1, 2]), ("==", &[2]), ("!=", &[1, 3])]
    {
        assert_eq!(met(&format!("kills{sign}2"), &report), runs, "{sign}");
        assert_eq!(met(&format!("  kills {sign} 2 "), &report), runs, "{sign}");
    }
}

/// Guards units: each to the same amount, and none of another kind.
#[test]
fn numbers_have_units() {
    let report = report(&[0]);
    for same in ["1500", "1500ms", "1.5s", "1.5 s", "1500000us", "1500000 µs", "1500000000ns"] {
        assert_eq!(met(&format!("duration_ms=={same}"), &report), [1], "{same}");
    }
    for same in ["1073741824", "1G", "1g", "1GiB", "1024M", "1048576 K", "1048576KiB"] {
        assert_eq!(met(&format!("peak_bytes=={same}"), &report), [1], "{same}");
    }
    for wrong in [
        "kills>1K",
        "kills>5ms",
        "peak_bytes>5s",
        "duration_ms>5%",
        "psi_some_percent>1s",
        "kills>1e3",
        "exit_status>1%",
    ] {
        assert!(wrong.parse::<Criterion>().unwrap_err().contains("has to end in"), "{wrong}");
    }
    assert_eq!(parsed("psi_some_percent > 25 %").bound.to_string(), "25");
}

/// Guards what is said of what is none, before anything runs.
#[test]
fn nonsense_is_told_in_a_sentence() {
    for (wrong, told) in [
        ("", "compares nothing"),
        ("kills", "compares nothing"),
        ("kills=1", "has to have one of"),
        ("kills=>1", "has to have one of"),
        ("kills!1", "has to have one of"),
        ("kills>", "has to end in how many"),
        ("kills>-1", "has to end in how many"),
        ("kills>nan", "has to end in how many"),
        ("kills>inf", "has to end in how many"),
        ("kills>1.2.3", "has to end in how many"),
        ("kills>.", "has to end in how many"),
        ("0<kills", "there is no measure \"0\""),
        ("0<kills<3", "there is no measure \"0\""),
        ("kills>0<3", "compares more than once"),
        ("kills>0 && incidents>0", "compares more than once"),
        ("bystander_kill>0", "did you mean bystander_kills?"),
        ("\u{1b}[2J>0", "\\u{1b}"),
    ] {
        let error = wrong.parse::<Criterion>().unwrap_err();
        assert!(error.contains(told) && !error.contains('\u{1b}'), "{wrong}: {error}");
    }
    let huge = format!("kills>{}", "9".repeat(400));
    assert!(huge.parse::<Criterion>().is_err());
}

/// Guards against a pass of what nobody has seen, and against a failure by what was not there.
#[test]
fn absent_is_no_success_and_nothing_is_no_failure() {
    let report = report(&[0, 0]);
    let judge = |criterion: &str| Judgement::of(&[parsed(criterion)], &report);
    for of_nothing in ["reclaim_p99_ms>50", "reclaim_p99_ms<50", "reclaim_p99_ms!=50"] {
        assert!(judge(of_nothing).passed(), "{of_nothing}");
    }
    let unseen = judge("psi_some_percent>50");
    assert_eq!((unseen.met.len(), unseen.unjudged.len(), unseen.passed()), (0, 1, false));
    let told = unseen.unjudged[0].to_string();
    assert_eq!(
        told,
        "psi_some_percent>50 cannot be judged of runs 1, 2: this kernel does not measure pressure (PSI)"
    );
    let none = Judgement::of(&[parsed("kills>0")], &Report::default());
    assert_eq!(none.unjudged[0].to_string(), "kills>0 cannot be judged: no run has ended");
}

/// Guards what is said of a failure, and that of several criteria any is enough.
#[test]
fn a_failure_says_what_was_where() {
    let judgement = Judgement::of(&[parsed("incidents>9"), parsed("kills > 2")], &report(&[1, 1234]));
    let told: Vec<_> = judgement.met.iter().map(ToString::to_string).collect();
    assert_eq!(told, ["run 2 failed by kills > 2: kills was 1,234"]);
    assert_eq!(judgement.met[0].measure, "kills");
}

/// Guards the parser against whatever is written: an answer, and one that can be shown; what it takes it takes again.
#[test]
fn no_text_breaks_it() {
    const PARTS: [&str; 24] = [
        "kills",
        "reclaim_p99_ms",
        "peak_bytes",
        "psi_some_percent",
        "bogo_ops_per_second.vm",
        ">",
        ">=",
        "=",
        "!",
        "<",
        "==",
        " ",
        "0",
        "9",
        ".",
        "1e9",
        "ms",
        "G",
        "%",
        "µs",
        "é",
        "\u{0}",
        "\u{1b}[0m",
        "&&",
    ];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    let mut taken = 0;
    for _ in 0..10_000 {
        let mut parts: Vec<_> = (0..next(6)).map(|_| PARTS[next(PARTS.len())]).collect();
        if next(2) == 0 {
            // What is nearly one: a measure, a sign and a digit in front.
            parts.splice(0..0, [PARTS[next(5)], PARTS[5 + next(6)], PARTS[12 + next(2)]]);
        }
        let text = parts.concat();
        match text.parse::<Criterion>() {
            Ok(criterion) => {
                taken += 1;
                assert!(criterion.bound.is_finite() && criterion.bound >= 0.0);
                let again = parsed(&criterion.to_string());
                assert_eq!(
                    (again.bound.to_bits(), again.operator),
                    (criterion.bound.to_bits(), criterion.operator)
                );
            }
            Err(error) => assert!(!error.is_empty() && !error.contains(char::is_control), "{error:?}"),
        }
    }
    assert!(taken > 100, "{taken}");
}
