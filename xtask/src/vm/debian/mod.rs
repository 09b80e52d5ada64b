//! A Debian with systemd for guests that need one: made once by debootstrap, then a disk for each guest.

mod image;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::apt::Release;
use crate::host::{self, Host};
use crate::setup::Debootstrap;
use crate::{cache, process, progress};

use super::package;
pub use image::Image;

/// What makes a minimal Debian one that boots.
const PACKAGES: &str = "systemd-sysv,udev,kmod,dbus";
/// What only installing further packages would need.
const LEFTOVERS: [&str; 3] = ["var/cache/apt", "var/lib/apt/lists", "var/log/bootstrap.log"];

/// The tree of a minimal system of the release that this machine runs, with systemd. It takes root to make one.
pub fn tree() -> Result<PathBuf> {
    let release = Release::of(&Host::detect()).context("a system with systemd comes from Debian")?;
    let place = cache::path("systems")?.join(release.codename());
    if place.is_dir() {
        return Ok(place);
    }
    ensure!(host::is_root(), "a system with systemd is made by debootstrap, which takes root");
    let _lock = cache::lock()?;
    // Another process may have made it while we waited.
    if !place.is_dir() {
        progress::step(&format!("Making a Debian {} for the guest", release.codename()), || {
            let staging = cache::staging()?;
            let root = staging.path().join("root");
            make(&release, &root)?;
            cache::install(&root, &place)
        })
        .context("a system with systemd cannot be had")?;
    }
    Ok(place)
}

fn make(release: &Release, root: &Path) -> Result<()> {
    let mut debootstrap = Debootstrap::get(release)?.command()?;
    debootstrap.args(["--variant=minbase", &format!("--include={PACKAGES}"), release.codename()]);
    process::output(debootstrap.arg(root).arg(release.mirror()?))?;
    remove_ballast(root, Path::new(""))
}

/// Removes what a guest can do without: two thirds of it all.
fn remove_ballast(root: &Path, folder: &Path) -> Result<()> {
    let unreadable = || format!("cannot list {}", root.join(folder).display());
    for entry in fs::read_dir(root.join(folder)).with_context(unreadable)? {
        let entry = entry.with_context(unreadable)?;
        let path = folder.join(entry.file_name());
        let kind = entry.file_type().with_context(unreadable)?;
        let remove =
            package::is_ballast(&path) || LEFTOVERS.iter().any(|leftover| path == Path::new(leftover));
        match (remove, kind.is_dir()) {
            (true, true) => fs::remove_dir_all(root.join(&path)),
            (true, false) => fs::remove_file(root.join(&path)),
            (false, true) => {
                remove_ballast(root, &path)?;
                Ok(())
            }
            (false, false) => Ok(()),
        }
        .with_context(|| format!("cannot remove {}", root.join(&path).display()))?;
    }
    Ok(())
}

/// Makes the next guest get a system of the newest packages.
pub fn forget_all() -> Result<()> {
    let dir = cache::path("systems")?;
    if dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards what is removed: documentation and package lists, and nothing of what makes a system.
    #[test]
    fn only_ballast_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        };
        let (kept, removed) = (
            ["usr/share/zoneinfo/UTC", "var/lib/apt/extended_states", "usr/bin/tool"],
            ["usr/share/doc/tool/copyright", "var/cache/apt/archives/tool.deb", "var/log/bootstrap.log"],
        );
        kept.iter().chain(&removed).for_each(|path| put(path));
        std::os::unix::fs::symlink("/nowhere", root.path().join("usr/bin/link")).unwrap();
        remove_ballast(root.path(), Path::new("")).unwrap();
        assert!(kept.iter().all(|path| root.path().join(path).exists()));
        assert!(removed.iter().all(|path| !root.path().join(path).exists()));
        assert!(root.path().join("usr/bin/link").is_symlink());
    }
}
