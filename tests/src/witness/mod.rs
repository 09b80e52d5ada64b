//! What the kernel itself says of a kill, or of a refusal, by ways that oomtrace has no part in.

pub mod cgroup;
pub mod comm;
pub mod counters;
pub mod klog;
pub mod kmsg;
pub mod line;
pub mod pids;
pub mod procfs;
pub mod tree;
pub mod zones;
