//! One line of text: who wrote it, and when.

use jiff::Timestamp;

use super::{
    bytes::{digits, word},
    clock::Clock,
    dmesg, syslog,
};
use crate::kmsg::message::Stamp;

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// The kernel's.
    Kernel(Head<'a>),
    /// Somebody else's.
    Other,
}

/// What stands in front of a message, and the message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Head<'a> {
    pub(super) stamp: Stamp,
    pub(super) seq: Option<u64>,
    pub(super) caller: Option<&'a [u8]>,
    pub(super) host: Option<&'a [u8]>,
    pub(super) text: &'a [u8],
    /// How control characters stand in the text.
    pub(super) escapes: Escapes,
    /// It goes on with an earlier record's line.
    pub(super) continues: bool,
    /// Something in front of it is the kernel's, or says that it is the kernel's.
    pub(super) marked: bool,
}

/// How control characters stand in a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Escapes {
    /// As they are.
    #[default]
    None,
    /// `\x0a`: a record of /dev/kmsg.
    Hex,
    /// The same of what cannot be shown, and perhaps of backslashes: dmesg (util-linux, sys-utils/dmesg.c, `safe_fwrite()`), or
    /// records without their heads.
    Shown,
    /// `#012`: rsyslog (`escapeControlCharactersOnReceive`).
    Octal,
}

/// What the lines around one say of it.
pub(super) struct Context {
    pub(super) clock: Clock,
    /// The time of the line before, where times are relative to that (`dmesg -e`).
    pub(super) relative: Option<Timestamp>,
    /// Whether a machine's name and a tag stand where there is no time of day in front of them (journalctl's short-monotonic).
    /// If they do, they do so on every line: else a thread could call itself `x kernel: y`, and dmesg's line about it would
    /// begin so.
    pub(super) tags: bool,
}

impl Context {
    /// `head`: how the log begins.
    pub(super) fn new(clock: Clock, head: &[u8]) -> Self {
        let mut context = Self { clock, relative: None, tags: false };
        let mut hosts = head
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty() && !line.starts_with(b"-- "))
            .take(32)
            .map(|line| {
                let text = if line.starts_with(b"[") { dmesg::line(line, &mut context).text() } else { line };
                syslog::host(text)
            });
        let tags = hosts.next().flatten().is_some_and(|first| hosts.all(|host| host == Some(first)));
        context.relative = None;
        context.tags = tags;
        context
    }
}

impl<'a> Line<'a> {
    /// The message.
    fn text(&self) -> &'a [u8] {
        match self {
            Self::Kernel(head) => head.text,
            Self::Other => &[],
        }
    }
}

/// Reads a line.
pub(super) fn read<'a>(line: &'a [u8], context: &mut Context) -> Line<'a> {
    let (facility, rest) = match priority(line) {
        Some((priority, rest)) => (Some(priority >> 3), rest),
        None => (None, line),
    };
    if facility.is_some_and(|facility| facility != 0) {
        return Line::Other;
    }
    let clock = &context.clock;
    let first = rest.first().copied().unwrap_or_default();
    match first {
        b'[' => dmesg::line(rest, context),
        b'0'..=b'9' => (facility.is_none().then(|| record(rest)).flatten())
            .or_else(|| syslog::rfc5424(rest, &context.clock))
            .or_else(|| stamped(rest, &context.clock))
            .unwrap_or_else(|| bare(rest, context)),
        _ => (clock.syslog(rest).or_else(|| clock.full(rest)))
            .or_else(|| clock.ctime(rest).and_then(|(stamp, rest)| Some((stamp, rest.strip_prefix(b" ")?))))
            .map(|(wall, rest)| syslog::tail(rest, wall))
            .or_else(|| decoded(rest, context))
            .unwrap_or_else(|| bare(rest, context)),
    }
}

/// The text alone: a log without stamps, or one whose stamps nobody knows; what such a line says then does not begin as the
/// kernel's lines do.
fn bare<'a>(text: &'a [u8], context: &Context) -> Line<'a> {
    if let Some(head) = syslog::tagged(text, context.tags) {
        // Where others write, too, anybody's message may go on with such a line.
        return Line::Kernel(Head { marked: context.tags, ..head });
    }
    Line::Kernel(Head { text, escapes: Escapes::Shown, ..Head::default() })
}

/// `<6>`.
pub(super) fn priority(text: &[u8]) -> Option<(u64, &[u8])> {
    let (priority, rest) = digits(text.strip_prefix(b"<")?, 5)?;
    Some((priority, rest.strip_prefix(b">")?))
}

/// A line that begins with digits: seconds since 1970, or a date as in ISO 8601.
fn stamped<'a>(text: &'a [u8], clock: &Clock) -> Option<Line<'a>> {
    if let Some((wall, rest)) = Clock::unix(text) {
        return Some(syslog::tail(rest, wall));
    }
    let ((wall, rest), comma) = clock.iso(text)?;
    let rest = rest.strip_prefix(b" ")?;
    if let Some(inner) = container(rest) {
        return Some(wrapped(inner, wall, clock));
    }
    if comma {
        return Some(dmesg::after_iso(rest, wall));
    }
    // Whoever collects lines (CloudWatch, `kubectl logs --timestamps`, ts) puts a time of their own in front of them.
    let stamped_again = rest.starts_with(b"[") || clock.syslog(rest).is_some() || clock.iso(rest).is_some();
    Some(if stamped_again { wrapped(rest, wall, clock) } else { syslog::tail(rest, wall) })
}

/// `stdout F …`, in front of a line of a container's output (the CRI's logs; `P`: a part of one).
fn container(text: &[u8]) -> Option<&[u8]> {
    let (stream, rest) = word(text)?;
    let (tags, rest) = word(rest)?;
    let known = matches!(stream, b"stdout" | b"stderr") && matches!(tags.first(), Some(b'F' | b'P'));
    known.then_some(rest)
}

/// A line in what another log keeps: anybody's output. It has to say by itself that it is the kernel's.
pub(super) fn wrapped<'a>(line: &'a [u8], wall: Option<Timestamp>, clock: &Clock) -> Line<'a> {
    let context = &mut Context { clock: clock.clone(), relative: None, tags: false };
    match read(line, context) {
        Line::Kernel(mut head) if head.marked => {
            head.stamp.wall = head.stamp.wall.or(wall);
            Line::Kernel(head)
        }
        _ => Line::Other,
    }
}

/// `6,1234,5678901,-;text`: a record of /dev/kmsg as it was read, or sent by netconsole.
fn record(line: &[u8]) -> Option<Line<'_>> {
    let head_end = memchr::memchr(b';', line)?;
    let (head, text) = (line.get(..head_end)?, line.get(head_end + 1..)?);
    let mut fields = head.split(|byte| *byte == b',');
    let mut number = || fields.next().and_then(|field| digits(field, 20)).filter(|(_, rest)| rest.is_empty());
    let ((priority, _), (seq, _), (boot_us, _)) = (number()?, number()?, number()?);
    let flags = fields.next()?;
    if priority >> 3 != 0 {
        return Some(Line::Other);
    }
    Some(Line::Kernel(Head {
        stamp: Stamp { boot_us: Some(boot_us), wall: None },
        seq: Some(seq),
        caller: fields.find_map(|field| field.strip_prefix(b"caller=")),
        host: None,
        text,
        escapes: Escapes::Hex,
        continues: flags.contains(&b'c'),
        marked: true,
    }))
}

/// `kern  :info  : [ 12.345678] text` (`dmesg -x`); `kern:    info: [2023-01-02T15:04:05.678901234Z]: text` (`talosctl dmesg`).
fn decoded<'a>(text: &'a [u8], context: &mut Context) -> Option<Line<'a>> {
    const LEVELS: [&[u8]; 9] =
        [b"emerg", b"alert", b"crit", b"err", b"warn", b"warning", b"notice", b"info", b"debug"];
    let name = |text: &'a [u8]| {
        let end = memchr::memchr(b':', text.get(..12).unwrap_or(text))?;
        Some((text.get(..end)?.trim_ascii(), text.get(end + 1..)?))
    };
    let (facility, rest) = name(text)?;
    let (level, rest) = name(rest)?;
    let rest = rest.strip_prefix(b" ")?;
    if !LEVELS.contains(&level) {
        return None;
    }
    if facility != b"kern" {
        return Some(Line::Other);
    }
    if let Some(((wall, rest), _)) = rest.strip_prefix(b"[").and_then(|rest| context.clock.iso(rest))
        && let Some(text) = rest.strip_prefix(b"]: ")
    {
        let stamp = Stamp { boot_us: None, wall };
        return Some(Line::Kernel(Head { stamp, text, marked: true, ..Head::default() }));
    }
    let line = match context.clock.iso(rest) {
        Some(((wall, rest), true)) => dmesg::after_iso(rest.strip_prefix(b" ")?, wall),
        _ => dmesg::line(rest, context),
    };
    Some(match line {
        Line::Kernel(head) => Line::Kernel(Head { marked: true, ..head }),
        Line::Other => Line::Other,
    })
}

#[cfg(test)]
#[path = "line_tests.rs"]
mod tests;
