//! The line that a terminal shows while a command runs.

use textwrap::core::display_width;

use super::text::{BOLD, DIM, RED, YELLOW, paint};
use crate::{
    profile::digest::number,
    words::{size, span},
};

/// Takes a status line back: to the line's beginning, and all of it gone (ECMA-48: CR, EL 2).
pub const CLEAR: &str = "\r\u{1b}[2K";

/// How it goes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Status {
    /// Since the run began, ns.
    pub elapsed_ns: u64,
    /// Which run of how many, from 1; those to warm up are among them.
    pub run: Option<(u32, u32)>,
    /// The command's memory.
    pub used_bytes: Option<u64>,
    /// Its limit.
    pub limit_bytes: Option<u64>,
    /// `MemAvailable`: shown where there is no limit.
    pub available_bytes: Option<u64>,
    /// Kills of the command's own.
    pub own_kills: u64,
    /// Kills of bystanders.
    pub bystander_kills: u64,
    /// Kills of which it is not known whose they were.
    pub unknown_kills: u64,
    /// Forks that failed.
    pub fork_failures: u64,
    /// Seconds that threads waited in reclaim or compaction, per second, lately.
    pub waiting: Option<f64>,
}

/// One line without its end, no wider than `width`: what there is no room for is left out, the least important first. Behind
/// [`CLEAR`] it takes the place of the one before.
#[must_use]
pub fn status(status: &Status, width: usize, colour: bool) -> String {
    // One column stays free: a terminal that is filled may go to the next line by itself.
    let room = width.saturating_sub(1);
    let mut parts = parts(status);
    let taken = |parts: &[Part]| {
        let separators = 3 * parts.len().saturating_sub(1);
        parts.iter().map(|part| display_width(&part.text)).sum::<usize>() + separators
    };
    while taken(&parts) > room && !parts.is_empty() {
        // The last of the least important.
        let least = parts.iter().enumerate().max_by_key(|(at, part)| (part.rank, *at)).map(|(at, _)| at);
        parts.remove(least.unwrap_or(0));
    }
    let separator = paint(colour, DIM, " · ");
    let shown: Vec<_> = parts
        .iter()
        .map(|part| part.style.map_or_else(|| part.text.clone(), |style| paint(colour, style, &part.text)))
        .collect();
    shown.join(&separator)
}

/// Whole seconds, and from a minute on as other times are written.
fn elapsed(seconds: u64) -> String {
    if seconds < 60 { format!("{seconds} s") } else { span(seconds.saturating_mul(1_000_000_000)) }
}

struct Part {
    text: String,
    style: Option<&'static str>,
    /// The least important has the highest.
    rank: u8,
}

fn parts(status: &Status) -> Vec<Part> {
    let part = |rank, style, text| Part { text, style, rank };
    let mut parts = Vec::new();
    if let Some((nth, of)) = status.run.filter(|(_, of)| *of > 1) {
        parts.push(part(4, None, format!("run {nth}/{of}")));
    }
    parts.push(part(0, Some(BOLD), elapsed(status.elapsed_ns / 1_000_000_000)));
    if let Some(memory) = memory(status) {
        parts.push(part(3, None, memory));
    }
    let none = status.own_kills == 0 && status.bystander_kills == 0 && status.unknown_kills == 0;
    if none {
        parts.push(part(2, None, "no kills".to_owned()));
    }
    if status.bystander_kills > 0 {
        let s = if status.bystander_kills == 1 { "" } else { "s" };
        parts.push(part(1, Some(RED), format!("{} bystander{s} killed", number(status.bystander_kills))));
    }
    if status.own_kills > 0 {
        parts.push(part(2, Some(YELLOW), format!("{} own killed", number(status.own_kills))));
    }
    if status.unknown_kills > 0 {
        parts.push(part(2, Some(YELLOW), format!("{} others killed", number(status.unknown_kills))));
    }
    if status.fork_failures > 0 {
        let s = if status.fork_failures == 1 { "" } else { "s" };
        parts.push(part(5, Some(YELLOW), format!("{} fork{s} failed", number(status.fork_failures))));
    }
    if let Some(waiting) = status.waiting.filter(|waiting| *waiting >= 0.005) {
        parts.push(part(6, None, format!("waiting {waiting:.2} s/s")));
    }
    parts
}

fn memory(status: &Status) -> Option<String> {
    match (status.used_bytes, status.limit_bytes, status.available_bytes) {
        (Some(used), Some(limit), _) => {
            let percent = u128::from(used) * 100 / u128::from(limit.max(1));
            Some(format!("{} of {} ({percent} %)", size(used), size(limit)))
        }
        (Some(used), None, Some(available)) => {
            Some(format!("{} used, {} available", size(used), size(available)))
        }
        (Some(used), None, None) => Some(format!("{} used", size(used))),
        (None, _, Some(available)) => Some(format!("{} available", size(available))),
        (None, _, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the line: what matters most is what stays in a narrow terminal, and nothing is ever wider.
    #[test]
    fn a_status_fits() {
        let now = Status {
            elapsed_ns: 61_900_000_000,
            run: Some((2, 5)),
            used_bytes: Some(480 << 20),
            limit_bytes: Some(512 << 20),
            own_kills: 1200,
            bystander_kills: 1,
            fork_failures: 12,
            waiting: Some(0.734),
            ..Status::default()
        };
        assert_eq!(
            status(&now, 120, false),
            "run 2/5 · 61 s · 480.0 MiB of 512.0 MiB (93 %) · 1 bystander killed · 1,200 own killed · 12 forks failed · waiting 0.73 s/s"
                .strip_suffix(" · waiting 0.73 s/s")
                .unwrap()
        );
        assert_eq!(status(&now, 46, false), "61 s · 1 bystander killed · 1,200 own killed");
        for width in 0..140 {
            assert!(display_width(&status(&now, width, false)) <= width.saturating_sub(1), "{width}");
        }
        let quiet = Status { elapsed_ns: 3_200_000_000, available_bytes: Some(1 << 30), ..Status::default() };
        assert_eq!(status(&quiet, 80, false), "3 s · 1.0 GiB available · no kills");
        assert!(status(&now, 120, true).contains("\u{1b}[1;31m1 bystander killed\u{1b}[0m"));
    }
}
