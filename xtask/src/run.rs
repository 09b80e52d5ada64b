//! `cargo xtask run`: builds, then becomes oomtrace.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::{Context, Error, Result};

use crate::{build, host};

/// What `cargo xtask run` can be told.
#[derive(clap::Args)]
pub struct Args {
    /// oomtrace's own arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

/// Builds, and replaces this process by oomtrace; returns only on failure.
pub fn main(args: &Args) -> Result<ExitCode> {
    let oomtrace = build::build(false)?.oomtrace;
    let mut command = if host::is_root() {
        Command::new(&oomtrace)
    } else {
        let mut sudo = Command::new("sudo");
        sudo.arg(&oomtrace);
        sudo
    };
    let err = command.args(&args.args).exec();
    Err(Error::new(err)).with_context(|| format!("cannot start {}", command.get_program().display()))
}
