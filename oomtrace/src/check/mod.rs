//! What `oomtrace check` tells of a machine: what there is to mend, what is left of each limit, what is set, and what would be killed
//! first. All of it follows from a [`Node`].

mod headroom;
mod order;
mod settings;

use std::{collections::BTreeMap, path::Path};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

pub use headroom::{Headroom, Of};
pub use order::{Doomed, NoLimit, Order};

use crate::{
    explain::{Finding, of_node},
    host::{Host, node::Node},
    incident::{Command, SchemaName, WallTime},
};

/// Marks a line as a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub enum CheckTag {
    /// `check`.
    #[serde(rename = "check")]
    Check,
}

/// A machine as it stands.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Check {
    /// `oomtrace/1`.
    pub schema: SchemaName,
    /// `check`.
    pub r#type: CheckTag,
    /// When it was looked at, by the wall clock.
    pub time: WallTime,
    /// Host name.
    pub host: String,
    /// Id of this boot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    /// Kernel release.
    pub kernel: String,
    /// Where its /proc and /sys were captured; absent: it is this machine, now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// What there is to mend, the worst first.
    pub findings: Vec<Finding>,
    /// What is left of each limit.
    pub headroom: Vec<Headroom>,
    /// What is set, by the name that sysctl has for it.
    pub settings: BTreeMap<&'static str, i64>,
    /// What would be killed first, if memory ran out now.
    pub kill_order: Order,
    /// Why something could not be seen.
    pub missing: BTreeMap<&'static str, String>,
}

impl Check {
    /// Leaves out what processes were started with, but for the settings that findings are about.
    pub fn forget_command_lines(&mut self) {
        let order = &mut self.kill_order;
        for one in order.first.iter_mut().chain(&mut order.shielded) {
            one.command = Command::default();
        }
    }

    /// Of a machine, captured below `root`; of what would be killed if the machine ran out of memory, or `cgroup` did.
    ///
    /// # Errors
    /// There is no such cgroup, or it has no limit.
    pub fn of(node: &Node, host: &Host, root: &Path, cgroup: Option<&str>) -> Result<Self, NoLimit> {
        Ok(Self {
            schema: SchemaName::V1,
            r#type: CheckTag::Check,
            time: WallTime(Timestamp::now()),
            host: host.name.clone(),
            boot_id: host.boot_id.clone(),
            kernel: host.kernel.clone(),
            root: (root != Path::new("/")).then(|| root.display().to_string()),
            findings: of_node(node),
            headroom: headroom::of(node),
            settings: settings::of(node),
            kill_order: Order::of(node, cgroup, host.page_bytes)?,
            missing: node.missing.clone(),
        })
    }
}
