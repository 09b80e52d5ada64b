//! An entry of a log that keeps fields: a journal, or JSON.

use std::borrow::Cow;

use super::{bytes::digits, clock::from_micros, lines::set};
use crate::kmsg::message::{Message, Stamp};

/// A field's value.
pub(super) type Value<'a> = Option<Cow<'a, [u8]>>;

/// What is known of an entry (systemd.journal-fields(7)).
#[derive(Default)]
pub(super) struct Entry<'a> {
    /// `MESSAGE`.
    pub(super) message: Value<'a>,
    /// `_TRANSPORT`: how it came to the journal. Nobody but the journal itself writes it.
    pub(super) transport: Value<'a>,
    /// `SYSLOG_IDENTIFIER`.
    pub(super) identifier: Value<'a>,
    /// `SYSLOG_FACILITY`.
    pub(super) facility: Value<'a>,
    /// `__REALTIME_TIMESTAMP`: when the journal took it, µs since 1970.
    pub(super) realtime: Value<'a>,
    /// `_SOURCE_REALTIME_TIMESTAMP`.
    pub(super) source_realtime: Value<'a>,
    /// `__MONOTONIC_TIMESTAMP`: when the journal took it, µs since boot.
    pub(super) monotonic: Value<'a>,
    /// `_SOURCE_MONOTONIC_TIMESTAMP`: by printk's clock, µs.
    pub(super) source_monotonic: Value<'a>,
    /// `_HOSTNAME`.
    pub(super) host: Value<'a>,
    /// `_BOOT_ID`.
    pub(super) boot_id: Value<'a>,
}

impl<'a> Entry<'a> {
    /// The field of a name.
    pub(super) fn field(&mut self, name: &[u8]) -> Option<&mut Value<'a>> {
        Some(match name {
            b"MESSAGE" => &mut self.message,
            b"_TRANSPORT" => &mut self.transport,
            b"SYSLOG_IDENTIFIER" => &mut self.identifier,
            b"SYSLOG_FACILITY" => &mut self.facility,
            b"__REALTIME_TIMESTAMP" => &mut self.realtime,
            b"_SOURCE_REALTIME_TIMESTAMP" => &mut self.source_realtime,
            b"__MONOTONIC_TIMESTAMP" => &mut self.monotonic,
            b"_SOURCE_MONOTONIC_TIMESTAMP" => &mut self.source_monotonic,
            b"_HOSTNAME" => &mut self.host,
            b"_BOOT_ID" => &mut self.boot_id,
            _ => return None,
        })
    }
}

impl Entry<'_> {
    /// Whether the kernel wrote it. What user space writes to /dev/kmsg comes the same way and has another facility
    /// (`dev_kmsg_record()`, systemd, journald-kmsg.c). Fields that were left out (`--output-fields`) say nothing.
    pub(super) fn is_kernels(&self) -> bool {
        let is = |value: &Value<'_>, what: &[u8]| value.as_deref().is_none_or(|value| value == what);
        is(&self.transport, b"kernel") && is(&self.identifier, b"kernel") && is(&self.facility, b"0")
    }

    /// Whether a journal wrote it.
    pub(super) fn is_journals(&self) -> bool {
        self.realtime.is_some() || self.transport.is_some()
    }

    /// Becomes a message, if it is the kernel's.
    pub(super) fn tell(&self, message: &mut Message, boot_id: Option<&str>) -> bool {
        if !self.is_kernels() {
            return false;
        }
        let Some(text) = self.message.as_deref() else { return false };
        let micros = |value: &Value<'_>| {
            let (micros, rest) = digits(value.as_deref()?, 20)?;
            rest.is_empty().then_some(micros)
        };
        message.stamp = Stamp {
            boot_us: micros(&self.source_monotonic).or_else(|| micros(&self.monotonic)),
            wall: micros(&self.source_realtime).or_else(|| micros(&self.realtime)).and_then(from_micros),
        };
        message.seq = None;
        message.caller = None;
        set(&mut message.host, self.host.as_deref());
        set(&mut message.boot_id, self.boot_id.as_deref().or(boot_id.map(str::as_bytes)));
        message.text.clear();
        message.text.extend_from_slice(text.trim_ascii_end());
        true
    }
}
