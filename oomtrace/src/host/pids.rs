//! What the pids controller's files tell of forks that it refused.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::cgroup::Hierarchy;

/// The controller's hierarchy.
#[derive(Debug)]
pub struct Pids {
    hierarchy: Hierarchy,
    /// Whether forks are counted where the limit is. Else they are counted where they are made.
    by_limit: bool,
}

/// A cgroup's count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// Tells it from an earlier cgroup of the same path.
    pub inode: u64,
    /// Forks that were refused since it was made.
    pub refused: u64,
}

/// How full a cgroup is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// `pids.max`; `None`: there is no limit.
    pub limit: Option<u64>,
    /// `pids.current`.
    pub usage: u64,
}

impl Room {
    /// Whether there is no room for one more.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.limit.is_some_and(|limit| self.usage >= limit)
    }
}

impl Pids {
    /// Finds it below `root` (`/`): why not, if it is not there.
    pub fn find(root: &Path) -> Result<Self, String> {
        let hierarchy = Hierarchy::find(root, "pids")?;
        // Since 6.11, unless the old way was asked for (kernel/cgroup/pids.c, pids_event()): then the file for local events is
        // there as well, and has what the other has.
        let by_limit = hierarchy.is_unified()
            && !hierarchy.has_option("pids_localevents")
            && has_local_events(hierarchy.mount());
        Ok(Self { hierarchy, by_limit })
    }

    /// Whether forks are counted where the limit is, and not where they are made.
    #[must_use]
    pub fn counts_by_limit(&self) -> bool {
        self.by_limit
    }

    /// Whether whoever watches a count is told that it moves (`cgroup_file_notify()`).
    #[must_use]
    pub fn notifies(&self) -> bool {
        // As seen on 6.18; the files of version 1 have notified nobody since those for local events came (6.11).
        self.hierarchy.is_unified()
    }

    /// The file with a cgroup's count.
    #[must_use]
    pub fn file(&self, cgroup: &str) -> PathBuf {
        self.hierarchy.folder(cgroup).join(if self.by_limit { "pids.events.local" } else { "pids.events" })
    }

    /// A cgroup's count; `None` where there is none: it is gone, or the root.
    #[must_use]
    pub fn count(&self, cgroup: &str) -> Option<Count> {
        let file = self.file(cgroup);
        let text = fs::read_to_string(&file).ok()?;
        let refused = text.lines().find_map(|line| line.strip_prefix("max "))?.trim().parse().ok()?;
        Some(Count { inode: fs::metadata(&file).ok()?.ino(), refused })
    }

    /// How full a cgroup is.
    #[must_use]
    pub fn room(&self, cgroup: &str) -> Option<Room> {
        let text = |name: &str| self.hierarchy.text(cgroup, name);
        let limit = text("pids.max")?.trim().parse().ok();
        Some(Room { limit, usage: text("pids.current")?.trim().parse().ok()? })
    }

    /// Every cgroup that has refused a fork so far, or has had one refused, with its count.
    #[must_use]
    pub fn refusing(&self) -> Vec<(String, Count)> {
        let counted = self.hierarchy.all().into_iter().filter_map(|cgroup| {
            let count = self.count(&cgroup).filter(|count| count.refused > 0)?;
            Some((cgroup, count))
        });
        counted.collect()
    }

    /// Every cgroup, the root (an empty path) first.
    #[must_use]
    pub fn all(&self) -> Vec<String> {
        self.hierarchy.all()
    }
}

/// Whether any cgroup has the file: the root has none.
fn has_local_events(mount: &Path) -> bool {
    let Ok(entries) = fs::read_dir(mount) else { return false };
    entries.flatten().any(|entry| entry.path().join("pids.events.local").exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards which hierarchy it is, and where forks are counted there, by what kernels of either kind have.
    #[test]
    fn the_hierarchy_is_found() {
        let root = std::env::temp_dir().join(format!("oomtrace-pids-{}", std::process::id()));
        let mount = root.join("sys/fs/cgroup");
        fs::create_dir_all(mount.join("a/b")).unwrap();
        fs::create_dir_all(root.join("proc/self")).unwrap();
        let find = |lines: &str| {
            fs::write(root.join("proc/self/mountinfo"), lines).unwrap();
            Pids::find(&root)
        };
        let unified = "31 24 0:27 / /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        assert!(find("22 28 0:21 / /proc rw - proc proc rw\n").is_err());
        // Hybrid: version 2 is there, without controllers.
        fs::write(mount.join("cgroup.controllers"), "").unwrap();
        assert!(find(unified).is_err());
        fs::write(mount.join("cgroup.controllers"), "cpu memory pids\n").unwrap();
        assert!(!find(unified).unwrap().counts_by_limit());
        fs::write(mount.join("a/pids.events.local"), "max 3\n").unwrap();
        fs::write(mount.join("a/b/pids.events.local"), "max 0\n").unwrap();
        fs::write(mount.join("a/pids.max"), "7\n").unwrap();
        fs::write(mount.join("a/pids.current"), "7\n").unwrap();
        fs::write(mount.join("a/b/pids.max"), "max\n").unwrap();
        fs::write(mount.join("a/b/pids.current"), "7\n").unwrap();
        let pids = find(unified).unwrap();
        assert!(pids.counts_by_limit());
        let refusing = pids.refusing();
        assert_eq!(
            refusing.iter().map(|(path, count)| (path.as_str(), count.refused)).collect::<Vec<_>>(),
            [("/a", 3)]
        );
        assert_eq!(pids.count("/gone"), None);
        assert!(pids.room("/a").is_some_and(|room| room.is_full()));
        assert!(pids.room("/a/b").is_some_and(|room| !room.is_full()));
        assert!(!find(&unified.replace("nsdelegate", "pids_localevents")).unwrap().counts_by_limit());
        let first = "40 39 0:36 / /sys/fs/cgroup rw,relatime - cgroup cgroup rw,pids\n";
        assert!(!find(first).unwrap().counts_by_limit());
        assert!(find(&first.replace("0:36 / ", "0:36 /docker/1 ")).is_err());
        fs::remove_dir_all(root).unwrap();
    }
}
