//! The table of fields by tier and kernel, made from what the matrix saw.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::workspace;

/// Where it stands, in the workspace.
const FILE: &str = "oomtrace/docs/fields.md";

/// The tier without any hook, which follows the kernel's log.
const LOG_TIER: &str = "kmsg";

/// What was seen in each tier, by kernel.
#[derive(Debug, Default)]
pub struct Fields {
    /// Field, tier, kernels on which it was there.
    seen: BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
    /// Field, tier, a reason that was given for its absence.
    lacking: BTreeMap<String, BTreeMap<String, String>>,
    /// Tier, kernels that were looked at.
    kernels: BTreeMap<String, BTreeSet<String>>,
}

#[derive(Deserialize)]
struct Line {
    details: Details,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Details {
    fields: Seen,
    /// Of the oomtrace beside, which has the kernel's log alone.
    log_fields: Seen,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Seen {
    seen: Vec<String>,
    lacking: BTreeMap<String, String>,
}

impl Fields {
    /// Takes in the lines that `scenarios run --results` wrote. One that cannot be read is a failure elsewhere.
    pub fn add(&mut self, tier: &str, kernel: &str, results: &str) {
        let lines = results.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
        for Line { details: Details { fields, log_fields } } in lines {
            self.add_seen(tier, kernel, fields);
            self.add_seen(LOG_TIER, kernel, log_fields);
        }
    }

    fn add_seen(&mut self, tier: &str, kernel: &str, fields: Seen) {
        if !fields.seen.is_empty() {
            self.kernels.entry(tier.to_owned()).or_default().insert(kernel.to_owned());
        }
        for field in fields.seen {
            let kernels = self.seen.entry(field).or_default().entry(tier.to_owned()).or_default();
            kernels.insert(kernel.to_owned());
        }
        for (field, reason) in fields.lacking {
            self.lacking.entry(field).or_default().entry(tier.to_owned()).or_insert(reason);
        }
    }

    /// Writes the table.
    pub fn write(&self) -> Result<()> {
        let file = workspace::root().join(FILE);
        fs::write(&file, self.table()).with_context(|| format!("cannot write {}", file.display()))
    }

    fn table(&self) -> String {
        let mut text = String::from(HEAD);
        let tiers: Vec<&String> = self.kernels.keys().collect();
        // Writing to a String cannot fail.
        for tier in &tiers {
            let kernels: Vec<_> = self.kernels[*tier].iter().map(String::as_str).collect();
            let _ = writeln!(text, "- {tier}: {}", kernels.join(", "));
        }
        let _ = writeln!(
            text,
            "\n| field | {} |",
            tiers.iter().map(|tier| tier.as_str()).collect::<Vec<_>>().join(" | ")
        );
        let _ = writeln!(text, "|---|{}", "---|".repeat(tiers.len()));
        let mut notes: Vec<&str> = Vec::new();
        let fields: BTreeSet<&String> = self.seen.keys().chain(self.lacking.keys()).collect();
        for field in fields {
            let cells: Vec<_> = tiers.iter().map(|tier| self.cell(field, tier, &mut notes)).collect();
            let _ = writeln!(text, "| `{field}` | {} |", cells.join(" | "));
        }
        text.push('\n');
        for (number, note) in notes.iter().enumerate() {
            let _ = writeln!(text, "{}. {note}", number + 1);
        }
        text
    }

    /// What is known of a field in a tier; a reason for its absence goes to the notes.
    fn cell<'a>(&'a self, field: &str, tier: &str, notes: &mut Vec<&'a str>) -> String {
        let all = self.kernels.get(tier);
        let seen = self.seen.get(field).and_then(|tiers| tiers.get(tier));
        let mut cell = match seen {
            Some(seen) if Some(seen) == all => "all".to_owned(),
            Some(seen) => seen.iter().map(String::as_str).collect::<Vec<_>>().join(", "),
            None => "–".to_owned(),
        };
        if let Some(reason) = self.lacking.get(field).and_then(|tiers| tiers.get(tier)) {
            let number = notes.iter().position(|note| note == reason).unwrap_or_else(|| {
                notes.push(reason);
                notes.len() - 1
            });
            // Writing to a String cannot fail.
            let _ = write!(cell, " [{}]", number + 1);
        }
        cell
    }
}

const HEAD: &str = "\
# Fields by tier and kernel

Which fields of the output were there on which kernel, as the tests saw it: made from their results by
`cargo xtask test --write-fields` (some scenarios run in one tier of each kernel; with `--full` in all). The tier
`kmsg` is an oomtrace that follows the kernel log beside each scenario that kills, and has no hook. `all` are all kernels that the tier was tested on; – means that it was there on
none, either because it cannot be (a note says why) or because nothing that was provoked has it. A number in brackets is
the reason that an incident gave in `missing` where the field was absent at least once.

";

#[cfg(test)]
mod tests {
    use super::*;

    fn result(seen: &[&str], lacking: &[(&str, &str)]) -> String {
        let lacking: BTreeMap<_, _> = lacking.iter().copied().collect();
        serde_json::json!({"scenario": "a", "details": {"fields": {"seen": seen, "lacking": lacking}}})
            .to_string()
    }

    /// Guards what a cell says: where a field was there, where it was not, and why.
    #[test]
    fn cells_tell_kernels_and_reasons() {
        let mut fields = Fields::default();
        fields.add("kprobe", "6.1", &result(&["oom.id", "oom.zones"], &[]));
        fields.add("kprobe", "6.12", &format!("{}\nnonsense", result(&["oom.id"], &[])));
        fields.add("tracepoint", "6.1", &result(&["oom.id"], &[("oom.zones", "no hook")]));
        let table = fields.table();
        assert!(table.contains("| `oom.id` | all | all |\n"), "{table}");
        assert!(table.contains("| `oom.zones` | 6.1 | – [1] |\n"), "{table}");
        assert!(table.ends_with("\n1. no hook\n"), "{table}");
        assert!(table.contains("- kprobe: 6.1, 6.12\n"), "{table}");
    }

    /// Guards that what the log alone tells is a tier of its own, whichever tier it stood beside.
    #[test]
    fn the_log_is_a_tier_of_its_own() {
        let mut fields = Fields::default();
        let seen = |field| serde_json::json!({"seen": [field], "lacking": {}});
        let details = serde_json::json!({"fields": seen("oom.id"), "log_fields": seen("oom.kmsg_seq")});
        fields.add("kprobe", "6.1", &serde_json::json!({"scenario": "a", "details": details}).to_string());
        let table = fields.table();
        assert!(table.contains("- kmsg: 6.1\n- kprobe: 6.1\n"), "{table}");
        assert!(table.contains("| `oom.id` | – | all |\n| `oom.kmsg_seq` | all | – |\n"), "{table}");
    }
}
