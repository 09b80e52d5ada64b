//! Records to messages: only the kernel's, those in pieces put together, and none but the OOM killer's; or all, where what
//! stands around these is read, too.

use super::{line::Line, record::LogRecord};

/// Longest message, bytes: paths are at most `PATH_MAX` long.
const LONGEST: usize = 8192;
/// The kernel writes these piece by piece (`pr_cont()`); another CPU's message may come in between.
const IN_PIECES: [&[u8]; 4] = [
    b"oom-kill:",
    b"Tasks in ",
    b"Memory cgroup stats for ",
    b"cgroup: fork rejected by pids controller in ",
];

/// A message of the OOM killer's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// Number of its first record since boot.
    pub seq: u64,
    /// When it was written, by printk's clock, µs.
    pub usec: u64,
    /// The message, any bytes.
    pub text: Vec<u8>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Pieces {
    /// What may go on, with others' in between.
    open: Option<Logged>,
    /// Whether all are handed over.
    all: bool,
    /// Of all, the one that came last: what goes on behind it is its own.
    last: Option<Logged>,
}

impl Pieces {
    /// That hand over all messages of the kernel's.
    #[must_use]
    pub fn all() -> Self {
        Self { all: true, ..Self::default() }
    }

    /// Hands over what came last: nothing is there that goes on behind it.
    pub fn flush(&mut self, whole: impl FnMut(Logged)) {
        self.last.take().into_iter().for_each(whole);
    }

    /// Takes a record in, and hands over what is whole, in order.
    pub fn take(&mut self, record: LogRecord, mut whole: impl FnMut(Logged)) {
        if record.facility != 0 {
            return;
        }
        if record.continues {
            if let Some(last) =
                self.last.as_mut().filter(|last| last.text.len() + record.text.len() <= LONGEST)
            {
                last.text.extend(record.text);
            } else if let Some(open) = &mut self.open
                && open.text.len() + record.text.len() <= LONGEST
            {
                open.text.extend(record.text);
                if ends(&open.text) {
                    self.open.take().into_iter().for_each(whole);
                }
            }
            return;
        }
        let next = Logged { seq: record.seq, usec: record.usec, text: record.text };
        let in_pieces = in_pieces(&next.text);
        let ours = in_pieces || Line::parse(&next.text).is_some();
        // Others' messages may come between the pieces.
        if !ours && !self.all {
            return;
        }
        self.last.take().into_iter().for_each(&mut whole);
        if ours
            && let Some(open) = self.open.take()
            && Line::parse(&open.text).is_some()
        {
            whole(open);
        }
        if in_pieces && !ends(&next.text) {
            self.open = Some(next);
        } else if self.all {
            self.last = Some(next);
        } else {
            whole(next);
        }
    }
}

/// Whether a message is one that the kernel writes in pieces.
pub(super) fn in_pieces(text: &[u8]) -> bool {
    IN_PIECES.iter().any(|words| text.starts_with(words))
}

/// Whether a message in pieces has come to its end. Of a decision that does not show: names may go on.
pub(super) fn ends(text: &[u8]) -> bool {
    !text.starts_with(IN_PIECES[0]) && Line::parse(text).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(records: &[(u64, bool, &str)]) -> Vec<String> {
        let mut pieces = Pieces::default();
        let mut whole = Vec::new();
        for (seq, (facility, continues, text)) in (0..).zip(records) {
            let record = LogRecord {
                facility: *facility,
                seq,
                usec: 0,
                continues: *continues,
                text: text.as_bytes().to_vec(),
            };
            pieces.take(record, |logged| whole.push(String::from_utf8(logged.text).unwrap()));
        }
        whole
    }

    const KILLED: &str = "Out of memory: Killed process 7 (x) total-vm:1kB";

    /// Guards the decision's line when another CPU's message cut it in two.
    #[test]
    fn pieces_are_joined() {
        let start =
            "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/a";
        let end = ",task_memcg=/a,task=x,pid=7,uid=0";
        let whole = format!("{start}{end}");
        assert_eq!(messages(&[(0, false, &whole), (0, false, KILLED)]), [&whole, KILLED]);
        let cut = [(0, false, start), (0, false, "usb 1-1: new device"), (0, true, end), (0, false, KILLED)];
        assert_eq!(messages(&cut), [&whole, KILLED]);
    }

    /// Guards against user space: what it writes says nothing, and ends nothing.
    #[test]
    fn only_the_kernel_is_heard() {
        assert_eq!(messages(&[(1, false, KILLED), (3, false, KILLED)]), [""; 0]);
        let group = "Tasks in /a are going to be killed due to memory.oom.group set";
        let between = [(0, false, "Tasks in "), (1, true, "x"), (1, false, KILLED), (0, true, &group[9..])];
        assert_eq!(messages(&[&between[..], &[(0, false, KILLED)]].concat()), [group, KILLED]);
    }

    /// Guards memory: a line that goes on for ever does not.
    #[test]
    fn a_line_has_an_end() {
        let mut pieces = Pieces::default();
        let record = |continues, text: &str| LogRecord {
            facility: 0,
            seq: 0,
            usec: 0,
            continues,
            text: text.as_bytes().to_vec(),
        };
        pieces.take(record(false, "Tasks in "), |_| {});
        for _ in 0..10_000 {
            pieces.take(record(true, &"a".repeat(100)), |_| {});
        }
        assert!(pieces.open.unwrap().text.len() <= LONGEST);
    }
}
