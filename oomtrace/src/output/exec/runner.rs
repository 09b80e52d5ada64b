//! The process that starts programs for the agent.
//!
//! It is forked while the agent has one thread, no program in the kernel and its privileges; it keeps none of its
//! descriptors but the two that it talks over, and drops its capabilities. It ends when the agent's end of these is closed,
//! however the agent came to its end, and ends what runs.

use std::{
    io::{self, Read as _, Write as _},
    os::{
        fd::{AsFd as _, AsRawFd as _, RawFd},
        unix::net::UnixStream,
    },
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::Duration,
};

use super::{
    ExecError, ExecSettings, LONGEST_LINE, frame, job,
    outcome::{Outcome, Report},
};
use crate::{agent::confine, host};

/// Signals that the agent catches, or that a terminal sends to all: the runner ends with the agent, and not before.
pub(super) const IGNORED: [libc::c_int; 6] =
    [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGUSR1, libc::SIGUSR2];
/// Reports are some hundred bytes.
const LONGEST_REPORT: usize = 64 * 1024;
/// A runner that takes nothing for that long has ended, or was stopped.
const PATIENCE: Duration = Duration::from_secs(2);
/// The stack of the thread that looks after one program.
const STACK_BYTES: usize = 128 * 1024;

/// The agent's end.
pub struct Runner {
    jobs: UnixStream,
    reports: UnixStream,
    /// What came in of reports.
    came: Vec<u8>,
    heard: Vec<Report>,
    pid: i32,
}

impl Runner {
    /// Forks the runner. To be called first of all: before threads are started, programs are loaded and rights are dropped.
    pub fn start(settings: &ExecSettings) -> Result<Self, ExecError> {
        let threads = host::own_threads()?.len();
        if threads != 1 {
            return Err(ExecError::Threads(threads));
        }
        Self::fork(settings)
    }

    /// The same, whatever else runs: for tests, whose harness has threads.
    pub(super) fn fork(settings: &ExecSettings) -> Result<Self, ExecError> {
        settings.check()?;
        let (jobs, their_jobs) = UnixStream::pair()?;
        let (reports, their_reports) = UnixStream::pair()?;
        // SAFETY: this is the only thread, so nobody holds a lock that the child would wait for for ever. The child goes on
        // with its copy of what is ours, and never returns from here.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error().into()),
            0 => serve(settings, their_jobs, their_reports),
            pid => {
                drop((their_jobs, their_reports));
                jobs.set_write_timeout(Some(PATIENCE))?;
                reports.set_read_timeout(Some(PATIENCE))?;
                let mut runner = Self { jobs, reports, came: Vec::new(), heard: Vec::new(), pid };
                runner.hear_of_its_start()?;
                runner.reports.set_nonblocking(true)?;
                Ok(runner)
            }
        }
    }

    fn hear_of_its_start(&mut self) -> Result<(), ExecError> {
        let refused = match frame::read(&mut self.reports, LONGEST_REPORT)? {
            Some(refused) => String::from_utf8_lossy(&refused).into_owned(),
            None => "it ended at once".to_owned(),
        };
        if refused.is_empty() { Ok(()) } else { Err(ExecError::Refused(crate::text::printable(&refused))) }
    }

    /// The runner's process id.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Where lines go.
    pub(super) fn jobs(&mut self) -> &mut UnixStream {
        &mut self.jobs
    }

    /// Takes in what the runner reported. An error: it is gone; what it reported before is there.
    pub(super) fn reports(&mut self) -> io::Result<()> {
        let mut bytes = [0; 4096];
        let end = loop {
            match self.reports.read(&mut bytes) {
                Ok(0) => break Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it was killed")),
                Ok(count) => self.came.extend_from_slice(bytes.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        while let Some(report) = frame::split(&mut self.came, LONGEST_REPORT)? {
            self.heard.push(serde_json::from_slice(&report)?);
        }
        end
    }

    /// The reports that were taken in.
    pub(super) fn take_reports(&mut self) -> Vec<Report> {
        std::mem::take(&mut self.heard)
    }
}

/// The runner's life.
fn serve(settings: &ExecSettings, mut jobs: UnixStream, mut reports: UnixStream) -> ! {
    close_others(&[jobs.as_raw_fd(), reports.as_raw_fd()]);
    for signal in IGNORED {
        // SAFETY: the call takes no pointer; what the agent caught them with is not called any more.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    let _ = rustix::thread::set_name(c"oomtrace-exec");
    // Of its own, so that a terminal's signals do not reach it.
    let _ = rustix::process::setsid();
    let ready = if settings.keep_capabilities { Ok(()) } else { confine::drop_all() };
    let refused = ready.err().map(|error| error.to_string()).unwrap_or_default();
    let told = reports.write_all(&frame::framed(refused.as_bytes()));
    if refused.is_empty() && told.is_ok() {
        work(settings, &mut jobs, reports);
    }
    // SAFETY: the call takes no pointer. What the agent registered for its exit is not the runner's.
    unsafe { libc::_exit(0) }
}

/// Takes lines until no more can come, as many at once as may run.
fn work(settings: &ExecSettings, jobs: &mut UnixStream, reports: UnixStream) {
    // Once one end is closed, whoever looks at the other knows that it is over.
    let Ok((over, until)) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC) else { return };
    let running = Arc::new(Running::default());
    let (settings, over, reports) =
        (Arc::new(settings.clone()), Arc::new(over), Arc::new(Mutex::new(reports)));
    // A message that cannot be understood ends it, too: none after it could be.
    while let Ok(Some(line)) = frame::read(jobs, LONGEST_LINE) {
        running.begin(settings.concurrency);
        let one = {
            let (settings, over) = (Arc::clone(&settings), Arc::clone(&over));
            let (reports, running) = (Arc::clone(&reports), Arc::clone(&running));
            move || {
                tell(&reports, &job::run(&settings, &line, over.as_fd()));
                running.end();
            }
        };
        if let Err(error) = thread::Builder::new().stack_size(STACK_BYTES).spawn(one) {
            tell(&reports, &Report { outcome: Outcome::NotStarted(error.to_string()), stderr: Vec::new() });
            running.end();
        }
    }
    drop(until);
    running.wait_for_all();
}

fn tell(reports: &Mutex<UnixStream>, report: &Report) {
    // Numbers and bytes: this cannot fail. And the agent may have gone.
    let bytes = serde_json::to_vec(report).unwrap_or_default();
    let _ = reports.lock().unwrap_or_else(PoisonError::into_inner).write_all(&frame::framed(&bytes));
}

/// How many programs run.
#[derive(Default)]
struct Running {
    count: Mutex<u32>,
    fewer: Condvar,
}

impl Running {
    /// Waits until one more may run.
    fn begin(&self, most: u32) {
        let count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        let may = self.fewer.wait_while(count, |count| *count >= most);
        *may.unwrap_or_else(PoisonError::into_inner) += 1;
    }

    fn end(&self) {
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        *count = count.saturating_sub(1);
        self.fewer.notify_all();
    }

    fn wait_for_all(&self) {
        let count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.fewer.wait_while(count, |count| *count > 0));
    }
}

/// Closes all descriptors but the standard ones and these: what the agent had open is not the runner's.
fn close_others(these: &[RawFd]) {
    let open = std::fs::read_dir("/proc/self/fd").map(|entries| {
        entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<RawFd>().ok())
            .collect::<Vec<_>>()
    });
    for descriptor in open.unwrap_or_default() {
        if descriptor > libc::STDERR_FILENO && !these.contains(&descriptor) {
            // SAFETY: the call takes no pointer. Whoever the descriptor belonged to is not used any more in this process: it
            // does nothing but serve. The folder's own is closed already, which is an error without consequence.
            unsafe { libc::close(descriptor) };
        }
    }
}
