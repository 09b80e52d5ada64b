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
}

/// Where a line comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The programs in the kernel, live.
    Ebpf,
    /// A recorded stream.
    Replay,
    /// The kernel log alone: the programs in the kernel did not see it.
    Kmsg,
}
