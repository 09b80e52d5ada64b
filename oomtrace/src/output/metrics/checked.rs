//! What `oomtrace check` finds, for a gauge: looked at when somebody asks, and not more often than every few minutes. A look
//! reads what all processes are, which takes a while, and longer where memory is short: it has a thread of its own, so that nobody
//! waits for it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use crate::{check::Check, explain::Severity, say::say};

/// How long what was found is good.
const GOOD_FOR: Duration = Duration::from_mins(5);
/// The stack of the thread that looks.
const STACK_BYTES: usize = 1024 * 1024;

/// Looks at the machine. `None`: it could not be seen.
pub type Look = dyn Fn() -> Option<Vec<CheckFinding>> + Send + Sync;

/// Findings of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckFinding {
    /// What is concluded.
    pub id: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// How many there are.
    pub count: u64,
}

/// The findings of a check, those of a kind together.
#[must_use]
pub fn findings(check: &Check) -> Vec<CheckFinding> {
    let mut found: Vec<CheckFinding> = Vec::new();
    for finding in &check.findings {
        let (id, severity) = (finding.id, finding.conclusion.severity);
        match found.iter_mut().find(|one| one.id == id && one.severity == severity) {
            Some(one) => one.count = one.count.saturating_add(1),
            None => found.push(CheckFinding { id, severity, count: 1 }),
        }
    }
    found
}

/// What was found, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// What.
    pub findings: Vec<CheckFinding>,
    /// When, in seconds since 1970.
    pub at_seconds: f64,
}

/// See the module.
#[derive(Clone)]
pub struct Checked {
    look: Arc<Look>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    found: Option<Found>,
    /// When the last look began.
    began: Option<Instant>,
    looking: bool,
}

impl Checked {
    /// Nothing is looked at yet.
    #[must_use]
    pub fn new(look: Arc<Look>) -> Self {
        Self { look, state: Arc::default() }
    }

    /// What was found last. If that is long ago, it is looked again: who asks next has what comes of it.
    #[must_use]
    pub fn found(&self, now: Instant) -> Option<Found> {
        let mut state = self.state();
        let fresh = state.began.is_some_and(|began| now.saturating_duration_since(began) < GOOD_FOR);
        if !fresh && !state.looking {
            (state.began, state.looking) = (Some(now), true);
            let own = self.clone();
            let thread = thread::Builder::new().name("check".to_owned()).stack_size(STACK_BYTES);
            if let Err(error) = thread.spawn(move || own.look()) {
                state.looking = false;
                say!(
                    "metrics: no thread can be started to check the machine: {error}; it is tried again in some minutes."
                );
            }
        }
        state.found.clone()
    }

    fn look(&self) {
        let found = (self.look)();
        let at_seconds = Timestamp::now().as_duration().as_secs_f64();
        let mut state = self.state();
        state.looking = false;
        state.found = found.map(|findings| Found { findings, at_seconds });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

    use super::*;

    /// Guards how often the machine is looked at, and that a scrape does not wait for it.
    #[test]
    fn it_is_looked_at_every_few_minutes_at_most() {
        let looks = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&looks);
        let checked = Checked::new(Arc::new(move || {
            thread::sleep(Duration::from_millis(50));
            let count = counted.fetch_add(1, SeqCst) + 1;
            Some(vec![CheckFinding { id: "swap-none", severity: Severity::Notice, count }])
        }));
        let now = Instant::now();
        let found = |at| checked.found(at).map(|found| found.findings[0].count);
        assert_eq!(found(now), None, "a scrape waits for nothing");
        let until = Instant::now() + Duration::from_secs(20);
        while found(now).is_none() {
            assert!(Instant::now() < until);
            thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(found(now + GOOD_FOR / 2), Some(1));
        assert_eq!(looks.load(SeqCst), 1);
        assert_eq!(found(now + GOOD_FOR), Some(1), "the old one, until there is a new one");
        while found(now + GOOD_FOR) != Some(2) {
            assert!(Instant::now() < until);
            thread::sleep(Duration::from_millis(5));
        }
    }
}
