//! Mixtures of causes: which one must refuse is known from the order in which the kernel looks.
//!
//! * [`ingredient`]: the causes, in that order.
//! * [`recipe`]: mixtures as chance has them.
//! * [`kitchen`], `prepare` and `reach`: brings them about.
//! * [`place`] and [`pot`]: where, and what is known on the way.

pub mod ingredient;
pub mod kitchen;
pub mod place;
pub mod pot;
mod prepare;
mod reach;
pub mod recipe;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::json;

use crate::deadline::Deadline;
use crate::fork::ground::Ground;
use crate::fork::order::Tally;
use crate::fork::selftest::name_of;
use crate::fork::truth::Truth;
use crate::fork::witness::{COPY_PROCESS, Counts, Returns};
use crate::machine::Machine;
use crate::random::Random;
use ingredient::Ingredient;
use kitchen::Kitchen;
use recipe::Recipe;

/// Which mixtures, and how many.
#[derive(Debug, Args)]
pub struct Mix {
    /// Stands for the row of mixtures.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many of the row.
    #[arg(long, default_value_t = 2000)]
    count: u64,
    /// Leave out so many at its beginning.
    #[arg(long, default_value_t = 0)]
    skip: u64,
    /// Seconds that all of it may take.
    #[arg(long, default_value_t = 900)]
    limit: u64,
    /// Print each mixture and the truth of it as a line of JSON.
    #[arg(long)]
    json: bool,
    /// The machine was made for this: see `run`.
    #[arg(long)]
    disposable: bool,
}

impl Mix {
    /// Brings them about without oomtrace, and compares what came of each with what must. Gives whether all agreed.
    pub fn run(&self) -> Result<bool> {
        let machine = Machine::look(self.disposable)?;
        ensure!(machine.lacking.is_empty(), "{}", machine.lacking.join("\n"));
        let mut returns = Returns::watch()?;
        let available: Vec<_> =
            Ingredient::ALL.into_iter().filter(|one| one.is_available(&machine)).collect();
        println!("Linux {}, seed {}: {} causes", machine.kernel, self.seed, available.len());
        let ground = Ground { machine: &machine, deadline: Deadline::after(Duration::from_secs(self.limit)) };
        let mut kitchen = Kitchen::open(ground)?;
        let mut random = Random::new(self.seed);
        let mut bad = 0;
        let mut refused: BTreeMap<&str, u64> = BTreeMap::new();
        let began = Instant::now();
        for nth in 0..self.skip + self.count {
            let recipe = Recipe::draw(&mut random, &available);
            if nth < self.skip {
                continue;
            }
            let cooked = kitchen.cook(&recipe, &format!("mix-{nth}"));
            let (tally, truth) = cooked.with_context(|| format!("mixture {nth}: {recipe:?}"))?;
            *refused.entry(truth.cause.unwrap_or("nothing")).or_default() += 1;
            if self.json {
                println!("{}", json!({"mixture": nth, "recipe": recipe, "truth": truth}));
            }
            let counts = returns.as_mut().map(Returns::take).transpose()?;
            if let Err(error) = check(&recipe, &tally, &truth, counts.as_ref()) {
                println!("mixture {nth}, {recipe:?}: {error:#}");
                bad += 1;
            }
        }
        println!(
            "{} mixtures in {:.1?}, {bad} of them wrong; refused by {refused:?}",
            self.count,
            began.elapsed()
        );
        Ok(bad == 0)
    }
}

/// Checks what came of a mixture by the forker's counts and, where there are any, by what the kernel's functions returned.
pub fn check(recipe: &Recipe, tally: &Tally, truth: &Truth, counts: Option<&Counts>) -> Result<()> {
    let refusing = recipe.refuses();
    let expected = refusing.map_or(tally.successes, |one| tally.failed(one.errno()));
    ensure!(
        expected == recipe.times && tally.attempts == recipe.times,
        "{refusing:?} should have refused all: {tally:?}"
    );
    let Some(counts) = counts else { return Ok(()) };
    let returned: Vec<_> = counts.iter().filter(|((tid, ..), _)| *tid == truth.tid).collect();
    let of = |function| -> u64 {
        returned.iter().filter(|((_, each, _), _)| *each == function).map(|(_, count)| **count).sum()
    };
    let of_process = refusing.map_or(0, |_| recipe.times);
    ensure!(of(COPY_PROCESS) == of_process, "copy_process failed {} times", of(COPY_PROCESS));
    for function in Ingredient::FUNCTIONS {
        let own = refusing.and_then(Ingredient::function) == Some(function);
        let expected = if own { recipe.times } else { 0 };
        ensure!(
            of(function) == expected,
            "{refusing:?} should have refused, and {function} did so {} times",
            of(function)
        );
    }
    let errors: Vec<_> = returned.iter().map(|((_, _, error), _)| *error).collect();
    let wrong = errors.iter().find(|error| refusing.map(Ingredient::errno) != Some(**error));
    ensure!(wrong.is_none(), "the kernel returned {}", wrong.copied().map(name_of).unwrap_or_default());
    Ok(())
}
