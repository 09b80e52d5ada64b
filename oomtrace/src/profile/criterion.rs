//! `--fail-if`: when a run counts as failed, though the command may have succeeded.

use std::{cmp::Ordering, fmt, str::FromStr};

use super::{
    measure::{Measure, Need, Reading, Unit},
    report::Report,
};

#[cfg(test)]
#[path = "criterion_tests.rs"]
mod tests;

/// A measure and what it is compared with: `bystander_kills>0`, `reclaim_p99_ms >= 50`, `peak_bytes>1.5G`.
#[derive(Clone, Debug)]
pub struct Criterion {
    /// As it was written.
    text: String,
    measure: Measure,
    operator: Operator,
    bound: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Above,
    AtLeast,
    Below,
    AtMost,
    Is,
    IsNot,
}

impl Operator {
    /// The longer ones first: `>=` begins with `>`.
    const ALL: [(&str, Self); 6] = [
        (">=", Self::AtLeast),
        ("<=", Self::AtMost),
        ("==", Self::Is),
        ("!=", Self::IsNot),
        (">", Self::Above),
        ("<", Self::Below),
    ];

    fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Above => order.is_gt(),
            Self::AtLeast => order.is_ge(),
            Self::Below => order.is_lt(),
            Self::AtMost => order.is_le(),
            Self::Is => order.is_eq(),
            Self::IsNot => order.is_ne(),
        }
    }
}

impl FromStr for Criterion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let shown = || crate::text::printable(text);
        let is_sign = |letter| matches!(letter, '<' | '>' | '=' | '!');
        let at = text.find(is_sign).ok_or_else(|| {
            format!(
                "\"{}\" compares nothing: write a measure, one of > >= < <= == !=, and a number, such as \
                 'bystander_kills>0' (in quotes, since > means something to the shell)",
                shown()
            )
        })?;
        let (name, rest) = text.split_at(at);
        let measure = Measure::named(name.trim_end())?;
        let (sign, operator) = Operator::ALL
            .into_iter()
            .find(|(sign, _)| rest.starts_with(sign))
            .ok_or_else(|| format!("\"{}\" has to have one of > >= < <= == !=", shown()))?;
        let number = rest.strip_prefix(sign).unwrap_or_default().trim();
        if number.contains(is_sign) || number.contains("&&") || number.contains("||") {
            return Err(format!(
                "\"{}\" compares more than once: give each comparison in a --fail-if of its own",
                shown()
            ));
        }
        let bound = bound(number, measure.unit)
            .ok_or_else(|| format!("\"{}\" has to end in {}", shown(), wanted(measure.unit)))?;
        Ok(Self { text: text.to_owned(), measure, operator, bound })
    }
}

impl Criterion {
    /// What has to be given for it to be judged at all.
    #[must_use]
    pub fn need(&self) -> Option<Need> {
        self.measure.need
    }
}

/// A number in the unit of a measure. Without one it is in that which the measure's name has.
fn bound(text: &str, unit: Unit) -> Option<f64> {
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let number: f64 = number.parse().ok()?;
    let suffix = suffix.trim_start();
    let factor = match unit {
        _ if suffix.is_empty() => 1.0,
        Unit::Milliseconds => match suffix {
            "ns" => 1e-6,
            "us" | "µs" | "μs" => 1e-3,
            "ms" => 1.0,
            "s" => 1e3,
            _ => return None,
        },
        Unit::Bytes => match suffix.to_ascii_lowercase().trim_end_matches("ib").trim_end_matches('b') {
            "" => 1.0,
            "k" => 1024.0,
            "m" => 1024.0 * 1024.0,
            "g" => 1024.0 * 1024.0 * 1024.0,
            "t" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
            _ => return None,
        },
        Unit::Percent if suffix == "%" => 1.0,
        Unit::PerSecond if suffix == "/s" => 1.0,
        Unit::Percent | Unit::PerSecond | Unit::Count | Unit::Code => return None,
    };
    Some(number * factor).filter(|bound| bound.is_finite())
}

fn wanted(unit: Unit) -> &'static str {
    match unit {
        Unit::Milliseconds => "a number of milliseconds, or one with ns, us, ms or s, such as 50ms",
        Unit::Bytes => "a number of bytes, or one with K, M, G or T, such as 512M",
        Unit::Percent => "a number of hundredths, such as 25%",
        Unit::PerSecond => "how many a second, such as 1000",
        Unit::Count => "how many, such as 0",
        Unit::Code => "a number, such as 0",
    }
}

impl fmt::Display for Criterion {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(&self.text)
    }
}

/// A criterion that a run met: the run has failed.
#[derive(Clone, Debug, PartialEq)]
pub struct Met {
    /// The criterion, as it was written.
    pub criterion: String,
    /// The name of its measure.
    pub measure: String,
    /// What it counts in.
    pub unit: Unit,
    /// Which run, from 1.
    pub run: usize,
    /// What the measure was.
    pub value: f64,
}

/// A criterion of which it cannot be said whether a run met it: that is no success either.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unjudged {
    /// The criterion, as it was written.
    pub criterion: String,
    /// Which runs, from 1; none: there were none.
    pub runs: Vec<usize>,
    /// Why.
    pub reason: String,
}

/// What criteria come to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judgement {
    /// What was met, in the order of the criteria.
    pub met: Vec<Met>,
    /// What could not be judged.
    pub unjudged: Vec<Unjudged>,
}

impl Judgement {
    /// Judges all runs of a report by each of the criteria. A percentile of no times is absent, which meets none, whatever it is
    /// compared with.
    #[must_use]
    pub fn of(criteria: &[Criterion], report: &Report) -> Self {
        let mut judgement = Self::default();
        for criterion in criteria {
            judgement.judge(criterion, report);
        }
        judgement
    }

    /// Whether no run has failed by them.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.met.is_empty() && self.unjudged.is_empty()
    }

    /// Of several runs the same is said once.
    fn unseen(&mut self, criterion: &Criterion, run: usize, reason: String) {
        match self.unjudged.last_mut() {
            Some(last) if last.criterion == criterion.text && last.reason == reason => last.runs.push(run),
            _ => self.unjudged.push(Unjudged { criterion: criterion.text.clone(), runs: vec![run], reason }),
        }
    }

    fn judge(&mut self, criterion: &Criterion, report: &Report) {
        let text = || criterion.text.clone();
        if report.runs.is_empty() {
            let reason = "no run has ended".to_owned();
            self.unjudged.push(Unjudged { criterion: text(), runs: Vec::new(), reason });
        }
        for (run, number) in report.runs.iter().zip(1..) {
            match criterion.measure.read(report, run) {
                Reading::Value(value) => {
                    if criterion.operator.holds(value.total_cmp(&criterion.bound)) {
                        let (measure, unit) = (criterion.measure.name.to_string(), criterion.measure.unit);
                        self.met.push(Met { criterion: text(), measure, unit, run: number, value });
                    }
                }
                Reading::OfNothing => {}
                Reading::Unseen(reason) => self.unseen(criterion, number, reason),
            }
        }
    }
}

impl fmt::Display for Met {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            to,
            "run {} failed by {}: {} was {}",
            self.run,
            self.criterion,
            self.measure,
            self.unit.shown(self.value)
        )
    }
}

impl fmt::Display for Unjudged {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{} cannot be judged", self.criterion)?;
        match &self.runs[..] {
            [] => {}
            [run] => write!(to, " of run {run}")?,
            runs => {
                let runs: Vec<_> = runs.iter().map(ToString::to_string).collect();
                write!(to, " of runs {}", runs.join(", "))?;
            }
        }
        write!(to, ": {}", self.reason)
    }
}
