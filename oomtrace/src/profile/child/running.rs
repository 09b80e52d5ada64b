//! The command while it runs, its end, and that of what it left behind.

mod signals;

use std::{
    collections::BTreeSet,
    io,
    os::fd::{AsRawFd, RawFd},
    path::Path,
    sync::Arc,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{Interest, unix::AsyncFd},
    signal::unix::{Signal as Signals, SignalKind, signal},
    time::{Instant, sleep_until},
};

use super::{
    cgroup::OwnCgroup,
    descendants::{self, Process},
    requests::Requests,
};
use crate::{profile::report::End, say::say, words};

/// What the command started ends with it, or a moment later: whoever is there then was left behind.
const GRACE: Duration = Duration::from_millis(250);
/// From one look at what is left to the next.
const LOOK: Duration = Duration::from_millis(20);
/// Killed processes that are still there after that long wait for a disk, or for another file system.
const PATIENCE: Duration = Duration::from_secs(10);
/// Whoever starts others as fast as they are killed is kept from it after that long.
const FORKS_UNTIL: Duration = Duration::from_secs(1);
/// A command that the OOM killer ended within that time, with no more than that much, may not have come to do anything.
const AT_ONCE: Duration = Duration::from_secs(1);
const LITTLE_BYTES: u64 = 8 << 20;

/// The command of a run.
pub struct Running {
    name: String,
    pid: i32,
    began: Instant,
    phase: Phase,
    cgroup: Option<Arc<OwnCgroup>>,
    /// Who was below oomtrace before: left behind by an earlier run.
    before: BTreeSet<Process>,
    children: Signals,
    requests: Option<AsyncFd<Ear>>,
    asked: u32,
    last_asked: Option<Instant>,
}

/// How far it is.
enum Phase {
    Runs,
    /// It has ended; whether others stay is waited for.
    Leaves {
        end: End,
        since: Instant,
    },
    /// Others stayed, and are ended with the cgroup.
    Emptied {
        end: End,
        since: Instant,
    },
    Over(End),
}

/// [`Requests`], for [`AsyncFd`].
struct Ear(Arc<Requests>);

impl AsRawFd for Ear {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// What there has to be before the command starts, so that nothing of it is missed.
pub struct Watch {
    children: Signals,
    requests: Option<AsyncFd<Ear>>,
    before: BTreeSet<Process>,
}

impl Watch {
    /// Begins. To be called on the event loop.
    pub fn begin(requests: Option<&Arc<Requests>>) -> io::Result<Self> {
        // Whoever loses its parent becomes a child of ours: so that whose it is can be told, and nobody gets away.
        let own = rustix::process::getpid();
        let _ = rustix::process::set_child_subreaper(Some(own));
        let listen = |requests: &Arc<Requests>| {
            let ear = Ear(Arc::clone(requests));
            // SAFETY: the descriptor is open for as long as anyone has a share of what is moved in.
            unsafe { AsyncFd::register_with_interest(ear, Interest::READABLE) }.map_err(io::Error::from)
        };
        Ok(Self {
            children: signal(SignalKind::child())?,
            requests: requests.map(listen).transpose()?,
            before: below_us(),
        })
    }
}

impl Running {
    pub(super) fn new(name: String, pid: i32, cgroup: Option<Arc<OwnCgroup>>, watch: Watch) -> Self {
        Self {
            name,
            pid,
            began: Instant::now(),
            phase: Phase::Runs,
            cgroup,
            before: watch.before,
            children: watch.children,
            requests: watch.requests,
            asked: 0,
            last_asked: None,
        }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Its cgroup, if it has one of its own.
    #[must_use]
    pub fn cgroup(&self) -> Option<&Arc<OwnCgroup>> {
        self.cgroup.as_ref()
    }

    /// Waits until it has ended, and what it left behind has been ended with its cgroup, or counted. May be dropped while it waits, and
    /// called again. To be called on the thread that started it.
    ///
    /// Signals that come meanwhile are for the command. Those of a terminal have reached it already; others are passed on. Whoever asks a third time has
    /// everything killed that the command started. oomtrace itself does not end before.
    pub async fn wait(&mut self) -> End {
        loop {
            self.reap();
            self.hear();
            self.proceed();
            let due = match &self.phase {
                Phase::Over(end) => return end.clone(),
                Phase::Runs => None,
                Phase::Leaves { .. } | Phase::Emptied { .. } => Instant::now().checked_add(LOOK),
            };
            let Self { children, requests, .. } = self;
            tokio::select! {
                _ = children.recv() => {}
                () = heard(requests.as_ref()) => {}
                () = until(due) => {}
            }
        }
    }

    /// Takes in the end of the command, and of whoever lost its parent.
    fn reap(&mut self) {
        loop {
            let mut status = 0;
            // Children of other threads are theirs: who loses its parent becomes a child of the first one (`find_new_reaper()`,
            // kernel/exit.c), which this is.
            // SAFETY: the pointer is to a number of ours.
            let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG | libc::__WNOTHREAD) };
            if pid <= 0 {
                return;
            }
            if pid == self.pid && matches!(self.phase, Phase::Runs) {
                self.ended(status);
            }
        }
    }

    fn ended(&mut self, status: i32) {
        let signal = libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status));
        let end = End {
            exit_status: libc::WIFEXITED(status)
                .then(|| u8::try_from(libc::WEXITSTATUS(status)).unwrap_or(u8::MAX)),
            signal: signal.and_then(|signal| u32::try_from(signal).ok()),
            ..End::default()
        };
        if signal == Some(libc::SIGKILL) {
            self.explain_death();
        }
        self.phase = Phase::Leaves { end, since: Instant::now() };
    }

    /// Says so if it may have had too little to begin with.
    fn explain_death(&self) {
        let Some(facts) = self.cgroup.as_ref().map(|cgroup| cgroup.facts()) else { return };
        let killed = facts.events.get("oom_kill").is_some_and(|count| *count > 0);
        let after = self.began.elapsed();
        if let Some(limit) = facts.limit_bytes.filter(|limit| *limit <= LITTLE_BYTES)
            && killed
            && after < AT_ONCE
        {
            say!(
                "{} was killed {} after its start: --cgroup-limit {} may be less than it needs to start at all.",
                self.name,
                words::duration(u64::try_from(after.as_nanos()).unwrap_or(u64::MAX)),
                words::size(limit)
            );
        }
    }

    /// Goes on as far as there is nothing to wait for.
    fn proceed(&mut self) {
        if self.is_insisted_on() {
            self.kill_all();
        }
        let phase = std::mem::replace(&mut self.phase, Phase::Runs);
        self.phase = match phase {
            Phase::Leaves { mut end, since } => {
                let left = self.left();
                if left > 0 && since.elapsed() < GRACE {
                    Phase::Leaves { end, since }
                } else {
                    end.left_behind = left;
                    Phase::Emptied { end, since: Instant::now() }
                }
            }
            phase => phase,
        };
        if let Phase::Emptied { end, since } = &self.phase
            && self.emptied(since.elapsed())
        {
            let end = End { interrupted: self.asked > 0, ..end.clone() };
            self.phase = Phase::Over(end);
        }
    }

    /// How many processes it has left.
    fn left(&self) -> u64 {
        let mut left: BTreeSet<i32> =
            below_us().difference(&self.before).map(|process| process.pid).collect();
        left.extend(self.cgroup.iter().flat_map(|cgroup| cgroup.processes()));
        left.remove(&self.pid);
        u64::try_from(left.len()).unwrap_or(u64::MAX)
    }

    /// Ends what is in its cgroup, and removes that: whether this is done, or has been tried for long enough.
    fn emptied(&self, since: Duration) -> bool {
        let Some(cgroup) = &self.cgroup else { return true };
        match cgroup.remove() {
            Ok(()) => true,
            Err(error) if since > PATIENCE => {
                say!(
                    "the command's cgroup cannot be removed ({error}), with {} processes that do not end in it: {}. Remove it by hand \
                     once they have (rmdir).",
                    cgroup.processes().len(),
                    cgroup.shown()
                );
                true
            }
            Err(_) => {
                if since > FORKS_UNTIL {
                    cgroup.forbid_forks();
                }
                cgroup.kill();
                false
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Nobody waits for it any more: tracing came to an end that it should not have. A load that nobody looks after is asked to end.
        if matches!(self.phase, Phase::Runs)
            && let Some(pid) = Pid::from_raw(self.pid)
        {
            let _ = kill_process(pid, Signal::TERM);
        }
    }
}

fn below_us() -> BTreeSet<Process> {
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    descendants::below(Path::new("/"), own)
}

/// Waits for a signal; for ever, where none are caught.
async fn heard(requests: Option<&AsyncFd<Ear>>) {
    let Some(requests) = requests else { return std::future::pending().await };
    match requests.readable().await {
        // Once it is looked at, nothing is there any more.
        Ok(mut guard) => guard.clear_ready(),
        Err(_) => std::future::pending().await,
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}
