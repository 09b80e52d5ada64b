//! Whether what the programs read is true: they read this very process as they would read a victim, and that is
//! compared with what /proc says of it.
//!
//! The offsets come from type information, and that can be another kernel's, or damaged. A figure that is read from
//! a wrong place looks like any other; this is where it shows.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use aya::{
    Ebpf,
    maps::{Array, RingBuf},
    programs::{RawTracePoint, RawTracePointRunOptions, TestRun},
};
use oomtrace_ebpf::RecordKind;

use crate::record::{Ceiling, Level, Mm, Record, Task, decode};

/// The program that reports a victim. Run by us, it reports us.
pub const PROGRAM: &str = "victim_raw_tp";

/// `PROC_TIME_INIT_INO` and its like (include/linux/proc_ns.h): the inode numbers of the initial namespaces. In
/// others the kernel's own times, ids and paths differ from those that /proc shows us.
const INITIAL_TIME: u64 = 0xefff_fffa;
const INITIAL_PID: u64 = 0xefff_fffc;
const INITIAL_USER: u64 = 0xefff_fffd;
const INITIAL_CGROUP: u64 = 0xefff_fffb;

/// Whether the paths of cgroups are here what they are to the kernel.
pub(super) fn sees_all_cgroups() -> bool {
    fs::metadata("/proc/self/ns/cgroup").is_ok_and(|data| data.ino() == INITIAL_CGROUP)
}

/// /proc counts start times in these, ns (`USER_HZ` is 100 everywhere).
const TICK_NS: u64 = 10_000_000;
/// Pages by which memory may differ: what this thread holds back, and what it touches between the two looks.
const SLACK_PAGES: u64 = 256;
/// Looks until the two agree: a figure may move in between.
const ATTEMPTS: u32 = 3;

/// Compares. `Err`: the type information does not fit this kernel, and why. `Ok(false)`: it could not be compared.
pub fn check(ebpf: &mut Ebpf, page_bytes: u32, cpus: u32) -> Result<bool, String> {
    let mut differences = Vec::new();
    for _ in 0..ATTEMPTS {
        let Ok(seen) = look(ebpf) else { return Ok(false) };
        let Some(own) = Own::read(Path::new("/proc")) else { return Ok(false) };
        differences = own.compare(&seen, page_bytes, cpus);
        if differences.is_empty() {
            return Ok(true);
        }
    }
    Err(differences.join("; "))
}

/// What the programs see of this process.
struct Seen {
    task: Task,
    mm: Mm,
    /// Its memory cgroup.
    level: Option<Level>,
}

/// Has the programs report this process. They send what they see through the ring buffer, like any victim, so that
/// the whole way is tried. Leaves the program loaded.
fn look(ebpf: &mut Ebpf) -> anyhow::Result<Seen> {
    let program = ebpf.program_mut(PROGRAM).context("the eBPF object lacks the program")?;
    let program: &mut RawTracePoint = program.try_into()?;
    if program.fd().is_err() {
        program.load()?;
    }
    program.test_run(RawTracePointRunOptions::new())?;
    let ring = ebpf.map_mut("RECORDS").context("the eBPF object lacks the ring buffer")?;
    let mut ring = RingBuf::try_from(ring)?;
    let (mut seen, mut level) = (None, None);
    while let Some(bytes) = ring.next() {
        match decode(&bytes)? {
            Record::Level(_, found) if found.depth == 0 => level = Some(*found),
            Record::Mark(_, mark) => seen = Some((mark.victim, mark.mm)),
            _ => {}
        }
    }
    drop(ring);
    let Some((task, mm)) = seen else {
        forget_losses(ebpf)?;
        bail!("the ring buffer has no room for it");
    };
    Ok(Seen { task, mm, level })
}

/// What found no room was nobody's victim.
fn forget_losses(ebpf: &mut Ebpf) -> anyhow::Result<()> {
    let map = ebpf.map_mut("LOST").context("the eBPF object lacks the loss counters")?;
    let mut lost: Array<_, u64> = map.try_into()?;
    for kind in RecordKind::ALL {
        lost.set(kind as u32, 0, 0)?;
    }
    Ok(())
}

/// What /proc says of this thread and its process.
#[derive(Debug)]
struct Own {
    in_initial_pid_namespace: bool,
    in_initial_user_namespace: bool,
    in_initial_time_namespace: bool,
    pid: u32,
    tid: u32,
    ppid: u32,
    uid: u32,
    threads: u32,
    oom_score_adj: i32,
    start_ticks: u64,
    comm: String,
    total_vm_pages: u64,
    resident_pages: u64,
    pgtables_kb: u64,
    cgroup: Option<OwnCgroup>,
}

/// This process's memory cgroup, where its directory can be seen.
#[derive(Debug)]
struct OwnCgroup {
    id: u64,
    name: String,
    limit_bytes: Option<u64>,
}

impl Own {
    fn read(proc: &Path) -> Option<Self> {
        let own = proc.join("thread-self");
        let text = |name: &str| fs::read_to_string(own.join(name)).ok();
        let namespace = |name: &str| fs::metadata(own.join("ns").join(name)).ok().map(|data| data.ino());
        let status = text("status")?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            line.split_ascii_whitespace().next().map(str::to_owned)
        };
        let number = |name: &str| field(name)?.parse::<u32>().ok();
        let stat = text("stat")?;
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
            total_vm_pages: statm.next()??,
            resident_pages: statm.next()??,
            pgtables_kb: field("VmPTE")?.parse().ok()?,
            cgroup: OwnCgroup::find(&text("cgroup")?, namespace("cgroup")),
        })
    }

    /// What differs, in words.
    fn compare(&self, seen: &Seen, page_bytes: u32, cpus: u32) -> Vec<String> {
        let mut found = Differences(Vec::new());
        let task = &seen.task;
        if self.in_initial_pid_namespace {
            found.unless_equal("task_struct.tgid", task.pid, &self.pid);
            found.unless_equal("task_struct.pid", task.tid, &self.tid);
            found.unless_equal("task_struct.real_parent", task.ppid, &self.ppid);
        }
        if self.in_initial_user_namespace {
            found.unless_equal("cred.uid", task.uid, &self.uid);
        }
        found.unless_equal("task_struct.comm", task.comm.as_ref(), &&self.comm);
        found.unless_equal("signal_struct.nr_threads", task.threads, &self.threads);
        found.unless_equal("signal_struct.oom_score_adj", task.oom_score_adj, &self.oom_score_adj);
        if self.in_initial_time_namespace {
            let start_ticks = task.start_boot_ns.map(|ns| ns / TICK_NS);
            found.unless_equal("task_struct.start_boottime", start_ticks, &self.start_ticks);
        }
        found.unless_near("mm_struct.total_vm", seen.mm.total_vm_pages, self.total_vm_pages, SLACK_PAGES);
        let tables = seen.mm.pgtables_bytes.map(|bytes| bytes / 1024);
        found.unless_near("mm_struct.pgtables_bytes", tables, self.pgtables_kb, SLACK_PAGES);
        // /proc reads the counters exactly or not, by kernel; so each of our two readings may be off by the bound.
        let slack = SLACK_PAGES + 3 * crate::incident::per_cpu_bound(cpus);
        for counters in [seen.mm.rss_count, seen.mm.rss_sum].into_iter().flatten() {
            let resident = [oomtrace_ebpf::RSS_ANON, oomtrace_ebpf::RSS_FILE, oomtrace_ebpf::RSS_SHMEM]
                .into_iter()
                .map(|index| u64::try_from(counters[index]).unwrap_or(0))
                .fold(0, u64::saturating_add);
            found.unless_near("mm_struct.rss_stat", Some(resident), self.resident_pages, slack);
        }
        if let Some(cgroup) = &self.cgroup {
            let level = seen.level.as_ref();
            let id = level.and_then(|level| level.id);
            found.unless_equal("kernfs_node.id", id.map(|id| id.id), &cgroup.id);
            let name = level.and_then(|level| level.name.as_ref());
            found.unless_equal("kernfs_node.name", name, &&cgroup.name);
            if let (Some(limit), Some(level)) = (cgroup.limit_bytes, level) {
                let seen = level.limit.and_then(Ceiling::pages).map(|pages| pages * u64::from(page_bytes));
                // Where the level has a limit at all; the field's absence is no difference.
                if level.limit.is_some() {
                    found.unless_equal("mem_cgroup.memory.max", seen.or(Some(u64::MAX)), &limit);
                }
            }
        }
        found.0
    }
}

struct Differences(Vec<String>);

impl Differences {
    /// What is absent is no difference.
    fn unless_equal<T: PartialEq + std::fmt::Debug>(&mut self, field: &str, seen: Option<T>, own: &T) {
        if let Some(seen) = seen
            && seen != *own
        {
            self.0.push(format!("{field} gives {seen:?} where /proc gives {own:?}"));
        }
    }

    fn unless_near(&mut self, field: &str, seen: Option<u64>, own: u64, slack: u64) {
        if let Some(seen) = seen
            && seen.abs_diff(own) > slack
        {
            self.0.push(format!("{field} gives {seen} where /proc gives {own}"));
        }
    }
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
        let (mount, path, file) = match v1 {
            Some((_, _, path)) => ("/sys/fs/cgroup/memory", path, "memory.limit_in_bytes"),
            None => ("/sys/fs/cgroup", lines.find(|(hierarchy, _, _)| *hierarchy == "0")?.2, "memory.max"),
        };
        let directory = PathBuf::from(mount).join(path.trim_start_matches('/'));
        // Without the controller here, the kernel accounts to a cgroup further up: which one, we do not know.
        let limit = fs::read_to_string(directory.join(file)).ok()?;
        Some(Self {
            id: fs::metadata(&directory).ok()?.ino(),
            name: path.rsplit('/').next().unwrap_or_default().to_owned(),
            // "max", and v1's number that stands for it, are no limit.
            limit_bytes: limit.trim().parse().ok().filter(|limit| *limit < u64::MAX / 4),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{CgroupId, Whose};

    fn own() -> Own {
        Own {
            in_initial_pid_namespace: true,
            in_initial_user_namespace: true,
            in_initial_time_namespace: true,
            pid: 7,
            tid: 7,
            ppid: 1,
            uid: 0,
            threads: 1,
            oom_score_adj: -999,
            start_ticks: 5,
            comm: "oomtrace".to_owned(),
            total_vm_pages: 2000,
            resident_pages: 1500,
            pgtables_kb: 64,
            cgroup: Some(OwnCgroup { id: 9, name: "app".to_owned(), limit_bytes: Some(40960) }),
        }
    }

    fn seen() -> Seen {
        Seen {
            task: Task {
                pid: Some(7),
                tid: Some(7),
                ppid: Some(1),
                uid: Some(0),
                flags: Some(0),
                threads: Some(1),
                oom_score_adj: Some(-999),
                start_boot_ns: Some(5 * TICK_NS + 3),
                memcg: None,
                comm: Some("oomtrace".to_owned()),
            },
            mm: Mm {
                total_vm_pages: Some(2010),
                pgtables_bytes: Some(65536),
                rss_count: Some([1000, 400, 0, 50]),
                rss_sum: None,
            },
            level: Some(Level {
                whose: Whose::Victim,
                leaf_id: 0,
                depth: 0,
                id: Some(CgroupId { hierarchy: 0, id: 9 }),
                name: Some("app".to_owned()),
                name_truncated: false,
                root: false,
                usage_pages: Some(3),
                limit: Some(Ceiling::Pages(10)),
                swap_usage_pages: None,
                swap_limit: None,
                oom_group: None,
            }),
        }
    }

    /// Guards against tracing with offsets that are wrong: every figure that differs is noticed, alone.
    #[test]
    fn every_wrong_figure_is_noticed_by_itself() {
        assert_eq!(own().compare(&seen(), 4096, 2), Vec::<String>::new());
        let wrong: [fn(&mut Seen); 13] = [
            |seen| seen.task.pid = Some(8),
            |seen| seen.task.tid = Some(8),
            |seen| seen.task.ppid = Some(2),
            |seen| seen.task.uid = Some(1),
            |seen| seen.task.threads = Some(2),
            |seen| seen.task.oom_score_adj = Some(0),
            |seen| seen.task.start_boot_ns = Some(0),
            |seen| seen.task.comm = Some("x".to_owned()),
            |seen| seen.mm.total_vm_pages = Some(0),
            |seen| seen.mm.pgtables_bytes = Some(1 << 30),
            |seen| seen.mm.rss_count = Some([0, 0, 9000, 0]),
            |seen| seen.level.as_mut().unwrap().id = Some(CgroupId { hierarchy: 0, id: 10 }),
            |seen| seen.level.as_mut().unwrap().limit = Some(Ceiling::Unlimited),
        ];
        for (number, change) in wrong.into_iter().enumerate() {
            let mut seen = seen();
            change(&mut seen);
            assert_eq!(own().compare(&seen, 4096, 2).len(), 1, "change {number}");
        }
    }

    /// Guards against refusing to trace where there is nothing to compare: absent fields, other namespaces.
    #[test]
    fn what_cannot_be_compared_is_no_difference() {
        let unnamed = seen().level.map(|level| Level { id: None, name: None, limit: None, ..level });
        for level in [None, unnamed] {
            let nothing = Seen { task: Task::default(), mm: Mm::default(), level };
            assert_eq!(own().compare(&nothing, 4096, 2), Vec::<String>::new());
        }
        let mut contained = Own { in_initial_pid_namespace: false, cgroup: None, ..own() };
        contained.pid = 1;
        contained.tid = 1;
        assert_eq!(contained.compare(&seen(), 4096, 2), Vec::<String>::new());
    }

    /// Guards the reader of /proc on this machine: it finds this process.
    #[test]
    fn proc_tells_of_this_process() {
        let own = Own::read(Path::new("/proc")).unwrap();
        assert_eq!(own.pid, std::process::id());
        assert!(own.resident_pages > 0 && own.total_vm_pages > own.resident_pages);
    }
}
