//! Messages to reports.
//!
//! Messages of others come in between, and reports of several threads may interleave. Where printk says who writes, that
//! tells them apart; where it does not, what they say does: a kill belongs to the report that decided on it.

use std::{collections::BTreeMap, mem};

use super::{
    allocation,
    belongs::{KILLS, WAYS},
    memory,
    open::{Open, Subject, apart_us},
    outside::{self, SysRq},
    pieces::{Joined, goes_on, join},
    table,
    types::{AllocationFailed, End, Kill, Reaped, Report, Told},
};
use crate::{
    kmsg::{
        line::{self, Invoked, Killed, Line, RanOut},
        message::{Message, Stamp},
    },
    text::from_kernel,
};

/// Reports that are open at one time, at the most.
const OPEN: usize = 16;
/// Machines whose kernel is remembered, at the most.
const HOSTS: usize = 256;
/// Pieces of one message, at the most: a name of 15 newlines.
const PIECES: u32 = 16;
/// Within this, a run follows the operator's wish, µs.
const SYSRQ_US: u64 = 5_000_000;

/// See the module.
#[derive(Debug, Default)]
pub struct Collector {
    /// The oldest first.
    open: Vec<Open>,
    /// Kernels by machine.
    releases: BTreeMap<Option<String>, String>,
    /// A message that may go on in the next.
    piece: Option<(Message, u32)>,
    /// An operator wishes a kill.
    sysrq: Option<Stamp>,
}

impl Collector {
    /// Takes a message in; hands over what is complete.
    pub fn take(&mut self, message: &Message, mut told: impl FnMut(Told)) {
        self.age(message, &mut told);
        if let Some((piece, pieces)) = self.piece.take() {
            match join(&piece, message) {
                Joined::Whole(whole) => return self.understand(&whole, &mut told),
                Joined::More(more) if pieces < PIECES => {
                    self.piece = Some((more, pieces + 1));
                    return;
                }
                Joined::More(_) | Joined::No => self.understand_piece(&piece, &mut told),
            }
        }
        if goes_on(&message.text) {
            self.piece = Some((message.clone(), 1));
        } else {
            self.understand(message, &mut told);
        }
    }

    /// Whether it is in the middle of something and needs every message. Else those that begin nothing may be left out.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.piece.is_some() || !self.open.is_empty()
    }

    /// Whether [`Self::settle`] has something to do: a report without its end is none.
    #[must_use]
    pub fn can_settle(&self) -> bool {
        self.piece.is_some() || self.open.iter().any(Open::is_complete)
    }

    /// What is open and cannot get anything more: for a live log that has been silent for a while.
    pub fn settle(&mut self, mut told: impl FnMut(Told)) {
        self.flush(&mut told);
        self.close(Open::is_complete, &mut told);
    }

    /// The log has ended: what is left, as fragments.
    pub fn end(&mut self, mut told: impl FnMut(Told)) {
        self.flush(&mut told);
        self.close(|_| true, &mut told);
    }

    fn flush(&mut self, told: &mut impl FnMut(Told)) {
        if let Some((piece, _)) = self.piece.take() {
            self.understand_piece(&piece, told);
        }
    }

    /// What a message says whose end is missing.
    fn understand_piece(&mut self, piece: &Message, told: &mut impl FnMut(Told)) {
        match line::cut_kill(&piece.text) {
            Some(killed) if Line::parse(&piece.text).is_none() => self.killed(piece, killed, told),
            _ => self.understand(piece, told),
        }
    }

    fn age(&mut self, message: &Message, told: &mut impl FnMut(Told)) {
        for open in &mut self.open {
            open.count(message);
        }
        self.close(|open| open.is_late(message), told);
    }

    fn understand(&mut self, message: &Message, told: &mut impl FnMut(Told)) {
        let text = &message.text[..];
        // What most of a report is made of, before all that it is not.
        if text.first() == Some(&b'[') && self.take_part(message) {
            return;
        }
        if let Some(line) = Line::parse(text) {
            self.line(message, line, told);
        } else if outside::bare_header(text) {
            self.invoked(message, None, told);
        } else if let Some(killed) = line::cut_kill(text) {
            self.killed(message, killed, told);
        } else if let Some(failed) = allocation::parse(text) {
            self.failed(message, failed, told);
        } else if let Some(words) = outside::panic(text) {
            self.panicked(message, words, told);
        } else if let Some(release) = outside::banner(text) {
            self.booted(message, release, told);
        } else if let Some(sysrq) = outside::sysrq(text) {
            match sysrq {
                SysRq::Kill => self.sysrq = Some(message.stamp),
                SysRq::ShowMemory => {
                    self.begin(Open::new(message, Subject::Show), told);
                }
            }
        } else if !self.take_part(message) && may_begin(text) {
            // A report whose beginning is missing.
            let mut open = Open::oom(message, false);
            if open.take(message) {
                self.begin(open, told);
            }
        }
    }

    fn line(&mut self, message: &Message, line: Line, told: &mut impl FnMut(Told)) {
        match line {
            Line::Invoked(invoked) => self.invoked(message, Some(invoked), told),
            Line::Thread { pid } => self.thread(message, pid),
            Line::Stats { path } => {
                let at = self.unfinished(message, |report| report.stats_bytes.is_empty(), told);
                if let Some(report) = self.report(at, message) {
                    report.memcg.get_or_insert(path);
                }
                if let Some(open) = self.open.get_mut(at) {
                    open.begin_stats();
                }
            }
            Line::Decided(decided) => {
                let fits = |report: &Report| {
                    let chosen = report.chosen.as_ref().map(|(pid, _)| *pid);
                    report.decided.is_none() && agree(chosen, decided.pid)
                };
                let at = self.unfinished(message, fits, told);
                if let Some(report) = self.report(at, message) {
                    report.decided = Some(*decided);
                }
            }
            Line::Chosen { pid, comm, score } => {
                let fits = |report: &Report| {
                    let decided = report.decided.as_ref().and_then(|decided| decided.pid);
                    report.chosen.is_none() && agree(decided, Some(pid))
                };
                let at = self.unfinished(message, fits, told);
                if let Some(report) = self.report(at, message) {
                    report.chosen = Some((pid, comm));
                    note_words(report, message);
                    report.chosen_score = score;
                }
            }
            Line::Killed(killed) => self.killed(message, killed, told),
            Line::Group { path } => self.group(message, path, told),
            Line::AlreadyExiting { pid, comm } => self.exiting(message, pid, comm, told),
            Line::NothingKillable => {
                // Of a run that has nobody it is the last line, so what is there of a decision is another's.
                let undecided = |report: &Report| report.decided.is_none() && report.chosen.is_none();
                let at = self.unfinished(message, undecided, told);
                if let Some(report) = self.report(at, message) {
                    (report.end, report.end_seq) = (End::NoVictim, message.seq);
                }
            }
            Line::ForkRejected { path } => told(Told::ForkRejected {
                stamp: message.stamp,
                seq: message.seq,
                host: message.host.clone(),
                boot_id: message.boot_id.clone(),
                path,
            }),
            Line::Reaped { pid, comm } => self.reaped(message, pid, comm, told),
        }
    }

    /// A report begins.
    fn invoked(&mut self, message: &Message, invoked: Option<Invoked>, told: &mut impl FnMut(Told)) {
        // One thread writes one report at a time.
        self.close(
            |open| if open.is_complete() { open.is_of(message) } else { open.is_surely_of(message) },
            told,
        );
        let wished = self.wished(message);
        let mut open = Open::oom(message, true);
        if let Some(report) = open.report_mut() {
            report.sysrq = wished || invoked.as_ref().is_some_and(|invoked| invoked.order == -1);
            report.trigger_adj = outside::trigger_adj(&message.text);
            report.tid = outside::trigger_tid(&message.text);
            report.invoked = invoked;
        }
        self.begin(open, told);
    }

    /// Whether an operator has just wished for a run.
    fn wished(&mut self, message: &Message) -> bool {
        self.sysrq
            .take()
            .is_some_and(|wish| apart_us(wish, message.stamp).is_none_or(|apart_us| apart_us <= SYSRQ_US))
    }

    /// The thread that a report is about, and the kernel.
    fn thread(&mut self, message: &Message, pid: u32) {
        let Some((comm, release)) = line::thread_and_release(&message.text) else { return };
        let comm = line::comm(comm).unwrap_or_else(|| from_kernel(comm));
        let names_none = |open: &Open| match &open.subject {
            Subject::Oom { report, .. } => {
                let same = |invoked: &Invoked| invoked.comm == comm || invoked.comm.is_empty();
                report.kernel.is_none() && report.invoked.as_ref().is_none_or(same)
            }
            Subject::Allocation(failed) => failed.tid.is_none() && failed.comm == comm,
            Subject::Show => false,
        };
        let Some(open) = self.place(message, names_none).and_then(|at| self.open.get_mut(at)) else { return };
        match &mut open.subject {
            Subject::Oom { report, .. } => {
                report.tid.get_or_insert(pid);
                report.kernel = Some(release.to_owned());
            }
            Subject::Allocation(failed) => {
                failed.tid = Some(pid);
                failed.kernel = Some(release.to_owned());
            }
            Subject::Show => {}
        }
        open.touch(message);
    }

    fn killed(&mut self, message: &Message, killed: Killed, told: &mut impl FnMut(Told)) {
        let found = WAYS
            .into_iter()
            .find_map(|(fits, group)| Some((self.place(message, |open| fits(open, &killed))?, group)));
        let (at, group) = found.unwrap_or_else(|| (self.begin_fragment(message, told), false));
        if let Some(report) = self.report(at, message) {
            report.kills.push(Kill { stamp: message.stamp, seq: message.seq, killed, group });
            note_words(report, message);
            report.end = End::Killed;
        }
    }

    /// A victim's memory is there again. Nobody hears of that before hearing of the victim.
    fn reaped(&mut self, message: &Message, pid: u32, comm: String, told: &mut impl FnMut(Told)) {
        let reaped = Reaped {
            stamp: message.stamp,
            host: message.host.clone(),
            boot_id: message.boot_id.clone(),
            pid,
            comm,
        };
        let killed = |report: &Report| {
            report.kills.iter().any(|kill| kill.killed.pid == pid) && report.end == End::Killed
        };
        // The reaper is a thread of its own.
        let of = |open: &&mut Open| open.is_of_host(message) && open.report().is_some_and(killed);
        match self.open.iter_mut().rev().find(of) {
            Some(open) if open.reaped.len() < KILLS => open.reaped.push(reaped),
            _ => told(Told::Reaped(reaped)),
        }
    }

    /// The group of the first victim follows.
    fn group(&mut self, message: &Message, path: String, told: &mut impl FnMut(Told)) {
        let killed = |open: &Open| {
            open.report().is_some_and(|report| !report.kills.is_empty() && report.group.is_none())
        };
        let at = self.place(message, killed).unwrap_or_else(|| self.begin_fragment(message, told));
        if let Some(report) = self.report(at, message) {
            report.group = Some(path);
        }
    }

    fn exiting(&mut self, message: &Message, pid: u32, comm: String, told: &mut impl FnMut(Told)) {
        let member = |open: &Open| open.report().is_some_and(|report| report.group.is_some());
        let at = self.place(message, member).unwrap_or_else(|| {
            let decided =
                |report: &Report| agree(report.decided.as_ref().and_then(|decided| decided.pid), Some(pid));
            self.unfinished(message, decided, told)
        });
        if let Some(report) = self.report(at, message) {
            if report.already_exiting.len() < KILLS {
                report.already_exiting.push((pid, comm));
            }
            note_words(report, message);
            if report.end == End::Unknown {
                (report.end, report.end_seq) = (End::AlreadyExiting, message.seq);
            }
        }
    }

    fn panicked(&mut self, message: &Message, words: String, told: &mut impl FnMut(Told)) {
        // "System is deadlocked on memory" follows the news that there is nobody to kill.
        let nobody = |open: &Open| open.report().is_some_and(|report| report.end == End::NoVictim);
        let undecided = |report: &Report| report.decided.is_none() && report.chosen.is_none();
        let at = self.place(message, nobody).unwrap_or_else(|| self.unfinished(message, undecided, told));
        let wished = self.wished(message);
        if let Some(report) = self.report(at, message) {
            report.sysrq |= wished;
            (report.end, report.end_seq) = (End::Panic(words), message.seq);
        }
    }

    fn failed(&mut self, message: &Message, mut failed: AllocationFailed, told: &mut impl FnMut(Told)) {
        failed.stamp = message.stamp;
        failed.seq = message.seq;
        failed.host.clone_from(&message.host);
        failed.boot_id.clone_from(&message.boot_id);
        self.close(|open| open.is_complete() && open.is_of(message), told);
        self.begin(Open::new(message, Subject::Allocation(Box::new(failed))), told);
    }

    fn booted(&mut self, message: &Message, release: String, told: &mut impl FnMut(Told)) {
        self.close(|open| open.is_of_machine(message.host.as_ref()), told);
        if self.releases.len() >= HOSTS && !self.releases.contains_key(&message.host) {
            self.releases.clear();
        }
        self.releases.insert(message.host.clone(), release);
    }

    /// Gives a message to the newest that takes it; whether one does.
    fn take_part(&mut self, message: &Message) -> bool {
        let goes_on = |open: &&mut Open| {
            (open.report().is_none() || !open.is_complete())
                && open.is_of(message)
                && !open.has_already(&message.text)
        };
        self.open.iter_mut().rev().filter(goes_on).any(|open| open.take(message))
    }

    /// The newest that may be of the message's writer and fits.
    fn place(&self, message: &Message, fits: impl Fn(&Open) -> bool) -> Option<usize> {
        self.open.iter().rposition(|open| open.is_of(message) && fits(open))
    }

    /// The newest report that has no end yet and fits, or a new one.
    fn unfinished(
        &mut self,
        message: &Message,
        fits: impl Fn(&Report) -> bool,
        told: &mut impl FnMut(Told),
    ) -> usize {
        let unfinished =
            |open: &Open| open.report().is_some_and(|report| report.end == End::Unknown && fits(report));
        self.place(message, unfinished).unwrap_or_else(|| self.begin_fragment(message, told))
    }

    /// The report there, which a message is of.
    fn report(&mut self, at: usize, message: &Message) -> Option<&mut Report> {
        let open = self.open.get_mut(at)?;
        open.touch(message);
        open.report_mut()
    }

    /// A report whose header is missing: the kernel limits headers to 10 in 5 s.
    fn begin_fragment(&mut self, message: &Message, told: &mut impl FnMut(Told)) -> usize {
        self.close(|open| open.is_complete() && open.is_of(message), told);
        self.begin(Open::oom(message, true), told)
    }

    /// Where it is then.
    fn begin(&mut self, open: Open, told: &mut impl FnMut(Told)) -> usize {
        if self.open.len() >= OPEN {
            let oldest = self.open.remove(0);
            self.tell(oldest, told);
        }
        self.open.push(open);
        self.open.len() - 1
    }

    fn close(&mut self, is_over: impl Fn(&Open) -> bool, told: &mut impl FnMut(Told)) {
        let mut at = 0;
        while let Some(open) = self.open.get(at) {
            if is_over(open) {
                let open = self.open.remove(at);
                self.tell(open, told);
            } else {
                at += 1;
            }
        }
    }

    fn tell(&self, open: Open, told: &mut impl FnMut(Told)) {
        let mut open = open;
        let reaped = mem::take(&mut open.reaped);
        let Some(mut what) = open.into_told() else { return };
        let (kernel, host) = match &mut what {
            Told::Oom(report) => (&mut report.kernel, &report.host),
            Told::AllocationFailed(failed) => (&mut failed.kernel, &failed.host),
            Told::Reaped(_) | Told::ForkRejected { .. } => return told(what),
        };
        if kernel.is_none() {
            *kernel = self.releases.get(host).cloned();
        }
        told(what);
        reaped.into_iter().map(Told::Reaped).for_each(told);
    }
}

/// Whether two threads may be one.
fn agree(one: Option<u32>, other: Option<u32>) -> bool {
    one.zip(other).is_none_or(|(one, other)| one == other)
}

/// Whether a report whose beginning is missing may begin with that.
fn may_begin(text: &[u8]) -> bool {
    match text.first() {
        Some(b'M' | b'\n') => memory::begins(text) || text.starts_with(b"Memory cgroup stats for /"),
        Some(b'T') => text.starts_with(b"Task in /") || text.starts_with(b"Tasks state"),
        Some(b'[') => table::is_header(text),
        Some(b'a' | b'A') => text.starts_with(b"active_anon:") || text.starts_with(b"Active"),
        Some(b'm') => text.starts_with(b"memory: usage "),
        _ => false,
    }
}

/// What ran out, by a message about a victim. Kernels before 2.6.20 say `Out of Memory` of whom they chose, and at the kill what it is.
fn note_words(report: &mut Report, message: &Message) {
    if matches!(report.ran_out, None | Some(RanOut::Memory)) {
        report.ran_out = line::ran_out(&message.text).or(report.ran_out);
    }
}

#[cfg(test)]
#[path = "collector_tests.rs"]
mod tests;
