//! `cargo xtask test`: format, lints, unit tests, and the scenarios, live and in virtual machines.

mod checks;
mod fields;
mod full;
mod matrix;
mod promtool;
mod service;
mod soak;
mod table;

use std::env;
use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use anyhow::{Result, anyhow};

use crate::build::Built;
use crate::{build, vm};
use matrix::Choice;
use table::{Cell, Status, Table};

/// What `cargo xtask test` can be told.
#[derive(clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own on the command line")]
pub struct Args {
    /// A skipped test is a failure; so it is where CI=true
    #[arg(long)]
    strict: bool,
    /// Leave out the virtual machines: quicker, and no verdict on other kernels
    #[arg(long)]
    no_vm: bool,
    /// Add what takes longer: every scenario in every tier of every kernel, every mutation of the type
    /// information, 10,000 mixtures of causes for forks to fail on each kernel, the agent's hundreds of kills and deaths, 40 minutes of an agent in a
    /// guest and five here, a storm of 2,000 kills, half an hour and 10,000 kills of `oomtrace run`, and fuzzing
    #[arg(long)]
    full: bool,
    /// Write the documentation's table of fields from what the scenarios saw
    #[arg(long)]
    write_fields: bool,
    /// Run only these scenarios, or `service` (the agent under systemd), and no other checks
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

/// Runs the tests, prints the matrix, and fails if one test did.
pub fn main(args: &Args) -> Result<ExitCode> {
    let started = Instant::now();
    let strict = args.strict || env::var_os("CI").is_some_and(|value| value == "true");
    let mut table = Table::default();
    let built = thread::scope(|scope| {
        let long = args.only.is_empty().then(|| {
            table.add(checks::short());
            table.add(promtool::check());
            scope.spawn(checks::long)
        });
        let built = scenarios(args, &mut table);
        let panicked =
            |_| vec![Cell::of("lints and unit tests", "host", Err(anyhow!("their thread panicked")))];
        for cell in long.into_iter().flat_map(|long| long.join().unwrap_or_else(panicked)) {
            table.add(cell);
        }
        built
    })?;
    if args.write_fields {
        matrix::fields(&built)?.write()?;
    }
    if args.full {
        table.add(full::storm(&built));
        table.add(full::profile(&built));
        for cell in soak::here(&built) {
            table.add(cell);
        }
        for cell in full::fuzz() {
            table.add(cell);
        }
    }
    println!("{}", table.render());
    println!("tested in {} s", started.elapsed().as_secs());
    let counts = table.counts();
    println!("{} passed, {} failed, {} skipped", counts.passed, counts.failed, counts.skipped);
    let bad = counts.failed > 0 || (strict && counts.skipped > 0);
    if strict && counts.failed == 0 && counts.skipped > 0 {
        eprintln!(
            "error: tests were skipped, and here that is a failure: see above what would make them run"
        );
    }
    Ok(if bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Builds, and runs the scenarios here and in virtual machines.
fn scenarios(args: &Args, table: &mut Table) -> Result<Built> {
    let built = build::build(false)?;
    let (service, only): (Vec<_>, Vec<_>) = args.only.iter().cloned().partition(|name| name == service::NAME);
    if !service.is_empty() && only.is_empty() {
        for cell in service::run(&built) {
            table.add(cell);
        }
        return Ok(built);
    }
    let choice = Choice { only, full: args.full };
    for cell in matrix::live(&built, &choice)? {
        table.add(cell);
    }
    if args.no_vm {
        table.add(Cell {
            row: "all scenarios".to_owned(),
            column: "VMs".to_owned(),
            status: Status::Skipped,
            reason: "--no-vm was given: leave it out to run them".to_owned(),
        });
    } else {
        let wanted = args.only.is_empty() || !service.is_empty();
        let cells = thread::scope(|scope| {
            // Mostly it waits: for two starts of a machine.
            let beside = wanted.then(|| scope.spawn(|| service::run(&built)));
            let long = (args.full && args.only.is_empty()).then(|| scope.spawn(|| soak::guest(&built)));
            let mut cells = matrix::guests(&built, &choice, vm::jobs())?;
            for (name, beside) in [(service::NAME, beside), (soak::NAME, long)] {
                let Some(beside) = beside else { continue };
                let panicked = |_| vec![Cell::of(name, "VMs", Err(anyhow!("its thread panicked")))];
                cells.extend(beside.join().unwrap_or_else(panicked));
            }
            anyhow::Ok(cells)
        })?;
        for cell in cells {
            table.add(cell);
        }
    }
    Ok(built)
}
