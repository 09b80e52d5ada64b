//! The archive: a new file that its owner alone can read.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use flate2::{Compression, write::GzEncoder};
use jiff::Timestamp;
use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};

use super::part::{Content, Part};

/// The folder that everything is in.
const FOLDER: &str = "oomtrace-bugreport";
/// What the archive has to say for itself, first of all.
const README: &str = "\
What `oomtrace bugreport` has gathered, for whoever looks into a problem with oomtrace.

Look through it before you send it: it tells the names of processes, users' ids, cgroups, containers and command lines of
the incidents that it has. What looks like a password, a token or a key is masked as ***, but nobody can know them all.

manifest.json lists the files, and what could not be had, with the reason.
";

/// What became of a part.
#[derive(Debug, PartialEq, Eq)]
pub struct Told {
    /// Its path in the archive.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
    /// How many bytes it has; else why it is not there.
    pub size: Result<usize, String>,
}

/// Writes all parts to a new file. A file that is there already is never touched; one that cannot be written to its end is
/// removed.
pub fn write(path: &Path, parts: Vec<Part>, made: Timestamp) -> anyhow::Result<Vec<Told>> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let file = file.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            anyhow::anyhow!("{} is there already: name another file by --output", path.display())
        }
        _ => anyhow::Error::new(error).context(format!("{} cannot be created", path.display())),
    })?;
    fill(&file, parts, made).and_then(|told| file.sync_all().map(|()| told)).map_err(|error| {
        // Half a report is none. If it cannot be removed either, the error says enough.
        let _ = fs::remove_file(path);
        anyhow::Error::new(error)
            .context(format!("{} cannot be written, and was removed again", path.display()))
    })
}

/// Writes the archive: the same parts at the same time give the same bytes.
fn fill(to: impl Write, parts: Vec<Part>, made: Timestamp) -> io::Result<Vec<Told>> {
    let mut told = Vec::new();
    let mut files = Vec::new();
    for Part { name, about, content } in parts {
        let content = content.map(Content::bytes);
        told.push(Told { name, about, size: content.as_ref().map(Vec::len).map_err(Clone::clone) });
        files.extend(content.ok().map(|content| (name, content)));
    }
    let mut archive = Archive { tar: Builder::new(GzEncoder::new(to, Compression::default())), made };
    archive.add("README.txt", README.as_bytes())?;
    archive.add("manifest.json", &Content::Json(manifest(&told, made)).bytes())?;
    for (name, content) in files {
        archive.add(name, &content)?;
    }
    archive.tar.into_inner()?.finish()?.flush()?;
    Ok(told)
}

fn manifest(told: &[Told], made: Timestamp) -> Value {
    let entries = told.iter().map(|Told { name, about, size }| match size {
        Ok(bytes) => json!({"name": name, "about": about, "bytes": bytes}),
        Err(reason) => json!({"name": name, "about": about, "absent": reason}),
    });
    json!({
        "schema": "oomtrace-bugreport/1",
        "oomtrace": env!("CARGO_PKG_VERSION"),
        "made": made.to_string(),
        "files": entries.collect::<Vec<_>>(),
    })
}

struct Archive<W: Write> {
    tar: Builder<W>,
    made: Timestamp,
}

impl<W: Write> Archive<W> {
    fn add(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o600);
        header.set_size(content.len() as u64);
        header.set_mtime(self.made.as_second().try_into().unwrap_or(0));
        self.tar.append_data(&mut header, format!("{FOLDER}/{name}"), content)
    }
}

#[cfg(test)]
#[path = "archive_tests.rs"]
mod tests;
