//! The kernel log's lines about OOMs, put together: one entry for each run of the OOM killer.

use crate::witness::comm::unescape;
use crate::witness::line::{self, Decision, Invoked, Killed};
use crate::witness::zones::LoggedMemory;

/// What the kernel log says of one run of the OOM killer. The header (all but `kills`) is rate-limited by the
/// kernel to ten in five seconds, so it may be missing.
#[derive(Debug, Clone, Default)]
pub struct LoggedOom {
    /// When its first line was logged, by printk's clock, in µs since boot.
    pub micros: u64,
    /// Who asked.
    pub invoked: Option<Invoked>,
    /// The thread that asked.
    pub trigger_tid: Option<u64>,
    /// Usage of the memcg whose limit was reached, kB.
    pub memcg_usage_kb: Option<u64>,
    /// That limit, kB.
    pub memcg_limit_kb: Option<u64>,
    /// Usage and limit of its swap, kB (version 2).
    pub memcg_swap_kb: Option<(u64, u64)>,
    /// Whether it found nobody to kill.
    pub nobody: bool,
    /// For a global OOM: all pages, those reserved, and the swap space in kB.
    pub totals: Totals,
    /// For a global OOM: zones and nodes.
    pub memory: LoggedMemory,
    /// The candidates, as the task table lists them; None if there is no table.
    pub tasks: Option<Vec<TaskRow>>,
    /// The decision.
    pub decision: Option<Decision>,
    /// The cgroup whose memory.oom.group had all its members killed.
    pub group: Option<Vec<u8>>,
    /// The victims' lines; the first victim of a group kill has two.
    pub kills: Vec<Killed>,
}

/// The machine's memory as the log prints it at a global OOM.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Pages in all.
    pub pages: Option<u64>,
    /// Pages that the kernel keeps for itself.
    pub reserved_pages: Option<u64>,
    /// Swap space in kB.
    pub swap_kb: Option<u64>,
}

/// One row of the task table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskRow {
    /// The task's thread id.
    pub pid: u64,
    /// Its process id.
    pub tgid: u64,
    /// Its comm.
    pub comm: Vec<u8>,
    /// Resident pages.
    pub rss_pages: u64,
    /// Page tables in bytes.
    pub pgtables_bytes: u64,
    /// Swapped-out pages.
    pub swap_pages: u64,
    /// Its adjustment.
    pub oom_score_adj: i64,
}

impl LoggedOom {
    /// Whether thread `pid` was killed in this run.
    #[must_use]
    pub fn killed(&self, pid: u64) -> Option<&Killed> {
        self.kills.iter().find(|kill| kill.pid == pid)
    }

    /// The table's row of thread `pid`.
    #[must_use]
    pub fn task(&self, pid: u64) -> Option<&TaskRow> {
        self.tasks.iter().flatten().find(|row| row.pid == pid)
    }

    /// The table's row of process `tgid`; the thread in it need not be the first.
    #[must_use]
    pub fn process(&self, tgid: u64) -> Option<&TaskRow> {
        self.tasks.iter().flatten().find(|row| row.tgid == tgid)
    }
}

/// Puts the log's lines together.
#[derive(Debug, Default)]
pub struct Assembler {
    /// When the next line was logged.
    pub micros: u64,
    ooms: Vec<LoggedOom>,
    /// The names of the columns of the last run's table.
    columns: Vec<String>,
}

impl Assembler {
    /// Takes the next line of the log.
    pub fn line(&mut self, text: &str) {
        if let Some(invoked) = line::invoked(text) {
            self.begin(LoggedOom { invoked: Some(invoked), ..LoggedOom::default() });
        } else if let Some(kill) = line::killed(text) {
            self.kill(kill);
        } else if let Some(oom) = self.ooms.last_mut() {
            if text.starts_with("[  pid  ]") {
                self.columns = text.split_whitespace().skip(3).map(str::to_owned).collect();
                oom.tasks.get_or_insert_default();
            } else if let Some(row) = task_row(text, &self.columns) {
                oom.tasks.get_or_insert_default().push(row);
            } else {
                header_line(oom, text);
            }
        }
    }

    /// The runs of the OOM killer so far, oldest first.
    #[must_use]
    pub fn ooms(&self) -> &[LoggedOom] {
        &self.ooms
    }

    /// The number of "Killed process" lines so far.
    #[must_use]
    pub fn kill_lines(&self) -> u64 {
        self.ooms.iter().map(|oom| oom.kills.len() as u64).sum()
    }

    /// Files a victim under the run it belongs to: the last one, unless that has its victim already and is no
    /// group kill. Then this run's header was held back by the rate limit.
    fn kill(&mut self, kill: Killed) {
        match self.ooms.last_mut() {
            Some(oom) if oom.kills.is_empty() || oom.group.is_some() => oom.kills.push(kill),
            _ => self.begin(LoggedOom { kills: vec![kill], ..LoggedOom::default() }),
        }
    }

    /// Begins another run of the OOM killer.
    fn begin(&mut self, oom: LoggedOom) {
        self.columns.clear();
        self.ooms.push(LoggedOom { micros: self.micros, ..oom });
    }
}

/// Takes one line of the header, or of what follows it.
fn header_line(oom: &mut LoggedOom, text: &str) {
    if let Some(tid) = line::trigger_tid(text) {
        oom.trigger_tid.get_or_insert(tid);
    } else if let Some((usage, limit)) = line::memcg_usage_kb(text) {
        oom.memcg_usage_kb = Some(usage);
        oom.memcg_limit_kb = Some(limit);
    } else if let Some(decision) = line::decision(text) {
        oom.decision = Some(decision);
    } else if let Some(swap) = line::memcg_swap_kb(text) {
        oom.memcg_swap_kb = Some(swap);
    } else if line::nobody(text) {
        oom.nobody = true;
    } else if let Some(path) = line::group_kill(text) {
        oom.group = Some(path);
    } else if let Some(pages) = line::pages(text, " pages RAM") {
        oom.totals.pages = Some(pages);
    } else if let Some(pages) = line::pages(text, " pages reserved") {
        oom.totals.reserved_pages = Some(pages);
    } else if let Some(kb) = line::total_swap_kb(text) {
        oom.totals.swap_kb = Some(kb);
    } else {
        oom.memory.line(text);
    }
}

/// Parses a row of the task table by the names of its columns, which differ between kernels (6.8 added
/// `rss_anon`, `rss_file` and `rss_shmem`). The last one is the name, which may have spaces.
fn task_row(text: &str, columns: &[String]) -> Option<TaskRow> {
    let (pid, mut rest) = text.strip_prefix('[')?.split_once(']')?;
    let (_name, columns) = columns.split_last()?;
    let mut figures = Vec::new();
    for column in columns {
        let (figure, after) = rest.trim_start().split_once(' ')?;
        figures.push((column.as_str(), figure));
        rest = after;
    }
    let figure = |name| figures.iter().find(|(column, _)| *column == name).map(|(_, figure)| *figure);
    let count = |name| figure(name)?.parse().ok();
    Some(TaskRow {
        pid: pid.trim().parse().ok()?,
        tgid: count("tgid")?,
        comm: unescape(rest),
        rss_pages: count("rss")?,
        pgtables_bytes: count("pgtables_bytes")?,
        swap_pages: count("swapents")?,
        oom_score_adj: figure("oom_score_adj")?.parse().ok()?,
    })
}

#[cfg(test)]
#[path = "klog_tests.rs"]
mod tests;
