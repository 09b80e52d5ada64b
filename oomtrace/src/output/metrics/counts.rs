//! What was counted since the start. Events are counted once each: an incident when it is complete, its relief when that is told.

use std::{collections::BTreeMap, num::NonZeroUsize, time::Instant};

use lru::LruCache;

use super::{
    histogram::{Histogram, RELIEF_SECONDS, STALL_SECONDS},
    names::{self, UNKNOWN},
    workloads::Workloads,
};
use crate::{
    incident::{Event, Incident, Loss, NOT_IN_TIME, Relief, Status, StatusState, UserKill, Victim},
    kernel::hooks::{ROLES, Tier},
    output::Message,
    session::Source,
};

/// Incidents whose relief may still come, at the most: they are told within 30 s.
const RECENT: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

/// Counts by one label.
pub type By = BTreeMap<&'static str, u64>;
/// Counts by two labels.
pub type ByTwo = BTreeMap<[&'static str; 2], u64>;

/// See the module.
#[derive(Debug)]
pub struct Counts {
    /// By scope and outcome.
    pub incidents: ByTwo,
    /// Those that were found in logs later, by scope and outcome.
    pub recovered: ByTwo,
    /// By scope and verdict.
    pub kills: ByTwo,
    /// By whose they were.
    pub workloads: Workloads,
    /// By the daemon that killed.
    pub user_kills: By,
    /// By cause.
    pub fork_failures: By,
    /// By what failed.
    pub alloc_failures: By,
    /// By scope.
    pub stalls: BTreeMap<&'static str, Histogram>,
    /// By scope.
    pub reliefs: BTreeMap<&'static str, Histogram>,
    /// Whose memory was not back in time, by scope.
    pub overdue: By,
    /// By place.
    pub lost: By,
    /// What was said as tracing began.
    pub armed: Option<Armed>,
    /// The scope of incidents by their number.
    recent: LruCache<u64, &'static str>,
    /// Whom daemons have killed: a second signal is no second kill.
    signalled: LruCache<(u32, i128), ()>,
}

/// How tracing began.
#[derive(Clone, Debug)]
pub struct Armed {
    /// Whether it has not ended.
    pub now: bool,
    /// The hooks in use.
    pub tier: Tier,
    /// The kernel's release.
    pub kernel: Option<String>,
    /// How many hooks each role has.
    pub hooks: By,
}

impl Counts {
    /// Nothing yet. `workloads`: how many of these are told apart.
    #[must_use]
    pub fn new(workloads: usize) -> Self {
        let by = |names: &[&'static str]| names.iter().map(|name| (*name, 0)).collect::<By>();
        let by_two = |second: &[&'static str]| {
            let pairs = names::SCOPES.iter().flat_map(|scope| second.iter().map(|name| ([*scope, *name], 0)));
            pairs.collect::<ByTwo>()
        };
        let histograms =
            |bounds| names::SCOPES.iter().map(|scope| (*scope, Histogram::new(bounds))).collect();
        Self {
            incidents: by_two(&names::OUTCOMES),
            recovered: by_two(&names::OUTCOMES),
            kills: by_two(&names::VERDICTS),
            workloads: Workloads::new(workloads),
            user_kills: names::killers().map(|name| (name, 0)).collect(),
            fork_failures: by(&names::FORK_CAUSES),
            alloc_failures: by(&names::FAILURES),
            stalls: histograms(STALL_SECONDS),
            reliefs: histograms(RELIEF_SECONDS),
            overdue: by(&names::SCOPES),
            lost: by(&names::PLACES),
            armed: None,
            recent: LruCache::new(RECENT),
            signalled: LruCache::new(RECENT),
        }
    }

    /// Counts a message.
    pub fn take(&mut self, message: &Message, now: Instant) {
        match message {
            Message::Incident(event) if event.common().source == Source::Import => self.recovered(event),
            // It comes again when it is complete.
            Message::Incident(Event::Opened(_)) => {}
            Message::Incident(Event::Closed(incident)) => self.incident(incident, now),
            Message::Incident(Event::Relieved(relief)) => self.relief(relief, now),
            Message::Incident(Event::AllocFailure(failure)) => {
                add(&mut self.alloc_failures, names::failure(failure.what), failure.count);
            }
            Message::Incident(Event::ForkFailure(failure)) => {
                add(&mut self.fork_failures, names::fork_cause(failure.cause), failure.count);
            }
            Message::Incident(Event::UserKill(kill)) => self.user_kill(kill),
            Message::Loss(loss) => self.loss(loss),
            Message::Status(status) => self.status(status),
        }
    }

    fn incident(&mut self, incident: &Incident, now: Instant) {
        let scope = names::scope(incident.scope.kind);
        self.recent.put(incident.common.seq, scope);
        add(&mut self.incidents, [scope, names::outcome(incident.outcome)], 1);
        self.victims(scope, &incident.victims, now);
        if let (Some(stall), Some(histogram)) = (incident.stall, self.stalls.get_mut(scope)) {
            histogram.observe_ns(stall.duration_ns);
        }
    }

    /// From a log that was kept. It is long past: what counts what happens now would have it happen again.
    fn recovered(&mut self, event: &Event) {
        if let Some(incident) = event.closed() {
            add(
                &mut self.recovered,
                [names::scope(incident.scope.kind), names::outcome(incident.outcome)],
                1,
            );
        }
    }

    fn victims(&mut self, scope: &'static str, victims: &[Victim], now: Instant) {
        for victim in victims {
            if let Some(verdict) = names::verdict(victim.verdict) {
                add(&mut self.kills, [scope, verdict], 1);
                self.workloads.killed(&victim.place, now);
            }
        }
    }

    fn relief(&mut self, relief: &Relief, now: Instant) {
        let scope = self.recent.get(&relief.common.seq).copied().unwrap_or(UNKNOWN);
        self.victims(scope, &relief.collateral, now);
        for (at, victim) in relief.victims.iter().enumerate() {
            // The reaper takes what is there long before the address space goes.
            let back = [victim.freed_ns, victim.reaped_ns].into_iter().flatten().min();
            if let (Some(ns), Some(histogram)) = (back, self.reliefs.get_mut(scope)) {
                histogram.observe_ns(ns);
            } else if relief
                .missing
                .get(&format!("victims[{at}].freed_ns"))
                .is_some_and(|why| why == NOT_IN_TIME)
            {
                add(&mut self.overdue, scope, 1);
            }
        }
    }

    fn user_kill(&mut self, kill: &UserKill) {
        let killer = names::killer(kill.killer.comm.as_deref());
        for victim in &kill.victims {
            let process = victim.pid.zip(victim.start_time.map(|time| time.0.as_nanosecond()));
            if process.is_none_or(|process| self.signalled.put(process, ()).is_none()) {
                add(&mut self.user_kills, killer, 1);
            }
        }
    }

    fn loss(&mut self, loss: &Loss) {
        if let Some(place) = names::place(loss.place) {
            let count = loss.counts.values().fold(0_u64, |sum, count| sum.saturating_add(*count));
            add(&mut self.lost, place, count);
        }
    }

    fn status(&mut self, status: &Status) {
        match status.state {
            StatusState::Armed => {
                let mut hooks: By = ROLES.iter().map(|role| (role.name, 0)).collect();
                hooks.extend(status.hooks.iter().map(|(role, hooks)| (*role, hooks.len() as u64)));
                let common = &status.common;
                self.armed =
                    Some(Armed { now: true, tier: common.tier, kernel: common.kernel.clone(), hooks });
            }
            StatusState::Ended => {
                if let Some(armed) = &mut self.armed {
                    armed.now = false;
                }
            }
        }
    }
}

fn add<K: Ord>(counts: &mut BTreeMap<K, u64>, name: K, more: u64) {
    let count = counts.entry(name).or_default();
    *count = count.saturating_add(more);
}
