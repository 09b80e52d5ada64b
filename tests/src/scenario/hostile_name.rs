//! A victim whose name is an attack on whoever reads it.

use anyhow::Result;

use super::{Needs, Scenario};
use crate::compare::Expected;
use crate::deadline::Deadline;
use crate::eat::{Eat, word};
use crate::eater::Eater;
use crate::size::MIB;
use crate::stage::Stage;
use crate::tracer::Tracer;

/// An escape sequence, a newline, a quote, a backslash, a byte that is not UTF-8, two more control characters, one
/// of them beyond ASCII, a parenthesis and a format: 15 bytes, as long as a comm can be.
const NAME: &[u8] = b"\x1b[2J\n\"\\\xff\x7f\t\xc2\x9b)%s";

/// Guards terminals and JSON readers: a process may call itself anything.
pub const SCENARIO: Scenario = Scenario {
    name: "hostile_name",
    guards: "a victim's name with control characters, quotes and invalid UTF-8 breaks neither JSON nor a terminal",
    needs: Needs::Memcg,
    kills: 1,
    run,
};

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let tree = stage.tree()?;
    let group = tree.group("hostile")?;
    group.set_limit(32 * MIB)?;
    let mut eater = stage.eater(NAME, &Eat { anon: 64 * MIB, ..Eat::default() }, Some(&group))?;

    let human = stage.tracer(&["-o", "human"])?;
    let watch = stage.watch(&[])?;
    eater.order(word::FILL)?;
    eater.killed(stage.deadline)?;
    let expected = [Expected::kill(&eater.facts, &eater.facts, &group)];
    let seen = stage.finish(watch, &expected)?;

    stage.judge(&seen, &expected, &[&eater.facts]);
    human.map_or(Ok(()), |human| check_human(stage, human, &eater))
}

/// Checks that the human report names the victim and holds no control character but its own newlines.
fn check_human(stage: &mut Stage<'_>, mut human: Tracer, victim: &Eater) -> Result<()> {
    let pid = victim.pid().to_string();
    let names = |lines: &[Vec<u8>]| lines.iter().any(|line| String::from_utf8_lossy(line).contains(&pid));
    let deadline: Deadline = stage.deadline;
    human.until(deadline, "the human report", names)?;
    let output = human.stop(deadline)?;
    stage.keep_output("human", &output)?;
    stage.checks.that(names(&output.stdout), || format!("the human report does not name pid {pid}"));
    stage.checks.that(output.status.success(), || format!("oomtrace ended with {}", output.status));
    for line in &output.stdout {
        let shown = line.escape_ascii();
        let text = str::from_utf8(line);
        stage.checks.that(text.is_ok_and(|text| !text.chars().any(char::is_control)), || {
            format!("the human report has raw bytes in {shown}")
        });
    }
    Ok(())
}
