//! Reads /dev/kmsg.

use std::{
    fs::{File, OpenOptions},
    io::{self, ErrorKind, Seek as _, SeekFrom},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    rc::Rc,
};

use super::{
    pieces::{Logged, Pieces},
    record::parse,
};

/// Larger than any record that the kernel hands out (`CONSOLE_EXT_LOG_MAX`: 8 KiB before 6.4, 2 KiB since).
pub const LARGEST_RECORD: usize = 16 * 1024;
/// Times that the kernel is asked for a record at once, at the most: others are waiting too.
const BATCH: usize = 64;

/// See the module.
#[derive(Debug)]
pub struct Reader {
    file: Rc<File>,
    pieces: Pieces,
    buffer: Box<[u8]>,
    /// Number of the record that comes next, once one was read.
    next: Option<u64>,
    /// Whether records were overwritten before the next one.
    overrun: bool,
}

/// What was read at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Records of any kind.
    pub records: usize,
    /// Records that were overwritten before they could be read.
    pub lost: u64,
    /// Whether the log was read to its end.
    pub end: bool,
}

impl Reader {
    /// Opens the log at its end, for the OOM killer's messages.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::open_for(path, Pieces::default())
    }

    /// The same for all messages of the kernel's.
    pub fn open_whole(path: &Path) -> io::Result<Self> {
        Self::open_for(path, Pieces::all())
    }

    fn open_for(path: &Path, pieces: Pieces) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        file.seek(SeekFrom::End(0))?;
        Ok(Self {
            file: Rc::new(file),
            pieces,
            buffer: vec![0; LARGEST_RECORD].into_boxed_slice(),
            next: None,
            overrun: false,
        })
    }

    /// What can be watched.
    #[must_use]
    pub fn file(&self) -> Rc<File> {
        Rc::clone(&self.file)
    }

    /// Reads as much as is to be read at once, and hands over messages.
    pub fn read(&mut self, to: impl FnMut(Logged)) -> io::Result<Batch> {
        let file = Rc::clone(&self.file);
        self.read_from(&*file, to)
    }

    fn read_from(&mut self, mut log: impl io::Read, mut to: impl FnMut(Logged)) -> io::Result<Batch> {
        let mut batch = Batch::default();
        // What is overwritten faster than it is read may have no record for each time.
        for _ in 0..BATCH {
            match log.read(&mut self.buffer) {
                Ok(0) => {
                    batch.end = true;
                    break;
                }
                Ok(len) => {
                    batch.records += 1;
                    // The kernel makes them: what has another form is of a kernel to come.
                    let Some(record) = self.buffer.get(..len).and_then(parse) else { continue };
                    if std::mem::take(&mut self.overrun) {
                        let lost = self.next.map_or(1, |next| record.seq.saturating_sub(next).max(1));
                        batch.lost = batch.lost.saturating_add(lost);
                    }
                    self.next = Some(record.seq.saturating_add(1));
                    self.pieces.take(record, &mut to);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    batch.end = true;
                    break;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Overwritten: the next read goes on with the oldest that there is.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => self.overrun = true,
                Err(error) => return Err(error),
            }
        }
        if batch.end {
            self.pieces.flush(to);
        }
        Ok(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log that is written to so fast that the record which comes next has always been overwritten, but for each fourth
    /// time.
    struct Flooded(u64);

    impl io::Read for Flooded {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0 += 1;
            if !self.0.is_multiple_of(4) {
                return Err(ErrorKind::BrokenPipe.into());
            }
            let record = format!("6,{},5000,-;a line\n", self.0 * 10);
            buffer[..record.len()].copy_from_slice(record.as_bytes());
            Ok(record.len())
        }
    }

    /// Guards everything that waits meanwhile: a log that is overwritten faster than it is read holds nobody up for more than
    /// one batch, and what was overwritten is counted.
    #[test]
    fn a_flood_ends_with_the_batch() {
        let mut reader = Reader::open(Path::new("/dev/null")).unwrap();
        let mut flood = Flooded(0);
        let batch = reader.read_from(&mut flood, |_| {}).unwrap();
        assert_eq!(flood.0, BATCH as u64);
        // The first gap has no known beginning; each of the others is 39 records long.
        let records = BATCH / 4;
        assert_eq!(batch, Batch { records, lost: 1 + 39 * (records as u64 - 1), end: false });
    }
}
