//! One JSON object a line.

use super::{Format, Message};
use crate::incident::{Event, Line};

/// See the module.
#[derive(Debug, Default)]
pub struct Json;

impl Json {
    /// A message's line with its newline; empty if it has none.
    #[must_use]
    pub fn line(message: &Message) -> Vec<u8> {
        let mut line = Vec::new();
        Self.format(message, &mut line);
        line
    }
}

impl Format for Json {
    // A line is written once, when the incident is complete.
    fn shows(&self) -> fn(&Message) -> bool {
        |message| !matches!(message, Message::Incident(Event::Opened(_)))
    }

    fn format(&mut self, message: &Message, to: &mut Vec<u8>) {
        let line = match message {
            Message::Incident(Event::Opened(_)) => return,
            Message::Incident(Event::Closed(incident)) => Line::Oom(incident),
            Message::Incident(Event::Relieved(relief)) => Line::Relief(relief),
            Message::Incident(Event::AllocFailure(failure)) => Line::AllocFailure(failure),
            Message::Incident(Event::ForkFailure(failure)) => Line::ForkFailure(failure),
            Message::Incident(Event::UserKill(kill)) => Line::UserKill(kill),
            Message::Loss(loss) => Line::Loss(loss),
            Message::Status(status) => Line::Status(status),
        };
        // The types serialise without maps that have other keys than strings, so this cannot fail; a Vec takes all.
        if serde_json::to_writer(&mut *to, &line).is_ok() {
            to.push(b'\n');
        }
    }
}
