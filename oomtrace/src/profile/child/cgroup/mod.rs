//! The throwaway cgroup of a command, version 1 or 2: made before it starts, entered by it before it is the command, emptied and removed after
//! its end.

mod facts;
mod place;
#[cfg(test)]
mod tests;

use std::{
    fs::{self, File},
    io::{self, ErrorKind},
    os::fd::{AsRawFd as _, RawFd},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

pub use self::place::{Controller, Place};
use super::{
    descendants,
    error::{StartError, shown_path},
};
use crate::profile::report::CgroupMemory;

/// Cgroups that the command may have made in its own, as far as they are looked at.
const FOLDERS: usize = 10_000;
/// How often the removal is tried by whoever cannot wait for long, and how long it waits in between.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(10);

/// What the names of all of them begin with.
const NAME: &str = "oomtrace-run-";

/// Whether a cgroup is one of these, by its path: its limits are options of `oomtrace run`.
#[must_use]
pub fn is_of_run(path: &str) -> bool {
    path.rsplit('/').next().is_some_and(|last| last.starts_with(NAME))
}

/// What the command may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// `memory.max`.
    pub memory_bytes: Option<u64>,
    /// `pids.max`.
    pub pids: Option<u64>,
}

impl Limits {
    /// The controllers that these take.
    #[must_use]
    pub fn controllers(self) -> Vec<Controller> {
        let memory = self.memory_bytes.map(|_| Controller::Memory);
        memory.into_iter().chain(self.pids.map(|_| Controller::Pids)).collect()
    }
}

/// One command's cgroup. It is removed when this is dropped, with whatever runs in it.
#[derive(Debug)]
pub struct OwnCgroup {
    parts: Vec<Part>,
    /// What it had when it was removed.
    last: Mutex<Option<CgroupMemory>>,
    /// Whether it has been. Its name is the next one's then.
    removed: AtomicBool,
    /// What it is in stays as it is for that long.
    _place: Arc<Place>,
}

/// Its folder in a hierarchy.
#[derive(Debug)]
struct Part {
    unified: bool,
    folder: PathBuf,
    path: String,
    controllers: Vec<Controller>,
    /// Whoever writes `0` to it enters.
    entry: File,
}

impl OwnCgroup {
    /// Makes one.
    pub(super) fn make(place: &Arc<Place>, limits: Limits) -> Result<Self, StartError> {
        // From here on what was made is removed again, whatever goes wrong.
        let mut own = Self {
            parts: Vec::new(),
            last: Mutex::new(None),
            removed: AtomicBool::new(false),
            _place: Arc::clone(place),
        };
        for spot in place.spots() {
            let (name, folder) = new_folder(&spot.folder)?;
            let entry = File::options().write(true).open(folder.join("cgroup.procs"));
            let entry = entry.map_err(|error| {
                let _ = fs::remove_dir(&folder);
                StartError::Cgroup(format!("{} cannot be entered: {error}.", shown_path(&folder)))
            })?;
            own.parts.push(Part {
                unified: spot.unified,
                folder,
                path: format!("{}/{name}", spot.path),
                controllers: spot.controllers.clone(),
                entry,
            });
        }
        if let Some(bytes) = limits.memory_bytes {
            let file =
                if own.is_unified(Controller::Memory) { "memory.max" } else { "memory.limit_in_bytes" };
            own.set(Controller::Memory, file, bytes)?;
        }
        if let Some(pids) = limits.pids {
            own.set(Controller::Pids, "pids.max", pids)?;
        }
        Ok(own)
    }

    fn set(&self, controller: Controller, file: &str, value: u64) -> Result<(), StartError> {
        let Some(path) = self.file(controller, file) else { return Ok(()) };
        fs::write(&path, value.to_string()).map_err(|error| {
            StartError::Cgroup(format!("{} cannot be set to {value}: {error}.", shown_path(&path)))
        })
    }

    /// Version of the cgroups: of the memory controller's, if it has that.
    #[must_use]
    pub fn version(&self) -> u32 {
        let main = self.part(Controller::Memory).or(self.parts.first());
        if main.is_none_or(|part| part.unified) { 2 } else { 1 }
    }

    /// Its path in the memory controller's hierarchy, or in the one that it has.
    #[must_use]
    pub fn path(&self) -> &str {
        self.part(Controller::Memory).or(self.parts.first()).map_or("", |part| &part.path)
    }

    /// Its paths in all hierarchies that it is in.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().map(|part| &*part.path)
    }

    /// Its path in the hierarchy of the pids controller, if it has that.
    #[must_use]
    pub fn pids_path(&self) -> Option<&str> {
        self.part(Controller::Pids).map(|part| &*part.path)
    }

    /// A file that a controller has in it; `None`: it is without that controller.
    #[must_use]
    pub fn file(&self, controller: Controller, name: &str) -> Option<PathBuf> {
        Some(self.part(controller)?.folder.join(name))
    }

    /// What is charged to it, in bytes.
    #[must_use]
    pub fn usage_bytes(&self) -> Option<u64> {
        let unified = self.is_unified(Controller::Memory);
        self.number(Controller::Memory, if unified { "memory.current" } else { "memory.usage_in_bytes" })
    }

    /// Processes and threads in it.
    #[must_use]
    pub fn pids(&self) -> Option<u64> {
        self.number(Controller::Pids, "pids.current")
    }

    /// What it counted so far; once it has been removed, until then.
    #[must_use]
    pub fn facts(&self) -> CgroupMemory {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.clone().unwrap_or_else(|| self.facts_now())
    }

    /// Where to write `0` to enter it: open for as long as this is.
    pub(super) fn entries(&self) -> Vec<RawFd> {
        self.parts.iter().map(|part| part.entry.as_raw_fd()).collect()
    }

    /// The processes in it and in those below that have not ended.
    pub(super) fn processes(&self) -> Vec<i32> {
        let Some(part) = self.part(Controller::Memory).or(self.parts.first()) else { return Vec::new() };
        let texts = folders(&part.folder)
            .into_iter()
            .filter_map(|folder| fs::read_to_string(folder.join("cgroup.procs")).ok());
        let mut found: Vec<i32> = texts
            .flat_map(|text| text.lines().filter_map(|line| line.parse().ok()).collect::<Vec<_>>())
            .collect();
        // 0 is one of another PID namespace, which we have no number for.
        found.retain(|pid| *pid > 0 && !descendants::has_ended(Path::new("/"), *pid));
        found
    }

    /// Sends SIGKILL to all that are in it. Those that they start meanwhile may get none.
    pub(super) fn kill(&self) {
        let part = self.part(Controller::Memory).or(self.parts.first());
        // Since 5.14: all of them at once, and those that are being started.
        if part.is_some_and(|part| part.unified && fs::write(part.folder.join("cgroup.kill"), "1").is_ok()) {
            return;
        }
        for pid in self.processes().into_iter().filter_map(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }

    /// Has nobody in it start anything any more, where it can be helped.
    pub(super) fn forbid_forks(&self) {
        let _ = self.set(Controller::Pids, "pids.max", 0);
    }

    /// Removes it, if nobody is in it any more. It may be tried again.
    pub(super) fn remove(&self) -> io::Result<()> {
        if self.is_removed() {
            return Ok(());
        }
        let facts = self.facts_now();
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(facts);
        for part in &self.parts {
            for folder in folders(&part.folder).iter().rev() {
                match fs::remove_dir(folder) {
                    Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
        }
        self.removed.store(true, Ordering::SeqCst);
        Ok(())
    }

    pub(super) fn is_removed(&self) -> bool {
        self.removed.load(Ordering::SeqCst)
    }

    /// Its folders, for people.
    pub(super) fn shown(&self) -> String {
        let folders: Vec<_> = self.parts.iter().map(|part| part.folder.clone()).collect();
        super::error::listed(&folders)
    }

    fn part(&self, controller: Controller) -> Option<&Part> {
        self.parts.iter().find(|part| part.controllers.contains(&controller))
    }

    fn is_unified(&self, controller: Controller) -> bool {
        self.part(controller).is_some_and(|part| part.unified)
    }

    fn text(&self, controller: Controller, file: &str) -> Option<String> {
        fs::read_to_string(self.file(controller, file)?).ok()
    }

    fn number(&self, controller: Controller, file: &str) -> Option<u64> {
        self.text(controller, file)?.trim().parse().ok()
    }
}

impl Drop for OwnCgroup {
    fn drop(&mut self) {
        for _ in 0..TRIES {
            if self.remove().is_ok() {
                return;
            }
            self.kill();
            thread::sleep(PAUSE);
        }
    }
}

/// A folder of its own for this process in another, and its name.
fn new_folder(within: &Path) -> Result<(String, PathBuf), StartError> {
    let pid = std::process::id();
    // One may be there of an earlier process with this number that was killed.
    let names = (0..100).map(|number| match number {
        0 => format!("{NAME}{pid}"),
        _ => format!("{NAME}{pid}-{number}"),
    });
    for name in names {
        let folder = within.join(&name);
        match fs::create_dir(&folder) {
            Ok(()) => return Ok((name, folder)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => {
                return Err(StartError::Cgroup(format!("{} cannot be made: {error}.", shown_path(&folder))));
            }
        }
    }
    Err(StartError::Cgroup(format!(
        "{} is full of cgroups that earlier runs left: remove those named {NAME}{pid}* (rmdir).",
        shown_path(within)
    )))
}

/// A folder and those below, each after the one that it is in.
fn folders(top: &Path) -> Vec<PathBuf> {
    let mut found = vec![top.to_owned()];
    let mut at = 0;
    while let Some(folder) = found.get(at).cloned().filter(|_| found.len() < FOLDERS) {
        at = at.saturating_add(1);
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        found.extend(
            entries
                .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                .map(|entry| entry.path()),
        );
    }
    found
}
