//! Names that come from processes and cgroups: any bytes at all.

use std::fmt::Write as _;

/// Text of a kernel string: up to its NUL; bytes that are not UTF-8 as `\xNN`.
#[must_use]
pub fn from_kernel(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let bytes = bytes.get(..end).unwrap_or_default();
    if let Ok(text) = str::from_utf8(bytes) {
        return text.to_owned();
    }
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            // Writing to a String cannot fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// The arguments of a command line, each ended by NUL. What a process writes over its own (`setproctitle()`) is one,
/// with spaces or NULs behind it.
#[must_use]
pub fn arguments(cmdline: &[u8]) -> Vec<String> {
    let all = cmdline.strip_suffix(b"\0").unwrap_or(cmdline).split(|byte| *byte == 0);
    let mut arguments: Vec<_> = all.map(from_kernel).collect();
    if let [title, rest @ ..] = &mut arguments[..]
        && rest.iter().all(|argument| argument.trim_end_matches(' ').is_empty())
    {
        title.truncate(title.trim_end_matches(' ').len());
        arguments.truncate(1);
    }
    arguments
}

/// The same for people: what would move the cursor, colour the screen, break the line or turn the direction of
/// writing is shown as an escape.
#[must_use]
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() || is_format(letter) {
            shown.extend(letter.escape_default());
        } else {
            shown.push(letter);
        }
    }
    shown
}

/// Letters without a shape of their own that change how others are shown (Unicode's categories Cf, Zl and Zp).
fn is_format(letter: char) -> bool {
    matches!(letter,
        '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}' | '\u{8e2}'
        | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards names that are not UTF-8, and those that fill their field without a NUL.
    #[test]
    fn kernel_strings_end_at_nul_and_keep_every_byte() {
        assert_eq!(from_kernel(b"java\0junk"), "java");
        assert_eq!(from_kernel(b"abc"), "abc");
        assert_eq!(from_kernel(b"a\xffb\xc3\0"), "a\\xffb\\xc3");
        assert_eq!(from_kernel("né".as_bytes()), "né");
    }

    /// Guards command lines: empty arguments count, what fills the place up does not.
    #[test]
    fn arguments_end_at_nul() {
        assert_eq!(arguments(b"app\0\0--x\xff\0"), ["app", "", "--x\\xff"]);
        assert_eq!(arguments(b"app\0-x\0\0"), ["app", "-x", ""]);
        assert_eq!(arguments(b"nginx: worker process\0\0\0   \0"), ["nginx: worker process"]);
        assert_eq!(arguments(b"postgres: writer   "), ["postgres: writer"]);
        assert_eq!(arguments(b"\0\0"), [""]);
    }

    /// Guards the terminal against names that are escape sequences or turn the line around.
    #[test]
    fn nothing_printable_reaches_the_terminal_as_control() {
        assert_eq!(printable("\u{1b}[2Jx\n\"y\""), "\\u{1b}[2Jx\\n\"y\"");
        assert_eq!(printable("evil\u{202e}txt.exe"), "evil\\u{202e}txt.exe");
        assert_eq!(printable("\u{9b}31m"), "\\u{9b}31m");
        assert_eq!(printable("größe"), "größe");
    }
}
