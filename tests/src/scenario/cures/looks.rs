//! Machines that run out of memory over what somebody else holds, whom a command is to show.

use std::fs::{self, File};

use anyhow::{Context, Result};
use rustix::fs::{FallocateFlags, fallocate};

use super::ground::Ground;
use super::machine::{PLAIN, eat, fitting};
use crate::eat::Eat;
use crate::machine::available_bytes;
use crate::size::MIB;

/// Who is large may not be killed.
pub fn shielded(ground: &mut Ground<'_, '_>) -> Result<()> {
    let fitting = fitting()?;
    let giant = Eat { adj: Some(-1000), ..eat(available_bytes()? / 3 * 2) };
    let mut giant = ground.eater("giant", &giant, None)?;
    giant.fill_and_hold(ground.stage.deadline)?;
    let eater = ground.eater("small", &fitting, None)?;
    let incident = ground.dies(eater, &["shielded-giant", PLAIN[0], PLAIN[1]])?;
    let shown = ground.look(&incident, "shielded-giant")?;
    let last = shown.lines().last().unwrap_or_default();
    let pid = giant.pid().to_string();
    ground.stage.checks.that(last.split_whitespace().nth(1) == Some(&pid), || {
        format!("{pid} is the largest, and what is shown ends in {last:?}")
    });
    Ok(())
}

/// A file in a tmpfs.
pub fn tmpfs(ground: &mut Ground<'_, '_>) -> Result<()> {
    const FILE: &str = "/dev/shm/oomtrace-tests-filler";
    let fitting = fitting()?;
    let size = ground.stage.machine.memory_bytes / 5 * 2;
    let file = File::create(FILE).with_context(|| format!("cannot make {FILE}"))?;
    fallocate(&file, FallocateFlags::empty(), 0, size).with_context(|| format!("cannot fill {FILE}"))?;
    drop(file);
    let eater = ground.eater("beside-files", &fitting, None)?;
    let shown =
        ground.dies(eater, &["shmem", "swap-none"]).and_then(|incident| ground.look(&incident, "shmem"));
    fs::remove_file(FILE).with_context(|| format!("cannot remove {FILE}"))?;
    let (shown, mib) = (shown?, format!("{}M", size.div_ceil(MIB)));
    let is_shown = |line: &str| line.ends_with("/dev/shm") && line.contains(&mib);
    ground.stage.checks.that(shown.lines().any(is_shown), || format!("/dev/shm has {mib}: {shown}"));
    ground.lives(&mut ground.eater("beside-files", &fitting, None)?)
}

/// Locked memory.
pub fn locked(ground: &mut Ground<'_, '_>) -> Result<()> {
    let fitting = fitting()?;
    let locking = Eat { locked: available_bytes()? / 5 * 2, ..Eat::default() };
    let mut locker = ground.eater("locker", &locking, None)?;
    locker.hoard_and_hold(ground.stage.deadline)?;
    let eater = ground.eater("beside-locked", &fitting, None)?;
    let incident = ground.dies(eater, &["mlocked"])?;
    let shown = ground.look(&incident, "mlocked")?;
    let last = shown.lines().last().unwrap_or_default();
    let of_it = format!("/proc/{}/", locker.pid());
    ground
        .stage
        .checks
        .that(last.starts_with(&of_it), || format!("{of_it} has most, and what is shown ends in {last:?}"));
    drop(locker);
    ground.lives(&mut ground.eater("beside-locked", &fitting, None)?)
}

/// Slabs that cannot be reclaimed: messages that nobody receives.
pub fn slabs(ground: &mut Ground<'_, '_>) -> Result<()> {
    let fitting = fitting()?;
    let sending = Eat { messages: available_bytes()? / 3 * 2, ..Eat::default() };
    let mut sender = ground.eater("sender", &sending, None)?;
    sender.hoard_and_hold(ground.stage.deadline)?;
    let eater = ground.eater("beside-slabs", &fitting, None)?;
    let incident = ground.dies(eater, &["unreclaimable-slab"])?;
    let shown = ground.look(&incident, "unreclaimable-slab")?;
    let first = shown.lines().skip_while(|line| !line.contains("NAME")).nth(1).unwrap_or_default();
    // Messages are larger than half a page (alloc_msg(), ipc/msgutil.c), and charged (GFP_KERNEL_ACCOUNT).
    ground.stage.checks.that(first.contains("kmalloc-cg-4k"), || format!("the largest cache is {first:?}"));
    drop(sender);
    ground.lives(&mut ground.eater("beside-slabs", &fitting, None)?)
}
