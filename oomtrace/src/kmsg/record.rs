//! One record of /dev/kmsg (Documentation/ABI/testing/dev-kmsg): `priority,number,time,flags[,…];text`, and lines about
//! the device, which are of no interest here.

/// A record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRecord {
    /// Who wrote it (`LOG_FACILITY`): 0 is the kernel. User space cannot write as 0 (devkmsg_write(),
    /// kernel/printk/printk.c).
    pub facility: u64,
    /// Its number since boot.
    pub seq: u64,
    /// When it was written, by printk's clock, µs.
    pub usec: u64,
    /// Whether it goes on with an earlier record's line, which another message had cut short (flag `c`).
    pub continues: bool,
    /// The message, without printk's escapes: any bytes, newlines too.
    pub text: Vec<u8>,
}

/// Parses a record; `None`: it has another form.
#[must_use]
pub fn parse(bytes: &[u8]) -> Option<LogRecord> {
    let head_end = bytes.iter().position(|byte| *byte == b';')?;
    let (head, rest) = (bytes.get(..head_end)?, bytes.get(head_end + 1..)?);
    let mut fields = head.split(|byte| *byte == b',');
    let mut number = || -> Option<u64> { str::from_utf8(fields.next()?).ok()?.parse().ok() };
    let (priority, seq, usec) = (number()?, number()?, number()?);
    let flags = fields.next()?;
    // A newline in the message is escaped: the first one ends it.
    let text = rest.split(|byte| *byte == b'\n').next()?;
    Some(LogRecord {
        facility: priority >> 3,
        seq,
        usec,
        continues: flags.contains(&b'c'),
        text: unescape(text),
    })
}

/// Takes back what msg_print_ext_body() (kernel/printk/printk.c) did: control characters, backslashes and what is not
/// ASCII stand as `\xNN`.
pub(super) fn unescape(text: &[u8]) -> Vec<u8> {
    unescape_if(text, |_| true)
}

/// The same, of those bytes only that `may` be escaped.
pub(super) fn unescape_if(text: &[u8], may: impl Fn(u8) -> bool) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        if let Some((byte, after)) = escaped(rest).filter(|(byte, _)| may(*byte)) {
            plain.push(byte);
            rest = after;
        } else {
            plain.push(*first);
            rest = after;
        }
    }
    plain
}

fn escaped(text: &[u8]) -> Option<(u8, &[u8])> {
    let (digits, rest) = text.strip_prefix(b"\\x")?.split_first_chunk::<2>()?;
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some((digit(digits[0])? << 4 | digit(digits[1])?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the form of records: with and without a caller and a device.
    #[test]
    fn records_have_a_head_and_a_text() {
        let record = parse(b"3,812,701889530,-;Killed process; really\n").unwrap();
        assert_eq!(
            (record.facility, record.seq, record.usec, record.continues),
            (0, 812, 701_889_530, false)
        );
        assert_eq!(record.text, b"Killed process; really");
        let record = parse(b"6,1,2,c,caller=T1;,task=x\n SUBSYSTEM=acpi\n DEVICE=+acpi:x\n").unwrap();
        assert!(record.continues);
        assert_eq!(record.text, b",task=x");
        for nonsense in [&b""[..], b"nonsense", b"3,812;x", b"a,1,2,-;x", b"3,1,99999999999999999999,-;x"] {
            assert_eq!(parse(nonsense), None, "{}", nonsense.escape_ascii());
        }
    }

    /// Guards against lines that user space wrote.
    #[test]
    fn whoever_wrote_it_is_told() {
        assert_eq!(parse(b"12,5,6,-;Out of memory: Killed process 1 (init)\n").unwrap().facility, 1);
        assert_eq!(parse(b"7,5,6,-;x\n").unwrap().facility, 0);
    }

    /// Guards names that the kernel escapes, and such as only look like it.
    #[test]
    fn escapes_are_taken_back() {
        let text = |bytes: &[u8]| parse(&[b"3,1,2,-;", bytes, b"\n"].concat()).unwrap().text;
        assert_eq!(text(br"a\x0ab\xff\x5cx0a"), b"a\nb\xff\\x0a");
        assert_eq!(text(br"\x"), br"\x");
        assert_eq!(text(br"\xzz\x4"), br"\xzz\x4");
    }
}
