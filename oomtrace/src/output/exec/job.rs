//! One run of the program: its input, what it says, its time limit, its end.

use std::{
    io::{self, Read, Write},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::process::{CommandExt as _, ExitStatusExt as _},
    },
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_open, waitid},
};

use super::{
    ExecSettings,
    outcome::{Outcome, Report, STDERR_BYTES},
};

/// Between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(2);
/// The same when the agent ends.
const LAST_GRACE: Duration = Duration::from_millis(500);
/// Between two looks whether it has ended, on kernels before 5.3, which have no descriptors of processes.
const LOOK: Duration = Duration::from_millis(50);
/// All of the environment that programs get.
const ENVIRONMENT: [(&str, &str); 2] =
    [("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"), ("LANG", "C.UTF-8")];

/// Runs the program with this line on its standard input. Once the other end of `over` is closed, it is ended.
pub(super) fn run(settings: &ExecSettings, line: &[u8], over: BorrowedFd<'_>) -> Report {
    match start(settings) {
        Ok(child) => Run::new(child, line, settings.timeout).until_its_end(over),
        Err(error) => Report { outcome: Outcome::NotStarted(error.to_string()), stderr: Vec::new() },
    }
}

fn start(settings: &ExecSettings) -> io::Result<Child> {
    let (program, arguments) = settings.command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(ENVIRONMENT).current_dir("/").process_group(0);
    // Nothing but the data goes to the agent's standard output.
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    // SAFETY: what is called between fork and exec makes system calls only: it takes no lock and no memory.
    unsafe { command.pre_exec(as_others_are) };
    command.spawn()
}

/// What the runner has of the agent's, and a program must not: ignored signals, and protection from the OOM killer. And it ends
/// with the runner, should somebody kill that.
// `pre_exec` wants a Result. None of it is worth not running the program.
#[expect(clippy::unnecessary_wraps, reason = "pre_exec takes a function that may fail")]
fn as_others_are() -> io::Result<()> {
    const ADJ: &std::ffi::CStr = c"/proc/self/oom_score_adj";
    // SAFETY: the strings are ours and end with a NUL, and the length is that of the bytes; the other calls take no pointer.
    unsafe {
        for signal in super::runner::IGNORED {
            libc::signal(signal, libc::SIG_DFL);
        }
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        libc::setpriority(libc::PRIO_PROCESS, 0, 0);
        let adj = libc::open(ADJ.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        if adj >= 0 {
            // Whoever is not protected may be less so: the kernel refuses what would be lower, without CAP_SYS_RESOURCE.
            libc::write(adj, c"0".as_ptr().cast(), 1);
            libc::close(adj);
        }
    }
    Ok(())
}

/// A program that runs.
struct Run<'line> {
    child: Child,
    group: Option<Pid>,
    /// Readable once it has ended.
    pidfd: Option<OwnedFd>,
    /// What it has not read yet.
    input: &'line [u8],
    stderr: Vec<u8>,
    /// When it is dealt with next.
    deadline: Instant,
    /// What it was sent so far.
    sent: Option<Signal>,
    agent_ended: bool,
}

impl<'line> Run<'line> {
    fn new(child: Child, input: &'line [u8], timeout: Duration) -> Self {
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pidfd = group.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        for pipe in [child.stdin.as_ref().map(AsFd::as_fd), child.stderr.as_ref().map(AsFd::as_fd)] {
            // A pipe takes that.
            let _ = pipe.map(|pipe| rustix::io::ioctl_fionbio(pipe, true));
        }
        let deadline = Instant::now() + timeout;
        Self { child, group, pidfd, input, stderr: Vec::new(), deadline, sent: None, agent_ended: false }
    }

    fn until_its_end(mut self, over: BorrowedFd<'_>) -> Report {
        while !self.has_ended() {
            if Instant::now() >= self.deadline {
                self.hurry();
            }
            self.wait(over);
            self.feed();
            self.listen();
        }
        // Its end leaves nothing behind in its group. While it is not waited for, the group's number is nobody else's.
        self.signal(Signal::KILL);
        let status = self.child.wait();
        self.listen();
        Report { outcome: self.outcome(status), stderr: self.stderr }
    }

    /// Waits until there is something to do.
    fn wait(&mut self, over: BorrowedFd<'_>) {
        let (stdin, stderr) = (self.child.stdin.as_ref(), self.child.stderr.as_ref());
        let mut waited = Vec::with_capacity(4);
        waited.extend(stdin.map(|pipe| PollFd::new(pipe, PollFlags::OUT)));
        waited.extend(stderr.map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        waited.extend(self.pidfd.as_ref().map(|pidfd| PollFd::new(pidfd, PollFlags::IN)));
        if !self.agent_ended {
            // Nothing is ever sent there: its other end is closed.
            waited.push(PollFd::from_borrowed_fd(over, PollFlags::IN));
        }
        let mut rest = self.deadline.saturating_duration_since(Instant::now());
        if self.pidfd.is_none() {
            rest = rest.min(LOOK);
        }
        // At least a millisecond, so that a deadline that is just not reached does not keep a processor busy.
        let rest = Timespec::try_from(rest.max(Duration::from_millis(1))).ok();
        let is_over = poll(&mut waited, rest.as_ref()).is_ok()
            && !self.agent_ended
            && waited.last().is_some_and(|over| !over.revents().is_empty());
        if is_over {
            self.agent_ended = true;
            self.deadline = Instant::now();
        }
    }

    /// Gives it what it takes of its line. One that does not read is no failure.
    fn feed(&mut self) {
        let Some(stdin) = &mut self.child.stdin else { return };
        match stdin.write(self.input) {
            Ok(bytes) => self.input = self.input.get(bytes..).unwrap_or_default(),
            Err(error) if is_for_later(&error) => return,
            Err(_) => self.input = &[],
        }
        if self.input.is_empty() {
            self.child.stdin = None;
        }
    }

    /// Takes what it says, as much as a pipe holds at the most, and keeps the first of it.
    fn listen(&mut self) {
        let Some(stderr) = &mut self.child.stderr else { return };
        let mut bytes = [0; 4096];
        for _ in 0..16 {
            match stderr.read(&mut bytes) {
                Ok(0) => return self.child.stderr = None,
                Ok(count) => {
                    let room = STDERR_BYTES.saturating_sub(self.stderr.len());
                    self.stderr.extend_from_slice(bytes.get(..count.min(room)).unwrap_or_default());
                }
                Err(error) if is_for_later(&error) => return,
                Err(_) => return self.child.stderr = None,
            }
        }
    }

    fn has_ended(&self) -> bool {
        let Some(pid) = self.group else { return true };
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        // An error: it is no child of ours any more.
        !matches!(waitid(WaitId::Pid(pid), look), Ok(None) | Err(rustix::io::Errno::INTR))
    }

    /// It took too long.
    fn hurry(&mut self) {
        let signal = if self.sent.is_none() { Signal::TERM } else { Signal::KILL };
        self.signal(signal);
        self.sent = Some(signal);
        self.deadline = Instant::now() + if self.agent_ended { LAST_GRACE } else { GRACE };
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // Nobody may be left.
            let _ = kill_process_group(group, signal);
        }
    }

    fn outcome(&self, status: io::Result<ExitStatus>) -> Outcome {
        match (self.agent_ended, self.sent) {
            (true, Some(_)) => Outcome::AgentEnded,
            (false, Some(signal)) => Outcome::TookTooLong { killed: signal == Signal::KILL },
            (_, None) => match status {
                Ok(status) => match (status.code(), status.signal()) {
                    (Some(code), _) => Outcome::Exited(code),
                    (None, signal) => Outcome::Signalled(signal.unwrap_or(0)),
                },
                Err(error) => Outcome::NotStarted(error.to_string()),
            },
        }
    }
}

fn is_for_later(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
