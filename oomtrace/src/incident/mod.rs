//! Incidents: what the output says, and how records become it.

mod assemble;
mod ballot;
mod chain;
mod doubt;
mod gfp;
mod memory;
mod scope;
mod types;

pub use assemble::{Assembler, Event};
pub use gfp::flag_names as gfp_flag_names;
pub(crate) use memory::per_cpu_bound;
pub use types::{
    Ballot, Candidate, Cause, Cgroup, Common, Incident, Limit, Line, Loss, LossTag, OomTag, Outcome, Rss,
    RssKernel, SchemaName, Scope, ScopeKind, Status, StatusState, StatusTag, Trigger, Verdict, Victim,
    WallTime,
};
