//! What oomtrace says of itself: that it began or ended, and what it lost.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Common, SchemaName};

/// Marks a line as a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub enum LossTag {
    /// `loss`.
    #[serde(rename = "loss")]
    Loss,
}

/// Records that were lost.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Loss {
    /// `oomtrace/1`.
    pub schema: SchemaName,
    /// `loss`.
    pub r#type: LossTag,
    /// What every line tells.
    #[serde(flatten)]
    pub common: Common,
    /// Where: `ring` (no room in the ring buffer), `decode` (not understood), `output` (an output was too slow),
    /// `kmsg` (overwritten in the kernel log before they could be read), `programs` (forks that went by while the programs were
    /// at work for others: some may have failed), `vmstat` (kills that the kernel counted, and that were neither seen nor
    /// logged).
    #[serde(rename = "where")]
    pub place: &'static str,
    /// How many since the last such line, by kind.
    pub counts: BTreeMap<&'static str, u64>,
}

/// Marks a line as a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub enum StatusTag {
    /// `status`.
    #[serde(rename = "status")]
    Status,
}

/// Tracing began or ended.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Status {
    /// `oomtrace/1`.
    pub schema: SchemaName,
    /// `status`.
    pub r#type: StatusTag,
    /// What every line tells.
    #[serde(flatten)]
    pub common: Common,
    /// Which of both.
    pub state: StatusState,
    /// Hooks in use, as `kind:target`, by role. A role without a hook has none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hooks: BTreeMap<&'static str, Vec<String>>,
    /// Incidents reported so far.
    pub incidents: u64,
    /// Victims in them.
    pub victims: u64,
    /// Incidents and failures that the filters left out.
    pub filtered: u64,
    /// Records that were lost, all places together.
    pub lost_records: u64,
}

/// See [`Status`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StatusState {
    /// The hooks are attached: from here on nothing is missed.
    Armed,
    /// Tracing ended.
    Ended,
}
