//! What stress-ng says of itself: the file that its `--yaml` writes, of which the metrics are read.
//!
//! It is read line by line, and not by a parser of all of YAML: stress-ng writes it with printf() (`stress_metrics_dump()`,
//! stress-ng.c), in this form ever since:
//!
//! ```yaml
//! metrics:
//!     - stressor: vm
//!       bogo-ops: 4166
//!       bogo-ops-per-second-real-time: 4122.586
//!       wall-clock-time: 1.010531
//! ```
//!
//! and not all that it writes is YAML: names of thermal zones and hosts stand there as they are, and in many locales numbers
//! have a decimal comma. Later versions have figures of single instances (`instances:`) further to the right.

use std::{fs::File, io::Read as _, path::Path};

use super::report::BogoOps;
use crate::text::printable;

/// What is read of a file, at most: far more than one of all stressors that there are has (each takes half a KiB or so).
const MOST_BYTES: u64 = 8 << 20;
/// Stressors, at most.
const MOST_STRESSORS: usize = 1024;
/// What the section begins with.
const METRICS: &str = "metrics:";
/// What the file ends with.
const END: &str = "...";

/// Reads the file.
///
/// # Errors
/// It cannot be read, is none of stress-ng's, or has no metrics: a sentence that names it.
pub fn read(path: &Path) -> Result<Vec<BogoOps>, String> {
    let name = printable(&path.display().to_string());
    let mut text = Vec::new();
    File::open(path).and_then(|file| file.take(MOST_BYTES + 1).read_to_end(&mut text)).map_err(|error| {
        format!("{name} cannot be read: {error}. Did stress-ng write it (--yaml {name})?")
    })?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > MOST_BYTES {
        return Err(format!("{name} has more than {} MiB, which stress-ng does not write", MOST_BYTES >> 20));
    }
    parse(&String::from_utf8_lossy(&text)).map_err(|problem| format!("{name} {problem}"))
}

/// Its metrics, in the order in which they are there; those of one stressor that was run several times as one.
fn parse(text: &str) -> Result<Vec<BogoOps>, String> {
    if text.lines().map(str::trim).find(|line| !line.is_empty()) != Some("---") {
        return Err("is not what stress-ng writes (--yaml): that begins with a line of ---".to_owned());
    }
    if text.lines().map(str::trim).rfind(|line| !line.is_empty()) != Some(END) {
        return Err("ends early: stress-ng was killed while it wrote it".to_owned());
    }
    let mut all = Vec::<BogoOps>::new();
    for part in parts(text) {
        let one = part.bogo_ops()?;
        if let Some(other) = all.iter_mut().find(|other| other.stressor == one.stressor) {
            join(other, &one);
        } else if all.len() < MOST_STRESSORS {
            all.push(one);
        } else {
            return Err(format!("has more than {MOST_STRESSORS} stressors, of which stress-ng has fewer"));
        }
    }
    if all.is_empty() {
        return Err("has no metrics: give stress-ng --metrics too (with --metrics-brief it leaves out stressors that did nothing)".to_owned());
    }
    Ok(all)
}

/// A stressor's figures, not read yet.
struct Part<'a> {
    stressor: &'a str,
    /// Where its keys stand: those further to the right are of something else.
    column: usize,
    figures: Vec<(&'a str, &'a str)>,
}

/// The items of the section `metrics`.
fn parts(text: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::<Part<'_>>::new();
    // The section ends where the next one begins, or the file does.
    let is_section = |line: &&str| line.starts_with(|letter: char| !letter.is_whitespace());
    let lines = text.lines().skip_while(|line| line.trim_end() != METRICS).skip(1);
    for line in lines.take_while(|line| !is_section(line)) {
        let content = line.trim_start();
        let (column, content) = match content.strip_prefix("- ") {
            Some(rest) => (line.len() - rest.trim_start().len(), rest.trim_start()),
            None => (line.len() - content.len(), content),
        };
        let Some((key, value)) = content.split_once(':') else { continue };
        let value = value.trim().trim_matches(['\'', '"']);
        match parts.last_mut() {
            Some(part) if part.column == column && key != "stressor" => part.figures.push((key, value)),
            Some(part) if part.column != column => {}
            _ if key == "stressor" => parts.push(Part { stressor: value, column, figures: Vec::new() }),
            _ => {}
        }
    }
    parts
}

impl Part<'_> {
    fn bogo_ops(&self) -> Result<BogoOps, String> {
        let text = |key: &str| self.figures.iter().find(|(other, _)| *other == key).map(|(_, value)| *value);
        let odd = |key: &str, value: &str| {
            let (stressor, value) = (printable(self.stressor), printable(value));
            format!("is damaged: {key} of the stressor {stressor} is \"{value}\"")
        };
        let number = |key: &str| -> Result<Option<f64>, String> {
            let Some(value) = text(key) else { return Ok(None) };
            // Of no time at all stress-ng may say nan or inf.
            let number: f64 = value.replacen(',', ".", 1).parse().map_err(|_| odd(key, value))?;
            Ok(Some(number).filter(|number| number.is_finite() && *number >= 0.0))
        };
        let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_');
        if self.stressor.is_empty() || self.stressor.len() > 64 || !self.stressor.chars().all(plain) {
            return Err(format!("is damaged: it has a stressor \"{}\"", shortened(self.stressor)));
        }
        let ops = text("bogo-ops").ok_or_else(|| odd("bogo-ops", ""))?;
        let bogo_ops: u64 = ops.parse().map_err(|_| odd("bogo-ops", ops))?;
        let wall = number("wall-clock-time")?;
        let (user, system) = (number("user-time")?, number("system-time")?);
        let told = number("bogo-ops-per-second-real-time")?;
        Ok(BogoOps {
            stressor: self.stressor.to_owned(),
            bogo_ops,
            wall_ns: wall.map(nanoseconds),
            per_second: told.or_else(|| rate(bogo_ops, wall.map(nanoseconds))),
            cpu_ns: user.zip(system).map(|(user, system)| nanoseconds(user + system)),
        })
    }
}

/// As if they had run one after the other, as they do with `--sequential` and in most job files.
fn join(one: &mut BogoOps, other: &BogoOps) {
    let sum =
        |one: Option<u64>, other: Option<u64>| one.zip(other).map(|(one, other)| one.saturating_add(other));
    one.bogo_ops = one.bogo_ops.saturating_add(other.bogo_ops);
    one.wall_ns = sum(one.wall_ns, other.wall_ns);
    one.cpu_ns = sum(one.cpu_ns, other.cpu_ns);
    one.per_second = rate(one.bogo_ops, one.wall_ns);
}

fn rate(bogo_ops: u64, wall_ns: Option<u64>) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "what is beyond 2^53 needs no last digit")]
    wall_ns.filter(|ns| *ns > 0).map(|ns| bogo_ops as f64 / (ns as f64 / 1e9))
}

fn nanoseconds(seconds: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
    let ns = (seconds * 1e9).round() as u64;
    ns
}

fn shortened(text: &str) -> String {
    printable(&text.chars().take(64).collect::<String>())
}

#[cfg(test)]
#[path = "stress_ng_tests.rs"]
mod tests;
