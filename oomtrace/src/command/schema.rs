//! `oomtrace schema`

use std::io::{Write as _, stdout};

use anyhow::Context as _;

use crate::incident::Line;

/// Prints the JSON Schema of a line of output.
pub fn run() -> anyhow::Result<()> {
    let schema = schemars::schema_for!(Line);
    let mut text = serde_json::to_string_pretty(&schema)?;
    text.push('\n');
    stdout().write_all(text.as_bytes()).context("Standard output cannot be written to")?;
    Ok(())
}
