//! The lines of output, as types. Their serialisation is the format `oomtrace/1`; the JSON Schema comes from them.
//!
//! A value that could not be had is left out, and [`Incident::missing`] says why. It is never 0 instead.

mod ballot;
mod before;
mod incident;
mod memory;
mod relief;
mod scope;
mod status;
mod task;
mod time;
mod victim;

use schemars::JsonSchema;
use serde::Serialize;

pub use self::{
    ballot::{Ballot, Candidate},
    before::{Before, CoursePoint, Grower, GrowerKind, MachineChange},
    incident::{Incident, OomTag, Outcome, Stall},
    memory::{HostMemory, Zone},
    relief::{Relief, ReliefTag, Relieved},
    scope::{Cause, Cgroup, Limit, Scope, ScopeKind},
    status::{Loss, LossTag, Status, StatusState, StatusTag},
    task::{Ancestor, Command, Kinship, Place, Trigger},
    time::WallTime,
    victim::{Rss, RssKernel, SentSignal, SentVia, Verdict, Victim},
};
use super::{failure::AllocFailure, fork::ForkFailure, user_kill::UserKill};
use crate::{check::Check, kernel::hooks::Tier, session::Source};

/// The format's name and version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub enum SchemaName {
    /// This one.
    #[serde(rename = "oomtrace/1")]
    V1,
}

/// One line of JSON.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(title = "oomtrace/1: one line of output")]
pub enum Line<'a> {
    /// An incident.
    Oom(&'a Incident),
    /// What became of an incident's victims.
    Relief(&'a Relief),
    /// An allocation failed, and nobody was killed.
    AllocFailure(&'a AllocFailure),
    /// A fork failed for want of something.
    ForkFailure(&'a ForkFailure),
    /// A daemon in user space killed, before the kernel would have.
    UserKill(&'a UserKill),
    /// Something was lost.
    Loss(&'a Loss),
    /// Tracing began or ended.
    Status(&'a Status),
    /// A machine as it stands.
    Check(&'a Check),
}

/// What every line tells.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Common {
    /// Number of the incident, failure or loss within this run of oomtrace, from 1. A status has that of the last one.
    pub seq: u64,
    /// When it happened, by the wall clock. A kernel log that was kept without it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<WallTime>,
    /// The same in nanoseconds since boot, suspended time included. Of a kernel log that was kept: by printk's clock, if it was
    /// kept with that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot_ns: Option<u64>,
    /// Host name. Of a kernel log that was kept: as that has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Id of this boot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    /// Kernel release. Of a kernel log that was kept: as that has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// Hooks in use.
    pub tier: Tier,
    /// Where the line comes from.
    pub source: Source,
}

impl Common {
    /// When it happened, ns, by whichever clock is known: to tell how far lines of one log are apart.
    #[must_use]
    pub fn clock_ns(&self) -> Option<u64> {
        self.boot_ns.or_else(|| u64::try_from(self.time?.0.as_nanosecond()).ok())
    }
}
