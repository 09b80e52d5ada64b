//! What stands behind the time in syslog's forms: the machine, the facility (busybox, OpenWrt) and the tag. Only the kernel's
//! tag counts, and only in the tag's place.

use jiff::Timestamp;

use super::{
    bytes::{digits, word},
    clock::Clock,
    dmesg,
    line::{Escapes, Head, Line, priority},
};
use crate::kmsg::message::Stamp;

/// What the kernel's messages are tagged with: klogd, rsyslog's imklog, syslog-ng and systemd's journal all write it so.
const TAG: &[u8] = b"kernel:";
/// Levels as busybox's syslogd and OpenWrt's logread write them (`kern.info`).
const LEVELS: [&[u8]; 11] = [
    b"emerg", b"panic", b"alert", b"crit", b"err", b"error", b"warn", b"warning", b"notice", b"info",
    b"debug",
];

/// `[host ][kern.info ]kernel: text`.
pub(super) fn tail(text: &[u8], wall: Option<Timestamp>) -> Line<'_> {
    match head(text) {
        Some(head) => Line::Kernel(Head { stamp: Stamp { wall, ..head.stamp }, ..head }),
        None => Line::Other,
    }
}

/// `kernel: text`, and where machines' names stand in front of tags `host kernel: text`.
pub(super) fn tagged(text: &[u8], hosts: bool) -> Option<Head<'_>> {
    if let Some(message) = message(text) {
        return Some(after(message, None));
    }
    let (host, rest) = word(text).filter(|(host, _)| hosts && is_host(host))?;
    Some(after(message(rest)?, Some(host)))
}

/// The machine's name in `host tag: text`, `host tag[1]: text`.
pub(super) fn host(text: &[u8]) -> Option<&[u8]> {
    let (host, rest) = word(text).filter(|(host, _)| is_host(host))?;
    let (tag, _) = word(rest)?;
    tag.ends_with(b":").then_some(host)
}

fn head(text: &[u8]) -> Option<Head<'_>> {
    if let Some(message) = message(text) {
        return Some(after(message, None));
    }
    let (first, rest) = word(text)?;
    if is_level(first) {
        return from_kernel(first).then(|| message(rest)).flatten().map(|message| after(message, None));
    }
    if !is_host(first) {
        return None;
    }
    if let Some(message) = message(rest) {
        return Some(after(message, Some(first)));
    }
    let (second, rest) = word(rest)?;
    from_kernel(second).then(|| message(rest)).flatten().map(|message| after(message, Some(first)))
}

/// `1 2023-01-02T15:04:05.678Z host kernel - - - text` (RFC 5424, 6), without its priority. `None`: another form.
pub(super) fn rfc5424<'a>(text: &'a [u8], clock: &Clock) -> Option<Line<'a>> {
    let rest = text.strip_prefix(b"1 ")?;
    let (time, rest) = word(rest)?;
    let wall = match time {
        b"-" => None,
        _ => clock.iso(time).filter(|((_, rest), _)| rest.is_empty())?.0.0,
    };
    let (host, rest) = word(rest)?;
    let (name, rest) = word(rest)?;
    let (_process, rest) = word(rest)?;
    let (_id, rest) = word(rest)?;
    let rest = after_data(rest)?;
    if name != b"kernel" && name != b"kernel:" {
        return Some(Line::Other);
    }
    let text = rest.strip_prefix(b" ").unwrap_or(rest);
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let head = after(text, (host != b"-").then_some(host));
    Some(Line::Kernel(Head { stamp: Stamp { wall, ..head.stamp }, ..head }))
}

/// Behind the structured data: `-`, or `[id name="value"]…`, where `\"`, `\\` and `\]` stand for themselves in a value.
fn after_data(text: &[u8]) -> Option<&[u8]> {
    if let Some(rest) = text.strip_prefix(b"-") {
        return Some(rest);
    }
    let mut rest = text;
    while let Some(mut element) = rest.strip_prefix(b"[") {
        let mut quoted = false;
        loop {
            let (byte, after) = element.split_first()?;
            element = after;
            match byte {
                b'\\' if quoted => element = element.get(1..)?,
                b'"' => quoted = !quoted,
                b']' if !quoted => break,
                _ => {}
            }
        }
        rest = element;
    }
    (rest.len() < text.len()).then_some(rest)
}

/// What follows the tag.
fn message(text: &[u8]) -> Option<&[u8]> {
    let rest = text.strip_prefix(TAG)?;
    Some(rest.strip_prefix(b" ").unwrap_or(rest))
}

/// Behind the tag: printk's own priority (old daemons) and stamp.
fn after<'a>(text: &'a [u8], host: Option<&'a [u8]>) -> Head<'a> {
    let text = match priority(text) {
        Some((level, rest)) if level < 8 => rest,
        _ => text,
    };
    dmesg::after_tag(text, Head { host, escapes: Escapes::Octal, marked: true, ..Head::default() })
}

/// A machine's name or address, or the asterisks that somebody put in its place; a program's tag ends with a colon or a bracket.
fn is_host(word: &[u8]) -> bool {
    word.len() <= 255
        && !word.ends_with(b":")
        && word.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._:%@/*".contains(byte) || *byte >= 0x80)
}

/// `kern.info`.
fn is_level(word: &[u8]) -> bool {
    word.iter().position(|byte| *byte == b'.').is_some_and(|dot| {
        let level = word.get(dot + 1..).unwrap_or_default();
        LEVELS.contains(&level)
            && word.get(..dot).is_some_and(|name| !name.is_empty() && digits(name, 9).is_none())
    })
}

fn from_kernel(word: &[u8]) -> bool {
    is_level(word) && word.starts_with(b"kern.")
}

/// What daemons write instead of a message that came again (`message repeated 3 times: [ … ]`). It says nothing that the
/// message did not: a kill that is told twice is one.
pub(super) fn is_repeat(text: &[u8]) -> bool {
    let Some(rest) =
        text.strip_prefix(b"last ").or(Some(text)).and_then(|text| text.strip_prefix(b"message repeated "))
    else {
        return false;
    };
    digits(rest, 9).is_some_and(|(_, rest)| rest.starts_with(b" time"))
}
