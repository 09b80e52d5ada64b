//! One run of the OOM killer.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    Common, SchemaName,
    ballot::{Ballot, Candidate},
    before::Before,
    memory::{HostMemory, Zone},
    scope::Scope,
    task::Trigger,
    victim::Victim,
};
use crate::explain::Finding;

/// Marks a line as an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub enum OomTag {
    /// `oom`.
    #[serde(rename = "oom")]
    Oom,
}

/// One run of the OOM killer that came to something: victims, or nobody to kill.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Incident {
    /// `oomtrace/1`.
    pub schema: SchemaName,
    /// `oom`.
    pub r#type: OomTag,
    /// Names the incident: opaque, the same in every record about it.
    pub id: String,
    /// What every line tells.
    #[serde(flatten)]
    pub common: Common,
    /// What ran out.
    pub scope: Scope,
    /// Whose allocation failed.
    pub trigger: Trigger,
    /// How it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Of a panic: the kernel's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub panic: Option<String>,
    /// Who was chosen, in the order in which they were marked.
    pub victims: Vec<Victim>,
    /// Who could have been chosen: the highest scores, best first, at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<Candidate>,
    /// The zones that the request could be served from, in the order in which it goes through them, at most 16; where a
    /// memory cgroup ran out, those of the node that the trigger ran on. At the decision.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub zones: Vec<Zone>,
    /// What the memory of these zones' nodes was used for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_memory: Option<HostMemory>,
    /// How long the trigger reclaimed before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stall: Option<Stall>,
    /// How many were looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ballot: Option<Ballot>,
    /// How long `out_of_memory()` took: to score, to kill, and to write its report to the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision_ns: Option<u64>,
    /// How often `out_of_memory()` was called, by whomever, and came to nothing, since the incident before: a victim was
    /// still ending, or something else had freed memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls_without_decision: Option<u64>,
    /// The last minutes before it. The agent's flight recorder has them; without that there is nothing here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Box<Before>>,
    /// Fields that are from the kernel log, by path: no hook of this tier shows them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub from_log: Vec<&'static str>,
    /// Number of the kernel log's record "Killed process" of the first victim, since boot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kmsg_seq: Option<u64>,
    /// What it comes to, and what to do: what to look at first stands first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// Fields that could not be had, by path, with the reason.
    pub missing: BTreeMap<String, String>,
    /// Records of this incident that were lost on the way.
    pub lost_records: u64,
}

/// What the trigger went through before the OOM killer ran: rounds of reclaim, none more than 100 ms after the one
/// before (`mm_vmscan_direct_reclaim_begin` and `_end`, `mm_vmscan_memcg_reclaim_begin` and `_end`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Stall {
    /// How many.
    pub rounds: u32,
    /// Time in them.
    pub duration_ns: u64,
}

/// How an incident ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A victim was killed.
    Killed,
    /// Whoever was chosen was exiting already: the kernel marked it, so that it gets on, and killed nobody.
    AlreadyExiting,
    /// Nobody died.
    NoVictim,
    /// The kernel panicked in place of a kill (`vm.panic_on_oom`), or for want of somebody to kill. Known from a log alone.
    Panic,
}
