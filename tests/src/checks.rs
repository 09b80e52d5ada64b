//! Collects what a scenario found: every failed comparison, and every measured difference.

use std::fmt::Debug;

use serde_json::{Map, Value};

/// The findings of one scenario. Comparing never stops at the first failure: one run tells all.
#[derive(Debug, Default)]
pub struct Checks {
    failures: Vec<String>,
    details: Map<String, Value>,
    made: u64,
}

impl Checks {
    /// Fails with `message` unless `holds`.
    pub fn that(&mut self, holds: bool, message: impl FnOnce() -> String) {
        self.made += 1;
        if !holds {
            self.failures.push(message());
        }
    }

    /// Fails unless oomtrace's figure is there and equals the witness's. A witness that is itself absent is a
    /// failure too: a comparison with nothing proves nothing.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "most callers pass a number or a value made for the call"
    )]
    pub fn equal<T: PartialEq + Debug>(
        &mut self,
        what: &str,
        ours: Option<T>,
        witness: Option<T>,
        who: &str,
    ) {
        let message = match (&ours, &witness) {
            (Some(ours), Some(witness)) if ours == witness => None,
            (Some(ours), Some(witness)) => Some(format!("{what} is {ours:?}, but {who} says {witness:?}")),
            (None, Some(witness)) => Some(format!("{what} is absent, and {who} says {witness:?}")),
            (_, None) => Some(format!("{what} cannot be checked: {who} does not have it")),
        };
        self.made += 1;
        self.failures.extend(message);
    }

    /// Like [`Checks::equal`], but a figure that oomtrace leaves out is left to the floor table.
    pub fn equal_if_given<T: PartialEq + Debug>(
        &mut self,
        what: &str,
        ours: Option<T>,
        witness: Option<T>,
        who: &str,
    ) {
        if ours.is_some() {
            self.equal(what, ours, witness, who);
        }
    }

    /// Fails unless both figures are there and no further apart than `bound`; notes the difference.
    pub fn within(&mut self, what: &str, ours: Option<u64>, witness: Option<u64>, bound: u64, who: &str) {
        let (Some(ours), Some(witness)) = (ours, witness) else {
            return self.equal(what, ours, witness, who);
        };
        self.note(&format!("{what} minus {who}"), ours.checked_signed_diff(witness));
        self.that(ours.abs_diff(witness) <= bound, || {
            let apart = ours.abs_diff(witness);
            format!("{what} is {ours}, {who} says {witness}: {apart} apart, and at most {bound} is explained")
        });
    }

    /// Records a measured value in the result's details.
    pub fn note(&mut self, key: &str, value: impl Into<Value>) {
        self.details.insert(key.to_owned(), value.into());
    }

    /// Records a failure.
    pub fn fail(&mut self, message: impl Into<String>) {
        self.made += 1;
        self.failures.push(message.into());
    }

    /// The failures so far.
    #[must_use]
    pub fn failures(&self) -> &[String] {
        &self.failures
    }

    /// The number of comparisons made.
    #[must_use]
    pub fn made(&self) -> u64 {
        self.made
    }

    /// Ends collecting: the failures and the details.
    #[must_use]
    pub fn into_parts(self) -> (Vec<String>, Map<String, Value>) {
        (self.failures, self.details)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards that a wrong, an absent and an unwitnessed figure each fail, and an equal one does not.
    #[test]
    fn only_an_equal_figure_passes() {
        let mut checks = Checks::default();
        checks.equal("pid", Some(7), Some(7), "the log");
        assert!(checks.failures().is_empty());
        checks.equal("pid", Some(7), Some(8), "the log");
        checks.equal("pid", None, Some(8), "the log");
        checks.equal("pid", Some(7), None, "the log");
        checks.equal_if_given("order", None, Some(0), "the log");
        checks.equal_if_given("order", Some(1), Some(0), "the log");
        assert_eq!(checks.failures().len(), 4, "{:?}", checks.failures());
        assert_eq!(checks.made(), 5);
    }

    /// Guards that a bound is a bound in both directions, and that the difference is reported even when it holds.
    #[test]
    fn a_bound_holds_on_both_sides() {
        let mut checks = Checks::default();
        checks.within("rss", Some(100), Some(90), 10, "smaps");
        checks.within("rss", Some(80), Some(90), 10, "smaps");
        assert!(checks.failures().is_empty());
        checks.within("rss", Some(101), Some(90), 10, "smaps");
        checks.within("rss", Some(79), Some(90), 10, "smaps");
        checks.within("rss", None, Some(90), 10, "smaps");
        assert_eq!(checks.failures().len(), 3);
        let (_, details) = checks.into_parts();
        assert_eq!(details.get("rss minus smaps"), Some(&Value::from(-11)));
    }
}
