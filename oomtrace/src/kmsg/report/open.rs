//! Something that the log is in the middle of.

use super::{
    charge,
    memory::{self, Reading},
    outside, stats,
    table::{self, Table},
    types::{AllocationFailed, End, MemInfo, Reaped, Report, Told},
};
use crate::kmsg::message::{Message, Stamp};

/// Messages of others after which something that is complete gets nothing any more.
const UNRELATED: u32 = 200;
/// The same for what is not: the kernel's own tables (of slabs, of allocations) stand in a report's middle.
const UNRELATED_WITHIN: u32 = 2000;
/// Time after which something that is complete gets nothing any more, µs.
const PAUSE_US: u64 = 1_000_000;
/// The same for what is not: a report may be written to a slow console. µs.
const PAUSE_WITHIN_US: u64 = 60_000_000;
/// Charges of one report, at the most.
const CHARGES: usize = 8;

/// See the module.
#[derive(Debug)]
pub struct Open {
    pub subject: Subject,
    host: Option<String>,
    boot_id: Option<String>,
    caller: Option<String>,
    /// Of its latest message.
    last: Stamp,
    /// Messages since.
    unrelated: u32,
    /// Statistics of a memory cgroup are being read.
    in_stats: bool,
    reading: Reading,
    pub table: Table,
    /// Victims of its whose memory is there again.
    pub reaped: Vec<Reaped>,
}

/// What it is about.
#[derive(Debug)]
pub enum Subject {
    /// A run of the OOM killer; `proven` once something says that it is one.
    Oom { report: Box<Report>, proven: bool },
    /// A failed allocation.
    Allocation(Box<AllocationFailed>),
    /// Somebody looks at the machine's memory.
    Show,
}

impl Open {
    /// A run of the OOM killer.
    pub fn oom(message: &Message, proven: bool) -> Self {
        let report = Report {
            stamp: message.stamp,
            seq: message.seq,
            host: message.host.clone(),
            boot_id: message.boot_id.clone(),
            ..Report::default()
        };
        Self::new(message, Subject::Oom { report: Box::new(report), proven })
    }

    /// Anything.
    pub fn new(message: &Message, subject: Subject) -> Self {
        Self {
            subject,
            host: message.host.clone(),
            boot_id: message.boot_id.clone(),
            caller: message.caller.clone(),
            last: message.stamp,
            unrelated: 0,
            in_stats: false,
            reading: Reading::default(),
            table: Table::default(),
            reaped: Vec::new(),
        }
    }

    /// The run of the OOM killer that it is.
    pub fn report(&self) -> Option<&Report> {
        match &self.subject {
            Subject::Oom { report, .. } => Some(report),
            _ => None,
        }
    }

    /// The same, with something that proves it.
    pub fn report_mut(&mut self) -> Option<&mut Report> {
        match &mut self.subject {
            Subject::Oom { report, proven } => {
                *proven = true;
                Some(report)
            }
            _ => None,
        }
    }

    /// Whether a message is of the same machine.
    pub fn is_of_host(&self, message: &Message) -> bool {
        same(self.host.as_ref(), message.host.as_ref())
            && same(self.boot_id.as_ref(), message.boot_id.as_ref())
    }

    /// Whether it may be that machine's.
    pub fn is_of_machine(&self, host: Option<&String>) -> bool {
        same(self.host.as_ref(), host)
    }

    /// Whether a message may be of the same writer.
    pub fn is_of(&self, message: &Message) -> bool {
        same(self.caller.as_ref(), message.caller.as_ref()) && self.is_of_host(message)
    }

    /// Whether the log says that one thread wrote both.
    pub fn is_surely_of(&self, message: &Message) -> bool {
        self.caller.is_some() && self.is_of(message)
    }

    /// Whether it has what it needs. More may follow: kills of a group.
    pub fn is_complete(&self) -> bool {
        self.report().is_none_or(|report| report.end != End::Unknown)
    }

    /// Counts a message of its machine, whoever wrote it.
    pub fn count(&mut self, message: &Message) {
        if self.is_of_host(message) {
            self.unrelated = self.unrelated.saturating_add(1);
        }
    }

    /// Whether a message comes too late for it to get anything more.
    pub fn is_late(&self, message: &Message) -> bool {
        if !self.is_of_machine(message.host.as_ref()) {
            // Logs of many machines in one: of their clocks only the wall's is common.
            let wall = |stamp: Stamp| Stamp { boot_us: None, ..stamp };
            return apart_us(wall(self.last), wall(message.stamp))
                .is_some_and(|apart_us| apart_us > PAUSE_WITHIN_US);
        }
        if !self.is_of_host(message) {
            // Another boot of the same machine has begun.
            return true;
        }
        let (unrelated, pause_us) =
            if self.is_complete() { (UNRELATED, PAUSE_US) } else { (UNRELATED_WITHIN, PAUSE_WITHIN_US) };
        self.unrelated > unrelated
            || apart_us(self.last, message.stamp).is_some_and(|apart_us| apart_us > pause_us)
    }

    /// A message was one of its.
    pub fn touch(&mut self, message: &Message) {
        self.last = message.stamp;
        self.unrelated = 0;
        self.in_stats = false;
    }

    /// The statistics of its memory cgroup follow.
    pub fn begin_stats(&mut self) {
        self.in_stats = true;
    }

    /// Whether a line begins what it has already: it is another's.
    pub fn has_already(&self, text: &[u8]) -> bool {
        let memory = match &self.subject {
            Subject::Oom { report, .. } => &report.memory,
            Subject::Allocation(failed) => &failed.memory,
            Subject::Show => return false,
        };
        memory::begins(text) && *memory != MemInfo::default() || self.table.rows > 0 && table::is_header(text)
    }

    /// Takes in a line that says a part of it; whether it is one.
    pub fn take(&mut self, message: &Message) -> bool {
        let text = &message.text[..];
        let stats = self.in_stats;
        let taken = match &mut self.subject {
            Subject::Oom { report, proven } => {
                if let Some(proves) = part(report, &mut self.table, &mut self.reading, stats, text) {
                    *proven |= proves;
                    true
                } else {
                    false
                }
            }
            Subject::Allocation(failed) => memory::take(&mut failed.memory, &mut self.reading, text),
            Subject::Show => memory::take(&mut MemInfo::default(), &mut self.reading, text),
        };
        if taken {
            self.touch(message);
            self.in_stats =
                stats && self.report().is_some() && text.first().is_some_and(u8::is_ascii_lowercase);
        }
        taken
    }

    /// What it comes to; `None`: nothing.
    pub fn into_told(self) -> Option<Told> {
        match self.subject {
            Subject::Oom { mut report, proven } => {
                report.tasks_in_all = self.table.rows;
                report.tasks = self.table.into_rows();
                proven.then_some(Told::Oom(report))
            }
            Subject::Allocation(failed) => Some(Told::AllocationFailed(failed)),
            Subject::Show => None,
        }
    }
}

/// Takes in a part of a report; `None`: it is none, `Some`: whether it proves that the OOM killer wrote it.
fn part(
    report: &mut Report,
    table: &mut Table,
    reading: &mut Reading,
    in_stats: bool,
    text: &[u8],
) -> Option<bool> {
    if table.take(text) {
        return Some(true);
    }
    if in_stats {
        if stats::by_line(text, &mut report.stats_bytes) {
            return Some(true);
        }
        if let Some(stats) = stats::in_kb(text) {
            report.stats_bytes = stats;
            return Some(true);
        }
    }
    match text.first()? {
        b'm' | b's' | b'k' => {
            if let Some(charge) = charge::parse(text) {
                let known = report.charges.iter().any(|known| known.kind == charge.kind);
                if !known && report.charges.len() < CHARGES {
                    report.charges.push(charge);
                }
                return Some(true);
            }
        }
        b'M' => {
            if let Some((path, stats)) = stats::in_one_line(text) {
                // Those that follow are of the cgroups below.
                if report.stats_bytes.is_empty() {
                    report.stats_bytes = stats;
                    report.memcg.get_or_insert(path);
                }
                return Some(true);
            }
        }
        b'T' if text.starts_with(b"Task in /") => {
            if let Some((task, limit)) = outside::task_in(text) {
                report.task_memcg.get_or_insert(task);
                report.memcg.get_or_insert(limit);
            }
            return Some(true);
        }
        _ => {}
    }
    memory::take(&mut report.memory, reading, text).then_some(false)
}

/// Whether two may be the same: what is not known may.
fn same<T: PartialEq>(one: Option<&T>, other: Option<&T>) -> bool {
    one.zip(other).is_none_or(|(one, other)| one == other)
}

/// How far apart two messages are, as far as one clock tells.
pub fn apart_us(one: Stamp, other: Stamp) -> Option<u64> {
    match (one.boot_us, other.boot_us, one.wall, other.wall) {
        (Some(one), Some(other), _, _) => Some(one.abs_diff(other)),
        (_, _, Some(one), Some(other)) => Some(one.as_microsecond().abs_diff(other.as_microsecond())),
        _ => None,
    }
}
