//! A whole machine that runs out of memory over something that is in nobody's rss, or cannot be reclaimed.
//!
//! A hoarder gathers it, and a sleeper, whose adjustment makes it the one to die, has enough memory to let the
//! hoarder come to its end: then nobody else dies, however fast things go.

use anyhow::{Context, Result};

use crate::compare::Expected;
use crate::eat::{Eat, word};
use crate::machine::available_bytes;
use crate::size::{KIB, MIB};
use crate::stage::Stage;
use crate::watch::Seen;

/// What the sleeper holds, in bytes.
const SLEEPER: u64 = 64 * MIB;
/// How far beyond what is available the hoarder goes, in bytes: half of what the sleeper gives back.
const BEYOND: u64 = SLEEPER / 2;

/// What was seen, and how much was gathered.
pub struct Exhausted {
    /// From all sides.
    pub seen: Seen,
    /// In bytes, at the least, when the machine had run out of memory.
    pub gathered_bytes: u64,
}

/// Runs the machine out of memory over what `hoard` makes of a number of bytes.
pub fn exhaust(stage: &mut Stage<'_>, hoard: impl Fn(u64) -> Eat) -> Result<Exhausted> {
    let sleeping = Eat { anon: SLEEPER, adj: Some(1000), ..Eat::default() };
    let mut sleeper = stage.eater("global-sleeper", &sleeping, None)?;
    sleeper.fill_and_hold(stage.deadline)?;
    let watch = stage.watch(&[])?;
    let available = available_bytes()?;
    // Should the sleeper's memory not do, the hoarder is next, and nobody who is needed. Even with all that it locks it
    // scores less than the sleeper, whose adjustment counts as much as the whole machine.
    let hoarding = Eat { adj: Some(100), ..hoard(available + BEYOND) };
    let mut hoarder = stage.eater("global-hoarder", &hoarding, None)?;

    hoarder.order(word::HOARD)?;
    sleeper.killed(stage.deadline)?;
    hoarder.full(stage.deadline).context("the hoarder was to come to its end")?;
    let expected = [Expected::machine_wide(&sleeper.facts, "allocation")];
    let seen = stage.finish(watch, &expected)?;

    stage.judge(&seen, &expected, &[&sleeper.facts, &hoarder.facts]);
    stage.checks.note("hoarded", available + BEYOND);
    let asked = seen.logged(sleeper.pid()).and_then(|oom| oom.trigger_tid);
    stage.checks.note("the hoarder asked", asked == Some(hoarder.pid()));
    Ok(Exhausted { seen, gathered_bytes: available.saturating_sub(BEYOND) })
}

impl Exhausted {
    /// Checks that the log accounts for what was gathered under `key`: of the machine, in pages.
    pub fn check_pages(&self, stage: &mut Stage<'_>, key: &str) {
        let totals = self.seen.log_text.iter().find(|line| line.starts_with("active_anon:"));
        let pages = totals.and_then(|line| number_after(line, key));
        self.check(stage, key, pages.map(|pages| pages * stage.machine.page_bytes));
    }

    /// The same: of each zone, in kB.
    pub fn check_zones(&self, stage: &mut Stage<'_>, key: &str) {
        let zones = self.seen.log_text.iter().filter(|line| line.contains(" present:"));
        let kb = zones.map(|line| number_after(line, key)).sum::<Option<u64>>();
        self.check(stage, key, kb.map(|kb| kb * KIB));
    }

    fn check(&self, stage: &mut Stage<'_>, key: &str, logged: Option<u64>) {
        stage.checks.note(&format!("the log's {key}, bytes"), logged);
        stage.checks.that(logged.is_some_and(|bytes| bytes >= self.gathered_bytes), || {
            format!("the log has {key} {logged:?} bytes, and {} were gathered", self.gathered_bytes)
        });
    }
}

/// The number after `key:`, which is a word of its own.
fn number_after(line: &str, key: &str) -> Option<u64> {
    let after = |at: usize| line.get(at + key.len()..)?.strip_prefix(':');
    let whole = |at: usize| {
        !line.get(..at).is_some_and(|before| before.ends_with(|it: char| it == '_' || it.is_alphanumeric()))
    };
    // printk's escape for a line's end, \x0a, stands right before some.
    let escaped = |at: usize| line.get(..at).is_some_and(|before| before.ends_with("\\x0a"));
    let mut places = line.match_indices(key).map(|(at, _)| at).filter(|&at| whole(at) || escaped(at));
    let digits = places.find_map(after)?;
    digits.split(|it: char| !it.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the figures: keys that others end in, or that stand at the beginning of a line within the line.
    #[test]
    fn figures_are_found_by_whole_words() {
        let line = "active_anon:1 inactive_anon:2\\x0a slab_reclaimable:3 slab_unreclaimable:4\\x0a mapped:5 shmem:6\\x0afree:7";
        for (key, number) in [
            ("slab_unreclaimable", Some(4)),
            ("shmem", Some(6)),
            ("free", Some(7)),
            ("anon", None),
            ("sh", None),
        ] {
            assert_eq!(number_after(line, key), number, "{key}");
        }
        assert_eq!(number_after("Node 0 DMA32 free:1kB present:9kB mlocked:8kB", "mlocked"), Some(8));
    }
}
