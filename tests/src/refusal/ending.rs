//! How a run has to end: with which status, and in which words.

use std::time::Duration;

use crate::checks::Checks;
use crate::stage::Stage;
use crate::tracer::{Output, Tracer};

/// How long what ends by itself may take to do so.
const PATIENCE: Duration = Duration::from_secs(15);

/// The exit statuses that oomtrace documents.
pub mod status {
    /// Done.
    pub const DONE: i32 = 0;
    /// Failed.
    pub const FAILED: i32 = 1;
    /// Wrong usage.
    pub const USAGE: i32 = 2;
    /// Cannot trace here.
    pub const CANNOT_TRACE: i32 = 3;
}

/// Waits for a run that ends by itself and checks it. Gives its output if it did end.
pub fn ends(
    stage: &mut Stage<'_>,
    case: &str,
    run: Tracer,
    (status, words): (i32, &[&str]),
) -> Option<Output> {
    match run.finish(stage.deadline.or_after(PATIENCE)) {
        Ok(output) => {
            check(&mut stage.checks, case, &output, (status, words));
            Some(output)
        }
        Err(error) => {
            stage.checks.fail(format!("{case}: it does not end by itself: {error:#}"));
            None
        }
    }
}

/// Checks that a run ended with that status and said those words, and that it did not crash. What it says it says on
/// standard error: standard output is for data.
pub fn check(checks: &mut Checks, case: &str, output: &Output, (status, words): (i32, &[&str])) {
    let (said, ended) = (output.said(), output.status);
    checks.that(ended.code() == Some(status), || {
        format!("{case}: it ended with {ended} and not with status {status}; it said: {said}")
    });
    for word in words {
        checks.that(said.contains(word), || format!("{case}: it does not say {word:?}, but: {said}"));
    }
    checks.that(!said.contains("panicked"), || format!("{case}: it crashed: {said}"));
    if matches!(status, status::USAGE | status::CANNOT_TRACE) {
        let lines = output.stdout.len();
        checks.that(lines == 0, || format!("{case}: {lines} lines of a refusal are on standard output"));
    }
}

/// Judges one case of several: its failures are told with its name.
pub fn of_case(stage: &mut Stage<'_>, case: &str, judge: impl FnOnce(&mut Stage<'_>)) {
    let others = std::mem::take(&mut stage.checks);
    judge(stage);
    let (failures, _) = std::mem::replace(&mut stage.checks, others).into_parts();
    stage.checks.that(failures.is_empty(), || format!("{case}: {}", failures.join("; ")));
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use super::*;

    /// Guards the judgement: a wrong status, a missing word, a crash and words among the data are each a failure.
    #[test]
    fn each_fault_is_a_failure() {
        let failures = |status: i32, stdout: &[&str], stderr: &str| {
            let lines = |lines: &[&str]| lines.iter().map(|line| line.as_bytes().to_vec()).collect();
            let (stdout, stderr) = (lines(stdout), lines(&[stderr]));
            let output = Output { stdout, stderr, status: ExitStatus::from_raw(status) };
            let mut checks = Checks::default();
            check(&mut checks, "case", &output, (status::CANNOT_TRACE, &["CAP_BPF"]));
            checks.failures().len()
        };
        assert_eq!(failures(3 << 8, &[], "oomtrace: it takes CAP_BPF."), 0);
        assert_eq!(failures(1 << 8, &[], "oomtrace: it takes CAP_BPF."), 1);
        assert_eq!(failures(9, &[], "oomtrace: it takes CAP_BPF."), 1, "a signal is no status");
        assert_eq!(failures(3 << 8, &[], "oomtrace: no."), 1);
        assert_eq!(failures(3 << 8, &["{}"], "oomtrace: it takes CAP_BPF."), 1);
        assert_eq!(failures(3 << 8, &[], "thread 'main' panicked at CAP_BPF"), 1);
    }
}
