//! The table of what is done by hand (oomtrace/docs/by-hand.md): what it names exists.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::scenario::ALL;

/// Below the workspace's root.
fn place(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// The cells of a table's row; a line that is none has none.
fn cells(line: &str) -> Vec<String> {
    const ESCAPED: &str = "\u{1}";
    let line = line.replace("\\|", ESCAPED);
    let inner = line.strip_prefix("| ").and_then(|line| line.strip_suffix(" |"));
    let cells = inner.into_iter().flat_map(|inner| inner.split(" | "));
    cells.map(|cell| cell.trim().replace(ESCAPED, "|")).collect()
}

/// What stands between two marks, again and again.
fn between<'t>(text: &'t str, mark: &str) -> Vec<&'t str> {
    text.split(mark).skip(1).step_by(2).collect()
}

/// A document's letter and a statement's number: `A12`.
fn statement(cell: &str) -> Option<(char, usize)> {
    let mut letters = cell.chars();
    let letter = letters.next().filter(char::is_ascii_uppercase)?;
    Some((letter, letters.as_str().parse().ok()?))
}

/// All source files of a folder, by their names without ending.
fn sources(folder: &Path, to: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, to);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            to.entry(name).or_default().push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

/// Whether a file has a test of that name.
fn has_test(source: &str, name: &str) -> bool {
    let lines: Vec<_> = source.lines().map(str::trim).collect();
    lines.windows(2).any(|pair| pair[0] == "#[test]" && pair[1].starts_with(&format!("fn {name}(")))
}

/// Guards the table: of each document it has as many statements as its head says, one after the other and without an empty cell;
/// what oomtrace does is shown by a test; and each finding, scenario and unit test that it names is there.
#[test]
fn what_the_table_names_is_there() {
    let text = fs::read_to_string(place("oomtrace/docs/by-hand.md")).unwrap();
    let rows: Vec<_> = text.lines().map(cells).collect();
    let mut tests = BTreeMap::new();
    for folder in ["oomtrace/src", "tests/src"] {
        sources(&place(folder), &mut tests);
    }
    let mut counted: BTreeMap<char, usize> = BTreeMap::new();
    for row in &rows {
        let Some((document, number)) = row.first().and_then(|cell| statement(cell)) else { continue };
        let name = &row[0];
        let count = counted.entry(document).or_default();
        *count += 1;
        assert_eq!(number, *count, "{name} is not where it should be");
        assert!(row.len() == 5 && row.iter().all(|cell| !cell.is_empty()), "{name}: {row:?}");
        for finding in row.iter().flat_map(|cell| between(cell, "**")) {
            let page = place("oomtrace/docs/findings").join(format!("{finding}.md"));
            assert!(page.is_file(), "{name}: there is no finding {finding}");
        }
        let shown = between(&row[3], "`");
        let others = row[3] == "–" && row[2].contains("not oomtrace's");
        assert!(others || !shown.is_empty(), "{name}: nothing shows it");
        for test in shown {
            let there = match test.split_once("::") {
                Some((file, function)) => tests.get(file).is_some_and(|source| has_test(source, function)),
                None => ALL.iter().any(|scenario| scenario.name == test),
            };
            assert!(there, "{name}: there is no test {test}");
        }
    }
    let promised: BTreeMap<char, usize> = rows
        .iter()
        .filter(|row| row.len() == 4 && row[0].len() == 1)
        .filter_map(|row| Some((row[0].chars().next()?, row[3].parse().ok()?)))
        .collect();
    assert_eq!(counted, promised, "the statements by document");
    assert_eq!(promised.len(), 4);
}
