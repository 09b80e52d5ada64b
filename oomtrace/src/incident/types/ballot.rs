//! Who could have been chosen.

use schemars::JsonSchema;
use serde::Serialize;

/// A task that the kernel scored: `oom_badness()`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Candidate {
    /// Process id.
    pub pid: u32,
    /// Name of its first thread; bytes that are not UTF-8 as `\xNN`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comm: Option<String>,
    /// The kernel's badness, pages, as it computed it.
    pub points: i64,
    /// Resident memory as this kernel scores it, at the decision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rss_bytes: Option<u64>,
    /// Memory in swap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_bytes: Option<u64>,
    /// -1000 (never) to 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i32>,
}

/// How many tasks the kernel scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Ballot {
    /// Scored.
    pub examined: u32,
    /// Of these, what must not be killed: `oom_score_adj` is -1000, its memory has been reaped already, or it is in the
    /// middle of a vfork.
    pub unkillable: u32,
    /// Whether the scores are computed by the kernel's formula, since no hook shows its own (5.10). Then what is in the
    /// middle of a vfork, and what has been reaped, is scored, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub computed: bool,
}
