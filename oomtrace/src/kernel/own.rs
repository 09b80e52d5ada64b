//! What /proc and the cgroup file system say of this thread and its process.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use crate::host::memcg_files::{self, limit_bytes};
use crate::record::Ceiling;

/// `PROC_TIME_INIT_INO` and its like (include/linux/proc_ns.h): the inode numbers of the initial namespaces. In
/// others the kernel's own times, ids and paths differ from those that /proc shows us.
const INITIAL_TIME: u64 = 0xefff_fffa;
const INITIAL_PID: u64 = 0xefff_fffc;
const INITIAL_USER: u64 = 0xefff_fffd;
const INITIAL_CGROUP: u64 = 0xefff_fffb;

/// Whether the paths of cgroups are here what they are to the kernel.
pub fn sees_all_cgroups() -> bool {
    fs::metadata("/proc/self/ns/cgroup").is_ok_and(|data| data.ino() == INITIAL_CGROUP)
}

/// This process's id in the initial PID namespace; `None`: it is in another one, or that cannot be seen.
pub fn initial_pid() -> Option<u32> {
    let namespace = fs::metadata("/proc/self/ns/pid").ok()?.ino();
    (namespace == INITIAL_PID).then(std::process::id)
}

/// What /proc says of this thread and its process.
#[derive(Debug)]
pub struct Own {
    pub in_initial_pid_namespace: bool,
    pub in_initial_user_namespace: bool,
    pub in_initial_time_namespace: bool,
    pub pid: u32,
    pub tid: u32,
    pub ppid: u32,
    pub uid: u32,
    pub threads: u32,
    pub oom_score_adj: i32,
    pub start_ticks: u64,
    pub comm: String,
    /// Its process id in its own PID namespace.
    pub ns_pid: u32,
    /// Process id and name of each ancestor, from the parent upwards, as far as /proc shows them.
    pub ancestors: Vec<(u32, Option<String>)>,
    pub total_vm_pages: u64,
    pub resident_pages: u64,
    pub pgtables_kb: u64,
    /// Its arguments, each ended by NUL.
    pub cmdline: Vec<u8>,
    /// Its environment as it was started with that, ended by NULs.
    pub environment: Option<Vec<u8>>,
    pub cgroup: Option<OwnCgroup>,
}

/// This process's memory cgroup, where its directory can be seen.
#[derive(Debug)]
pub struct OwnCgroup {
    /// Inode number of its directory.
    pub id: u64,
    /// 0 for v2.
    pub hierarchy: u32,
    /// The names of the directories from its own up to the root, whose name is empty.
    pub names: Vec<String>,
    /// Memory limit.
    pub limit: Ceiling,
    /// The limit of swap (v2), or of memory and swap (v1), if its file is there.
    pub swap_limit: Option<Ceiling>,
    /// `memory.oom.group`.
    pub oom_group: bool,
}

impl Own {
    /// Reads what there is of this thread below `proc`; `None` if that is not all.
    pub fn read(proc: &Path) -> Option<Self> {
        let own = proc.join("thread-self");
        let text = |name: &str| fs::read_to_string(own.join(name)).ok();
        let namespace = |name: &str| fs::metadata(own.join("ns").join(name)).ok().map(|data| data.ino());
        let status = text("status")?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            line.split_ascii_whitespace().next().map(str::to_owned)
        };
        let number = |name: &str| field(name)?.parse::<u32>().ok();
        // Of the process: it starts with its first thread, and this may be another.
        let stat = fs::read_to_string(proc.join("self/stat")).ok()?;
        // The name, in parentheses, may hold anything; what follows the last one is numbers.
        let (_, numbers) = stat.rsplit_once(") ")?;
        let statm = text("statm")?;
        let mut statm = statm.split_ascii_whitespace().map(|word| word.parse::<u64>().ok());
        let comm = fs::read(own.join("comm")).ok()?;
        Some(Self {
            in_initial_pid_namespace: namespace("pid") == Some(INITIAL_PID),
            in_initial_user_namespace: namespace("user") == Some(INITIAL_USER),
            // Kernels without such namespaces (CONFIG_TIME_NS) have one time.
            in_initial_time_namespace: namespace("time").is_none_or(|time| time == INITIAL_TIME),
            pid: number("Tgid")?,
            tid: number("Pid")?,
            ppid: number("PPid")?,
            uid: number("Uid")?,
            threads: number("Threads")?,
            oom_score_adj: text("oom_score_adj")?.trim().parse().ok()?,
            // Field 22 of the line; the state, field 3, is the first here.
            start_ticks: numbers.split_ascii_whitespace().nth(19)?.parse().ok()?,
            comm: crate::text::from_kernel(comm.strip_suffix(b"\n").unwrap_or(&comm)),
            // From the reader's namespace down to its own.
            ns_pid: status
                .lines()
                .find_map(|line| line.strip_prefix("NStgid:")?.split_ascii_whitespace().last())?
                .parse()
                .ok()?,
            ancestors: ancestors(proc, number("PPid")?),
            total_vm_pages: statm.next()??,
            resident_pages: statm.next()??,
            pgtables_kb: field("VmPTE")?.parse().ok()?,
            cmdline: fs::read(own.join("cmdline")).ok()?,
            // Only for the user that this process would dump core for: not with file capabilities.
            environment: fs::read(own.join("environ")).ok(),
            cgroup: OwnCgroup::find(&text("cgroup")?, namespace("cgroup")),
        })
    }
}

/// The process of that id and those above it: id and name.
fn ancestors(proc: &Path, parent: u32) -> Vec<(u32, Option<String>)> {
    let mut ancestors = Vec::new();
    let mut next = parent;
    while next != 0 && ancestors.len() < oomtrace_ebpf::MAX_ANCESTORS {
        let Ok(stat) = fs::read(proc.join(next.to_string()).join("stat")) else { break };
        let Some((name, parent)) = name_and_parent(&stat) else { break };
        ancestors.push((next, Some(crate::text::from_kernel(name))));
        next = parent;
    }
    ancestors
}

/// Name and parent in a line of /proc/PID/stat: `PID (NAME) STATE PPID …`. The name may hold anything.
fn name_and_parent(stat: &[u8]) -> Option<(&[u8], u32)> {
    let begins = stat.iter().position(|byte| *byte == b'(')? + 1;
    let ends = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = str::from_utf8(stat.get(ends + 1..)?).ok()?;
    Some((stat.get(begins..ends)?, rest.split_ascii_whitespace().nth(1)?.parse().ok()?))
}

impl OwnCgroup {
    /// Finds the directory, unless we live in a namespace of cgroups, where it is not where the path says.
    fn find(own: &str, namespace: Option<u64>) -> Option<Self> {
        if namespace != Some(INITIAL_CGROUP) {
            return None;
        }
        let mut lines = own.lines().filter_map(|line| {
            let mut parts = line.splitn(3, ':');
            Some((parts.next()?, parts.next()?, parts.next()?))
        });
        let v1 =
            lines.clone().find(|(_, controllers, _)| controllers.split(',').any(|name| name == "memory"));
        let (mount, files) = match v1 {
            Some(_) => ("/sys/fs/cgroup/memory", memcg_files::V1),
            None => ("/sys/fs/cgroup", memcg_files::V2),
        };
        let (hierarchy, _, path) = match v1 {
            Some(line) => line,
            None => lines.find(|(hierarchy, _, _)| *hierarchy == "0")?,
        };
        let directory = PathBuf::from(mount).join(path.trim_start_matches('/'));
        let text = |file: &str| fs::read_to_string(directory.join(file)).ok();
        // v2's root has no limits and no files for them. Elsewhere a cgroup without them is accounted to one further
        // up: which one, we do not know.
        let limit = match text(files.limit) {
            Some(text) => ceiling(&text),
            None if path == "/" => Ceiling::Unlimited,
            None => return None,
        };
        let names = path.rsplit('/').filter(|name| !name.is_empty()).chain([""]).map(str::to_owned).collect();
        Some(Self {
            id: fs::metadata(&directory).ok()?.ino(),
            hierarchy: hierarchy.parse().ok()?,
            names,
            limit,
            swap_limit: text(files.swap_limit).map(|text| ceiling(&text)),
            oom_group: text(memcg_files::OOM_GROUP).is_some_and(|text| memcg_files::oom_group(&text)),
        })
    }
}

/// A file of a limit, in the kernel's terms.
fn ceiling(text: &str) -> Ceiling {
    let pages = limit_bytes(text).map(|bytes| bytes / u64::from(crate::host::page_bytes()));
    pages.map_or(Ceiling::Unlimited, Ceiling::Pages)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the parent against a name that looks like the fields after it.
    #[test]
    fn a_parent_stands_behind_any_name() {
        assert_eq!(name_and_parent(b"42 (a) R 1 (b) S 7 42 0\n"), Some((&b"a) R 1 (b"[..], 7)));
        assert_eq!(name_and_parent(b"42 (a"), None);
        assert_eq!(name_and_parent(b"42 )a( S 7"), None);
    }

    /// Guards the reader of /proc on this machine: it finds this process.
    #[test]
    fn proc_tells_of_this_process() {
        let own = Own::read(Path::new("/proc")).unwrap();
        assert_eq!(own.pid, std::process::id());
        assert_eq!(own.ancestors.first().map(|(pid, _)| *pid), Some(own.ppid));
        assert!(own.resident_pages > 0 && own.total_vm_pages > own.resident_pages);
    }
}
