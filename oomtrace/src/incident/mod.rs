//! Incidents: what the output says, and how records become it.

mod alone;
mod assemble;
mod ballot;
mod chain;
mod cmdlines;
mod doubt;
mod environments;
mod event;
mod failure;
mod fork;
mod gfp;
mod id;
mod kin;
mod log;
mod logged;
mod memory;
mod missing;
mod relief;
mod repeats;
mod reported;
mod run;
mod scope;
mod stall;
mod tally;
mod tell;
mod types;
mod user_kill;
mod zones;

pub use assemble::Assembler;
pub use cmdlines::{TRIGGER_CMDLINE, VICTIMS_CMDLINE};
pub use environments::VICTIMS_ENVIRONMENT;
pub use event::Event;
pub use failure::{AllocFailure, AllocFailureTag, FailedTask, FailureKind};
pub use fork::{ForkCause, ForkFailure, ForkFailureTag, ForkingTask, Making, NamespaceKind, Proof};
pub use gfp::flag_names as gfp_flag_names;
pub use logged::LOGGED;
pub(crate) use memory::{per_cpu_bound, points as badness};
pub(crate) use relief::NOT_IN_TIME;
pub(crate) use reported::NOT_IN_LOGS;
pub use types::{
    Ancestor, Ballot, Before, Candidate, Cause, Cgroup, Command, Common, CoursePoint, Grower, GrowerKind,
    HostMemory, Incident, Kinship, Limit, Line, Loss, LossTag, MachineChange, OomTag, Outcome, Place, Relief,
    ReliefTag, Relieved, Rss, RssKernel, SchemaName, Scope, ScopeKind, SentSignal, SentVia, Stall, Status,
    StatusState, StatusTag, Trigger, Verdict, Victim, WallTime, Zone,
};
pub use user_kill::{Killer, UserKill, UserKillTag};
pub use zones::{COUNTERS, HOST_MEMORY, ZONES};
