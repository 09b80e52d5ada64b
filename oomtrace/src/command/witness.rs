//! What is held against the ring: the kernel's log, its count of kills, and the cgroups' counts of forks.

use std::{path::Path, time::Instant};

use super::{
    follow::{self, Followed, Log},
    pids_events::{PidsEvents, Watching},
    reconcile::{PATIENCE, Reconcile},
    ring::Ring,
    shown::Shown,
};
use crate::{
    host,
    incident::Assembler,
    record::{PidsRefused, Recorder, encode_pids_refused},
};

/// See the module.
pub struct Witness {
    /// The log, or why it is not followed.
    pub log: Followed,
    /// The count, where the kernel tells it.
    pub count: Option<Reconcile>,
    /// What cgroups refuse of forks, where no hook shows these; or why it is not watched.
    pub pids_events: Watching,
}

impl Default for Witness {
    fn default() -> Self {
        let untold = || "tracing has not begun".to_owned();
        Self { log: Err(untold()), count: None, pids_events: Err(untold()) }
    }
}

impl Witness {
    /// Begins now: to be called as soon as kills are seen. There may be a reason to do without the log.
    pub fn begin(without: Option<&str>) -> Self {
        let pids_events = Err("forks are not to be told, or a hook shows them".to_owned());
        Self { log: Log::open(without), count: Reconcile::begin(Path::new("/")), pids_events }
    }

    /// The same where there is nothing but the log.
    pub fn begin_alone(without: Option<&str>) -> Self {
        let log = Log::open_whole(without);
        Self { log, ..Self::begin(Some("it is read as a whole")) }
    }

    /// Begins to watch what cgroups refuse of forks.
    pub fn watch_pids_events(&mut self) {
        self.pids_events = PidsEvents::begin();
    }

    /// Tells what cgroups have refused.
    pub fn refused(&mut self, assembler: &mut Assembler, shown: &mut Shown, recorder: Option<&Recorder>) {
        if let Ok(events) = &mut self.pids_events {
            tell(events.moved(), assembler, shown, recorder);
        }
    }

    /// Reads a batch of the log.
    pub fn read(&mut self, assembler: &mut Assembler, shown: &mut Shown, recorder: Option<&Recorder>) {
        self.read_by(Log::read, assembler, shown, recorder);
    }

    /// The same, if an incident could get something from it.
    pub fn read_if_wanted(
        &mut self,
        assembler: &mut Assembler,
        shown: &mut Shown,
        recorder: Option<&Recorder>,
    ) {
        if assembler.wants_log() {
            self.read(assembler, shown, recorder);
        }
    }

    /// The same, to the end of the log.
    pub fn read_all_if_wanted(
        &mut self,
        assembler: &mut Assembler,
        shown: &mut Shown,
        recorder: Option<&Recorder>,
    ) {
        if assembler.wants_log() {
            self.read_by(Log::read_all, assembler, shown, recorder);
        }
    }

    fn read_by(
        &mut self,
        read: impl FnOnce(&mut Log, &mut Assembler, &mut Shown, Option<&Recorder>) -> std::io::Result<()>,
        assembler: &mut Assembler,
        shown: &mut Shown,
        recorder: Option<&Recorder>,
    ) {
        if let Ok(log) = &mut self.log
            && let Err(error) = read(log, assembler, shown, recorder)
        {
            follow::given_up(&mut self.log, &error);
        }
        if let Ok(events) = &mut self.pids_events {
            for cgroup in assembler.refusing() {
                tell(events.logged(&cgroup), assembler, shown, recorder);
            }
        }
    }

    /// Has the count looked at soon, if something was reported or lost.
    pub fn stir(&mut self, shown: &mut Shown) {
        if std::mem::take(&mut shown.stirred)
            && let Some(count) = &mut self.count
        {
            count.stir();
        }
    }

    /// Looks at the count, and tells of what is lost. `lost_marks`: how many kills the ring had no room for.
    pub fn look(
        &mut self,
        lost_marks: u64,
        assembler: &mut Assembler,
        shown: &mut Shown,
        recorder: Option<&Recorder>,
    ) {
        // What is about to be called lost may stand in the log.
        if self.count.as_ref().is_some_and(Reconcile::is_suspicious) {
            self.read_by(Log::read_all, assembler, shown, recorder);
        }
        let Some(count) = &mut self.count else { return };
        let lost = count.look(assembler.accounted_kills().saturating_add(lost_marks));
        if lost > 0 {
            shown.uncounted(assembler, lost, host::boot_ns(), host::wall_clock_offset_ns());
        }
    }

    /// Reads and looks for the last time, while the hooks are still there: what the log tells and the kernel counts once
    /// they are gone, they would not have seen. Takes a second longer if something lacks.
    pub fn last_look(
        &mut self,
        mut ring: Option<&mut Ring>,
        assembler: &mut Assembler,
        shown: &mut Shown,
        recorder: Option<&Recorder>,
    ) {
        if let Some(ring) = &mut ring {
            ring.drain(assembler, shown, recorder);
        }
        self.read_by(Log::read_all, assembler, shown, recorder);
        if let Ok(events) = &mut self.pids_events {
            tell(events.all(), assembler, shown, recorder);
        }
        if ring.is_none() {
            // A report that is open is told of before it is missed.
            let events = assembler.end();
            shown.events(assembler, events, host::wall_clock_offset_ns());
        }
        let lost_marks = |ring: &Option<&mut Ring>| ring.as_ref().map_or(0, |ring| ring.lost_marks);
        self.look(lost_marks(&ring), assembler, shown, recorder);
        let suspicious = |count: &Option<Reconcile>| count.as_ref().is_some_and(Reconcile::is_suspicious);
        let begun = Instant::now();
        while suspicious(&self.count) && begun.elapsed() < PATIENCE {
            std::thread::sleep(PATIENCE / 20);
            if let Some(ring) = &mut ring {
                ring.drain(assembler, shown, recorder);
            }
        }
        if suspicious(&self.count) {
            self.look(lost_marks(&ring), assembler, shown, recorder);
        }
    }
}

fn tell(
    refused: Vec<PidsRefused>,
    assembler: &mut Assembler,
    shown: &mut Shown,
    recorder: Option<&Recorder>,
) {
    for refused in refused {
        let boot_ns = host::boot_ns();
        let record = encode_pids_refused(&refused, boot_ns);
        shown.take(assembler, recorder, record, boot_ns, host::wall_clock_offset_ns());
    }
}
