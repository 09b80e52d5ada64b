//! From assembled events to the output: filtered, counted, handed to its queue.

use std::{
    collections::BTreeMap,
    io::{IsTerminal as _, stdout},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use bytes::Bytes;
use jiff::tz::TimeZone;
use oomtrace_ebpf::RecordKind;

use crate::{
    cli::{FilterArgs, Form, OutputArgs},
    explain::Explainer,
    host::meminfo::Swap,
    host::names::Names,
    incident::{Assembler, Event, Incident, Loss, LossTag, SchemaName, Status, StatusState, StatusTag},
    kernel::limits::LimitsCheck,
    output::{Closed, Filter, Format, Human, Json, LAST_WORDS, Message, Queue},
    record::{DecodeError, Frame, Recorder, decode},
    say::say,
};

/// The place of losses in the output's queue.
const OUTPUT: &str = "output";

/// Standard output and what goes there.
pub struct Shown {
    queue: Queue,
    filter: Filter,
    /// Whether to wait for the output rather than lose something: nothing else has to be read meanwhile.
    patient: bool,
    /// What holds live incidents against the machine.
    check: Option<LimitsCheck>,
    /// What tells the names of live incidents' containers.
    names: Option<Names>,
    /// What live incidents are completed from.
    swap: Option<Swap>,
    /// What says what events come to.
    explainer: Explainer,
    /// Losses that have not been told yet, by place and kind.
    untold: BTreeMap<&'static str, BTreeMap<&'static str, u64>>,
    /// Whether an incident was complete, or something lost, since this was taken last.
    pub stirred: bool,
    /// Numbers for the summary.
    pub counts: Counts,
}

/// What was seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Incidents handed to the output.
    pub incidents: u64,
    /// Victims in them.
    pub victims: u64,
    /// Processes that daemons in user space killed.
    pub user_kills: u64,
    /// Forks that failed.
    pub forks: u64,
    /// Incidents left out.
    pub filtered: u64,
    /// Records lost, anywhere.
    pub lost: u64,
}

impl Shown {
    /// Starts the output.
    pub fn start(
        output: OutputArgs,
        filter: &FilterArgs,
        patient: bool,
        check: Option<LimitsCheck>,
        names: Option<Names>,
    ) -> anyhow::Result<Self> {
        let format: Box<dyn Format> = match output.form() {
            Form::Json => Box::new(Json),
            Form::Human => Box::new(Human::new(colour(), TimeZone::system(), width())),
        };
        let queue = Queue::start(format, Box::new(stdout()), patient)
            .context("The output's thread cannot be started")?;
        Ok(Self {
            queue,
            filter: Filter::new(filter),
            patient,
            check,
            names,
            swap: (!patient).then(|| Swap::new("/proc".into())),
            explainer: Explainer::default(),
            untold: BTreeMap::new(),
            stirred: false,
            counts: Counts::default(),
        })
    }

    /// Takes a record in as it comes: it is recorded, if it is to be, and then as by [`Self::record`].
    pub fn take(
        &mut self,
        assembler: &mut Assembler,
        recorder: Option<&Recorder>,
        bytes: Vec<u8>,
        boot_ns: u64,
        wall_clock_offset_ns: i64,
    ) {
        let bytes = Bytes::from(bytes);
        if let Some(recorder) = recorder {
            recorder.send(Frame::Record { wall_clock_offset_ns, bytes: bytes.clone() });
        }
        self.record(assembler, &bytes, boot_ns, wall_clock_offset_ns);
    }

    /// Takes a record: decodes, assembles, shows.
    pub fn record(&mut self, assembler: &mut Assembler, bytes: &[u8], boot_ns: u64, offset_ns: i64) {
        match decode(bytes) {
            Ok(record) => {
                let events = assembler.record(record, offset_ns);
                self.events(assembler, events, offset_ns);
            }
            Err(error) => self.undecoded(assembler, &error, boot_ns, offset_ns),
        }
    }

    /// Shows events.
    pub fn events(&mut self, assembler: &mut Assembler, events: Vec<Event>, offset_ns: i64) {
        self.stirred |= events.iter().any(|event| event.closed().is_some());
        // What is left out of these is followed by no relief.
        let mut left_out = Vec::new();
        for mut event in events {
            let complete = matches!(event, Event::Closed(_));
            let incident = match &mut event {
                Event::Opened(incident) | Event::Closed(incident) => incident,
                Event::Relieved(relief) => {
                    if !left_out.contains(&relief.common.seq) {
                        if let Some(names) = &mut self.names {
                            names.complete_victims(&mut relief.collateral);
                        }
                        self.explainer.complete(&mut event, assembler.settings());
                        self.send(assembler, Message::Incident(event), offset_ns);
                    }
                    continue;
                }
                Event::AllocFailure(failure) => {
                    if let Some(check) = &mut self.check {
                        check.check_failure(failure);
                    }
                    if let Some(names) = &mut self.names {
                        names.complete_task(&mut failure.task.place, None);
                    }
                    if self.filter.passes_failure(failure) {
                        self.send(assembler, Message::Incident(event), offset_ns);
                    } else {
                        self.counts.filtered += 1;
                    }
                    continue;
                }
                Event::UserKill(kill) => {
                    if let Some(check) = &mut self.check {
                        check.check_user_kill(kill);
                    }
                    if let Some(names) = &mut self.names {
                        names.complete_victims(&mut kill.victims);
                    }
                    if self.filter.passes_user_kill(kill) {
                        self.counts.user_kills =
                            self.counts.user_kills.saturating_add(kill.victims.len() as u64);
                        self.explainer.complete(&mut event, assembler.settings());
                        self.send(assembler, Message::Incident(event), offset_ns);
                    } else {
                        self.counts.filtered += 1;
                    }
                    continue;
                }
                Event::ForkFailure(failure) => {
                    if let Some(names) = &mut self.names {
                        names.complete_task(&mut failure.task.place, Some(&failure.task.kinship));
                    }
                    if self.filter.passes_fork(failure) {
                        self.counts.forks = self.counts.forks.saturating_add(failure.count);
                        self.explainer.complete(&mut event, assembler.settings());
                        self.send(assembler, Message::Incident(event), offset_ns);
                    } else {
                        self.counts.filtered += 1;
                    }
                    continue;
                }
            };
            if let Some(check) = &mut self.check {
                check.check(incident);
            }
            if let Some(names) = &mut self.names {
                names.complete(incident);
            }
            if let Some(swap) = self.swap.as_ref().filter(|_| complete) {
                swap.add(incident);
            }
            let passes = self.filter.passes(incident);
            let victims = incident.victims.len() as u64;
            if passes {
                self.explainer.complete(&mut event, assembler.settings());
                let told = self.send(assembler, Message::Incident(event), offset_ns);
                if told && complete {
                    self.counts.incidents += 1;
                    self.counts.victims += victims;
                }
            } else if complete {
                let seq = incident.common.seq;
                left_out.push(seq);
                assembler.without_relief(seq);
                self.counts.filtered += 1;
            }
        }
    }

    /// Says that records found no room in the ring, by kind.
    pub fn lost(&mut self, assembler: &mut Assembler, counts: &[(u16, u64)], boot_ns: u64, offset_ns: i64) {
        self.loss(assembler, "ring", by_kind(counts), boot_ns, offset_ns);
    }

    /// Says that messages of the kernel log were overwritten unread.
    pub fn overwritten(&mut self, assembler: &mut Assembler, count: u64, boot_ns: u64, offset_ns: i64) {
        say!("{count} messages of the kernel log were overwritten before they could be read.");
        self.loss(assembler, "kmsg", BTreeMap::from([("message", count)]), boot_ns, offset_ns);
    }

    /// Says that the kernel counted kills that nobody saw.
    pub fn uncounted(&mut self, assembler: &mut Assembler, count: u64, boot_ns: u64, offset_ns: i64) {
        say!("The kernel counted {count} kills more than were seen.");
        self.loss(assembler, "vmstat", BTreeMap::from([("kill", count)]), boot_ns, offset_ns);
    }

    /// Says that so many forks went by while the programs were at work for others: some of them may have failed.
    pub fn unseen_forks(&mut self, assembler: &mut Assembler, count: u64, boot_ns: u64, offset_ns: i64) {
        if count > 0 {
            say!(
                "{count} forks went by while the programs were at work for others: some of them may have failed."
            );
            self.loss(assembler, "programs", BTreeMap::from([("fork", count)]), boot_ns, offset_ns);
        }
    }

    fn undecoded(&mut self, assembler: &mut Assembler, error: &DecodeError, boot_ns: u64, offset_ns: i64) {
        say!("A record could not be understood: {error}.");
        self.loss(assembler, "decode", BTreeMap::from([("record", 1)]), boot_ns, offset_ns);
    }

    fn loss(
        &mut self,
        assembler: &mut Assembler,
        place: &'static str,
        counts: BTreeMap<&'static str, u64>,
        boot_ns: u64,
        offset_ns: i64,
    ) {
        let total = counts.values().fold(0_u64, |sum, count| sum.saturating_add(*count));
        if total == 0 {
            return;
        }
        self.stirred = true;
        self.counts.lost = self.counts.lost.saturating_add(total);
        add(self.untold.entry(place).or_default(), counts);
        self.tell_losses(assembler, boot_ns, offset_ns);
    }

    /// Tells of losses as far as there is room. `false`: some are still untold.
    fn tell_losses(&mut self, assembler: &mut Assembler, boot_ns: u64, offset_ns: i64) -> bool {
        while let Some((place, counts)) = self.untold.pop_first() {
            let seq = assembler.seq() + 1;
            let common = assembler.common(seq, boot_ns, offset_ns);
            let message = Message::Loss(Loss {
                schema: SchemaName::V1,
                r#type: LossTag::Loss,
                common,
                place,
                counts: counts.clone(),
            });
            if self.patient {
                self.queue.send_waiting(message);
            } else if !self.queue.send(message) {
                self.untold.insert(place, counts);
                return false;
            }
            assembler.next_seq();
        }
        true
    }

    /// Says that tracing begins.
    pub fn armed(
        &mut self,
        assembler: &mut Assembler,
        hooks: BTreeMap<&'static str, Vec<String>>,
        boot_ns: u64,
        offset_ns: i64,
    ) {
        let status = self.status(assembler, StatusState::Armed, hooks, boot_ns, offset_ns);
        self.send(assembler, status, offset_ns);
    }

    /// Says that tracing has ended, and what found no room until then.
    pub fn ended_tracing(&mut self, assembler: &mut Assembler, boot_ns: u64, offset_ns: i64) {
        let until = Instant::now() + LAST_WORDS;
        while !self.tell_losses(assembler, boot_ns, offset_ns) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        let status = self.status(assembler, StatusState::Ended, BTreeMap::new(), boot_ns, offset_ns);
        while !self.queue.send(status.clone()) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn status(
        &self,
        assembler: &Assembler,
        state: StatusState,
        hooks: BTreeMap<&'static str, Vec<String>>,
        boot_ns: u64,
        offset_ns: i64,
    ) -> Message {
        Message::Status(Status {
            schema: SchemaName::V1,
            r#type: StatusTag::Status,
            common: assembler.common(assembler.seq(), boot_ns, offset_ns),
            state,
            hooks,
            incidents: self.counts.incidents,
            victims: self.counts.victims,
            filtered: self.counts.filtered,
            lost_records: self.counts.lost,
        })
    }

    /// Hands a message over, and before it what has not been told of losses. `false`: there is no room, so it is
    /// dropped and counted.
    fn send(&mut self, assembler: &mut Assembler, message: Message, offset_ns: i64) -> bool {
        if !self.queue.shows(&message) {
            return true;
        }
        if self.patient {
            self.queue.send_waiting(message);
            return true;
        }
        let behind = self.untold.contains_key(OUTPUT);
        let caught_up = self.tell_losses(assembler, crate::host::boot_ns(), offset_ns);
        if behind && caught_up {
            say!("The reader of the output has caught up; the output says how much it missed.");
        }
        if caught_up && self.queue.send(message) {
            return true;
        }
        if !behind {
            say!("The reader of the output is too slow: messages are being dropped.");
        }
        self.counts.lost = self.counts.lost.saturating_add(1);
        add(self.untold.entry(OUTPUT).or_default(), BTreeMap::from([("message", 1)]));
        false
    }

    /// Whether an incident is among those that are to be shown.
    #[must_use]
    pub fn passes(&self, incident: &Incident) -> bool {
        self.filter.passes(incident)
    }

    /// Whether the output has ended by itself: its reader went away, or it failed.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.queue.closed().is_some()
    }

    /// Waits for the output to end by itself.
    pub async fn ended(&self) -> Arc<Closed> {
        self.queue.ended().await
    }

    /// Writes what waits. An output that failed is an error, but for a reader that went away.
    pub fn finish(mut self) -> anyhow::Result<Counts> {
        let through = if self.patient { self.queue.finish(None) } else { self.queue.finish_soon() };
        match self.queue.closed().as_deref() {
            Some(Closed::Failed(error)) => anyhow::bail!("Standard output cannot be written to: {error}"),
            Some(Closed::BrokenPipe) | None => {}
        }
        if !through {
            say!("The reader of the output took nothing for 2 s: what still waited is dropped.");
        }
        Ok(self.counts)
    }
}

fn add(to: &mut BTreeMap<&'static str, u64>, counts: BTreeMap<&'static str, u64>) {
    for (kind, count) in counts {
        let sum = to.entry(kind).or_default();
        *sum = sum.saturating_add(count);
    }
}

/// Counts by the name of their kind. Replayed ones are whatever the record file says.
fn by_kind(counts: &[(u16, u64)]) -> BTreeMap<&'static str, u64> {
    let mut by_kind = BTreeMap::new();
    for (kind, count) in counts {
        let sum: &mut u64 = by_kind.entry(kind_name(*kind)).or_default();
        *sum = sum.saturating_add(*count);
    }
    by_kind
}

fn kind_name(kind: u16) -> &'static str {
    match RecordKind::from_raw(kind) {
        Some(RecordKind::Decision) => "decision",
        Some(RecordKind::Level) => "level",
        Some(RecordKind::Mark) => "mark",
        Some(RecordKind::Close) => "close",
        Some(RecordKind::Candidate) => "candidate",
        Some(RecordKind::Relief) => "relief",
        Some(RecordKind::Cmdline) => "cmdline",
        Some(RecordKind::Struck) => "struck",
        Some(RecordKind::Kin) => "kin",
        Some(RecordKind::Zone) => "zone",
        Some(RecordKind::Node) => "node",
        Some(RecordKind::Allowed) => "allowed",
        Some(RecordKind::ForkFailure) => "fork_failure",
        Some(RecordKind::PidsLevel) => "pids_level",
        Some(RecordKind::Namespaces) => "namespaces",
        Some(RecordKind::ForkHost) => "fork_host",
        Some(RecordKind::PidsRefused) => "pids_refused",
        Some(RecordKind::KernelLog) => "kernel_log",
        Some(RecordKind::Settings) => "settings",
        Some(RecordKind::AllocFailure) => "alloc_failure",
        Some(RecordKind::UserKill) => "user_kill",
        Some(RecordKind::Environment) => "environment",
        None => "unknown",
    }
}

/// How wide lines may be: as the terminal is, or as `COLUMNS` says; of any length where the output goes elsewhere.
pub(super) fn width() -> Option<usize> {
    let told = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let seen = || rustix::termios::tcgetwinsize(stdout()).ok().map(|size| usize::from(size.ws_col));
    told.or_else(seen).filter(|columns| *columns > 0)
}

/// Colour on a terminal that wants it (<https://no-color.org>).
pub(super) fn colour() -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    stdout().is_terminal() && !unwanted && !dumb
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the count of losses: kinds that this version does not know are added up, and nothing wraps around.
    #[test]
    fn losses_add_up_by_kind() {
        assert_eq!(by_kind(&[(3, 2), (3, 1), (1, 5)]), BTreeMap::from([("mark", 3), ("decision", 5)]));
        assert_eq!(by_kind(&[(98, u64::MAX), (99, 1)]), BTreeMap::from([("unknown", u64::MAX)]));
    }
}
