//! What became of victims after their marks: each incident is followed until the memory of all its victims is free.

use std::collections::{BTreeMap, VecDeque};

use oomtrace_ebpf::RELIEF_PATIENCE_NS;

use super::{
    cmdlines,
    missing::{self, lacking},
    types::{Command, Incident, Place, Relieved, Victim},
};
use crate::record::{After, CgroupId, Cmdline, Key, Mark, Relief, Task};

/// How long a victim whose memory is free is waited for, ns. Its last thread ends just before or just after that; what
/// has not been seen to end by then ended before the programs looked out for it.
const ENDS_WITHIN_NS: u64 = 1_000_000_000;
/// How long after its end the init of a PID namespace is waited for, to kill all others in it, ns. It does so at once.
const NAMESPACE_NS: u64 = 200_000_000;
/// Records that are kept for an incident that is not complete yet, at the most.
const EARLY_LIMIT: usize = 4096;
/// Processes that were killed with an incident's victims, at the most.
const COLLATERAL_LIMIT: usize = 4096;
/// Incidents that are followed at once, at the most.
const FOLLOWED_LIMIT: usize = 4096;

/// Why it is not known when a victim's memory was free, though it was waited for.
pub const NOT_IN_TIME: &str = "it had not happened 30 s after the kill, or went unseen";

/// The incidents that are followed.
#[derive(Debug, Default)]
pub struct Reliefs {
    followed: VecDeque<Followed>,
    /// What came before its incident was complete.
    early: VecDeque<(Key, Relief)>,
}

/// An incident, and what became of its victims.
#[derive(Debug)]
pub struct Followed {
    /// Names the incident.
    pub id: String,
    /// Its number.
    pub seq: u64,
    /// See `Assembler::common`.
    pub offset_ns: i64,
    /// When the last thing happened, ns since boot.
    pub last_ns: u64,
    /// Who was killed with its victims after it was told.
    pub collateral: Vec<Victim>,
    victims: Vec<Dying>,
    /// Whether one of them is the init of a PID namespace, which kills all others in it after its own end.
    init: bool,
    deadline_ns: u64,
}

#[derive(Debug)]
struct Dying {
    start_boot_ns: Option<u64>,
    marked_ns: u64,
    pid: u32,
    tid: Option<u32>,
    comm: Option<String>,
    /// Its memory cgroup, and what is told of that.
    memcg: Option<CgroupId>,
    place: Place,
    /// Whether the incident was told without its command line.
    untold: bool,
    command: Command,
    exited_ns: Option<u64>,
    freed_ns: Option<u64>,
    reaped_ns: Option<u64>,
}

impl Reliefs {
    /// Follows a complete incident with these marks. Gives it back once there is nothing more to wait for.
    pub fn follow<'a>(
        &mut self,
        incident: &Incident,
        marks: impl Iterator<Item = &'a (Key, Mark)>,
        offset_ns: i64,
    ) -> Vec<Followed> {
        let mut followed = Followed {
            id: incident.id.clone(),
            seq: incident.common.seq,
            offset_ns,
            last_ns: 0,
            collateral: Vec::new(),
            victims: Vec::new(),
            init: incident
                .victims
                .iter()
                .any(|victim| victim.kinship.ns_pid == Some(1) && victim.pid != Some(1)),
            deadline_ns: 0,
        };
        for (key, mark) in marks {
            let Some(pid) = mark.victim.pid else { continue };
            if followed.victims.iter().all(|known| known.pid != pid) {
                followed.deadline_ns = key.boot_ns.saturating_add(RELIEF_PATIENCE_NS);
                followed.last_ns = key.boot_ns;
                let told = incident.victims.iter().find(|victim| victim.pid == Some(pid));
                followed.victims.push(Dying::new(key, pid, mark, told));
            }
        }
        if followed.victims.is_empty() {
            return Vec::new();
        }
        self.early.retain(|(key, relief)| !followed.take(key, *relief));
        let mut done = Vec::new();
        if followed.done() {
            done.push(followed);
        } else {
            if self.followed.len() >= FOLLOWED_LIMIT {
                done.extend(self.followed.pop_front());
            }
            self.followed.push_back(followed);
        }
        done
    }

    /// Takes a record in. Gives an incident back once there is nothing more to wait for.
    pub fn record(&mut self, key: &Key, relief: Relief) -> Option<Followed> {
        let at = self.followed.iter_mut().position(|followed| followed.take(key, relief));
        let Some(at) = at else {
            if self.early.len() >= EARLY_LIMIT {
                self.early.pop_front();
            }
            self.early.push_back((*key, relief));
            return None;
        };
        let done = self.followed.get(at).is_some_and(Followed::done);
        if done { self.followed.remove(at) } else { None }
    }

    /// Takes a command line in, if an incident was told without it.
    pub fn cmdline(&mut self, cmdline: &Cmdline) -> bool {
        let process = (cmdline.pid, cmdline.start_boot_ns);
        let victims = self.followed.iter_mut().flat_map(|followed| &mut followed.victims);
        let about = victims
            .filter(|victim| victim.untold)
            .find(|victim| (victim.pid, victim.start_boot_ns) == process);
        if let Some(victim) = about {
            victim.untold = false;
            victim.command = cmdlines::command(cmdline);
            return true;
        }
        false
    }

    /// Takes in who was killed with `victim`, a process by its id and beginning, and was in that memory cgroup.
    pub fn struck(&mut self, victim: (u32, Option<u64>), mut struck: Victim, memcg: Option<CgroupId>) {
        let of = |followed: &&mut Followed| {
            followed.victims.iter().any(|known| (known.pid, known.start_boot_ns) == victim)
        };
        if let Some(followed) = self.followed.iter_mut().find(of)
            && followed.collateral.len() < COLLATERAL_LIMIT
            && followed.collateral.iter().all(|known| known.pid != struck.pid)
            && followed.victims.iter().all(|known| Some(known.pid) != struck.pid)
        {
            // Its own path is not sent; most often it is the victim's.
            let same = |known: &&Dying| memcg.is_some() && known.memcg == memcg;
            if let Some(known) = followed.victims.iter().find(same) {
                struck.place = known.place.clone();
            }
            followed.collateral.push(struck);
        }
    }

    /// Whether a victim of an incident that is not complete yet has ended, or its memory is gone.
    pub fn has_ended(&self, victim: &Task) -> bool {
        let process = (victim.pid, victim.start_boot_ns);
        self.early
            .iter()
            .any(|(_, relief)| relief.pid.is_some() && (relief.pid, relief.start_boot_ns) == process)
    }

    /// Follows an incident no longer.
    pub fn forget(&mut self, seq: u64) {
        self.followed.retain(|followed| followed.seq != seq);
    }

    /// When [`Self::expire`] has something to do next, ns since boot.
    pub fn deadline_ns(&self) -> Option<u64> {
        self.followed.iter().map(|followed| followed.deadline_ns).min()
    }

    /// Gives back what was waited for in vain.
    pub fn expire(&mut self, now_ns: u64) -> Vec<Followed> {
        self.early.retain(|(key, _)| key.boot_ns.saturating_add(RELIEF_PATIENCE_NS) > now_ns);
        let due = |followed: &Followed| followed.deadline_ns <= now_ns;
        let (expired, rest): (VecDeque<_>, _) = self.followed.drain(..).partition(due);
        self.followed = rest;
        expired.into()
    }
}

impl Followed {
    /// Takes a record in, if it is about one of these victims.
    fn take(&mut self, key: &Key, relief: Relief) -> bool {
        let about = |victim: &&mut Dying| match relief.pid {
            Some(pid) => victim.pid == pid && victim.start_boot_ns == relief.start_boot_ns,
            None => victim.tid.is_some() && victim.tid == relief.tid && victim.marked_ns <= key.boot_ns,
        };
        let Some(victim) = self.victims.iter_mut().find(about) else { return false };
        let after_ns = Some(key.boot_ns.saturating_sub(victim.marked_ns));
        match relief.what {
            After::Exited => victim.exited_ns = after_ns,
            After::Freed => victim.freed_ns = after_ns,
            After::Reaped => victim.reaped_ns = after_ns,
        }
        self.last_ns = self.last_ns.max(key.boot_ns);
        let within_ns = match (self.over(), self.victims.iter().all(|victim| victim.freed_ns.is_some())) {
            (true, _) => NAMESPACE_NS,
            (false, true) => ENDS_WITHIN_NS,
            (false, false) => return true,
        };
        self.deadline_ns = self.deadline_ns.min(self.last_ns.saturating_add(within_ns));
        true
    }

    /// Whether all victims have ended, and their memory is free.
    fn over(&self) -> bool {
        self.victims.iter().all(|victim| victim.exited_ns.is_some() && victim.freed_ns.is_some())
    }

    fn done(&self) -> bool {
        self.over() && !self.init
    }

    /// What is to be told, and why what is not known is not. `end`: tracing ended.
    pub fn told(self, end: bool) -> (Vec<Relieved>, BTreeMap<String, String>) {
        let free = self.victims.iter().all(|victim| victim.freed_ns.is_some());
        let reason = match (end, free) {
            (true, _) => "tracing ended before it happened",
            (false, true) => {
                "it went unseen: before it was looked out for, or while the program was at work for another task"
            }
            (false, false) => NOT_IN_TIME,
        };
        let mut missing = BTreeMap::new();
        let told = self.victims.into_iter().enumerate().map(|(index, victim)| {
            let ends = [("exited_ns", victim.exited_ns.is_none()), ("freed_ns", victim.freed_ns.is_none())];
            let unknown = lacking(ends).map(|field| format!("victims[{index}].{field}"));
            missing::all(&mut missing, unknown, reason);
            Relieved {
                pid: victim.pid,
                comm: victim.comm,
                command: victim.command,
                exited_ns: victim.exited_ns,
                freed_ns: victim.freed_ns,
                reaped: victim.reaped_ns.is_some(),
                reaped_ns: victim.reaped_ns,
            }
        });
        let told = told.collect();
        (told, missing)
    }
}

impl Dying {
    fn new(key: &Key, pid: u32, mark: &Mark, told: Option<&Victim>) -> Self {
        Self {
            start_boot_ns: mark.victim.start_boot_ns,
            marked_ns: key.boot_ns,
            pid,
            tid: mark.victim.tid,
            comm: mark.victim.comm.clone(),
            memcg: mark.victim.memcg,
            place: told.map(|victim| victim.place.clone()).unwrap_or_default(),
            untold: told.is_none_or(|victim| victim.command.cmdline.is_none()),
            command: Command::default(),
            exited_ns: None,
            freed_ns: None,
            reaped_ns: None,
        }
    }
}
