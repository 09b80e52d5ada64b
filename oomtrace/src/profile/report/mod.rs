//! The report of `oomtrace run`, as types. Their serialisation is the format `oomtrace-run/1`.
//!
//! A value that could not be had is left out, and never 0 instead. Everything in it has a bound, however long the run was.

mod course;
mod hurt;
mod latency;
mod memory;
mod run;
mod victim;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{
    course::{Course, Mark, MarkKind, Point, Series},
    hurt::{AllocFailureCount, ForkFailureCount, Pressure, PressureKind},
    latency::{Bucket, Latency},
    memory::{CgroupMemory, Counters, Kswapd, Psi, StressorMemory},
    run::{BogoOps, Cost, End, FindingCount, Run},
    victim::{IncidentCounts, VictimCount, VictimRow},
};

/// The format's name and version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ReportSchema {
    /// This one.
    #[default]
    #[serde(rename = "oomtrace-run/1")]
    V1,
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Report {
    /// `oomtrace-run/1`.
    pub schema: ReportSchema,
    /// Version of oomtrace.
    pub oomtrace: String,
    /// What whoever ran it calls it (`--name`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The command, secrets masked; bytes that are not UTF-8 as `\xNN`.
    pub command: Vec<String>,
    /// Where it ran.
    pub machine: Machine,
    /// What it was given.
    pub settings: Settings,
    /// How it was watched.
    pub tracing: Tracing,
    /// Its runs, one after the other, in order; those to warm up are not among them.
    pub runs: Vec<Run>,
}

/// Where the command ran.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Machine {
    /// Host name.
    pub host: String,
    /// Kernel release (`uname -r`).
    pub kernel: String,
    /// CPUs online.
    pub cpus: u32,
    /// `MemTotal`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// `SwapTotal`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_bytes: Option<u64>,
    /// Bytes in a page.
    pub page_bytes: u32,
    /// Settings that decide what happens when memory runs out, by the name that sysctl(8) has for them, or the path below
    /// /sys: `vm.overcommit_memory`, `vm.swappiness`, `kernel/mm/transparent_hugepage/enabled`, ….
    pub sysctls: BTreeMap<String, String>,
}

/// What the command was given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Settings {
    /// The limit of its memory cgroup (`--cgroup-limit`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup_limit_bytes: Option<u64>,
    /// The limit of its processes (`--pids-limit`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids_limit: Option<u64>,
    /// Version of the cgroups that it was put into, 1 or 2, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup_version: Option<u32>,
    /// Runs to warm up, before those of the report.
    pub warmup: u32,
    /// From one sample of memory to the next at first, ns; 0: none were taken.
    pub sample_interval_ns: u64,
}

/// How the command was watched.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Tracing {
    /// Hooks in use: `trampoline`, `kprobe`, `tracepoint` or `kmsg`.
    pub tier: String,
    /// The same one by one, as `kind:target`, by role. A role without a hook has none.
    pub hooks: BTreeMap<String, Vec<String>>,
    /// What these cannot show, by path in the report or of an incident, with the reason.
    pub missing: BTreeMap<String, String>,
}

/// Whose something was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Whose {
    /// Of a process that has nothing to do with the command.
    Bystander,
    /// Of the command's own: below it, or left over by it.
    Own,
    /// It is not known: too many levels of parents, or the kernel log alone tells of it. Or it is oomtrace's own.
    #[default]
    Unknown,
}
