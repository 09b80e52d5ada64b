//! What an assembler makes of a kernel log, where there is nothing but the log.

use std::collections::{BTreeMap, VecDeque};

use super::Assembler;
use crate::{
    incident::{
        AllocFailure, AllocFailureTag, FailedTask, FailureKind, Relief, ReliefTag, Relieved,
        event::Event,
        fork, id,
        missing::{self, lacking},
        reported::{Reasons, Reported},
        tally::Tally,
        types::{Common, SchemaName, WallTime},
    },
    kernel::hooks::Tier,
    kmsg::{
        message::{Message, Stamp},
        report::{AllocationFailed, Collector, Reaped, Report, Told},
    },
    record::{KernelLog, Key, PidsRefused},
    session::Source,
};

/// A log that has been silent for so long has nothing to add to a report that has its end, ns.
const SILENT_NS: u64 = 250_000_000;
/// The same for one that has none: it is written while a slow console shows it. ns
const GIVEN_UP_NS: u64 = 60_000_000_000;
/// Victims that may still be reaped and are remembered, at most.
const REMEMBERED: usize = 256;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Reports {
    collector: Collector,
    /// The latest last.
    killed: VecDeque<Remembered>,
    /// When a message came last, ns since boot.
    last_ns: u64,
}

/// A victim of an incident that was told.
#[derive(Debug)]
struct Remembered {
    /// The thread that was killed.
    tid: u32,
    /// Its process.
    pid: u32,
    comm: String,
    stamp: Stamp,
    id: String,
    common: Common,
}

/// Where a line is from, as the log has it.
struct Origin<'a> {
    stamp: Stamp,
    host: Option<&'a String>,
    boot_id: Option<&'a String>,
    kernel: Option<&'a String>,
}

impl Assembler {
    /// Takes a message of a kernel log in.
    pub fn message(&mut self, message: &Message) -> Vec<Event> {
        let mut told = Vec::new();
        self.reports.collector.take(message, |one| told.push(one));
        told.into_iter().filter_map(|told| self.reported(told)).collect()
    }

    /// Whether a report has begun, so that the next messages matter whatever they say.
    #[must_use]
    pub fn wants_everything(&self) -> bool {
        self.reports.collector.is_open()
    }

    /// The same of a message that was recorded, or is read at this moment.
    pub(super) fn followed(&mut self, key: &Key, log: &KernelLog, offset_ns: i64) -> Vec<Event> {
        let mut events = self.settle(key.boot_ns);
        if log.text.is_empty() {
            return events;
        }
        self.reports.last_ns = key.boot_ns;
        let boot_ns = log.usec.saturating_mul(1000);
        let message = Message {
            stamp: Stamp { boot_us: Some(log.usec), wall: Some(WallTime::at(boot_ns, offset_ns).0) },
            seq: Some(log.seq),
            text: log.text.clone(),
            ..Message::default()
        };
        events.extend(self.message(&message));
        events
    }

    /// When reports that are open can be told, ns since boot.
    pub(super) fn settles_ns(&self) -> Option<u64> {
        let collector = &self.reports.collector;
        let silent_ns = if collector.can_settle() { SILENT_NS } else { GIVEN_UP_NS };
        let open = self.session.tier == Tier::Kmsg && collector.is_open();
        open.then(|| self.reports.last_ns.saturating_add(silent_ns))
    }

    /// Tells reports to which nothing was added for a while.
    pub(super) fn settle(&mut self, now_ns: u64) -> Vec<Event> {
        if self.settles_ns().is_none_or(|settles_ns| settles_ns > now_ns) {
            return Vec::new();
        }
        let collector = &mut self.reports.collector;
        let mut told = Vec::new();
        if now_ns == u64::MAX || !collector.can_settle() {
            collector.end(|one| told.push(one));
        } else {
            collector.settle(|one| told.push(one));
        }
        told.into_iter().filter_map(|told| self.reported(told)).collect()
    }

    fn reported(&mut self, told: Told) -> Option<Event> {
        match told {
            Told::Oom(report) => Some(self.oom(&report)),
            Told::Reaped(reaped) => self.reaped(&reaped),
            Told::AllocationFailed(failed) => Some(self.allocation_failed(*failed)),
            // The cgroup's own count says how many: the log is a hint to look at it.
            Told::ForkRejected { path, .. } if self.session.pids_events => {
                self.refuses(path);
                None
            }
            Told::ForkRejected { stamp, host, boot_id, path, .. } => {
                let origin = Origin { stamp, host: host.as_ref(), boot_id: boot_id.as_ref(), kernel: None };
                let seq = self.next_seq();
                let refused = PidsRefused { cgroup: Some(path), count: 1, ..PidsRefused::default() };
                Some(Event::ForkFailure(Box::new(fork::refused(&refused, self.common_of(seq, &origin)))))
            }
        }
    }

    /// The head of a line. What the log does not say of the machine is this one's, if the log is.
    fn common_of(&self, seq: u64, origin: &Origin<'_>) -> Common {
        let host = (self.source != Source::Import).then_some(&self.session.host);
        let own = |said: Option<&String>, own: Option<&String>| said.or(own).cloned();
        Common {
            seq,
            time: origin.stamp.wall.map(WallTime),
            boot_ns: origin.stamp.boot_us.map(|us| us.saturating_mul(1000)),
            host: own(origin.host, host.map(|host| &host.name)),
            boot_id: own(
                origin.boot_id.map(|id| hyphenated(id)).as_ref(),
                host.and_then(|host| host.boot_id.as_ref()),
            ),
            kernel: own(origin.kernel, host.map(|host| &host.kernel)),
            tier: Tier::Kmsg,
            source: if self.source == Source::Ebpf { Source::Kmsg } else { self.source },
        }
    }

    fn oom(&mut self, report: &Report) -> Event {
        let origin = Origin {
            stamp: report.stamp,
            host: report.host.as_ref(),
            boot_id: report.boot_id.as_ref(),
            kernel: report.kernel.as_ref(),
        };
        let seq = self.next_seq();
        let common = self.common_of(seq, &origin);
        let id = id_of(report, &common);
        let own = self.source != Source::Import;
        let page_bytes = own.then(|| u64::from(self.session.host.page_bytes));
        let told = Reported { report, page_bytes, reasons: Reasons::OF_LOG };
        let incident = told.incident(common.clone(), id.clone());
        // The kernel counts each that it logs.
        self.tally = self.tally.and(Tally::of(report.kills.len(), false, None));
        for kill in &report.kills {
            if self.reports.killed.len() >= REMEMBERED {
                self.reports.killed.pop_front();
            }
            let tid = kill.killed.pid;
            let of = incident.victims.iter().find(|victim| victim.tid == Some(tid));
            self.reports.killed.push_back(Remembered {
                tid,
                pid: of.and_then(|victim| victim.pid).unwrap_or(tid),
                comm: kill.killed.comm.clone(),
                stamp: kill.stamp,
                id: id.clone(),
                common: common.clone(),
            });
        }
        Event::Closed(Box::new(incident))
    }

    /// The reaper took a victim's memory: of whom was told before.
    fn reaped(&mut self, reaped: &Reaped) -> Option<Event> {
        let is = |known: &Remembered| {
            known.tid == reaped.pid
                && known.comm == reaped.comm
                && (reaped.host.is_none() || known.common.host.is_none() || known.common.host == reaped.host)
        };
        let at = self.reports.killed.iter().rposition(is)?;
        let known = self.reports.killed.remove(at)?;
        let (stamp, before) = (reaped.stamp, known.stamp);
        let us = stamp.boot_us.zip(before.boot_us).and_then(|(now, then)| now.checked_sub(then));
        let common = Common {
            time: stamp.wall.map(WallTime),
            boot_ns: stamp.boot_us.map(|us| us.saturating_mul(1000)),
            ..known.common
        };
        let victim = Relieved {
            pid: known.pid,
            comm: Some(known.comm),
            command: crate::incident::Command::default(),
            exited_ns: None,
            freed_ns: None,
            reaped: true,
            reaped_ns: us.map(|us| us.saturating_mul(1000)),
        };
        let mut missing = BTreeMap::new();
        let lacking = lacking([("exited_ns", true), ("freed_ns", true), ("reaped_ns", us.is_none())]);
        let fields = lacking.map(|field| format!("victims[0].{field}"));
        missing::all(&mut missing, fields, Reasons::OF_LOG.never);
        Some(Event::Relieved(Box::new(Relief {
            schema: SchemaName::V1,
            r#type: ReliefTag::Relief,
            id: known.id,
            common,
            victims: vec![victim],
            collateral: Vec::new(),
            findings: Vec::new(),
            missing,
        })))
    }

    fn allocation_failed(&mut self, failed: AllocationFailed) -> Event {
        let origin = Origin {
            stamp: failed.stamp,
            host: failed.host.as_ref(),
            boot_id: failed.boot_id.as_ref(),
            kernel: failed.kernel.as_ref(),
        };
        let seq = self.next_seq();
        let common = self.common_of(seq, &origin);
        let mut missing = BTreeMap::new();
        let never = ["task.pid", "task.uid", "task.oom_score_adj", "task.cmdline", "task.cgroup", "limits"];
        missing::all(&mut missing, never, Reasons::OF_LOG.never);
        let lacks = lacking([("task.tid", failed.tid.is_none()), ("gfp_flags", failed.gfp_flags.is_none())]);
        missing::all(&mut missing, lacks, Reasons::OF_LOG.lacks);
        Event::AllocFailure(Box::new(AllocFailure {
            schema: SchemaName::V1,
            r#type: AllocFailureTag::AllocFailure,
            common,
            what: FailureKind::PageAllocation,
            task: FailedTask { tid: failed.tid, comm: Some(failed.comm), ..FailedTask::default() },
            memcg: None,
            limits: Vec::new(),
            gfp_mask: Some(failed.gfp_mask),
            gfp_flags: failed.gfp_flags,
            order: u32::try_from(failed.order).ok(),
            errno: None,
            count: 1,
            missing,
            lost_records: 0,
        }))
    }
}

/// A boot's id as the kernel writes it (/proc/sys/kernel/random/boot_id): journals keep the digits alone.
fn hyphenated(id: &str) -> String {
    let ends = |at: usize| [8, 12, 16, 20].contains(&at);
    if id.len() != 32 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return id.to_owned();
    }
    let mut hyphenated = String::with_capacity(36);
    for (at, digit) in id.chars().enumerate() {
        if ends(at) {
            hyphenated.push('-');
        }
        hyphenated.push(digit);
    }
    hyphenated
}

/// A name that is the same whenever and from wherever the report is read: by the number of its record, else by what it says of
/// its time and its first victim.
fn id_of(report: &Report, common: &Common) -> String {
    let first = report.kills.first();
    let pid = first.map(|kill| kill.killed.pid).or(report.tid).unwrap_or(0);
    let seq = first.map_or(report.end_seq.or(report.seq), |kill| kill.seq);
    if let (Some(seq), Some(_)) = (seq, &common.boot_id) {
        return id::of_log(common.boot_id.as_deref(), seq, pid);
    }
    let comm = first.map(|kill| &kill.killed.comm);
    let mut sum = crc32fast::Hasher::new();
    sum.update(
        format!("{:?} {:?} {:?} {comm:?} {seq:?}", common.host, common.time, common.boot_ns).as_bytes(),
    );
    format!("log-{:08x}-{pid:x}", sum.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::tests::sample;

    fn log(boot_ns: u64, text: &str) -> (Key, KernelLog) {
        let key = Key { trigger_tid: 0, opened_ns: 0, boot_ns, index: 0, lost: 0 };
        (key, KernelLog { seq: 1, usec: boot_ns / 1000, text: text.into() })
    }

    /// Guards the silent log against an alarm that is due for ever, and against a report that is never told: one with its end
    /// comes out soon, one without late.
    #[test]
    fn a_silent_log_is_waited_for_once() {
        let header = "x invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0";
        for (lines, silent_ns) in [
            (&[header][..], GIVEN_UP_NS),
            (&[header, "Out of memory: Killed process 7 (x) total-vm:40kB"], SILENT_NS),
        ] {
            let mut assembler = Assembler::new(sample(Tier::Kmsg), Source::Kmsg);
            for line in lines {
                let (key, log) = log(5, line);
                assert!(assembler.followed(&key, &log, 0).is_empty());
            }
            assert_eq!(assembler.settles_ns(), Some(5 + silent_ns));
            assert!(assembler.settle(4 + silent_ns).is_empty());
            assert_eq!(assembler.settle(5 + silent_ns).len(), 1);
            assert_eq!(assembler.settles_ns(), None);
        }
    }
}
