//! Time limits. Every wait in the scenarios is for an event, and ends with an error when its limit passes.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// The instant after which waiting is a failure.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(Instant);

impl Deadline {
    /// A deadline `limit` from now.
    #[must_use]
    pub fn after(limit: Duration) -> Self {
        Self(Instant::now() + limit)
    }

    /// The earlier of this deadline and one `limit` from now.
    #[must_use]
    pub fn or_after(self, limit: Duration) -> Self {
        Self(self.0.min(Instant::now() + limit))
    }

    /// The time that is left; an error naming `what` was waited for when there is none.
    pub fn left(self, what: &str) -> Result<Duration> {
        match self.0.checked_duration_since(Instant::now()) {
            Some(left) if !left.is_zero() => Ok(left),
            _ => bail!("the time limit passed while waiting for {what}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards that a wait ends: a passed deadline is an error that says what was waited for.
    #[test]
    fn passed_deadline_names_what_was_awaited() {
        let error = Deadline::after(Duration::ZERO).left("the kill").unwrap_err();
        assert!(error.to_string().contains("the kill"));
        assert!(Deadline::after(Duration::from_secs(9)).left("it").unwrap() > Duration::from_secs(8));
    }

    /// Guards that a shorter limit within a scenario wins, and a longer one does not extend it.
    #[test]
    fn the_earlier_limit_holds() {
        let long = Duration::from_secs(90);
        assert!(Deadline::after(long).or_after(Duration::ZERO).left("it").is_err());
        assert!(Deadline::after(Duration::ZERO).or_after(long).left("it").is_err());
    }
}
