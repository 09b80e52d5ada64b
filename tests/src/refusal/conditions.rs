//! What an oomtrace is started under: its user, its capabilities, the folders that it finds empty, the system calls
//! that fail, its cgroup.

use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::write;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::{
    CapabilitySet, CapabilitySets, Gid, Uid, UnshareFlags, configure_capability_in_ambient_set,
    remove_capability_from_bounding_set, set_capabilities, set_keep_capabilities, set_thread_gid,
    set_thread_groups, set_thread_uid, unshare_unsafe,
};

use super::denial::{Denial, Filter};
use crate::witness::cgroup::Cgroup;

/// The user without rights.
pub const NOBODY: u32 = 65_534;

/// See the module. Without anything: those of the scenarios themselves.
#[derive(Debug, Clone, Default)]
pub struct Conditions {
    rights: Rights,
    locked_bytes: Option<u64>,
    emptied: Vec<CString>,
    denials: Vec<Filter>,
    cgroup_procs: Option<CString>,
}

/// What a process may do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Rights {
    /// What the scenarios may.
    #[default]
    Ours,
    /// All of that but these capabilities.
    Without(CapabilitySet),
    /// Nothing but these: another user with no group.
    Nobody(CapabilitySet),
}

impl Conditions {
    /// With these rights.
    #[must_use]
    pub fn rights(self, rights: Rights) -> Self {
        Self { rights, ..self }
    }

    /// With so many bytes that may be locked.
    #[must_use]
    pub fn locked(self, bytes: u64) -> Self {
        Self { locked_bytes: Some(bytes), ..self }
    }

    /// With these folders found empty, as far as there are such, in a mount namespace of its own.
    pub fn empty(mut self, folders: &[&str]) -> Result<Self> {
        for folder in folders.iter().map(Path::new).filter(|folder| folder.is_dir()) {
            self.emptied.push(c_path(folder)?);
        }
        Ok(self)
    }

    /// With a system call that fails.
    #[must_use]
    pub fn deny(mut self, denial: Denial) -> Self {
        self.denials.push(denial.filter());
        self
    }

    /// In `cgroup` from the beginning.
    pub fn within(self, cgroup: &Cgroup) -> Result<Self> {
        Ok(Self { cgroup_procs: Some(c_path(&cgroup.procs_file()?)?), ..self })
    }

    /// Has the child that `command` starts begin under these conditions.
    pub fn impose(&self, command: &mut Command) {
        let conditions = self.clone();
        // SAFETY: between fork and exec only async-signal-safe things may be done. All that was allocated was so
        // before, and what follows are system calls.
        unsafe { command.pre_exec(move || Ok(conditions.take_on()?)) };
    }

    /// Takes them on, the rights last: the others take rights.
    fn take_on(&self) -> rustix::io::Result<()> {
        if let Some(file) = &self.cgroup_procs {
            write(open(file.as_c_str(), OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?, b"0")?;
        }
        if let Some(bytes) = self.locked_bytes {
            setrlimit(Resource::Memlock, Rlimit { current: Some(bytes), maximum: Some(bytes) })?;
        }
        if !self.emptied.is_empty() {
            // SAFETY: of what threads share, descriptors and memory are not concerned.
            unsafe { unshare_unsafe(UnshareFlags::NEWNS)? };
            mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        }
        for folder in &self.emptied {
            let none: Option<&CStr> = None;
            mount(c"none", folder.as_c_str(), c"tmpfs", MountFlags::empty(), none)?;
        }
        for denial in &self.denials {
            denial.install()?;
        }
        self.rights.take_on()
    }
}

impl Rights {
    /// Takes them on, so that they last beyond exec.
    fn take_on(self) -> rustix::io::Result<()> {
        match self {
            Self::Ours => {}
            // What root may after exec is what the bounding set lets through.
            Self::Without(lacking) => {
                for capability in lacking.iter() {
                    remove_capability_from_bounding_set(capability)?;
                }
            }
            // Others keep what is in the ambient set.
            Self::Nobody(kept) => {
                set_keep_capabilities(true)?;
                set_thread_groups(&[])?;
                set_thread_gid(Gid::from_raw(NOBODY))?;
                set_thread_uid(Uid::from_raw(NOBODY))?;
                let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: kept };
                set_capabilities(None, sets)?;
                for capability in kept.iter() {
                    configure_capability_in_ambient_set(capability, true)?;
                }
            }
        }
        Ok(())
    }
}

/// A path for the system.
fn c_path(path: &Path) -> Result<CString> {
    CString::new(path.as_os_str().as_bytes()).context("a path cannot hold a NUL")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rustix::io::Errno;
    use rustix::process::geteuid;

    use super::*;

    /// What a child under these conditions prints.
    fn printed(conditions: &Conditions, script: &str) -> String {
        let mut command = Command::new("sh");
        conditions.impose(command.args(["-c", script]));
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    }

    /// Guards the rights themselves: a case that runs with more than it says would prove nothing.
    #[test]
    fn rights_are_what_the_kernel_says() {
        if !geteuid().is_root() {
            return;
        }
        let status = |rights| printed(&Conditions::default().rights(rights), "cat /proc/self/status");
        let effective = |status: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix("CapEff:\t")).unwrap();
            CapabilitySet::from_bits_retain(u64::from_str_radix(line, 16).unwrap())
        };
        let (ours, bpf) = (status(Rights::Ours), CapabilitySet::BPF);
        assert_eq!(effective(&status(Rights::Without(bpf))), effective(&ours) - bpf);
        for kept in [CapabilitySet::empty(), bpf & effective(&ours)] {
            let nobody = status(Rights::Nobody(kept));
            assert_eq!(effective(&nobody), kept);
            assert!(nobody.contains("Uid:\t65534\t65534\t65534\t65534\n"), "{nobody}");
            assert!(nobody.contains("Groups:\t \n"), "{nobody}");
        }
    }

    /// Guards the emptied folders: the child finds them empty, and nobody else does.
    #[test]
    fn folders_are_emptied_for_the_child_alone() {
        if !geteuid().is_root() {
            return;
        }
        let conditions = Conditions::default().empty(&["/sys", "/no such folder"]).unwrap();
        assert_eq!(conditions.emptied, [c"/sys".to_owned()]);
        assert_eq!(printed(&conditions, "ls /sys; echo done"), "done\n");
        assert!(fs::read_dir("/sys").unwrap().next().is_some());
    }

    /// Guards the denied calls: they fail, with their first argument or any, and others do not.
    #[test]
    fn denied_calls_fail_for_the_child_alone() {
        if !geteuid().is_root() {
            return;
        }
        let umask_printed = |first| {
            let denial = Denial { call: libc::SYS_umask, first, error: Errno::BADMSG };
            printed(&Conditions::default().deny(denial), "umask 22; umask")
        };
        let (fails, works) = (umask_printed(Some(0o22)), umask_printed(Some(0o77)));
        assert_ne!(umask_printed(None).trim(), "0022");
        assert_ne!(fails, works);
        assert_eq!(works.trim(), "0022");
    }
}
