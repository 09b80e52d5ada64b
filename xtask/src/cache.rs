//! The folder that outlives `target/`: downloaded kernels, QEMU, the BPF linker.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::scratch;

/// A path below the cache folder: `$OOMTRACE_CACHE`, else `$XDG_CACHE_HOME/oomtrace`, else `~/.cache/oomtrace`.
/// Nothing is created.
pub fn path(relative: impl AsRef<Path>) -> Result<PathBuf> {
    Ok(root()?.join(relative))
}

fn root() -> Result<PathBuf> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let root = if let Some(root) = set("OOMTRACE_CACHE") {
        root
    } else if let Some(caches) = set("XDG_CACHE_HOME") {
        caches.join("oomtrace")
    } else if let Some(home) = set("HOME") {
        home.join(".cache/oomtrace")
    } else {
        bail!("there is no folder for the cache: set OOMTRACE_CACHE, XDG_CACHE_HOME or HOME");
    };
    std::path::absolute(&root).with_context(|| format!("cannot make {} absolute", root.display()))
}

/// A temporary folder inside the cache, so that what is made in it can be moved into place in one step.
pub fn staging() -> Result<TempDir> {
    scratch::folder_in(&root()?)
}

/// Puts a finished folder in its place in the cache, in the stead of what was there.
pub fn install(staged: &Path, place: &Path) -> Result<()> {
    if let Some(parent) = place.parent() {
        fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    }
    if place.exists() {
        fs::remove_dir_all(place).with_context(|| format!("cannot remove the old {}", place.display()))?;
    }
    fs::rename(staged, place).with_context(|| format!("cannot move the new {} into place", place.display()))
}

/// Waits until no other `cargo xtask` changes the cache, and keeps others out until the result is dropped.
pub fn lock() -> Result<File> {
    let root = root()?;
    fs::create_dir_all(&root).with_context(|| format!("cannot create {}", root.display()))?;
    let path = root.join("lock");
    let file = File::create(&path).with_context(|| format!("cannot open {}", path.display()))?;
    file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(file)
}
