//! The kernel log: the second witness of an OOM kill.
//!
//! What it says of allocation flags, constraint and cgroup no tracepoint says; and a kill that the tracer did not see
//! stands there too. Only the kernel's own records count: user space may write to /dev/kmsg, but never as the kernel.

pub mod line;
pub mod message;
mod pieces;
mod reader;
mod record;
pub mod report;
pub mod source;

pub use line::{Decided, Invoked, Killed, Line, RanOut};
pub use pieces::{Logged, Pieces};
pub use reader::{Batch, LARGEST_RECORD, Reader};
pub use record::{LogRecord, parse};

/// The kernel log as records.
pub const PATH: &str = "/dev/kmsg";
