//! Victims: who was chosen, who is killed, who is exiting already (oom_kill_process(), __oom_kill_process(): mm/oom_kill.c).

use super::{COMM_LEN, Killed, Line, Supply, last, name, number};
use crate::text::from_kernel;

/// Longest line of a kill, bytes: a vendor names a container in it.
const LONGEST: usize = 512;

/// The words in front of a victim (`message` of oom_kill_process()), and what follows them.
fn message(text: &[u8]) -> Option<(Supply, &[u8])> {
    [
        (&b"Memory cgroup out of memory: "[..], Supply::Memcg),
        (b"Out of memory: ", Supply::Nodes),
        (b"Out of memory (oom_kill_allocating_task): ", Supply::Nodes),
        (b"Out of Memory: ", Supply::Machine),
        (b"No available memory (MPOL_BIND): ", Supply::Mempolicy),
        (b"No available memory in cpuset: ", Supply::Cpuset),
    ]
    .into_iter()
    .find_map(|(words, supply)| Some((supply, text.strip_prefix(words)?)))
}

/// What follows the words of a kill: the process. OpenVZ's 2.6.32 has its own.
fn after_killed(text: &[u8]) -> Option<(Option<Supply>, &[u8])> {
    let (supply, rest) = message(text).map_or((None, text), |(supply, rest)| (Some(supply), rest));
    if let Some(rest) = rest.strip_prefix(b"Killed process ") {
        return Some((supply, rest));
    }
    let rest = match rest.strip_prefix(b"Out of memory in UB ") {
        Some(rest) => number(rest)?.1.strip_prefix(b": ")?,
        None => rest,
    };
    Some((supply, rest.strip_prefix(b"OOM killed process ")?))
}

pub(super) fn killed(text: &[u8]) -> Option<Line> {
    let (supply, rest) = after_killed(text)?;
    let (pid, rest) = number(rest)?;
    // 2.6.18 to 2.6.32 of Red Hat: ", UID 27, (name)".
    let (early_uid, rest) = match rest.strip_prefix(b", UID ") {
        Some(rest) => {
            let (uid, rest) = number(rest)?;
            (Some(uid), rest.strip_prefix(b", ")?)
        }
        None => (None, rest.strip_prefix(b" ")?),
    };
    let (comm, figures) = name(rest)?;
    let mut killed = Killed { pid, comm, supply, uid: early_uid, ..Killed::default() };
    let figures = str::from_utf8(figures).ok()?;
    let figures = match figures.strip_prefix(", UID ") {
        // ", UID 27, total-vm:…" behind the name in 3.10 of Red Hat.
        Some(rest) => {
            let (uid, rest) = rest.split_once(',')?;
            killed.uid = Some(uid.parse().ok()?);
            rest
        }
        None => without_vendors(figures)?,
    };
    for figure in figures.split([',', ' ']).filter(|figure| !figure.is_empty()) {
        let (key, value) = figure.split_once(':')?;
        let kb = || value.strip_suffix("kB").and_then(|kb| kb.parse::<u64>().ok());
        match key {
            "total-vm" | "vsz" | "vm" => killed.total_vm_kb = Some(kb()?),
            "anon-rss" => killed.anon_rss_kb = Some(kb()?),
            "file-rss" => killed.file_rss_kb = Some(kb()?),
            "shmem-rss" => killed.shmem_rss_kb = Some(kb()?),
            "pgtables" => killed.pgtables_kb = Some(kb()?),
            "UID" => killed.uid = Some(value.parse().ok()?),
            "oom_score_adj" => killed.oom_score_adj = Some(value.parse().ok()?),
            // Distributions add some of their own.
            _ => {}
        }
    }
    Some(Line::Killed(killed))
}

/// The figures without the full stop of 2.6.18 and without the words of OpenVZ: ` in VE "101"` (3.10), ` score 0` (2.6.32).
fn without_vendors(figures: &str) -> Option<&str> {
    if figures == "." {
        return Some("");
    }
    if let Some(rest) = figures.strip_prefix(" in VE \"") {
        return Some(rest.rsplit_once('"')?.1);
    }
    match figures.strip_prefix(" score ") {
        Some(rest) => Some(rest.split_once(' ')?.1),
        None => Some(figures),
    }
}

/// A kill whose line was cut short, by the end of what kept it or by a name with a newline: its figures may be missing, and its
/// name may be a part of it.
pub(in crate::kmsg) fn cut_kill(text: &[u8]) -> Option<Killed> {
    let (supply, rest) = after_killed(text)?;
    let (pid, rest) = number(rest)?;
    let (uid, rest) = match rest.strip_prefix(b", UID ") {
        Some(rest) => number(rest).map(|(uid, rest)| (Some(uid), rest))?,
        None => (None, rest),
    };
    let named = rest.strip_prefix(b", (").or_else(|| rest.strip_prefix(b" ("))?;
    // The last figure may have lost its end; those before it are whole.
    let mut rest = text.get(..text.len().min(LONGEST));
    while let Some(whole) = rest {
        if let Some(Line::Killed(killed)) = killed(whole.strip_suffix(b",").unwrap_or(whole)) {
            return Some(killed);
        }
        rest = whole.iter().rposition(|byte| *byte == b' ').and_then(|space| whole.get(..space));
    }
    let comm = from_kernel(named.get(..named.len().min(COMM_LEN))?);
    Some(Killed { pid, comm, supply, uid, ..Killed::default() })
}

/// Until 5.2: `score 912 or sacrifice child`; before 2.6.36 `or a child`; in 2.6.18 `and children.`
pub(super) fn chosen(text: &[u8]) -> Option<Line> {
    let (supply, rest) = message(text)?;
    let rest = rest.strip_prefix(b"Kill process ").or_else(|| rest.strip_prefix(b"kill process "))?;
    let (pid, rest) = number(rest)?;
    let (comm, rest) = name(rest.strip_prefix(b" ")?)?;
    let rest = rest.strip_prefix(b" with").unwrap_or(rest);
    // OpenVZ's 3.10 names the container in between.
    let at = if rest.starts_with(b" in VE ") { last(rest, b" score ")? } else { 0 };
    let score = rest.get(at..)?.strip_prefix(b" score ")?.split(|byte| *byte == b' ').next()?;
    let score = str::from_utf8(score).ok().and_then(|score| score.parse().ok());
    Some(Line::Chosen { pid, comm, supply, score })
}

pub(super) fn already_exiting(text: &[u8]) -> Option<Line> {
    let (_, rest) = message(text)?;
    let (pid, rest) = number(rest.strip_prefix(b"OOM victim ")?)?;
    let (comm, rest) = name(rest.strip_prefix(b" ")?)?;
    (rest == b" is already exiting. Skip killing the task").then_some(Line::AlreadyExiting { pid, comm })
}
