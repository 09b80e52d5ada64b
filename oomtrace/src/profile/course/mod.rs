//! How memory went while a command ran.
//!
//! A thread of its own looks at the machine, the command's cgroup and its processes every second or so, from before the command begins
//! until after it has ended ([`Sampler`]). What it keeps does not grow with the time: see [`Recorder`].
//!
//! It looks less often if that takes much: no more than [`SHARE`] of one processor. Each sample is taken anew from files of a few kB;
//! processes are told by an iterator of the kernel's where there is one, else by all of /proc.

mod kswapd;
mod marks;
mod points;
mod processes;
mod recorder;
mod sample;
mod stressors;
#[cfg(test)]
mod tests;
mod vmstat;

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

pub use self::{
    marks::Marks,
    recorder::{Gathered, Now},
};
use self::{recorder::Recorder, sample::Reader};
use crate::flight::OpenTasks;

/// From one sample to the next, at least.
pub const SHORTEST: Duration = Duration::from_millis(100);
/// From one sample to the next, at most, however long the run.
const LONGEST: Duration = Duration::from_secs(10);
/// Samples take no more than one in so many of a processor's time.
const SHARE: u32 = 200;
/// How long the last sample is waited for. A file of /proc may take long while a process's memory is being freed.
const PATIENCE: Duration = Duration::from_secs(2);
/// The thread reads files and counts: this is ample.
const STACK_BYTES: usize = 256 << 10;

/// What there is in the command's cgroup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InCgroup {
    /// What is charged to it.
    pub usage_bytes: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
}

/// What is looked at.
pub struct Wanted {
    /// The machine: `/`.
    pub root: PathBuf,
    /// The process that the command is below: oomtrace's own.
    pub above: u32,
    /// When the run began: `CLOCK_BOOTTIME`, ns.
    pub began_ns: u64,
    /// From one sample to the next: at least [`SHORTEST`].
    pub interval: Duration,
    /// Tells processes, with whose they are, if the kernel has an iterator over tasks.
    pub tasks: Option<OpenTasks>,
    /// Looks at the command's cgroup, if it has one.
    pub cgroup: Option<Box<dyn FnMut() -> InCgroup + Send>>,
    /// How long threads have waited in reclaim so far, ns, if that is counted.
    pub waited_ns: Option<Box<dyn FnMut() -> u64 + Send>>,
}

/// Samples a run until it ends, or this is dropped.
#[derive(Debug)]
pub struct Sampler {
    recorder: Arc<Mutex<Recorder>>,
    /// The thread ends when this goes; it says so by the other.
    stop: SyncSender<()>,
    ended: Receiver<()>,
}

impl Sampler {
    /// Takes the first sample, and begins to take more.
    ///
    /// # Errors
    /// There is no /proc, or no thread can be started.
    pub fn start(wanted: Wanted) -> io::Result<Self> {
        let interval = wanted.interval.clamp(SHORTEST, LONGEST);
        let began_ns = wanted.began_ns;
        let mut reader = Reader::new(wanted)?;
        let recorder = Arc::new(Mutex::new(Recorder::new(began_ns, interval)));
        let first = reader.timed();
        lock(&recorder).push(first);
        let (stop, stopped) = sync_channel::<()>(0);
        let (ends, ended) = sync_channel::<()>(1);
        let shared = Arc::clone(&recorder);
        thread::Builder::new().name("course".to_owned()).stack_size(STACK_BYTES).spawn(move || {
            let mut next = Instant::now() + interval;
            // What is asked of it is to end: by a word, or by nobody being there any more.
            while stopped.recv_timeout(next.saturating_duration_since(Instant::now()))
                == Err(RecvTimeoutError::Timeout)
            {
                let pause = take(&mut reader, &shared);
                // From when it was due, so that times are even, unless that is past.
                next = (next + pause).max(Instant::now() + pause / 2);
            }
            take(&mut reader, &shared);
            let _ = ends.send(());
        })?;
        Ok(Self { recorder, stop, ended })
    }

    /// How things stand, as of the last sample.
    #[must_use]
    pub fn now(&self) -> Now {
        lock(&self.recorder).now()
    }

    /// Takes the last sample, and tells all. Waits for that a few seconds at the most.
    #[must_use]
    pub fn end(self) -> Gathered {
        let Self { recorder, stop, ended } = self;
        drop(stop);
        // Whether it came, or there is none: what is there is told.
        let _ = ended.recv_timeout(PATIENCE);
        let mut recorder = lock(&recorder);
        std::mem::take(&mut *recorder).gathered()
    }
}

/// Takes a sample, and says how long to wait for the next.
fn take(reader: &mut Reader, recorder: &Mutex<Recorder>) -> Duration {
    let sample = reader.timed();
    let mut recorder = lock(recorder);
    recorder.push(sample);
    recorder.interval().max(recorder.cost().saturating_mul(SHARE)).min(LONGEST)
}

/// Nothing is left half done under the lock: who panicked there harmed nobody.
fn lock(recorder: &Mutex<Recorder>) -> MutexGuard<'_, Recorder> {
    recorder.lock().unwrap_or_else(PoisonError::into_inner)
}
