//! `oomtrace schema`

use std::io::{Write as _, stdout};

use anyhow::Context as _;

use crate::{
    cli::SchemaArgs,
    incident::Line,
    profile::{compare::Comparison, report::Report},
};

/// Prints the JSON Schema of a line of output, of the report of a run, or of a comparison of reports.
pub fn run(args: &SchemaArgs) -> anyhow::Result<()> {
    let schema = match args {
        SchemaArgs { run: true, .. } => schemars::schema_for!(Report),
        SchemaArgs { diff: true, .. } => schemars::schema_for!(Comparison),
        _ => schemars::schema_for!(Line),
    };
    let mut text = serde_json::to_string_pretty(&schema)?;
    text.push('\n');
    stdout().write_all(text.as_bytes()).context("Standard output cannot be written to")?;
    Ok(())
}
