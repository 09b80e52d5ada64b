//! The last of what the agent's history has.

use std::path::Path;

use serde_json::Value;

use super::part::Content;
use crate::output::{
    LineKind,
    history::{Query, Reader},
};

/// How many lines of it, at the most. An incident with its reliefs is some KiB.
const MOST: u32 = 200;
/// The newest lines, the oldest first.
pub fn last(database: &Path) -> Result<Content, String> {
    let query = Query { kinds: LineKind::ALL.to_vec(), limit: Some(MOST), ..Query::default() };
    let mut lines = Vec::new();
    let read = Reader::open(database).and_then(|reader| {
        reader.each(&query, &mut |row| {
            // What is no JSON has been damaged: it is kept as text, which is masked as such.
            lines.push(serde_json::from_str(&row.line).unwrap_or(Value::String(row.line)));
            true
        })
    });
    read.map(|()| Content::Lines(lines)).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards a machine without a history, or with something else in its place.
    #[test]
    fn no_history_is_a_reason() {
        assert!(last(Path::new("/nonexistent")).unwrap_err().contains("/nonexistent"));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "no database".repeat(100)).unwrap();
        assert!(last(file.path()).is_err());
    }
}
