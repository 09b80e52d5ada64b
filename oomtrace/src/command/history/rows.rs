//! Comma-separated values (RFC 4180), one line a process.
//!
//! Names come from processes: in each, control characters and the like are shown as escapes, so that a record is a line; and what a
//! spreadsheet would take for a formula (`=`, `+`, `-`, `@` at the beginning: <https://owasp.org/www-community/attacks/CSV_Injection>)
//! gets a `'` in front, which a spreadsheet takes for "this is text". Whoever needs names to the byte takes JSON.

use std::io::Write;

use jiff::Timestamp;

use crate::{
    incident::WallTime,
    output::history::{Place, Row},
    text::printable,
};

const HEAD: [&str; 24] = [
    "time",
    "type",
    "id",
    "host",
    "boot_id",
    "source",
    "scope",
    "cause",
    "outcome",
    "limit_at",
    "asked_by",
    "count",
    "pid",
    "comm",
    "uid",
    "verdict",
    "total_vm_bytes",
    "rss_bytes",
    "cgroup",
    "container_id",
    "container_name",
    "pod_name",
    "namespace",
    "stored_order_ns",
];

/// See the module.
pub struct Rows<W: Write>(csv::Writer<W>);

impl<W: Write> Rows<W> {
    /// Begins with the names of the columns.
    pub fn begin(to: W) -> anyhow::Result<Self> {
        let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(to);
        writer.write_record(HEAD)?;
        Ok(Self(writer))
    }

    /// One line for each process; one if there is none.
    pub fn row(&mut self, row: &Row) -> anyhow::Result<()> {
        let nobody = [Place::default()];
        let tasks = if row.tasks.is_empty() { &nobody[..] } else { &row.tasks };
        for task in tasks {
            let text = |text: &Option<String>| text.as_deref().map_or_else(String::new, plain);
            self.0.write_record([
                row.time_ns.map_or_else(String::new, time),
                plain(&row.kind),
                text(&row.incident),
                text(&row.host),
                text(&row.boot_id),
                plain(&row.source),
                text(&row.scope),
                text(&row.cause),
                text(&row.outcome),
                text(&row.limit_at),
                text(&row.asked_by),
                row.count.to_string(),
                number(task.pid),
                text(&task.comm),
                number(task.uid),
                text(&task.verdict),
                number(task.total_vm_bytes),
                number(task.rss_bytes),
                text(&task.cgroup),
                text(&task.container_id),
                text(&task.container_name),
                text(&task.pod_name),
                text(&task.namespace),
                row.at_ns.to_string(),
            ])?;
        }
        Ok(())
    }

    /// Writes what waits.
    pub fn end(mut self) -> anyhow::Result<()> {
        Ok(self.0.flush()?)
    }
}

fn number(number: Option<impl ToString>) -> String {
    number.map_or_else(String::new, |number| number.to_string())
}

fn time(ns: i64) -> String {
    let time = Timestamp::from_nanosecond(ns.into()).unwrap_or_default();
    // As JSON has it.
    serde_json::to_value(WallTime(time))
        .ok()
        .and_then(|time| time.as_str().map(str::to_owned))
        .unwrap_or_default()
}

fn plain(text: &str) -> String {
    let shown = printable(text);
    if shown.starts_with(['=', '+', '-', '@']) { format!("'{shown}") } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards whoever opens it in a spreadsheet, on a terminal, or line by line.
    #[test]
    fn names_are_neither_formulas_nor_lines() {
        let names =
            ["=HYPERLINK(\"http://x\",\"y\")", "@x", "+1", "-1", "a,b\r\nc", "\u{1b}[2J", "é", "\t=1"];
        let mut bytes = Vec::new();
        let mut rows = Rows::begin(&mut bytes).unwrap();
        for name in names {
            let task = Place { comm: Some(name.to_owned()), ..Place::default() };
            rows.row(&Row { kind: "oom".to_owned(), tasks: vec![task], ..Row::default() }).unwrap();
        }
        rows.row(&Row::default()).unwrap();
        rows.end().unwrap();
        let text = String::from_utf8(bytes.clone()).unwrap();
        assert_eq!(text.matches("\r\n").count(), text.lines().count());
        assert_eq!(text.lines().count(), names.len() + 2);
        assert!(!text.contains('\u{1b}'));
        let mut read = csv::Reader::from_reader(&bytes[..]);
        let comms: Vec<_> = read.records().map(|row| row.unwrap()[13].to_owned()).collect();
        assert_eq!(
            comms,
            [
                "'=HYPERLINK(\"http://x\",\"y\")",
                "'@x",
                "'+1",
                "'-1",
                "a,b\\r\\nc",
                "\\u{1b}[2J",
                "é",
                "\\t=1",
                ""
            ]
        );
    }
}
