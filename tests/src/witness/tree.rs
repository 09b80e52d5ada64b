//! A throwaway subtree of the memory hierarchy, removed with everything in it.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::witness::cgroup::{Cgroup, Hierarchy};

/// What the name of every base begins with.
const PREFIX: &str = "oomtrace-";
/// How long a cgroup may take to become removable after its last member died.
const REMOVAL: Duration = Duration::from_secs(5);

/// The subtree. Dropping it kills whatever still lives in it and removes it.
#[derive(Debug)]
pub struct Tree {
    base: Cgroup,
}

impl Tree {
    /// Makes the base, below the top of what is mounted, with a name that is this process's own.
    pub fn new(hierarchy: &Hierarchy, name: &str) -> Result<Self> {
        let top = hierarchy.top();
        top.enable_children()?;
        let tree = Self { base: top.child(&format!("{PREFIX}{}-{name}", std::process::id())) };
        make(&tree.base)?;
        Ok(tree)
    }

    /// The base, which is for no process: in version 2 its children would have no controllers then.
    #[must_use]
    pub fn base(&self) -> &Cgroup {
        &self.base
    }

    /// Makes the cgroup at `path` below the base, and its ancestors.
    pub fn group(&self, path: &str) -> Result<Cgroup> {
        let mut cgroup = self.base.clone();
        for name in path.split('/') {
            cgroup.enable_children()?;
            cgroup = cgroup.child(name);
            make(&cgroup)?;
        }
        Ok(cgroup)
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let Some(dir) = self.base.dir() else { return };
        if let Err(error) = remove(&self.base, &dir) {
            eprintln!("cannot clean up: {error:#}");
        }
    }
}

/// Removes what runs that were interrupted have left behind. Only for who knows that no other run is under way.
pub fn sweep(hierarchy: &Hierarchy) -> Result<()> {
    let (top, mount) = (hierarchy.top(), hierarchy.mount());
    let children = fs::read_dir(mount).with_context(|| format!("cannot list {}", mount.display()))?;
    for child in children.filter_map(Result::ok) {
        let name = child.file_name().to_string_lossy().into_owned();
        if child.path().is_dir() && is_base(&name) {
            remove(&top.child(&name), &child.path())?;
        }
    }
    Ok(())
}

/// Whether a cgroup's name is one that [`Tree::new`] makes: the prefix, a pid, a dash and the scenario.
fn is_base(name: &str) -> bool {
    let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-')).map(|(pid, _)| pid);
    pid.is_some_and(|pid| !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Makes one cgroup, unless it is there.
fn make(cgroup: &Cgroup) -> Result<()> {
    let dir = cgroup.dir().with_context(|| format!("{} is not in the mounted part", cgroup.path))?;
    if dir.is_dir() {
        return Ok(());
    }
    fs::create_dir(&dir).with_context(|| format!("cannot make the cgroup {}; run as root", dir.display()))
}

/// Removes a cgroup, its descendants first. A member that was just killed keeps it busy until it is gone, of
/// which the kernel gives no notice in version 1, so this tries again for a while.
pub fn remove(cgroup: &Cgroup, dir: &Path) -> Result<()> {
    let children = fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))?;
    for child in children.filter_map(Result::ok) {
        if child.path().is_dir() {
            remove(&cgroup.child(&child.file_name().to_string_lossy()), &child.path())?;
        }
    }
    let end = Instant::now() + REMOVAL;
    loop {
        for pid in cgroup.members()?.into_iter().filter_map(Pid::from_raw) {
            let _gone_is_fine = kill_process(pid, Signal::KILL);
        }
        match fs::remove_dir(dir) {
            Ok(()) => return Ok(()),
            Err(_) if Instant::now() < end => sleep(Duration::from_millis(10)),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot remove the cgroup {}", dir.display()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards other people's cgroups: only what a run made itself is swept away.
    #[test]
    fn only_own_bases_are_swept() {
        assert!(is_base("oomtrace-4121-memcg_self"));
        for name in
            ["oomtrace", "oomtrace-agent-x", "oomtrace--x", "oomtrace-12", "system.slice", "xoomtrace-1-y"]
        {
            assert!(!is_base(name), "{name}");
        }
    }
}
