//! One run of the command.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    AllocFailureCount, CgroupMemory, Counters, Course, ForkFailureCount, IncidentCounts, Kswapd, Latency,
    Pressure, PressureKind, Psi, StressorMemory, VictimCount, VictimRow,
};

/// One run of the command, from its start until it and what it left behind had ended, or were left alone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Run {
    /// When it began: RFC 3339 in UTC with nanoseconds.
    pub started: String,
    /// How long it took.
    pub duration_ns: u64,
    /// How the command ended.
    pub end: End,
    /// Runs of the OOM killer.
    pub incidents: IncidentCounts,
    /// Victims: bystanders first, then in the order in which they were killed. The first 200; `victims_by_name` has all.
    pub victims: Vec<VictimRow>,
    /// All victims, by name: bystanders first, then those with most kills. At most 100 names, and one for the rest.
    pub victims_by_name: Vec<VictimCount>,
    /// Forks that failed: bystanders first, then the most frequent. At most 100 kinds, and one for the rest.
    pub fork_failures: Vec<ForkFailureCount>,
    /// Allocations that failed though nobody was killed. At most 100 kinds, and one for the rest.
    pub alloc_failures: Vec<AllocFailureCount>,
    /// How long allocations waited while memory was freed for them, by kind, whose, and name: most time first.
    pub pressure: Vec<Pressure>,
    /// How long triggers had waited before the OOM killer ran for them.
    pub stall: Latency,
    /// From a mark until the victim's memory was free again.
    pub relief: Latency,
    /// How long decisions took (`out_of_memory()`), where a hook shows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<Latency>,
    /// The cgroup of the command, where it had one of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<CgroupMemory>,
    /// Memory of the command's processes, by name: the largest peak first. At most 64 names.
    pub stressors: Vec<StressorMemory>,
    /// What the kernel counted meanwhile, the whole machine.
    pub counters: Counters,
    /// How long programs waited for memory meanwhile, the whole machine (/proc/pressure/memory).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Psi>,
    /// What the kernel's own threads did about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kswapd: Option<Kswapd>,
    /// How all that went over time.
    pub course: Course,
    /// What it comes to, and what to do: the worst first.
    pub findings: Vec<FindingCount>,
    /// What stress-ng says of it, if it was told to write that (`--yaml`).
    pub bogo_ops: Vec<BogoOps>,
    /// What oomtrace itself took meanwhile.
    pub cost: Cost,
}

impl Run {
    /// Waits of these kinds of those who wait, which kcompactd does not.
    pub fn waits(&self, kinds: &[PressureKind]) -> impl Iterator<Item = &Pressure> {
        self.pressure.iter().filter(|one| kinds.contains(&one.kind) && !one.is_kcompactd())
    }
}

/// How the command ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct End {
    /// Its exit status, if it ended by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_status: Option<u8>,
    /// The signal that ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<u32>,
    /// Whether the OOM killer killed it.
    pub oom_killed: bool,
    /// Processes that it left behind, and that were still there at the end of the run.
    pub left_behind: u64,
    /// Whether oomtrace was asked to end (a signal) before it had ended.
    pub interrupted: bool,
}

/// A conclusion about several incidents.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct FindingCount {
    /// Names it: what `oomtrace explain` takes.
    pub id: String,
    /// `critical`, `warning` or `notice`.
    pub severity: String,
    /// Of how many incidents and failures it was told.
    pub count: u64,
    /// What it says of the first of these.
    pub summary: String,
    /// What to do, of the first: sentences, and commands after them.
    pub fixes: Vec<String>,
}

/// What stress-ng says of one kind of its stressors.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct BogoOps {
    /// Which: `vm`, `fork`, ….
    pub stressor: String,
    /// How often all its instances together did what they do.
    pub bogo_ops: u64,
    /// Wall clock time that they ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wall_ns: Option<u64>,
    /// `bogo_ops` in a second of that time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_second: Option<f64>,
    /// CPU time in user space and in the kernel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_ns: Option<u64>,
}

/// What oomtrace itself took meanwhile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Cost {
    /// CPU time of oomtrace's own process, the command not included.
    pub cpu_ns: u64,
    /// Of that, to take samples.
    pub sampling_cpu_ns: u64,
    /// Time in the programs in the kernel, on whosever account; absent where the kernel does not count it
    /// (`kernel.bpf_stats_enabled`, which costs itself).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub programs_ns: Option<u64>,
    /// How often these ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program_runs: Option<u64>,
    /// The most resident memory of oomtrace's own process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_rss_bytes: Option<u64>,
    /// Records that were lost, by place. Empty: none.
    pub lost: BTreeMap<String, u64>,
}
