//! An output that is a stream of bytes: standard output, in one of its forms.

use std::{
    io::{self, Write},
    sync::Arc,
};

use super::{Closed, Format, Health, Message, Sink};

/// What is written at once, at the most, but for what one message has more, bytes.
const TOGETHER_BYTES: usize = 64 * 1024;

/// See the module.
pub struct Stream {
    format: Box<dyn Format>,
    to: Box<dyn Write + Send>,
    bytes: Vec<u8>,
    /// Messages in these.
    messages: u64,
    health: Arc<Health>,
}

impl Stream {
    /// Formats messages and writes them, those that wait already together.
    #[must_use]
    pub fn new(format: Box<dyn Format>, to: Box<dyn Write + Send>, health: Arc<Health>) -> Self {
        Self { format, to, bytes: Vec::with_capacity(16 * 1024), messages: 0, health }
    }
}

impl Sink for Stream {
    fn wants(&self) -> fn(&Message) -> bool {
        self.format.shows()
    }

    fn take(&mut self, message: &Arc<Message>) -> Result<(), Closed> {
        self.format.format(message, &mut self.bytes);
        self.messages += 1;
        if self.bytes.len() < TOGETHER_BYTES { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> Result<(), Closed> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        let written = self.to.write_all(&self.bytes).and_then(|()| self.to.flush());
        self.bytes.clear();
        let messages = std::mem::take(&mut self.messages);
        match written {
            Ok(()) => self.health.wrote(messages),
            Err(_) => self.health.lost(messages),
        }
        written.map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Closed::BrokenPipe,
            _ => Closed::Failed(error),
        })
    }
}
