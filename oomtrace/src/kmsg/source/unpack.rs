//! Decompression, by what the content begins with. Memory is bounded by the formats' windows, of which too large ones are
//! refused: a log that packs to nothing is unpacked a little at a time as any other.

use std::{
    cell::Cell,
    fmt,
    io::{self, BufRead, BufReader, Read},
    rc::Rc,
};

use flate2::bufread::MultiGzDecoder;
use lzma_rust2::XzReader;
use ruzstd::decoding::{
    BlockDecodingStrategy, FrameDecoder,
    errors::{FrameDecoderError, ReadFrameHeaderError},
};

/// Largest window, bytes: that of `xz -9`.
const WINDOW: u64 = 64 << 20;
/// What XZ's decoder takes besides its window, KiB.
const XZ_OVERHEAD: u64 = 1024;
/// Read of the compressed log at once, bytes.
const BUFFER: usize = 64 * 1024;
/// See [`Sips`], bytes.
const SIP: usize = 4096;

/// How a log is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// RFC 1952.
    Gzip,
    /// The .xz file format.
    Xz,
    /// RFC 8878.
    Zstd,
}

impl fmt::Display for Compression {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
        })
    }
}

/// Compressed data that cannot be unpacked to its end. What xz packs together (up to 64 KiB, packed) is lost as a whole where
/// a part is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Bytes that came before, unpacked.
    pub after_bytes: u64,
    /// What is wrong.
    pub why: String,
}

/// A log, unpacked.
pub(super) struct Unpacked<'a> {
    pub(super) log: Log<'a>,
    pub(super) compression: Option<Compression>,
}

/// Reads what is unpacked. Damage is an end, and remembered.
pub(super) struct Log<'a> {
    reader: Box<dyn Read + 'a>,
    input: Rc<Input>,
    compressed: bool,
    unpacked: u64,
    damage: Option<Damage>,
}

/// What is known of the reader below the decoder.
#[derive(Default)]
struct Input {
    consumed: Cell<u64>,
    failed: Cell<bool>,
}

/// Finds out how `input` is compressed.
pub(super) fn unpack<'a>(input: impl Read + 'a) -> io::Result<Unpacked<'a>> {
    const GZIP: &[u8] = b"\x1f\x8b";
    const XZ: &[u8] = b"\xfd7zXZ\0";
    const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";
    let state = Rc::new(Input::default());
    let mut input = Counted { input, state: Rc::clone(&state) };
    let mut head = Vec::with_capacity(XZ.len());
    (&mut input).take(XZ.len() as u64).read_to_end(&mut head)?;
    let compression = if head.starts_with(GZIP) {
        Some(Compression::Gzip)
    } else if head.starts_with(XZ) {
        Some(Compression::Xz)
    // A frame to be skipped may come first (RFC 8878, 3.1.2).
    } else if head.starts_with(ZSTD) || matches!(head[..], [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..]) {
        Some(Compression::Zstd)
    } else {
        None
    };
    let input = io::Cursor::new(head).chain(input);
    let reader: Box<dyn Read + 'a> = match compression {
        None => Box::new(input),
        Some(Compression::Gzip) => Box::new(MultiGzDecoder::new(BufReader::with_capacity(BUFFER, input))),
        Some(Compression::Xz) => {
            let limit = u32::try_from(WINDOW / 1024 + XZ_OVERHEAD).unwrap_or(u32::MAX);
            Box::new(Sips(XzReader::new_mem_limit(BufReader::with_capacity(BUFFER, input), true, limit)))
        }
        Some(Compression::Zstd) => Box::new(Zstd::new(BufReader::with_capacity(BUFFER, input))),
    };
    let log = Log { reader, input: state, compressed: compression.is_some(), unpacked: 0, damage: None };
    Ok(Unpacked { log, compression })
}

impl Log<'_> {
    /// Bytes of the input that have been read.
    pub(super) fn consumed(&self) -> u64 {
        self.input.consumed.get()
    }

    /// Where it ended before its end, if it did.
    pub(super) fn damage(self) -> Option<Damage> {
        self.damage
    }
}

impl Read for Log<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.damage.is_some() {
            return Ok(0);
        }
        match self.reader.read(buffer) {
            Ok(len) => {
                self.unpacked = self.unpacked.saturating_add(len as u64);
                Ok(len)
            }
            Err(error) if !self.compressed || self.input.failed.get() => Err(error),
            Err(error) => {
                let why = match error.kind() {
                    io::ErrorKind::UnexpectedEof => "it ends too early".to_owned(),
                    _ => error.to_string(),
                };
                self.damage = Some(Damage { after_bytes: self.unpacked, why });
                Ok(0)
            }
        }
    }
}

/// Counts, and tells what the operating system refuses from what is wrong with the data.
struct Counted<R> {
    input: R,
    state: Rc<Input>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.input.read(buffer) {
                Ok(len) => {
                    self.state.consumed.set(self.state.consumed.get().saturating_add(len as u64));
                    return Ok(len);
                }
                // A decoder that is interrupted may not be able to go on.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.state.failed.set(true);
                    return Err(error);
                }
            }
        }
    }
}

/// Reads little at once: a decoder that finds something wrong forgets what it has unpacked for the same read.
struct Sips<R>(R);

impl<R: Read> Read for Sips<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = buffer.len().min(SIP);
        self.0.read(buffer.get_mut(..len).unwrap_or_default())
    }
}

/// Frames, one after the other.
struct Zstd<R> {
    input: R,
    decoder: FrameDecoder,
    in_frame: bool,
    /// What is wrong, once what came before it is read.
    wrong: Option<io::Error>,
}

impl<R: BufRead> Zstd<R> {
    fn new(input: R) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(WINDOW);
        Self { input, decoder, in_frame: false, wrong: None }
    }

    /// Ends a frame that is broken: the decoder keeps back as much as its window holds, until a frame has ended. An empty
    /// last block does that, with a checksum that nobody looks at (RFC 8878, 3.1.1).
    fn break_off(&mut self, error: FrameDecoderError) {
        const END: &[u8] = &[1, 0, 0, 0, 0, 0, 0];
        self.wrong = Some(io::Error::new(io::ErrorKind::InvalidData, error));
        // What cannot be ended gives nothing.
        self.in_frame = self.decoder.decode_blocks(END, BlockDecodingStrategy::All).is_ok();
    }

    /// Goes on to the next frame; `false`: there is none.
    fn next_frame(&mut self) -> io::Result<bool> {
        while !self.input.fill_buf()?.is_empty() {
            match self.decoder.reset(&mut self.input) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    io::copy(&mut (&mut self.input).take(u64::from(length)), &mut io::sink())?;
                }
                Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            }
        }
        Ok(false)
    }
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if !self.in_frame {
                if let Some(error) = self.wrong.take() {
                    return Err(error);
                }
                if !self.next_frame()? {
                    return Ok(0);
                }
                self.in_frame = true;
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                let one = BlockDecodingStrategy::UptoBlocks(1);
                if let Err(error) = self.decoder.decode_blocks(&mut self.input, one) {
                    self.break_off(error);
                    break;
                }
            }
            let len = self.decoder.read(buffer)?;
            if len > 0 {
                return Ok(len);
            }
            self.in_frame = false;
            let sum = self.decoder.get_checksum_from_data();
            if self.wrong.is_none() && sum.is_some() && sum != self.decoder.get_calculated_checksum() {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the checksum is wrong"));
            }
        }
    }
}
