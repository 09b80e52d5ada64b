//! The flight recorder of `oomtrace agent`: a bounded memory of the last minutes, so that an incident is told with what led to it.
//!
//! A thread of its own takes a sample of the machine, its memory cgroups and its processes every few seconds ([`Sampler`]), and
//! puts it into a [`Memory`]. Processes are told by an iterator of the kernel's where there is one ([`OpenTasks`]), else by /proc.
//! Whoever completes incidents shares that memory through the [`Handle`]: it is locked while a sample
//! is put in, which takes microseconds, and never while files are read. `oomtrace trace` has none of this, and no such timer.
//!
//! | bound | at most |
//! |---|---|
//! | samples | `keep / interval`, and one: 61 by default |
//! | processes in one | [`PROCESSES`], the largest |
//! | memory cgroups in one | [`CGROUPS`], the largest |
//! | memory, all together | 1 MiB by default ([`PROCESSES`] and [`CGROUPS`] use it up; 400 take a quarter) |

mod before;
#[cfg(test)]
mod before_tests;
mod cgroups;
mod files;
mod growth;
mod machine;
mod memory;
mod processes;
mod sample;
mod sampler;
mod tasks;
#[cfg(test)]
mod tests;

use std::{
    fs::File,
    io,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

/// What other readers of /proc use too.
pub(crate) use self::{
    files::{Folder, kilobytes, nth_number, number},
    sample::Machine,
};
use self::{memory::Memory, sampler::Sampler};
use crate::incident::Incident;

/// Processes that are kept of a sample.
pub const PROCESSES: usize = 768;
/// Memory cgroups that are kept of a sample.
pub const CGROUPS: usize = 384;

/// The thread reads files and counts: this is ample.
const STACK_BYTES: usize = 256 << 10;

/// How often samples are taken, and for how long they are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlightSettings {
    /// From one sample to the next, at least a second.
    pub interval: Duration,
    /// How long they are kept: at most [`Self::MOST`] of them are.
    pub keep: Duration,
}

impl Default for FlightSettings {
    fn default() -> Self {
        Self { interval: Duration::from_secs(10), keep: Duration::from_mins(10) }
    }
}

impl FlightSettings {
    /// Samples that are kept, at most, whatever is asked for: six times as many as by default.
    pub const MOST: usize = 361;

    /// Says what cannot be done, in a sentence.
    pub fn check(self) -> Result<(), String> {
        if self.interval < Duration::from_secs(1) {
            return Err(
                "interval is a second at the least: to look more often would cost more than it tells"
                    .to_owned(),
            );
        }
        let spans = self.keep.as_nanos() / self.interval.as_nanos();
        if spans >= Self::MOST as u128 {
            return Err(format!(
                "keep holds {spans} times interval, and {} samples are the most: a longer interval, or a shorter time to keep",
                Self::MOST
            ));
        }
        Ok(())
    }

    /// From one sample to the next.
    fn interval(self) -> Duration {
        self.interval.max(Duration::from_secs(1))
    }

    /// How many samples are kept: those that span the time, both ends included.
    fn samples(self) -> usize {
        let spans = self.keep.as_nanos() / self.interval().as_nanos().max(1);
        usize::try_from(spans).unwrap_or(usize::MAX).saturating_add(1).clamp(2, Self::MOST)
    }
}

/// Opens what tells all processes, once for each sample: records ([`oomtrace_ebpf::TaskSize`]) up to its end.
pub type OpenTasks = Box<dyn Fn() -> io::Result<File> + Send>;

/// What the recorder has cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Samples taken.
    pub samples: u64,
    /// CPU time of all of them.
    pub cpu_ns: u64,
    /// CPU time of the last one.
    pub last_ns: u64,
}

/// The recorder, for as long as this is kept.
#[derive(Debug)]
pub struct Handle {
    memory: Arc<Mutex<Memory>>,
    /// The thread ends when this goes.
    _stop: SyncSender<()>,
}

impl Handle {
    /// Begins to record the machine below `root` (`/`). Processes are told by `tasks`, if there is that and as long as it works, and
    /// by /proc otherwise.
    ///
    /// # Errors
    /// Its processes cannot be listed, or no thread can be started.
    pub fn start(root: &Path, settings: FlightSettings, tasks: Option<OpenTasks>) -> io::Result<Self> {
        let interval = settings.interval();
        let memory = Arc::new(Mutex::new(Memory::new(settings.samples(), interval)));
        let mut sampler = Sampler::new(root, tasks)?;
        let (stop, stopped) = sync_channel::<()>(0);
        let shared = Arc::clone(&memory);
        thread::Builder::new().name("flight".to_owned()).stack_size(STACK_BYTES).spawn(move || {
            loop {
                let (reading, cpu_ns) = sampler.timed();
                lock(&shared).push(reading, cpu_ns);
                if stopped.recv_timeout(interval) != Err(RecvTimeoutError::Timeout) {
                    break;
                }
            }
        })?;
        Ok(Self { memory, _stop: stop })
    }

    /// Adds to an incident what led to it, or why that is not known.
    pub fn complete(&self, incident: &mut Incident) {
        lock(&self.memory).complete(incident);
    }

    /// What it has cost so far.
    #[must_use]
    pub fn cost(&self) -> Cost {
        lock(&self.memory).cost
    }
}

/// Nothing is left half done under the lock: who panicked there harmed nobody.
fn lock(memory: &Mutex<Memory>) -> MutexGuard<'_, Memory> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}
