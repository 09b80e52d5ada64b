//! `cargo xtask bench`: what oomtrace costs, beside other tools, against the project's targets.

mod figure;
mod measure;
mod table;
mod target;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::vm::kernel::Wanted;
use crate::{build, host};
use figure::Figures;
use measure::{Part, Setting};

/// What `cargo xtask bench` can be told.
#[derive(clap::Args)]
pub struct Args {
    /// Fail when a target is missed or was not measured
    #[arg(long)]
    check: bool,
    /// Write the figures and the targets to this file as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The kernel of the virtual machines. Not every kernel suits the other tools' packages; 6.1 does
    #[arg(long, default_value = "6.1")]
    kernel: Wanted,
    /// A thousand kills for each delay instead of a hundred
    #[arg(long)]
    full: bool,
    /// Measure only these parts
    #[arg(long, value_delimiter = ',')]
    only: Vec<Part>,
    /// Do not build; measure what is there
    #[arg(long)]
    no_build: bool,
}

/// Measures, prints the figures of each place as soon as they are there, and judges.
pub fn main(args: &Args) -> Result<ExitCode> {
    let built = if args.no_build { build::installed(false) } else { build::build(false)? };
    let setting = Setting { built, kernel: args.kernel.clone(), kills: if args.full { 1000 } else { 100 } };
    let mut figures = Figures::default();
    let mut problems = Vec::new();
    let wanted = |part: &Part| args.only.is_empty() || args.only.contains(part);
    for (_, place) in Part::ALL.into_iter().filter(|(part, _)| wanted(part)) {
        if place.is_here() && !host::is_root() {
            problems.push(format!("{}: not measured, since tracing takes root", place.name()));
        } else if let Err(error) = setting.measure(place, &mut figures) {
            // What was measured before is shown all the same.
            problems.push(format!("{}: {error:#}", place.name()));
        }
        println!("{}", table::figures(&figures, place.name()));
    }
    let verdicts = target::judge(&figures);
    println!("{}", table::verdicts(&verdicts, &problems));
    if let Some(file) = &args.json {
        let report = table::json(&figures, &verdicts, &problems, &args.kernel.to_string());
        let text = serde_json::to_string_pretty(&report).context("cannot write the figures as JSON")?;
        fs::write(file, text + "\n").with_context(|| format!("cannot write {}", file.display()))?;
    }
    let met = problems.is_empty() && verdicts.iter().all(|verdict| verdict.met == Some(true));
    Ok(if met || !args.check { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
