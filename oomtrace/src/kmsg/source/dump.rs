//! A dump of pstore's in parts, one behind the other: the newest part was written first (pstore_dump(), fs/pstore/platform.c),
//! and so it comes first where somebody put the parts together by their names (`cat dmesg-efi_pstore-*`).

use std::ops::Range;

use super::{bytes::digits, lines::Lines, sink::Sink};

/// The longest dump that is put in order, bytes: what firmware keeps is shorter.
const LONGEST: usize = 4 << 20;
/// Why the kernel dumps (`kmsg_dump_reason_str()`, kernel/printk/printk.c).
const REASONS: [&[u8]; 5] = [b"Panic", b"Oops", b"Emergency", b"Shutdown", b"Unknown"];

/// See the module.
pub(super) struct Dump {
    lines: Lines,
    held: Vec<u8>,
    /// It is too long, and is read as it comes.
    passes: bool,
}

/// Whether a log begins with a part of a dump.
pub(super) fn begins(head: &[u8]) -> bool {
    heading(head.split(|byte| *byte == b'\n').next().unwrap_or_default()).is_some()
}

/// `Panic#1 Part2`: which dump, and the number of its part.
fn heading(line: &[u8]) -> Option<(&[u8], u64)> {
    let at = line.iter().position(|byte| *byte == b'#')?;
    if !REASONS.contains(&line.get(..at)?) {
        return None;
    }
    let (_, rest) = digits(line.get(at + 1..)?, 10)?;
    let (part, rest) = digits(rest.strip_prefix(b" Part")?, 10)?;
    let dump = line.get(..line.iter().position(|byte| *byte == b' ')?)?;
    rest.trim_ascii_end().is_empty().then_some((dump, part))
}

impl Dump {
    pub(super) fn new(lines: Lines) -> Self {
        Self { lines, held: Vec::new(), passes: false }
    }

    pub(super) fn too_long(&self) -> u64 {
        self.lines.too_long()
    }

    /// Takes what is there, and says how many bytes that was.
    pub(super) fn take(&mut self, held: &[u8], last: bool, sink: &mut Sink<'_>) -> usize {
        if self.passes {
            return self.lines.take(held, last, sink);
        }
        let room = LONGEST.saturating_sub(self.held.len()).min(held.len());
        let (fits, rest) = held.split_at_checked(room).unwrap_or((held, &[]));
        self.held.extend_from_slice(fits);
        if rest.is_empty() {
            return fits.len();
        }
        // Nothing that is read forward loses by that.
        self.passes = true;
        let whole = std::mem::take(&mut self.held);
        let taken = self.lines.take(&whole, false, sink);
        let left = whole.len().saturating_sub(taken);
        fits.len().saturating_sub(left)
    }

    pub(super) fn skip(&mut self, held: &[u8], sink: &mut Sink<'_>) {
        self.lines.skip(held, sink);
    }

    /// The log has ended: it is read forward.
    pub(super) fn end(&mut self, sink: &mut Sink<'_>) {
        let held = std::mem::take(&mut self.held);
        for part in forward(&held) {
            let part = held.get(part).unwrap_or_default();
            // A part ends with its last line, which may lack its newline.
            self.lines.take(part, true, sink);
        }
    }
}

/// A part: its dump and number, by the line that heads it, and where it is.
type Part<'a> = (Option<(&'a [u8], u64)>, Range<usize>);

/// The parts of dumps, the oldest of each first.
fn forward(dump: &[u8]) -> Vec<Range<usize>> {
    let mut parts: Vec<Part<'_>> = Vec::new();
    let mut at = 0;
    for line in dump.split_inclusive(|byte| *byte == b'\n') {
        let end = at + line.len();
        match (heading(line), parts.last_mut()) {
            (None, Some((_, part))) => part.end = end,
            (heading, _) => parts.push((heading, at..end)),
        }
        at = end;
    }
    let follows = |one: &Part<'_>, next: &Part<'_>| {
        one.0
            .zip(next.0)
            .is_some_and(|((dump, part), (same, next))| dump == same && part.checked_add(1) == Some(next))
    };
    for dump in parts.chunk_by_mut(follows) {
        dump.reverse();
    }
    parts.into_iter().map(|(_, part)| part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(dump: &str) -> String {
        forward(dump.as_bytes()).into_iter().map(|part| dump[part].replace('\n', "/")).collect()
    }

    /// Guards the order of parts: newest first is turned round, each dump by itself, and what reads forward stays.
    #[test]
    fn parts_are_read_forward() {
        let newest_first = "Panic#1 Part1\ne\nf\nPanic#1 Part2\nc\nd\nPanic#1 Part3\na\nb\n";
        assert_eq!(read(newest_first), "Panic#1 Part3/a/b/Panic#1 Part2/c/d/Panic#1 Part1/e/f/");
        let oldest_first = "Panic#1 Part2\na\nPanic#1 Part1\nb\n";
        assert_eq!(read(oldest_first), "Panic#1 Part2/a/Panic#1 Part1/b/");
        let two = "Oops#1 Part1\nb\nOops#1 Part2\na\nPanic#2 Part1\nd\nPanic#2 Part2\nc";
        assert_eq!(read(two), "Oops#1 Part2/a/Oops#1 Part1/b/Panic#2 Part2/cPanic#2 Part1/d/");
        assert_eq!(read("x\ny\n"), "x/y/");
    }

    /// Guards headings, and against programs that write as much.
    #[test]
    fn headings() {
        assert_eq!(heading(b"Panic#12 Part3"), Some((&b"Panic#12"[..], 3)));
        for line in [
            "Panic#1",
            "Panic# Part1",
            "Panic#1 Part",
            "Panic#1 Part1 of 3",
            "x Panic#1 Part1",
            "Fun#1 Part1",
        ] {
            assert_eq!(heading(line.as_bytes()), None, "{line}");
        }
    }
}
