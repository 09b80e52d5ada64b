//! Kernel logs, in whatever they were kept, to the kernel's messages.
//!
//! What a log is shows in its content, never in its name: compression by its magic, a journal's export and JSON objects by
//! how they begin, and else each line by itself, since syslog daemons, consoles and people mix them. Only what the kernel
//! wrote is handed over, as far as that shows: a journal says who wrote (`_TRANSPORT`), syslog has a tag (which anybody may
//! claim who can write to syslog as `kernel`), and in plain dmesg text nothing tells.
//!
//! A log is read in large blocks. While the owner wants no more than what a report may begin with, blocks are searched for a
//! few words (`needles`) and their lines are not looked at.

mod bytes;
mod clock;
mod dmesg;
mod dump;
mod entry;
mod export;
mod find;
mod json;
mod line;
mod lines;
mod needles;
mod objects;
mod sink;
mod syslog;
mod unpack;

use std::io::{self, Read as _};

use jiff::{Timestamp, tz::TimeZone};

use self::{
    clock::Clock,
    dump::Dump,
    export::Export,
    lines::Lines,
    objects::Objects,
    sink::Sink,
    unpack::{Unpacked, unpack},
};
pub use self::{
    find::{FindError, find, goes_on},
    unpack::{Compression, Damage},
};
use super::message::Message;

/// What is read at once, bytes: it stays in the processor's cache.
const BLOCK: usize = 256 * 1024;
/// A block is looked at once there is so much of it, or the log ends.
const ENOUGH: usize = 64 * 1024;

/// What the log itself does not say.
#[derive(Clone, Debug)]
pub struct About {
    /// When the log was last written to, at the latest: stamps without a year are of the year before it. `None`: such stamps
    /// are absent.
    pub written: Option<Timestamp>,
    /// The zone of stamps that have none.
    pub zone: TimeZone,
}

/// What whoever takes messages wants next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Want {
    /// Messages that something may begin with; others may come too.
    #[default]
    Beginnings,
    /// Every message.
    Everything,
    /// None.
    Nothing,
}

/// What was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// Bytes, after decompression.
    pub bytes: u64,
    /// Messages that were handed over.
    pub messages: u64,
    /// Lines, fields and objects that were too long: text was cut, others were left out.
    pub too_long: u64,
    /// How it was compressed.
    pub compression: Option<Compression>,
    /// Where compressed data ended before its end, and why. What came before was used.
    pub damage: Option<Damage>,
}

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The operating system says so.
    #[error("reading failed")]
    Io(#[from] io::Error),
    /// systemd's own binary form.
    #[error(
        "this is a journal in systemd's own form: `journalctl --file=FILE -k -o export` turns it into one that can be read"
    )]
    Journal,
    /// Packed in another way.
    #[error("this is {0}: unpack it first")]
    Packed(&'static str),
}

/// Reads a log to its end, or until nothing more is wanted, and hands over the kernel's messages in order. `progress` is told
/// how many bytes of `input` have been read, now and then.
pub fn read(
    input: impl io::Read,
    about: &About,
    to: &mut dyn FnMut(&Message) -> Want,
    progress: &mut dyn FnMut(u64),
) -> Result<Read, SourceError> {
    let Unpacked { mut log, compression } = unpack(input)?;
    let mut sink = Sink::new(to);
    let mut block = vec![0; BLOCK];
    let (mut start, mut end) = (0, 0);
    let mut read = Read { compression, ..Read::default() };
    let mut form: Option<Form> = None;
    let mut last = false;
    while !last && sink.want() != Want::Nothing {
        block.copy_within(start..end, 0);
        (start, end) = (0, end - start);
        // Decompression and pipes give little at a time.
        let enough = (end + 1).max(ENOUGH);
        while !last && end < enough.min(BLOCK) {
            let Some(rest) = block.get_mut(end..) else { break };
            match log.read(rest) {
                Ok(0) => last = true,
                Ok(len) => {
                    end += len.min(rest.len());
                    read.bytes = read.bytes.saturating_add(len as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        progress(log.consumed());
        let held = block.get(start..end).unwrap_or_default();
        if form.is_none() {
            refuse(held)?;
        }
        let form = form.get_or_insert_with(|| Form::of(held, about));
        start += form.take(held, last, &mut sink).min(held.len());
        if start == 0 && end == BLOCK {
            form.skip(held, &mut sink);
            start = end;
        }
    }
    if let Some(form) = &mut form {
        form.end(&mut sink);
        read.too_long = form.too_long();
    }
    sink.end();
    read.messages = sink.messages();
    read.damage = log.damage();
    Ok(read)
}

/// Refuses what is known to be no log that can be read here.
fn refuse(head: &[u8]) -> Result<(), SourceError> {
    /// Magics, and what they are of.
    const PACKED: [(&[u8], &str); 5] = [
        (b"BZh", "bzip2"),
        (b"\x04\x22\x4d\x18", "lz4"),
        (b"PK\x03\x04", "a zip archive"),
        (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
        (b"\x1f\x9d", "compress (.Z)"),
    ];
    if head.starts_with(b"LPKSHHRH") {
        return Err(SourceError::Journal);
    }
    if head.get(257..262) == Some(b"ustar") {
        return Err(SourceError::Packed("a tar archive"));
    }
    match PACKED.into_iter().find(|(magic, _)| head.starts_with(magic)) {
        Some((_, name)) => Err(SourceError::Packed(name)),
        None => Ok(()),
    }
}

/// What a log consists of.
enum Form {
    /// Lines, each by itself.
    Lines(Box<Lines>),
    /// Entries of `journalctl -o export`.
    Export(Box<Export>),
    /// JSON objects over several lines.
    Objects(Box<Objects>),
    /// A dump of pstore's, in parts.
    Dump(Box<Dump>),
}

impl Form {
    /// By how a log begins.
    fn of(head: &[u8], about: &About) -> Self {
        let clock = Clock::new(about);
        if export::begins(head) {
            Self::Export(Box::new(Export::new(clock)))
        } else if objects::begins(head) {
            Self::Objects(Box::new(Objects::new(clock)))
        } else if dump::begins(head) {
            Self::Dump(Box::new(Dump::new(Lines::new(clock, head))))
        } else {
            Self::Lines(Box::new(Lines::new(clock, head)))
        }
    }

    /// Takes what is whole of `held`, and says how many bytes that was. `last`: nothing follows.
    fn take(&mut self, held: &[u8], last: bool, sink: &mut Sink<'_>) -> usize {
        match self {
            Self::Lines(lines) => lines.take(held, last, sink),
            Self::Export(export) => export.take(held, sink),
            Self::Objects(objects) => objects.take(held, last, sink),
            Self::Dump(dump) => dump.take(held, last, sink),
        }
    }

    /// Takes all of `held`, which is too long to become whole.
    fn skip(&mut self, held: &[u8], sink: &mut Sink<'_>) {
        match self {
            Self::Lines(lines) => lines.skip(held, sink),
            Self::Export(export) => export.skip(),
            Self::Objects(objects) => objects.skip(),
            Self::Dump(dump) => dump.skip(held, sink),
        }
    }

    /// The log has ended.
    fn end(&mut self, sink: &mut Sink<'_>) {
        match self {
            Self::Export(export) => export.end(sink),
            Self::Dump(dump) => dump.end(sink),
            Self::Lines(_) | Self::Objects(_) => {}
        }
    }

    /// Lines, fields and objects that were too long.
    fn too_long(&self) -> u64 {
        match self {
            Self::Lines(lines) => lines.too_long(),
            Self::Export(export) => export.too_long(),
            Self::Objects(objects) => objects.too_long(),
            Self::Dump(dump) => dump.too_long(),
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
