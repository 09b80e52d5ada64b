//! From assembled events to the outputs: completed, filtered, counted, handed over.

use std::{
    collections::BTreeMap,
    io::{IsTerminal, stdout},
    os::fd::AsFd,
    sync::Arc,
};

use anyhow::Context as _;
use bytes::Bytes;
use jiff::tz::TimeZone;
use oomtrace_ebpf::RecordKind;

use crate::{
    cli::{FilterArgs, Form, OutputArgs},
    explain::Explainer,
    flight,
    host::meminfo::Swap,
    host::names::Names,
    incident::{Assembler, Event, Incident, Loss, LossTag, SchemaName, Status, StatusState, StatusTag},
    kernel::limits::LimitsCheck,
    output::{
        Closed, Filter, Format, Health, Human, Json, LossCounts, Message, Outputs, Sink, Stream, TellLoss,
    },
    record::{DecodeError, Frame, Recorder, decode},
    say::say,
};

/// The outputs and what goes there.
pub struct Shown {
    outputs: Outputs,
    filter: Filter,
    /// What holds live incidents against the machine.
    check: Option<LimitsCheck>,
    /// What tells the names of live incidents' containers.
    names: Option<Names>,
    /// What live incidents are completed from.
    swap: Option<Swap>,
    /// What knows what led to live incidents.
    flight: Option<flight::Handle>,
    /// What says what events come to.
    explainer: Explainer,
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
    /// Begins with these outputs. `check`, `names` and `swap`: what completes live incidents from the machine.
    pub fn start(
        outputs: Outputs,
        filter: &FilterArgs,
        check: Option<LimitsCheck>,
        names: Option<Names>,
        swap: Option<Swap>,
    ) -> Self {
        Self {
            outputs,
            filter: Filter::new(filter),
            check,
            names,
            swap,
            flight: None,
            explainer: Explainer::default(),
            stirred: false,
            counts: Counts::default(),
        }
    }

    /// From here on live incidents are told with what led to them; without a recorder they are not.
    pub fn set_flight(&mut self, flight: Option<flight::Handle>) {
        self.flight = flight;
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
                if complete {
                    self.led(incident);
                }
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

    /// Adds what led to an incident, where that is recorded.
    fn led(&mut self, incident: &mut Incident) {
        let Some(flight) = &self.flight else { return };
        flight.complete(incident);
        let growers = incident.before.iter_mut().flat_map(|before| &mut before.growers);
        for grower in growers {
            if let Some(names) = &mut self.names {
                names.complete_task(&mut grower.place, None);
            }
        }
    }

    /// Says that records found no room in the ring, by kind.
    pub fn lost(&mut self, assembler: &mut Assembler, counts: &[(u16, u64)], boot_ns: u64, offset_ns: i64) {
        self.loss(assembler, "ring", &by_kind(counts), boot_ns, offset_ns);
    }

    /// Says that messages of the kernel log were overwritten unread.
    pub fn overwritten(&mut self, assembler: &mut Assembler, count: u64, boot_ns: u64, offset_ns: i64) {
        say!("{count} messages of the kernel log were overwritten before they could be read.");
        self.loss(assembler, "kmsg", &BTreeMap::from([("message", count)]), boot_ns, offset_ns);
    }

    /// Says that the kernel counted kills that nobody saw.
    pub fn uncounted(&mut self, assembler: &mut Assembler, count: u64, boot_ns: u64, offset_ns: i64) {
        say!("The kernel counted {count} kills more than were seen.");
        self.loss(assembler, "vmstat", &BTreeMap::from([("kill", count)]), boot_ns, offset_ns);
    }

    /// Says that so many forks went by while the programs were at work for others: some of them may have failed.
    pub fn unseen_forks(&mut self, assembler: &mut Assembler, count: u64, boot_ns: u64, offset_ns: i64) {
        if count > 0 {
            say!(
                "{count} forks went by while the programs were at work for others: some of them may have failed."
            );
            self.loss(assembler, "programs", &BTreeMap::from([("fork", count)]), boot_ns, offset_ns);
        }
    }

    fn undecoded(&mut self, assembler: &mut Assembler, error: &DecodeError, boot_ns: u64, offset_ns: i64) {
        say!("A record could not be understood: {error}.");
        self.loss(assembler, "decode", &BTreeMap::from([("record", 1)]), boot_ns, offset_ns);
    }

    fn loss(
        &mut self,
        assembler: &mut Assembler,
        place: &'static str,
        counts: &LossCounts,
        boot_ns: u64,
        offset_ns: i64,
    ) {
        let total = counts.values().fold(0_u64, |sum, count| sum.saturating_add(*count));
        if total == 0 {
            return;
        }
        self.stirred = true;
        self.counts.lost = self.counts.lost.saturating_add(total);
        self.outputs.lost(place, counts, &mut Losses { assembler, boot_ns: Some(boot_ns), offset_ns });
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
        let status = self.status(assembler, StatusState::Ended, BTreeMap::new(), boot_ns, offset_ns);
        self.outputs.last(status, &mut Losses { assembler, boot_ns: Some(boot_ns), offset_ns });
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

    /// Hands a message over, and before it what has not been told of losses. `false`: no output has room, so it is dropped and
    /// counted.
    fn send(&mut self, assembler: &mut Assembler, message: Message, offset_ns: i64) -> bool {
        let mut losses = Losses { assembler, boot_ns: None, offset_ns };
        let sent = self.outputs.send(message, &mut losses);
        self.counts.lost = self.counts.lost.saturating_add(sent.dropped);
        sent.told
    }

    /// Whether an incident is among those that are to be shown.
    #[must_use]
    pub fn passes(&self, incident: &Incident) -> bool {
        self.filter.passes(incident)
    }

    /// Tells what happened before tracing began, and is complete.
    pub fn tell(&mut self, assembler: &mut Assembler, message: Message, offset_ns: i64) {
        let passes = match &message {
            Message::Incident(Event::Opened(incident) | Event::Closed(incident)) => {
                self.filter.passes(incident)
            }
            Message::Incident(Event::AllocFailure(failure)) => self.filter.passes_failure(failure),
            Message::Incident(Event::UserKill(kill)) => self.filter.passes_user_kill(kill),
            Message::Incident(Event::ForkFailure(failure)) => self.filter.passes_fork(failure),
            Message::Incident(Event::Relieved(_)) | Message::Loss(_) | Message::Status(_) => true,
        };
        if passes {
            self.send(assembler, message, offset_ns);
        } else {
            self.counts.filtered += 1;
        }
    }

    /// The outputs, to change which there are.
    pub fn outputs(&mut self) -> &mut Outputs {
        &mut self.outputs
    }

    /// Has other things left out from here on.
    pub fn filter_by(&mut self, filter: &FilterArgs) {
        self.filter = Filter::new(filter);
    }

    /// Whether the output has ended by itself: its reader went away, or it failed.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.outputs.is_over()
    }

    /// Waits for the output to end by itself.
    pub async fn ended(&self) -> Arc<Closed> {
        self.outputs.ended().await
    }

    /// Writes what waits. An output that failed is an error, but for a reader that went away.
    pub fn finish(self) -> anyhow::Result<Counts> {
        match self.outputs.finish().as_deref() {
            Some(Closed::Failed(error)) => anyhow::bail!("Standard output cannot be written to: {error}"),
            Some(Closed::BrokenPipe) | None => Ok(self.counts),
        }
    }
}

/// Standard output in the form that was asked for. `patient`: nothing is lost if its reader is slow, since nothing else has to be
/// read meanwhile.
pub fn standard_output(output: OutputArgs, patient: bool) -> anyhow::Result<Outputs> {
    let health = Health::new("stdout");
    let mut outputs = Outputs::new(patient);
    outputs
        .add_main(Arc::clone(&health), stream(output.form(), health))
        .context("The output's thread cannot be started")?;
    Ok(outputs)
}

/// What writes to standard output in that form.
pub fn stream(form: Form, health: Arc<Health>) -> Box<dyn Sink> {
    let format: Box<dyn Format> = match form {
        Form::Json => Box::new(Json),
        Form::Human => Box::new(Human::new(colour(), TimeZone::system(), width())),
    };
    Box::new(Stream::new(format, Box::new(stdout()), health))
}

/// Tells of losses with the numbers that follow.
struct Losses<'a> {
    assembler: &'a mut Assembler,
    /// When; now, if it is not said: few messages find that something is to be told of losses, and none else need look at the clock.
    boot_ns: Option<u64>,
    offset_ns: i64,
}

impl TellLoss for Losses<'_> {
    fn message(&self, place: &'static str, counts: LossCounts) -> Message {
        let common = self.assembler.common(
            self.assembler.seq() + 1,
            self.boot_ns.unwrap_or_else(crate::host::boot_ns),
            self.offset_ns,
        );
        Message::Loss(Loss { schema: SchemaName::V1, r#type: LossTag::Loss, common, place, counts })
    }

    fn told(&mut self) {
        self.assembler.next_seq();
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
    width_of(stdout())
}

/// The same of another stream.
pub(super) fn width_of(stream: impl AsFd) -> Option<usize> {
    let told = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let seen = || rustix::termios::tcgetwinsize(stream).ok().map(|size| usize::from(size.ws_col));
    told.or_else(seen).filter(|columns| *columns > 0)
}

/// Colour on a terminal that wants it (<https://no-color.org>).
pub(super) fn colour() -> bool {
    colour_of(&stdout())
}

/// The same of another stream.
pub(super) fn colour_of(stream: &impl IsTerminal) -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    stream.is_terminal() && !unwanted && !dumb
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
