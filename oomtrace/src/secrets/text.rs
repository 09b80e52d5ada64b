//! Secrets in text of any kind: a log, a file with settings.

use super::{masked, replace};

/// Text without what looks like a secret, line by line: as one word, since nobody knows where it ends that is called one, and
/// as the words of a command line. NULs become spaces.
#[must_use]
pub fn masked_text(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let (line, end) = line.strip_suffix('\n').map_or((line, ""), |line| (line, "\n"));
        let mut whole = Vec::with_capacity(line.len());
        replace(line.as_bytes(), &mut whole);
        let swapped = |from: u8, to: u8| move |byte: u8| if byte == from { to } else { byte };
        let words: Vec<u8> = whole.into_iter().map(swapped(b' ', 0)).collect();
        let words: Vec<u8> = masked(&words).into_iter().map(swapped(0, b' ')).collect();
        // A secret ends where its letters do: what is left of UTF-8 is UTF-8.
        shown.push_str(&String::from_utf8_lossy(&words));
        shown.push_str(end);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the forms in which settings and logs have secrets.
    #[test]
    fn secrets_in_text_are_masked() {
        for (text, expected) in [
            ("password = \"x y\"\nport = 80\n", "password =***\nport = 80\n"),
            ("url = \"https://me:hunter2@host/\"", "url = \"https://me:***@host/\""),
            ("app --password hunter2 -v", "app --password *** -v"),
            ("Authorization: Bearer abc\r\n", "Authorization:***\n"),
            ("quiet ghp_0123456789abcdef0123 splash", "quiet *** splash"),
            ("https://host/?a=1&token=abc", "https://host/?a=1&token=***"),
        ] {
            assert_eq!(masked_text(text), expected);
        }
    }

    /// Guards what is no secret: every letter, blanks and lines without an end too.
    #[test]
    fn other_text_stays_as_it_is() {
        for text in ["", "\n\n", "  a  b \tc\nlast", "Killed process 7 (größe) total-vm:1kB, anon-rss:2kB\n"]
        {
            assert_eq!(masked_text(text), text);
        }
    }
}
