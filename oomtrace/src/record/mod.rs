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
    After, Candidate, Ceiling, CgroupId, Close, Cmdline, Decision, Key, Level, Mark, Mm, Node, Reclaim,
    Record, Relief, Stall, Task, Whose, Zone,
};
