//! Who a task is, and what the one asked for whose allocation failed.

use schemars::JsonSchema;
use serde::Serialize;

use crate::host::{
    container::{self, Container},
    unit,
};

/// Where a task ran: its memory cgroup, and whose that is by what runtimes and systemd call theirs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Place {
    /// Path of its memory cgroup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<String>,
    /// The container that it is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<Container>,
    /// Its systemd unit: for a container, the one that the host knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The slice of that unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slice: Option<String>,
}

impl Place {
    /// The place of a cgroup, if its path is known.
    #[must_use]
    pub fn of(cgroup: Option<String>) -> Self {
        let path = cgroup.as_deref().unwrap_or_default();
        let container = container::of(path);
        let (unit, slice) = unit::of(path).map(|found| (found.unit, found.slice)).unzip();
        Self { cgroup, container, unit, slice }
    }
}

/// What a process was started with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Command {
    /// Its arguments, the program first; what looks like a secret as `***`, bytes that are not UTF-8 as `\xNN`. As the
    /// process shows it: it may have written something else there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmdline: Option<Vec<String>>,
    /// Whether it goes on: at most 4 KiB are told.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cmdline_truncated: bool,
}

/// A process from which another one descends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Ancestor {
    /// Process id.
    pub pid: u32,
    /// Name of its first thread; bytes that are not UTF-8 as `\xNN`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comm: Option<String>,
}

/// Who a process is among others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Kinship {
    /// Its process id in its own PID namespace, as its container shows it: the same as `pid` outside of containers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ns_pid: Option<u32>,
    /// From its parent upwards to the first process, at most 8. None where the kernel itself began it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ancestors: Option<Vec<Ancestor>>,
}

/// The task whose allocation failed: `current` of the OOM killer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Trigger {
    /// Process id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Thread id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tid: Option<u32>,
    /// Name of the thread; bytes that are not UTF-8 as `\xNN`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comm: Option<String>,
    /// Real user id in the initial user namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Whether it is one of the command's own that `oomtrace run` runs. Absent outside of that, and where it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of_run: Option<bool>,
    /// Who it is among others.
    #[serde(flatten)]
    pub kinship: Kinship,
    /// What it was started with.
    #[serde(flatten)]
    pub command: Command,
    /// Where it ran.
    #[serde(flatten)]
    pub place: Place,
    /// Flags of the request, as the kernel encodes them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gfp_mask: Option<u32>,
    /// The same by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gfp_flags: Option<Vec<String>>,
    /// The request was for 2^order pages; -1: sysrq.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<i32>,
}
