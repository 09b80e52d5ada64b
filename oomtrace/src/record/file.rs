//! A stream of records in a file, for `--record` and `replay`.
//!
//! The file begins with `OOMTRACE`, a version, and the session as JSON; frames follow. Numbers are
//! little-endian. The session and each frame carry a CRC-32, so that damage is found where it is.

use std::io::{self, Read, Write};

use bytes::{Buf as _, Bytes};

use crate::session::Session;

const MAGIC: [u8; 8] = *b"OOMTRACE";
const VERSION: u32 = 1;
/// No session is longer, bytes.
const SESSION_LIMIT: u32 = 1 << 20;
/// No frame's content is longer, bytes.
const FRAME_LIMIT: u32 = 1 << 16;

/// Why a record file cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It is something else.
    #[error("This is not a record file of oomtrace: it does not begin with \"OOMTRACE\".")]
    NotARecordFile,
    /// An oomtrace of another version made it.
    #[error("This record file has format version {found}, and this oomtrace reads version {VERSION}: use the oomtrace that recorded it, or a {} one.", if *.found > VERSION { "newer" } else { "older" })]
    Version {
        /// The file's.
        found: u32,
    },
    /// It ends in the middle.
    #[error(
        "The record file ends in the middle of {what} after {records} whole records: what came before it was shown."
    )]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// Frames before it.
        records: u64,
    },
    /// A checksum or a length is wrong.
    #[error(
        "The record file is damaged in {what} after {records} whole records: what came before it was shown."
    )]
    Damaged {
        /// What was being read.
        what: &'static str,
        /// Frames before it.
        records: u64,
    },
    /// The file system says no.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A part of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A record as the kernel half made it.
    Record {
        /// What to add to its times to get wall-clock time, ns.
        wall_clock_offset_ns: i64,
        /// The record.
        bytes: Bytes,
    },
    /// So many more records of each kind found no room.
    Lost {
        /// When that was noticed, ns since boot.
        boot_ns: u64,
        /// What to add to get wall-clock time, ns.
        wall_clock_offset_ns: i64,
        /// Kind and number.
        counts: Vec<(u16, u64)>,
    },
}

/// Writes a stream. Each frame is handed over at once: a reader finds it whole even if the writer is killed.
pub struct Writer<W> {
    to: W,
    buffer: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// Begins a file.
    pub fn new(mut to: W, session: &Session) -> Result<Self, FileError> {
        let session = serde_json::to_vec(session).map_err(io::Error::from)?;
        let mut head = Vec::with_capacity(session.len() + 20);
        head.extend(MAGIC);
        head.extend(VERSION.to_le_bytes());
        head.extend(length(session.len())?.to_le_bytes());
        head.extend(&session);
        head.extend(crc32fast::hash(&session).to_le_bytes());
        to.write_all(&head)?;
        Ok(Self { to, buffer: Vec::with_capacity(1024) })
    }

    /// Adds a frame.
    pub fn write(&mut self, frame: &Frame) -> Result<(), FileError> {
        let buffer = &mut self.buffer;
        buffer.clear();
        buffer.extend([0; 4]);
        match frame {
            Frame::Record { wall_clock_offset_ns, bytes } => {
                buffer.push(1);
                buffer.extend(wall_clock_offset_ns.to_le_bytes());
                buffer.extend(bytes);
            }
            Frame::Lost { boot_ns, wall_clock_offset_ns, counts } => {
                buffer.push(2);
                buffer.extend(wall_clock_offset_ns.to_le_bytes());
                buffer.extend(boot_ns.to_le_bytes());
                for (kind, count) in counts {
                    buffer.extend(kind.to_le_bytes());
                    buffer.extend(count.to_le_bytes());
                }
            }
        }
        let content = length(buffer.len() - 4)?;
        buffer.splice(..4, content.to_le_bytes());
        let crc = crc32fast::hash(buffer);
        buffer.extend(crc.to_le_bytes());
        self.to.write_all(buffer)?;
        self.to.flush()?;
        Ok(())
    }
}

fn length(bytes: usize) -> Result<u32, FileError> {
    u32::try_from(bytes)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a frame is too long").into())
}

/// Reads a stream.
#[derive(Debug)]
pub struct Reader<R> {
    from: R,
    records: u64,
}

impl<R: Read> Reader<R> {
    /// Opens a stream: its session, and the reader of its frames.
    pub fn new(from: R) -> Result<(Session, Self), FileError> {
        let mut reader = Self { from, records: 0 };
        let mut magic = [0; 8];
        match reader.fill(&mut magic)? {
            8 if magic == MAGIC => {}
            _ => return Err(FileError::NotARecordFile),
        }
        let version = reader.number("the head")?;
        if version != VERSION {
            return Err(FileError::Version { found: version });
        }
        let len = reader.number("the head")?;
        if len > SESSION_LIMIT {
            return Err(reader.damaged("the head"));
        }
        let session = reader.bytes(len, "the head")?;
        if reader.number("the head")? != crc32fast::hash(&session) {
            return Err(reader.damaged("the head"));
        }
        let session: Session = serde_json::from_slice(&session).map_err(|_| reader.damaged("the head"))?;
        // Sizes are divided by it.
        if !session.host.page_bytes.is_power_of_two() {
            return Err(reader.damaged("the head"));
        }
        Ok((session, reader))
    }

    /// The next frame; `None` at the end.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FileError> {
        const WHAT: &str = "a record";
        let mut head = [0; 4];
        match self.fill(&mut head)? {
            0 => return Ok(None),
            4 => {}
            _ => return Err(FileError::Truncated { what: WHAT, records: self.records }),
        }
        let len = u32::from_le_bytes(head);
        if len > FRAME_LIMIT {
            return Err(self.damaged(WHAT));
        }
        let content = self.bytes(len, WHAT)?;
        let mut crc = crc32fast::Hasher::new();
        crc.update(&head);
        crc.update(&content);
        if self.number(WHAT)? != crc.finalize() {
            return Err(self.damaged(WHAT));
        }
        let frame = parse(content.into()).ok_or_else(|| self.damaged(WHAT))?;
        self.records += 1;
        Ok(Some(frame))
    }

    fn damaged(&self, what: &'static str) -> FileError {
        FileError::Damaged { what, records: self.records }
    }

    fn number(&mut self, what: &'static str) -> Result<u32, FileError> {
        let mut bytes = [0; 4];
        if self.fill(&mut bytes)? < bytes.len() {
            return Err(FileError::Truncated { what, records: self.records });
        }
        Ok(u32::from_le_bytes(bytes))
    }

    fn bytes(&mut self, len: u32, what: &'static str) -> Result<Vec<u8>, FileError> {
        let mut bytes = vec![0; len as usize];
        if self.fill(&mut bytes)? < bytes.len() {
            return Err(FileError::Truncated { what, records: self.records });
        }
        Ok(bytes)
    }

    /// Fills the buffer as far as the file goes.
    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.from.read(rest) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}

fn parse(mut content: Bytes) -> Option<Frame> {
    let (kind, rest) = content.split_first()?;
    let (offset, rest) = rest.split_first_chunk()?;
    let wall_clock_offset_ns = i64::from_le_bytes(*offset);
    match kind {
        1 => {
            let before = content.len() - rest.len();
            content.advance(before);
            Some(Frame::Record { wall_clock_offset_ns, bytes: content })
        }
        2 => {
            let (boot_ns, mut rest) = rest.split_first_chunk()?;
            let mut counts = Vec::new();
            while !rest.is_empty() {
                let (kind, after) = rest.split_first_chunk()?;
                let (count, after) = after.split_first_chunk()?;
                counts.push((u16::from_le_bytes(*kind), u64::from_le_bytes(*count)));
                rest = after;
            }
            Some(Frame::Lost { boot_ns: u64::from_le_bytes(*boot_ns), wall_clock_offset_ns, counts })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        host::Host,
        kernel::{hooks::Tier, text::KernelRss},
    };

    fn session() -> Session {
        Session {
            host: Host {
                name: "host".to_owned(),
                boot_id: None,
                kernel: "6.1".to_owned(),
                page_bytes: 4096,
                cpus_possible: 2,
                cpus_online: 2,
                memory_bytes: None,
                swap_bytes: None,
            },
            tier: Tier::Kprobe,
            rss_counters: None,
            kernel_rss: KernelRss::Unknown { reason: "no reason".to_owned() },
            missing: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
            pids_events: false,
            kmsg: true,
        }
    }

    fn frames() -> Vec<Frame> {
        vec![
            Frame::Record { wall_clock_offset_ns: -5, bytes: Bytes::from_static(b"record") },
            Frame::Lost { boot_ns: 9, wall_clock_offset_ns: 8, counts: vec![(3, 4), (1, u64::MAX)] },
        ]
    }

    fn file() -> Vec<u8> {
        let mut file = Vec::new();
        let mut writer = Writer::new(&mut file, &session()).unwrap();
        for frame in frames() {
            writer.write(&frame).unwrap();
        }
        file
    }

    fn read(file: &[u8]) -> (Vec<Frame>, Result<(), FileError>) {
        let mut frames = Vec::new();
        let (_, mut reader) = match Reader::new(file) {
            Ok(opened) => opened,
            Err(error) => return (frames, Err(error)),
        };
        loop {
            match reader.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => return (frames, Ok(())),
                Err(error) => return (frames, Err(error)),
            }
        }
    }

    /// Guards the format: what is written comes back.
    #[test]
    fn a_file_gives_back_what_was_written() {
        let file = file();
        let (opened, _) = Reader::new(&file[..]).unwrap();
        assert_eq!(opened, session());
        let (read, end) = read(&file);
        assert_eq!(read, frames());
        end.unwrap();
    }

    /// Guards a recording cut short anywhere: whole records come out, and the cut is said unless it is between two.
    #[test]
    fn a_cut_is_said_and_loses_no_whole_record() {
        let file = file();
        for len in 0..file.len() {
            let (read, end) = read(&file[..len]);
            assert!(read.len() < 2);
            assert_eq!(read, frames()[..read.len()]);
            match end {
                Ok(()) => assert!([1, 0].contains(&read.len())),
                Err(FileError::NotARecordFile) => assert!(len < 8),
                Err(FileError::Truncated { records, .. }) => assert_eq!(records, read.len() as u64),
                Err(error) => panic!("{len}: {error}"),
            }
        }
    }

    /// Guards against damage: no flipped bit goes by unnoticed.
    #[test]
    fn damage_is_noticed_wherever_it_is() {
        let file = file();
        for at in 0..file.len() {
            let mut damaged = file.clone();
            damaged[at] ^= 0x10;
            let (read, end) = read(&damaged);
            assert!(end.is_err(), "byte {at} of {}", file.len());
            assert_eq!(read, frames()[..read.len()]);
        }
    }

    /// Guards the arithmetic behind it: sizes in pages mean nothing without a page's size.
    #[test]
    fn a_session_without_a_page_size_is_refused() {
        let mut session = session();
        session.host.page_bytes = 0;
        let mut file = Vec::new();
        Writer::new(&mut file, &session).unwrap();
        assert!(matches!(Reader::new(&file[..]), Err(FileError::Damaged { what: "the head", records: 0 })));
    }

    /// Guards the words for files of other versions and other programs.
    #[test]
    fn other_versions_and_other_files_are_refused_in_words() {
        let mut newer = file();
        newer[8] = 2;
        let error = read(&newer).1.unwrap_err().to_string();
        assert!(error.contains("version 2") && error.contains("newer"), "{error}");
        newer[8] = 0;
        let error = read(&newer).1.unwrap_err().to_string();
        assert!(error.contains("version 0") && error.contains("older"), "{error}");
        assert!(matches!(read(b"\x7fELF\x02\x01\x01\0\0").1, Err(FileError::NotARecordFile)));
    }
}
