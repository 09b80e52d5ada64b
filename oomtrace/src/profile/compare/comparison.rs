//! What a comparison comes to, as types. Their serialisation is the format `oomtrace-diff/1`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::profile::measure::{Better, Unit};

/// The format's name and version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ComparisonSchema {
    /// This one.
    #[default]
    #[serde(rename = "oomtrace-diff/1")]
    V1,
}

/// Reports beside each other. The first is the baseline: each further one is compared with it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Comparison {
    /// `oomtrace-diff/1`.
    pub schema: ComparisonSchema,
    /// Version of oomtrace that compared them.
    pub oomtrace: String,
    /// The reports, the baseline first. At least two.
    pub sides: Vec<Side>,
    /// In what they differ but for what was measured: kernels, settings, commands, …. This may be the very point of the
    /// comparison, or make it void.
    pub conditions: Vec<Condition>,
    /// What was measured: those measures that at least one side has, in the order of the table of measures.
    pub rows: Vec<Row>,
}

/// A report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Side {
    /// What it is called here: its name (`--name`), or its file. No two have the same.
    pub label: String,
    /// Its command, secrets masked.
    pub command: Vec<String>,
    /// The host it ran on.
    pub host: String,
    /// The kernel of that.
    pub kernel: String,
    /// When its first run began, RFC 3339.
    pub started: String,
    /// Runs.
    pub runs: u64,
}

/// Something that is not the same on all sides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Condition {
    /// What: `kernel`, `command`, `cgroup limit`, a setting of the kernel by its name, ….
    pub what: String,
    /// What it is on each side; `null`: it is not set, or not known.
    pub values: Vec<Option<String>>,
}

/// A measure.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Row {
    /// Its name, as `--fail-if` takes it.
    pub measure: String,
    /// What it is, in words.
    pub what: String,
    /// Of all its figures.
    pub unit: Unit,
    /// What is to be wished for.
    pub better: Better,
    /// For each side.
    pub values: Vec<Values>,
    /// For each side but the first.
    pub changes: Vec<Change>,
}

/// What the runs of a side came to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Values {
    /// For each run; `null`: there was nothing to measure (a percentile of no times), or it was not seen.
    pub runs: Vec<Option<f64>>,
    /// Of those that are there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean: Option<f64>,
    /// Of those that are there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub median: Option<f64>,
    /// Why those are absent that are, of the first of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub absent: Option<String>,
}

/// From the baseline to a side.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Change {
    /// From the baseline's mean to this side's, in the row's unit; absent: one of both has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difference: Option<f64>,
    /// The same in hundredths of the baseline's mean; absent too if that is 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percent: Option<f64>,
    /// Where the difference is with a confidence of 95 %; absent: there are too few runs to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<Interval>,
    /// How likely noise alone differs as much; absent like the interval, and where nothing differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p: Option<f64>,
    /// What it comes to.
    pub verdict: Verdict,
    /// Why it is that and no other, where the figures do not say so: a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// From here to there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Interval {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

/// What a change comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is worse, beyond noise.
    Worse,
    /// It is better, beyond noise.
    Better,
    /// It differs beyond noise, and neither is better by itself.
    Differs,
    /// No difference beyond noise.
    Same,
    /// It cannot be said: too few runs, or none on one side.
    #[default]
    Unsure,
}
