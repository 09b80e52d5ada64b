//! `oomtrace explain`

use std::{
    fmt::Write as _,
    io::{Write as _, stdout},
};

use anyhow::Context as _;

use crate::{
    cli::ExplainArgs,
    explain::{RULES, rule},
};

/// Names that are proposed for one that is none.
const PROPOSED: usize = 3;

/// Nobody knows a finding of this name.
#[derive(Debug, thiserror::Error)]
#[error("there is no finding \"{id}\"; perhaps {}? `oomtrace explain` lists all", near.join(", "))]
pub struct Unknown {
    id: String,
    near: Vec<&'static str>,
}

/// Prints the page of a finding, or the list of all.
pub fn run(args: &ExplainArgs) -> anyhow::Result<()> {
    let text = match &args.id {
        Some(id) => rule(id).map(|rule| rule.page.to_owned()).ok_or_else(|| unknown(id))?,
        None => list(),
    };
    stdout().write_all(text.as_bytes()).context("Standard output cannot be written to")
}

fn list() -> String {
    let width = RULES.iter().map(|rule| rule.id.len()).max().unwrap_or(0);
    let mut text = String::new();
    for rule in RULES {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{:width$}  {}", rule.id, rule.title());
    }
    text
}

/// The error, with the names that are most alike.
fn unknown(id: &str) -> Unknown {
    let id: String = id.chars().take(64).collect();
    let mut near: Vec<_> = RULES.iter().map(|rule| rule.id).collect();
    near.sort_by_key(|known| (!known.contains(&*id), distance(known, &id)));
    near.truncate(PROPOSED);
    Unknown { id: crate::text::printable(&id), near }
}

/// How many letters must be changed, added or left out to make one of the other (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (above, letter) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], above + 1);
        for (at, against) in other.chars().enumerate() {
            let changed = diagonal + usize::from(letter != against);
            diagonal = row[at + 1];
            row[at + 1] = changed.min(row[at] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards whoever mistypes a name.
    #[test]
    fn the_nearest_names_are_proposed() {
        assert_eq!((distance("", "abc"), distance("abc", "abc"), distance("swap", "sweep")), (3, 0, 2));
        assert_eq!(unknown("memcg_limit").near[0], "memcg-limit");
        assert!(unknown("swap").near.iter().all(|id| id.starts_with("swap-")));
        assert!(!unknown("\u{1b}[2J").to_string().contains('\u{1b}'));
    }

    /// Guards the list: a line each, with what it says.
    #[test]
    fn every_finding_is_listed() {
        let list = list();
        assert_eq!(list.lines().count(), RULES.len());
        assert!(list.lines().any(|line| line.starts_with("memcg-limit ") && line.ends_with('.')));
    }
}
