//! What /proc says of a process before it is killed.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

/// A process as /proc shows it, its memory in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Process {
    /// Its pid (thread group id).
    pub pid: u64,
    /// Its parent.
    pub ppid: u64,
    /// Its pid in its own PID namespace.
    pub ns_pid: u64,
    /// Pid and name of each process from which it descends, from its parent upwards.
    pub ancestors: Vec<(u64, String)>,
    /// The ids of its threads.
    pub tids: Vec<u64>,
    /// Its real uid.
    pub uid: u64,
    /// Its command line as oomtrace has it: arguments, with bytes that are not UTF-8 as `\xNN`.
    pub cmdline: Vec<String>,
    /// Its adjustment.
    pub oom_score_adj: i64,
    /// Its address space.
    pub total_vm_bytes: u64,
    /// When it started, in clock ticks after boot.
    pub start_ticks: u64,
}

/// Memory found by walking a process's page tables: exact, whatever the kernel's counters say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Walked {
    /// All resident memory.
    pub rss_bytes: u64,
    /// Its anonymous part.
    pub anon_bytes: u64,
}

/// Reads process `pid`.
pub fn process(pid: u64) -> Result<Process> {
    let status = read(pid, "status")?;
    let stat = read(pid, "stat")?;
    let threads =
        fs::read_dir(path(pid, "task")).with_context(|| format!("cannot list the threads of {pid}"))?;
    let parent = field(&status, "PPid:").context("/proc/PID/status has no PPid")?;
    // One for each PID namespace, its own last.
    let ns_pid =
        status.lines().find_map(|line| line.strip_prefix("NStgid:")?.split_whitespace().last()?.parse().ok());
    Ok(Process {
        pid,
        ppid: parent,
        ns_pid: ns_pid.context("/proc/PID/status has no NStgid")?,
        ancestors: ancestors(parent)?,
        tids: threads.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect(),
        uid: field(&status, "Uid:").context("/proc/PID/status has no Uid")?,
        cmdline: arguments(&fs::read(path(pid, "cmdline")).context("cannot read a command line")?),
        oom_score_adj: read(pid, "oom_score_adj")?.trim().parse().context("oom_score_adj is no number")?,
        total_vm_bytes: kilobytes(&status, "VmSize:").context("/proc/PID/status has no VmSize")?,
        start_ticks: start_ticks(&stat).context("/proc/PID/stat has no start time")?,
    })
}

/// Process `pid` and those from which it descends.
fn ancestors(pid: u64) -> Result<Vec<(u64, String)>> {
    let mut ancestors = Vec::new();
    let mut next = pid;
    while next != 0 {
        let status = read(next, "status")?;
        let comm = fs::read(path(next, "comm")).context("cannot read a name")?;
        ancestors.push((next, escaped(comm.strip_suffix(b"\n").unwrap_or(&comm))));
        next = field(&status, "PPid:").context("/proc/PID/status has no PPid")?;
    }
    Ok(ancestors)
}

/// The processes whose parent is `pid`.
pub fn children(pid: u64) -> Result<Vec<u64>> {
    let folders = fs::read_dir("/proc").context("cannot list /proc")?;
    let pids = folders.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    // One that has ended meanwhile is nobody's child any more.
    let parent = |child: &u64| read(*child, "status").ok().and_then(|status| field(&status, "PPid:"));
    Ok(pids.filter(|child| parent(child) == Some(pid)).collect())
}

/// The pid that process `pid` has in its own PID namespace.
pub fn innermost_pid(pid: u64) -> Result<u64> {
    let status = read(pid, "status")?;
    let pids = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    let innermost = pids.and_then(|pids| pids.split_whitespace().next_back()?.parse().ok());
    innermost.context("/proc/PID/status has no NSpid")
}

/// Whether `pid` is that of a process that has not ended. One that nobody has reaped yet has.
#[must_use]
pub fn lives(pid: u64) -> bool {
    let state = |stat: String| stat.rsplit_once(") ").map(|(_, rest)| !rest.starts_with(['Z', 'X']));
    read(pid, "stat").ok().and_then(state).unwrap_or(false)
}

/// The arguments of a command line, each ended by NUL.
fn arguments(cmdline: &[u8]) -> Vec<String> {
    cmdline.strip_suffix(b"\0").unwrap_or(cmdline).split(|byte| *byte == 0).map(escaped).collect()
}

/// Text with bytes that are not UTF-8 as `\xNN`.
fn escaped(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(
            chunk.invalid().iter().flat_map(|byte| format!("\\x{byte:02x}").into_bytes()).map(char::from),
        );
    }
    text
}

/// Walks the page tables of process `pid` (`smaps_rollup`, 4.14 and later).
pub fn walk(pid: u64) -> Result<Walked> {
    walked(&read(pid, "smaps_rollup")?).context("/proc/PID/smaps_rollup has no Rss or Anonymous line")
}

/// Parses `smaps_rollup`.
fn walked(text: &str) -> Option<Walked> {
    Some(Walked { rss_bytes: kilobytes(text, "Rss:")?, anon_bytes: kilobytes(text, "Anonymous:")? })
}

/// The first number after `key`.
fn field(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.split_whitespace().next()?.parse().ok())
}

/// A field given in kB, in bytes.
fn kilobytes(text: &str, key: &str) -> Option<u64> {
    field(text, key)?.checked_mul(1024)
}

/// Field 22 of /proc/PID/stat, counted from behind the name, which may itself have spaces and parentheses.
fn start_ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(") ")?;
    after_name.split(' ').nth(19)?.parse().ok()
}

/// Reads one of the files of a process. A name in it need not be UTF-8.
fn read(pid: u64, file: &str) -> Result<String> {
    let path = path(pid, file);
    let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Where one of the files of a process is.
fn path(pid: u64, file: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{file}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the start time against a name that looks like the fields after it.
    #[test]
    fn start_time_behind_a_hostile_name() {
        let stat = "42 (a) R 1 (b) S 1 42 42 0 -1 4194304 100 0 0 0 1 2 0 0 20 0 1 0 8812 1000 200 18446744073709551615";
        assert_eq!(start_ticks(stat), Some(8812));
    }

    /// Guards units and keys of the memory fields.
    #[test]
    fn memory_fields() {
        let text =
            "Rss:               24576 kB\nPss:    1 kB\nAnonymous:         20480 kB\nAnonHugePages:  0 kB\n";
        assert_eq!(walked(text), Some(Walked { rss_bytes: 24_576 * 1024, anon_bytes: 20_480 * 1024 }));
        assert_eq!(walked("Rss: 1 kB\n"), None);
        assert_eq!(field("Uid:\t1234\t0\t0\t0\n", "Uid:"), Some(1234));
    }

    /// Guards command lines: an argument may be empty, or no text.
    #[test]
    fn command_lines() {
        assert_eq!(arguments(b"a\0\0\xffb\0\0"), ["a", "", "\\xffb", ""]);
    }

    /// Guards that this very process is read with values that can be known otherwise.
    #[test]
    fn reads_a_living_process() {
        let own = process(u64::from(std::process::id())).unwrap();
        assert_eq!(own.ppid, u64::from(std::os::unix::process::parent_id()));
        assert_eq!(own.ancestors.first().map(|(pid, _)| *pid), Some(own.ppid));
        assert!(own.tids.contains(&own.pid) && own.total_vm_bytes > 0 && own.start_ticks > 0);
    }
}
