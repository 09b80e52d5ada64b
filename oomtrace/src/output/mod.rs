//! Outputs. Each has a queue of its own with a bound: a slow one delays neither the reader nor another output, and
//! what it cannot take is counted.

mod backlog;
pub mod exec;
mod file;
mod filter;
mod health;
pub mod history;
mod human;
mod json;
mod kind;
pub mod metrics;
mod outputs;
mod queue;
mod retry;
#[cfg(test)]
pub(crate) mod samples;
mod sink;
mod stream;
pub mod webhook;

pub use file::{File, FileError, FileSettings};
pub use filter::Filter;
pub use health::Health;
pub use human::Human;
pub use json::Json;
pub use kind::LineKind;
pub use outputs::{Counts as LossCounts, Outputs, Sent, TellLoss};
pub use queue::{Closed, LAST_WORDS, Queue};
pub use sink::Sink;
pub use stream::Stream;

use crate::incident::{Event, Loss, Status};

/// What an output is given.
#[derive(Clone, Debug)]
pub enum Message {
    /// An incident, at its first victim and when it is complete, and what became of its victims; or what failed and killed
    /// nobody.
    Incident(Event),
    /// Something was lost.
    Loss(Loss),
    /// Tracing began or ended.
    Status(Status),
}

/// A form of output: messages to bytes.
pub trait Format: Send {
    /// What tells whether a message has any bytes in this form.
    fn shows(&self) -> fn(&Message) -> bool;

    /// Adds a message's bytes, if it has any in this form.
    fn format(&mut self, message: &Message, to: &mut Vec<u8>);
}
