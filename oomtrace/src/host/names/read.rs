//! Reads what others wrote: whatever a file is, and whatever is in it, it costs neither waiting nor much memory.

use std::{
    fs::{self, OpenOptions},
    io::Read as _,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use serde::de::DeserializeOwned;

/// Larger files are not read, bytes.
const LARGEST: u64 = 1 << 20;
/// Entries of a folder that are looked at.
const ENTRIES: usize = 8192;
/// Longer names are none (a DNS name has 253 letters).
const LONGEST: usize = 256;

/// What is in a file, if it is one, and of that form.
pub(super) fn json<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&bytes(path, LARGEST)?).ok()
}

/// A file, if it is one and no larger than that.
pub(super) fn bytes(path: &Path, largest: u64) -> Option<Vec<u8>> {
    // What is no file must not make us wait.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).ok()?;
    let data = file.metadata().ok().filter(|data| data.is_file() && data.len() <= largest)?;
    let mut bytes = Vec::with_capacity(usize::try_from(data.len()).ok()?);
    // It may grow meanwhile; and of what /proc has, no length is told.
    file.take(largest).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// The names of what a folder holds, as far as they are text.
pub(super) fn entries(folder: &Path) -> Vec<String> {
    let Ok(read) = fs::read_dir(folder) else { return Vec::new() };
    read.take(ENTRIES).filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
}

/// A name, if it is one.
pub(super) fn text(name: &str) -> Option<String> {
    (!name.is_empty() && name.len() <= LONGEST).then(|| name.to_owned())
}
