//! One file per subcommand, and what they share: how they end.

mod agent;
mod alarm;
mod aside;
mod bugreport;
mod check;
mod diff;
mod escort;
mod explain;
mod follow;
mod history;
mod hooks;
mod import;
mod log_only;
mod pids_events;
mod reconcile;
mod replay;
mod ring;
mod run;
mod schema;
mod shown;
mod trace;
mod witness;

use std::process::ExitCode;

use crate::{
    agent::config::ConfigError,
    cli::{Cli, Command},
    kernel::load::cannot_trace,
    profile::child::StartError,
    say::say,
};

/// Wrong usage, as of clap's own errors.
const WRONG_USAGE: u8 = 2;
/// Cannot trace here.
const CANNOT_TRACE: u8 = 3;
/// A check found what it was to fail on.
const FOUND: u8 = 4;

/// Runs what the command line asks for. Errors are said here and nowhere else.
#[must_use]
pub fn run(cli: Cli) -> ExitCode {
    let result = match cli.command {
        None => trace::run(&cli.trace),
        Some(Command::Trace(args)) => trace::run(&args),
        Some(Command::Replay(args)) => replay::run(&args),
        Some(Command::Import(args)) => import::run(&args),
        Some(Command::History(args)) => history::run(&args),
        Some(Command::Hooks(args)) => hooks::run(&args),
        Some(Command::Check(args)) => match check::run(&args) {
            Ok(true) => return ExitCode::from(FOUND),
            other => other.map(drop),
        },
        Some(Command::Agent(args)) => agent::run(&args),
        Some(Command::Bugreport(args)) => bugreport::run(&args),
        Some(Command::Explain(args)) => explain::run(&args),
        Some(Command::Run(args)) => match run::run(&args) {
            Ok(status) => return ExitCode::from(status),
            Err(error) => Err(error),
        },
        Some(Command::Diff(args)) => diff::run(&args),
        Some(Command::Schema(args)) => schema::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            say!("{error:#}");
            if let Some(error) = error.downcast_ref::<StartError>() {
                ExitCode::from(error.exit_status())
            } else if cannot_trace(&error) {
                ExitCode::from(CANNOT_TRACE)
            } else if error.is::<explain::Unknown>()
                || error.is::<ConfigError>()
                || error.is::<run::WrongUsage>()
            {
                ExitCode::from(WRONG_USAGE)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

/// Whoever read our output has seen enough.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    })
}
