//! The kernel log's follower beside the ring.
//!
//! While the log is quiet it waits without a timer. A message wakes it; it reads what there is, up to five hundred messages,
//! and then leaves the log alone for a second, so that a busy log wakes it once a second at most, and one that is written to
//! faster than it can be read does not keep it reading. Whenever a report could get something from the log, it is read behind
//! the ring at once, to its end; and watched, if the report waits for nothing else.

use std::{collections::BTreeMap, fs::File, io, path::Path, rc::Rc, time::Duration};

use tokio::{io::unix::AsyncFd, time::Instant};

use super::{ring::watch, shown::Shown};
use crate::{
    host,
    incident::Assembler,
    kernel::roles::RoleStatus,
    kmsg::{self, Batch, Reader},
    record::{KernelLog, Recorder, encode_kernel_log},
    say::say,
};

/// How long a log that was written to is left alone.
const REST: Duration = Duration::from_secs(1);
/// How many batches are read before that, at the most: five hundred messages. Where the kernel finds nobody to kill, it writes
/// a report of some fifty for each allocation that fails.
const ROUND: u32 = 8;

/// See the module.
pub struct Log {
    reader: Reader,
    /// The log, while it is watched.
    watched: Option<AsyncFd<Rc<File>>>,
    pace: Pace,
}

/// How much of the log is read, and when.
#[derive(Default)]
struct Pace {
    /// Until when it is left alone.
    rest: Option<Instant>,
    /// Whether there is more to be read.
    behind: bool,
    /// Batches that were read since it was left alone.
    batches: u32,
}

/// When to read next.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Now,
    At(Instant),
    /// Once something is written.
    Written,
}

/// Who could get something from the log.
#[derive(Clone, Copy, Debug, Default)]
pub struct Want {
    /// A report that is open.
    pub wanted: bool,
    /// One that waits for nothing else.
    pub urgent: bool,
}

impl Pace {
    /// A batch was read.
    fn read(&mut self, batch: Batch, now: Instant) {
        if self.rest.is_none_or(|rest| rest <= now) {
            (self.rest, self.batches) = (None, 0);
        }
        self.batches += 1;
        self.behind = !batch.end;
        if self.behind || batch.records > 0 {
            self.rest = Some(now + REST);
        }
    }

    fn next(&self, want: Want) -> Next {
        if self.behind && (want.wanted || want.urgent || self.batches < ROUND) {
            return Next::Now;
        }
        match self.rest {
            Some(rest) if !want.urgent => Next::At(rest),
            _ => Next::Written,
        }
    }
}

/// Whether the kernel log is followed, and why not.
pub type Followed = Result<Log, String>;

/// Why the log is not followed.
pub const NO_KMSG: &str = "--no-kmsg was given";

impl Log {
    /// Opens the log at its end, where that is allowed; not at all if there is a reason to do without.
    pub fn open(without: Option<&str>) -> Followed {
        Self::open_by(without, Reader::open)
    }

    /// The same, to be read as a whole.
    pub fn open_whole(without: Option<&str>) -> Followed {
        Self::open_by(without, Reader::open_whole)
    }

    fn open_by(without: Option<&str>, open: fn(&Path) -> io::Result<Reader>) -> Followed {
        if let Some(reason) = without {
            return Err(reason.to_owned());
        }
        let reader = open(Path::new(kmsg::PATH)).map_err(|error| refused(&error))?;
        Ok(Self { reader, watched: None, pace: Pace::default() })
    }

    /// Waits until there is something to be read: at most once a second, unless a report waits for it.
    async fn ready(&mut self, want: Want) {
        match self.pace.next(want) {
            Next::Now => return,
            Next::At(rest) => return tokio::time::sleep_until(rest).await,
            Next::Written => {}
        }
        if self.watched.is_none() {
            self.watched = watch(self.reader.file()).ok();
        }
        let Some(watched) = &self.watched else { return std::future::pending().await };
        if watched.readable().await.is_err() {
            std::future::pending::<()>().await;
        }
        self.watched = None;
    }

    /// Reads a batch, hands over what it says of OOM kills, and says what was lost of it.
    ///
    /// An error ends following.
    pub fn read(
        &mut self,
        assembler: &mut Assembler,
        shown: &mut Shown,
        recorder: Option<&Recorder>,
    ) -> io::Result<()> {
        let (boot_ns, wall_clock_offset_ns) = (host::boot_ns(), host::wall_clock_offset_ns());
        let hand_over = |log: &KernelLog, assembler: &mut Assembler, shown: &mut Shown| {
            shown.take(assembler, recorder, encode_kernel_log(log, boot_ns), boot_ns, wall_clock_offset_ns);
        };
        let batch = self.reader.read(|logged| {
            let log = KernelLog { seq: logged.seq, usec: logged.usec, text: logged.text };
            hand_over(&log, assembler, shown);
        })?;
        if batch.end && assembler.waits_for_log() {
            let end = KernelLog { seq: 0, usec: 0, text: Vec::new() };
            hand_over(&end, assembler, shown);
        }
        self.pace.read(batch, Instant::now());
        if batch.lost > 0 {
            assembler.log_overwritten();
            shown.overwritten(assembler, batch.lost, boot_ns, wall_clock_offset_ns);
        }
        Ok(())
    }

    /// Reads to the end of the log, or for as long as four thousand messages take.
    pub fn read_all(
        &mut self,
        assembler: &mut Assembler,
        shown: &mut Shown,
        recorder: Option<&Recorder>,
    ) -> io::Result<()> {
        for _ in 0..64 {
            self.read(assembler, shown, recorder)?;
            if !self.pace.behind {
                break;
            }
        }
        Ok(())
    }
}

/// Waits until the log is to be read; for ever, if it is not followed.
pub async fn ready(followed: &mut Followed, want: Want) {
    match followed {
        Ok(log) => log.ready(want).await,
        Err(_) => std::future::pending().await,
    }
}

/// Says that following has ended, and ends it.
pub fn given_up(followed: &mut Followed, error: &io::Error) {
    say!("The kernel log cannot be read any more: {error}. Tracing goes on without it.");
    *followed = Err(format!("it cannot be read any more: {error}"));
}

fn refused(error: &io::Error) -> String {
    let advice = match error.kind() {
        io::ErrorKind::PermissionDenied => " (it takes CAP_SYSLOG, and to be allowed to open the device)",
        _ => "",
    };
    format!("{}: {error}{advice}", kmsg::PATH)
}

/// Whether the log can be followed, as a role.
pub fn status(followed: &Followed) -> RoleStatus {
    let hooks = vec![HOOK.to_owned()];
    let (hooks, refused) = match followed {
        Ok(_) => (hooks, Vec::new()),
        Err(reason) => (Vec::new(), vec![crate::kernel::roles::Refusal { hooks, reason: reason.clone() }]),
    };
    RoleStatus {
        role: ROLE,
        purpose: "the second witness: what a tier without a hook at the decision lacks, and kills that no program saw",
        hooks,
        note: "read behind each incident; while the log is being written to it wakes oomtrace once a second at most, and \
               never while it is not",
        refused,
        losses: BTreeMap::new(),
    }
}

/// Its name among roles.
pub const ROLE: &str = "kmsg";
/// What is in use, among hooks.
pub const HOOK: &str = "read:/dev/kmsg";

#[cfg(test)]
mod tests {
    use super::*;

    const MORE: Batch = Batch { records: 64, lost: 0, end: false };
    const LAST: Batch = Batch { records: 1, lost: 0, end: true };
    const NOTHING: Batch = Batch { records: 0, lost: 0, end: true };
    const NOBODY: Want = Want { wanted: false, urgent: false };

    /// Guards the price of a log that is written to faster than it can be read: so much of it a second and no more, unless a
    /// report could get something from it.
    #[test]
    fn a_flood_is_read_in_rounds() {
        let (mut pace, begun) = (Pace::default(), Instant::now());
        for round in 0..3 {
            let now = begun + REST * round;
            for _ in 1..ROUND {
                pace.read(MORE, now);
                assert_eq!(pace.next(NOBODY), Next::Now);
            }
            pace.read(MORE, now);
            assert_eq!(pace.next(NOBODY), Next::At(now + REST));
            assert_eq!(pace.next(Want { wanted: true, urgent: false }), Next::Now);
        }
        // All of it is overwritten before it can be read.
        let none = Batch { records: 0, ..MORE };
        (0..ROUND).for_each(|_| pace.read(none, begun + REST * 3));
        assert_eq!(pace.next(NOBODY), Next::At(begun + REST * 4));
    }

    /// Guards the sleep of who has nothing to read: no timer runs once the log has been quiet for a second, and a report that
    /// waits for it hears of a message at once.
    #[test]
    fn a_quiet_log_has_no_timer() {
        let (mut pace, begun) = (Pace::default(), Instant::now());
        assert_eq!(pace.next(NOBODY), Next::Written);
        pace.read(LAST, begun);
        assert_eq!(pace.next(NOBODY), Next::At(begun + REST));
        assert_eq!(pace.next(Want { wanted: true, urgent: true }), Next::Written);
        pace.read(NOTHING, begun + REST);
        assert_eq!(pace.next(NOBODY), Next::Written);
    }
}
