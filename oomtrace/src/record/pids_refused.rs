//! Counts of refused forks as records: made here, since no program in the kernel sees them.

use oomtrace_ebpf::{Header, PidsRefused, RecordKind, pids_refused};
use zerocopy::{FromBytes as _, FromZeros as _, IntoBytes as _};

use super::{decode::DecodeError, types};

/// Bytes of a path that are kept, at most (`PATH_MAX`, include/uapi/linux/limits.h).
const PATH_BYTES: usize = 4096;

/// The record of refusals that were read at `boot_ns`.
#[must_use]
pub fn encode(refused: &types::PidsRefused, boot_ns: u64) -> Vec<u8> {
    let part = |path: &Option<String>| {
        let bytes = path.as_deref().unwrap_or_default().as_bytes();
        bytes.get(..PATH_BYTES).unwrap_or(bytes).to_vec()
    };
    let (cgroup, limit_at) = (part(&refused.cgroup), part(&refused.limit_at));
    let size = size_of::<PidsRefused>() + cgroup.len() + limit_at.len();
    let mut record = PidsRefused::new_zeroed();
    record.header = Header {
        kind: RecordKind::PidsRefused as u16,
        size: u16::try_from(size).unwrap_or(u16::MAX),
        boot_ns,
        ..Header::new_zeroed()
    };
    let bit = |known: bool, bit: u32| if known { bit } else { 0 };
    record.present = bit(refused.cgroup.is_some(), pids_refused::CGROUP)
        | bit(refused.limit_at.is_some(), pids_refused::LIMIT_AT)
        | bit(refused.limit.is_some(), pids_refused::LIMIT)
        | bit(refused.usage.is_some(), pids_refused::USAGE)
        | bit(refused.counted, pids_refused::COUNTED);
    record.cgroup_len = u32::try_from(cgroup.len()).unwrap_or(u32::MAX);
    record.count = refused.count;
    record.window_ns = refused.window_ns;
    record.limit = refused.limit.unwrap_or(0);
    record.usage = refused.usage.unwrap_or(0);
    [record.as_bytes(), &cgroup, &limit_at].concat()
}

/// Back again. Both paths must be whole.
pub(super) fn decode(bytes: &[u8]) -> Result<types::PidsRefused, DecodeError> {
    let wrong = |expected| DecodeError::Size { kind: RecordKind::PidsRefused, size: bytes.len(), expected };
    let (raw, paths) = PidsRefused::read_from_prefix(bytes).map_err(|_| wrong(size_of::<PidsRefused>()))?;
    let len = usize::try_from(raw.cgroup_len).unwrap_or(usize::MAX);
    let Some((cgroup, limit_at)) = paths.split_at_checked(len) else {
        return Err(wrong(size_of::<PidsRefused>().saturating_add(len)));
    };
    let has = |bit: u32| raw.present & bit != 0;
    let path = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(types::PidsRefused {
        cgroup: has(pids_refused::CGROUP).then(|| path(cgroup)),
        limit_at: has(pids_refused::LIMIT_AT).then(|| path(limit_at)),
        limit: has(pids_refused::LIMIT).then_some(raw.limit),
        usage: has(pids_refused::USAGE).then_some(raw.usage),
        count: raw.count,
        window_ns: raw.window_ns,
        counted: has(pids_refused::COUNTED),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Record, decode as decode_any};

    /// Guards recordings: refusals come back as they were, with and without what may lack, and only whole.
    #[test]
    fn refusals_come_back() {
        let known = types::PidsRefused {
            cgroup: Some("/a/b".to_owned()),
            limit_at: Some("/a".to_owned()),
            limit: Some(5),
            usage: Some(6),
            count: 7,
            window_ns: 8,
            counted: true,
        };
        let unknown = types::PidsRefused {
            cgroup: None,
            limit_at: None,
            limit: None,
            usage: None,
            counted: false,
            ..known.clone()
        };
        for refused in [known, unknown] {
            let bytes = encode(&refused, 5);
            let Ok(Record::PidsRefused(key, read)) = decode_any(&bytes) else { panic!("no refusals") };
            assert_eq!((*read, key.boot_ns), (refused, 5));
        }
        assert!(decode_any(&encode(&types::PidsRefused::default(), 5)[..71]).is_err());
        let mut long = encode(&types::PidsRefused { cgroup: Some("/x".to_owned()), ..Default::default() }, 5);
        long.truncate(long.len() - 1);
        assert!(decode_any(&long).is_err());
    }
}
