//! `oomtrace diff`

use std::{
    io::{Write as _, stdout},
    path::Path,
};

use anyhow::{Context as _, anyhow};

use super::{
    run::{files::Target, terminal::COLUMNS},
    shown::{colour, width},
};
use crate::{
    cli::DiffArgs,
    profile::{
        compare::{self, compare},
        page,
        report::Report,
        show,
    },
};

/// Compares reports.
pub fn run(args: &DiffArgs) -> anyhow::Result<()> {
    let html = args.html.as_deref().map(Target::open).transpose()?;
    let reports = args.files.iter().map(|file| named(file)).collect::<anyhow::Result<Vec<_>>>()?;
    let comparison = compare(&reports)?;
    let text = if args.json {
        let mut text = serde_json::to_string_pretty(&comparison)?;
        text.push('\n');
        text
    } else {
        show::comparison(&comparison, width().unwrap_or(COLUMNS), colour())
    };
    if let Some(html) = html {
        html.write(&page::comparison(&comparison))?;
    }
    stdout().write_all(text.as_bytes()).context("Standard output cannot be written to")
}

/// A report, and what it is called: by whoever made it, or else by its file.
fn named(file: &Path) -> anyhow::Result<(String, Report)> {
    let report = compare::read(file).map_err(|problem| anyhow!(problem))?;
    let name = report.name.clone().filter(|name| !name.is_empty());
    Ok((name.unwrap_or_else(|| file.display().to_string()), report))
}
