//! The order in which a comparison is told: what is sure before what is not, then what is large.

use super::{
    compare::{Change, Comparison, Row, Verdict},
    digest::{number, plural},
};

/// A measure's change on one side.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ranked<'a> {
    pub row: &'a Row,
    pub change: &'a Change,
    /// The baseline's mean.
    pub before: Option<f64>,
    /// This side's.
    pub after: Option<f64>,
}

/// All changes on a side, by what they come to. The first side after the baseline is 0.
#[derive(Clone, Debug, Default)]
pub(super) struct Ranking<'a> {
    pub worse: Vec<Ranked<'a>>,
    pub better: Vec<Ranked<'a>>,
    pub differs: Vec<Ranked<'a>>,
    pub unsure: Vec<Ranked<'a>>,
    pub same: Vec<Ranked<'a>>,
}

impl<'a> Ranking<'a> {
    /// See [`Ranking`].
    pub fn of(comparison: &'a Comparison, side: usize) -> Self {
        let mut ranking = Self::default();
        for row in &comparison.rows {
            let Some(change) = row.changes.get(side) else { continue };
            let mean = |side: usize| row.values.get(side).and_then(|values| values.mean);
            let ranked = Ranked { row, change, before: mean(0), after: mean(side.saturating_add(1)) };
            ranking.group(change.verdict).push(ranked);
        }
        for verdict in [Verdict::Worse, Verdict::Better, Verdict::Differs, Verdict::Same, Verdict::Unsure] {
            ranking.group(verdict).sort_by_key(|ranked| (ranked.doubt(), std::cmp::Reverse(ranked.size())));
        }
        ranking
    }

    fn group(&mut self, verdict: Verdict) -> &mut Vec<Ranked<'a>> {
        match verdict {
            Verdict::Worse => &mut self.worse,
            Verdict::Better => &mut self.better,
            Verdict::Differs => &mut self.differs,
            Verdict::Same => &mut self.same,
            Verdict::Unsure => &mut self.unsure,
        }
    }

    /// What it comes to, as a sentence without its full stop.
    pub fn verdict(&self) -> String {
        let count = |rows: &[Ranked<'_>]| u64::try_from(rows.len()).unwrap_or(u64::MAX);
        let mut said = Vec::new();
        if !self.worse.is_empty() {
            said.push(format!("{} got worse", plural(count(&self.worse), "measure", "measures")));
        }
        if !self.better.is_empty() {
            let better = count(&self.better);
            let better = if said.is_empty() { plural(better, "measure", "measures") } else { number(better) };
            said.push(format!("{better} got better"));
        }
        if !self.differs.is_empty() {
            said.push(format!("{} differ, for better or worse", number(count(&self.differs))));
        }
        if said.is_empty() {
            said.push(match (self.same.is_empty(), self.unsure.is_empty()) {
                (true, _) => "nothing can be said: there are too few runs, or none on one side".to_owned(),
                (false, true) => "no difference beyond noise".to_owned(),
                (false, false) => {
                    format!("no difference beyond noise, but {} cannot be told", number(count(&self.unsure)))
                }
            });
        }
        said.join(", ")
    }
}

impl Ranked<'_> {
    /// How likely it is noise, in steps: what is about as sure is told by its size. The last is of what has no such figure.
    fn doubt(&self) -> u8 {
        match self.change.p {
            Some(p) if p < 0.001 => 0,
            Some(p) if p < 0.01 => 1,
            Some(p) if p < 0.05 => 2,
            Some(_) => 3,
            None => 4,
        }
    }

    /// How large it is, in tenths of hundredths of the baseline. From nothing to something is the largest.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "casts saturate, and it is no less than 0"
    )]
    fn size(&self) -> u64 {
        match (self.change.percent, self.change.difference) {
            (Some(percent), _) => (percent.abs() * 10.0) as u64,
            (None, Some(difference)) if difference != 0.0 => u64::MAX,
            _ => 0,
        }
    }
}

/// A difference in hundredths of the baseline, with its sign.
pub(super) fn percent(change: &Change) -> Option<String> {
    let percent = change.percent?;
    Some(match percent.abs() {
        ..10.0 => format!("{percent:+.1} %"),
        ..1000.0 => format!("{percent:+.0} %"),
        _ => format!("×{:.0}", percent / 100.0 + 1.0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::compare::Values;

    fn row(name: &str, verdict: Verdict, p: Option<f64>, percent: Option<f64>) -> Row {
        let change = Change { verdict, p, percent, difference: Some(1.0), ..Change::default() };
        let values = vec![Values { mean: Some(1.0), ..Values::default() }; 2];
        Row { measure: name.to_owned(), changes: vec![change], values, ..Row::default() }
    }

    /// Guards the order: groups by verdict, the sure before the less sure, the large before the small, from nothing first.
    #[test]
    fn the_sure_and_large_come_first() {
        let rows = vec![
            row("small", Verdict::Worse, Some(0.000_1), Some(5.0)),
            row("large", Verdict::Worse, Some(0.000_2), Some(-50.0)),
            row("from nothing", Verdict::Worse, Some(0.000_3), None),
            row("less sure", Verdict::Worse, Some(0.02), Some(900.0)),
            row("same", Verdict::Same, Some(0.5), Some(1.0)),
        ];
        let comparison = Comparison { rows, ..Comparison::default() };
        let ranking = Ranking::of(&comparison, 0);
        let names: Vec<_> = ranking.worse.iter().map(|ranked| ranked.row.measure.as_str()).collect();
        assert_eq!(names, ["from nothing", "large", "small", "less sure"]);
        assert_eq!((ranking.same.len(), ranking.verdict().as_str()), (1, "4 measures got worse"));
        assert!(Ranking::of(&comparison, 1).worse.is_empty());
    }

    /// Guards percentages: signs, and factors where hundredths say nothing.
    #[test]
    fn percentages_have_signs() {
        let of = |value| percent(&Change { percent: Some(value), ..Change::default() }).unwrap();
        assert_eq!((of(3.12), of(-42.4), of(1900.0)), ("+3.1 %".into(), "-42 %".into(), "×20".into()));
    }
}
