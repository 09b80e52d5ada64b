//! What the machine as a whole has of what forks take, for failures as they come.

use std::{fs, path::Path, str::FromStr};

use oomtrace_ebpf::{ForkHost, RecordKind, fork_host};
use zerocopy::{FromZeros as _, IntoBytes as _};

use super::meminfo_bytes;

/// A record of it, from the files below `proc` (`/proc`), made at `boot_ns`. What cannot be read is not in it.
#[must_use]
pub fn record(proc: &Path, boot_ns: u64) -> Vec<u8> {
    let mut record = ForkHost::new_zeroed();
    record.header.kind = RecordKind::ForkHost as u16;
    // Some dozen bytes.
    record.header.size = u16::try_from(size_of::<ForkHost>()).unwrap_or(0);
    record.header.boot_ns = boot_ns;
    let read = |file: &str| fs::read_to_string(proc.join(file)).ok();
    if let Some(threads) = read("loadavg").and_then(|text| threads(&text)) {
        record.threads = threads;
        record.present |= fork_host::THREADS;
    }
    if let Some(most) = read("sys/kernel/threads-max").and_then(|text| number(&text)) {
        record.threads_max = most;
        record.present |= fork_host::THREADS_MAX;
    }
    if let Some(most) = read("sys/kernel/pid_max").and_then(|text| number(&text)) {
        record.pid_max = most;
        record.present |= fork_host::PID_MAX;
    }
    if let Some(mode) = read("sys/vm/overcommit_memory").and_then(|text| number(&text)) {
        record.overcommit_memory = mode;
        record.present |= fork_host::OVERCOMMIT;
    }
    if let Some(text) = read("meminfo") {
        let bytes = |name| meminfo_bytes(&text, name);
        if let (Some(limit), Some(committed)) = (bytes("CommitLimit"), bytes("Committed_AS")) {
            (record.commit_limit_bytes, record.committed_bytes) = (limit, committed);
            record.present |= fork_host::COMMIT;
        }
        if let Some(memory) = bytes("MemTotal") {
            // A kernel without huge pages does not say that it has none.
            record.memory_bytes = memory.saturating_sub(bytes("Hugetlb").unwrap_or(0));
            record.present |= fork_host::MEMORY;
        }
    }
    record.as_bytes().to_vec()
}

fn number<T: FromStr>(text: &str) -> Option<T> {
    text.trim().parse().ok()
}

/// `0.00 0.01 0.05 1/123 4567`: of the threads that there are (`nr_threads`), one runs (loadavg_proc_show(),
/// fs/proc/loadavg.c).
pub(super) fn threads(loadavg: &str) -> Option<u64> {
    loadavg.split_ascii_whitespace().nth(3)?.split_once('/')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Record, decode};

    /// Guards what is read of the machine: each figure by itself, and what is not there, or is no number, is absent.
    #[test]
    fn each_figure_is_read_by_itself() {
        let proc = std::env::temp_dir().join(format!("oomtrace-forking-{}", std::process::id()));
        let told = || {
            let Ok(Record::ForkHost(_, host)) = decode(&record(&proc, 5)) else { panic!("no record") };
            *host
        };
        assert_eq!(told(), crate::record::ForkHost::default());
        for (file, text) in [
            ("loadavg", "0.10 0.20 0.30 2/311 4120\n"),
            ("sys/kernel/threads-max", "15643\n"),
            ("sys/kernel/pid_max", "many\n"),
            ("sys/vm/overcommit_memory", "2\n"),
            ("meminfo", "MemTotal: 4 kB\nHugetlb: 1 kB\nCommitLimit:     1000 kB\nCommitted_AS:   2000 kB\n"),
        ] {
            let path = proc.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let host = told();
        fs::remove_dir_all(&proc).unwrap();
        assert_eq!((host.threads, host.threads_max, host.pid_max), (Some(311), Some(15_643), None));
        assert_eq!((host.overcommit_memory, host.commit), (Some(2), Some((1_024_000, 2_048_000))));
        assert_eq!(host.memory_bytes, Some(3072));
    }
}
