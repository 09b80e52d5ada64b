//! What led to an incident.

use schemars::JsonSchema;
use serde::Serialize;

use super::task::Place;

/// The last minutes before an incident, as the flight recorder of `oomtrace agent` has them (docs/flight-recorder.md). It takes a
/// sample every few seconds; what happened between two of them it does not know.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Before {
    /// How long before the incident the first sample was taken.
    pub span_ns: u64,
    /// How many samples there were since.
    pub samples: u32,
    /// From one to the next.
    pub interval_ns: u64,
    /// What became of the memory that ran out, oldest first, at most 32 moments.
    pub course: Vec<CoursePoint>,
    /// What the machine's memory was used for, now against then: from the first sample to the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine: Option<MachineChange>,
    /// The processes and the cgroups that grew most, as far as memory ran out for them: at most 5 processes and 3 cgroups, the
    /// fastest-grown first. A cgroup whose growth is that of one within it is left out.
    pub growers: Vec<Grower>,
    /// By how much the first victim grew, reckoned as for `growers`. Left out: it was in no sample, or in too few.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub victim_grown_bytes: Option<u64>,
}

/// A moment on the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CoursePoint {
    /// How long before the incident.
    pub ago_ns: u64,
    /// Where the machine ran out: what programs could have had without swapping (`MemAvailable`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub available_bytes: Option<u64>,
    /// Where a memory cgroup ran out: what was charged to it, caches included. The last one is what the kernel had at the incident.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage_bytes: Option<u64>,
    /// The machine's swap space in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_used_bytes: Option<u64>,
    /// The share of time since the moment before in which some of the machine's tasks waited for memory (PSI), hundredths of a
    /// percent; of the first moment: in the ten seconds before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub some_hundredths_percent: Option<u32>,
    /// The same for all of the tasks that had something to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub full_hundredths_percent: Option<u32>,
}

/// How the use of a machine's memory changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct MachineChange {
    /// Over which time.
    pub over_ns: u64,
    /// Free memory (`MemFree`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub free_change_bytes: Option<i64>,
    /// Anonymous memory (`AnonPages`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anon_change_bytes: Option<i64>,
    /// Pages of files (`Active(file)` and `Inactive(file)`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_change_bytes: Option<i64>,
    /// Shared memory and tmpfs (`Shmem`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shmem_change_bytes: Option<i64>,
    /// The kernel's own (`Slab`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slab_change_bytes: Option<i64>,
}

/// What grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GrowerKind {
    /// A process: its resident memory, and its swap where any is in use.
    Process,
    /// A memory cgroup: all that is charged to it and to those within it, caches included.
    Cgroup,
}

/// A process or a cgroup that grew.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Grower {
    /// Which of both.
    pub kind: GrowerKind,
    /// Process id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Name of its first thread; bytes that are not UTF-8 as `\xNN`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comm: Option<String>,
    /// Where it ran; or which cgroup that is.
    #[serde(flatten)]
    pub place: Place,
    /// Whether it was killed.
    pub victim: bool,
    /// Whether all of it is new: it began within that time.
    pub began: bool,
    /// By how much it grew, since it was at its smallest.
    pub grown_bytes: u64,
    /// Over which time. It may be one interval too long: the growth may have set in between two samples.
    pub over_ns: u64,
    /// Both as a rate.
    pub rate_bytes_per_second: u64,
    /// What it has now: of those that the kernel looked at, at the incident; of others, in the last sample.
    pub now_bytes: u64,
}
