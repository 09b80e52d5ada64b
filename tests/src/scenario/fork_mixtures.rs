//! Forks that fail while two or three causes are there at once, drawn by chance: the one that refused is told, and no other.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::thread::sleep;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::{Value, json};

use super::forks::SETTLED;
use super::{Needs, Scenario};
use crate::checks::Checks;
use crate::fork::compare::{Judge, failures, text, tier};
use crate::fork::ground::Ground;
use crate::fork::mix::check;
use crate::fork::mix::ingredient::Ingredient;
use crate::fork::mix::kitchen::Kitchen;
use crate::fork::mix::recipe::Recipe;
use crate::fork::truth::Truth;
use crate::random::Random;
use crate::stage::Stage;
use crate::storm::loss::Losses;
use crate::watch::read;

/// Which mixtures.
#[derive(Debug, Clone, Copy, Args)]
pub struct Share {
    /// How many mixtures of causes refuse forks.
    #[arg(long, value_name = "COUNT", default_value_t = USUAL.mixtures)]
    mixtures: u64,
    /// Stands for the row of mixtures, as in `fork-mix`: one that went wrong can be had again. Without it, each kernel and
    /// tier has a row of its own.
    #[arg(long, value_name = "SEED")]
    mixtures_seed: Option<u64>,
    /// Leave out so many mixtures at the beginning of the row.
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    mixtures_skip: u64,
}

/// What the command line asks for, in place of [`USUAL`].
pub static SHARE: OnceLock<Share> = OnceLock::new();
/// On each kernel, which has a row of its own.
pub const USUAL: Share = Share { mixtures: 80, mixtures_seed: None, mixtures_skip: 0 };
/// So many are brought about before oomtrace is stopped and its lines are compared: all that is kept meanwhile is in
/// memory, of which a guest has little.
const BATCH: u64 = 250;
/// So many wrong ones are told in full.
const TOLD: u64 = 50;

/// Guards against the wrong cause where several would do: of all that is reached, the first in the kernel's order refuses,
/// which is known from the set-up, to the last fork; and where all is only near, nothing is told.
pub const SCENARIO: Scenario = Scenario {
    name: "fork_mixtures",
    guards: "two or three causes are there at once, some only nearly: of each fork that fails the one that refused it is \
             told, with its limit, and no other",
    needs: Needs::Disposable,
    kills: 0,
    once: true,
    run,
};

/// A mixture that was brought about.
struct Cooked {
    nth: u64,
    recipe: Recipe,
    truth: Truth,
}

/// What became of all.
#[derive(Default)]
struct Tally {
    /// How many mixtures each cause refused.
    refused: BTreeMap<&'static str, u64>,
    /// How many were compared.
    compared: u64,
    wrong: u64,
    /// Of those that were told rightly, how many without the limit, which was gone.
    left_out: u64,
}

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let share = SHARE.get().copied().unwrap_or(USUAL);
    let of_its_own = || seed_of(&[&stage.machine.kernel, stage.tier().unwrap_or_default()]);
    let seed = share.mixtures_seed.unwrap_or_else(of_its_own);
    let available: Vec<_> =
        Ingredient::ALL.into_iter().filter(|one| one.is_available(stage.machine)).collect();
    let mut kitchen = Kitchen::open(Ground { machine: stage.machine, deadline: stage.deadline })?;
    let mut random = Random::new(seed);
    let recipes = std::iter::repeat_with(|| Recipe::draw(&mut random, &available)).zip(0..);
    // Who is in a cgroup without any memory may need a page on the way back, and then waits for it for ever: on a machine that is
    // busy one did. That cause is provoked by itself in `forks`, and with others where many mixtures are asked for.
    let many = share.mixtures > USUAL.mixtures || share.mixtures_seed.is_some();
    let mut recipes = recipes.filter(|(recipe, _)| many || !recipe.has(Ingredient::MemoryCgroup));
    let mut tally = Tally::default();
    let mut left = share.mixtures;
    let mut skipped = share.mixtures_skip;
    while left > 0 {
        let so_many = usize::try_from(left.min(BATCH))?;
        let skip = usize::try_from(std::mem::take(&mut skipped))?;
        let batch: Vec<_> = recipes.by_ref().skip(skip).take(so_many).collect();
        judge(stage, &mut kitchen, batch, seed, &mut tally)?;
        left -= left.min(BATCH);
    }
    let checks = &mut stage.checks;
    checks.note("seed", seed);
    checks.note("mixtures", tally.refused.values().sum::<u64>());
    checks.note("mixtures by what refused", json!(tally.refused));
    checks.note("mixtures compared with oomtrace's lines", tally.compared);
    checks.note("mixtures told wrongly", tally.wrong);
    checks.note("mixtures told without their limit, for a reason", tally.left_out);
    if tally.wrong > TOLD {
        checks.fail(format!("{} more are wrong", tally.wrong - TOLD));
    }
    Ok(())
}

/// Brings mixtures about under an oomtrace of their own, and compares what it tells.
fn judge(
    stage: &mut Stage<'_>,
    kitchen: &mut Kitchen<'_>,
    batch: Vec<(Recipe, u64)>,
    seed: u64,
    tally: &mut Tally,
) -> Result<()> {
    let oomtrace = stage.tracer(&["--json", "--kind", "fork", "--fork-syscalls"])?;
    if oomtrace.is_some() {
        Ground { machine: stage.machine, deadline: stage.deadline }.fail_first()?;
    }
    let mut cooked = Vec::new();
    for (recipe, nth) in batch {
        let mixture = || format!("mixture {nth} of seed {seed}, {}", json!(recipe));
        let (calls, truth) = kitchen.cook(&recipe, &format!("mix-{nth}")).with_context(mixture)?;
        if let Err(error) = check(&recipe, &calls, &truth, None) {
            stage.checks.fail(format!("{}: {error:#}", mixture()));
            continue;
        }
        *tally.refused.entry(truth.cause.unwrap_or("nothing")).or_default() += 1;
        cooked.push(Cooked { nth, recipe, truth });
    }
    let Some(oomtrace) = oomtrace else { return Ok(()) };
    sleep(SETTLED);
    let traced = read(oomtrace.stop(stage.deadline)?)?;
    stage.judge_course(&traced);
    if traced.objects.is_empty() {
        // It did not come to tell anything, and how it ended has just been judged.
        return Ok(());
    }
    let tier = tier(&traced).unwrap_or_default();
    let unseen = Losses::of(&traced.objects).count("programs", "fork");
    let mut lines: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for line in failures(&traced) {
        lines.entry(text(line, "/task/comm").unwrap_or_default()).or_default().push(line);
    }
    for Cooked { nth, recipe, truth } in cooked {
        let lines = lines.get(truth.comm.as_str()).map_or(&[][..], Vec::as_slice);
        let mut checks = Checks::default();
        let mut judge =
            Judge { checks: &mut checks, machine: stage.machine, tier, lenient: true, left_out: 0, unseen };
        judge.compare(std::slice::from_ref(&truth), lines.iter().copied());
        tally.compared += 1;
        tally.left_out += judge.left_out;
        let wrong = !checks.failures().is_empty();
        tally.wrong += u64::from(wrong);
        stage.checks.that(!wrong || tally.wrong > TOLD, || {
            let told = if lines.is_empty() { "nothing".to_owned() } else { json!(lines).to_string() };
            format!(
                "mixture {nth} of seed {seed}: {}\n  recipe {}\n  truth {}\n  oomtrace tells {told}",
                checks.failures().join("; "),
                json!(recipe),
                json!(truth)
            )
        });
    }
    Ok(())
}

/// A number that is another one for other words (FNV-1a).
fn seed_of(words: &[&str]) -> u64 {
    let bytes = words.iter().flat_map(|word| word.bytes().chain([0]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards against the same mixtures on every kernel: each has a row of its own, and the same one every time.
    #[test]
    fn each_kernel_and_tier_has_a_seed() {
        let of = |kernel, tier| seed_of(&[kernel, tier]);
        assert_eq!(of("6.1.0-56", "kprobe"), of("6.1.0-56", "kprobe"));
        assert_ne!(of("6.1.0-56", "kprobe"), of("6.1.0-56", "trampoline"));
        assert_ne!(of("6.1.0-56", "kprobe"), of("6.12.118", "kprobe"));
        assert_ne!(of("6.1", "2"), of("6.12", ""));
    }
}
