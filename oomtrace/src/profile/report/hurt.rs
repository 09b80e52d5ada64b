//! What hurt without a kill.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Latency, Whose};

/// Forks that failed for one cause, of one name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ForkFailureCount {
    /// Whose they were.
    pub whose: Whose,
    /// Name of who forked; absent: of the rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comm: Option<String>,
    /// What refused: `pids_max`, `rlimit_nproc`, `memory`, … as in `oomtrace trace`.
    pub cause: String,
    /// The error's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errno_name: Option<String>,
    /// How often.
    pub count: u64,
    /// How many there may be, or bytes, of what the cause counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Whose limit it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_at: Option<String>,
    /// When the first failed, since the run began.
    pub first_at_ns: u64,
    /// When the last did.
    pub last_at_ns: u64,
}

/// Allocations that failed though nobody was killed, of one kind and name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AllocFailureCount {
    /// Whose they were.
    pub whose: Whose,
    /// Name of who asked; absent: of the rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comm: Option<String>,
    /// `page_fault`, `hugetlb`, … as in `oomtrace trace`.
    pub what: String,
    /// How often.
    pub count: u64,
}

/// What somebody waits in while memory is freed for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PressureKind {
    /// `try_to_free_pages()`: the node's memory is short.
    #[default]
    DirectReclaim,
    /// `try_to_free_mem_cgroup_pages()`: a memory cgroup is at its limit, or above `memory.high`.
    MemcgReclaim,
    /// `compact_zone()`: pages are moved to make room for larger ones. kcompactd's own are among them, under its name.
    Compaction,
}

/// Waits of one kind, of tasks of one name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Pressure {
    /// What they waited in.
    pub kind: PressureKind,
    /// Whose they were.
    pub whose: Whose,
    /// The name of the threads; absent: of the rest, for whose names there was no room.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comm: Option<String>,
    /// How long each took.
    #[serde(flatten)]
    pub latency: Latency,
    /// What it freed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reclaimed_bytes: Option<u64>,
}

impl Pressure {
    /// Whether it is kcompactd's: that makes room for others, and nobody waits for it (kcompactd_run(), mm/compaction.c, names it by its
    /// node). A process of the command's own may have such a name, too.
    #[must_use]
    pub fn is_kcompactd(&self) -> bool {
        let node = self.comm.as_deref().and_then(|comm| comm.strip_prefix("kcompactd"));
        let of_node =
            node.is_some_and(|node| !node.is_empty() && node.bytes().all(|letter| letter.is_ascii_digit()));
        of_node && self.kind == PressureKind::Compaction && self.whose != Whose::Own
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards bystanders against a false alarm, and a program against hiding behind a name.
    #[test]
    fn kcompactd_is_no_bystander() {
        let of = |comm: &str, kind, whose| {
            Pressure { comm: Some(comm.into()), kind, whose, ..Pressure::default() }.is_kcompactd()
        };
        assert!(of("kcompactd0", PressureKind::Compaction, Whose::Bystander));
        assert!(!of("kcompactd0", PressureKind::Compaction, Whose::Own));
        assert!(!of("kcompactd0", PressureKind::DirectReclaim, Whose::Bystander));
        assert!(!of("kcompactd", PressureKind::Compaction, Whose::Bystander));
        assert!(!of("kcompactdx", PressureKind::Compaction, Whose::Bystander));
    }
}
