//! The disk that such a guest starts from: the system's tree, and what the guest has besides.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::vm::libraries;
use crate::vm::module::Module;
use crate::{cache, process};

/// What the disk holds at most; it takes up what is written to it.
const SIZE: &str = "1G";
/// The unit that runs the guest's command at each start, and what it runs.
const UNIT: &str = include_str!("guest.service");
const RUN: &str = include_str!("run.sh");
/// systemd-pstore(8) waits for the module of EFI alone; ramoops is there only once the list of modules was loaded.
const PSTORE: &str = "[Unit]\nWants=systemd-modules-load.service\nAfter=systemd-modules-load.service\n";
/// A machine without an id is one that starts for the first time, at which all units are enabled that can be.
const MACHINE_ID: &str = "0123456789abcdef0123456789abcdef\n";

/// A system's tree in the making. Paths in it are from the root on.
pub struct Image {
    /// Beside the cached tree, so that files can be shared between the two.
    staging: TempDir,
}

impl Image {
    /// The system of that tree, with a unit that runs `command` (a shell script).
    pub fn new(tree: &Path, command: &[u8]) -> Result<Self> {
        let image = Self { staging: cache::staging()? };
        // Hard links: nothing of it is ever written to, only replaced.
        process::output(Command::new("cp").args(["-al", "--"]).arg(tree).arg(image.root()))?;
        image.text("/etc/machine-id", 0o444, MACHINE_ID)?;
        image.text("/etc/hostname", 0o644, "guest\n")?;
        image.text("/etc/guest/run", 0o755, RUN)?;
        image.text("/etc/guest/command", 0o644, command)?;
        image.text("/etc/systemd/system/guest.service", 0o644, UNIT)?;
        image.text("/etc/systemd/system/systemd-pstore.service.d/guest.conf", 0o644, PSTORE)?;
        for folder in ["artifacts", "var/log/journal"] {
            let folder = image.root().join(folder);
            fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        }
        image.enable(&["guest.service"])?;
        // Nobody logs in, and there is no network to get packages from.
        image.mask(&["getty.target", "apt-daily.timer", "apt-daily-upgrade.timer", "e2scrub_all.timer"])?;
        Ok(image)
    }

    fn root(&self) -> PathBuf {
        self.staging.path().join("root")
    }

    /// A file with this content, in place of the one that is there.
    pub fn text(&self, path: impl AsRef<Path>, mode: u32, content: impl AsRef<[u8]>) -> Result<()> {
        let place = self.vacated(path.as_ref())?;
        fs::write(&place, content)
            .and_then(|()| fs::set_permissions(&place, fs::Permissions::from_mode(mode)))
            .with_context(|| format!("cannot write {}", place.display()))
    }

    /// A file or a folder of this machine; programs bring the libraries that the system lacks.
    pub fn program(&self, from: &Path, to: &Path) -> Result<()> {
        let from = from.canonicalize().with_context(|| format!("cannot open {}", from.display()))?;
        self.copy(&from, to)?;
        if from.is_file() {
            for library in libraries::of(&from)? {
                // The system's own come first: they fit together.
                if !self.root().join(relative(&library.to)?).exists() {
                    self.copy(&library.from.canonicalize()?, &library.to)?;
                }
            }
        }
        Ok(())
    }

    fn copy(&self, from: &Path, to: &Path) -> Result<()> {
        let place = self.vacated(to)?;
        process::output(
            Command::new("cp").args(["-a", "--no-preserve=ownership", "--"]).arg(from).arg(place),
        )?;
        Ok(())
    }

    /// The place of a file in the tree, with its folder there and nothing in it: what is there may be the cache's too.
    fn vacated(&self, path: &Path) -> Result<PathBuf> {
        let place = self.root().join(relative(path)?);
        if let Some(folder) = place.parent() {
            fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        }
        if place.is_symlink() || place.is_file() {
            fs::remove_file(&place).with_context(|| format!("cannot replace {}", place.display()))?;
        }
        Ok(place)
    }

    /// Has these modules loaded at each start, before anything that comes after systemd-modules-load.service.
    pub fn modules(&self, release: &str, modules: &[Module]) -> Result<()> {
        let (mut names, mut options) = (String::new(), String::new());
        for Module { name, parameters, content } in modules {
            writeln!(names, "{name}")?;
            if !parameters.is_empty() {
                writeln!(options, "options {name} {parameters}")?;
            }
            self.text(format!("/usr/lib/modules/{release}/kernel/{name}.ko"), 0o644, content)?;
        }
        self.text("/etc/modules-load.d/guest.conf", 0o644, names)?;
        self.text("/etc/modprobe.d/guest.conf", 0o644, options)?;
        self.chroot(&["depmod", release])
    }

    /// Enables units as an operator does.
    pub fn enable(&self, units: &[&str]) -> Result<()> {
        self.chroot(&[&["systemctl", "--quiet", "enable"], units].concat())
    }

    fn mask(&self, units: &[&str]) -> Result<()> {
        for unit in units {
            let place = self.vacated(&Path::new("/etc/systemd/system").join(unit))?;
            symlink("/dev/null", &place).with_context(|| format!("cannot write {}", place.display()))?;
        }
        Ok(())
    }

    fn chroot(&self, command: &[&str]) -> Result<()> {
        process::output(Command::new("chroot").arg(self.root()).args(command)).map(drop)
    }

    /// Writes the disk, as one file system without a table of partitions.
    pub fn write(&self, to: &Path) -> Result<()> {
        let mut mke2fs = Command::new("mke2fs");
        mke2fs.args(["-q", "-t", "ext4", "-d"]).arg(self.root()).arg(to).arg(SIZE);
        process::output(&mut mke2fs).map(drop).context("the guest's disk cannot be made")
    }
}

/// A path without its root, which must not lead out of the tree.
fn relative(path: &Path) -> Result<PathBuf> {
    let plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    ensure!(plain, "{} is no path for a guest's file", path.display());
    Ok(path.components().filter(|part| matches!(part, Component::Normal(_))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the cached tree: what a guest replaces stays as it was there.
    #[test]
    fn the_cached_tree_is_never_written_to() {
        let tree = tempfile::tempdir().unwrap();
        fs::create_dir_all(tree.path().join("etc")).unwrap();
        fs::write(tree.path().join("etc/hostname"), "old").unwrap();
        let staging = tempfile::tempdir_in(tree.path().parent().unwrap()).unwrap();
        let image = Image { staging };
        let mut copy = Command::new("cp");
        process::output(copy.args(["-al", "--"]).arg(tree.path()).arg(image.root())).unwrap();
        image.text("/etc/hostname", 0o644, "new").unwrap();
        assert_eq!(fs::read_to_string(tree.path().join("etc/hostname")).unwrap(), "old");
        assert_eq!(fs::read_to_string(image.root().join("etc/hostname")).unwrap(), "new");
    }

    /// Guards this machine's files against a path that leaves the tree.
    #[test]
    fn paths_stay_in_the_tree() {
        assert_eq!(relative(Path::new("/etc/x")).unwrap(), Path::new("etc/x"));
        assert!(relative(Path::new("/etc/../../x")).is_err());
    }
}
