//! A machine as it stands: what it has, what is set, what runs on it. From /proc and /sys alone, so that a captured tree of both
//! will do as well. What cannot be read is not there, and said in [`Node::missing`].

mod crash;
mod group;
mod memory;
mod process;

use std::{collections::BTreeMap, fs, path::Path};

pub use crash::Crash;
pub use group::{Group, GroupMemory};
pub use memory::{Memory, Pressure};
pub use process::{Process, User};

use super::{cgroup::Hierarchy, pids::Pids, settings::Settings, sysctl};

/// The path of the root group.
pub(super) const ROOT: &str = "/";

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// How the machine is set up.
    pub settings: Settings,
    /// What its memory is used for.
    pub memory: Memory,
    /// How long programs waited for memory of late, where the kernel measures that.
    pub pressure: Option<Pressure>,
    /// Every process that could be seen, by id.
    pub processes: Vec<Process>,
    /// Users that have processes, but for root, which has no limit.
    pub users: Vec<User>,
    /// Every cgroup that has a limit, or in which something was killed or refused.
    pub groups: Vec<Group>,
    /// Whether all of the machine is seen: else 1 is not its first process, but that of a container.
    pub whole: bool,
    /// Processes and threads, all of the machine's.
    pub threads: Option<u64>,
    /// What is left of a panic.
    pub crash: Crash,
    /// `vm.oom_dump_tasks`: whether the kernel logs all processes with each kill.
    pub oom_dump_tasks: Option<u32>,
    /// What the kernel's log holds.
    pub log_buffer_bytes: Option<u64>,
    /// Why something could not be seen.
    pub missing: BTreeMap<&'static str, String>,
}

impl Node {
    /// Reads the machine below `root` (`/`).
    #[must_use]
    pub fn read(root: &Path) -> Self {
        let text = |file: &str| fs::read_to_string(root.join("proc").join(file)).ok();
        let meminfo = text("meminfo").unwrap_or_default();
        let mut node = Self {
            settings: Settings::read(root),
            memory: Memory::of(&meminfo),
            pressure: text("pressure/memory").and_then(|text| Pressure::of(&text)),
            threads: text("loadavg").and_then(|text| super::forking::threads(&text)),
            crash: Crash::read(root),
            oom_dump_tasks: sysctl::text(root, "vm/oom_dump_tasks").and_then(|text| text.parse().ok()),
            ..Self::default()
        };
        if meminfo.is_empty() {
            node.lacks("memory", "proc/meminfo cannot be read");
        }
        if node.pressure.is_none() {
            node.lacks(
                "pressure",
                "proc/pressure/memory cannot be read: the kernel may not measure it (psi=1)",
            );
        }
        let here = root == Path::new("/");
        match crash::log_buffer_bytes().filter(|_| here) {
            Some(bytes) => node.log_buffer_bytes = Some(bytes),
            None if here => {
                node.lacks("log_buffer_bytes", "only root may ask for it (kernel.dmesg_restrict)");
            }
            None => node.lacks("log_buffer_bytes", "it is told by the running kernel alone"),
        }
        let memory = Hierarchy::find(root, "memory").map_err(|why| node.lacks("memory_groups", why)).ok();
        let pids = Pids::find(root).map_err(|why| node.lacks("pids_groups", why)).ok();
        node.groups = group::read(memory.as_ref(), pids.as_ref());
        node.add_processes(root, memory.as_ref(), here);
        node
    }

    fn lacks(&mut self, what: &'static str, why: impl Into<String>) {
        self.missing.insert(what, why.into());
    }

    fn add_processes(&mut self, root: &Path, memory: Option<&Hierarchy>, here: bool) {
        match process::read(root, memory) {
            Ok(processes) if processes.is_empty() => self.lacks("processes", "there are none below proc"),
            Ok(processes) => self.processes = processes,
            Err(error) => self.lacks("processes", format!("proc cannot be listed: {error}")),
        }
        if here {
            // Who looks will have ended before anything happens.
            self.processes.retain(|process| process.pid != std::process::id());
        }
        self.users = process::users(root, &self.processes);
        // hidepid= hides those of others, and a PID namespace what is outside of it: where all is seen, 2 is kthreadd.
        let second = fs::read_to_string(root.join("proc/2/comm"));
        self.whole = second.map_or(!here, |comm| comm.trim_end() == "kthreadd");
        if !self.whole {
            self.lacks(
                "processes",
                "only some are seen: this is a container, or /proc hides those of others (hidepid), which root sees",
            );
        }
    }

    /// Processes that the OOM killer could look at: kernel threads have no memory of their own.
    pub fn programs(&self) -> impl Iterator<Item = &Process> {
        self.processes.iter().filter(|process| process.rss_bytes.is_some())
    }

    /// Whether the OOM killer passes a process over: the first of all, and whoever is shielded (`oom_unkillable_task()`,
    /// `oom_badness()`, mm/oom_kill.c).
    #[must_use]
    pub fn is_shielded(&self, process: &Process) -> bool {
        self.is_first(process) || process.oom_score_adj == Some(-1000)
    }

    /// Whether it is the first process of all.
    #[must_use]
    pub fn is_first(&self, process: &Process) -> bool {
        self.whole && process.pid == 1
    }

    /// The process of an id.
    #[must_use]
    pub fn process(&self, pid: u32) -> Option<&Process> {
        let at = self.processes.binary_search_by_key(&pid, |process| process.pid).ok()?;
        self.processes.get(at)
    }

    /// The least that the limits at and above a memory cgroup allow, with the path of the one that does.
    #[must_use]
    pub fn limit_above(&self, cgroup: &str) -> Option<(u64, &str)> {
        // A container may see its own group as the root.
        let levels = super::cgroup::upwards(cgroup).chain([ROOT]).filter_map(|path| {
            let at = self.groups.binary_search_by(|group| group.path.as_str().cmp(path)).ok()?;
            let group = self.groups.get(at)?;
            Some((group.memory.as_ref()?.limit_bytes?, group.path.as_str()))
        });
        levels.min_by_key(|(bytes, _)| *bytes)
    }
}
