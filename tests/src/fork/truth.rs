//! What is known of a failure from how it was brought about, without oomtrace and without asking the kernel why.

use std::fs;
use std::os::unix::fs::MetadataExt;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::fork::call::Call;
use crate::fork::forker::Forker;
use crate::fork::order::Tally;

/// A number of failures of one task, for one cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Truth {
    /// What wanted for it; None where nothing did, so that nothing is to be told.
    pub cause: Option<&'static str>,
    /// The error that the task got; None where it was dead by then.
    pub errno: Option<i32>,
    /// In that case, the errors of which `copy_process()` returned one each time.
    pub hidden: &'static [i32],
    /// How often.
    pub count: u64,
    /// Whether it may also not have come to it: what was to end the fork may have come between that and the next.
    pub may_escape: bool,
    /// The system call.
    pub call: &'static str,
    /// The task's process, where /proc is mounted.
    pub pid: u64,
    /// Its thread.
    pub tid: u64,
    /// Its process in its own PID namespace.
    pub ns_pid: u64,
    /// Its name.
    pub comm: String,
    /// How many children the thread has, where /proc tells.
    pub children: Option<u64>,
    /// Its real uid, outside all namespaces.
    pub uid: u64,
    /// The cgroup that it was in, as the hierarchy concerned has it.
    pub cgroup: Option<String>,
    /// Whether the kernel's `copy_process()` came to it at all.
    pub reached: bool,
    /// Where the limit is.
    pub level: Level,
    /// Whether that is of a cgroup which the child alone was to be in: an argument of the call names it, and nothing else.
    pub elsewhere: bool,
    /// Of which kind of namespaces the limit is, if of any.
    pub namespace: Option<&'static str>,
    /// Whether it is one of those that the user namespace which the task is in counts: before 5.14 nothing leads there.
    pub own_user_namespace: bool,
    /// The limit, in `unit`s.
    pub limit: Option<u64>,
    /// What was in use of it, without what was refused.
    pub usage: Option<u64>,
    /// What both count.
    pub unit: &'static str,
    /// Why it must have been this and nothing else.
    pub proof: &'static str,
    /// `CLOCK_BOOTTIME` before the first and after the last, in ns.
    pub window_ns: (u64, u64),
}

/// Where a limit is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// The whole machine.
    Machine,
    /// A cgroup.
    Cgroup {
        /// Its path in its hierarchy.
        path: String,
        /// The hierarchy's number in /proc/cgroups; 0 for version 2.
        hierarchy: u64,
    },
    /// A PID namespace.
    PidNamespace {
        /// How deep it is: 0 is the first.
        level: u64,
        /// Its number, where it can be known.
        inode: Option<u64>,
    },
    /// A user namespace.
    UserNamespace {
        /// How deep it is: 0 is the first.
        level: u64,
        /// Its number.
        inode: u64,
    },
    /// A user, as a user namespace counts.
    User {
        /// The user, outside all namespaces.
        uid: u64,
        /// The user namespace's number.
        namespace: u64,
    },
    /// The task itself.
    Task,
}

impl Truth {
    /// The truth of what `tally` counts of a forker that still lives: an error that it got by `call`, for want of
    /// nothing so far.
    pub fn of(forker: &Forker, call: Call, errno: i32, tally: &Tally) -> Result<Self> {
        let who = &forker.who;
        Ok(Self {
            cause: None,
            errno: Some(errno),
            hidden: &[],
            count: tally.failed(errno),
            may_escape: false,
            call: call.name(),
            pid: who.pid,
            tid: who.tid,
            ns_pid: who.ns_pids.last().copied().unwrap_or(who.pid),
            comm: forker.name.clone(),
            children: children(who.pid, who.tid),
            uid: forker.uid()?,
            cgroup: None,
            reached: true,
            level: Level::Task,
            elsewhere: false,
            namespace: None,
            own_user_namespace: false,
            limit: None,
            usage: None,
            unit: "tasks",
            proof: "",
            window_ns: (tally.begun_ns, tally.ended_ns),
        })
    }
}

fn children(pid: u64, tid: u64) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{tid}/children")).ok()?;
    Some(text.split_ascii_whitespace().count() as u64)
}

/// The number of a namespace of process `pid`: `user`, `pid`, or `pid_for_children`.
pub fn namespace(pid: u64, kind: &str) -> Result<u64> {
    let file = format!("/proc/{pid}/ns/{kind}");
    Ok(fs::metadata(&file).with_context(|| format!("cannot look at {file}"))?.ino())
}
