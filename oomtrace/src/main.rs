//! The command line: parses, runs, and turns the result into an exit status.

use std::process::ExitCode;

use clap::Parser as _;
use oomtrace::{cli::Cli, command};

fn main() -> ExitCode {
    command::run(Cli::parse())
}
