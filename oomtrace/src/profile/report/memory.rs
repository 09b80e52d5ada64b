//! How much memory was in use, and what the kernel counted.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The command's own cgroup, at its end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct CgroupMemory {
    /// Path in its hierarchy.
    pub path: String,
    /// The most that was charged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_bytes: Option<u64>,
    /// What that is from: `memory.peak` (v2, from 5.19 on), `memory.max_usage_in_bytes` (v1), or `samples`, which may have missed more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_from: Option<String>,
    /// The limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_bytes: Option<u64>,
    /// The limit of what it may have in swap beside that (`memory.swap.max`, v2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_limit_bytes: Option<u64>,
    /// The most that it had in swap (`memory.swap.peak`, v2, from 6.5 on).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_peak_bytes: Option<u64>,
    /// What it counted (`memory.events`, and `pids.events` as `pids.max`; of v1 `oom_kill` of `memory.oom_control`, and
    /// `memory.failcnt` as `max`).
    pub events: BTreeMap<String, u64>,
    /// How long its tasks waited for memory (`memory.pressure`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Psi>,
    /// The most processes and threads that samples found in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub most_pids: Option<u64>,
}

/// Memory of the command's processes of one name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct StressorMemory {
    /// Their name.
    pub comm: String,
    /// The most that samples found of all of them together, resident. Shared pages count in each.
    pub peak_rss_bytes: u64,
    /// The most that was swapped.
    pub peak_swap_bytes: u64,
    /// The most of them at once.
    pub most_processes: u64,
}

/// What the kernel counted during the run (/proc/vmstat): the whole machine, by its own names. What this kernel does not count
/// is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Counters(pub BTreeMap<String, u64>);

/// How long programs waited for memory during the run (Documentation/accounting/psi.rst).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Psi {
    /// At least one did.
    pub some_ns: u64,
    /// All did that could have run.
    pub full_ns: u64,
}

/// What kswapd did during the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Kswapd {
    /// CPU time of all of them, to a hundredth of a second.
    pub cpu_ns: u64,
    /// Pages that they looked at, in bytes.
    pub scanned_bytes: u64,
    /// Pages that they freed, in bytes.
    pub reclaimed_bytes: u64,
}
