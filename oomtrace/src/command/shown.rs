//! From assembled events to the output: filtered, counted, handed to its queue.

use std::{
    collections::BTreeMap,
    io::{IsTerminal as _, stdout},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use jiff::tz::TimeZone;
use oomtrace_ebpf::RecordKind;

use crate::{
    cli::{FilterArgs, Form, OutputArgs},
    incident::{Assembler, Event, Loss, LossTag, SchemaName, Status, StatusState, StatusTag},
    output::{Closed, Filter, Format, Human, Json, Message, Queue},
    record::{DecodeError, decode},
};

/// Standard output and what goes there.
pub struct Shown {
    queue: Queue,
    filter: Filter,
    /// Whether to wait for the output rather than lose something: nothing else has to be read meanwhile.
    patient: bool,
    /// Numbers for the summary.
    pub counts: Counts,
}

/// What was seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Incidents shown.
    pub incidents: u64,
    /// Victims in them.
    pub victims: u64,
    /// Incidents left out.
    pub filtered: u64,
    /// Records lost, anywhere.
    pub lost: u64,
}

impl Shown {
    /// Starts the output.
    pub fn start(output: OutputArgs, filter: &FilterArgs, patient: bool) -> anyhow::Result<Self> {
        let format: Box<dyn Format> = match output.form() {
            Form::Json => Box::new(Json),
            Form::Human => Box::new(Human::new(colour(), TimeZone::system())),
        };
        let queue =
            Queue::start(format, Box::new(stdout())).context("The output's thread cannot be started")?;
        Ok(Self { queue, filter: Filter::new(filter), patient, counts: Counts::default() })
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
        for event in events {
            let (Event::Opened(incident) | Event::Closed(incident)) = &event;
            let passes = self.filter.passes(incident);
            if let Event::Closed(incident) = &event {
                if passes {
                    self.counts.incidents += 1;
                    self.counts.victims += incident.victims.len() as u64;
                } else {
                    self.counts.filtered += 1;
                }
            }
            if passes {
                self.send(assembler, Message::Incident(event), offset_ns);
            }
        }
    }

    /// Says that records found no room in the ring, by kind.
    pub fn lost(&mut self, assembler: &mut Assembler, counts: &[(u16, u64)], boot_ns: u64, offset_ns: i64) {
        self.loss(assembler, "ring", by_kind(counts), boot_ns, offset_ns);
    }

    fn undecoded(&mut self, assembler: &mut Assembler, error: &DecodeError, boot_ns: u64, offset_ns: i64) {
        eprintln!("oomtrace: A record could not be understood: {error}.");
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
        self.counts.lost = self.counts.lost.saturating_add(total);
        let seq = assembler.next_seq();
        let common = assembler.common(seq, boot_ns, offset_ns);
        let loss = Loss { schema: SchemaName::V1, r#type: LossTag::Loss, common, place, counts };
        if self.patient {
            self.queue.send_waiting(Message::Loss(loss));
        } else {
            self.queue.send(Message::Loss(loss));
        }
    }

    /// Says that tracing began or ended.
    pub fn status(
        &mut self,
        assembler: &mut Assembler,
        state: StatusState,
        hooks: BTreeMap<&'static str, Vec<String>>,
        boot_ns: u64,
        offset_ns: i64,
    ) {
        let status = Status {
            schema: SchemaName::V1,
            r#type: StatusTag::Status,
            common: assembler.common(assembler.seq(), boot_ns, offset_ns),
            state,
            hooks,
            incidents: self.counts.incidents,
            victims: self.counts.victims,
            filtered: self.counts.filtered,
            lost_records: self.counts.lost,
        };
        self.send(assembler, Message::Status(status), offset_ns);
    }

    fn send(&mut self, assembler: &mut Assembler, message: Message, offset_ns: i64) {
        if self.patient {
            self.queue.send_waiting(message);
            return;
        }
        self.queue.send(message);
        let refused = self.queue.take_refused();
        if refused > 0 {
            eprintln!("oomtrace: The reader of the output is too slow: {refused} messages were dropped.");
            let boot_ns = crate::host::boot_ns();
            self.loss(assembler, "output", BTreeMap::from([("message", refused)]), boot_ns, offset_ns);
        }
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
            eprintln!(
                "oomtrace: The reader of the output took nothing for 2 s: what still waited is dropped."
            );
        }
        Ok(self.counts)
    }
}

/// The time until which waiting for a moment on the kernel's clock lasts.
pub fn until(deadline_ns: u64) -> Duration {
    Duration::from_nanos(deadline_ns.saturating_sub(crate::host::boot_ns()))
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
        None => "unknown",
    }
}

/// Colour on a terminal that wants it (<https://no-color.org>).
fn colour() -> bool {
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
