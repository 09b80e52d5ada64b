//! busybox for the guests: the system's, else Debian's static one unpacked into the cache.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::apt::Release;
use crate::host::Host;
use crate::{cache, process, progress};

/// The busybox of the cache or of the system.
pub fn find() -> Result<Option<PathBuf>> {
    let cached =
        ["usr/bin/busybox", "bin/busybox"].map(|path| cache::path("busybox").map(|root| root.join(path)));
    for path in cached {
        let path = path?;
        if path.is_file() {
            return Ok(Some(path));
        }
    }
    Ok(process::find("busybox"))
}

/// Unpacks Debian's static busybox into the cache.
pub fn download(host: &Host) -> Result<PathBuf> {
    progress::step("Downloading busybox", || {
        let staging = cache::staging()?;
        let root = staging.path().join("root");
        Release::of(host)?.for_host()?.unpack_with_dependencies(&["busybox-static"], None, &root)?;
        cache::install(&root, &cache::path("busybox")?)
    })?;
    find()?.context("the busybox that was downloaded is not where it should be")
}

/// Replaces the cache's busybox, if it has one.
pub fn update(host: &Host) -> Result<()> {
    if cache::path("busybox")?.exists() { download(host).map(drop) } else { Ok(()) }
}
