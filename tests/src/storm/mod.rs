//! Storms: many cgroups that run out of memory at the same time, over and over, and the books that are kept
//! of it.
//!
//! * [`tenant`]: the process that lives in a cgroup until it is killed: `scenarios tenant`.
//! * [`group`]: one cgroup and its tenants; [`room`]: how much they have; [`lane`]: some of the cgroups, wave
//!   after wave.
//! * [`roster`]: who was started where. A process's comm names its cgroup, so that whatever is ascribed to
//!   the wrong one shows.
//! * [`watch`]: what the kernel logged and counted meanwhile.
//! * [`account`]: whether all of these agree with what oomtrace reported.
//! * [`handled`]: how an oomtrace is stopped, let go on and killed.

pub mod account;
pub mod group;
pub mod handled;
pub mod lane;
pub mod loss;
pub mod room;
pub mod roster;
pub mod tenant;
pub mod watch;

use clap::Args;

/// How large a storm is.
#[derive(Debug, Clone, Copy, Args)]
pub struct Size {
    /// OOM kills that the storm makes at the least; the wave that reaches them is ended.
    #[arg(long, default_value_t = 2000)]
    pub kills: u64,
    /// The cgroups, of a few MiB each.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=200))]
    pub cgroups: u16,
}

/// How mixed a storm is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mix {
    /// Everything: threads, short-lived processes, several processes in a cgroup, cgroups that vanish.
    Everything,
    /// One process with one thread in each cgroup: each makes one kill, and no task is marked without one.
    Plain,
}
