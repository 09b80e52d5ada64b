//! `journalctl -o export` (systemd, docs/JOURNAL_EXPORT_FORMATS.md): entries of fields, each `NAME=value` on a line, or a
//! name on a line, the value's length in 8 bytes and the value, whatever is in it. An empty line ends an entry.
//!
//! Every field is walked, so that nothing in a value can pass for an entry.

use std::borrow::Cow;

use memchr::{memchr, memmem};

use super::{Want, clock::Clock, entry::Entry, sink::Sink};
use crate::kmsg::message::Message;

/// Longest value that is kept, bytes.
const LONGEST: u64 = 16 * 1024;
/// The first field of every entry.
const FIRST: &[u8] = b"__CURSOR=";

/// See the module.
pub(super) struct Export {
    entry: Entry<'static>,
    /// An entry has begun.
    begun: bool,
    state: State,
    too_long: u64,
    message: Message,
}

/// What comes next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// A field or the end of an entry.
    Field,
    /// The rest of a line that is too long.
    Line,
    /// So many bytes of a value that is too long, and its newline.
    Value(u64),
    /// The form was broken: nothing counts before the next entry begins.
    Lost,
}

/// Whether a log is of this form: its first line begins an entry, or one begins behind an empty line.
pub(super) fn begins(head: &[u8]) -> bool {
    let head = head.trim_ascii_start();
    head.starts_with(FIRST)
        || (memmem::find(head, b"\n\n__CURSOR=").is_some()
            && memchr(b'\n', head).is_some_and(|end| {
                let name = head.get(..memchr(b'=', head).unwrap_or(end).min(end)).unwrap_or_default();
                is_name(name)
            }))
}

impl Export {
    pub(super) fn new(_: Clock) -> Self {
        Self {
            entry: Entry::default(),
            begun: false,
            state: State::Lost,
            too_long: 0,
            message: Message::default(),
        }
    }

    pub(super) fn too_long(&self) -> u64 {
        self.too_long
    }

    /// Takes whole fields, and says how many bytes they were.
    pub(super) fn take(&mut self, held: &[u8], sink: &mut Sink<'_>) -> usize {
        let mut rest = held;
        while sink.want() != Want::Nothing
            && let Some(after) = self.step(rest, sink)
        {
            rest = after;
        }
        held.len() - rest.len()
    }

    /// A line does not end.
    pub(super) fn skip(&mut self) {
        if self.state == State::Field {
            self.state = State::Line;
            self.too_long += 1;
        }
    }

    /// The log has ended: an entry that has not may lack the field that says who wrote it.
    pub(super) fn end(&mut self, sink: &mut Sink<'_>) {
        if self.state == State::Field && self.entry.transport.is_some() {
            self.entry_ends(sink);
        }
    }

    /// Takes one thing, and gives back what follows. `None`: it is not whole.
    fn step<'a>(&mut self, text: &'a [u8], sink: &mut Sink<'_>) -> Option<&'a [u8]> {
        match self.state {
            State::Value(left) => {
                let here = usize::try_from(left).unwrap_or(usize::MAX).min(text.len());
                let left = left - here as u64;
                let rest = text.get(here..)?;
                if left > 0 {
                    self.state = State::Value(left);
                    return (here > 0).then_some(rest);
                }
                self.state = State::Value(0);
                let (newline, rest) = rest.split_first()?;
                self.state = if *newline == b'\n' { State::Field } else { State::Lost };
                Some(rest)
            }
            State::Line => match memchr(b'\n', text) {
                Some(end) => {
                    self.state = State::Field;
                    text.get(end + 1..)
                }
                None => (!text.is_empty()).then_some(&[]),
            },
            State::Lost => {
                self.entry = Entry::default();
                if text.starts_with(FIRST) {
                    self.state = State::Field;
                    return Some(text);
                }
                let end = memchr(b'\n', text)?;
                text.get(end + 1..)
            }
            State::Field => self.field(text, sink),
        }
    }

    fn field<'a>(&mut self, text: &'a [u8], sink: &mut Sink<'_>) -> Option<&'a [u8]> {
        let end = memchr(b'\n', text)?;
        let (line, rest) = (text.get(..end)?, text.get(end + 1..)?);
        if line.is_empty() {
            self.entry_ends(sink);
            return Some(rest);
        }
        if let Some(equals) = memchr(b'=', line) {
            let (name, value) = (line.get(..equals)?, line.get(equals + 1..)?);
            if !is_name(name) {
                self.state = State::Lost;
                return Some(rest);
            }
            self.set(name, value);
            return Some(rest);
        }
        if !is_name(line) {
            self.state = State::Lost;
            return Some(rest);
        }
        let (len, value) = rest.split_first_chunk::<8>()?;
        let len = u64::from_le_bytes(*len);
        if len > LONGEST {
            self.too_long += 1;
            self.state = State::Value(len);
            return Some(value);
        }
        let (value, rest) = value.split_at_checked(usize::try_from(len).ok()?)?;
        let (newline, rest) = rest.split_first()?;
        if *newline == b'\n' {
            self.set(line, value);
        } else {
            self.state = State::Lost;
        }
        Some(rest)
    }

    fn set(&mut self, name: &[u8], value: &[u8]) {
        self.begun = true;
        if let Some(field) = self.entry.field(name) {
            // A field may come more than once (an entry's own may repeat one): the first counts, and the journal's own
            // cannot be repeated.
            if field.is_none() {
                *field = Some(Cow::Owned(value.to_vec()));
            }
        }
    }

    fn entry_ends(&mut self, sink: &mut Sink<'_>) {
        let entry = std::mem::take(&mut self.entry);
        if std::mem::take(&mut self.begun) && entry.tell(&mut self.message, None) {
            sink.take(&self.message, None);
        }
    }
}

/// A field's name (`journal_field_valid()`): capitals, digits, underscores.
fn is_name(name: &[u8]) -> bool {
    !name.is_empty()
        && name.len() <= 64
        && name.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_')
}
