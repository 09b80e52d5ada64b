//! Debian packages for the guest: unpacked into the cache, from the release that this machine runs.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::apt::Release;
use crate::host::Host;
use crate::{cache, progress};

/// The tree of a package with everything that it depends on, the C library included.
pub fn tree(name: &str) -> Result<PathBuf> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c);
    ensure!(
        name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(plain),
        "{name} cannot be the name of a package"
    );
    let release = Release::of(&Host::detect()).with_context(|| format!("{name} comes from Debian"))?;
    let place = cache::path("packages")?.join(release.codename()).join(name);
    if place.is_dir() {
        return Ok(place);
    }
    let _lock = cache::lock()?;
    // Another process may have fetched it while we waited.
    if !place.is_dir() {
        progress::step(&format!("Downloading {name}"), || {
            let staging = cache::staging()?;
            let root = staging.path().join("root");
            release.for_guest()?.unpack_with_dependencies(&[name], None, &root)?;
            cache::install(&root, &place)
        })
        .with_context(|| format!("the package {name} cannot be had"))?;
    }
    Ok(place)
}

/// The container runtime that the scenario `runtime` starts its container with.
pub fn runc() -> Result<PathBuf> {
    Ok(tree("runc")?.join("usr/sbin/runc"))
}

/// The daemon that the scenario `userspace_kill` has kill in guests.
pub fn earlyoom() -> Result<PathBuf> {
    Ok(tree("earlyoom")?.join("usr/bin/earlyoom"))
}

/// The folder with `prometheus` and `promtool`, which the scenario `agent_prometheus` and the checks of rules run on this machine.
pub fn prometheus() -> Result<PathBuf> {
    Ok(tree("prometheus")?.join("usr/bin"))
}

/// Empties the cache of packages, so that the next guest gets the newest.
pub fn forget_all() -> Result<()> {
    let dir = cache::path("packages")?;
    if dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    Ok(())
}

/// Whether a guest can do without a file of a package.
pub fn is_ballast(path: &Path) -> bool {
    ["usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "usr/share/lintian"]
        .iter()
        .any(|dir| path.starts_with(dir))
}
