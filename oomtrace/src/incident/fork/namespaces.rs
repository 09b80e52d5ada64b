//! Which limit of namespaces refused a fork: how many a user may make, in its own user namespace or one around that
//! (`inc_ucount()`, kernel/ucount.c), or how many may be within each other.

use oomtrace_ebpf::{FORK_LEVELS, NAMESPACE_COUNTERS};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    ForkCause, Proof,
    cause::{ERASED, Evidence, Found, user_in},
};
use crate::{
    incident::missing::UNREAD,
    record::{NamespaceLevel, Namespaces},
};

/// A kind of namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NamespaceKind {
    /// Of users.
    User,
    /// Of mounts.
    Mnt,
    /// Of host names.
    Uts,
    /// Of System V IPC and POSIX message queues.
    Ipc,
    /// Of process ids.
    Pid,
    /// Of cgroups.
    Cgroup,
    /// Of networks.
    Net,
    /// Of clocks.
    Time,
}

/// `MAX_PID_NS_LEVEL` (include/linux/pid_namespace.h): at this depth `create_pid_namespace()` makes no more.
const PID_DEPTH: u32 = 32;
/// At this depth `create_user_ns()` (kernel/user_namespace.c) makes no more: it looks whether the one around is deeper than 32.
const USER_DEPTH: u32 = 33;

impl NamespaceKind {
    /// All of them, in the order of [`NAMESPACE_COUNTERS`], in which a fork makes them.
    const ALL: [Self; NAMESPACE_COUNTERS.len()] =
        [Self::User, Self::Mnt, Self::Uts, Self::Ipc, Self::Pid, Self::Cgroup, Self::Net, Self::Time];

    /// As in the names of settings.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Mnt => "mnt",
            Self::Uts => "uts",
            Self::Ipc => "ipc",
            Self::Pid => "pid",
            Self::Cgroup => "cgroup",
            Self::Net => "net",
            Self::Time => "time",
        }
    }

    /// What asks for a new one: `CLONE_NEW*` (include/uapi/linux/sched.h).
    fn flag(self) -> u64 {
        match self {
            Self::User => 0x1000_0000,
            Self::Mnt => 0x0002_0000,
            Self::Uts => 0x0400_0000,
            Self::Ipc => 0x0800_0000,
            Self::Pid => 0x2000_0000,
            Self::Cgroup => 0x0200_0000,
            Self::Net => 0x4000_0000,
            Self::Time => 0x0000_0080,
        }
    }
}

/// A limit that is reached.
struct Full {
    kind: NamespaceKind,
    limit: u64,
    usage: u64,
    at: Option<String>,
    /// Levels above the task's own.
    depth: u32,
    nested: bool,
}

impl Full {
    /// Whether no fork can have come past it: what this one made before it was refused may count for a while yet, since much of
    /// it is taken down later (`put_user_ns()`, `cleanup_net()`).
    fn bars(&self) -> bool {
        self.nested || self.limit == 0
    }
}

impl Evidence<'_> {
    /// ENOSPC. A child that is to be in a new user namespace has what else it asks for counted there first, where there is no limit
    /// yet, and then like that namespace itself: for the task's user in the task's own.
    pub(super) fn namespace(&self) -> Found {
        let found = Found::new(ForkCause::NamespaceLimit, Proof::State);
        let Some(namespaces) = self.namespaces else { return without(found, LOST) };
        let asked = self.failure.clone_flags;
        let kinds: Vec<_> = NamespaceKind::ALL
            .into_iter()
            .enumerate()
            .filter(|(_, kind)| asked.is_none_or(|flags| flags & kind.flag() != 0))
            .collect();
        let full: Vec<_> = kinds
            .iter()
            .filter_map(|(index, kind)| {
                self.too_deep(*kind, namespaces).or_else(|| many(*kind, *index, namespaces))
            })
            .collect();
        match full.as_slice() {
            [] => without(found, none(&kinds, namespaces)),
            [one] => one.told(found),
            [first, ..] if asked.is_some() && first.bars() => first.told(found),
            _ => without(found, if asked.is_some() { SEVERAL } else { ANY }),
        }
    }

    /// Whether there may be none within the task's own, or, of PID namespaces, within the one that the child was to be in.
    fn too_deep(&self, kind: NamespaceKind, namespaces: &Namespaces) -> Option<Full> {
        let own = namespaces.levels.first();
        let (limit, usage, at) = match kind {
            NamespaceKind::Pid => {
                let inum = self.failure.pid_namespaces.first().and_then(|own| own.inum);
                (PID_DEPTH, namespaces.pid_depth?, inum.map(|inum| format!("PID namespace {inum}")))
            }
            NamespaceKind::User => {
                let inum = own.and_then(|own| own.inum);
                (USER_DEPTH, own?.depth?, inum.map(|inum| format!("user namespace {inum}")))
            }
            _ => return None,
        };
        let full = Full { kind, limit: limit.into(), usage: usage.into(), at, depth: 0, nested: true };
        (usage >= limit).then_some(full)
    }
}

/// The first user namespace, from the inside out, that counts as many of a kind as may be.
fn many(kind: NamespaceKind, index: usize, namespaces: &Namespaces) -> Option<Full> {
    namespaces.levels.iter().zip(0_u32..).find_map(|(level, depth)| {
        if depth == 0 && !counts_own(level, namespaces) {
            return None;
        }
        let (usage, limit) = (level.counts[index]?, level.max[index]?);
        let at = level.uid.map(|uid| user_in(uid, level.inum));
        (usage >= limit).then_some(Full { kind, limit, usage, at, depth, nested: false })
    })
}

/// Whether what the first level counts is what the kernel goes by: the effective user's (`current_euid()`). A task's credentials
/// lead to the real user's.
fn counts_own(level: &NamespaceLevel, namespaces: &Namespaces) -> bool {
    level.uid.is_some() && level.uid == namespaces.euid
}

impl Full {
    fn told(&self, mut found: Found) -> Found {
        (found.limit, found.usage, found.depth) = (Some(self.limit), Some(self.usage), Some(self.depth));
        (found.namespace, found.nested) = (Some(self.kind), Some(self.nested));
        found.at.clone_from(&self.at);
        if found.at.is_none() {
            found.missing.push(("limit_at", UNREAD.to_owned()));
        }
        found
    }
}

fn without(found: Found, reason: &str) -> Found {
    let mut found = found.without(reason);
    for field in ["namespace", "nested"] {
        found.missing.push((field, reason.to_owned()));
    }
    found
}

/// Why none is full.
fn none(kinds: &[(usize, NamespaceKind)], namespaces: &Namespaces) -> &'static str {
    let Some((own, last)) = namespaces.levels.first().zip(namespaces.levels.last()) else { return UNREAD };
    if kinds.iter().any(|(index, _)| own.max[*index].is_none()) {
        return UNREAD;
    }
    if own.uid.is_none() {
        return UNLED;
    }
    if kinds.iter().any(|(index, _)| own.counts[*index].is_none()) {
        return UNREAD;
    }
    if !counts_own(own, namespaces) {
        return OTHER_USER;
    }
    let more = namespaces.levels.len() >= FORK_LEVELS && last.depth.is_none_or(|depth| depth > 0);
    if more { OUTER } else { ERASED }
}

/// Why there is no limit.
const LOST: &str = "how many namespaces there are and may be did not come in";
const SEVERAL: &str = "more than one of the kinds of namespaces that were asked for are as many as may be";
const ANY: &str = "more than one kind of namespaces are as many as may be, and what was asked for is not at hand in this tier";
const UNLED: &str = "this kernel leads to what other user namespaces count, but from a task to nothing in its own (Linux 5.14 and later do)";
const OTHER_USER: &str =
    "the task's effective user is not its real one, and only what is counted of that one is at hand";
const OUTER: &str = "only the user namespaces nearest to the task's own are looked at";

#[cfg(test)]
#[path = "namespaces_tests.rs"]
mod tests;
