//! Any bytes as a record file: no panic, what was read can be written and read again, and a replay shows it.
//!
//! Every part of a record file carries a checksum, which random changes break; so most mutations are followed by
//! a repair, and what lies behind the checksums is reached too.
#![no_main]

use std::io::Cursor;

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use oomtrace::{
    incident::Assembler,
    record::{Frame, Reader, Writer, decode},
    session::{Session, Source},
};
use oomtrace_fuzz::shown::Shown;

/// Length of the magic, the version and the session's length.
const HEAD: usize = 16;

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let size = fuzzer_mutate(data, size, max_size);
    if !seed.is_multiple_of(8) {
        repair(&mut data[..size]);
    }
    size
});

fuzz_target!(|data: &[u8]| {
    let Some((session, frames)) = read(data) else { return };
    let mut file = Vec::new();
    let mut writer = Writer::new(&mut file, &session).expect("a Vec takes everything");
    for frame in &frames {
        writer.write(frame).expect("a Vec takes everything");
    }
    assert_eq!(read(&file), Some((session.clone(), frames.clone())), "what is written is what is read");
    replay(session, &frames);
});

/// The session and the frames, as far as they are whole.
fn read(data: &[u8]) -> Option<(Session, Vec<Frame>)> {
    let (session, mut reader) = match Reader::new(Cursor::new(data)) {
        Ok(opened) => opened,
        Err(error) => {
            assert!(!error.to_string().contains(char::is_control));
            return None;
        }
    };
    let mut frames = Vec::new();
    loop {
        match reader.next_frame() {
            Ok(Some(frame)) => frames.push(frame),
            Ok(None) => break,
            Err(error) => {
                assert!(!error.to_string().contains(char::is_control));
                break;
            }
        }
    }
    Some((session, frames))
}

fn replay(session: Session, frames: &[Frame]) {
    let mut shown = Shown::default();
    let mut assembler = Assembler::new(session, Source::Replay);
    for frame in frames {
        if let Frame::Record { wall_clock_offset_ns, bytes } = frame
            && let Ok(record) = decode(bytes)
        {
            for event in assembler.record(record, *wall_clock_offset_ns) {
                shown.check(&event);
            }
        }
    }
    for event in assembler.end() {
        shown.check(&event);
    }
}

/// Makes every checksum right again, as far as the lengths make sense.
fn repair(file: &mut [u8]) {
    let Some(head) = file.first_chunk_mut::<HEAD>() else { return };
    head[..8].copy_from_slice(b"OOMTRACE");
    head[8..12].copy_from_slice(&1_u32.to_le_bytes());
    let len = u32::from_le_bytes([head[12], head[13], head[14], head[15]]) as usize;
    let Some((session, mut rest)) = file[HEAD..].split_at_mut_checked(len) else { return };
    if !seal(session, rest) {
        return;
    }
    rest = &mut rest[4..];
    while let Some(head) = rest.first_chunk::<4>() {
        let len = u32::from_le_bytes(*head) as usize;
        let Some((frame, after)) = len.checked_add(4).and_then(|len| rest.split_at_mut_checked(len)) else {
            return;
        };
        if !seal(frame, after) {
            return;
        }
        rest = &mut after[4..];
    }
}

/// Puts the checksum of one part in front of what follows it, and says whether there was room.
fn seal(part: &[u8], after: &mut [u8]) -> bool {
    let crc = crc32fast::hash(part).to_le_bytes();
    after.first_chunk_mut().map(|place| *place = crc).is_some()
}
