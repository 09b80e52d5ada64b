//! Earlier boots' logs, as journalctl gives them.

use std::{
    fs,
    io::{self, Read},
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use jiff::{Timestamp, tz::TimeZone};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};

use super::{Places, Recovery};
use crate::{
    incident::Assembler,
    kmsg::source::{self, About, Want},
    session::Source,
};

/// How long all of it may take. A machine that starts has other things to do.
const PATIENCE: Duration = Duration::from_mins(1);
/// What is made use of (systemd.journal-fields(7)): the rest is not to be formatted, nor to be read.
const FIELDS: &str = "--output-fields=MESSAGE,_TRANSPORT,SYSLOG_IDENTIFIER,SYSLOG_FACILITY,\
     _SOURCE_REALTIME_TIMESTAMP,_SOURCE_MONOTONIC_TIMESTAMP,_HOSTNAME,_BOOT_ID";

/// Has journals read from then on, if there are any.
pub(super) fn begin(places: &Places, since: Timestamp) -> Option<Result<Journal, String>> {
    if !places.journals.iter().any(|folder| has_something(folder)) {
        return None;
    }
    let Some(program) = places.journalctl.iter().find(|program| program.is_file()) else {
        return Some(Err("there are journals, and no journalctl that reads them".to_owned()));
    };
    let begun = Journal::start(program, since.as_second(), PATIENCE);
    Some(begun.map_err(|error| format!("{} cannot be run: {error}", program.display())))
}

/// Tells what journals have.
pub(super) fn read(journal: Result<Journal, String>, recovery: &mut Recovery<'_>) {
    let done = journal.and_then(|journal| {
        read_by(journal, recovery).map_err(|error| format!("journalctl failed: {error}"))
    });
    if let Err(why) = done {
        recovery.unread(why);
    }
}

fn has_something(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some())
}

pub(super) fn read_by(mut journal: Journal, recovery: &mut Recovery<'_>) -> io::Result<()> {
    journal.until = Instant::now() + journal.patience;
    let mut assembler = Assembler::new(recovery.gap.session(), Source::Import);
    let about = About { written: None, zone: TimeZone::UTC };
    let read = source::read(
        &mut journal,
        &about,
        &mut |message| {
            let events = assembler.message(message);
            recovery.events(events);
            match (recovery.over, assembler.wants_everything()) {
                (true, _) => Want::Nothing,
                (false, true) => Want::Everything,
                (false, false) => Want::Beginnings,
            }
        },
        &mut |_| {},
    );
    let events = assembler.end();
    recovery.events(events);
    if let Err(error) = read {
        return Err(io::Error::other(
            std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string),
        ));
    }
    if recovery.over {
        return Ok(());
    }
    if journal.late {
        return Err(io::Error::other("it took too long; what came until then is used"));
    }
    let status = journal.child.wait()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("it ended with {status}"))) }
}

/// A journalctl that runs, until it is dropped.
pub struct Journal {
    child: Child,
    /// By which it can be ended once the agent may not signal processes any more. Kernels before 5.3 have none.
    pidfd: Option<OwnedFd>,
    output: ChildStdout,
    /// How long all of it may take once it is read, and until when that is.
    patience: Duration,
    until: Instant,
    /// It was not waited for any longer.
    late: bool,
}

impl Journal {
    pub(super) fn start(program: &Path, since: i64, patience: Duration) -> io::Result<Self> {
        let mut child = Command::new(program)
            .args(["--output=export", FIELDS, "--no-pager", "--quiet"])
            .arg(format!("--since=@{since}"))
            // -k would mean this boot alone.
            .arg("_TRANSPORT=kernel")
            .env_clear()
            .env("LC_ALL", "C")
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let output = child.stdout.take().ok_or_else(|| io::Error::other("it has no output"))?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pidfd = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        Ok(Self { child, pidfd, output, patience, until: Instant::now() + patience, late: false })
    }
}

impl Read for Journal {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let left = self.until.saturating_duration_since(Instant::now());
        let wait = Timespec::try_from(left).map_err(|_| io::ErrorKind::InvalidInput)?;
        let mut fds = [PollFd::from_borrowed_fd(self.output.as_fd(), PollFlags::IN)];
        if left.is_zero() || poll(&mut fds, Some(&wait))? == 0 {
            // What came until then is used: an error would leave the last of it out.
            self.late = true;
            return Ok(0);
        }
        self.output.read(to)
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        // It may have ended: then nothing is there to end.
        let _ = match &self.pidfd {
            Some(pidfd) => pidfd_send_signal(pidfd, Signal::KILL).map_err(io::Error::from),
            None => self.child.kill(),
        };
        let _ = self.child.wait();
    }
}
