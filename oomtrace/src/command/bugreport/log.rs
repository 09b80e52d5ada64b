//! What the kernel's log still has of the OOM killer.

use std::{
    collections::VecDeque,
    fs::{File, OpenOptions},
    io::{self, BufReader, ErrorKind, Read},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use jiff::tz::TimeZone;

use super::part::Content;
use crate::{
    kmsg::{
        LARGEST_RECORD,
        line::Line,
        message::Message,
        source::{self, About, Want},
    },
    text::from_kernel,
};

/// Where the kernel hands it out.
pub const KMSG: &str = "/dev/kmsg";
/// What is kept at the most: the newest, bytes.
const MOST_BYTES: usize = 256 << 10;
/// Messages that follow one of the OOM killer's within this time are of the same report, µs.
const REPORT_US: u64 = 1_000_000;

/// The OOM killer's messages in a log, and what stands around them.
pub fn read(path: &Path) -> Result<Content, String> {
    let unreadable = |error: &dyn std::fmt::Display| format!("{} cannot be read: {error}", path.display());
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let device = Device(file.map_err(|error| unreadable(&error))?);
    // The kernel hands out a record at a time, and none to whoever has no room for it.
    let log = BufReader::with_capacity(LARGEST_RECORD, device);
    select(log).map_err(|error| unreadable(&format_args!("{:#}", anyhow::Error::new(error))))
}

fn select(log: impl Read) -> Result<Content, source::SourceError> {
    let mut kept = Kept::default();
    let about = About { written: None, zone: TimeZone::UTC };
    let mut take = |message: &Message| {
        kept.take(message);
        Want::Everything
    };
    source::read(log, &about, &mut take, &mut |_| {})?;
    Ok(Content::Text(kept.text()))
}

#[derive(Default)]
struct Kept {
    lines: VecDeque<String>,
    bytes: usize,
    /// Up to when messages are of the last report.
    until_us: Option<u64>,
    /// Whether some had to go.
    cut: bool,
}

impl Kept {
    fn take(&mut self, message: &Message) {
        let at = message.stamp.boot_us.unwrap_or(0);
        if is_of_oom(&message.text) {
            self.until_us = Some(at.saturating_add(REPORT_US));
        }
        if self.until_us.is_none_or(|until| at > until) {
            return;
        }
        let line = format!("[{:5}.{:06}] {}\n", at / 1_000_000, at % 1_000_000, one_line(&message.text));
        self.bytes = self.bytes.saturating_add(line.len());
        self.lines.push_back(line);
        while self.bytes > MOST_BYTES
            && let Some(oldest) = self.lines.pop_front()
        {
            self.bytes = self.bytes.saturating_sub(oldest.len());
            self.cut = true;
        }
    }

    fn text(self) -> String {
        if self.lines.is_empty() {
            return "nothing of the OOM killer's\n".to_owned();
        }
        let cut = if self.cut { "(older ones were left out)\n" } else { "" };
        std::iter::once(cut).chain(self.lines.iter().map(String::as_str)).collect()
    }
}

/// A thread's header alone says nothing: the kernel complains of much.
fn is_of_oom(text: &[u8]) -> bool {
    Line::parse(text).is_some_and(|line| !matches!(line, Line::Thread { .. }))
        || memchr::memmem::find(text, b"page allocation failure: order:").is_some()
}

/// A name with a newline is no line of its own.
fn one_line(text: &[u8]) -> String {
    from_kernel(text).replace('\n', "\\n")
}

/// /dev/kmsg as a file that ends where nothing more is there yet.
struct Device(File);

impl Read for Device {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            return match self.0.read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
                // Overwritten: the next read goes on with the oldest that there is.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => continue,
                read => read,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(log: &str) -> String {
        String::from_utf8(select(log.as_bytes()).unwrap().bytes()).unwrap()
    }

    /// Guards what is taken: a kill and what stands around it, masked; not what others wrote, nor what came later.
    #[test]
    fn reports_are_taken_and_the_rest_is_not() {
        let log = "6,1,1000000,-;usb 1-1: new device\n\
                   4,2,2000000,-;java invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0\n\
                   4,3,2000100,-;Mem-Info: token=hunter2\n\
                   12,4,2000200,-;a program's own\n\
                   3,5,2000300,-;Out of memory: Killed process 7 (a\\x0ab) total-vm:1kB, anon-rss:1kB, file-rss:0kB, shmem-rss:0kB, UID:0 pgtables:1kB oom_score_adj:0\n\
                   6,6,9000000,-;usb 1-1: gone\n";
        let text = selected(log);
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.contains("[    2.000100] Mem-Info: token=***\n"), "{text}");
        assert!(text.contains("Killed process 7 (a\\nb)"), "{text}");
        assert_eq!(selected("6,1,1000000,-;usb 1-1: new device\n"), "nothing of the OOM killer's\n");
    }

    /// Guards the report's size: of very many kills the newest are kept.
    #[test]
    fn the_newest_are_kept() {
        let kill = |at: u32| {
            format!(
                "3,{at},{at}000000,-;Out of memory: Killed process {at} (eater) total-vm:1kB, anon-rss:1kB, file-rss:0kB, \
                 shmem-rss:0kB, UID:0 pgtables:1kB oom_score_adj:0"
            )
        };
        let log = (0..3_000).map(kill).collect::<Vec<_>>().join("\n");
        let text = selected(&log);
        assert!(text.len() < MOST_BYTES + 100 && text.len() > MOST_BYTES / 2);
        assert!(text.starts_with("(older ones were left out)\n") && text.contains("process 2999 "));
    }

    /// Guards a machine that shows nobody its log.
    #[test]
    fn a_log_that_is_not_shown_is_a_reason() {
        assert!(read(Path::new("/nonexistent")).unwrap_err().contains("/nonexistent cannot be read"));
    }
}
