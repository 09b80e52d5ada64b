//! Compares what oomtrace says with what the witnesses say.

mod ballot;
mod counts;
mod envelope;
mod kin;
pub mod reading;
mod scope;
mod trigger;
mod victim;
mod zones;

use std::iter;

use crate::checks::Checks;
use crate::eater::Facts;
use crate::incident::Incident;
use crate::machine::Machine;
use crate::size::KIB;
use crate::watch::Seen;
use crate::witness::cgroup::Cgroup;
use crate::witness::klog::LoggedOom;

pub use counts::counts;
pub use envelope::sequence;
pub use zones::same as same_zones;

/// A kill as the scenario provoked it.
#[derive(Debug, Clone)]
pub struct Expected<'a> {
    /// Who had to die, the chosen one first.
    pub victims: Vec<&'a Facts>,
    /// Who had to ask for memory; None where the scenario cannot know.
    pub trigger: Option<&'a Facts>,
    /// The cgroup whose limit had to be reached; None for the whole machine.
    pub limited: Option<&'a Cgroup>,
    /// Who may be told of beside the victims, since they end with these: by the kernel log, nobody.
    pub along: Vec<u64>,
    /// The swap that the cgroup may use beside its memory, in bytes.
    pub swap_bytes: u64,
    /// How the OOM killer had to be entered.
    pub cause: &'a str,
    /// How much memory other threads of the victim may have moved between the record and the log's line, in bytes.
    pub moving_bytes: u64,
    /// How much memory an earlier victim may still have been giving back, in bytes.
    pub draining_bytes: u64,
    /// Whether oomtrace may not have had all its hooks in place.
    pub starting: bool,
}

/// One incident beside its witnesses.
struct Case<'a> {
    incident: &'a Incident,
    logged: &'a LoggedOom,
    seen: &'a Seen,
    expected: &'a Expected<'a>,
    machine: &'a Machine,
    tier: Option<&'a str>,
}

impl<'a> Expected<'a> {
    /// The usual case: an allocation of `trigger` reached the limit of `limited`, and `victim` died.
    #[must_use]
    pub fn kill(victim: &'a Facts, trigger: &'a Facts, limited: &'a Cgroup) -> Self {
        Self {
            victims: vec![victim],
            trigger: Some(trigger),
            limited: Some(limited),
            along: Vec::new(),
            swap_bytes: 0,
            cause: "allocation",
            moving_bytes: 0,
            draining_bytes: 0,
            starting: false,
        }
    }

    /// The cases of a trigger that has another killed for the limit on `limited`, and is killed in its turn unless it
    /// `survived`: its victim took too long to give back its memory, at most `draining_bytes`. Seen now and then on 6.1,
    /// 6.12 and 7.2: the OOM killer waits for a victim only while it finds it among its cgroup's tasks, which an exiting one
    /// may leave before its memory is free.
    #[must_use]
    pub fn kills(
        victim: &'a Facts,
        trigger: &'a Facts,
        survived: bool,
        limited: &'a Cgroup,
        draining_bytes: u64,
    ) -> Vec<Self> {
        let first = Self::kill(victim, trigger, limited);
        let second = (!survived).then(|| Self { draining_bytes, ..Self::kill(trigger, trigger, limited) });
        iter::once(first).chain(second).collect()
    }

    /// The case of a whole machine: `victim` died for `cause`, whoever asked.
    #[must_use]
    pub fn machine_wide(victim: &'a Facts, cause: &'a str) -> Self {
        let (trigger, limited) = (None, None);
        let (moving_bytes, draining_bytes, starting) = (0, 0, false);
        let (along, swap_bytes) = (Vec::new(), 0);
        let victims = vec![victim];
        Self { victims, trigger, limited, along, swap_bytes, cause, moving_bytes, draining_bytes, starting }
    }

    /// Checks by the witnesses alone that the kernel did what the scenario meant it to do, and measures how far the
    /// log's figures are from what the page tables held.
    pub fn check_provoked(&self, checks: &mut Checks, logged: &LoggedOom, machine: &Machine) {
        let mut killed: Vec<u64> = logged.kills.iter().map(|kill| kill.pid).collect();
        killed.sort_unstable();
        killed.dedup();
        let mut expected: Vec<u64> = self.victims.iter().map(|victim| victim.pid()).collect();
        expected.sort_unstable();
        checks.equal("the log's victims", Some(killed), Some(expected), "the scenario");
        let limited = self.limited.map(|cgroup| cgroup.path.clone());
        let path = |path: &Vec<u8>| path.escape_ascii().to_string();
        let decision = logged.decision.as_ref().map(|decision| decision.oom_memcg.as_ref().map(path));
        checks.equal("the log's oom_memcg", decision, Some(limited), "the scenario");
        if let Some(trigger) = self.trigger {
            checks.that(logged.trigger_tid.is_some_and(|tid| trigger.before.tids.contains(&tid)), || {
                let (tid, tids) = (logged.trigger_tid, &trigger.before.tids);
                format!("the log has the trigger {tid:?}, not one of {}'s threads {tids:?}", trigger.label())
            });
        }
        for victim in &self.victims {
            let (Some(walked), Some(kill)) = (victim.held, logged.killed(victim.pid())) else { continue };
            let (what, bound) = (
                format!("{}: the log's anon-rss", victim.label()),
                machine.counter_error_bytes(victim.threads()),
            );
            checks.within(
                &what,
                Some(kill.anon_rss_kb * KIB),
                Some(walked.anon_bytes),
                bound,
                "the page tables",
            );
            let rss = (kill.anon_rss_kb + kill.file_rss_kb + kill.shmem_rss_kb) * KIB;
            let what = format!("{}: the log's rss", victim.label());
            checks.within(&what, Some(rss), Some(walked.rss_bytes), 3 * bound, "the page tables");
        }
    }

    /// Compares oomtrace's incident with the log and with what the scenario knows.
    pub fn check_reported(
        &self,
        checks: &mut Checks,
        incident: &Incident,
        logged: &LoggedOom,
        seen: &Seen,
        (machine, tier): (&Machine, Option<&str>),
    ) {
        let case = Case { incident, logged, seen, expected: self, machine, tier };
        envelope::check(checks, &case);
        scope::check(checks, &case);
        trigger::check(checks, &case);
        victim::check(checks, &case);
        ballot::check(checks, &case);
        zones::check(checks, &case);
    }
}

impl Case<'_> {
    /// What the kernel's figure of a process's swap may be off from oomtrace's, which is exact, in bytes. Where nothing can
    /// be swapped both are 0.
    fn swap_error_bytes(&self) -> u64 {
        if self.expected.swap_bytes > 0 { self.machine.read_error_bytes() } else { 0 }
    }
}

#[cfg(test)]
mod ballot_tests;
#[cfg(test)]
pub(crate) mod tests;
