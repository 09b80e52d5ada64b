//! What ran out.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

/// What ran out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Scope {
    /// Which kind of supply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<ScopeKind>,
    /// How the OOM killer was entered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// The kernel's own name for the kind (`enum oom_constraint`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub constraint: Option<&'static str>,
    /// The memory cgroup at its limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memcg: Option<Cgroup>,
    /// The nodes that the request was confined to, by a cpuset or by a memory policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<Vec<u32>>,
    /// Capacity of the scope with its swap: `oom_control.totalpages`. Never a process's size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity_bytes: Option<u64>,
    /// What the memory cgroup at its limit is used for, by the kernel's names (memory.stat), in bytes; counts are counts. From the
    /// kernel log, where there is nothing else.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub memcg_stats: BTreeMap<String, u64>,
    /// Every memory cgroup from the victim's own up to the root.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<Limit>,
}

/// A supply that can run out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScopeKind {
    /// The whole machine.
    Global,
    /// A memory cgroup.
    Memcg,
    /// The nodes of a cpuset.
    Cpuset,
    /// The nodes of a memory policy.
    Mempolicy,
}

/// How the OOM killer was entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// An allocation failed.
    Allocation,
    /// Someone lowered the limit of a memory cgroup below its usage.
    LimitLowered,
    /// An operator asked for it (sysrq f).
    Sysrq,
    /// The multi-generational LRU's protection against thrashing (`min_ttl_ms`).
    Mglru,
    /// A page fault without an allocation of its own (before 5.16).
    PageFault,
}

/// A memory cgroup.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Cgroup {
    /// Path in its hierarchy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Inode number of its directory, unique within the hierarchy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// The hierarchy; 0 is the unified one (v2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hierarchy: Option<u32>,
}

/// A memory cgroup's usage and limits. The root has none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Limit {
    /// Path in its hierarchy.
    pub path: String,
    /// Inode number of its directory: another cgroup may have the path by now.
    #[serde(skip)]
    pub id: Option<u64>,
    /// Memory charged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage_bytes: Option<u64>,
    /// Its limit. Left out: there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_bytes: Option<u64>,
    /// v2: swap charged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_usage_bytes: Option<u64>,
    /// v2: its limit. Left out: there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_limit_bytes: Option<u64>,
    /// v1: memory and swap charged together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memsw_usage_bytes: Option<u64>,
    /// v1: the limit of both. Left out: there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memsw_limit_bytes: Option<u64>,
    /// Whether its tasks are killed together (`memory.oom.group`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_group: Option<bool>,
}
