//! Messages for tests of outputs.

use std::sync::Arc;

use super::Message;
use crate::{
    explain::tests::{fork_failure, memcg_in},
    incident::{Event, ForkCause},
};

/// A name that tries everything: to end its line, its string, its header and its argument, and to move the cursor.
pub const HOSTILE: &str = "x\"}\n{\"type\":\"oom\"}\r\nX-Evil: 1\r\n\r\n';$(id)`id`\u{1b}[2J\0";

/// An incident whose victim and trigger are called so, with its number.
pub fn incident(seq: u64, comm: &str) -> Arc<Message> {
    let mut incident = memcg_in("/web");
    incident.common.seq = seq;
    incident.id = format!("id-{seq}");
    incident.trigger.comm = Some(comm.to_owned());
    for victim in &mut incident.victims {
        victim.comm = Some(comm.to_owned());
    }
    Arc::new(Message::Incident(Event::Closed(Box::new(incident))))
}

/// The same, opened and not complete.
pub fn opened() -> Arc<Message> {
    Arc::new(Message::Incident(Event::Opened(Box::new(memcg_in("/web")))))
}

/// A fork that failed.
pub fn fork() -> Arc<Message> {
    Arc::new(Message::Incident(Event::ForkFailure(Box::new(fork_failure(ForkCause::PidsMax)))))
}
