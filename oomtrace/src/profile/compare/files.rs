//! Reports as files, which may be anything at all.

use std::{fs::File, io::Read as _, path::Path};

use serde::Deserialize;

use crate::{profile::report::Report, text::printable};

/// What is read of a file, at most: reports have less than a sixteenth of that.
pub const MOST_BYTES: u64 = 32 << 20;
/// What the format's name begins with; its version follows.
const FORMAT: &str = "oomtrace-run/";

/// What all versions have.
#[derive(Deserialize)]
struct Head {
    schema: String,
}

/// Reads what `oomtrace run --json` wrote.
///
/// # Errors
/// It cannot be read, or is something else: a sentence that names the file.
pub fn read(path: &Path) -> Result<Report, String> {
    let name = printable(&path.display().to_string());
    let mut text = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MOST_BYTES + 1).read_to_end(&mut text))
        .map_err(|error| format!("{name} cannot be read: {error}"))?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > MOST_BYTES {
        return Err(format!("{name} has more than {} MiB, which no report has", MOST_BYTES >> 20));
    }
    parse(&text).map_err(|problem| format!("{name} {problem}"))
}

fn parse(text: &[u8]) -> Result<Report, String> {
    const HOW: &str = "such a report is what \"oomtrace run --json FILE\" writes";
    if text.trim_ascii().is_empty() {
        return Err(format!("is empty: {HOW}; a run that was killed leaves none"));
    }
    let head: Head = serde_json::from_slice(text).map_err(|error| {
        if error.is_data() {
            return format!("is no report of a run: {HOW}");
        }
        let several =
            error.is_syntax() && error.line() > 1 && error.to_string().starts_with("trailing characters");
        if several {
            return format!("has several lines of JSON, and is no report of a run: {HOW}");
        }
        format!("is damaged, or no JSON at all ({}): {HOW}", printable(&error.to_string()))
    })?;
    let Some(version) = head.schema.strip_prefix(FORMAT) else {
        return Err(format!(
            "is in the format \"{}\", and no report of a run: {HOW}",
            printable(&head.schema)
        ));
    };
    if version != "1" {
        return Err(format!(
            "is in a later format ({}) than this oomtrace reads ({FORMAT}1): take the oomtrace that wrote it",
            printable(&head.schema)
        ));
    }
    serde_json::from_slice(text).map_err(|error| format!("is damaged: {}", printable(&error.to_string())))
}
