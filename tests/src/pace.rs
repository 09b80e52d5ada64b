//! Memory that is filled at a rate that is known.

use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How often some more is filled.
const STEP: Duration = Duration::from_millis(50);

/// Writes to every byte that is `step` (a page) behind the one before, at `pace` bytes a second. Who is late makes up for it.
pub fn touch(region: &[AtomicU8], step: usize, pace: u64) {
    let begun = Instant::now();
    let mut done = 0;
    for byte in region.iter().step_by(step) {
        while due(begun.elapsed(), pace) <= done {
            sleep(STEP);
        }
        byte.store(1, Ordering::Relaxed);
        done += step as u64;
    }
}

/// Bytes that are to be filled after a time.
fn due(elapsed: Duration, pace: u64) -> u64 {
    let bytes = u128::from(pace).saturating_mul(elapsed.as_millis()) / 1000;
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the rate that comparisons rest on, and that all of it is filled.
    #[test]
    fn memory_fills_at_the_pace() {
        let region: Vec<AtomicU8> = (0..50).map(|_| AtomicU8::new(0)).collect();
        let begun = Instant::now();
        touch(&region, 1, 100);
        assert!(begun.elapsed() >= Duration::from_millis(490));
        assert!(region.iter().all(|byte| byte.load(Ordering::Relaxed) == 1));
        assert_eq!(due(Duration::MAX, u64::MAX), u64::MAX);
    }
}
