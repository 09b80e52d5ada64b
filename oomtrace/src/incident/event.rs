//! What an assembler has to say.

use super::{
    failure::AllocFailure,
    fork::ForkFailure,
    types::{Common, Incident, Relief},
    user_kill::UserKill,
};

/// What the assembler has to say.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// An incident's first victim was marked. More may come.
    Opened(Box<Incident>),
    /// An incident is complete.
    Closed(Box<Incident>),
    /// It is known what became of its victims.
    Relieved(Box<Relief>),
    /// An allocation failed, and nobody was killed.
    AllocFailure(Box<AllocFailure>),
    /// A fork failed.
    ForkFailure(Box<ForkFailure>),
    /// A daemon in user space killed.
    UserKill(Box<UserKill>),
}

impl Event {
    /// What every line tells.
    #[must_use]
    pub fn common(&self) -> &Common {
        match self {
            Self::Opened(incident) | Self::Closed(incident) => &incident.common,
            Self::Relieved(relief) => &relief.common,
            Self::AllocFailure(failure) => &failure.common,
            Self::ForkFailure(failure) => &failure.common,
            Self::UserKill(kill) => &kill.common,
        }
    }

    /// The same, to be completed.
    pub(crate) fn common_mut(&mut self) -> &mut Common {
        match self {
            Self::Opened(incident) | Self::Closed(incident) => &mut incident.common,
            Self::Relieved(relief) => &mut relief.common,
            Self::AllocFailure(failure) => &mut failure.common,
            Self::ForkFailure(failure) => &mut failure.common,
            Self::UserKill(kill) => &mut kill.common,
        }
    }

    /// The incident, if it is complete.
    #[must_use]
    pub fn closed(&self) -> Option<&Incident> {
        match self {
            Self::Closed(incident) => Some(incident),
            Self::Opened(_)
            | Self::Relieved(_)
            | Self::AllocFailure(_)
            | Self::ForkFailure(_)
            | Self::UserKill(_) => None,
        }
    }
}
