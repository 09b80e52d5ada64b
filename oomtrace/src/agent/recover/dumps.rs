//! What firmware kept of a log as the kernel panicked (pstore), and systemd put elsewhere (systemd-pstore.service).
//!
//! A dump names neither its machine nor its boot, and has no time but that of its file: the kernel gives it the time of the panic
//! (fs/pstore/inode.c, `pstore_mkfile()`); what systemd has moved has that of the next start.

use std::{fs, path::PathBuf, time::SystemTime};

use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use super::Recovery;
use crate::{
    incident::{Assembler, Event, WallTime},
    kmsg::source::{About, FindError, Want, find, goes_on, read as read_log},
    session::Source,
};

/// Incidents of one dump, at the most: it is some hundred KiB.
const EVENTS: usize = 256;

/// Files of dumps, at the most: each is open until it is read.
const FILES: usize = 256;

/// One dump, in as many files as it has.
pub struct Dump(Vec<(PathBuf, fs::File)>);

/// Opens the dumps that are in these folders. What cannot be opened is added to `unread`.
pub(super) fn open(folders: &[PathBuf], unread: &mut Vec<String>) -> Vec<Dump> {
    let mut dumps = Vec::new();
    for folder in folders.iter().filter(|folder| folder.is_dir()) {
        let files = match find(std::slice::from_ref(folder)) {
            Ok(files) => files,
            Err(FindError::Empty(_)) => continue,
            Err(error) => {
                unread.push(format!("{error}{}", cause(&error)));
                continue;
            }
        };
        if files.len() > FILES {
            unread.push(format!("{} has more than {FILES} files: the rest is not read", folder.display()));
        }
        for dump in files.get(..FILES).unwrap_or(&files).chunk_by(|one, next| goes_on(one, next)) {
            let opened = dump.iter().filter_map(|path| match fs::File::open(path) {
                Ok(file) => Some((path.clone(), file)),
                Err(error) => {
                    unread.push(format!("{} cannot be read: {error}", path.display()));
                    None
                }
            });
            dumps.push(Dump(opened.collect()));
        }
    }
    dumps
}

/// Tells what dumps have.
pub(super) fn read(dumps: Vec<Dump>, recovery: &mut Recovery<'_>) {
    for dump in dumps {
        tell(dump, recovery);
        if recovery.over {
            return;
        }
    }
}

fn tell(dump: Dump, recovery: &mut Recovery<'_>) {
    let mut assembler = Assembler::new(recovery.gap.session(), Source::Import);
    let (mut events, mut last_us, mut written) = (Vec::new(), 0, None);
    for (path, file) in dump.0 {
        let modified = file.metadata().and_then(|about| about.modified()).ok().and_then(moment);
        written = written.max(modified);
        let about = About { written: modified, zone: TimeZone::UTC };
        let done = read_log(
            file,
            &about,
            &mut |message| {
                last_us = last_us.max(message.stamp.boot_us.unwrap_or(0));
                events.extend(assembler.message(message));
                if events.len() >= EVENTS {
                    Want::Nothing
                } else {
                    // The last stamp counts, whatever it is of.
                    Want::Everything
                }
            },
            &mut |_| {},
        );
        if let Err(error) = done {
            recovery.unread(format!("{} cannot be read: {error}{}", path.display(), cause(&error)));
        }
    }
    events.extend(assembler.end());
    events.truncate(EVENTS);
    for event in &mut events {
        complete(event, last_us, written, recovery);
    }
    recovery.events(events);
}

/// Adds what follows from where it was found.
fn complete(event: &mut Event, last_us: u64, written: Option<Timestamp>, recovery: &Recovery<'_>) {
    let common = event.common_mut();
    common.host.get_or_insert_with(|| recovery.gap.host.name.clone());
    if common.time.is_none()
        && let (Some(written), Some(boot_ns)) = (written, common.boot_ns)
    {
        let before_ns = last_us.saturating_mul(1000).saturating_sub(boot_ns);
        let before = SignedDuration::from_nanos(i64::try_from(before_ns).unwrap_or(i64::MAX));
        common.time = written.checked_sub(before).ok().map(WallTime);
    }
}

fn moment(time: SystemTime) -> Option<Timestamp> {
    Timestamp::try_from(time).ok()
}

/// What is behind an error, in words.
fn cause(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(String::new, |cause| format!(": {cause}"))
}
