//! Scenarios that provoke real OOM kills in throwaway cgroups, run oomtrace on them and compare every
//! shared figure with witnesses that oomtrace has no part in: the kernel log, the kernel's counters,
//! /proc and the cgroup's own files.
//!
//! * [`scenario`]: what is provoked; one file each.
//! * [`witness`]: what the kernel itself says of it.
//! * [`tracer`], [`told`] and [`incident`]: what oomtrace says of it.
//! * [`compare`], [`schema`] and [`floor`]: whether the two agree, and whether enough was said.
//! * [`ftrace`]: the kernel's trace.
//! * [`eat`], [`kin`], [`hoard`], [`shred`], [`freezer`] and [`fuse`]: what a scenario's processes do, and what they are caught in.
//! * [`fork`]: forks that fail.
//! * [`storm`]: very many kills at once, and the books that are kept of them.
//! * [`flood`]: record files of very many forks that fail.
//! * [`btf`]: type information of kernels that there are none of.
//! * [`refusal`]: oomtrace without rights, files, readers or sense in its arguments.
//! * [`bench`]: what oomtrace costs, beside other tools.
//! * [`shell`]: where an operator's commands go; [`systemd`]: whom some of them speak to; and [`legacy`]: a controller in version 1.
//! * [`service`]: the agent under systemd, over a panic and a reset.
//! * [`aside`]: what stands beside each scenario.
//! * [`stage`]: what a scenario works with, and what cleans up after it.

pub mod aside;
pub mod bench;
pub mod btf;
#[cfg(test)]
mod by_hand;
pub mod checks;
pub mod cli;
pub mod compare;
pub mod deadline;
pub mod eat;
pub mod eater;
pub mod fail;
pub mod fields;
pub mod flood;
pub mod floor;
pub mod fork;
pub mod freezer;
pub mod ftrace;
pub mod fuse;
pub mod hoard;
pub mod incident;
pub mod inject;
pub mod kin;
pub mod klog;
pub mod legacy;
pub mod lines;
pub mod machine;
pub mod pace;
pub mod process;
pub mod random;
pub mod refusal;
pub mod results;
pub mod runner;
pub mod scenario;
pub mod schema;
pub mod service;
pub mod shell;
pub mod shred;
pub mod size;
pub mod stage;
pub mod storm;
pub mod systemd;
pub mod told;
pub mod tracer;
pub mod watch;
pub mod witness;
