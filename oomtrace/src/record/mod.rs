//! Records of the kernel half: decoded once, here, into owned types.

mod decode;
mod file;
pub mod privacy;
mod recorder;
mod types;

pub use decode::{DecodeError, decode};
pub use file::{FileError, Frame, Reader, Writer};
pub use recorder::{Recorder, create};
pub use types::{
    After, AllocFailure, Candidate, Ceiling, CgroupId, Close, Cmdline, Decision, Failing, Key, Level, Mark,
    Mm, Reclaim, Record, Relief, Stall, Struck, Task, Tie, Whose,
};
