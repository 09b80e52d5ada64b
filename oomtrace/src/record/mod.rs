//! Records of the kernel half: decoded once, here, into owned types.

mod decode;
pub(crate) mod environment;
mod file;
mod fork;
mod kernel_log;
mod pids_refused;
pub mod privacy;
mod recorder;
mod settings;
mod types;

pub use decode::{DecodeError, decode, of_run};
pub use file::{FileError, Frame, Reader, Writer};
pub use fork::{
    ForkFailure, ForkHost, NamespaceLevel, Namespaces, PidNamespace, PidsLevel, Promises, Site, UserLevel,
};
pub use kernel_log::encode as encode_kernel_log;
pub use pids_refused::encode as encode_pids_refused;
pub use recorder::{Recorder, create};
pub use settings::encode as encode_settings;
pub use types::{
    After, AllocFailure, Allowed, Ancestor, Candidate, Ceiling, CgroupId, Close, Cmdline, Decision,
    Environment, Failing, KernelLog, Key, Kin, Level, Link, Mark, Mm, Node, PidsRefused, Reclaim, Record,
    Relief, Stall, Struck, Task, Tie, UserKill, Whose, Zone,
};
