//! Which files to read, and in which order: what logrotate and pstore made several files of reads forward.

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
    fs, io,
    path::{Path, PathBuf},
};

/// How deep folders are walked.
const DEPTH: usize = 16;
/// Files, at the most.
const FILES: usize = 100_000;

/// Why files cannot be found.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// The operating system says so.
    #[error("{path} cannot be read", path = .path.display())]
    Io {
        /// Of what.
        path: PathBuf,
        /// Its words.
        source: io::Error,
    },
    /// Nothing to read there.
    #[error("there is no file in {path}", path = .0.display())]
    Empty(PathBuf),
    /// More than anybody meant.
    #[error("there are more than {FILES} files in {path}", path = .0.display())]
    TooMany(PathBuf),
}

/// The files that `paths` are or hold. Folders are walked, and symbolic links in them are not followed. Files of one log come
/// together, the oldest first, where the first of them stands.
pub fn find(paths: &[PathBuf]) -> Result<Vec<PathBuf>, FindError> {
    let mut files = Vec::new();
    for path in paths {
        let kind = fs::metadata(path).map_err(|source| FindError::Io { path: path.clone(), source })?;
        if kind.is_dir() {
            let before = files.len();
            walk(path, DEPTH, &mut files)?;
            if files.len() == before {
                return Err(FindError::Empty(path.clone()));
            }
        } else {
            files.push(path.clone());
        }
    }
    let mut seen = HashSet::new();
    files.retain(|file| seen.insert(file.clone()));
    let mut logs = HashMap::new();
    let mut keyed: Vec<_> = files
        .into_iter()
        .map(|file| {
            let place = place(&file);
            let next = logs.len();
            let log = *logs.entry(place.log.clone()).or_insert(next);
            ((log, place.age), file)
        })
        .collect();
    keyed.sort();
    // The newest part of a dump was written first.
    for parts in
        keyed.chunk_by_mut(|((log, one), _), ((same, next), _)| log == same && one.is_before_in_dump(next))
    {
        parts.reverse();
    }
    Ok(keyed.into_iter().map(|(_, file)| file).collect())
}

/// Whether a file goes on with what is in the one before: `kern.log` after `kern.log.1`, a part of a dump after another.
#[must_use]
pub fn goes_on(before: &Path, next: &Path) -> bool {
    place(before).log == place(next).log
}

fn walk(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), FindError> {
    let failed = |source| FindError::Io { path: folder.to_owned(), source };
    let mut entries = fs::read_dir(folder).map_err(failed)?.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    // systemd-pstore puts the parts of a dump together, and leaves them there too.
    let whole = entries.iter().any(|entry| entry.file_name() == "dmesg.txt");
    for entry in entries {
        let kind = entry.file_type().map_err(failed)?;
        let path = entry.path();
        if kind.is_dir() && depth > 0 {
            walk(&path, depth - 1, files)?;
        } else if kind.is_file() && !(whole && dump(&name(&path)).is_some()) {
            if files.len() >= FILES {
                return Err(FindError::TooMany(folder.to_owned()));
            }
            files.push(path);
        }
    }
    Ok(())
}

/// Where a file stands among those of its log.
struct Place {
    log: PathBuf,
    age: Age,
}

/// The oldest is the least.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Age {
    /// `dmesg-efi-167012345602001`: a part of a dump.
    Part(u64),
    /// `messages-20230102.gz` (logrotate's `dateext`).
    Dated(String),
    /// `messages.3.gz`.
    Numbered(Reverse<u64>),
    /// `messages`.
    Current,
}

impl Age {
    /// Whether `next` is of the same dump: its number goes on.
    fn is_before_in_dump(&self, next: &Self) -> bool {
        let (Self::Part(one), Self::Part(next)) = (self, next) else { return false };
        // EFI: (time * 100 + part) * 1000 + count (drivers/firmware/efi/efi-pstore.c, `generic_id()`), and a dump takes little
        // time. ERST: one after the other (`cper_next_record_id()`).
        let part = |id: u64| id / 1000 % 100;
        next - one == 1 || (next - one < 1_000_000 * 10 && part(*next) == part(*one) + 1)
    }
}

fn place(path: &Path) -> Place {
    let name = name(path);
    let log = |stem: &str| path.with_file_name(stem);
    if let Some((stem, id)) = dump(&name) {
        return Place { log: log(stem), age: Age::Part(id) };
    }
    let bare =
        [".gz", ".xz", ".zst", ".bz2"].into_iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name);
    if let Some((stem, number)) = bare.rsplit_once('.')
        && number.len() <= 5
        && let Some(number) = decimal(number)
    {
        return Place { log: log(stem), age: Age::Numbered(Reverse(number)) };
    }
    if let Some((stem, date)) = bare.split_once('-').filter(|(_, date)| {
        date.len() >= 8
            && date.starts_with(|first: char| first.is_ascii_digit())
            && date.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
    }) {
        return Place { log: log(stem), age: Age::Dated(date.to_owned()) };
    }
    Place { log: log(bare), age: Age::Current }
}

/// Part of a dump that firmware has kept: its stem and its number (fs/pstore/inode.c, `pstore_mkfile()`).
fn dump(name: &str) -> Option<(&str, u64)> {
    let name = name.strip_suffix(".enc.z").unwrap_or(name);
    let (stem, id) = name.rsplit_once('-')?;
    if !stem.starts_with("dmesg-efi") && stem != "dmesg-erst" {
        return None;
    }
    Some((stem, decimal(id)?))
}

fn decimal(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
