//! Reports of the OOM killer, put together from a kernel log's messages.

mod types;

/// Rows of a table of tasks that are kept, at the most.
pub const TASKS: usize = 512;

pub use types::{
    AllocationFailed, Charge, ChargeKind, End, HugePages, Kill, MemInfo, NodeInfo, Reaped, Report, TaskRow,
    Told, ZoneInfo,
};
