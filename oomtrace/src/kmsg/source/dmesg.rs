//! What stands in front of a message in the output of dmesg (util-linux, sys-utils/dmesg.c, `print_record()`) and on a console
//! (kernel/printk/printk.c, `info_print_prefix()`).

use jiff::{SignedDuration, Timestamp};

use super::{
    bytes::{after_spaces, digits, seconds},
    clock::Clock,
    line::{Context, Escapes, Head, Line},
    syslog,
};
use crate::kmsg::message::Stamp;

/// What one pair of brackets holds.
enum Bracket {
    /// `[   12.345678]`, also with the time since the line before: `[   12.345678 <    0.000012>]`.
    Boot(u64),
    /// `[Mon Jan  2 15:04:05 2023]`, `[Mon Jan  2 15:04:05 2023 <    0.000012>]`.
    Wall(Option<Timestamp>),
    /// `[Jan 2 15:04]`: the first line of a minute (`dmesg -e`).
    Minute(Option<Timestamp>),
    /// `[  +0.000012]`: the time since the line before.
    Relative(u64),
    /// `[<    0.000012>]`: no time but that since the line before.
    Delta,
}

/// A line that may begin with stamps.
pub(super) fn line<'a>(text: &'a [u8], context: &mut Context) -> Line<'a> {
    let (head, brackets) = stamps(
        text,
        Head { escapes: Escapes::Shown, ..Head::default() },
        &context.clock,
        &mut context.relative,
    );
    // journalctl's short-monotonic: `[   12.345678] host kernel: text`, and anybody's in that form.
    if brackets == 1
        && head.stamp.boot_us.is_some()
        && head.caller.is_none()
        && let Some(tagged) = syslog::tagged(head.text, context.tags)
    {
        return Line::Kernel(Head { stamp: head.stamp, ..tagged });
    }
    Line::Kernel(head)
}

/// After `2023-01-02T15:04:05,678901+00:00 ` (`--time-format iso`).
pub(super) fn after_iso(text: &[u8], wall: Option<Timestamp>) -> Line<'_> {
    let head = Head {
        stamp: Stamp { boot_us: None, wall },
        marked: true,
        escapes: Escapes::Shown,
        ..Head::default()
    };
    let (caller, text) = caller(text).map_or((None, text), |(caller, rest)| (Some(caller), rest));
    Line::Kernel(Head { caller, text, ..head })
}

/// printk's own stamp and caller, where a syslog daemon has kept them.
pub(super) fn after_tag<'a>(text: &'a [u8], head: Head<'a>) -> Head<'a> {
    let Some((Bracket::Boot(boot_us), rest)) = boot(text) else { return Head { text, ..head } };
    let mut head = head;
    head.stamp.boot_us = Some(boot_us);
    finish(rest, head)
}

/// Takes stamps off, and says how many.
fn stamps<'a>(
    text: &'a [u8],
    mut head: Head<'a>,
    clock: &Clock,
    relative: &mut Option<Timestamp>,
) -> (Head<'a>, usize) {
    let (mut rest, mut count) = (text, 0);
    // As many as dmesg has formats (`--time-format` can be given again).
    while count < 8
        && let Some((bracket, after)) = bracket(rest, clock)
    {
        match bracket {
            Bracket::Boot(boot_us) => head.stamp.boot_us = Some(boot_us),
            Bracket::Wall(wall) => head.stamp.wall = wall,
            Bracket::Minute(wall) => {
                *relative = wall;
                head.stamp.wall = wall;
            }
            Bracket::Relative(micros) => {
                let step = SignedDuration::from_micros(i64::try_from(micros).unwrap_or(i64::MAX));
                *relative = relative.and_then(|before| before.checked_add(step).ok());
                head.stamp.wall = *relative;
            }
            Bracket::Delta => {}
        }
        count += 1;
        rest = after;
        // Between formats there is a space, and there is one before the message: a table's row begins with a bracket too.
        match after.strip_prefix(b" ") {
            Some(next) if bracket_follows(next, clock) => rest = next,
            _ => break,
        }
    }
    if count == 0 {
        return (Head { text, ..head }, 0);
    }
    (finish(rest, head), count)
}

fn bracket_follows(text: &[u8], clock: &Clock) -> bool {
    bracket(text, clock).is_some()
}

/// After the last stamp: `[  T123] text`, ` [  T123] text`, ` text`.
fn finish<'a>(rest: &'a [u8], head: Head<'a>) -> Head<'a> {
    let spaced = rest.strip_prefix(b" ").unwrap_or(rest);
    let (caller, text) = match caller(spaced) {
        Some((caller, text)) => (Some(caller), text),
        None => (None, spaced),
    };
    Head { caller, text, marked: true, ..head }
}

/// `[  T123] `, `[   C1] `: a thread or a processor.
fn caller(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let start = after_spaces(text.strip_prefix(b"[")?);
    let (_, rest) = digits(start.strip_prefix(b"T").or_else(|| start.strip_prefix(b"C"))?, 10)?;
    let name = start.get(..start.len().checked_sub(rest.len())?)?;
    let rest = rest.strip_prefix(b"]")?;
    Some((name, rest.strip_prefix(b" ").unwrap_or(rest)))
}

fn bracket<'a>(text: &'a [u8], clock: &Clock) -> Option<(Bracket, &'a [u8])> {
    if let Some(found) = boot(text) {
        return Some(found);
    }
    let inner = text.strip_prefix(b"[")?;
    let (bracket, rest) = match after_spaces(inner) {
        [b'<', ..] => (Bracket::Delta, inner),
        [b'+', after @ ..] => seconds(after).map(|(micros, rest)| (Bracket::Relative(micros), rest))?,
        _ => (clock.ctime(inner).map(|(wall, rest)| (Bracket::Wall(wall), rest)))
            .or_else(|| clock.minute(inner).map(|(wall, rest)| (Bracket::Minute(wall), rest)))?,
    };
    Some((bracket, after_delta(rest)?.strip_prefix(b"]")?))
}

fn boot(text: &[u8]) -> Option<(Bracket, &[u8])> {
    let (boot_us, rest) = seconds(after_spaces(text.strip_prefix(b"[")?))?;
    Some((Bracket::Boot(boot_us), after_delta(rest)?.strip_prefix(b"]")?))
}

/// ` <    0.000012>`, which may be there. journalctl's short-delta has ` <    0.000012 >`, ` <    0.000012*>` and as many spaces.
fn after_delta(text: &[u8]) -> Option<&[u8]> {
    let rest = after_spaces(text);
    if rest.starts_with(b"]") {
        return Some(rest);
    }
    let rest = after_spaces(rest.strip_prefix(b"<")?);
    let (_, rest) = seconds(rest.strip_prefix(b"-").unwrap_or(rest))?;
    rest.strip_prefix(b" ").or_else(|| rest.strip_prefix(b"*")).unwrap_or(rest).strip_prefix(b">")
}
