//! The project's own tool: `cargo xtask setup`, `build`, `run`, `demo`, `test`, `bench` and `vm`.
//!
//! This file only wires: each subcommand is a module with an `Args` and a function that other subcommands can
//! call too.

mod apt;
mod bench;
mod build;
mod cache;
mod demo;
mod host;
mod lines;
mod process;
mod progress;
mod run;
mod scratch;
mod setup;
mod test;
mod toolchain;
mod vm;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Builds oomtrace, and tests it on this machine and in virtual machines.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Find or install what the build and the virtual machines need
    Setup(setup::Args),
    /// Build the eBPF object, oomtrace with it inside, and the test scenarios
    Build(build::Args),
    /// Build, then run oomtrace with the privileges that tracing needs
    Run(run::Args),
    /// Trace one contained OOM kill and show it
    Demo(demo::Args),
    /// Format, lints, unit tests, and real OOM kills: here, and on every kernel in virtual machines
    Test(test::Args),
    /// Measure what oomtrace costs, beside other tools, against the project's targets
    Bench(bench::Args),
    /// Boot kernels in virtual machines and run a command in each
    Vm(Box<vm::Args>),
}

fn main() -> ExitCode {
    match dispatch(Cli::parse().command) {
        Ok(code) => code,
        Err(err) => {
            eprintln!("error: {err:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> Result<ExitCode> {
    match command {
        Command::Setup(args) => setup::main(&args).map(|()| ExitCode::SUCCESS),
        Command::Build(args) => build::main(&args).map(|()| ExitCode::SUCCESS),
        Command::Run(args) => run::main(&args),
        Command::Demo(args) => demo::main(&args),
        Command::Test(args) => test::main(&args),
        Command::Bench(args) => bench::main(&args),
        Command::Vm(args) => vm::main(&args),
    }
}
