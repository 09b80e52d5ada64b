//! The kernel log's lines about an OOM, one parser each. They take the text as /dev/kmsg gives it, which is ASCII:
//! names are unescaped only once they have been cut out.

use crate::witness::comm::unescape;

/// `NAME invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0`: who asked, and for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invoked {
    /// The trigger's comm.
    pub comm: Vec<u8>,
    /// The gfp mask.
    pub gfp_mask: u64,
    /// The names of its flags.
    pub gfp_flags: Vec<String>,
    /// The order; -1 for sysrq.
    pub order: i64,
    /// The trigger's own adjustment.
    pub oom_score_adj: i64,
}

/// `oom-kill:constraint=…,oom_memcg=…,task_memcg=…,task=…,pid=…,uid=…`: the decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// `CONSTRAINT_NONE`, _CPUSET, _`MEMORY_POLICY` or _MEMCG.
    pub constraint: String,
    /// The memcg whose limit was reached; None for `global_oom`.
    pub oom_memcg: Option<Vec<u8>>,
    /// The victim's memcg.
    pub task_memcg: Vec<u8>,
    /// The victim's comm.
    pub comm: Vec<u8>,
    /// The victim's thread id.
    pub pid: u64,
    /// The victim's uid in the initial user namespace.
    pub uid: u64,
}

/// `Out of memory: Killed process …`: one victim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Killed {
    /// What stands before the colon.
    pub message: String,
    /// The victim's thread id.
    pub pid: u64,
    /// The victim's comm.
    pub comm: Vec<u8>,
    /// Its address space in kB.
    pub total_vm_kb: u64,
    /// Its anonymous memory in kB.
    pub anon_rss_kb: u64,
    /// Its file mappings in kB.
    pub file_rss_kb: u64,
    /// Its shared memory in kB.
    pub shmem_rss_kb: u64,
    /// Its real uid.
    pub uid: u64,
    /// Its page tables in kB.
    pub pgtables_kb: u64,
    /// Its adjustment.
    pub oom_score_adj: i64,
}

/// Parses the header's first line.
#[must_use]
pub fn invoked(text: &str) -> Option<Invoked> {
    let (comm, rest) = text.rsplit_once(" invoked oom-killer: gfp_mask=0x")?;
    let (mask, rest) = rest.split_once('(')?;
    let (flags, rest) = rest.split_once("), order=")?;
    let (order, adj) = rest.split_once(", oom_score_adj=")?;
    Some(Invoked {
        comm: unescape(comm),
        gfp_mask: u64::from_str_radix(mask, 16).ok()?,
        gfp_flags: flags.split('|').map(str::to_owned).collect(),
        order: order.parse().ok()?,
        oom_score_adj: adj.trim().parse().ok()?,
    })
}

/// Parses `dump_stack`'s line, which names the trigger's thread:
/// `CPU: 1 PID: 42 Comm: x Not tainted …`, with `UID: 0` before the PID on 6.12 and later.
#[must_use]
pub fn trigger_tid(text: &str) -> Option<u64> {
    let (_, rest) = text.strip_prefix("CPU: ")?.split_once(" PID: ")?;
    let (pid, _) = rest.split_once(" Comm: ")?;
    pid.parse().ok()
}

/// Parses `memory: usage 32768kB, limit 32768kB, failcnt 16` into (usage, limit), in kB.
#[must_use]
pub fn memcg_usage_kb(text: &str) -> Option<(u64, u64)> {
    usage_and_limit(text.strip_prefix("memory: usage ")?)
}

/// The same of `swap: usage 16384kB, limit 16384kB, failcnt 16`.
#[must_use]
pub fn memcg_swap_kb(text: &str) -> Option<(u64, u64)> {
    usage_and_limit(text.strip_prefix("swap: usage ")?)
}

fn usage_and_limit(text: &str) -> Option<(u64, u64)> {
    let (usage, rest) = text.split_once("kB, limit ")?;
    let (limit, _) = rest.split_once("kB,")?;
    Some((usage.parse().ok()?, limit.parse().ok()?))
}

/// Parses the decision's line.
#[must_use]
pub fn decision(text: &str) -> Option<Decision> {
    let (constraint, rest) = text.strip_prefix("oom-kill:constraint=")?.split_once(',')?;
    let (rest, uid) = rest.rsplit_once(",uid=")?;
    let (rest, pid) = rest.rsplit_once(",pid=")?;
    let (rest, comm) = rest.rsplit_once(",task=")?;
    let (scope, task_memcg) = rest.split_once(",task_memcg=")?;
    let oom_memcg = scope.split_once(",oom_memcg=").map(|(_, path)| unescape(path));
    if oom_memcg.is_none() && !scope.ends_with(",global_oom") {
        return None;
    }
    Some(Decision {
        constraint: constraint.to_owned(),
        oom_memcg,
        task_memcg: unescape(task_memcg),
        comm: unescape(comm),
        pid: pid.parse().ok()?,
        uid: uid.trim().parse().ok()?,
    })
}

/// Parses a victim's line.
#[must_use]
pub fn killed(text: &str) -> Option<Killed> {
    let (message, rest) = text.split_once(": Killed process ")?;
    let (pid, rest) = rest.split_once(" (")?;
    let (comm, figures) = rest.rsplit_once(") total-vm:")?;
    let (total_vm, figures) = figures.split_once("kB, anon-rss:")?;
    let (anon, figures) = figures.split_once("kB, file-rss:")?;
    let (file, figures) = figures.split_once("kB, shmem-rss:")?;
    let (shmem, figures) = figures.split_once("kB, UID:")?;
    let (uid, figures) = figures.split_once(" pgtables:")?;
    let (pgtables, adj) = figures.split_once("kB oom_score_adj:")?;
    Some(Killed {
        message: message.to_owned(),
        pid: pid.parse().ok()?,
        comm: unescape(comm),
        total_vm_kb: total_vm.parse().ok()?,
        anon_rss_kb: anon.parse().ok()?,
        file_rss_kb: file.parse().ok()?,
        shmem_rss_kb: shmem.parse().ok()?,
        uid: uid.parse().ok()?,
        pgtables_kb: pgtables.parse().ok()?,
        oom_score_adj: adj.trim().parse().ok()?,
    })
}

/// Parses `Tasks in /path are going to be killed due to memory.oom.group set` into the path.
#[must_use]
pub fn group_kill(text: &str) -> Option<Vec<u8>> {
    let (path, _) =
        text.strip_prefix("Tasks in ")?.split_once(" are going to be killed due to memory.oom.group set")?;
    Some(unescape(path))
}

/// Whether it is the line that tells of nobody to kill (`out_of_memory`, mm/oom_kill.c).
#[must_use]
pub fn nobody(text: &str) -> bool {
    text.starts_with("Out of memory and no killable processes")
}

/// Parses `262014 pages RAM` and its like into the count, for the given unit.
#[must_use]
pub fn pages(text: &str, unit: &str) -> Option<u64> {
    text.strip_suffix(unit)?.parse().ok()
}

/// Parses `Total swap = 0kB` into kB.
#[must_use]
pub fn total_swap_kb(text: &str) -> Option<u64> {
    text.strip_prefix("Total swap = ")?.strip_suffix("kB")?.parse().ok()
}

#[cfg(test)]
#[path = "line_tests.rs"]
mod tests;
