//! Bogo-ops a second, in pairs: who comes first changes from one pair to the next, so that what drifts on the machine is for and
//! against oomtrace alike.

use std::fs;

use anyhow::Result;

use super::work::{Amount, Ground, Work, bogo_ops};
use super::{By, interval, run};
use crate::bench::{Bench, sample};

/// Measures one of the works. What is lost is told for each pair, and between what its mean lies.
pub fn pairs(bench: &Bench, ground: &Ground, work: &Work, subject: (&str, By), seconds: u64) -> Result<()> {
    let (subject, by) = subject;
    let mut lost = [Vec::new(), Vec::new()];
    for number in 0..bench.runs {
        let mut rates = [[0.0; 2]; 2];
        let first = usize::try_from(number % 2).unwrap_or(0);
        for which in [first, 1 - first] {
            let by = if which == 0 { By::Itself } else { by };
            let (_, real, cpu) = rate(bench, ground, work, by, seconds)?;
            rates[which] = [real, cpu];
        }
        let [without, with] = rates;
        for (at, lost) in lost.iter_mut().enumerate() {
            lost.push(100.0 * (without[at] - with[at]) / without[at]);
        }
        sample(&format!("{}, bogo-ops a second", work.name), "by itself", "", Some(without[0]))?;
        sample(&format!("{}, bogo-ops a second", work.name), subject, "", Some(with[0]))?;
    }
    for (what, lost) in ["a second", "a second of CPU time"].iter().zip(&lost) {
        let figure = format!("{}, lost bogo-ops {what}", work.name);
        for each in lost {
            sample(&figure, subject, "%", Some(*each))?;
        }
        let (from, to) = interval::of(lost).unzip();
        sample(&format!("{figure}, 95 % sure: at least"), subject, "%", from)?;
        sample(&format!("{figure}, 95 % sure: at most"), subject, "%", to)?;
    }
    Ok(())
}

fn rate(bench: &Bench, ground: &Ground, work: &Work, by: By, seconds: u64) -> Result<(f64, f64, f64)> {
    let (counts, yaml) = (ground.file("counts"), ground.file("yaml"));
    let _none_before = fs::remove_file(&yaml);
    run(bench, by, &ground.command(work, Amount::Seconds(seconds), &counts, &yaml)?)?;
    bogo_ops(&yaml)
}
