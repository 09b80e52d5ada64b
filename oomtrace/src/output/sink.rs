//! What an output does with its messages, on the thread of its queue.

use std::{sync::Arc, time::Duration};

use super::{Closed, Message};

/// See the module.
pub trait Sink: Send {
    /// What tells whether it has any use for a message: others do not take room in its queue.
    fn wants(&self) -> fn(&Message) -> bool;

    /// Takes a message. An error ends the output for good: what can be tried again is kept, and tried again in [`Self::rest`].
    fn take(&mut self, message: &Arc<Message>) -> Result<(), Closed>;

    /// Nothing more waits just now, or much was taken: what was gathered is to be written.
    fn flush(&mut self) -> Result<(), Closed>;

    /// Does what is due though no message came (to try again, to throw away what is old), and says when it wants to be asked
    /// next. `None`: not before the next message.
    fn rest(&mut self) -> Option<Duration> {
        None
    }

    /// The last call: nothing more will come.
    fn end(&mut self) {}
}
