//! What needs no kernel: format, lints, unit tests.

use std::env;
use std::process::Command;

use super::table::Cell;
use crate::{process, workspace};

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
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.current_dir(workspace::root()).args(self.args);
        Cell::of(self.name, "host", process::inherit(&mut cargo))
    }
}
