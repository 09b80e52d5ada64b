//! A cgroup that may swap a little.

use std::ffi::CString;
use std::fs::{self, OpenOptions};
use std::io::Write;

use anyhow::{Context, Result, ensure};

use super::{Needs, Scenario};
use crate::compare::Expected;
use crate::eat::{Eat, word};
use crate::size::{KIB, MIB};
use crate::stage::Stage;

/// Guards swap: it is part of the capacity and of the score, it has a limit and a usage of its own, and the victim's
/// share of it is neither lost nor counted as resident.
pub const SCENARIO: Scenario = Scenario {
    name: "swap_limit",
    guards: "a cgroup with 32 MiB of memory and 16 MiB of swap: both are full, both limits are told, and the victim's swap",
    needs: Needs::Swap,
    kills: 1,
    once: false,
    run,
};

/// The limits, and the device's size, in bytes.
const LIMIT: u64 = 32 * MIB;
const SWAP: u64 = 16 * MIB;
const DEVICE: u64 = 64 * MIB;
/// What somebody else has in the swap first, in pages. Slots are given out by 64, and a counter that is kept by CPU holds back
/// what is left of 32: without it all that the victim has would have been added up.
const OTHER_PAGES: u64 = 13;

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let _swap = Zram::enable(stage.machine.page_bytes, DEVICE)?;
    let tree = stage.tree()?;
    let group = tree.group("swapping")?;
    group.set_limit(LIMIT)?;
    group.set_swap_limit(SWAP)?;
    let other_bytes = OTHER_PAGES * stage.machine.page_bytes;
    let other = Eat { anon: other_bytes, ..Eat::default() };
    let mut other = stage.eater("swap-neighbour", &other, Some(&group))?;
    other.fill_and_hold(stage.deadline)?;
    let mut eater = stage.eater("swap-eater", &Eat { anon: 80 * MIB, ..Eat::default() }, Some(&group))?;

    let watch = stage.watch(&[])?;
    eater.order(word::FILL)?;
    eater.killed(stage.deadline)?;
    let expected = [Expected { swap_bytes: SWAP, ..Expected::kill(&eater.facts, &eater.facts, &group) }];
    let seen = stage.finish(watch, &expected)?;

    stage.judge(&seen, &expected, &[&eater.facts, &other.facts]);
    let slack = stage.machine.charge_stock_bytes();
    let logged = seen.logged(eater.pid()).and_then(|oom| oom.memcg_swap_kb);
    let checks = &mut stage.checks;
    checks.equal("the log's swap limit", logged.map(|(_, limit)| limit * KIB), Some(SWAP), "the scenario");
    let used = logged.map(|(usage, _)| usage * KIB);
    checks.within("the log's swap usage", used, Some(SWAP), slack, "the limit");
    let Some(incident) = seen.traced.as_ref().and_then(|traced| traced.incident_of(eater.pid())) else {
        return Ok(());
    };
    let limit = incident.fields.scope.limits.iter().find(|it| it.path.as_deref() == Some(&group.path));
    let usage = limit.and_then(|limit| limit.swap_usage_bytes);
    checks.within("limited swap_usage_bytes", usage, used, slack, "the log");
    let swapped = incident.fields.victims.first().and_then(|victim| victim.swap_bytes);
    // All that the cgroup has swapped is the victim's but for these few pages; what is in the swap cache is its too, and
    // counted with it.
    let its = used.map(|used| used.saturating_sub(other_bytes));
    checks.within("victims[0].swap_bytes", swapped, its, 2 * slack, "the cgroup's swap");
    checks.that(swapped.is_some_and(|bytes| bytes > 0), || "the victim has swapped nothing".to_owned());
    Ok(())
}

/// A zram device that is swapped to. Dropping it ends that.
pub(crate) struct Zram;

impl Zram {
    /// Makes it a swap space of so much, and uses it.
    pub(crate) fn enable(page: u64, bytes: u64) -> Result<Self> {
        fs::write("/sys/block/zram0/disksize", bytes.to_string()).context("cannot size /dev/zram0")?;
        let mut device =
            OpenOptions::new().write(true).open("/dev/zram0").context("cannot open /dev/zram0")?;
        device.write_all(&header(page, bytes)?).context("cannot write to /dev/zram0")?;
        drop(device);
        let path = path()?;
        // SAFETY: the path is a string that ends in NUL.
        let on = unsafe { libc::swapon(path.as_ptr(), 0) };
        ensure!(on == 0, "cannot swap to /dev/zram0: {}", std::io::Error::last_os_error());
        Ok(Self)
    }
}

impl Drop for Zram {
    fn drop(&mut self) {
        // SAFETY: the path is a string that ends in NUL.
        let off = path().is_ok_and(|path| unsafe { libc::swapoff(path.as_ptr()) } == 0);
        if !off || fs::write("/sys/block/zram0/reset", "1").is_err() {
            eprintln!("cannot do without /dev/zram0 again");
        }
    }
}

fn path() -> Result<CString> {
    CString::new("/dev/zram0").context("a path holds a NUL")
}

/// The first page of a swap space (`union swap_header`, include/linux/swap.h): version 1, the last page, no bad ones.
fn header(page: u64, bytes: u64) -> Result<Vec<u8>> {
    const MAGIC: &[u8] = b"SWAPSPACE2";
    let size = usize::try_from(page).context("a page is out of range")?;
    let last = u32::try_from(bytes / page - 1).context("a swap space is out of range")?;
    let mut header = vec![0; 1024];
    header.extend([1, last].map(u32::to_ne_bytes).concat());
    header.resize(size - MAGIC.len(), 0);
    header.extend(MAGIC);
    Ok(header)
}
