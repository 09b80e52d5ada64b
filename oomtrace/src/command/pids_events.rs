//! Forks that cgroups refuse, by the cgroups' own counts: for where no hook shows forks.
//!
//! The kernel log has the first refusal of each cgroup (`pids_event()`, kernel/cgroup/pids.c). That is what makes a cgroup worth
//! watching; those that had refused some before are found at the start. Each is watched by inotify, so that nothing wakes
//! oomtrace while nothing is refused; and a count that moves is read once a second at most. Version 1 notifies nobody: there
//! counts are read every second until they have not moved for a while, and then with whatever else the log has.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    mem::MaybeUninit,
    os::fd::OwnedFd,
    path::Path,
    time::Duration,
};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use tokio::{io::unix::AsyncFd, time::Instant};

use super::alarm;
use crate::{
    host::{
        self,
        cgroup::upwards,
        pids::{Count, Pids, Room},
    },
    kernel::{
        own,
        roles::{Refusal, RoleStatus},
    },
    record::PidsRefused,
    say::say,
};

/// How long counts that have moved are left alone.
const REST: Duration = Duration::from_secs(1);
/// How long a count is looked at again and again after it has moved, where nobody is notified, ns.
const LIVELY_NS: u64 = 10_000_000_000;
/// Cgroups that are watched at once, at most.
const WATCHED: usize = 1024;

/// See the module.
pub struct PidsEvents {
    pids: Pids,
    inotify: AsyncFd<OwnedFd>,
    /// By path.
    watched: BTreeMap<String, Watched>,
    /// Until when they are left alone.
    rest: Option<Instant>,
    /// When they are looked at next though nobody notifies of them.
    again: Option<Instant>,
    /// Whether it was said that there are too many.
    crowded: bool,
}

/// Whether counts are watched, and why not.
pub type Watching = Result<PidsEvents, String>;

struct Watched {
    /// What inotify calls it.
    watch: i32,
    count: Count,
    /// When it was told of last, ns since boot.
    told_ns: Option<u64>,
}

impl PidsEvents {
    /// Where they are, if they can be watched.
    pub fn offered() -> Result<Pids, String> {
        if !own::sees_all_cgroups() {
            return Err("this is a namespace of cgroups, where paths are others than the kernel's".to_owned());
        }
        Pids::find(Path::new("/"))
    }

    /// Begins to watch: what was refused so far is not told.
    pub fn begin() -> Result<Self, String> {
        let pids = Self::offered()?;
        let refused = |error: io::Error| format!("cgroups cannot be watched: {error}");
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)
            .map_err(io::Error::from)
            .and_then(super::ring::watch)
            .map_err(refused)?;
        let mut this =
            Self { pids, inotify, watched: BTreeMap::new(), rest: None, again: None, crowded: false };
        for (cgroup, count) in this.pids.refusing() {
            this.watch(&cgroup, count);
        }
        Ok(this)
    }

    /// Waits until counts are to be read: at most once a second.
    pub async fn ready(&self) {
        if let Some(rest) = self.rest {
            tokio::time::sleep_until(rest).await;
        }
        tokio::select! {
            ready = self.inotify.readable() => match ready {
                Ok(mut guard) => guard.clear_ready(),
                Err(_) => std::future::pending().await,
            },
            () = alarm::at(self.again) => {}
        }
    }

    /// What those that moved have refused since they were told of last.
    pub fn moved(&mut self) -> Vec<PidsRefused> {
        self.rest = Some(Instant::now() + REST);
        let mut moved = BTreeSet::new();
        let mut all = !self.pids.notifies();
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(self.inotify.get_ref(), &mut buffer);
        // Up to the error that says that there are no more.
        while let Ok(event) = events.next() {
            all |= event.events().contains(ReadFlags::QUEUE_OVERFLOW);
            moved.insert(event.wd());
        }
        let concerned = |watched: &Watched| all || moved.contains(&watched.watch);
        let cgroups: Vec<_> =
            self.watched.iter().filter(|(_, own)| concerned(own)).map(|(path, _)| path.clone()).collect();
        let told = cgroups.iter().filter_map(|cgroup| self.look(cgroup)).collect();
        self.look_again();
        told
    }

    /// Where nobody notifies, lively ones are looked at again.
    fn look_again(&mut self) {
        let lively_ns = host::boot_ns().saturating_sub(LIVELY_NS);
        let lively = |own: &Watched| own.told_ns.is_some_and(|told_ns| told_ns > lively_ns);
        let again = !self.pids.notifies() && self.watched.values().any(lively);
        self.again = again.then(|| Instant::now() + REST);
    }

    /// What all that are watched have refused since they were told of last.
    pub fn all(&mut self) -> Vec<PidsRefused> {
        let cgroups: Vec<_> = self.watched.keys().cloned().collect();
        cgroups.iter().filter_map(|cgroup| self.look(cgroup)).collect()
    }

    /// What is to be told now that the kernel log has the first refusal in a cgroup. It is watched from here on.
    pub fn logged(&mut self, cgroup: &str) -> Vec<PidsRefused> {
        let known = self.watched.contains_key(cgroup);
        let counting: Vec<_> =
            upwards(cgroup).take(if self.pids.counts_by_limit() { usize::MAX } else { 1 }).collect();
        let mut told: Vec<_> = counting.into_iter().filter_map(|cgroup| self.look(cgroup)).collect();
        let gone = self.crowded || self.pids.count(cgroup).is_none();
        if gone && !known && told.is_empty() {
            // It did not live until now, or there is no room. What the log says is all that there is of it.
            let cgroup = Some(cgroup.to_owned());
            return vec![PidsRefused { cgroup, count: 1, ..PidsRefused::default() }];
        }
        if !self.pids.notifies() {
            told.extend(self.moved());
        }
        told
    }

    /// What a cgroup has refused since it was told of last. Whoever has not been watched is from here on.
    fn look(&mut self, cgroup: &str) -> Option<PidsRefused> {
        let Some(mut now) = self.pids.count(cgroup) else {
            self.forget(cgroup);
            return None;
        };
        let known = self.watched.get(cgroup).filter(|watched| watched.count.inode == now.inode);
        let known = known.map(|watched| (watched.count.refused, watched.told_ns));
        if known.is_none() && now.refused > 0 {
            self.watch(cgroup, now);
            // What was refused before it was watched wakes nobody.
            now = self.pids.count(cgroup).unwrap_or(now);
        }
        // What cannot be watched would be counted again with every look.
        self.watched.get(cgroup)?;
        let (before, told_ns) = known.unwrap_or_default();
        let count = now.refused.checked_sub(before).filter(|count| *count > 0)?;
        let at_ns = host::boot_ns();
        if let Some(watched) = self.watched.get_mut(cgroup) {
            (watched.count, watched.told_ns) = (now, Some(at_ns));
        }
        let window_ns = told_ns.map_or(0, |told_ns| at_ns.saturating_sub(told_ns));
        let told = PidsRefused { count, window_ns, counted: true, ..PidsRefused::default() };
        if self.pids.counts_by_limit() {
            let room = self.pids.room(cgroup);
            return Some(PidsRefused {
                limit_at: Some(cgroup.to_owned()),
                limit: room.and_then(|room| room.limit),
                // If it is not full any more, what it has now is nothing to go by.
                usage: room.filter(Room::is_full).map(|room| room.usage),
                ..told
            });
        }
        // The first that is full, as pids_try_charge() goes (kernel/cgroup/pids.c).
        let full =
            upwards(cgroup).find_map(|level| Some((level, self.pids.room(level).filter(Room::is_full)?)));
        Some(PidsRefused {
            cgroup: Some(cgroup.to_owned()),
            limit_at: full.map(|(level, _)| level.to_owned()),
            limit: full.and_then(|(_, room)| room.limit),
            usage: full.map(|(_, room)| room.usage),
            ..told
        })
    }

    /// Watches a cgroup whose count was read.
    fn watch(&mut self, cgroup: &str, count: Count) {
        self.forget(cgroup);
        if self.watched.len() >= WATCHED {
            let gone: Vec<_> =
                self.watched.keys().filter(|own| self.pids.count(own).is_none()).cloned().collect();
            for cgroup in &gone {
                self.forget(cgroup);
            }
        }
        let watch = (self.watched.len() < WATCHED)
            .then(|| inotify::add_watch(self.inotify.get_ref(), self.pids.file(cgroup), WatchFlags::MODIFY));
        match watch {
            Some(Ok(watch)) => {
                self.watched.insert(cgroup.to_owned(), Watched { watch, count, told_ns: None });
            }
            // It has ended.
            Some(Err(_)) => {}
            None if self.crowded => {}
            None => {
                self.crowded = true;
                say!(
                    "More than {WATCHED} cgroups refuse forks: of the rest one each is told, which the kernel log has."
                );
            }
        }
    }

    fn forget(&mut self, cgroup: &str) {
        if let Some(watched) = self.watched.remove(cgroup) {
            // It may be gone already, and its watch with it.
            let _ = inotify::remove_watch(self.inotify.get_ref(), watched.watch);
        }
    }
}

/// Waits until counts are to be read; for ever, if they are not watched.
pub async fn ready(watching: &Watching) {
    match watching {
        Ok(events) => events.ready().await,
        Err(_) => std::future::pending().await,
    }
}

/// Whether counts can be watched, as a role.
pub fn status(offered: &Result<(), String>) -> RoleStatus {
    let hooks = vec![HOOK.to_owned()];
    let (hooks, refused) = match offered {
        Ok(()) => (hooks, Vec::new()),
        Err(reason) => (Vec::new(), vec![Refusal { hooks, reason: reason.clone() }]),
    };
    RoleStatus {
        role: ROLE,
        purpose: "forks that a cgroup's pids.max refuses, by the cgroup's own count, where no hook shows forks",
        hooks,
        note: "a cgroup is watched once the kernel log has its first refusal (not with --no-kmsg), or if it had refused some \
               before; it wakes oomtrace while it refuses, once a second at most. In version 1 it is looked at for 10 s after that, and later \
               refusals are told late. What a cgroup refuses in its last second may be told as one, which the log has",
        refused,
        losses: BTreeMap::new(),
    }
}

/// Its name among roles.
pub const ROLE: &str = "pids_events";
/// What is in use, among hooks.
pub const HOOK: &str = "inotify:pids.events";
