//! What needs no kernel: format, lints, unit tests.

use super::table::Cell;
use crate::process;

/// One of them: its name and cargo's arguments.
pub struct Check {
    name: &'static str,
    args: &'static [&'static str],
}

/// All of them. The unit tests include the golden files.
pub const ALL: [Check; 3] = [
    Check { name: "format", args: &["fmt", "--all", "--check"] },
    Check {
        name: "lints",
        args: &["clippy", "--quiet", "--workspace", "--all-targets", "--", "--deny", "warnings"],
    },
    Check { name: "unit tests", args: &["test", "--quiet", "--workspace"] },
];

impl Check {
    /// Runs it; what it says goes to our own output.
    pub fn run(&self) -> Cell {
        eprintln!("cargo {}", self.args.join(" "));
        Cell::of(self.name, "host", process::inherit(process::cargo().args(self.args)))
    }
}
