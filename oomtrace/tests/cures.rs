//! The table of what came of each finding and of what it proposes, held against the rules and the scenarios.

#![expect(clippy::expect_used, reason = "what a test needs and does not get is a failed test")]

use std::{fs, path::Path};

use oomtrace::explain::RULES;
use oomtrace_tests::scenario::ALL;

/// The rows of docs/cures.md: finding, scenarios, what came of what is proposed.
fn rows() -> Vec<[String; 3]> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cures.md");
    let text = fs::read_to_string(file).expect("the table is there");
    let lines = text.lines().filter(|line| line.starts_with("| ")).skip(1);
    let cells = lines
        .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>());
    cells.map(|row| row.try_into().expect("three cells a row")).collect()
}

/// Guards the claim that each incident was made for real: every rule about incidents and reliefs has a row, in their order, and
/// what it names are scenarios that there are.
#[test]
fn every_rule_stands_in_the_table_with_its_scenarios() {
    let rows = rows();
    let told: Vec<_> = rows.iter().map(|row| row[0].as_str()).collect();
    let in_order: Vec<_> = RULES.iter().map(|rule| rule.id).filter(|id| told.contains(id)).collect();
    assert_eq!(told, in_order);
    for rule in RULES.iter().filter(|rule| rule.incident.is_some() || rule.relief.is_some()) {
        assert!(told.contains(&rule.id), "{} has no row", rule.id);
    }
    for [id, made, _] in &rows {
        let named: Vec<_> = made.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty() || made.starts_with("none"), "{id}: {made}");
        for name in named {
            assert!(ALL.iter().any(|scenario| scenario.name == name), "{id}: there is no scenario {name}");
        }
    }
}

/// Guards the claim that what is proposed was tried: a rule that proposes to run something says what came of it.
#[test]
fn what_is_proposed_is_accounted_for() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/explain/rule");
    for [id, _, came] in rows() {
        let source = fs::read_to_string(folder.join(format!("{}.rs", id.replace('-', "_"))))
            .expect("a rule has a file");
        // Commands are made here, or by whoever knows how a cgroup's limits are set.
        let changes = ["Fix::command(", "raise(", "raise_above(", "allow_swap("]
            .iter()
            .any(|call| source.contains(call));
        for (kind, proposes) in [
            ("change", changes),
            ("look", source.contains("Fix::look(")),
            ("advice", source.contains("Fix::advice(")),
        ] {
            assert!(!proposes || came.contains(kind), "{id} proposes a {kind}, and its row says {came:?}");
        }
    }
}
