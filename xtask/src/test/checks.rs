//! What needs no kernel: format, lints, unit tests.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::table::Cell;
use crate::{process, progress};

/// One of them: its name and cargo's arguments.
struct Check {
    name: &'static str,
    args: &'static [&'static str],
    /// What is added to its nice value.
    nice: u8,
}

const FORMAT: Check = Check { name: "format", args: &["fmt", "--all", "--check"], nice: 0 };
/// Those that take minutes. The unit tests include the golden files.
const LONG: [Check; 3] = [
    Check {
        name: "lints",
        args: &["clippy", "--quiet", "--workspace", "--all-targets", "--", "--deny", "warnings"],
        nice: 19,
    },
    Check { name: "unit tests, built", args: &["test", "--quiet", "--workspace", "--no-run"], nice: 19 },
    // Some wait for what they started, and fail where guests leave that a hundredth of a processor.
    Check { name: "unit tests", args: &["test", "--quiet", "--workspace"], nice: 0 },
];

/// What takes a second, first.
pub fn short() -> Cell {
    Cell::of(FORMAT.name, "host", process::inherit(process::cargo().args(FORMAT.args)))
}

/// The others, beside everything else: most have what the scenarios, which wait a good deal, leave of the processors.
pub fn long() -> Vec<Cell> {
    LONG.iter().map(Check::run_beside).collect()
}

/// How many lines of each output of what failed are repeated.
const LINES: usize = 30;

/// Runs a command; what it says is in the error if it fails. Tests say on standard output why.
fn quiet(command: &mut Command) -> Result<()> {
    let output = command.output().context("it cannot be started")?;
    let [said, also] = [output.stdout, output.stderr].map(|bytes| {
        let text = String::from_utf8_lossy(&bytes);
        process::last_lines(&text, LINES)
    });
    ensure!(output.status.success(), "{}:\n{said}\n{also}", output.status);
    Ok(())
}

impl Check {
    fn run_beside(&self) -> Cell {
        let cargo = process::cargo();
        let mut nice = Command::new("nice");
        nice.args(["-n", &self.nice.to_string()]).arg(cargo.get_program()).args(self.args);
        if let Some(folder) = cargo.get_current_dir() {
            nice.current_dir(folder);
        }
        let label = format!("cargo {}", self.args.join(" "));
        Cell::of(self.name, "host", progress::step(&label, || quiet(&mut nice)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards that what a failed check says is told, wherever it says it.
    #[test]
    fn a_failure_repeats_both_outputs() {
        let error =
            quiet(Command::new("sh").args(["-c", "echo panicked; echo error >&2; exit 3"])).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("panicked\nerror") && text.contains('3'), "{text}");
        assert!(quiet(&mut Command::new("true")).is_ok());
    }
}
