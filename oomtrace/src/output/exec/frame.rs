//! Messages between the agent and its runner: the length in four bytes, least first, and so many bytes.

use std::io::{self, Read};

/// The bytes of the length.
const HEAD: usize = 4;

/// A message with its length in front.
pub(super) fn framed(bytes: &[u8]) -> Vec<u8> {
    // Neither side makes longer ones: lines have a bound far below.
    let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    [&len.to_le_bytes(), bytes].concat()
}

/// Waits for the next message. `None`: the other side is gone. A longer one than `longest` is an error: nothing after it could
/// be understood.
pub(super) fn read(from: &mut impl Read, longest: usize) -> io::Result<Option<Vec<u8>>> {
    let mut head = [0; HEAD];
    match from.read_exact(&mut head) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let mut bytes = vec![0; len(head, longest)?];
    from.read_exact(&mut bytes)?;
    Ok(Some(bytes))
}

/// Takes the first whole message out of what came in so far, if there is one.
pub(super) fn split(from: &mut Vec<u8>, longest: usize) -> io::Result<Option<Vec<u8>>> {
    let Some(head) = from.first_chunk::<HEAD>() else { return Ok(None) };
    let end = HEAD + len(*head, longest)?;
    if from.len() < end {
        return Ok(None);
    }
    Ok(Some(from.drain(..end).skip(HEAD).collect()))
}

fn len(head: [u8; HEAD], longest: usize) -> io::Result<usize> {
    let len = usize::try_from(u32::from_le_bytes(head)).unwrap_or(usize::MAX);
    if len > longest {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a message of {len} bytes")));
    }
    Ok(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards messages that come in pieces, and those that follow at once.
    #[test]
    fn messages_come_out_as_they_went_in() {
        let all = [framed(b"one"), framed(b""), framed(b"three")].concat();
        let mut reader = &all[..];
        let read: Vec<_> = std::iter::from_fn(|| read(&mut reader, 5).unwrap()).collect();
        assert_eq!(read, [&b"one"[..], b"", b"three"]);
        let (mut came, mut split_off) = (Vec::new(), Vec::new());
        for byte in all {
            came.push(byte);
            split_off.extend(split(&mut came, 5).unwrap());
        }
        assert_eq!(split_off, read);
    }

    /// Guards memory against a length that nobody meant.
    #[test]
    fn a_message_that_is_too_long_is_refused() {
        let huge = [255; 8];
        assert!(read(&mut &huge[..], 1 << 20).is_err());
        assert!(split(&mut huge.to_vec(), 1 << 20).is_err());
        assert!(read(&mut &framed(b"cut")[..5], 10).is_err(), "the other side went away within a message");
    }
}
