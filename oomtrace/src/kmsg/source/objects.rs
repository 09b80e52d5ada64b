//! JSON objects over several lines: `journalctl -o json-pretty`, `dmesg -J`, what jq prints.

use memchr::{memchr, memmem};

use super::{
    Want,
    clock::Clock,
    json::{self, LONGEST},
    sink::Sink,
};
use crate::kmsg::message::Message;

/// How an object may begin and end in the middle of a log whose beginning is lost.
const BETWEEN: [&[u8]; 4] = [b"\n}\n{\n", b"},{\n", b"},\n{\n", b"}, {\n"];

/// See the module.
pub(super) struct Objects {
    clock: Clock,
    /// The innermost object that has begun.
    object: Option<Vec<u8>>,
    skipping: bool,
    too_long: u64,
    message: Message,
}

/// Whether a log is of this form: its first line is an opening bracket and nothing else, or its beginning is lost and objects
/// follow each other later on.
pub(super) fn begins(head: &[u8]) -> bool {
    let mut lines = head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    let (first, second) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    // A line that is cut short, and a field or an end.
    let lost = || {
        (second.starts_with(b"\"") || second.starts_with(b"}"))
            && BETWEEN.iter().any(|between| memmem::find(head, between).is_some())
    };
    matches!(first, b"{" | b"[" | b"[{") || lost()
}

impl Objects {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, object: None, skipping: false, too_long: 0, message: Message::default() }
    }

    pub(super) fn too_long(&self) -> u64 {
        self.too_long
    }

    /// Takes whole lines, and says how many bytes they were.
    pub(super) fn take(&mut self, held: &[u8], last: bool, sink: &mut Sink<'_>) -> usize {
        let mut rest = held;
        while sink.want() != Want::Nothing {
            let (line, after) = match memchr(b'\n', rest) {
                Some(end) => (rest.get(..end), rest.get(end + 1..)),
                None if last && !rest.is_empty() => (Some(rest), None),
                None => break,
            };
            if !std::mem::take(&mut self.skipping) {
                self.line(line.unwrap_or_default(), sink);
            }
            rest = after.unwrap_or_default();
        }
        held.len() - rest.len()
    }

    /// Takes the beginning of a line that is too long, and its object with it.
    pub(super) fn skip(&mut self) {
        self.skipping = true;
        self.too_long += u64::from(self.object.take().is_some());
    }

    fn line(&mut self, line: &[u8], sink: &mut Sink<'_>) {
        let line = line.trim_ascii();
        let line = line.strip_prefix(b"\x1e").unwrap_or(line);
        let ends = line.starts_with(b"}");
        let begins = line.ends_with(b"{") && !line.starts_with(b"\"");
        if ends && let Some(mut object) = self.object.take() {
            object.push(b'}');
            if json::object(&object, &self.clock, &mut self.message, None) {
                sink.take(&self.message, None);
            }
        }
        if begins {
            self.object = Some(b"{".to_vec());
        } else if let Some(object) = &mut self.object {
            if object.len() + line.len() > LONGEST {
                self.object = None;
                self.too_long += 1;
            } else {
                object.extend_from_slice(line);
            }
        }
    }
}
