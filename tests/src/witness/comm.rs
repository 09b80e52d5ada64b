//! Names as bytes: a process may call itself anything but NUL, and the kernel log escapes what it prints.

/// Undoes printk's escaping in /dev/kmsg: `\xNN` stands for every byte outside printable ASCII, and for the
/// backslash itself (`msg_print_ext_body` and `append_char`, kernel/printk/printk.c, 5.10 to 7.2).
#[must_use]
pub fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        if let Some((byte, after)) = escaped_byte(rest) {
            bytes.push(byte);
            rest = after;
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    bytes
}

/// The byte that `text` starts with in escaped form, and what follows it.
fn escaped_byte(text: &[u8]) -> Option<(u8, &[u8])> {
    let (digits, after) = text.strip_prefix(b"\\x")?.split_at_checked(2)?;
    let digits = str::from_utf8(digits).ok()?;
    Some((u8::from_str_radix(digits, 16).ok()?, after))
}

/// Whether `json` is the name `bytes` as the JSON schema has it: bytes that are not UTF-8 as `\xNN`.
#[must_use]
pub fn same_name(json: &str, bytes: &[u8]) -> bool {
    let invalid =
        |bytes: &[u8]| bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect::<Vec<_>>().concat();
    let chunks = bytes.utf8_chunks().map(|chunk| chunk.valid().to_owned() + &invalid(chunk.invalid()));
    json == chunks.collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards names with control characters, a backslash or bytes that are not UTF-8.
    #[test]
    fn printk_escapes_are_undone() {
        assert_eq!(unescape(r"a\x1b[31m\x22\x0a\xff\x5cx41"), b"a\x1b[31m\"\n\xff\\x41");
        assert_eq!(unescape(r"plain \x"), b"plain \\x");
    }

    /// Guards the comparison itself: another name does not pass as the same.
    #[test]
    fn names_compare_by_their_bytes() {
        assert!(same_name("eater", b"eater"));
        assert!(same_name("a\\xffb\n", b"a\xffb\n"));
        assert!(!same_name("eater", b"eaten"));
        assert!(!same_name("ab", b"a\xffb") && !same_name("a\u{fffd}b", b"a\xffb"));
    }
}
