//! debootstrap, which makes a Debian system in a folder: the system's own, else Debian's unpacked into the cache.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::apt::Release;
use crate::{cache, process, progress};

/// Makes the next use download the newest.
pub fn forget() -> Result<()> {
    let dir = cache::path("debootstrap")?;
    if dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    Ok(())
}

/// A program of shell scripts, and where they are.
#[derive(Clone, Debug)]
pub struct Debootstrap {
    program: PathBuf,
    /// The tree that it was unpacked into, when it is not installed.
    root: Option<PathBuf>,
}

impl Debootstrap {
    /// The system's or the cache's, downloaded first where there is neither.
    pub fn get(release: &Release) -> Result<Self> {
        if let Some(program) = process::find("debootstrap") {
            return Ok(Self { program, root: None });
        }
        let root = cache::path("debootstrap")?;
        let program = root.join("usr/sbin/debootstrap");
        if !program.is_file() {
            progress::step("Downloading debootstrap", || {
                let staging = cache::staging()?;
                let unpacked = staging.path().join("root");
                release.for_host()?.unpack_with_dependencies(&["debootstrap"], None, &unpacked)?;
                cache::install(&unpacked, &root)
            })
            .context("debootstrap cannot be had")?;
        }
        Ok(Self { program, root: Some(root) })
    }

    /// A command that starts it.
    pub fn command(&self) -> Result<Command> {
        let mut command = Command::new(&self.program);
        if let Some(root) = &self.root {
            command.env("DEBOOTSTRAP_DIR", root.join("usr/share/debootstrap"));
            // With what it depends on and this machine lacks (wget).
            command.env("PATH", process::path_with(&root.join("usr/bin"))?);
        }
        Ok(command)
    }
}
