//! Cgroups of the version 1 freezer, whose processes stand still whatever signal comes.

use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsmount, fsopen,
};

use crate::deadline::Deadline;

/// One such cgroup of our own. Dropping it lets its processes go, and removes it once they are gone.
#[derive(Debug)]
pub struct Freezer {
    folder: PathBuf,
    /// The hierarchy, mounted nowhere.
    _mount: OwnedFd,
}

impl Freezer {
    /// Makes one.
    pub fn new() -> Result<Self> {
        let mount = detached().context("the version 1 freezer cannot be had")?;
        let name = format!("oomtrace-tests-{}", std::process::id());
        let folder = PathBuf::from(format!("/proc/self/fd/{}/{name}", mount.as_raw_fd()));
        fs::create_dir(&folder).context("cannot make a cgroup of the freezer")?;
        Ok(Self { folder, _mount: mount })
    }

    /// Has process `pid` stand still.
    pub fn freeze(&self, pid: u64, deadline: Deadline) -> Result<()> {
        self.write("cgroup.procs", &pid.to_string())?;
        self.write("freezer.state", "FROZEN")?;
        // It says FREEZING until the last thread has come to where it stops; there is no notice of it.
        while self.state()? != "FROZEN" {
            deadline.left("a process to be frozen")?;
            sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    fn state(&self) -> Result<String> {
        let state = fs::read_to_string(self.folder.join("freezer.state"));
        Ok(state.context("cannot read freezer.state")?.trim().to_owned())
    }

    fn write(&self, file: &str, value: &str) -> Result<()> {
        fs::write(self.folder.join(file), value)
            .with_context(|| format!("cannot write {value} to {file} of the freezer"))
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        let _so_that_they_can_end = self.write("freezer.state", "THAWED");
        for _ in 0..1000 {
            if fs::remove_dir(&self.folder).is_ok() {
                return;
            }
            sleep(Duration::from_millis(5));
        }
        eprintln!("cannot remove a cgroup of the freezer");
    }
}

fn detached() -> rustix::io::Result<OwnedFd> {
    let filesystem = fsopen("cgroup", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_flag(&filesystem, "freezer")?;
    fsconfig_create(&filesystem)?;
    fsmount(&filesystem, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
}
