//! This boot's log, as far back as the kernel has it.

use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Read},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use super::{Recovery, suspended_ns};
use crate::{
    host::wall_clock_offset_ns,
    incident::{Assembler, Event, WallTime},
    kmsg::{Logged, Pieces, message::Message, message::Stamp, parse},
    session::Source,
};

/// Larger than any record that the kernel hands out (`CONSOLE_EXT_LOG_MAX`: 8 KiB before 6.4, 2 KiB since).
const LARGEST_RECORD: usize = 16 * 1024;
/// Records that are read, at the most: more than the largest log holds (`log_buf_len=`), should it be written as fast as it is read.
const RECORDS: u32 = 4_000_000;

/// Opens the log at its oldest record, as a new opening does (`devkmsg_open()`, kernel/printk/printk.c).
pub(super) fn open(path: &Path) -> Result<File, String> {
    let log = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    log.map_err(|error| format!("{} cannot be read: {error}", path.display()))
}

/// Tells what the log has from its beginning to now.
pub(super) fn read(log: Result<File, String>, recovery: &mut Recovery<'_>) {
    match log {
        Ok(log) => records(log, recovery),
        Err(why) => recovery.unread(why),
    }
}

/// The same of anything that gives one record at a time.
pub(super) fn records(mut log: impl Read, recovery: &mut Recovery<'_>) {
    let mut assembler = Assembler::new(recovery.gap.session(), Source::Import);
    let offset_ns = i128::from(wall_clock_offset_ns()) + i128::from(suspended_ns());
    let (mut pieces, mut buffer) = (Pieces::all(), vec![0; LARGEST_RECORD]);
    let mut whole = Vec::new();
    for _ in 0..RECORDS {
        match log.read(&mut buffer) {
            Ok(0) => break,
            Ok(len) => {
                if let Some(record) = buffer.get(..len).and_then(parse) {
                    pieces.take(record, |logged| whole.push(logged));
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            // Overwritten: the next read goes on with the oldest that there is.
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::Interrupted) => {}
            Err(error) => {
                recovery.unread(format!("the kernel log cannot be read any further: {error}"));
                break;
            }
        }
        for logged in whole.drain(..) {
            let message = message(logged, offset_ns, recovery);
            let events = assembler.message(&message);
            tell(events, recovery);
        }
        if recovery.over {
            return;
        }
    }
    pieces.flush(|logged| whole.push(logged));
    for logged in whole {
        let message = message(logged, offset_ns, recovery);
        let events = assembler.message(&message);
        tell(events, recovery);
    }
    let mut events = assembler.end();
    // A report that is being written: tracing will tell.
    events.retain(|event| event.closed().is_none_or(|incident| incident.outcome.is_some()));
    tell(events, recovery);
}

fn message(logged: Logged, offset_ns: i128, recovery: &Recovery<'_>) -> Message {
    let wall = WallTime::from_ns(i128::from(logged.usec) * 1000 + offset_ns);
    let host = &recovery.gap.host;
    Message {
        stamp: Stamp { boot_us: Some(logged.usec), wall: Some(wall.0) },
        seq: Some(logged.seq),
        caller: None,
        host: Some(host.name.clone()),
        boot_id: host.boot_id.clone(),
        text: logged.text,
    }
}

fn tell(mut events: Vec<Event>, recovery: &mut Recovery<'_>) {
    for event in &mut events {
        let kernel = &mut event.common_mut().kernel;
        if kernel.is_none() {
            *kernel = Some(recovery.gap.host.kernel.clone());
        }
    }
    recovery.events(events);
}
