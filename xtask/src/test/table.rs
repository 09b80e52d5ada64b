//! The results: scenario × kernel.

use std::fmt::Write as _;

use serde::Deserialize;

/// How a test came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Everything was compared, and agreed.
    Passed,
    /// Something disagreed, or did not happen.
    Failed,
    /// Something that can be provided is missing; the reason says what.
    Skipped,
    /// This machine is not one that the scenario is for (the scenarios declare which are, each with its reason).
    NotApplicable,
}

impl Status {
    fn word(self) -> &'static str {
        match self {
            Self::Passed => "ok",
            Self::Failed => "FAILED",
            Self::Skipped => "SKIPPED",
            Self::NotApplicable => "-",
        }
    }
}

/// One result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The scenario or check.
    pub row: String,
    /// Where it ran.
    pub column: String,
    /// How it came out.
    pub status: Status,
    /// Why, unless it passed.
    pub reason: String,
}

impl Cell {
    /// What came of something that passes unless it ends in an error.
    pub fn of(row: &str, column: &str, result: anyhow::Result<()>) -> Self {
        let (status, reason) = match result {
            Ok(()) => (Status::Passed, String::new()),
            Err(error) => (Status::Failed, format!("{error:#}")),
        };
        Self { row: row.to_owned(), column: column.to_owned(), status, reason }
    }
}

/// Numbers of results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Passed.
    pub passed: usize,
    /// Failed.
    pub failed: usize,
    /// Skipped.
    pub skipped: usize,
}

/// All results, in the order in which they came.
#[derive(Debug, Default)]
pub struct Table {
    cells: Vec<Cell>,
}

#[derive(Deserialize)]
struct Line {
    scenario: String,
    status: Status,
    reason: String,
}

/// Reads the lines that `scenarios run --results` writes. One that cannot be read is a failure.
pub fn parse(column: &str, results: &str) -> Vec<Cell> {
    let cell = |line: &str| match serde_json::from_str::<Line>(line) {
        Ok(Line { scenario, status, reason }) => {
            Cell { row: scenario, column: column.to_owned(), status, reason }
        }
        Err(error) => Cell {
            row: "results".to_owned(),
            column: column.to_owned(),
            status: Status::Failed,
            reason: format!("a line of the results cannot be read: {error}"),
        },
    };
    results.lines().map(cell).collect()
}

impl Table {
    /// Adds a result.
    pub fn add(&mut self, cell: Cell) {
        self.cells.push(cell);
    }

    /// How many there are of each.
    pub fn counts(&self) -> Counts {
        let of = |status| self.cells.iter().filter(|cell| cell.status == status).count();
        Counts { passed: of(Status::Passed), failed: of(Status::Failed), skipped: of(Status::Skipped) }
    }

    /// The matrix with a row for each place, and below it why something failed or was skipped.
    pub fn render(&self) -> String {
        let mut text = String::new();
        let places = self.names(|cell| &cell.column);
        let tests = self.names(|cell| &cell.row);
        // Places stand on the left, since they are many; tests are numbered above and named below.
        let width = places.iter().map(|place| place.len()).max().unwrap_or(0);
        // Writing to a String cannot fail.
        for (number, test) in tests.iter().enumerate() {
            let _ = writeln!(text, "{:>3} {test}", number + 1);
        }
        let _ = write!(text, "\n{:width$}", "");
        for number in 1..=tests.len() {
            let _ = write!(text, " {number:>7}");
        }
        text.push('\n');
        for place in &places {
            let mut row = format!("{place:width$}");
            for test in &tests {
                let _ = write!(row, " {:>7}", self.word(test, place));
            }
            let _ = writeln!(text, "{}", row.trim_end());
        }
        for cell in &self.cells {
            if matches!(cell.status, Status::Failed | Status::Skipped) {
                let _ = write!(text, "\n{} {} on {}:", cell.status.word(), cell.row, cell.column);
                for line in cell.reason.lines() {
                    let _ = write!(text, "\n    {line}");
                }
            }
        }
        text
    }

    /// The worst that came of a test in a place.
    fn word(&self, test: &str, place: &str) -> &'static str {
        let here = |status| {
            self.cells.iter().any(|cell| cell.row == test && cell.column == place && cell.status == status)
        };
        [Status::Failed, Status::Skipped, Status::Passed, Status::NotApplicable]
            .into_iter()
            .find(|status| here(*status))
            .map_or("", Status::word)
    }

    fn names(&self, name: impl Fn(&Cell) -> &String) -> Vec<&String> {
        let mut names: Vec<&String> = Vec::new();
        for cell in &self.cells {
            let name = name(cell);
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(row: &str, column: &str, status: Status) -> Cell {
        Cell { row: row.to_owned(), column: column.to_owned(), status, reason: "because".to_owned() }
    }

    /// Guards the counts that decide, and that every failure and skip is explained.
    #[test]
    fn the_table_shows_and_counts_every_result() {
        let mut table = Table::default();
        for status in [Status::Passed, Status::Failed, Status::Skipped, Status::NotApplicable] {
            table.add(cell(&format!("{status:?}"), "6.1", status));
        }
        assert_eq!(table.counts(), Counts { passed: 1, failed: 1, skipped: 1 });
        let text = table.render();
        assert!(text.contains("FAILED Failed on 6.1:\n    because"), "{text}");
        assert!(text.contains("SKIPPED Skipped on 6.1:\n    because"), "{text}");
        assert!(text.contains("6.1      ok  FAILED SKIPPED       -"), "{text}");
    }

    /// Guards against a damaged results file that passes.
    #[test]
    fn lines_that_cannot_be_read_are_failures() {
        let good = r#"{"scenario":"group","status":"not_applicable","reason":"v1","millis":3,"details":{}}"#;
        let cells = parse("live", &format!("{good}\n{{\"scen"));
        assert_eq!(cells[0].status, Status::NotApplicable);
        assert_eq!(cells[1].status, Status::Failed);
    }
}
