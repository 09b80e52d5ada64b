//! Machines that run out of memory as a whole, and have a setting that is wrong.

use std::fs;

use anyhow::{Context, Result};

use super::disk::Disk;
use super::ground::Ground;
use crate::eat::{Eat, word};
use crate::fork::setting::Setting;
use crate::machine::available_bytes;
use crate::scenario::swap_limit::Zram;
use crate::size::MIB;

/// What is found where nothing is the matter but that all is used.
pub const PLAIN: [&str; 2] = ["node-exhausted", "swap-none"];
/// What is left over by one who fits, in bytes.
const SPARE: u64 = 24 * MIB;
/// Far too much to keep free.
const RESERVED_KBYTES: u64 = 40 << 10;

/// Somebody who takes so much.
pub fn eat(bytes: u64) -> Eat {
    Eat { anon: bytes, ..Eat::default() }
}

/// Somebody who fits in what there is now.
pub fn fitting() -> Result<Eat> {
    Ok(eat(available_bytes()?.saturating_sub(SPARE)))
}

/// No swap space, and what is needed is more than the memory.
pub fn no_swap(ground: &mut Ground<'_, '_>) -> Result<()> {
    let needed = eat(available_bytes()? + 2 * SPARE);
    let eater = ground.eater("no-swap", &needed, None)?;
    let incident = ground.dies(eater, &PLAIN)?;
    let _disk = Disk::mount()?;
    ground.cure_by(&incident, "swap-none", Disk::shell)?;
    let mut again = ground.eater("no-swap", &needed, None)?;
    ground.lives(&mut again)
}

/// Swap space that is full as well.
pub fn swap_full(ground: &mut Ground<'_, '_>) -> Result<()> {
    let _swap = Zram::enable(ground.stage.machine.page_bytes, 16 * MIB)?;
    let everything = eat(2 * ground.stage.machine.memory_bytes);
    let eater = ground.eater("swap-full", &everything, None)?;
    ground.dies(eater, &["node-exhausted", "swap-full"])?;
    Ok(())
}

/// Far too much is kept free.
pub fn min_free_oversized(ground: &mut Ground<'_, '_>) -> Result<()> {
    let fitting = fitting()?;
    let setting = Setting::keep("vm/min_free_kbytes")?;
    setting.set(RESERVED_KBYTES)?;
    let eater = ground.eater("reserved", &fitting, None)?;
    let incident = ground.dies(eater, &["min-free-oversized"])?;
    ground.cure(&incident, "min-free-oversized")?;
    ground.lives(&mut ground.eater("reserved", &fitting, None)?)
}

/// Far too little is: it is found, and then is found no more.
pub fn min_free_tiny(ground: &mut Ground<'_, '_>) -> Result<()> {
    let setting = Setting::keep("vm/min_free_kbytes")?;
    setting.set(400)?;
    let everything = eat(2 * ground.stage.machine.memory_bytes);
    let eater = ground.eater("low-1", &everything, None)?;
    let incident = ground.dies(eater, &["node-exhausted", "swap-none", "min-free-tiny"])?;
    ground.cure(&incident, "min-free-tiny")?;
    let eater = ground.eater("low-2", &everything, None)?;
    ground.dies(eater, &PLAIN)?;
    Ok(())
}

/// Huge pages that nobody uses. That they are given back is advice.
pub fn huge_pages(ground: &mut Ground<'_, '_>) -> Result<()> {
    let fitting = fitting()?;
    let setting = Setting::keep("vm/nr_hugepages")?;
    setting.set(30)?;
    let eater = ground.eater("huge", &fitting, None)?;
    ground.dies(eater, &["huge-pages-reserved", "swap-none"])?;
    setting.set(0)?;
    ground.lives(&mut ground.eater("huge", &fitting, None)?)
}

/// Whoever asks dies, and not who is large.
pub fn allocating_task(ground: &mut Ground<'_, '_>) -> Result<()> {
    let available = available_bytes()?;
    let setting = Setting::keep("vm/oom_kill_allocating_task")?;
    let mut large = ground.eater("large", &eat(available / 5 * 3), None)?;
    large.fill_and_hold(ground.stage.deadline)?;
    // Whoever asks is oomtrace or this program, too, unless it is never killed (out_of_memory(), mm/oom_kill.c).
    let _spared = [Spared::new(ground.tracer_pid())?, Spared::new(std::process::id())?];
    setting.set(1)?;
    // Not as its parent is now.
    let asking = Eat { adj: Some(0), ..eat(available / 2) };
    let asker = ground.eater("asker", &asking, None)?;
    let incident = ground.dies(asker, &["oom-kill-allocating-task", "node-exhausted", "swap-none"])?;
    ground.cure(&incident, "oom-kill-allocating-task")?;
    let mut asker = ground.eater("asker", &asking, None)?;
    asker.order(word::FILL)?;
    ground.is_killed(large, &PLAIN)?;
    asker.full(ground.stage.deadline)
}

/// A process that is never killed, until this goes.
struct Spared {
    file: String,
    before: String,
}

impl Spared {
    fn new(pid: u32) -> Result<Self> {
        let file = format!("/proc/{pid}/oom_score_adj");
        let before = fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
        fs::write(&file, "-1000").with_context(|| format!("cannot write {file}"))?;
        Ok(Self { file, before })
    }
}

impl Drop for Spared {
    fn drop(&mut self) {
        if let Err(error) = fs::write(&self.file, self.before.trim()) {
            eprintln!("cannot restore {}: {error}", self.file);
        }
    }
}

/// Who is large is spared, and somebody else dies.
pub fn spared(ground: &mut Ground<'_, '_>) -> Result<()> {
    let available = available_bytes()?;
    let sparing = Eat { adj: Some(-900), ..eat(available / 3 * 2) };
    let mut spared = ground.eater("spared", &sparing, None)?;
    spared.fill_and_hold(ground.stage.deadline)?;
    let asking = eat(available / 2);
    let asker = ground.eater("innocent", &asking, None)?;
    let incident = ground.dies(asker, &["victim-not-culprit", "node-exhausted", "swap-none"])?;
    ground.cure(&incident, "victim-not-culprit")?;
    let mut asker = ground.eater("innocent", &asking, None)?;
    asker.order(word::FILL)?;
    ground.is_killed(spared, &PLAIN)?;
    asker.full(ground.stage.deadline)
}

/// Any amount is promised.
pub fn promised(ground: &mut Ground<'_, '_>) -> Result<()> {
    let setting = Setting::keep("vm/overcommit_memory")?;
    setting.set(1)?;
    let much = Eat { promised: true, ..eat(8 * ground.stage.machine.memory_bytes) };
    let eater = ground.eater("promised", &much, None)?;
    let incident = ground.dies(eater, &["node-exhausted", "swap-none", "overcommit"])?;
    ground.cure(&incident, "overcommit")?;
    refused(ground, "promised", &much)
}

/// No more is promised than may be, which is more than there is. How much should be is advice.
pub fn promised_all(ground: &mut Ground<'_, '_>) -> Result<()> {
    let (mode, ratio) = (Setting::keep("vm/overcommit_memory")?, Setting::keep("vm/overcommit_ratio")?);
    ratio.set(300)?;
    mode.set(2)?;
    let much = Eat { promised: true, ..eat(2 * ground.stage.machine.memory_bytes) };
    let eater = ground.eater("counted", &much, None)?;
    ground.dies(eater, &["node-exhausted", "swap-none", "overcommit"])?;
    ratio.set(100)?;
    refused(ground, "counted", &much)
}

/// Checks that somebody is refused what he maps, and so ends by himself.
fn refused(ground: &mut Ground<'_, '_>, name: &str, much: &Eat) -> Result<()> {
    let refusal =
        ground.eater(name, much, None).err().with_context(|| format!("{name} is promised it all"))?;
    let refusal = format!("{refusal:#}");
    ground.stage.checks.that(refusal.contains("before it said ready"), || refusal.clone());
    Ok(())
}
