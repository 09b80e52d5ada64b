//! A log of lines, each of which is judged by itself.

use std::borrow::Cow;

use memchr::{memchr, memmem, memrchr};

use super::{
    Want,
    clock::Clock,
    json,
    line::{self, Context, Escapes, Head, Line},
    needles::Needles,
    sink::Sink,
    syslog,
};
use crate::{
    kmsg::{message::Message, record},
    text::from_kernel,
};

/// Longest line of text, bytes: the rest is cut off. The kernel's are at most 8 KiB long.
const LONGEST: usize = 16 * 1024;
/// Lines at its beginning that tell who writes to a log.
const HEAD_LINES: usize = 64;
/// `dmesg -e` writes most stamps as the time since the line before.
const RELATIVE: &[u8] = b"\n[  +";

/// See the module.
pub(super) struct Lines {
    context: Context,
    needles: Option<Needles>,
    /// What stands in front of every line: somebody has indented the log, or quoted it in a mail.
    margin: Vec<u8>,
    /// Others write to it, too, and each says in front of a line who it is: what has nothing there goes on with somebody's.
    shared: bool,
    /// Every line counts for the time of those after it.
    each_counts: bool,
    /// What the line before was: it may go on, indented.
    before: Before,
    /// The boot that journalctl has named last.
    boot_id: Option<String>,
    /// The rest of a line that is too long.
    skipping: bool,
    too_long: u64,
    /// The message, kept for its memory.
    message: Message,
}

/// See [`Lines::before`].
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    /// Nobody looked, or there was none.
    Unknown,
    /// The kernel's, with so many bytes in front of the message.
    Kernel(usize),
    /// Somebody else's, or a record of /dev/kmsg, whose further lines are about the device.
    Other,
}

impl Lines {
    pub(super) fn new(clock: Clock, head: &[u8]) -> Self {
        let mut context = Context::new(clock, head);
        let margin = margin(head, &mut context);
        let first = head.split(|byte| *byte == b'\n').take(HEAD_LINES);
        let shared = is_shared(first, &mut context);
        Self {
            shared,
            context,
            needles: Needles::new(),
            margin,
            each_counts: memmem::find(head, RELATIVE).is_some(),
            before: Before::Unknown,
            boot_id: None,
            skipping: false,
            too_long: 0,
            message: Message::default(),
        }
    }

    pub(super) fn too_long(&self) -> u64 {
        self.too_long
    }

    /// Takes whole lines, and says how many bytes they were.
    pub(super) fn take(&mut self, held: &[u8], last: bool, sink: &mut Sink<'_>) -> usize {
        let mut text = if last {
            held
        } else {
            let end = memrchr(b'\n', held).map_or(0, |at| at + 1);
            held.get(..end).unwrap_or_default()
        };
        let taken = text.len();
        if std::mem::take(&mut self.skipping) {
            let Some(end) = memchr(b'\n', text) else {
                self.skipping = true;
                return taken;
            };
            text = text.get(end + 1..).unwrap_or_default();
        }
        while !text.is_empty() {
            match sink.want() {
                Want::Nothing => break,
                Want::Beginnings if !self.each_counts => {
                    let Some(start) = self.next_line(text) else { break };
                    if start > 0 {
                        self.before = Before::Unknown;
                    }
                    text = text.get(start..).unwrap_or_default();
                }
                Want::Beginnings | Want::Everything => {}
            }
            let end = memchr(b'\n', text).unwrap_or(text.len());
            self.line(text.get(..end).unwrap_or_default(), sink);
            text = text.get(end + 1..).unwrap_or_default();
        }
        taken
    }

    /// Takes the beginning of a line that is too long.
    pub(super) fn skip(&mut self, held: &[u8], sink: &mut Sink<'_>) {
        if !self.skipping {
            self.line(held, sink);
            self.skipping = true;
        }
    }

    /// Where the next line begins that has to be looked at.
    fn next_line(&self, text: &[u8]) -> Option<usize> {
        let Some(needles) = &self.needles else { return Some(0) };
        let found = needles.find(text)?;
        Some(memrchr(b'\n', text.get(..found)?).map_or(0, |at| at + 1))
    }

    fn line(&mut self, line: &[u8], sink: &mut Sink<'_>) {
        let line = trim(line);
        let line = line.strip_prefix(&self.margin[..]).unwrap_or(line);
        let line = json::unframed(line);
        if line.starts_with(b"{") {
            if json::object(line, &self.context.clock, &mut self.message, self.boot_id.as_deref()) {
                sink.take(&self.message, None);
            }
            self.before = Before::Unknown;
            return;
        }
        let cut = line.get(..LONGEST).unwrap_or(line);
        self.too_long += u64::from(cut.len() < line.len());
        let plain = plain(cut);
        self.text(&plain, sink);
    }

    fn text(&mut self, text: &[u8], sink: &mut Sink<'_>) {
        if text.is_empty() {
            return;
        }
        if text.starts_with(b" ") {
            match self.before {
                Before::Kernel(indent) if indent > 0 => {
                    if let Some(rest) = text
                        .split_at_checked(indent)
                        .and_then(|(indent, rest)| indent.iter().all(|byte| *byte == b' ').then_some(rest))
                    {
                        // The message goes on (dmesg, `safe_fwrite()`; journalctl).
                        self.message.text.clear();
                        self.message.text.extend_from_slice(rest);
                        sink.take(&self.message, None);
                        return;
                    }
                }
                // What begins something does not begin with a space.
                Before::Other | Before::Unknown => return,
                Before::Kernel(_) => {}
            }
        }
        match line::read(text, &mut self.context) {
            Line::Kernel(head) if self.shared && !head.marked => self.before = Before::Other,
            Line::Kernel(head) if !syslog::is_repeat(head.text) => {
                if let Some(id) = boot(&head) {
                    self.boot_id = Some(from_kernel(id));
                }
                let record = head.escapes == Escapes::Hex;
                self.before = if record {
                    Before::Other
                } else {
                    Before::Kernel(text.len().saturating_sub(head.text.len()))
                };
                self.message.fill(&head, self.boot_id.as_deref());
                sink.take(&self.message, record.then_some(head.continues));
            }
            Line::Kernel(_) | Line::Other => self.before = Before::Other,
        }
    }
}

impl Message {
    /// Becomes what a line says. Memory is used again.
    pub(super) fn fill(&mut self, head: &Head<'_>, boot_id: Option<&str>) {
        self.stamp = head.stamp;
        self.seq = head.seq;
        set(&mut self.caller, head.caller);
        set(&mut self.host, head.host);
        set(&mut self.boot_id, boot_id.map(str::as_bytes));
        self.text.clear();
        match head.escapes {
            Escapes::Hex if memchr(b'\\', head.text).is_some() => self.text = record::unescape(head.text),
            Escapes::Shown if memchr(b'\\', head.text).is_some() => {
                let shown = |byte: u8| byte == b' ' || byte.is_ascii_graphic() && byte != b'\\';
                self.text = record::unescape_if(head.text, |byte| !shown(byte));
            }
            Escapes::Octal if memchr(b'#', head.text).is_some() => unescape_octal(head.text, &mut self.text),
            Escapes::None | Escapes::Hex | Escapes::Shown | Escapes::Octal => {
                self.text.extend_from_slice(head.text);
            }
        }
    }
}

/// Makes a name what it is to be; most of the time it is that already.
pub(super) fn set(name: &mut Option<String>, to: Option<&[u8]>) {
    match to {
        None => *name = None,
        Some(to) => {
            if name.as_deref().map(str::as_bytes) != Some(to) {
                *name = Some(from_kernel(to));
            }
        }
    }
}

/// Takes back what rsyslog did to control characters: `#` and three octal digits.
fn unescape_octal(text: &[u8], plain: &mut Vec<u8>) {
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let escaped = after.split_first_chunk::<3>().and_then(|(digits, after)| {
            let byte = digits.iter().try_fold(0u32, |value, digit| {
                char::from(*digit).to_digit(8).map(|digit| value * 8 + digit)
            })?;
            let byte = u8::try_from(byte).ok().filter(u8::is_ascii_control)?;
            (*first == b'#').then_some((byte, after))
        });
        let (byte, after) = escaped.unwrap_or((*first, after));
        plain.push(byte);
        rest = after;
    }
}

/// `-- Boot 0123456789abcdef0123456789abcdef --` (journalctl, over several boots).
fn boot<'a>(head: &Head<'a>) -> Option<&'a [u8]> {
    let id = head.text.strip_prefix(b"-- Boot ")?.strip_suffix(b" --")?;
    (!head.marked && id.len() == 32 && id.iter().all(u8::is_ascii_hexdigit)).then_some(id)
}

/// Whether others write to a log, too, or whoever keeps it says of each line whose it is, and so would of others'.
fn is_shared<'a>(lines: impl Iterator<Item = &'a [u8]>, context: &mut Context) -> bool {
    let relative = context.relative;
    let (mut others, mut unnamed, mut named) = (false, false, false);
    for line in lines.map(trim).filter(|line| !line.is_empty()) {
        match line::read(line.get(..LONGEST).unwrap_or(line), context) {
            Line::Other => others = true,
            Line::Kernel(head) if head.marked && head.host.is_some() => named = true,
            Line::Kernel(_) => unnamed = true,
        }
    }
    context.relative = relative;
    others || (named && !unnamed)
}

/// What stands in front of the first line, if the kernel's stamp or tag comes behind it.
fn margin(head: &[u8], context: &mut Context) -> Vec<u8> {
    let first = head.split(|byte| *byte == b'\n').map(trim).find(|line| !line.is_empty()).unwrap_or_default();
    let len = first.iter().position(|byte| !b" \t>|".contains(byte)).unwrap_or_default();
    let Some((margin, line)) = first.split_at_checked(len) else { return Vec::new() };
    match line::read(line, context) {
        Line::Kernel(head) if head.marked => margin.to_vec(),
        _ => Vec::new(),
    }
}

/// Without what ends a line besides the newline, and the NULs that a crash leaves in front of one.
fn trim(line: &[u8]) -> &[u8] {
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
    let start = line.iter().position(|byte| !b"\0\r".contains(byte)).unwrap_or(line.len());
    let end = line.iter().rposition(|byte| !b"\0\r".contains(byte)).map_or(start, |at| at + 1);
    line.get(start..end).unwrap_or_default()
}

/// Without NULs and without what colours text and moves the cursor (`ESC [ … letter`).
fn plain(line: &[u8]) -> Cow<'_, [u8]> {
    const ESCAPE: u8 = 0x1b;
    if memchr::memchr2(0, ESCAPE, line).is_none() {
        return Cow::Borrowed(line);
    }
    let mut plain = Vec::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = memchr::memchr2(0, ESCAPE, rest) {
        plain.extend_from_slice(rest.get(..at).unwrap_or_default());
        let sequence = rest.get(at..).unwrap_or_default();
        rest = match sequence {
            [ESCAPE, b'[', parameters @ ..] => {
                let end = parameters.iter().position(|byte| (0x40..=0x7e).contains(byte));
                parameters.get(end.map_or(parameters.len(), |end| end + 1)..).unwrap_or_default()
            }
            [_, after @ ..] => after,
            [] => &[],
        };
    }
    plain.extend_from_slice(rest);
    Cow::Owned(plain)
}
