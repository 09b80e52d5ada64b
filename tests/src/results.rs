//! The results: one JSON line a scenario, and a summary for people.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::{Map, Value};

/// How a scenario came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Everything was compared, and agreed.
    Passed,
    /// Something disagreed, or did not happen.
    Failed,
    /// Something that can be provided is missing; the reason says what.
    Skipped,
    /// This machine is not one that the scenario is for.
    NotApplicable,
}

/// The result of one scenario.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// Its name.
    pub scenario: &'static str,
    /// How it came out.
    pub status: Status,
    /// Why it failed, was skipped or is not applicable; empty when it passed.
    pub reason: String,
    /// How long it took.
    pub millis: u64,
    /// What was measured.
    pub details: Map<String, Value>,
}

/// Where results go.
#[derive(Debug)]
pub struct Results {
    file: Option<File>,
    outcomes: Vec<(Status, &'static str)>,
    told: String,
}

impl Results {
    /// Makes the results file, if one is wanted.
    pub fn new(path: Option<&Path>) -> Result<Self> {
        let create =
            |path: &Path| File::create(path).with_context(|| format!("cannot write {}", path.display()));
        Ok(Self { file: path.map(create).transpose()?, outcomes: Vec::new(), told: String::new() })
    }

    /// Writes one result at once, so that a crash of the machine leaves those before it.
    pub fn add(&mut self, outcome: &Outcome) -> Result<()> {
        if let Some(file) = &mut self.file {
            let line = serde_json::to_string(outcome).context("cannot write a result as JSON")?;
            writeln!(file, "{line}").and_then(|()| file.flush()).context("cannot write the results file")?;
        }
        let millis = Duration::from_millis(outcome.millis);
        println!("{:14} {} ({millis:.1?})", outcome.status.word(), outcome.scenario);
        let reason = if outcome.reason == self.told { "as above" } else { &outcome.reason };
        for line in reason.lines().filter(|_| !outcome.reason.is_empty()) {
            println!("               {line}");
        }
        self.told.clone_from(&outcome.reason);
        self.outcomes.push((outcome.status, outcome.scenario));
        Ok(())
    }

    /// Prints the count of each status. Gives whether none failed.
    #[must_use]
    pub fn summary(&self) -> bool {
        let of =
            |status| self.outcomes.iter().filter(move |(each, _)| *each == status).map(|(_, name)| *name);
        let failed: Vec<_> = of(Status::Failed).collect();
        println!(
            "{} passed, {} failed, {} skipped, {} not applicable",
            of(Status::Passed).count(),
            failed.len(),
            of(Status::Skipped).count(),
            of(Status::NotApplicable).count()
        );
        if !failed.is_empty() {
            println!("failed: {}", failed.join(", "));
        }
        failed.is_empty()
    }
}

impl Status {
    /// The status as a word for people.
    fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "FAILED",
            Self::Skipped => "skipped",
            Self::NotApplicable => "not applicable",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the form of a result line, which other tools read.
    #[test]
    fn line_form() {
        let outcome = Outcome {
            scenario: "group",
            status: Status::NotApplicable,
            reason: "needs version 2".to_owned(),
            millis: 3,
            details: Map::new(),
        };
        let line = serde_json::to_string(&outcome).unwrap();
        let expected = r#"{"scenario":"group","status":"not_applicable","reason":"needs version 2","millis":3,"details":{}}"#;
        assert_eq!(line, expected);
    }

    /// Guards that one failure makes the run a failure, and that skipping does not.
    #[test]
    fn one_failure_fails_the_run() {
        let results = |statuses: &[Status]| Results {
            file: None,
            outcomes: statuses.iter().map(|status| (*status, "it")).collect(),
            told: String::new(),
        };
        assert!(results(&[Status::Passed, Status::Skipped, Status::NotApplicable]).summary());
        assert!(!results(&[Status::Passed, Status::Failed]).summary());
    }
}
