//! Groups that reach a limit.

use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};

use super::ground::Ground;
use crate::eat::{Eat, word};
use crate::eater::Eater;
use crate::fork::setting::Setting;
use crate::incident::found;
use crate::scenario::swap_limit::Zram;
use crate::size::MIB;

/// The limit, and what is eaten: less than what is proposed in its place.
const LIMIT: u64 = 32 * MIB;
const EATEN: u64 = 40 * MIB;

fn eat() -> Eat {
    Eat { anon: EATEN, ..Eat::default() }
}

/// A group's own limit.
pub fn limit(ground: &mut Ground<'_, '_>) -> Result<()> {
    let group = ground.group("limited")?;
    group.set_limit(LIMIT)?;
    let eater = ground.eater("limited", &eat(), Some(&group))?;
    let incident = ground.dies(eater, &["memcg-limit"])?;
    ground.cure(&incident, "memcg-limit")?;
    ground.lives(&mut ground.eater("limited", &eat(), Some(&group))?)
}

/// The limit of a group above.
pub fn ancestor(ground: &mut Ground<'_, '_>) -> Result<()> {
    let (above, group) = (ground.group("shared")?, ground.group("shared/leaf")?);
    above.set_limit(LIMIT)?;
    let eater = ground.eater("leaf", &eat(), Some(&group))?;
    let incident = ground.dies(eater, &["memcg-ancestor"])?;
    ground.cure(&incident, "memcg-ancestor")?;
    ground.lives(&mut ground.eater("leaf", &eat(), Some(&group))?)
}

/// A limit that is lowered below what is used.
pub fn lowered(ground: &mut Ground<'_, '_>) -> Result<()> {
    let group = ground.group("lowered")?;
    group.set_limit(2 * EATEN)?;
    let mut eater = ground.eater("lowered", &eat(), Some(&group))?;
    eater.fill_and_hold(ground.stage.deadline)?;
    group.set_limit(LIMIT)?;
    let incident = ground.is_killed(eater, &["limit-lowered"])?;
    ground.cure(&incident, "limit-lowered")?;
    ground.lives(&mut ground.eater("lowered", &eat(), Some(&group))?)
}

/// Swap that a group may not use.
pub fn swap_forbidden(ground: &mut Ground<'_, '_>) -> Result<()> {
    let _swap = Zram::enable(ground.stage.machine.page_bytes, EATEN)?;
    let group = ground.group("swapless")?;
    group.set_limit(LIMIT)?;
    let eater = ground.eater("swapless", &eat(), Some(&group))?;
    let incident = ground.dies(eater, &["memcg-limit", "swap-forbidden"])?;
    ground.cure(&incident, "swap-forbidden")?;
    let mut again = ground.eater("swapless", &eat(), Some(&group))?;
    ground.lives(&mut again)?;
    again.kill()
}

/// A group whose reclaim goes through very many descendants, and is given so little of a processor that the way to the
/// kill takes seconds.
pub fn stalled(ground: &mut Ground<'_, '_>) -> Result<()> {
    /// Each of up to 16 rounds goes 13 times through all descendants (`do_try_to_free_pages()`, `mem_cgroup_iter()`).
    const DESCENDANTS: u64 = 100;
    /// So long it has a turn of a millisecond in 300, from when it cannot have more.
    const HELD: Duration = Duration::from_millis(1500);
    /// How far it comes in a turn is up to the machine: tries until one took that long, each with twice the descendants.
    const TRIES: u32 = 5;
    let eat = Eat { anon: LIMIT - MIB, more: 4 * MIB, ..Eat::default() };
    for nth in 0..TRIES {
        // What dies in the same group again and again has one finding more.
        let group = ground.timed_group(&format!("stalled-{nth}"))?;
        group.set_limit(LIMIT)?;
        for descendant in 0..DESCENDANTS << nth {
            ground.group(&format!("stalled-{nth}/idle-{descendant}"))?;
        }
        let own = ground.group(&format!("stalled-{nth}/own"))?;
        let mut eater = ground.eater("stalled", &eat, Some(&own))?;
        eater.fill_and_hold(ground.stage.deadline)?;
        let before = group.event("max")?;
        group.set_turns(Some((1, 300)))?;
        eater.order(word::MORE)?;
        while group.event("max")? == before && eater.lives()? {
            ground.stage.deadline.left("a group to reach its limit")?;
            thread::sleep(Duration::from_millis(20));
        }
        thread::sleep(HELD);
        group.set_turns(None)?;
        // It is known by its findings, which are held against the stall itself.
        let incident = ground.is_killed(eater, &["memcg-ancestor"])?;
        if found(&incident).iter().any(|id| id == "long-stall") {
            return Ok(());
        }
    }
    bail!("of {TRIES} kills none took a second")
}

/// The same dies three times.
pub fn repeated(ground: &mut Ground<'_, '_>) -> Result<()> {
    let group = ground.group("restarted")?;
    group.set_limit(LIMIT)?;
    for ids in [&["memcg-limit"][..], &["memcg-limit"], &["memcg-limit", "repeat-offender"]] {
        let eater = ground.eater("restarted", &eat(), Some(&group))?;
        ground.dies(eater, ids)?;
    }
    Ok(())
}

/// One of the two processes of a container, which is not its first.
pub fn contained(ground: &mut Ground<'_, '_>) -> Result<()> {
    const CONTAINER: &str = "docker/4e9bf3a17c0258d1a6b0c3f4e5d60718293a4b5c6d7e8f90a1b2c3d4e5f60718";
    let group = ground.group(CONTAINER)?;
    group.set_limit(LIMIT)?;
    let first = Eater::start_first("first", &Eat::default(), Some(&group), ground.stage.deadline)?;
    let second = Eater::start_beside(&first, "second", &eat(), Some(&group), ground.stage.deadline)?;
    ground.dies(second, &["memcg-limit", "group-kill"])?;
    Ok(())
}

/// A machine that panics if it runs out, where a group does. It does so later on, in other cases.
pub fn panic(ground: &mut Ground<'_, '_>) -> Result<()> {
    let setting = Setting::keep("vm/panic_on_oom")?;
    setting.set(1)?;
    let group = ground.group("panicky")?;
    group.set_limit(LIMIT)?;
    let eater = ground.eater("panicky-1", &eat(), Some(&group))?;
    let incident = ground.dies(eater, &["memcg-limit", "panic-on-oom"])?;
    ground.cure(&incident, "panic-on-oom")?;
    let eater = ground.eater("panicky-2", &eat(), Some(&group))?;
    ground.dies(eater, &["memcg-limit"])?;
    let everything = Eat { anon: 2 * ground.stage.machine.memory_bytes, ..Eat::default() };
    let mut eater = ground.eater("no-panic", &everything, None)?;
    eater.order(word::FILL)?;
    ground.is_killed(eater, &["node-exhausted", "swap-none"])?;
    Ok(())
}
