//! Reports of the OOM killer, put together from a kernel log's messages.
//!
//! [`Collector`] takes messages and tells what they come to. What a message says by itself is read by [`line`](super::line), and
//! what it says as part of a report by one file for each part: charges of memory cgroups, their statistics, the machine's
//! memory, the table of tasks.

mod allocation;
mod belongs;
mod bounded;
mod charge;
mod collector;
mod memory;
mod open;
mod outside;
mod pieces;
mod stats;
mod table;
mod types;
mod zone;

/// Rows of a table of tasks that are kept, at the most.
pub const TASKS: usize = 512;

pub use collector::Collector;
pub use types::{
    AllocationFailed, Charge, ChargeKind, End, HugePages, Kill, MemInfo, NodeInfo, Reaped, Report, TaskRow,
    Told, ZoneInfo,
};
