//! Messages of the kernel log as records: made here, since no program in the kernel sees them.

use oomtrace_ebpf::{Header, KernelLog, RecordKind};
use zerocopy::{FromBytes as _, IntoBytes as _};

use super::{decode::DecodeError, types};

/// The record of a message that was read at `boot_ns`.
#[must_use]
pub fn encode(log: &types::KernelLog, boot_ns: u64) -> Vec<u8> {
    let size = size_of::<KernelLog>() + log.text.len();
    let record = KernelLog {
        header: Header {
            kind: RecordKind::KernelLog as u16,
            size: u16::try_from(size).unwrap_or(u16::MAX),
            trigger_tid: 0,
            opened_ns: 0,
            boot_ns,
            index: 0,
            lost: 0,
        },
        seq: log.seq,
        usec: log.usec,
        len: u32::try_from(log.text.len()).unwrap_or(u32::MAX),
        reserved: 0,
    };
    [record.as_bytes(), &log.text].concat()
}

/// Back again. The length must be that of the message.
pub(super) fn decode(bytes: &[u8]) -> Result<types::KernelLog, DecodeError> {
    let wrong = |expected| DecodeError::Size { kind: RecordKind::KernelLog, size: bytes.len(), expected };
    let (raw, text) = KernelLog::read_from_prefix(bytes).map_err(|_| wrong(size_of::<KernelLog>()))?;
    let len = usize::try_from(raw.len).unwrap_or(usize::MAX);
    if text.len() != len {
        return Err(wrong(size_of::<KernelLog>().saturating_add(len)));
    }
    Ok(types::KernelLog { seq: raw.seq, usec: raw.usec, text: text.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Record, decode as decode_any};

    /// Guards recordings: a message comes back as it was, and only whole.
    #[test]
    fn a_message_comes_back() {
        let log = types::KernelLog { seq: 7, usec: 9, text: b"Killed process\n\xff".to_vec() };
        let bytes = encode(&log, 5);
        let Ok(Record::KernelLog(key, read)) = decode_any(&bytes) else { panic!("no message") };
        assert_eq!((*read, key.boot_ns), (log, 5));
        assert!(decode_any(&bytes[..bytes.len() - 1]).is_err());
        assert!(decode_any(&[&bytes[..], b"x"].concat()).is_err());
    }
}
