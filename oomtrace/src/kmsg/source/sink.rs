//! Where messages go: to whoever takes them. Pieces that say of themselves that they are such (records of /dev/kmsg) are put
//! together first.

use super::Want;
use crate::kmsg::{line::Line, message::Message, pieces};

/// Longest message that is put together, bytes: paths are at most `PATH_MAX` long.
const LONGEST: usize = 8192;
/// How many messages may come between the pieces of one.
const BETWEEN: u32 = 64;

/// See the module.
pub(super) struct Sink<'a> {
    to: &'a mut dyn FnMut(&Message) -> Want,
    want: Want,
    open: Option<Open>,
    messages: u64,
}

/// A message that may go on in a later record.
struct Open {
    message: Message,
    /// Messages since.
    between: u32,
}

impl<'a> Sink<'a> {
    pub(super) fn new(to: &'a mut dyn FnMut(&Message) -> Want) -> Self {
        Self { to, want: Want::default(), open: None, messages: 0 }
    }

    /// What is wanted now. While a message is in pieces, the next may be one of them.
    pub(super) fn want(&self) -> Want {
        match (self.want, &self.open) {
            (Want::Beginnings, Some(_)) => Want::Everything,
            (want, _) => want,
        }
    }

    /// Messages that were handed over.
    pub(super) fn messages(&self) -> u64 {
        self.messages
    }

    /// Takes a message. `continues`: what it says of itself, where it comes with that; `None`: such messages do not say.
    pub(super) fn take(&mut self, message: &Message, continues: Option<bool>) {
        if message.text.contains(&b'\n') && is_sums(&message.text) {
            // One message of several lines; elsewhere each has its own.
            let mut line = message.clone();
            for text in message.text.split(|byte| *byte == b'\n') {
                line.text.clear();
                line.text.extend_from_slice(text);
                self.give(&line);
            }
            return;
        }
        if let Some(open) = &mut self.open {
            if continues == Some(true) {
                if open.message.text.len() + message.text.len() <= LONGEST {
                    open.message.text.extend_from_slice(&message.text);
                }
                if pieces::ends(&open.message.text) {
                    self.close();
                }
                return;
            }
            open.between += 1;
            if open.between > BETWEEN
                || pieces::in_pieces(&message.text)
                || Line::parse(&message.text).is_some()
            {
                self.close();
            }
        }
        if continues == Some(false) && pieces::in_pieces(&message.text) && !pieces::ends(&message.text) {
            // A second one while the first is open: nobody waits for both.
            self.close();
            self.open = Some(Open { message: message.clone(), between: 0 });
        } else {
            self.give(message);
        }
    }

    /// No message follows.
    pub(super) fn end(&mut self) {
        self.close();
    }

    fn close(&mut self) {
        if let Some(open) = self.open.take() {
            self.give(&open.message);
        }
    }

    fn give(&mut self, message: &Message) {
        if self.want != Want::Nothing {
            self.messages = self.messages.saturating_add(1);
            self.want = (self.to)(message);
        }
    }
}

/// Whether a message is that of `show_free_areas()` (mm/show_mem.c), the one of several lines: its sums.
fn is_sums(text: &[u8]) -> bool {
    text.get(1..).is_some_and(|rest| rest.starts_with(b"ctive_anon:"))
}
