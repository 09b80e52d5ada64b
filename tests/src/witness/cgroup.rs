//! A controller's hierarchy, version 1 or 2, whichever the machine has it in: the memory controller's, or another's.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::witness::counters::keyed;

/// Limits from here on up mean "no limit": version 1 prints the largest page-aligned `long`.
const UNLIMITED: u64 = 1 << 62;

/// Which of the two interfaces the hierarchy has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// `memory.limit_in_bytes` and its like.
    V1,
    /// memory.max and its like.
    V2,
}

/// The hierarchy that has a controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    controller: &'static str,
    mount: PathBuf,
    /// The part of the hierarchy that is mounted: "/" unless in a container.
    mounted: String,
    /// Its interface.
    pub version: Version,
    /// Its number in /proc/cgroups; 0 for version 2.
    pub id: u64,
}

/// One cgroup, by its path in the hierarchy as the kernel log prints it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroup {
    hierarchy: Hierarchy,
    /// Its path, with a leading slash.
    pub path: String,
}

impl Hierarchy {
    /// Finds the memory controller's hierarchy; None when no mount has it.
    pub fn find() -> Result<Option<Self>> {
        Self::of("memory")
    }

    /// Finds a controller's hierarchy; None when no mount has it.
    pub fn of(controller: &'static str) -> Result<Option<Self>> {
        let mounts =
            fs::read_to_string("/proc/self/mountinfo").context("cannot read /proc/self/mountinfo")?;
        let numbers = fs::read_to_string("/proc/cgroups").unwrap_or_default();
        Ok(Self::choose(controller, &mounts, &numbers, |mount| {
            fs::read_to_string(mount.join("cgroup.controllers")).unwrap_or_default()
        }))
    }

    /// Chooses it by the texts of mountinfo, /proc/cgroups and, of a version 2 mount, its list of controllers.
    fn choose(
        controller: &'static str,
        mounts: &str,
        numbers: &str,
        controllers: impl Fn(&Path) -> String,
    ) -> Option<Self> {
        mounts.lines().find_map(|line| {
            let (place, kind) = line.split_once(" - ")?;
            let mut place = place.split(' ').skip(3);
            let (mounted, mount) = (place.next()?.to_owned(), PathBuf::from(place.next()?));
            let mut kind = kind.split(' ');
            let (fs_type, options) = (kind.next()?, kind.nth(1)?);
            let has_it = |list: &str, separator| list.split(separator).any(|word| word == controller);
            if fs_type == "cgroup" && has_it(options, ',') {
                let id = numbers.lines().find_map(|line| {
                    line.strip_prefix(controller)?.strip_prefix('\t')?.split('\t').next()?.parse().ok()
                });
                Some(Self { controller, mount, mounted, version: Version::V1, id: id? })
            } else if fs_type == "cgroup2" && has_it(controllers(&mount).trim(), ' ') {
                Some(Self { controller, mount, mounted, version: Version::V2, id: 0 })
            } else {
                None
            }
        })
    }

    /// A version 2 hierarchy in an ordinary folder, for tests.
    #[cfg(test)]
    pub(crate) fn at(mount: PathBuf) -> Self {
        Self { controller: "memory", mount, mounted: "/".to_owned(), version: Version::V2, id: 0 }
    }

    /// The cgroup at `path`, which need not exist. Only what is below the mounted part can be reached.
    #[must_use]
    pub fn cgroup(&self, path: &str) -> Cgroup {
        Cgroup { hierarchy: self.clone(), path: path.to_owned() }
    }

    /// The cgroup in which process `pid` is.
    pub fn cgroup_of(&self, pid: u64) -> Result<Cgroup> {
        let file = format!("/proc/{pid}/cgroup");
        let lines = fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
        let path = self.choose_line(&lines).with_context(|| format!("{file} has no memory cgroup"))?;
        Ok(self.cgroup(path))
    }

    /// Its path in the text of /proc/PID/cgroup: `ID:CONTROLLERS:PATH`.
    fn choose_line<'text>(&self, lines: &'text str) -> Option<&'text str> {
        lines.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':');
            let id: u64 = parts.next()?.parse().ok()?;
            (id == self.id).then(|| parts.nth(1))?
        })
    }

    /// The top of what is mounted here.
    #[must_use]
    pub fn top(&self) -> Cgroup {
        self.cgroup(&self.mounted)
    }

    /// Where the hierarchy is mounted.
    #[must_use]
    pub fn mount(&self) -> &Path {
        &self.mount
    }
}

impl Cgroup {
    /// Its folder; None when it is outside the mounted part.
    #[must_use]
    pub fn dir(&self) -> Option<PathBuf> {
        let below = self.path.strip_prefix(self.hierarchy.mounted.trim_end_matches('/'))?;
        Some(self.hierarchy.mount.join(below.trim_start_matches('/')))
    }

    /// The child of that name.
    #[must_use]
    pub fn child(&self, name: &str) -> Self {
        self.hierarchy.cgroup(&format!("{}/{name}", self.path.trim_end_matches('/')))
    }

    /// Itself and its ancestors up to the hierarchy's root.
    pub fn chain(&self) -> impl Iterator<Item = Self> + use<'_> {
        Path::new(&self.path).ancestors().map(|path| self.hierarchy.cgroup(&path.to_string_lossy()))
    }

    /// Its interface.
    #[must_use]
    pub fn version(&self) -> Version {
        self.hierarchy.version
    }

    /// Its hierarchy's number in /proc/cgroups; 0 for version 2.
    #[must_use]
    pub fn hierarchy_id(&self) -> u64 {
        self.hierarchy.id
    }

    /// Limits its memory to `bytes`, without swap to evade into.
    pub fn set_limit(&self, bytes: u64) -> Result<()> {
        match self.version() {
            Version::V1 => {
                self.write("memory.limit_in_bytes", &bytes.to_string())?;
                // Without swap accounting there is no such file; then nothing may be swapped at all.
                self.write("memory.memsw.limit_in_bytes", &bytes.to_string())
                    .or_else(|_no_swap_accounting| self.write("memory.swappiness", "0"))
            }
            Version::V2 => {
                self.write("memory.max", &bytes.to_string())?;
                if self.has("memory.swap.max") { self.write("memory.swap.max", "0") } else { Ok(()) }
            }
        }
    }

    /// Lets it swap up to `bytes` (version 2), after [`Self::set_limit`], which forbids it.
    pub fn set_swap_limit(&self, bytes: u64) -> Result<()> {
        self.write("memory.swap.max", &bytes.to_string())
    }

    /// Lets its children have a further controller (version 2).
    pub fn delegate(&self, controller: &str) -> Result<()> {
        self.write("cgroup.subtree_control", &format!("+{controller}"))
    }

    /// Takes a controller from its children (version 2).
    pub fn withdraw(&self, controller: &str) -> Result<()> {
        self.write("cgroup.subtree_control", &format!("-{controller}"))
    }

    /// Has its processes take memory from these NUMA nodes alone.
    pub fn set_mems(&self, nodes: &str) -> Result<()> {
        self.write("cpuset.mems", nodes)
    }

    /// Gives it so many milliseconds of a processor in so many (version 2); None: all that it asks for.
    pub fn set_turns(&self, of: Option<(u64, u64)>) -> Result<()> {
        let text = of.map_or_else(|| "max".to_owned(), |(own, of)| format!("{} {}", own * 1000, of * 1000));
        self.write("cpu.max", &text)
    }

    /// Its limit in bytes; None when it has none.
    pub fn limit(&self) -> Result<Option<u64>> {
        self.limit_in(if self.version() == Version::V1 { "memory.limit_in_bytes" } else { "memory.max" })
    }

    /// Its limit of swap (version 2), or of memory and swap together (version 1), in bytes; None when it has none.
    pub fn swap_limit(&self) -> Result<Option<u64>> {
        self.limit_in(if self.version() == Version::V1 {
            "memory.memsw.limit_in_bytes"
        } else {
            "memory.swap.max"
        })
    }

    /// The limit in one of its files. The root of version 2 does not have them, since it cannot be limited, and
    /// without swap accounting no cgroup has those for swap.
    fn limit_in(&self, file: &str) -> Result<Option<u64>> {
        if !self.has(file) && self.has("cgroup.procs") {
            return Ok(None);
        }
        let text = self.read(file)?;
        if text.trim() == "max" {
            return Ok(None);
        }
        let bytes: u64 =
            text.trim().parse().with_context(|| format!("{file} of {} is no number", self.path))?;
        Ok((bytes < UNLIMITED).then_some(bytes))
    }

    /// The memory that is charged to it and its descendants, in bytes.
    pub fn memory(&self) -> Result<u64> {
        let file = if self.version() == Version::V1 { "memory.usage_in_bytes" } else { "memory.current" };
        self.read(file)?.trim().parse().with_context(|| format!("{file} of {} is no number", self.path))
    }

    /// Has all its members killed together.
    pub fn set_oom_group(&self) -> Result<()> {
        self.write("memory.oom.group", "1")
    }

    /// Has its tasks wait at its limit instead of being killed (version 1).
    pub fn disable_oom_killer(&self) -> Result<()> {
        self.write("memory.oom_control", "1")
    }

    /// The OOM kills that the kernel counted for it, and in version 2 also for its descendants.
    pub fn oom_kills(&self) -> Result<u64> {
        let file = if self.version() == Version::V1 { "memory.oom_control" } else { "memory.events" };
        keyed(&self.read(file)?, "oom_kill").with_context(|| format!("{file} has no oom_kill line"))
    }

    /// The count of one event in its memory.events (version 2); None where this kernel does not count it.
    pub fn event(&self, name: &str) -> Result<Option<u64>> {
        Ok(keyed(&self.read("memory.events")?, name))
    }

    /// Its id, which is its folder's inode number (kernfs, 5.5 and later on 64-bit machines).
    pub fn id(&self) -> Result<u64> {
        let dir = self.dir().with_context(|| format!("{} is not in the mounted part", self.path))?;
        Ok(fs::metadata(&dir).with_context(|| format!("cannot read {}", dir.display()))?.ino())
    }

    /// The file that a process writes 0 to in order to move here.
    pub fn procs_file(&self) -> Result<PathBuf> {
        let dir = self.dir().with_context(|| format!("{} is not in the mounted part", self.path))?;
        Ok(dir.join("cgroup.procs"))
    }

    /// Lets its children have the controller (version 2), or be charged to it too (version 1, where before 5.11 that is a
    /// choice for memory, and the top's is left as it is).
    pub fn enable_children(&self) -> Result<()> {
        match self.version() {
            Version::V2 => self.delegate(self.hierarchy.controller),
            Version::V1 if self.hierarchy.controller != "memory" => Ok(()),
            Version::V1 if *self == self.hierarchy.top() => Ok(()),
            Version::V1 if self.read("memory.use_hierarchy")?.trim() == "1" => Ok(()),
            Version::V1 => self.write("memory.use_hierarchy", "1"),
        }
    }

    /// The pids in it.
    pub fn members(&self) -> Result<Vec<i32>> {
        Ok(self.read("cgroup.procs")?.lines().filter_map(|line| line.parse().ok()).collect())
    }

    /// Whether it has such a file.
    fn has(&self, file: &str) -> bool {
        self.dir().is_some_and(|dir| dir.join(file).exists())
    }

    /// Reads one of its files.
    pub(super) fn read(&self, file: &str) -> Result<String> {
        let Some(dir) = self.dir() else { bail!("{} is not in the mounted part", self.path) };
        fs::read_to_string(dir.join(file)).with_context(|| format!("cannot read {file} of {}", self.path))
    }

    /// Writes one of its files.
    pub(super) fn write(&self, file: &str, value: &str) -> Result<()> {
        let Some(dir) = self.dir() else { bail!("{} is not in the mounted part", self.path) };
        fs::write(dir.join(file), value)
            .with_context(|| format!("cannot write {value} to {file} of {}", self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
        30 25 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
        31 30 0:27 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu\n\
        34 30 0:30 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
        35 30 0:31 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids\n\
        38 30 0:34 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";

    /// Guards hybrid machines, where version 2 is mounted too, without the memory controller.
    #[test]
    fn hybrid_machine_has_it_in_version_1() {
        let numbers =
            "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t1\t1\t1\nmemory\t4\t3\t1\npids\t8\t1\t1\n";
        let found = Hierarchy::choose("memory", HYBRID, numbers, |_| "hugetlb\n".to_owned()).unwrap();
        assert_eq!((found.version, found.id), (Version::V1, 4));
        assert_eq!(found.cgroup("/a/b").dir().unwrap(), Path::new("/sys/fs/cgroup/memory/a/b"));
        let lines = "8:pids:/p\n4:memory:/a:b/c\n1:name=systemd:/\n0::/u\n";
        assert_eq!(found.choose_line(lines), Some("/a:b/c"));
        let found = Hierarchy::choose("pids", HYBRID, numbers, |_| "hugetlb\n".to_owned()).unwrap();
        assert_eq!(
            (found.version, found.id, found.mount()),
            (Version::V1, 8, Path::new("/sys/fs/cgroup/pids"))
        );
    }

    /// Guards version 2, and a machine without the controller anywhere.
    #[test]
    fn unified_machine_and_none() {
        let mounts = "30 25 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n";
        let found = Hierarchy::choose("memory", mounts, "", |_| "cpu io memory pids\n".to_owned()).unwrap();
        assert_eq!((found.version, found.id), (Version::V2, 0));
        assert_eq!(Hierarchy::choose("memory", mounts, "", |_| "cpu\n".to_owned()), None);
        assert_eq!(found.choose_line("0::/a.scope\n"), Some("/a.scope"));
        assert_eq!(found.choose_line(""), None);
    }

    /// Guards paths where only a part of the hierarchy is mounted, as in a container.
    #[test]
    fn paths_below_a_mounted_part() {
        let mounts = "30 25 0:26 /pod/x /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        let found = Hierarchy::choose("memory", mounts, "", |_| "memory".to_owned()).unwrap();
        assert_eq!(found.top().child("a").path, "/pod/x/a");
        assert_eq!(found.top().child("a").dir().unwrap(), Path::new("/sys/fs/cgroup/a"));
        assert_eq!(found.cgroup("/other").dir(), None);
        let chain: Vec<_> = found.cgroup("/pod/x").chain().map(|cgroup| cgroup.path).collect();
        assert_eq!(chain, ["/pod/x", "/pod", "/"]);
    }
}
