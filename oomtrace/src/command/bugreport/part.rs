//! What a report consists of: files, each with what it is, or with the reason why it is not there.

use serde_json::Value;

use crate::{
    secrets::{mask, masked_text},
    text::printable,
};

/// One file of a report.
#[derive(Debug)]
pub struct Part {
    /// Its path in the archive.
    pub name: &'static str,
    /// What it is, in a few words.
    pub about: &'static str,
    /// What is in it; else why that cannot be had, as a sentence.
    pub content: Result<Content, String>,
}

/// What is in a file, by how secrets are masked in it.
#[derive(Debug)]
pub enum Content {
    /// Text, of anybody's.
    Text(String),
    /// One JSON document.
    Json(Value),
    /// JSON, one object a line.
    Lines(Vec<Value>),
    /// The kernel's own types, in its own form. No process has a say in it.
    Types(Vec<u8>),
}

impl Part {
    /// A part that is there, or is not.
    pub fn new(name: &'static str, about: &'static str, content: Result<Content, String>) -> Self {
        Self { name, about, content }
    }
}

impl Content {
    /// The file's bytes: the only way to them, so that nothing gets by unmasked. Text cannot move a terminal's cursor.
    pub fn bytes(self) -> Vec<u8> {
        match self {
            Self::Text(text) => {
                let lines = masked_text(&text);
                let lines = lines.lines().map(|line| line.split('\t').map(printable).collect::<Vec<_>>());
                lines.map(|words| words.join("\t") + "\n").collect::<String>().into_bytes()
            }
            Self::Json(mut value) => {
                mask(&mut value);
                format!("{value:#}\n").into_bytes()
            }
            Self::Lines(values) => {
                let masked = values.into_iter().map(|mut value| {
                    mask(&mut value);
                    format!("{value}\n")
                });
                masked.collect::<String>().into_bytes()
            }
            Self::Types(bytes) => bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(content: Content) -> String {
        String::from_utf8(content.bytes()).unwrap()
    }

    /// Guards every form of text against secrets and against names that are escape sequences.
    #[test]
    fn no_form_lets_a_secret_or_an_escape_by() {
        assert_eq!(
            text(Content::Text("a\tb \u{1b}[2J\ntoken=abc".to_owned())),
            "a\tb \\u{1b}[2J\ntoken=***\n"
        );
        let value = json!({"comm": "\u{1b}[2J", "cmdline": ["x", "--token", "abc"]});
        let line = "{\"cmdline\":[\"x\",\"--token\",\"***\"],\"comm\":\"\\u001b[2J\"}\n";
        assert_eq!(text(Content::Lines(vec![value.clone(), value.clone()])), line.repeat(2));
        let whole: Value = serde_json::from_str(&text(Content::Json(value))).unwrap();
        assert_eq!(whole["cmdline"][2], "***");
    }
}
