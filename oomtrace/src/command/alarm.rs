//! Moments that may never come.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::host;

/// Waits until then; for ever, if there is no such moment.
pub async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// The moment at which so much time will have passed since boot, ns.
pub fn since_boot(deadline_ns: u64) -> Instant {
    Instant::now() + Duration::from_nanos(deadline_ns.saturating_sub(host::boot_ns()))
}
