//! The files in which the memory controller shows a cgroup's limits.

/// The names of one version of the controller's files.
pub struct Names {
    /// The limit of memory.
    pub limit: &'static str,
    /// That of swap (v2), or of memory and swap (v1). Where swap is not accounted, there is none.
    pub swap_limit: &'static str,
}

/// cgroup v1.
pub const V1: Names = Names { limit: "memory.limit_in_bytes", swap_limit: "memory.memsw.limit_in_bytes" };
/// cgroup v2.
pub const V2: Names = Names { limit: "memory.max", swap_limit: "memory.swap.max" };

/// Whether processes are killed together. v1 has no such file.
pub const OOM_GROUP: &str = "memory.oom.group";

/// What stands in a file of a limit, in bytes; `None` for "max", and for the number that stands for it in v1
/// (`PAGE_COUNTER_MAX`).
pub fn limit_bytes(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|bytes| *bytes < u64::MAX / 4)
}

/// What stands in [`OOM_GROUP`].
pub fn oom_group(text: &str) -> bool {
    text.trim() == "1"
}
