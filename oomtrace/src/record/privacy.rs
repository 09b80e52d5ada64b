//! What a record must not tell: secrets on command lines, and environments. Masked as soon as a record is out of the ring, before it is
//! recorded, decoded or shown.

use oomtrace_ebpf::{Cmdline, Header, RecordKind};
use zerocopy::{FromBytes as _, IntoBytes as _};

use super::environment;
use crate::secrets;

/// Masks what looks like a secret, and clears what the kernel half left behind the text; leaves of an environment a few variables.
/// Other records stay as they are.
pub fn mask(record: &mut Vec<u8>) {
    let kind = Header::read_from_prefix(record).map(|(header, _)| header.kind);
    if kind == Ok(RecordKind::Environment as u16) {
        return environment::strip(record);
    }
    let Ok((mut head, _)) = Cmdline::read_from_prefix(record) else { return };
    if head.header.kind != RecordKind::Cmdline as u16 {
        return;
    }
    let Some(room) = record.get_mut(size_of::<Cmdline>()..) else { return };
    let len = usize::try_from(head.len).unwrap_or(usize::MAX).min(room.len());
    let (text, _) = room.split_at(len);
    let mut shown = secrets::masked(text);
    head.total = head.total.saturating_sub(len as u64).saturating_add(shown.len() as u64);
    // A mask may be longer than what it stands for.
    shown.truncate(room.len());
    let (text, rest) = room.split_at_mut(shown.len());
    text.copy_from_slice(&shown);
    rest.fill(0);
    head.len = u32::try_from(shown.len()).unwrap_or(0);
    let (first, _) = record.split_at_mut(size_of::<Cmdline>());
    first.copy_from_slice(head.as_bytes());
}

#[cfg(test)]
mod tests {
    use zerocopy::FromZeros as _;

    use super::*;
    use crate::record::{Record, decode};

    fn record(text: &[u8], total: u64) -> Vec<u8> {
        let mut head = Cmdline::new_zeroed();
        head.header.kind = RecordKind::Cmdline as u16;
        head.len = u32::try_from(text.len()).unwrap();
        head.total = total;
        let mut record = head.as_bytes().to_vec();
        record.extend(text);
        // What was in the ring before.
        record.resize(512, b'x');
        record
    }

    fn text(record: &[u8]) -> (Vec<u8>, bool) {
        let Ok(Record::Cmdline(_, cmdline)) = decode(record) else { panic!("no command line") };
        (cmdline.text.clone(), cmdline.truncated)
    }

    /// Guards record files: no secret and nothing of an earlier record gets there.
    #[test]
    fn secrets_and_remains_are_gone() {
        let mut record = record(b"app\0--token\0abcdefgh\0", 21);
        mask(&mut record);
        assert_eq!(text(&record), (b"app\0--token\0***\0".to_vec(), false));
        assert!(record[size_of::<Cmdline>() + 16..].iter().all(|byte| *byte == 0));
    }

    /// Guards what is cut short: it still says so.
    #[test]
    fn what_goes_on_still_does() {
        let mut long = record(&[b'a'; 456], 5000);
        mask(&mut long);
        assert_eq!(text(&long), (vec![b'a'; 456], true));
        // Masks that are longer than the secrets.
        let mut full = record(&b"pwd=x\0".repeat(76), 456);
        mask(&mut full);
        let (text, truncated) = text(&full);
        assert!(truncated && text.starts_with(b"pwd=***\0pwd=***\0") && text.len() == 456);
    }

    /// Guards other records, and such as are damaged.
    #[test]
    fn others_stay_as_they_are() {
        for mut other in [vec![], vec![7; 30], record(b"x", 1)[..40].to_vec()] {
            let before = other.clone();
            mask(&mut other);
            assert_eq!(other, before);
        }
        let mut damaged = record(b"app\0", u64::MAX);
        damaged[36..40].copy_from_slice(&u32::MAX.to_le_bytes());
        mask(&mut damaged);
        assert_eq!(damaged.len(), 512);
    }
}
