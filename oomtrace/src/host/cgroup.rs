//! Where the cgroups of a controller are, and which of them a process is in.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Cgroups that are looked at, at most: more than any machine has.
const FOLDERS: usize = 100_000;

/// The hierarchy that a controller is in.
#[derive(Clone, Debug)]
pub struct Hierarchy {
    /// Where it is mounted, below the root that was given.
    mount: PathBuf,
    /// Whether it is version 2's.
    unified: bool,
    /// How it is mounted.
    options: String,
}

impl Hierarchy {
    /// The one that has `controller`, on the machine below `root` (`/`).
    ///
    /// # Errors
    /// None is mounted whose root is the machine's, or what is mounted cannot be read.
    pub fn find(root: &Path, controller: &str) -> Result<Self, String> {
        let mounts = fs::read_to_string(root.join("proc/self/mountinfo"));
        let found = match &mounts {
            Ok(mounts) => mounts.lines().find_map(|line| Self::mounted(root, line, controller)),
            // A captured tree has no process that this could be read of.
            Err(_) => Self::customary(root, controller),
        };
        found.ok_or_else(|| match mounts {
            Ok(_) => format!("no cgroup hierarchy with the {controller} controller is mounted"),
            Err(error) => format!("/proc/self/mountinfo cannot be read: {error}"),
        })
    }

    /// That of a line of mountinfo, if it is the one.
    fn mounted(root: &Path, line: &str, controller: &str) -> Option<Self> {
        let (mount, of) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (top, point) = (fields.next()?, fields.next()?);
        let mut fields = of.split(' ');
        let (kind, options) = (fields.next()?, fields.nth(1)?);
        let mount = root.join(point.trim_start_matches('/'));
        let here = match kind {
            "cgroup" => options.split(',').any(|own| own == controller),
            "cgroup2" => controls(&mount, controller),
            _ => false,
        };
        let found = Self { mount, unified: kind == "cgroup2", options: options.to_owned() };
        (here && top == "/").then_some(found)
    }

    /// Where it is mounted by custom.
    fn customary(root: &Path, controller: &str) -> Option<Self> {
        let at = |folder: &str, unified| {
            let mount = root.join("sys/fs/cgroup").join(folder);
            let here = if unified { controls(&mount, controller) } else { mount.is_dir() };
            here.then(|| Self { mount, unified, options: String::new() })
        };
        at("", true).or_else(|| at(controller, false))
    }

    /// Whether it is version 2's.
    #[must_use]
    pub fn is_unified(&self) -> bool {
        self.unified
    }

    /// Whether it was mounted with this option.
    #[must_use]
    pub fn has_option(&self, option: &str) -> bool {
        self.options.split(',').any(|own| own == option)
    }

    /// Where it is mounted.
    #[must_use]
    pub fn mount(&self) -> &Path {
        &self.mount
    }

    /// The folder of a cgroup.
    #[must_use]
    pub fn folder(&self, cgroup: &str) -> PathBuf {
        self.mount.join(cgroup.trim_start_matches('/'))
    }

    /// What a file of a cgroup's has; `None`: it has no such file.
    #[must_use]
    pub fn text(&self, cgroup: &str, file: &str) -> Option<String> {
        fs::read_to_string(self.folder(cgroup).join(file)).ok()
    }

    /// All cgroups, the root (an empty path) first, and each after those that it is in.
    #[must_use]
    pub fn all(&self) -> Vec<String> {
        let mut found = vec![String::new()];
        let mut at = 0;
        while let Some(cgroup) = found.get(at).cloned().filter(|_| found.len() < FOLDERS) {
            at += 1;
            let Ok(entries) = fs::read_dir(self.folder(&cgroup)) else { continue };
            let folders = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            let mut names: Vec<_> =
                folders.filter_map(|entry| entry.file_name().to_str().map(str::to_owned)).collect();
            names.sort_unstable();
            found.extend(names.into_iter().map(|name| format!("{cgroup}/{name}")));
        }
        found
    }

    /// The cgroup of a process in this hierarchy, by its `/proc/PID/cgroup`.
    #[must_use]
    pub fn path_in<'a>(&self, text: &'a str, controller: &str) -> Option<&'a str> {
        text.lines().find_map(|line| {
            let (number, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            let own = if self.unified {
                number == "0" && controllers.is_empty()
            } else {
                controllers.split(',').any(|own| own == controller)
            };
            own.then_some(path)
        })
    }
}

/// Whether version 2 has a controller at its root.
fn controls(mount: &Path, controller: &str) -> bool {
    let text = fs::read_to_string(mount.join("cgroup.controllers")).unwrap_or_default();
    text.split_whitespace().any(|own| own == controller)
}

/// A cgroup and those above it, without the root.
pub fn upwards(cgroup: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(cgroup), |path| path.rsplit_once('/').map(|(above, _)| above))
        .filter(|path| path.len() > 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the way up: every level, and not the root.
    #[test]
    fn the_root_is_above_all() {
        assert_eq!(upwards("/a/b c/d").collect::<Vec<_>>(), ["/a/b c/d", "/a/b c", "/a"]);
        assert_eq!(upwards("/").count(), 0);
        assert_eq!(upwards("").count(), 0);
    }

    /// Guards captured trees: without a list of mounts a hierarchy is found where it is by custom, of either version.
    #[test]
    fn captured_trees_have_hierarchies() {
        let root = std::env::temp_dir().join(format!("oomtrace-hierarchy-{}", std::process::id()));
        let mount = root.join("sys/fs/cgroup");
        fs::create_dir_all(mount.join("memory/a/b")).unwrap();
        let first = Hierarchy::find(&root, "memory").unwrap();
        assert!(!first.is_unified() && Hierarchy::find(&root, "pids").is_err());
        assert_eq!(first.all(), ["", "/a", "/a/b"]);
        fs::write(mount.join("cgroup.controllers"), "cpu memory\n").unwrap();
        assert!(Hierarchy::find(&root, "memory").unwrap().is_unified());
        fs::remove_dir_all(root).unwrap();
    }

    /// Guards whose cgroup it is: of the hierarchy that has the controller, whatever the path has in it.
    #[test]
    fn a_process_has_a_cgroup_in_each_hierarchy() {
        const TEXT: &str = "9:name=systemd:/x\n4:cpu,memory:/a:b\n1:pids:/c\n0::/d\n";
        let of = |unified| Hierarchy { mount: PathBuf::new(), unified, options: String::new() };
        assert_eq!(of(true).path_in(TEXT, "memory"), Some("/d"));
        assert_eq!(of(false).path_in(TEXT, "memory"), Some("/a:b"));
        assert_eq!(of(false).path_in(TEXT, "pids"), Some("/c"));
        assert_eq!(of(false).path_in(TEXT, "hugetlb"), None);
    }
}
