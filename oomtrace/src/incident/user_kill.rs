//! Kills by daemons in user space: their lines. A daemon kills a whole cgroup's processes one after the other, or sends a
//! process SIGTERM and then SIGKILL: what follows soon is one event.

use std::collections::{BTreeMap, VecDeque};

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    chain::Chain,
    cmdlines::{Cmdlines, VICTIMS_CMDLINE},
    environments::Environments,
    kin::Kins,
    missing::{NO_CHAIN, note, unread},
    tell,
    types::{Common, Limit, Place, SchemaName, SentSignal, SentVia, Victim, WallTime},
};
use crate::{
    explain::Finding,
    record::{self, Key, Mm, Task},
    session::Session,
};

/// How long more is waited for, ns. earlyoom looks every 100 ms whether SIGTERM was enough.
const GATHER_NS: u64 = 250_000_000;
/// How long all of it may go on, ns.
const LONGEST_NS: u64 = 2_000_000_000;
/// How long a process is remembered, ns: then its death of a first signal is no news any more. earlyoom waits 10 s for a process
/// to end.
const REMEMBERED_NS: u64 = 30_000_000_000;
/// Processes that are remembered, at the most.
const REMEMBERED: usize = 1024;
/// Victims of an event, at the most. Those beyond begin another one.
const VICTIM_LIMIT: usize = 1024;
/// Events that are open at once, at the most.
const OPEN_LIMIT: usize = 16;

/// Marks a line as a kill by a daemon in user space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub enum UserKillTag {
    /// `userspace_kill`.
    #[serde(rename = "userspace_kill")]
    UserspaceKill,
}

/// A daemon that watches memory (systemd-oomd, earlyoom, nohang, oomd) killed processes before the kernel would have. It is known
/// by its name alone. The kernel's log has nothing of it.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct UserKill {
    /// `oomtrace/1`.
    pub schema: SchemaName,
    /// `userspace_kill`.
    pub r#type: UserKillTag,
    /// What every line tells. The time is that of the first signal.
    #[serde(flatten)]
    pub common: Common,
    /// Who sent the signals.
    pub killer: Killer,
    /// Who got them, in the order of their first ones: what was sent until nothing more came for 250 ms, or for 2 s in all. A
    /// signal that comes later is another line; the same signal to the same process within 30 s is not told again.
    pub victims: Vec<Victim>,
    /// Every memory cgroup from the first victim's own up to the root.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<Limit>,
    /// What it comes to, and what to do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// Fields that could not be had, by path, with the reason.
    pub missing: BTreeMap<String, String>,
    /// Records of this event that were lost on the way.
    pub lost_records: u64,
}

/// The daemon.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Killer {
    /// Process id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Its name, by which it is known: any process can have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comm: Option<String>,
    /// Real user id in the initial user namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
}

/// A process: its id, and when it began.
type Process = (Option<u32>, Option<u64>);

fn process(task: &Task) -> Process {
    (task.pid, task.start_boot_ns)
}

/// What is open, and what was told of late.
#[derive(Debug, Default)]
pub(super) struct UserKills {
    open: Vec<Open>,
    /// The oldest first.
    told: VecDeque<(Process, Vec<Sent>)>,
}

/// A signal, and when it was sent, ns since boot.
#[derive(Clone, Copy, Debug)]
struct Sent {
    signal: u32,
    via: SentVia,
    boot_ns: u64,
}

/// What a daemon sent until now.
#[derive(Debug)]
pub(super) struct Open {
    killer: Task,
    victims: Vec<Signalled>,
    chains: Vec<Chain>,
    first_ns: u64,
    deadline_ns: u64,
    offset_ns: i64,
    lost: u64,
}

#[derive(Debug)]
struct Signalled {
    task: Task,
    mm: Mm,
    sent: Vec<Sent>,
}

impl UserKills {
    /// Takes a signal in, with the cgroups that came with it. Gives back what is complete then.
    pub fn take(
        &mut self,
        key: &Key,
        kill: record::UserKill,
        chains: Vec<Chain>,
        offset_ns: i64,
    ) -> Option<Open> {
        let victim = process(&kill.victim);
        let via = if kill.without_sender { SentVia::CgroupKill } else { SentVia::Kill };
        let sent = Sent { signal: kill.signal, via, boot_ns: key.boot_ns };
        let earlier = self.remembered(victim, key.boot_ns);
        let again = |known: &[Sent]| known.iter().any(|known| known.signal == sent.signal);
        let same = |open: &&mut Open| process(&open.killer) == process(&kill.killer);
        if let Some(open) = self.open.iter_mut().find(same) {
            open.chains.extend(chains);
            open.lost = open.lost.saturating_add(key.lost.into());
            let until_ns = open.first_ns.saturating_add(LONGEST_NS);
            if let Some(known) = open.victims.iter_mut().find(|known| process(&known.task) == victim) {
                if !again(&known.sent) {
                    known.sent.push(sent);
                    open.deadline_ns = key.boot_ns.saturating_add(GATHER_NS).min(until_ns);
                }
                return None;
            }
            if again(&earlier) {
                return None;
            }
            open.deadline_ns = key.boot_ns.saturating_add(GATHER_NS).min(until_ns);
            open.victims.push(Signalled { task: kill.victim, mm: kill.mm, sent: with(earlier, sent) });
            let full = open.victims.len() >= VICTIM_LIMIT;
            let at = self.open.iter().position(|open| process(&open.killer) == process(&kill.killer));
            return at.filter(|_| full).map(|at| self.open.swap_remove(at));
        }
        if again(&earlier) {
            return None;
        }
        let oldest = (0..self.open.len()).min_by_key(|at| self.open.get(*at).map(|open| open.first_ns));
        let oldest = oldest.filter(|_| self.open.len() >= OPEN_LIMIT).map(|at| self.open.swap_remove(at));
        self.open.push(Open {
            killer: kill.killer,
            victims: vec![Signalled { task: kill.victim, mm: kill.mm, sent: with(earlier, sent) }],
            chains,
            first_ns: key.boot_ns,
            deadline_ns: key.boot_ns.saturating_add(GATHER_NS),
            offset_ns,
            lost: key.lost.into(),
        });
        oldest
    }

    /// What a process was sent of late.
    fn remembered(&mut self, victim: Process, now_ns: u64) -> Vec<Sent> {
        let recent = |sent: &[Sent]| {
            sent.last().is_some_and(|last| last.boot_ns.saturating_add(REMEMBERED_NS) > now_ns)
        };
        self.told.retain(|(_, sent)| recent(sent));
        self.told
            .iter()
            .rev()
            .find(|(known, _)| *known == victim)
            .map_or_else(Vec::new, |(_, sent)| sent.clone())
    }

    /// When [`Self::expire`] has something to do next, ns since boot.
    pub fn deadline_ns(&self) -> Option<u64> {
        self.open.iter().map(|open| open.deadline_ns).min()
    }

    /// Gives back what is complete by then, the oldest first.
    pub fn expire(&mut self, now_ns: u64) -> Vec<Open> {
        let (mut due, rest): (Vec<_>, Vec<_>) =
            self.open.drain(..).partition(|open| open.deadline_ns <= now_ns);
        self.open = rest;
        due.sort_by_key(|open| open.first_ns);
        due
    }

    /// Remembers who is told of.
    pub fn tell(&mut self, open: &Open) {
        for victim in &open.victims {
            if self.told.len() >= REMEMBERED {
                self.told.pop_front();
            }
            self.told.push_back((process(&victim.task), victim.sent.clone()));
        }
    }
}

fn with(mut earlier: Vec<Sent>, sent: Sent) -> Vec<Sent> {
    earlier.push(sent);
    earlier
}

/// What lines are completed from.
pub(super) struct With<'a> {
    pub session: &'a Session,
    pub cmdlines: &'a Cmdlines,
    pub environments: &'a Environments,
    pub kins: &'a Kins,
}

impl Open {
    /// When it began, ns since boot, and how far the wall clock was ahead of that.
    pub fn began(&self) -> (u64, i64) {
        (self.first_ns, self.offset_ns)
    }

    /// The line, under its head.
    pub fn line(&self, common: Common, with: &With<'_>) -> UserKill {
        let mut missing = BTreeMap::new();
        let killer = &self.killer;
        unread(
            &mut missing,
            "killer",
            [("pid", killer.pid.is_none()), ("comm", killer.comm.is_none()), ("uid", killer.uid.is_none())],
        );
        let mut victims = Vec::new();
        for (index, victim) in self.victims.iter().enumerate() {
            let field = format!("victims[{index}]");
            victims.push(self.victim(victim, &field, with, &mut missing));
        }
        let first = self.victims.first().and_then(|victim| self.chain(&victim.task));
        let limits = first.ok_or_else(|| NO_CHAIN.to_owned());
        let limits = limits.and_then(|chain| chain.limits(with.session.host.page_bytes));
        note(&mut missing, "limits", &limits);
        UserKill {
            schema: SchemaName::V1,
            r#type: UserKillTag::UserspaceKill,
            common,
            killer: Killer { pid: killer.pid, comm: killer.comm.clone(), uid: killer.uid },
            victims,
            limits: limits.unwrap_or_default(),
            findings: Vec::new(),
            missing,
            lost_records: self.lost,
        }
    }

    fn victim(
        &self,
        victim: &Signalled,
        field: &str,
        with: &With<'_>,
        missing: &mut BTreeMap<String, String>,
    ) -> Victim {
        let (task, mm, session) = (&victim.task, &victim.mm, with.session);
        let cgroup = self.chain(task).ok_or_else(|| NO_CHAIN.to_owned()).and_then(|chain| chain.path(0));
        note(missing, &format!("{field}.cgroup"), &cgroup);
        let facts = tell::facts(task, mm, session);
        unread(missing, field, tell::lacks(task, mm, &facts));
        let first_ns = victim.sent.first().map_or(0, |sent| sent.boot_ns);
        let signals = victim.sent.iter().map(|sent| SentSignal {
            number: sent.signal,
            name: name(sent.signal),
            via: sent.via,
            after_ns: sent.boot_ns.saturating_sub(first_ns),
        });
        Victim {
            signals: signals.collect(),
            kinship: with.kins.of(task, field, missing),
            command: with.cmdlines.told(task, &format!("{field}.cmdline"), VICTIMS_CMDLINE, session, missing),
            environment: with.environments.told(task, field, session, missing),
            place: Place::of(cgroup.ok()),
            start_time: task.start_boot_ns.map(|start_ns| WallTime::at(start_ns, self.offset_ns)),
            // The kernel scored nobody.
            rss_kernel: None,
            ..facts
        }
    }

    /// The cgroups of a task: those that came with it, or with another one there.
    fn chain(&self, task: &Task) -> Option<&Chain> {
        self.chains.iter().find(|chain| task.memcg.is_some() && chain.leaf() == task.memcg)
    }
}

/// The name of a signal.
fn name(signal: u32) -> Option<&'static str> {
    match signal {
        9 => Some("SIGKILL"),
        15 => Some("SIGTERM"),
        _ => None,
    }
}
