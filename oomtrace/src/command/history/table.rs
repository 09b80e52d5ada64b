//! A table for people, the newest last, under the day of each.

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use textwrap::core::display_width;

use crate::{
    output::history::{Place, Row},
    text::printable,
    words::size,
};

/// Columns between two of the table's.
const GAP: usize = 2;
const TIME: usize = 8;
const WHAT: usize = 15;
const WHO: usize = 20;
const MEMORY: usize = 9;
/// What is left for the last, at the least.
const WHERE: usize = 12;

/// See the module.
pub struct Table {
    zone: TimeZone,
    width: Option<usize>,
    day: Option<Date>,
}

impl Table {
    /// Times in `zone`, lines of at most `width` columns.
    pub fn new(zone: TimeZone, width: Option<usize>) -> Self {
        Self { zone, width, day: None }
    }

    /// The lines of a row: before the first of each day there is that day, and before all of them the heads.
    pub fn row(&mut self, row: &Row) -> Vec<String> {
        let mut lines = Vec::new();
        let at = Timestamp::from_nanosecond(row.at_ns.into()).unwrap_or_default().to_zoned(self.zone.clone());
        if self.day.is_none() {
            lines.push(self.line(["TIME", "WHAT", "WHO (PID)", "MEMORY", "WHERE"]));
        }
        if self.day != Some(at.date()) {
            self.day = Some(at.date());
            lines.push(at.strftime("%F %:z").to_string());
        }
        // What has no time of its own is in its place by when it was stored.
        let time = row.time_ns.map_or_else(|| "?".to_owned(), |_| at.strftime("%T").to_string());
        let first = row.tasks.first();
        // Of whoever did not die it is not asked.
        let unknown = if matches!(row.kind.as_str(), "oom" | "userspace_kill") { "?" } else { "" };
        let memory = first.and_then(|task| task.rss_bytes).map_or_else(|| unknown.to_owned(), size);
        lines.push(self.line([&time, &what(row), &who(row), &memory, &place(row)]));
        lines
    }

    fn line(&self, [time, what, who, memory, place]: [&str; 5]) -> String {
        let before = GAP + TIME + GAP + WHAT + GAP + WHO + GAP + MEMORY + GAP;
        let rest = self.width.map_or(usize::MAX, |width| width.saturating_sub(before).max(WHERE));
        let place = end(place, rest);
        let memory = begin(memory, MEMORY);
        let gap = " ".repeat(MEMORY.saturating_sub(display_width(&memory)));
        format!(
            "  {}  {}  {}  {gap}{memory}  {place}",
            padded(time, TIME),
            padded(what, WHAT),
            padded(who, WHO),
        )
        .trim_end()
        .to_owned()
    }
}

/// What happened, and what ran out.
fn what(row: &Row) -> String {
    let cause = row.cause.as_deref().map(|cause| cause.replace('_', " "));
    let with =
        |what: &str| cause.as_ref().map_or_else(|| what.to_owned(), |cause| format!("{what}, {cause}"));
    let what = match (row.kind.as_str(), row.outcome.as_deref(), row.cause.as_deref()) {
        ("oom", Some("panic"), _) => "panic".to_owned(),
        ("oom", Some("no_victim"), _) => "OOM, no victim".to_owned(),
        ("oom", _, Some("sysrq")) => "OOM, sysrq".to_owned(),
        ("oom", ..) => match row.scope.as_deref() {
            Some("global") => "OOM, machine".to_owned(),
            Some("memcg") => "OOM, limit".to_owned(),
            Some("cpuset") => "OOM, cpuset".to_owned(),
            Some("mempolicy") => "OOM, policy".to_owned(),
            _ => "OOM".to_owned(),
        },
        ("userspace_kill", ..) => row.asked_by.as_deref().unwrap_or("userspace kill").to_owned(),
        ("fork_failure", ..) => with("fork"),
        ("alloc_failure", ..) => with("alloc"),
        ("loss", ..) => with("lost"),
        ("status", ..) => with("agent"),
        (kind, ..) => kind.to_owned(),
    };
    printable(&what)
}

/// Whom it hit, and how many more.
fn who(row: &Row) -> String {
    let Some(first) = row.tasks.first() else { return String::new() };
    let comm = first.comm.as_deref().map_or_else(|| "?".to_owned(), printable);
    let pid = first.pid.map_or_else(String::new, |pid| format!(" ({pid})"));
    let more = match (row.tasks.len(), row.count) {
        (2.., _) => format!(" +{}", row.tasks.len() - 1),
        (_, 2..) => format!(" ×{}", row.count),
        _ => String::new(),
    };
    // How many is not to be cut off.
    let room = WHO.saturating_sub(display_width(&pid) + display_width(&more));
    format!("{}{pid}{more}", begin(&comm, room))
}

/// Where: the container by its names, or the cgroup.
fn place(row: &Row) -> String {
    let place = row.tasks.first().and_then(container);
    let cgroup = || row.tasks.first().and_then(|task| task.cgroup.clone());
    printable(&place.or_else(cgroup).or_else(|| row.limit_at.clone()).unwrap_or_default())
}

fn container(task: &Place) -> Option<String> {
    let id = task.container_id.as_deref()?;
    let short = if id.len() == 64 { id.get(..12).unwrap_or(id) } else { id };
    let name = task.container_name.as_deref().unwrap_or(short);
    let pod = task.pod_name.as_deref().map(|pod| format!("{pod}/"));
    let namespace = task.namespace.as_deref().filter(|_| pod.is_some()).map(|space| format!("{space}/"));
    Some(format!("{}{}{name}", namespace.unwrap_or_default(), pod.unwrap_or_default()))
}

fn padded(text: &str, width: usize) -> String {
    let text = begin(text, width);
    let gap = " ".repeat(width.saturating_sub(display_width(&text)));
    format!("{text}{gap}")
}

/// Its beginning, as far as there is room.
fn begin(text: &str, room: usize) -> String {
    if display_width(text) <= room {
        return text.to_owned();
    }
    let mut shown = String::new();
    for letter in text.chars() {
        if display_width(&shown) + display_width(letter.encode_utf8(&mut [0; 4])) + 1 > room {
            break;
        }
        shown.push(letter);
    }
    shown + "…"
}

/// Its end: of a path that tells more.
pub(super) fn end(text: &str, room: usize) -> String {
    if display_width(text) <= room {
        return text.to_owned();
    }
    let turned: String = text.chars().rev().collect();
    begin(&turned, room).chars().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(comm: &str, cgroup: &str) -> Row {
        Row {
            kind: "oom".to_owned(),
            scope: Some("memcg".to_owned()),
            time_ns: Some(1),
            count: 1,
            tasks: vec![Place {
                pid: Some(4_194_304),
                comm: Some(comm.to_owned()),
                cgroup: Some(cgroup.to_owned()),
                ..Place::default()
            }],
            ..Row::default()
        }
    }

    /// Guards the terminal and the table: names can neither move the cursor nor push the columns.
    #[test]
    fn hostile_names_stay_in_their_column() {
        let mut table = Table::new(TimeZone::UTC, Some(80));
        let hostile = row("\u{1b}[2J\n\u{202e}日本語日本語", &"/\u{1b}[31m".repeat(40));
        let lines = table.row(&hostile);
        let line = lines.last().unwrap();
        assert!(!line.chars().any(char::is_control), "{line:?}");
        assert!(display_width(line) <= 80, "{line}");
        assert!(line.contains(" (4194304)"), "{line}");
        let wide = begin("日本語", 4);
        assert_eq!(wide, "日…");
        assert_eq!(end("/a/b/c", 4), "…b/c");
    }
}
