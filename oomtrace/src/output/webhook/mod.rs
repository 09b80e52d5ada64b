//! JSON lines to an HTTP endpoint, by POST.
//!
//! What the endpoint does not take just now waits in memory, in order, and is tried again ever later; what it refuses, or has
//! not taken for a long time, is dropped and counted. Every line either ends as written or as lost.

mod answer;
mod settings;
mod target;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

pub use self::settings::{Batch, WebhookError, WebhookSettings};
use self::{answer::Answer, target::Target};
use super::{Closed, Format as _, Health, Json, LineKind, Message, Sink, backlog::Backlog, retry::Retry};

/// Memory for lines that wait for the endpoint, bytes.
const WAITING_BYTES: usize = 4 << 20;
/// What one request carries at the most, bytes, but for a longer line.
const REQUEST_BYTES: usize = 256 * 1024;
/// The first wait after a failure, and the longest, which also bounds what an endpoint may ask for (Retry-After).
const WAIT: [Duration; 2] = [Duration::from_secs(1), Duration::from_mins(5)];
/// How long a request may take when the agent ends.
const LAST_REQUESTS: Duration = Duration::from_millis(1500);

/// See the module.
pub struct Webhook {
    target: Target,
    kinds: Vec<LineKind>,
    batch: Batch,
    timeout: Duration,
    give_up_after: Duration,
    health: Arc<Health>,
    backlog: Backlog,
    retry: Retry,
    /// Since when the endpoint has not taken what waits first.
    refused_since: Option<Instant>,
}

impl Webhook {
    /// Reads what it needs: certificates, for HTTPS, and the authorization. Nothing is sent yet: an endpoint that is not there
    /// is waited for.
    pub fn new(settings: &WebhookSettings, health: Arc<Health>) -> Result<Self, WebhookError> {
        settings.check()?;
        let [first, most] = WAIT;
        Ok(Self {
            target: Target::new(settings)?,
            kinds: settings.kinds.clone(),
            batch: settings.batch,
            timeout: settings.timeout,
            give_up_after: settings.give_up_after,
            health,
            backlog: Backlog::new(WAITING_BYTES),
            retry: Retry::new(first, most),
            refused_since: None,
        })
    }

    /// Sends one request, if one is due. No more at once: while a slow endpoint has it, what comes is to find room here, and
    /// not to be dropped in front.
    fn try_send(&mut self) {
        if !self.backlog.is_empty() && self.retry.is_due(Instant::now()) {
            self.send(self.timeout);
        }
    }

    fn send(&mut self, timeout: Duration) {
        let (lines, body) = self.body();
        match self.target.post(&body, self.batch.content_type(), timeout) {
            Answer::Taken => {
                self.done(lines);
                self.health.wrote(lines);
                self.health.works();
            }
            Answer::Refused(reason) => {
                self.done(lines);
                self.health.lost(lines);
                self.health.fails(reason, "what it refuses is dropped");
            }
            Answer::Later { reason, wish } => {
                let now = Instant::now();
                let since = *self.refused_since.get_or_insert(now);
                self.health.fails(reason, "lines wait in memory, up to 4 MiB, and it is tried again");
                self.retry.failed(now, wish);
                if now.saturating_duration_since(since) >= self.give_up_after {
                    // One that the endpoint will never take must not hold up all after it for ever.
                    (0..lines).for_each(|_| drop(self.backlog.pop()));
                    self.health.lost(lines);
                    self.refused_since = None;
                }
            }
        }
    }

    /// The lines of the next request: how many, and their bytes.
    fn body(&self) -> (u64, Vec<u8>) {
        let (mut lines, mut body) = (0, Vec::new());
        let most = match self.batch {
            Batch::One => 1,
            Batch::Lines => usize::MAX,
        };
        for line in self.backlog.lines().take(most) {
            if lines > 0 && body.len().saturating_add(line.len()) > REQUEST_BYTES {
                break;
            }
            body.extend_from_slice(line);
            lines += 1;
        }
        (lines, body)
    }

    /// The endpoint has answered what is to become of the first lines.
    fn done(&mut self, lines: u64) {
        (0..lines).for_each(|_| drop(self.backlog.pop()));
        self.retry.succeeded();
        self.refused_since = None;
    }
}

impl Sink for Webhook {
    fn wants(&self) -> fn(&Message) -> bool {
        Json.shows()
    }

    fn take(&mut self, message: &Arc<Message>) -> Result<(), Closed> {
        if !LineKind::of(message).is_some_and(|kind| self.kinds.contains(&kind)) {
            return Ok(());
        }
        let line = Json::line(message);
        if !self.backlog.push(line) {
            self.health.lost(1);
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Closed> {
        self.try_send();
        Ok(())
    }

    fn rest(&mut self) -> Option<Duration> {
        self.try_send();
        (!self.backlog.is_empty()).then(|| self.retry.wait(Instant::now()))
    }

    fn end(&mut self) {
        self.retry.hurry();
        let until = Instant::now() + LAST_REQUESTS;
        while !self.backlog.is_empty() && self.retry.is_due(Instant::now()) {
            let rest = until.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                break;
            }
            self.send(rest.min(self.timeout));
        }
        self.health.lost(self.backlog.len() as u64);
    }
}

#[cfg(test)]
mod tests;
