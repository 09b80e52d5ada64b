//! What `--full` adds: a storm of two thousand kills, a long command under watch, and fuzzing.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::table::{Cell, Status};
use crate::build::Built;
use crate::setup::StressNg;
use crate::{cache, process, progress, scratch, workspace};

/// The fuzz targets.
const TARGETS: [&str; 4] = ["btf", "decode", "record_file", "assembler"];
/// How long each is fuzzed.
const FUZZING: Duration = Duration::from_mins(2);
const CARGO_FUZZ: &str = "0.13.2";

/// Two thousand kills on this machine, 50 cgroups, 20 of them at their limit at once.
pub fn storm(built: &Built) -> Cell {
    let mut storm = Command::new(&built.scenarios);
    storm.args(["storm", "--kills", "2000", "--seconds", "300", "--cgroups", "50", "--oomtrace"]);
    storm.arg(&built.oomtrace);
    let result = progress::step("a storm of 2,000 kills", || process::output(&mut storm));
    Cell::of("storm of 2,000", "live", result.map(drop))
}

/// `oomtrace run` for half an hour, and with ten thousand kills, on this machine.
pub fn profile(built: &Built) -> Cell {
    const NAME: &str = "run_long";
    let stress_ng = match StressNg::get().and_then(|stress_ng| process::path_with(stress_ng.folder())) {
        Ok(path) => path,
        Err(error) => {
            let (row, column) = (NAME.to_owned(), "live".to_owned());
            return Cell { row, column, status: Status::Skipped, reason: format!("{error:#}") };
        }
    };
    let mut scenarios = Command::new(&built.scenarios);
    scenarios.args(["profile", "--minutes", "30", "--kills", "10000", "--oomtrace"]).arg(&built.oomtrace);
    scenarios.env("PATH", stress_ng);
    let result = progress::step("half an hour, and 10,000 kills, of `oomtrace run`", || {
        process::output(&mut scenarios)
    });
    Cell::of(NAME, "live", result.map(drop))
}

/// Each fuzz target for a while, from the corpus that is kept. Skipped where there is no nightly compiler.
pub fn fuzz() -> Vec<Cell> {
    if let Err(error) = process::output(Command::new("cargo").args(["+nightly", "--version"])) {
        let reason =
            format!("fuzzing needs a nightly compiler (rustup toolchain install nightly): {error:#}");
        return vec![Cell {
            row: "fuzzing".to_owned(),
            column: "host".to_owned(),
            status: Status::Skipped,
            reason,
        }];
    }
    TARGETS.iter().map(|target| Cell::of(&format!("fuzz {target}"), "host", fuzz_one(target))).collect()
}

fn fuzz_one(target: &str) -> Result<()> {
    let root = cargo_fuzz()?;
    // New inputs go to the first folder: the corpus that is kept stays as it is.
    let found = scratch::folder_in(&workspace::target_dir().join("fuzz"))?;
    let mut cargo = Command::new("cargo");
    cargo.current_dir(workspace::root().join("oomtrace")).args(["+nightly", "fuzz", "run", target]);
    cargo.arg(found.path()).arg(format!("fuzz/corpus/{target}"));
    cargo.args(["--", "-detect_leaks=0", "-timeout=30"]);
    cargo.arg(format!("-max_total_time={}", FUZZING.as_secs()));
    cargo.env("PATH", process::path_with(&root)?).env_remove("CARGO_TARGET_DIR");
    // This cargo is the nightly's: what the outer one says of itself would mislead it.
    for name in ["RUSTUP_TOOLCHAIN", "CARGO", "RUSTC"] {
        cargo.env_remove(name);
    }
    progress::step(&format!("fuzzing {target}"), || process::output(&mut cargo)).map(drop)
}

/// Where cargo-fuzz is, built once.
fn cargo_fuzz() -> Result<std::path::PathBuf> {
    let place = cache::path(format!("cargo-fuzz-{CARGO_FUZZ}"))?;
    if !place.join("bin/cargo-fuzz").is_file() {
        let staging = cache::staging()?;
        let mut cargo = Command::new("cargo");
        cargo.args(["install", "cargo-fuzz", "--version", CARGO_FUZZ, "--locked", "--root"]);
        cargo.arg(staging.path().join("root")).arg("--target-dir").arg(staging.path().join("target"));
        progress::step("Building cargo-fuzz", || process::output(&mut cargo))?;
        if let Some(parent) = place.parent() {
            fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
        }
        cache::install(&staging.path().join("root"), &place)?;
    }
    Ok(place.join("bin"))
}
