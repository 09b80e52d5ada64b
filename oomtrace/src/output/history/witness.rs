//! Whether two lines tell of one thing. Programs in the kernel see an incident, and the kernel log has it, too; and one log is kept
//! in several places (/dev/kmsg, the journal, pstore), each of which is read again when the agent starts again.

use super::entry::{Task, nanoseconds};
use crate::{incident::Common, output::LineKind, session::Source};

/// Two stamps of one thing in one boot are no more than this apart, ns: printk's clock and the trace's differ, and daemons read late.
const APART_NS: u64 = 5_000_000_000;
/// The same of the wall clock where a boot is not known: what pstore has gets the time of its file, which may be written after the
/// machine has started again. ns
const APART_UNKNOWN_NS: u64 = 600_000_000_000;

/// Who a line is about, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Witness {
    pub kind: LineKind,
    /// The same whenever and from wherever it is told, if there is such a name.
    pub name: Option<String>,
    pub boot_id: Option<String>,
    pub boot_ns: Option<u64>,
    pub time_ns: Option<i64>,
    /// Number of the kernel log's record.
    pub kmsg_seq: Option<u64>,
    /// The first victim, or whoever it happened to: the thread, as logs have it.
    pub tid: Option<u32>,
    pub comm: Option<String>,
    pub total_vm_bytes: Option<u64>,
    /// Where that one was; of a shortage that killed nobody, what was at its limit.
    pub cgroup: Option<String>,
    /// Whether there was nobody to kill.
    pub nobody: bool,
    /// Whether it is read from a log. Of two that programs in the kernel saw, none is the other.
    pub logged: bool,
}

impl Witness {
    /// Of a line. `at`: what tells it from others of its kind at the same moment.
    pub fn new(kind: LineKind, common: &Common, task: Option<&Task>, at: Option<&str>) -> Self {
        let tid = task.and_then(|task| task.tid);
        let cgroup = task.and_then(|task| task.place.cgroup.as_deref()).or(at);
        let time_ns = common.time.map(|time| nanoseconds(time.0));
        let boot = common.boot_id.as_deref().or(common.host.as_deref()).unwrap_or_default();
        let clock = common.boot_ns.map(i128::from).or(time_ns.map(i128::from));
        let name = clock.map(|clock| {
            format!("{boot}/{clock}/{}/{}", tid.unwrap_or_default(), at.or(cgroup).unwrap_or_default())
        });
        Self {
            kind,
            name,
            boot_id: common.boot_id.clone(),
            boot_ns: common.boot_ns,
            time_ns,
            kmsg_seq: None,
            tid,
            comm: task.and_then(|task| task.comm.clone()),
            total_vm_bytes: task.and_then(|task| task.total_vm_bytes),
            cgroup: cgroup.map(str::to_owned),
            nobody: false,
            logged: matches!(common.source, Source::Import | Source::Kmsg),
        }
    }

    /// Whether both are about one thing.
    pub fn is(&self, other: &Self) -> bool {
        if self.kind != other.kind {
            return false;
        }
        if self.name.is_some() && self.name == other.name {
            return true;
        }
        // These have names enough: what became of victims has the incident's, and nothing else is in two logs.
        if !matches!(self.kind, LineKind::Oom | LineKind::ForkFailure | LineKind::AllocFailure) {
            return false;
        }
        let boots = self.boot_id.as_ref().zip(other.boot_id.as_ref()).map(|(one, other)| one == other);
        if boots == Some(false) {
            return false;
        }
        if boots == Some(true)
            && let Some((one, other)) = self.kmsg_seq.zip(other.kmsg_seq)
        {
            return one == other;
        }
        (self.logged || other.logged) && self.is_like(other, boots == Some(true))
    }

    /// Whether the same happened to the same one, about then.
    fn is_like(&self, other: &Self, one_boot: bool) -> bool {
        let who = if self.nobody && other.nobody {
            // Whoever asks is refused, again and again: tracing tells one of them a second, and the log each.
            self.cgroup == other.cgroup
        } else if self.kind == LineKind::ForkFailure && (self.tid.is_none() || other.tid.is_none()) {
            // The log's line on a fork that a cgroup refused names the cgroup alone.
            self.cgroup.is_some() && self.cgroup == other.cgroup
        } else {
            self.tid.is_some() && self.tid == other.tid && self.comm == other.comm
        };
        if self.nobody && other.nobody && self.logged && other.logged {
            // Copies of one message have its stamp.
            return who && self.boot_ns.is_some() && self.boot_ns == other.boot_ns;
        }
        let near = |apart: u64, most: u64| apart <= most;
        let boot = self.boot_ns.zip(other.boot_ns).map(|(one, other)| near(one.abs_diff(other), APART_NS));
        let wall = |most| self.time_ns.zip(other.time_ns).map(|(one, other)| near(one.abs_diff(other), most));
        if one_boot {
            // One thread of one name is not killed twice in so short a time. Its size may differ: its other threads still
            // map memory between its mark and its message. printk's clock is not corrected, and the wall clock is set: one of the
            // two will do.
            return who && (boot == Some(true) || wall(APART_NS) == Some(true));
        }
        let sizes = self.total_vm_bytes.zip(other.total_vm_bytes).is_none_or(|(one, other)| one == other);
        // Of two dumps that do not name their boots, each has its own stamps: a machine that runs out of memory whenever it starts
        // does so at about the same second.
        let unnamed = self.boot_id.is_none() && other.boot_id.is_none();
        let when = match (boot, wall(APART_UNKNOWN_NS)) {
            (Some(_), wall) if unnamed => self.boot_ns == other.boot_ns && wall != Some(false),
            (Some(boot), wall) => boot && wall != Some(false),
            (None, _) => wall(APART_NS) == Some(true),
        };
        who && sizes && when
    }
}

#[cfg(test)]
#[path = "witness_tests.rs"]
mod tests;
