//! How things went over time.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Samples of a run. There are never more than [`Course::MOST`]: when there would be, every two neighbours become one, and the
/// interval doubles. What is a state (bytes in use) is then the larger of both, of what is available the smaller, and what is a share of
/// time (stalls) their mean.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Course {
    /// From one point to the next, ns.
    pub interval_ns: u64,
    /// The samples, in order.
    pub points: Vec<Point>,
    /// Resident memory of the command's processes by name, in the order of the peaks: at most 8, and one of the rest. Each has as
    /// many values as there are points.
    pub stressors: Vec<Series>,
    /// What happened, in order. At most [`Course::MOST_MARKS`]: when there would be more, those that are near each other become
    /// one.
    pub marks: Vec<Mark>,
}

impl MarkKind {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::OwnKill,
        Self::BystanderKill,
        Self::UserspaceKill,
        Self::NoVictim,
        Self::ForkFailure,
        Self::AllocFailure,
    ];
}

impl Course {
    /// Points, at the most.
    pub const MOST: usize = 720;
    /// Marks, at the most.
    pub const MOST_MARKS: usize = 1000;
}

/// A sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Point {
    /// Since the run began.
    pub at_ns: u64,
    /// `MemAvailable`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub available_bytes: Option<u64>,
    /// Swap in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_used_bytes: Option<u64>,
    /// Charged to the command's own cgroup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup_bytes: Option<u64>,
    /// Resident memory of all of the command's processes. Shared pages count in each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own_rss_bytes: Option<u64>,
    /// Which share of the time since the sample before at least one program waited for memory (PSI), 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi_some: Option<f64>,
    /// Seconds that threads waited in reclaim or compaction since the sample before, per second: above 1 if several did at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<f64>,
    /// Major faults a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub major_faults_per_second: Option<f64>,
    /// Bytes swapped in and out, a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swapped_bytes_per_second: Option<f64>,
}

/// A curve beside the points.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Series {
    /// What of; absent: of the rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comm: Option<String>,
    /// One for each point.
    pub rss_bytes: Vec<u64>,
}

/// What a mark stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MarkKind {
    /// One of the command's own was killed.
    #[default]
    OwnKill,
    /// A bystander was, or whose it was is not known.
    BystanderKill,
    /// A daemon in user space killed.
    UserspaceKill,
    /// The OOM killer found nobody.
    NoVictim,
    /// A fork failed.
    ForkFailure,
    /// An allocation failed, and nobody was killed.
    AllocFailure,
}

/// Something that happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Mark {
    /// Since the run began; of several the first.
    pub at_ns: u64,
    /// What.
    pub kind: MarkKind,
    /// How many.
    pub count: u64,
    /// Name of whom it hit, of the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comm: Option<String>,
}
