//! A controller that is moved to a hierarchy of version 1, on a machine that was made for it, and back.

use std::ffi::{CStr, CString};
use std::fs;
use std::io::Error;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::deadline::Deadline;
use crate::witness::cgroup::{Hierarchy, Version};

/// A controller in version 1.
#[derive(Debug)]
pub struct Legacy {
    controller: &'static CStr,
    mount: PathBuf,
}

impl Legacy {
    /// Mounts its hierarchy, as soon as the last cgroup of version 2 that was removed is gone.
    pub fn take_over(controller: &'static CStr, mount: &Path) -> Result<Self> {
        let legacy = Self { controller, mount: mount.to_owned() };
        for _ in 0..20 {
            if legacy.take().is_ok() {
                return Ok(legacy);
            }
            fs::write("/proc/sys/vm/drop_caches", "3").context("cannot drop caches")?;
            sleep(Duration::from_millis(200));
        }
        legacy.take().map(|()| legacy)
    }

    /// Its hierarchy.
    pub fn hierarchy(&self) -> Result<Hierarchy> {
        let hierarchy = Hierarchy::of(self.name()?)?.filter(|hierarchy| hierarchy.version == Version::V1);
        hierarchy.context("the hierarchy of version 1 is not found")
    }

    /// Unmounts it, again and again until version 2 has it back: a cgroup that was removed is there for as long as a page is
    /// charged to it, and keeps its hierarchy if that is unmounted meanwhile (`cgroup_kill_sb()`, kernel/cgroup/cgroup.c).
    pub fn give_back(self, deadline: Deadline) -> Result<()> {
        let path = self.path()?;
        loop {
            fs::write("/proc/sys/vm/drop_caches", "3").context("cannot drop caches")?;
            // SAFETY: the path ends with NUL.
            if unsafe { libc::umount2(path.as_ptr(), 0) } != 0 {
                return Err(Error::last_os_error()).context("cannot unmount a controller");
            }
            for _ in 0..10 {
                sleep(Duration::from_millis(20));
                if Hierarchy::of(self.name()?)?.is_some_and(|hierarchy| hierarchy.version == Version::V2) {
                    return Ok(());
                }
            }
            deadline.left("a controller to return to version 2")?;
            self.take()?;
        }
    }

    fn name(&self) -> Result<&'static str> {
        self.controller.to_str().context("a controller's name is not UTF-8")
    }

    fn path(&self) -> Result<CString> {
        CString::new(self.mount.as_os_str().as_bytes()).context("a path cannot hold a NUL")
    }

    fn take(&self) -> Result<()> {
        let (name, path) = (self.controller.as_ptr(), self.path()?);
        fs::create_dir_all(&self.mount).with_context(|| format!("cannot make {}", self.mount.display()))?;
        // SAFETY: all are strings that end with NUL.
        let result = unsafe { libc::mount(name, path.as_ptr(), c"cgroup".as_ptr(), 0, name.cast()) };
        if result == 0 { Ok(()) } else { Err(Error::last_os_error()).context("mount") }
    }
}
