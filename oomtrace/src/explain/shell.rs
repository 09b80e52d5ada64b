//! Names in commands that people paste into a shell: whoever makes a cgroup or a container gives it any name.

use std::fmt::Write as _;

use crate::text::printable;

/// A name as one word of a shell's, which stands for nothing but itself. What would not show as it is becomes an escape
/// (`$'…'`, which POSIX has since 2024, and bash, zsh and ksh since ever).
pub fn quoted(name: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+:@%,=".contains(letter);
    if !name.is_empty() && name.chars().all(plain) {
        return name.to_owned();
    }
    if printable(name) == name {
        return format!("'{}'", name.replace('\'', r"'\''"));
    }
    let mut word = "$'".to_owned();
    for letter in name.chars() {
        let mut bytes = [0; 4];
        let text: &str = letter.encode_utf8(&mut bytes);
        match letter {
            '\'' | '\\' => word.extend(['\\', letter]),
            _ if printable(text) == text => word.push(letter),
            _ => {
                for byte in text.bytes() {
                    // Three octal digits end by themselves; hexadecimal ones take in what follows. Writing cannot fail.
                    let _ = write!(word, "\\{byte:03o}");
                }
            }
        }
    }
    word.push('\'');
    word
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Guards whoever pastes a command: each name, whatever is in it, is one word for the shell and nothing but itself, and no
    /// control character or letter that turns the line around is in what is pasted.
    #[test]
    fn hostile_names_are_one_harmless_word() {
        let names = [
            "/system.slice/web.service",
            "",
            "a b",
            "x;touch /tmp/owned",
            "$(touch /tmp/owned)",
            "`touch /tmp/owned`",
            "it's",
            "a'; touch /tmp/owned; '",
            "dev-disk-by\\x2dlabel.swap",
            "two\nlines",
            "\u{1b}]0;title\u{7}x",
            "a\u{202e}b'\\c",
            "\u{1b}'1",
            "größe",
            "*?[a]~!#&|<>{}\"",
            "-rf",
        ];
        for name in names {
            let word = quoted(name);
            assert_eq!(printable(&word), word);
            let output = Command::new("bash").args(["-c", &format!("printf '%s|' {word}")]).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{name}|"), "{word}");
        }
        assert_eq!(quoted("/system.slice/web.service"), "/system.slice/web.service");
    }
}
