//! Outputs whose reader goes away, and outputs that are full.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::ending::{check, ends, of_case, status};
use super::run::{Installed, Reader, Start};
use crate::compare::Expected;
use crate::eat::{Eat, word};
use crate::size::MIB;
use crate::stage::{Stage, argument};
use crate::tracer::Tracer;
use crate::watch::{Watch, read};

/// How long a kill may take to be reported.
const PATIENCE: Duration = Duration::from_secs(15);

/// Checks each: what prints at once, then what prints when there is a kill.
pub fn cases(stage: &mut Stage<'_>, oomtrace: &Installed, recording: &Path) -> Result<()> {
    let file = argument(recording)?;
    let printing: [&[&str]; 6] = [
        &["schema"],
        &["hooks"],
        &["hooks", "--json"],
        &["replay", file],
        &["replay", "--json", file],
        // Its first line comes before the first kill.
        &["--json", "--no-kmsg"],
    ];
    for arguments in printing {
        for (stdout, ended, words) in [
            (Reader::Gone, status::DONE, &[][..]),
            (Reader::Full, status::FAILED, &["utput", "No space left"]),
        ] {
            let start = Start { stdout, ..Start::default() };
            let name = format!("{}, standard output {stdout:?}", arguments.join(" "));
            let run = oomtrace.start(&start, arguments)?;
            ends(stage, &name, run, (ended, words));
        }
    }
    at_a_kill(stage, oomtrace)
}

/// Checks those that notice at a kill only, and those whose standard error cannot be written to: it is for words that
/// tracing can do without.
fn at_a_kill(stage: &mut Stage<'_>, oomtrace: &Installed) -> Result<()> {
    let tree = stage.tree()?;
    let group = tree.group("unread")?;
    group.set_limit(16 * MIB)?;
    let mut eater = stage.eater("unread", &Eat { anon: 32 * MIB, ..Eat::default() }, Some(&group))?;

    let attached = |start: &Start, options: &[&str]| -> Result<Tracer> {
        let mut run = oomtrace.trace(start, options)?;
        run.attached(stage.deadline)?;
        Ok(run)
    };
    let unread = attached(&Start { stdout: Reader::Gone, ..Start::default() }, &[])?;
    let full = attached(&Start { stdout: Reader::Full, ..Start::default() }, &[])?;
    let mut speechless = Vec::new();
    for stderr in [Reader::Gone, Reader::Full] {
        let mut run = oomtrace.trace(&Start { stderr, ..Start::default() }, &["--json"])?;
        // Its first line on standard output is all that tells that it traces.
        let _silence_is_found_below =
            run.until(stage.deadline.or_after(PATIENCE), "a line", |lines| !lines.is_empty());
        speechless.push((stderr, run));
    }

    let watch = Watch::begin(None, &[], stage.deadline)?;
    eater.order(word::FILL)?;
    eater.killed(stage.deadline)?;
    let expected = [Expected::kill(&eater.facts, &eater.facts, &group)];
    let mut seen = watch.finish(&[eater.pid()], stage.deadline)?;

    for (name, run, ended, words) in [
        ("for people, standard output Gone", unread, status::DONE, &[][..]),
        ("for people, standard output Full", full, status::FAILED, &["utput", "No space left"]),
    ] {
        ends(stage, name, run, (ended, words));
    }
    for (stderr, mut run) in speechless {
        run.reported(&[eater.pid()], stage.deadline.or_after(PATIENCE));
        let output = run.stop(stage.deadline)?;
        let name = format!("standard error {stderr:?}");
        check(&mut stage.checks, &name, &output, (status::DONE, &[]));
        seen.traced = Some(read(output)?);
        of_case(stage, &name, |stage| stage.judge(&seen, &expected, &[&eater.facts]));
    }
    Ok(())
}
