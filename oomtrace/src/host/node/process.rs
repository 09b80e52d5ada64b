//! Processes, and the users that they belong to.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use super::super::{cgroup::Hierarchy, meminfo_bytes};
use crate::{
    incident::{Command, Place},
    record::environment,
    secrets,
    text::{arguments, from_kernel},
};

/// A process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// Its parent's.
    pub ppid: Option<u32>,
    /// Whose it is (real user id).
    pub uid: Option<u32>,
    /// Name of its first thread.
    pub comm: String,
    /// What it was started with.
    pub command: Command,
    /// Of its environment what sets how much memory it uses; `None`: only its user and root may read it.
    pub environment: Option<BTreeMap<String, String>>,
    /// How many threads it has.
    pub threads: u64,
    /// What the operator adds to its score, in thousandths of the memory.
    pub oom_score_adj: Option<i32>,
    /// What it has in memory; `None`: it is the kernel's, or has ended.
    pub rss_bytes: Option<u64>,
    /// What it has in swap.
    pub swap_bytes: u64,
    /// Its page tables.
    pub pgtables_bytes: u64,
    /// Where it runs.
    pub place: Place,
}

impl Process {
    /// Memory and swap.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.rss_bytes.unwrap_or(0).saturating_add(self.swap_bytes)
    }
}

/// All processes below `root`, by id. Those that end meanwhile are left out.
pub(super) fn read(root: &Path, memory: Option<&Hierarchy>) -> io::Result<Vec<Process>> {
    let mut processes: Vec<_> = fs::read_dir(root.join("proc"))?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid| one(&folder(root, pid), pid, memory))
        .collect();
    processes.sort_unstable_by_key(|process| process.pid);
    Ok(processes)
}

fn folder(root: &Path, pid: u32) -> PathBuf {
    root.join("proc").join(pid.to_string())
}

fn one(folder: &Path, pid: u32, memory: Option<&Hierarchy>) -> Option<Process> {
    let status = from_kernel(&fs::read(folder.join("status")).ok()?);
    let text = |file: &str| fs::read_to_string(folder.join(file)).ok();
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let number = |name: &str| field(name)?.split_whitespace().next()?.parse::<u64>().ok();
    let bytes = |name: &str| meminfo_bytes(&status, name);
    let cgroup = memory.and_then(|memory| {
        let text = text("cgroup")?;
        memory.path_in(&text, "memory").map(str::to_owned)
    });
    let small = |number: u64| u32::try_from(number).ok();
    Some(Process {
        pid,
        ppid: number("PPid").and_then(small),
        uid: number("Uid").and_then(small),
        comm: field("Name")?.trim_start_matches('\t').to_owned(),
        command: started_as(&folder.join("cmdline")),
        environment: head(&folder.join("environ")).map(|(text, cut)| environment::of_text(&text, cut)),
        threads: number("Threads").unwrap_or(1),
        oom_score_adj: text("oom_score_adj").and_then(|text| text.trim().parse().ok()),
        rss_bytes: bytes("VmRSS"),
        swap_bytes: bytes("VmSwap").unwrap_or(0),
        pgtables_bytes: bytes("VmPTE").unwrap_or(0),
        place: Place::of(cgroup),
    })
}

/// What a process was started with, as far as the tracer tells it of victims.
fn started_as(file: &Path) -> Command {
    match head(file) {
        Some((text, cmdline_truncated)) => {
            Command { cmdline: Some(arguments(&secrets::masked(&text))), cmdline_truncated }
        }
        None => Command::default(),
    }
}

/// The beginning of a file, and whether it goes on; `None`: nothing is in it, or it cannot be read.
fn head(file: &Path) -> Option<(Vec<u8>, bool)> {
    const MOST: usize = 4096;
    let mut text = Vec::new();
    fs::File::open(file).and_then(|file| file.take(MOST as u64 + 1).read_to_end(&mut text)).ok()?;
    let goes_on = text.len() > MOST;
    text.truncate(MOST);
    (!text.is_empty()).then_some((text, goes_on))
}

/// A user's processes and threads, and the least that one of its processes may have of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The user.
    pub uid: u32,
    /// Processes and threads.
    pub threads: u64,
    /// The lowest limit (RLIMIT_NPROC) of one of its processes.
    pub limit: Option<u64>,
    /// Whose that is.
    pub limited_pid: Option<u32>,
}

/// Processes of a user whose limits are looked at: most have the same.
const LOOKED_AT: usize = 64;

/// Below that a limit is a sandbox's: sshd's children have 0, rtkit-daemon has 3, and both want no more.
const OF_A_SANDBOX: u64 = 16;

/// Users other than root, who may have as many as it likes (CAP_SYS_RESOURCE, `copy_process()`, kernel/fork.c).
pub(super) fn users(root: &Path, processes: &[Process]) -> Vec<User> {
    let mut of_user: BTreeMap<u32, Vec<&Process>> = BTreeMap::new();
    for process in processes {
        if let Some(uid) = process.uid.filter(|uid| *uid != 0) {
            of_user.entry(uid).or_default().push(process);
        }
    }
    let user = |(uid, processes): (u32, Vec<&Process>)| {
        let limits = processes.iter().take(LOOKED_AT).filter_map(|process| {
            let text = fs::read_to_string(folder(root, process.pid).join("limits")).ok()?;
            Some((soft_limit(&text).filter(|limit| *limit >= OF_A_SANDBOX)?, process.pid))
        });
        let (limit, limited_pid) = limits.min().unzip();
        User { uid, threads: processes.iter().map(|process| process.threads).sum(), limit, limited_pid }
    };
    of_user.into_iter().map(user).collect()
}

/// The soft limit of processes (`proc_pid_limits()`, fs/proc/base.c); `None`: there is none.
fn soft_limit(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max processes"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\tja va\nUmask:\t0022\nPPid:\t7\nUid:\t1000\t0\t0\t0\nVmRSS:\t    2048 kB\nVmPTE:\t      64 kB\nVmSwap:\t       4 kB\nThreads:\t3\n";

    fn tree(name: &str, files: &[(&str, &str)]) -> PathBuf {
        let root = std::env::temp_dir().join(format!("oomtrace-processes-{name}-{}", std::process::id()));
        for (file, text) in files {
            let path = root.join("proc").join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    /// Guards what is read of a process; the kernel's own have no memory; what has ended is left out; secrets are masked.
    #[test]
    fn processes_are_read() {
        let root = tree(
            "read",
            &[
                ("42/status", STATUS),
                ("42/cmdline", "java\0--password=geheim\0"),
                ("42/environ", "HOME=/root\0GOMEMLIMIT=1GiB\0"),
                ("42/oom_score_adj", "-500\n"),
                ("9/status", "Name:\tkswapd0\nPPid:\t2\nUid:\t0\t0\t0\t0\nThreads:\t1\n"),
                ("8/cmdline", "gone\0"),
                ("uptime", "1 2\n"),
            ],
        );
        let processes = read(&root, None).unwrap();
        fs::remove_dir_all(&root).unwrap();
        let [kernel, java] = processes.as_slice() else { panic!("{processes:?}") };
        assert_eq!((kernel.comm.as_str(), kernel.rss_bytes), ("kswapd0", None));
        let expected = Process {
            pid: 42,
            ppid: Some(7),
            uid: Some(1000),
            comm: "ja va".to_owned(),
            command: Command {
                cmdline: Some(vec!["java".to_owned(), "--password=***".to_owned()]),
                cmdline_truncated: false,
            },
            environment: Some(BTreeMap::from([("GOMEMLIMIT".to_owned(), "1GiB".to_owned())])),
            threads: 3,
            oom_score_adj: Some(-500),
            rss_bytes: Some(2 << 20),
            swap_bytes: 4096,
            pgtables_bytes: 65_536,
            place: Place::default(),
        };
        assert_eq!(java, &expected);
    }

    /// Guards users: threads are counted, the lowest limit counts but for that of a sandbox, and root has none.
    #[test]
    fn users_have_the_lowest_limit_of_their_processes() {
        let limits = |soft: &str| {
            format!("Limit  Soft Limit  Hard Limit  Units\nMax processes   {soft}   900   processes\n")
        };
        let root = tree(
            "users",
            &[
                ("1/limits", &limits("50")),
                ("2/limits", &limits("20")),
                ("3/limits", &limits("unlimited")),
                ("5/limits", &limits("0")),
            ],
        );
        let process = |pid, uid, threads| Process { pid, uid: Some(uid), threads, ..Process::default() };
        let found = users(
            &root,
            &[process(1, 5, 2), process(2, 5, 3), process(3, 6, 1), process(4, 0, 9), process(5, 5, 1)],
        );
        fs::remove_dir_all(&root).unwrap();
        let expected = [
            User { uid: 5, threads: 6, limit: Some(20), limited_pid: Some(2) },
            User { uid: 6, threads: 1, limit: None, limited_pid: None },
        ];
        assert_eq!(found, expected);
    }
}
