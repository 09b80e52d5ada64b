//! The cgroups that mixtures are in.

use std::fs::File;

use anyhow::{Context, Result};

use crate::eater::Eater;
use crate::fork::cause::fill;
use crate::fork::ground::Ground;
use crate::size::MIB;
use crate::witness::cgroup::{Cgroup, Version};
use crate::witness::tree::Tree;

/// What the eater eats.
const EATEN: u64 = 8 * MIB;

/// A cgroup, and that two levels up.
#[derive(Debug)]
pub struct Place {
    /// The upper one.
    pub outer: Cgroup,
    /// The lower one, where forkers are.
    pub inner: Cgroup,
}

/// A memory cgroup at its limit, in which nobody may be killed.
#[derive(Debug)]
pub struct Full {
    /// Where it is.
    pub place: Place,
    /// Its limit, in bytes, which is the upper one's.
    pub limit: u64,
    _eater: Eater,
    /// The cgroup.procs file of the root, whose rights the kernel asks for when a task goes from here to elsewhere: as
    /// long as it is open, that takes no memory (`cgroup_procs_write_permission()`, kernel/cgroup/cgroup.c).
    _root: File,
}

impl Place {
    /// Makes it, and has the pids controller count there.
    pub fn make(tree: &Tree, name: &str) -> Result<Self> {
        let inner = tree.group(&format!("{name}/middle/inner"))?;
        let outer = tree.base().child(name);
        if inner.version() == Version::V2 {
            count_tasks(&inner)?;
        }
        Ok(Self { outer, inner })
    }
}

impl Full {
    /// Makes it, and fills it up.
    pub fn make(tree: &Tree, ground: &Ground<'_>) -> Result<Self> {
        let inner = tree.group("full/middle/inner")?;
        let outer = tree.base().child("full");
        let eaters = tree.group("full/eaters")?;
        if inner.version() == Version::V2 {
            count_tasks(&inner)?;
        }
        let (eater, limit) = fill(ground, &outer, &eaters, EATEN)?;
        let root = inner.chain().last().context("a cgroup has no root")?.procs_file()?;
        let root = File::open(&root).with_context(|| format!("cannot open {}", root.display()))?;
        Ok(Self { place: Place { outer, inner }, limit, _eater: eater, _root: root })
    }
}

/// Has the pids controller count in `cgroup` and all above it (version 2).
fn count_tasks(cgroup: &Cgroup) -> Result<()> {
    let chain: Vec<_> = cgroup.chain().skip(1).collect();
    chain.iter().rev().try_for_each(|above| above.delegate("pids"))
}
