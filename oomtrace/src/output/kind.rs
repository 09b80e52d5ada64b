//! Which lines an output is given: what it has to say of them is up to each of its own settings.

use super::Message;
use crate::incident::Event;

/// What a line is about: its `type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum LineKind {
    /// An incident, when it is complete.
    Oom,
    /// What became of an incident's victims.
    Relief,
    /// A fork that failed.
    ForkFailure,
    /// An allocation that failed, where nobody was killed.
    AllocFailure,
    /// A kill by a daemon in user space.
    UserspaceKill,
    /// Something was lost.
    Loss,
    /// Tracing began or ended.
    Status,
}

impl LineKind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Oom,
        Self::UserspaceKill,
        Self::ForkFailure,
        Self::AllocFailure,
        Self::Relief,
        Self::Loss,
        Self::Status,
    ];

    /// What somebody may have to act on.
    pub const OF_INCIDENTS: [Self; 4] =
        [Self::Oom, Self::ForkFailure, Self::AllocFailure, Self::UserspaceKill];

    /// As its lines have it (`type`).
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Oom => "oom",
            Self::Relief => "relief",
            Self::ForkFailure => "fork_failure",
            Self::AllocFailure => "alloc_failure",
            Self::UserspaceKill => "userspace_kill",
            Self::Loss => "loss",
            Self::Status => "status",
        }
    }

    /// The kind of a message's line, if it comes to one.
    #[must_use]
    pub fn of(message: &Message) -> Option<Self> {
        Some(match message {
            Message::Incident(Event::Opened(_)) => return None,
            Message::Incident(Event::Closed(_)) => Self::Oom,
            Message::Incident(Event::Relieved(_)) => Self::Relief,
            Message::Incident(Event::ForkFailure(_)) => Self::ForkFailure,
            Message::Incident(Event::AllocFailure(_)) => Self::AllocFailure,
            Message::Incident(Event::UserKill(_)) => Self::UserspaceKill,
            Message::Loss(_) => Self::Loss,
            Message::Status(_) => Self::Status,
        })
    }
}
