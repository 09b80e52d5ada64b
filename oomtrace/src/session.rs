//! What holds for a whole stream of records: where it comes from, and what it cannot tell. It heads a record file,
//! so that a replay says what the live trace said.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    host::Host,
    kernel::{hooks::Tier, layout::RssCounters, text::KernelRss},
};

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// The machine.
    pub host: Host,
    /// The hooks in use.
    pub tier: Tier,
    /// How the kernel stores resident-set counters.
    pub rss_counters: Option<RssCounters>,
    /// Which reading of them the kernel's OOM killer goes by.
    pub kernel_rss: KernelRss,
    /// Fields that these hooks or this kernel cannot give, by their path in the output, with the reason.
    pub missing: BTreeMap<String, String>,
    /// Whether the stream has the kernel log's messages too.
    #[serde(default)]
    pub kmsg: bool,
    /// Whether it has what cgroups counted of forks that they refused: then the log is no more than a hint at these.
    #[serde(default)]
    pub pids_events: bool,
}

impl Session {
    /// Of logs that were kept: of the machine they say themselves what they say, and `host` is for what they do not.
    #[must_use]
    pub fn of_logs(host: Host) -> Self {
        Self {
            host,
            tier: Tier::Kmsg,
            rss_counters: None,
            kernel_rss: KernelRss::Unknown { reason: "it is a log that was kept".to_owned() },
            missing: BTreeMap::new(),
            kmsg: true,
            pids_events: false,
        }
    }
}

/// Where a line comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The programs in the kernel, live.
    Ebpf,
    /// A recorded stream.
    Replay,
    /// The kernel log alone: the programs in the kernel did not see it, or there are none.
    Kmsg,
    /// A kernel log that was kept.
    Import,
    /// A cgroup's own count: no program in the kernel could have seen it.
    Cgroup,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Of a small machine with nothing amiss.
    pub fn sample(tier: Tier) -> Session {
        Session {
            host: Host {
                name: "host".to_owned(),
                boot_id: Some("01234567-89ab".to_owned()),
                kernel: "6.12".to_owned(),
                page_bytes: 4096,
                cpus_possible: 2,
                cpus_online: 2,
                memory_bytes: Some(1 << 30),
                swap_bytes: Some(0),
            },
            tier,
            rss_counters: Some(RssCounters::PerCpu),
            kernel_rss: KernelRss::Count,
            missing: BTreeMap::new(),
            kmsg: false,
            pids_events: false,
        }
    }
}
