//! The table of tasks (dump_tasks(), mm/oom_kill.c), since 2.6.25: columns by the names of its header.
//!
//! It is what most of a log of OOMs is made of: rows that are not kept cost no allocation.

use std::cmp::Reverse;

use super::{TASKS, types::TaskRow};
use crate::kmsg::line;

/// Columns between the thread id and the name, at the most: 6.8 has ten.
const COLUMNS: usize = 16;
/// To compare page tables with pages: the page's size stands nowhere in the table.
const USUAL_PAGE_BYTES: u64 = 4096;

/// A column between the thread id and the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Uid,
    Tgid,
    TotalVm,
    Rss,
    /// Tables of the lowest level, or of those above.
    Tables,
    TablesBytes,
    Swap,
    Adj,
    OldAdj,
    /// `cpu` until 3.6, and what is yet to come.
    Other,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Table {
    columns: Option<Vec<Column>>,
    kept: Vec<Kept>,
    /// Rows in all.
    pub rows: u64,
    /// No row with less is kept any more.
    least: u64,
    /// Some were not kept.
    dropped: bool,
}

#[derive(Clone, Debug)]
struct Kept {
    /// Its place.
    row: u64,
    /// Resident, swapped and page tables, pages.
    weight: u64,
    task: TaskRow,
}

/// A row as numbers.
#[derive(Clone, Copy, Debug, Default)]
struct Row<'a> {
    pid: u32,
    numbers: [i64; COLUMNS],
    comm: &'a [u8],
}

/// Whether it is a line of a table's header.
pub fn is_header(text: &[u8]) -> bool {
    // Since 4.19 there is a line before the names.
    text.starts_with(b"Tasks state (memory values in pages)") || columns(text).is_some()
}

impl Table {
    /// Takes a line in; whether it is one of its.
    pub fn take(&mut self, text: &[u8]) -> bool {
        if text.first() != Some(&b'[') {
            return text.starts_with(b"Tasks state (memory values in pages)");
        }
        if let Some(columns) = &self.columns
            && let Some(row) = row(text, columns.len())
        {
            self.rows = self.rows.saturating_add(1);
            let weight = weight(columns, &row);
            if weight < self.least {
                self.dropped = true;
            } else {
                let task = task(columns, &row);
                self.kept.push(Kept { row: self.rows, weight, task });
                if self.kept.len() >= 2 * TASKS {
                    self.shrink();
                }
            }
            return true;
        }
        let Some(columns) = columns(text) else { return false };
        self.columns.get_or_insert(columns);
        true
    }

    /// Whether a thread is in it; `None`: that is not known.
    pub fn has(&self, pid: u32) -> Option<bool> {
        let found = self.kept.iter().any(|kept| kept.task.pid == pid || kept.task.tgid == Some(pid));
        (found || self.columns.is_some() && self.rows > 0 && !self.dropped).then_some(found)
    }

    /// The rows that are kept, in the kernel's order.
    pub fn into_rows(mut self) -> Vec<TaskRow> {
        self.shrink();
        self.kept.sort_unstable_by_key(|kept| kept.row);
        self.kept.into_iter().map(|kept| kept.task).collect()
    }

    /// Leaves those with the most memory; of equals the first.
    fn shrink(&mut self) {
        if self.kept.len() > TASKS {
            let (_, last, _) =
                self.kept.select_nth_unstable_by_key(TASKS - 1, |kept| (Reverse(kept.weight), kept.row));
            // A later one with the same would be dropped the next time.
            self.least = last.weight.saturating_add(1);
            self.kept.truncate(TASKS);
            self.dropped = true;
        }
    }
}

/// `[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name`.
fn columns(text: &[u8]) -> Option<Vec<Column>> {
    let (pid, rest) =
        text.strip_prefix(b"[")?.split_at_checked(text.iter().position(|byte| *byte == b']')? - 1)?;
    if pid.trim_ascii() != b"pid" {
        return None;
    }
    let names = str::from_utf8(rest.get(1..)?).ok()?.trim_end().strip_suffix("name")?;
    let mut columns = Vec::new();
    for name in names.split_ascii_whitespace() {
        columns.push(match name {
            "uid" => Column::Uid,
            "tgid" => Column::Tgid,
            "total_vm" => Column::TotalVm,
            "rss" => Column::Rss,
            "nr_ptes" | "nr_pmds" | "nr_puds" => Column::Tables,
            "pgtables_bytes" => Column::TablesBytes,
            "swapents" => Column::Swap,
            "oom_score_adj" => Column::Adj,
            "oom_adj" => Column::OldAdj,
            _ => Column::Other,
        });
    }
    (!columns.is_empty() && columns.len() <= COLUMNS).then_some(columns)
}

fn row(text: &[u8], columns: usize) -> Option<Row<'_>> {
    let rest = text.strip_prefix(b"[")?;
    let (pid, rest) = signed(rest)?;
    let mut rest = rest.strip_prefix(b"]")?;
    let mut row = Row { pid: pid.try_into().ok()?, ..Row::default() };
    for number in row.numbers.get_mut(..columns)? {
        // At least one blank, so that a name cannot go on with a number.
        rest = rest.strip_prefix(b" ")?;
        (*number, rest) = signed(rest)?;
    }
    row.comm = rest.strip_prefix(b" ")?;
    line::is_comm(row.comm).then_some(row)
}

/// The number that a text begins with behind blanks, and the rest.
fn signed(text: &[u8]) -> Option<(i64, &[u8])> {
    let text = text.trim_ascii_start();
    let (negative, text) = text.strip_prefix(b"-").map_or((false, text), |rest| (true, rest));
    let mut value: i64 = 0;
    let mut digits = 0;
    for byte in text.iter().take_while(|byte| byte.is_ascii_digit()) {
        value = value.checked_mul(10)?.checked_add(i64::from(byte - b'0'))?;
        digits += 1;
    }
    let value = if negative { -value } else { value };
    (digits > 0).then(|| Some((value, text.get(digits..)?)))?
}

fn weight(columns: &[Column], row: &Row<'_>) -> u64 {
    columns.iter().zip(row.numbers).fold(0, |sum: u64, (column, number)| {
        let number = u64::try_from(number).unwrap_or(0);
        match column {
            Column::Rss | Column::Tables | Column::Swap => sum.saturating_add(number),
            Column::TablesBytes => sum.saturating_add(number / USUAL_PAGE_BYTES),
            _ => sum,
        }
    })
}

fn task(columns: &[Column], row: &Row<'_>) -> TaskRow {
    let mut task =
        TaskRow { pid: row.pid, comm: line::comm(row.comm).unwrap_or_default(), ..TaskRow::default() };
    for (column, number) in columns.iter().zip(row.numbers) {
        // Counters of a task may be below zero for a moment: that is no figure.
        let unsigned = u64::try_from(number).ok();
        match column {
            Column::Uid => task.uid = number.try_into().ok(),
            Column::Tgid => task.tgid = number.try_into().ok(),
            Column::TotalVm => task.total_vm_pages = unsigned,
            Column::Rss => task.rss_pages = unsigned,
            Column::Tables => {
                let pages = unsigned.and_then(|pages| task.pgtables_pages.unwrap_or(0).checked_add(pages));
                task.pgtables_pages = pages.or(task.pgtables_pages);
            }
            Column::TablesBytes => task.pgtables_bytes = unsigned,
            Column::Swap => task.swap_pages = unsigned,
            Column::Adj => task.oom_score_adj = number.try_into().ok(),
            Column::OldAdj => task.oom_adj = number.try_into().ok(),
            Column::Other => {}
        }
    }
    task
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(lines: &[&str]) -> Vec<TaskRow> {
        let mut table = Table::default();
        for line in lines {
            assert!(table.take(line.as_bytes()), "{line}");
        }
        table.into_rows()
    }

    /// Guards the columns of 2.6.32, 3.2, 3.10, 4.4, 5.10 and 6.12 (dump_tasks(), mm/oom_kill.c).
    #[test]
    fn columns_of_all_kernels() {
        let old = &rows(&[
            "[ pid ]   uid  tgid total_vm      rss cpu oom_adj name",
            "[  381]     0   381     2669        9   0     -17 udevd",
        ])[0];
        assert_eq!((old.pid, old.uid, old.tgid, old.oom_adj), (381, Some(0), Some(381), Some(-17)));
        assert_eq!(
            (old.rss_pages, old.swap_pages, old.oom_score_adj, old.comm.as_str()),
            (Some(9), None, None, "udevd")
        );
        let both = &rows(&[
            "[ pid ]   uid  tgid total_vm      rss cpu oom_adj oom_score_adj name",
            "[ 1000]    48  1000    12345     6789   1       0             5 a b",
        ])[0];
        assert_eq!((both.oom_adj, both.oom_score_adj, both.comm.as_str()), (Some(0), Some(5), "a b"));
        let ptes = &rows(&[
            "[ pid ]   uid  tgid total_vm      rss nr_ptes swapents oom_score_adj name",
            "[ 4077]   500  4077  2490132  1868734    4012    12345          -998 java",
        ])[0];
        assert_eq!(
            (ptes.pgtables_pages, ptes.pgtables_bytes, ptes.swap_pages),
            (Some(4012), None, Some(12345))
        );
        let pmds = &rows(&[
            "[ pid ]   uid  tgid total_vm      rss nr_ptes nr_pmds swapents oom_score_adj name",
            "[  322]     0   322    10895       78      23       4       12             0 x",
        ])[0];
        assert_eq!((pmds.pgtables_pages, pmds.swap_pages), (Some(27), Some(12)));
        let bytes = &rows(&[
            "Tasks state (memory values in pages):",
            "[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name",
            "[    106]  1001   106    12498    12442   147456        0         -1000 big-sleeper",
        ])[0];
        assert_eq!((bytes.pgtables_bytes, bytes.oom_score_adj), (Some(147_456), Some(-1000)));
        let split = &rows(&[
            "[  pid  ]   uid  tgid total_vm      rss rss_anon rss_file rss_shmem pgtables_bytes swapents oom_score_adj name",
            "[    208]     0   208    20946    13723     9440        0      4283   151552        7             0 member-chosen",
        ])[0];
        assert_eq!(
            (split.rss_pages, split.swap_pages, split.total_vm_pages),
            (Some(13723), Some(7), Some(20946))
        );
    }

    /// Guards against names that look like columns, and rows that are cut short.
    #[test]
    fn hostile_rows() {
        let mut table = Table::default();
        assert!(
            !table.take(b"[  106]  1001   106    12498    12442   147456        0             0 x"),
            "no header"
        );
        assert!(
            table.take(b"[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name")
        );
        for text in [
            "[  106]  1001   106    12498    12442   147456        0",
            "[  106]  1001   106    12498    12442   147456        0             0",
            "[  106]  1001   106    12498    12442   147456        0             0 sixteen letters!",
            "[  106] x",
            "[",
            "[]",
            "[  99999999999]  1001   106    12498    12442   147456        0             0 x",
            "[drm] GPU HANG",
        ] {
            assert!(!table.take(text.as_bytes()), "{text}");
        }
        assert!(table.take(b"[  106]  1001   106    12498    12442   147456        0             0 ] 1 2 3"));
        assert!(table.take(b"[  107]  1001   107    12498    -3   147456        0             0  7 "));
        let rows = table.into_rows();
        assert_eq!(
            (rows[0].comm.as_str(), rows[1].comm.as_str(), rows[1].rss_pages),
            ("] 1 2 3", " 7 ", None)
        );
    }

    /// Guards memory: of very many rows those with the most, in the kernel's order; and what is known of the others.
    #[test]
    fn the_largest_are_kept() {
        let mut table = Table::default();
        assert!(table.take(b"[ pid ]   uid  tgid total_vm      rss nr_ptes swapents oom_score_adj name"));
        assert_eq!(table.has(1), None);
        for pid in 0..5000_u32 {
            let rss = pid * 7919 % 5000;
            assert!(
                table.take(
                    format!("[{pid:5}]     0 {pid:5}        9 {rss:8}       0        0             0 x")
                        .as_bytes()
                )
            );
            assert!(table.kept.len() <= 2 * TASKS);
        }
        assert_eq!((table.rows, table.has(u32::MAX)), (5000, None));
        let rows = table.into_rows();
        assert_eq!(rows.len(), TASKS);
        assert!(rows.iter().all(|row| row.rss_pages >= Some(5000 - 512)));
        assert!(rows.is_sorted_by_key(|row| row.pid));
    }
}
