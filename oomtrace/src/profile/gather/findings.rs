//! What incidents and failures come to, each conclusion once.

use std::collections::HashMap;

use super::words::word;
use crate::{
    explain::{Finding, Severity},
    profile::report::FindingCount,
};

/// Findings by id: there are as many as rules.
#[derive(Default)]
pub struct Findings(HashMap<&'static str, (Severity, FindingCount)>);

impl Findings {
    /// Those of one incident or failure.
    pub fn add(&mut self, findings: &[Finding]) {
        for finding in findings {
            let conclusion = &finding.conclusion;
            let (severity, known) = self.0.entry(finding.id).or_insert_with(|| {
                let fixes = conclusion.fix.iter().map(|fix| match &fix.command {
                    Some(command) => format!("{}: {command}", fix.what),
                    None => fix.what.clone(),
                });
                let first = FindingCount {
                    id: finding.id.to_owned(),
                    count: 0,
                    summary: conclusion.summary.clone(),
                    fixes: fixes.collect(),
                    ..FindingCount::default()
                };
                (conclusion.severity, first)
            });
            known.count += 1;
            // The worst first.
            *severity = conclusion.severity.min(*severity);
        }
    }

    /// All, the worst first, and of those the most frequent.
    pub fn tell(self) -> Vec<FindingCount> {
        let mut all: Vec<_> = self.0.into_values().collect();
        all.sort_by(|(one, first), (other, second)| {
            one.cmp(other).then(second.count.cmp(&first.count)).then(first.id.cmp(&second.id))
        });
        let named =
            all.into_iter().map(|(severity, finding)| FindingCount { severity: word(severity), ..finding });
        named.collect()
    }
}
