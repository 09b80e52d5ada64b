//! The OOM killer's messages (mm/oom_kill.c, mm/memcontrol.c), in every wording since 2.4.
//!
//! Names in them are hostile: a thread may call itself `) total-vm:1kB` and a cgroup `x,task_memcg=`. The kernel's own
//! words are fixed before and behind a name, so that each has one beginning and one end; where cgroups' names leave more
//! than one way to read a line, what they say is left out.

mod kill;

use super::record::unescape;
use crate::text::from_kernel;
pub use kill::RanOut;
use kill::{already_exiting, chosen, killed};

pub(super) use kill::{cut_kill, ran_out};

/// Longest name of a thread, bytes (`TASK_COMM_LEN` without its NUL).
pub(super) const COMM_LEN: usize = 15;
/// The same where each of its bytes is shown as `\xNN`.
const SHOWN_LEN: usize = 4 * COMM_LEN;

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// `X invoked oom-killer: …`: the header of a report. Headers are limited to 10 in 5 s.
    Invoked(Invoked),
    /// `oom-kill:constraint=…`: the decision. It comes with the header (since 5.0).
    Decided(Box<Decided>),
    /// `Out of memory: Kill process … or sacrifice child`: who was chosen, before 5.3.
    Chosen {
        /// Thread id.
        pid: u32,
        /// Name of the thread; bytes that are not UTF-8 as `\xNN`.
        comm: String,
        /// Its score: thousandths of what there is, the old badness before 2.6.36.
        score: Option<u64>,
    },
    /// `… Killed process …`: a kill, one for each.
    Killed(Killed),
    /// `Tasks in … are going to be killed due to memory.oom.group set`.
    Group {
        /// The cgroup's path.
        path: String,
    },
    /// `… OOM victim … is already exiting. Skip killing the task`: no kill.
    AlreadyExiting {
        /// Thread id.
        pid: u32,
        /// Name of the thread.
        comm: String,
    },
    /// `Out of memory and no killable processes...`.
    NothingKillable,
    /// `CPU: 0 PID: 42 Comm: x …`: the thread that a report is about, and many others that the kernel complains of.
    Thread {
        /// Thread id.
        pid: u32,
    },
    /// `cgroup: fork rejected by pids controller in /path`: the first fork that a cgroup refused.
    ForkRejected {
        /// The cgroup's path.
        path: String,
    },
    /// `Memory cgroup stats for /path:`: the memory cgroup at its limit.
    Stats {
        /// The cgroup's path.
        path: String,
    },
    /// `oom_reaper: reaped process …`.
    Reaped {
        /// Thread id.
        pid: u32,
        /// Name of the thread.
        comm: String,
    },
}

/// Who asked, and for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invoked {
    /// Name of the thread that asked; bytes that are not UTF-8 as `\xNN`. Empty: the kernel does not say (before 2.6.19).
    pub comm: String,
    /// Allocation flags.
    pub gfp_mask: u32,
    /// Their names, by this kernel (since 4.6).
    pub gfp_flags: Option<Vec<String>>,
    /// Allocation order; -1 for sysrq.
    pub order: i32,
}

/// What ran out, and who was chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decided {
    /// `CONSTRAINT_…`.
    pub constraint: String,
    /// The memory cgroup at its limit; `None`: there is none, or its name leaves open what it is.
    pub oom_memcg: Option<String>,
    /// The victim's memory cgroup; `None`: its name leaves open what it is.
    pub task_memcg: Option<String>,
    /// The nodes of the memory policy; `None`: there is none.
    pub nodemask: Option<Vec<u32>>,
    /// The nodes that the trigger's cpuset allows; `None`: a name leaves open which.
    pub mems_allowed: Option<Vec<u32>>,
    /// The victim's thread id; `None`: the line is cut short.
    pub pid: Option<u32>,
}

/// A kill. Sizes in kB. What a kernel does not say is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Killed {
    /// Thread id (`task_pid_nr()`), in the initial namespace.
    pub pid: u32,
    /// Name of the thread; bytes that are not UTF-8 as `\xNN`.
    pub comm: String,
    /// Whether a memory cgroup ran out. `None`: the kernel said so a line before (until 5.2).
    pub memcg: Option<bool>,
    /// Size of the address space.
    pub total_vm_kb: Option<u64>,
    /// Anonymous memory.
    pub anon_rss_kb: Option<u64>,
    /// Mapped files.
    pub file_rss_kb: Option<u64>,
    /// Shared memory and tmpfs (since 4.5).
    pub shmem_rss_kb: Option<u64>,
    /// All of these, where they are one figure (2.6.32 of OpenVZ).
    pub rss_kb: Option<u64>,
    /// Swap (2.6.32 of OpenVZ).
    pub swap_kb: Option<u64>,
    /// Real user id.
    pub uid: Option<u32>,
    /// Page tables (since 5.4).
    pub pgtables_kb: Option<u64>,
    /// `oom_score_adj` (since 5.4).
    pub oom_score_adj: Option<i32>,
}

impl Line {
    /// Parses a message; `None`: it is not the OOM killer's.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        // A header begins with a name, whatever that is. Whatever else there is begins with the kernel's own words.
        invoked(text).or_else(|| match text.first()? {
            b'K' => killed(text),
            b'O' | b'N' => killed(text)
                .or_else(|| chosen(text))
                .or_else(|| already_exiting(text))
                .or_else(|| nothing_killable(text)),
            b'M' => killed(text)
                .or_else(|| chosen(text))
                .or_else(|| already_exiting(text))
                .or_else(|| stats(text)),
            b'o' => decided(text).or_else(|| reaped(text)),
            b'T' => group(text),
            b'C' | b'P' => thread(text),
            b'c' => fork_rejected(text),
            _ => None,
        })
    }
}

fn invoked(text: &[u8]) -> Option<Line> {
    const WORDS: &[u8] = b" invoked oom-killer: gfp_mask=";
    // Longer than any name: they stand in one place.
    let at = (0..=SHOWN_LEN).find(|at| text.get(*at..).is_some_and(|rest| rest.starts_with(WORDS)));
    let (name, rest) = match at {
        Some(at) => (text.get(..at)?, text.get(at + WORDS.len()..)?),
        // Before 2.6.19 without a name; before 2.6.16 without an order, which is no header then.
        None => match text.strip_prefix(b"oom-killer: gfp_mask=") {
            Some(rest) => (&b""[..], rest),
            None => return invoked_by_openvz(text),
        },
    };
    let comm = comm(name)?;
    let rest = str::from_utf8(rest).ok()?;
    let (mask, rest) = rest.split_at(rest.find(['(', ','])?);
    let gfp_mask = u32::from_str_radix(mask.strip_prefix("0x").unwrap_or(mask), 16).ok()?;
    let (gfp_flags, rest) = match rest.strip_prefix('(') {
        Some(rest) => {
            let (names, rest) = rest.split_once(')')?;
            (flag_names(names), rest)
        }
        None => (None, rest),
    };
    // 4.7 to 4.20 have a nodemask in between.
    let (_, rest) = rest.split_once(" order=")?;
    let order = rest.split(',').next()?.parse().ok()?;
    Some(Line::Invoked(Invoked { comm, gfp_mask, gfp_flags, order }))
}

/// `4077 (java) invoked 101 oom-killer: gfp 0x201d2 order 0 oomkilladj=0` (2.6.18 of OpenVZ, oom_report_invocation()).
fn invoked_by_openvz(text: &[u8]) -> Option<Line> {
    const WORDS: &[u8] = b" oom-killer: gfp 0x";
    let (_, rest) = number(text)?;
    let rest = rest.strip_prefix(b" ")?;
    let at = last(rest, WORDS)?;
    let (comm, who) = name(rest.get(..at)?)?;
    who.strip_prefix(b" invoked ")?;
    let mut rest = str::from_utf8(rest.get(at + WORDS.len()..)?).ok()?.split(' ');
    let gfp_mask = u32::from_str_radix(rest.next()?, 16).ok()?;
    let order = (rest.next()? == "order").then(|| rest.next())??.parse().ok()?;
    Some(Line::Invoked(Invoked { comm, gfp_mask, gfp_flags: None, order }))
}

fn decided(text: &[u8]) -> Option<Line> {
    let rest = text.strip_prefix(b"oom-kill:constraint=")?;
    let end = find(rest, b",nodemask=")?;
    let (constraint, rest) = (str::from_utf8(rest.get(..end)?).ok()?, rest.get(end..)?);
    let mut decided = Decided { constraint: constraint.to_owned(), ..Decided::default() };
    // From its end: the numbers are the kernel's, whatever stands in names before them.
    if let Some((rest, _uid)) = last_number(rest, b",uid=")
        && let Some((rest, pid)) = last_number(rest, b",pid=")
    {
        decided.pid = Some(pid);
        if let Some(read) = memcgs(rest) {
            decided.oom_memcg = read.oom_memcg.map(from_kernel);
            decided.task_memcg = Some(from_kernel(read.task_memcg));
            decided.mems_allowed =
                last(read.head, MEMS_ALLOWED).and_then(|at| nodes(read.head.get(at + MEMS_ALLOWED.len()..)?));
        }
    }
    // Nothing that anyone could name stands before it.
    let nodemask = rest.strip_prefix(b",nodemask=").unwrap_or_default();
    decided.nodemask = find(nodemask, b",cpuset=").and_then(|end| nodes(nodemask.get(..end)?));
    Some(Line::Decided(Box::new(decided)))
}

const MEMS_ALLOWED: &[u8] = b",mems_allowed=";

/// One way to read what stands between the constraint and the thread.
#[derive(PartialEq)]
struct Way<'a> {
    /// What stands before the cgroups, up to the nodes that are allowed.
    head: &'a [u8],
    oom_memcg: Option<&'a [u8]>,
    task_memcg: &'a [u8],
}

/// The cgroup at its limit and the victim's, in `,nodemask=…,cpuset=…,mems_allowed=…[,oom_memcg=…|,global_oom],
/// task_memcg=…,task=…`, if there is but one way to read it.
fn memcgs(text: &[u8]) -> Option<Way<'_>> {
    /// Places where a cgroup's path may begin, at the most: with more the names leave it open anyway.
    const PLACES: usize = 64;
    if [&b",task_memcg=/"[..], b",oom_memcg=/"].iter().any(|words| all(text, words).count() > PLACES) {
        return None;
    }
    let mut ways: Vec<Way<'_>> = Vec::new();
    for task in all(text, b",task=") {
        if text.get(task + b",task=".len()..).and_then(comm).is_none() {
            continue;
        }
        for memcg in all(text, b",task_memcg=/").filter(|memcg| *memcg < task) {
            let Some(path) = text.get(memcg + b",task_memcg=".len()..task) else { continue };
            let Some(before) = text.get(..memcg) else { continue };
            if let Some(head) = before.strip_suffix(b",global_oom").filter(|head| ends_with_nodes(head)) {
                ways.push(Way { head, oom_memcg: None, task_memcg: path });
            }
            for limited in all(before, b",oom_memcg=/") {
                let Some((head, limit)) = before.split_at_checked(limited) else { continue };
                let Some(limit) = limit.strip_prefix(b",oom_memcg=") else { continue };
                // The victim is at or below it.
                let below = path.strip_prefix(limit).is_some_and(|rest| rest.is_empty() || rest[0] == b'/');
                if ends_with_nodes(head) && (below || limit == b"/") {
                    ways.push(Way { head, oom_memcg: Some(limit), task_memcg: path });
                }
            }
        }
    }
    ways.dedup();
    let only = ways.pop();
    only.filter(|_| ways.is_empty())
}

/// A list of nodes, as `%*pbl` prints it: `0-1,3`. A kernel has 1024 at the most.
fn nodes(text: &[u8]) -> Option<Vec<u32>> {
    let mut nodes = Vec::new();
    for range in str::from_utf8(text).ok()?.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        if last < first || last >= 1024 || nodes.last().is_some_and(|before| *before >= first) {
            return None;
        }
        nodes.extend(first..=last);
    }
    Some(nodes)
}

/// Whether a text ends with `,mems_allowed=` and a list of nodes.
fn ends_with_nodes(text: &[u8]) -> bool {
    last(text, MEMS_ALLOWED).and_then(|at| text.get(at + MEMS_ALLOWED.len()..)).is_some_and(|nodes| {
        nodes == b"(null)" || nodes.iter().all(|byte| byte.is_ascii_digit() || b",-".contains(byte))
    })
}

fn group(text: &[u8]) -> Option<Line> {
    let path = text
        .strip_prefix(b"Tasks in ")?
        .strip_suffix(b" are going to be killed due to memory.oom.group set")?;
    Some(Line::Group { path: from_kernel(path) })
}

fn reaped(text: &[u8]) -> Option<Line> {
    let (pid, rest) = number(text.strip_prefix(b"oom_reaper: reaped process ")?)?;
    let (comm, rest) = name(rest.strip_prefix(b" ")?)?;
    rest.starts_with(b", now anon-rss:").then_some(Line::Reaped { pid, comm })
}

fn nothing_killable(text: &[u8]) -> Option<Line> {
    text.starts_with(b"Out of memory and no killable processes").then_some(Line::NothingKillable)
}

/// `dump_stack_print_info()` (lib/dump_stack.c), with `UID: 0` before the PID since 6.12; before 3.9 `Pid: 42, comm: x`
/// (show_regs_common(), dump_stack() of each architecture).
fn thread(text: &[u8]) -> Option<Line> {
    if let Some(rest) = text.strip_prefix(b"Pid: ") {
        let (pid, rest) = number(rest)?;
        return rest.starts_with(b", comm: ").then_some(Line::Thread { pid });
    }
    let (_cpu, rest) = number(text.strip_prefix(b"CPU: ")?)?;
    let rest = match rest.strip_prefix(b" UID: ") {
        Some(rest) => number(rest)?.1,
        None => rest,
    };
    let (pid, rest) = number(rest.strip_prefix(b" PID: ")?)?;
    rest.starts_with(b" Comm: ").then_some(Line::Thread { pid })
}

/// `mem_cgroup_print_oom_meminfo()` (mm/memcontrol.c). Before 5.3 figures follow in the same line.
fn stats(text: &[u8]) -> Option<Line> {
    let path = text.strip_prefix(b"Memory cgroup stats for ")?.strip_suffix(b":")?;
    path.starts_with(b"/").then(|| Line::Stats { path: from_kernel(path) })
}

/// `pids_can_fork()`, from 6.11 on `pids_event()` (kernel/cgroup/pids.c). The cgroup is that of the task; whose limit it is the
/// line does not say.
fn fork_rejected(text: &[u8]) -> Option<Line> {
    let path = text.strip_prefix(b"cgroup: fork rejected by pids controller in ")?;
    path.starts_with(b"/").then(|| Line::ForkRejected { path: from_kernel(path) })
}

/// The name of who is meant in [`Line::Thread`]'s line and the kernel's release there: `Comm: x Not tainted 5.10.0-32-amd64 #1`.
pub(super) fn thread_and_release(text: &[u8]) -> Option<(&[u8], &str)> {
    let words: &[u8] = if text.starts_with(b"Pid: ") { b", comm: " } else { b" Comm: " };
    let rest = text.get(find(text, words)? + words.len()..)?;
    // Whatever the name is, the kernel's words are the last of their kind (print_tainted(), kernel/panic.c).
    let (name, rest) = match last(rest, b" Not tainted ") {
        Some(at) => (rest.get(..at)?, rest.get(at + b" Not tainted ".len()..)?),
        None => last(rest, b" Tainted: ")
            .and_then(|at| Some((rest.get(..at)?, rest.get(at + b" Tainted: ".len()..)?)))?,
    };
    let name = name.strip_suffix(b" Kdump: loaded").unwrap_or(name);
    // Flags are letters; a release begins with a digit.
    let release =
        rest.split(|byte| *byte == b' ').find(|word| word.first().is_some_and(u8::is_ascii_digit))?;
    Some((name, str::from_utf8(release).ok()?))
}

/// Allocation flags by name, and the rest of them as a number (`%pGg`: lib/vsprintf.c). `None`: the line is damaged there.
pub(super) fn flag_names(names: &str) -> Option<Vec<String>> {
    let is_name = |name: &&str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    names.split('|').map(|name| Some(name).filter(is_name).map(str::to_owned)).collect()
}

/// A name in parentheses, and what follows: the kernel writes no parenthesis behind it.
fn name(text: &[u8]) -> Option<(String, &[u8])> {
    let end = text.iter().rposition(|byte| *byte == b')')?;
    Some((comm(text.get(..end)?.strip_prefix(b"(")?)?, text.get(end + 1..)?))
}

/// A name. dmesg shows each byte of it that is not printable as `\xNN`, and so it is longer than any name can be.
pub(super) fn comm(bytes: &[u8]) -> Option<String> {
    if bytes.len() <= COMM_LEN {
        return Some(from_kernel(bytes));
    }
    let plain = (bytes.len() <= SHOWN_LEN).then(|| unescape(bytes))?;
    (plain.len() <= COMM_LEN).then(|| from_kernel(&plain))
}

/// Whether these can be a name.
pub(super) fn is_comm(bytes: &[u8]) -> bool {
    bytes.len() <= COMM_LEN || comm(bytes).is_some()
}

/// The number that a text begins with, and the rest.
pub(super) fn number(text: &[u8]) -> Option<(u32, &[u8])> {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    Some((str::from_utf8(text.get(..end)?).ok()?.parse().ok()?, text.get(end..)?))
}

/// What comes before the last `words`, and the number that is all that follows them.
fn last_number<'a>(text: &'a [u8], words: &[u8]) -> Option<(&'a [u8], u32)> {
    let at = last(text, words)?;
    let (number, rest) = number(text.get(at + words.len()..)?)?;
    rest.is_empty().then_some((text.get(..at)?, number))
}

pub(super) fn all<'a>(text: &'a [u8], words: &'a [u8]) -> impl DoubleEndedIterator<Item = usize> + 'a {
    text.windows(words.len()).enumerate().filter(move |(_, window)| *window == words).map(|(at, _)| at)
}

pub(super) fn find(text: &[u8], words: &[u8]) -> Option<usize> {
    all(text, words).next()
}

pub(super) fn last(text: &[u8], words: &[u8]) -> Option<usize> {
    all(text, words).next_back()
}

#[cfg(test)]
#[path = "line_tests.rs"]
mod tests;
