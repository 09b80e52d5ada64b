//! When to try again what failed: later each time, and not all machines at once.

use std::time::{Duration, Instant};

/// See the module.
#[derive(Debug)]
pub(super) struct Retry {
    first: Duration,
    most: Duration,
    failures: u32,
    due: Option<Instant>,
}

impl Retry {
    /// After a first failure that long, and twice as long after each further one, up to `most`.
    pub fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, failures: 0, due: None }
    }

    /// It failed. `wish`: how long the other side wants to be left alone; it gets that, as far as `most` allows.
    pub fn failed(&mut self, now: Instant, wish: Option<Duration>) {
        let doubled = self.first.saturating_mul(1_u32.checked_shl(self.failures.min(20)).unwrap_or(u32::MAX));
        self.failures = self.failures.saturating_add(1);
        let wait = spread(doubled.min(self.most)).max(wish.unwrap_or_default()).min(self.most);
        self.due = now.checked_add(wait);
    }

    /// It went well.
    pub fn succeeded(&mut self) {
        (self.failures, self.due) = (0, None);
    }

    /// It is to be tried at once.
    pub fn hurry(&mut self) {
        self.due = None;
    }

    /// How long to wait until the next try. Zero: it is due.
    pub fn wait(&self, now: Instant) -> Duration {
        self.due.map_or(Duration::ZERO, |due| due.saturating_duration_since(now))
    }

    /// Whether it may be tried now.
    pub fn is_due(&self, now: Instant) -> bool {
        self.wait(now).is_zero()
    }
}

/// Between a half and the whole of it, at random: many machines that lost one server do not come back to it at once.
fn spread(wait: Duration) -> Duration {
    let mut random = [0_u8; 4];
    // Without random bytes, which no kernel of today lacks, it is a half.
    let _ = rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::NONBLOCK);
    wait.mul_f64(0.5 + 0.5 * f64::from(u32::from_ne_bytes(random)) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Guards an endpoint that is down against being asked ever faster, and recovery against being waited for for hours.
    #[test]
    fn it_waits_longer_each_time_up_to_a_bound() {
        let (mut retry, now) = (Retry::new(SECOND, 60 * SECOND), Instant::now());
        assert!(retry.is_due(now));
        for longest in [1, 2, 4, 8, 16, 32, 60, 60] {
            retry.failed(now, None);
            let wait = retry.wait(now);
            assert!(wait >= SECOND * longest / 2 && wait <= SECOND * longest, "{wait:?} of {longest} s");
        }
        (0..100).for_each(|_| retry.failed(now, None));
        assert!(retry.wait(now) <= 60 * SECOND);
        retry.succeeded();
        assert!(retry.is_due(now));
    }

    /// Guards what a server asks for, and the bound of it: it cannot silence an output for a year.
    #[test]
    fn a_server_may_ask_for_a_while() {
        let (mut retry, now) = (Retry::new(SECOND, 60 * SECOND), Instant::now());
        retry.failed(now, Some(7 * SECOND));
        assert_eq!(retry.wait(now), 7 * SECOND);
        retry.failed(now, Some(Duration::MAX));
        assert_eq!(retry.wait(now), 60 * SECOND);
    }

    /// Guards against a herd: waits are not all the same.
    #[test]
    fn waits_are_spread() {
        let waits: std::collections::BTreeSet<_> = (0..50).map(|_| spread(SECOND)).collect();
        assert!(waits.len() > 10);
    }
}
