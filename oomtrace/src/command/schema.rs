//! `oomtrace schema`

use std::io::{Write as _, stdout};

use anyhow::Context as _;

use crate::{cli::SchemaArgs, incident::Line, profile::report::Report};

/// Prints the JSON Schema of a line of output, or of the report of a run.
pub fn run(args: &SchemaArgs) -> anyhow::Result<()> {
    let schema = if args.run { schemars::schema_for!(Report) } else { schemars::schema_for!(Line) };
    let mut text = serde_json::to_string_pretty(&schema)?;
    text.push('\n');
    stdout().write_all(text.as_bytes()).context("Standard output cannot be written to")?;
    Ok(())
}
