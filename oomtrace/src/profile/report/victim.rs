//! Who was killed.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Whose;

/// Runs of the OOM killer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct IncidentCounts {
    /// All.
    pub count: u64,
    /// The same by what ran out: `global`, `memcg`, `cpuset`, `mempolicy`, `unknown`.
    pub by_scope: BTreeMap<String, u64>,
    /// The same by how they ended: `killed`, `already_exiting`, `no_victim`, `panic`, `unknown`.
    pub by_outcome: BTreeMap<String, u64>,
    /// Processes that were killed: victims but for those that were only marked since they were exiting already.
    pub kills: u64,
    /// Of these the command's own.
    pub own_kills: u64,
    /// Of these others.
    pub bystander_kills: u64,
    /// Kills by daemons in user space (systemd-oomd, earlyoom, …), which are in none of the counts above.
    pub userspace_kills: u64,
}

/// A victim.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct VictimRow {
    /// Since the run began.
    pub at_ns: u64,
    /// Names the incident, as its line of `oomtrace trace` does.
    pub incident: String,
    /// Whose it was.
    pub whose: Whose,
    /// Process id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comm: Option<String>,
    /// What it was started with, secrets masked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmdline: Option<String>,
    /// `killed`, `group_killed`, `mm_shared`, `pidns_collateral`, `already_exiting`; of a daemon's kill `userspace_kill`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<String>,
    /// Resident memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rss_bytes: Option<u64>,
    /// Swapped memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_bytes: Option<u64>,
    /// Adjustment of its score.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i32>,
    /// Path of its memory cgroup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<String>,
    /// What ran out: `global`, `memcg`, …. Of a memory cgroup with its path in `scope_path`.
    pub scope: String,
    /// The memory cgroup that was at its limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope_path: Option<String>,
    /// Name of who asked for the memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trigger_comm: Option<String>,
    /// Whose that was.
    pub trigger_whose: Whose,
    /// How long the trigger had waited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stall_ns: Option<u64>,
    /// Until its memory was free again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freed_ns: Option<u64>,
}

/// All victims of a name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct VictimCount {
    /// Whose they were.
    pub whose: Whose,
    /// Their name; absent: of the rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comm: Option<String>,
    /// How many were killed.
    pub kills: u64,
    /// The largest of them, resident.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub largest_rss_bytes: Option<u64>,
    /// When the first was killed, since the run began.
    pub first_at_ns: u64,
    /// When the last was.
    pub last_at_ns: u64,
}
