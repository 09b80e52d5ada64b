//! Whether the kernel's witnesses agree about a storm, and whether oomtrace agrees with them.

use std::collections::BTreeMap;
use std::fmt::Debug;

use crate::checks::Checks;
use crate::incident::Incident;
use crate::storm::roster::{Entry, Roster, number_in};
use crate::storm::watch::Storm;
use crate::witness::klog::LoggedOom;

/// As many examples of what is wrong as a report can use.
const EXAMPLES: usize = 8;

/// A kernel kill: the victim's thread id and comm.
type Kill = (u64, String);

/// How the reported victims and the log's kills go together.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Matched {
    /// Kills that were logged.
    pub logged: u64,
    /// Victims that were reported as killed.
    pub reported: u64,
    /// Logged, and not reported as killed.
    pub missing: Vec<Kill>,
    /// Reported as killed, and not logged.
    pub invented: Vec<Kill>,
    /// Killed once, and reported more than once.
    pub repeated: Vec<Kill>,
    /// Reported as exiting already, while the log says that they were killed, and not reported as killed besides.
    pub misjudged: Vec<Kill>,
    /// Reported as exiting already, and not logged as killed: such marks have no line of their own in the log.
    pub exiting: u64,
}

/// Matches reported victims with the log's kills, one to one, by thread id and comm.
#[must_use]
pub fn matched(log: &[LoggedOom], incidents: &[Incident]) -> Matched {
    let name = |comm: &[u8]| String::from_utf8_lossy(comm).into_owned();
    let kills = log.iter().flat_map(|oom| &oom.kills).map(|kill| (kill.pid, name(&kill.comm)));
    let mut counts: BTreeMap<Kill, (u64, u64, u64)> = BTreeMap::new();
    for kill in kills {
        counts.entry(kill).or_default().0 += 1;
    }
    for victim in incidents.iter().flat_map(|incident| &incident.fields.victims) {
        let kill = (victim.tid.unwrap_or_default(), victim.comm.clone().unwrap_or_default());
        let count = counts.entry(kill).or_default();
        let exiting = victim.verdict.as_deref() == Some("already_exiting");
        *(if exiting { &mut count.2 } else { &mut count.1 }) += 1;
    }
    let mut matched = Matched::default();
    for (kill, (logged, reported, exiting)) in counts {
        matched.logged += logged;
        matched.reported += reported;
        if reported > 1 || (logged > 0 && reported > 0 && exiting > 0) {
            matched.repeated.push(kill.clone());
        }
        match (logged, reported) {
            (0, 0) => matched.exiting += exiting,
            (0, _) => matched.invented.push(kill),
            (_, 0) if exiting > 0 => {
                matched.misjudged.push(kill.clone());
                matched.missing.push(kill);
            }
            (_, 0) => matched.missing.push(kill),
            _ => {}
        }
    }
    matched
}

impl Matched {
    /// Fails for whatever no loss can excuse: a kill that the log does not have, one that was reported twice, and one
    /// that was taken for something else.
    pub fn check_no_inventions(&self, checks: &mut Checks) {
        none(checks, "victims that the log does not have", &self.invented);
        none(checks, "victims that were reported more than once", &self.repeated);
        none(checks, "victims that were killed, and reported as exiting already", &self.misjudged);
    }

    /// Fails for these and for each kill that was not reported.
    pub fn check_complete(&self, checks: &mut Checks) {
        self.check_no_inventions(checks);
        none(checks, "kills that were not reported", &self.missing);
    }
}

/// Checks that the kernel's witnesses and the storm itself agree, without oomtrace.
pub fn witnesses(checks: &mut Checks, storm: &Storm) {
    checks.that(!storm.log_overrun, || "the kernel log was overwritten before it could be read".to_owned());
    let kills = || storm.log.iter().flat_map(|oom| &oom.kills);
    checks.equal("the log's kills", Some(kills().count() as u64), Some(storm.oom_kills), "/proc/vmstat");
    let mut logged: BTreeMap<Kill, u64> = BTreeMap::new();
    for kill in kills() {
        let comm = String::from_utf8_lossy(&kill.comm).into_owned();
        if number_in(&comm).is_some() {
            *logged.entry((kill.pid, comm)).or_default() += 1;
        }
    }
    let roster: BTreeMap<Kill, u64> =
        storm.roster.killed().map(|entry| ((entry.pid, entry.comm.clone()), 1)).collect();
    let differing: Vec<_> = logged
        .iter()
        .filter(|(kill, count)| roster.get(*kill) != Some(*count))
        .chain(roster.iter().filter(|(kill, _)| !logged.contains_key(*kill)))
        .collect();
    none(checks, "kills in which the log and the processes' own ends differ", &differing);
    homes(checks, storm);
    let wrong: Vec<_> = storm.log.iter().filter_map(|oom| misplaced(oom, &storm.roster)).collect();
    none(checks, "decisions in the log that are not about the process's own cgroup", &wrong);
}

/// Compares each cgroup's own counter with the ends of its processes.
fn homes(checks: &mut Checks, storm: &Storm) {
    let killed_in = |counted: &&crate::storm::roster::Counted| {
        let inside = storm.roster.killed().filter(|entry| entry.home == counted.home);
        inside.count() as u64
    };
    let differing: Vec<_> = storm
        .counted
        .iter()
        .map(|counted| (&counted.home.path, counted.oom_kills, killed_in(&counted)))
        .filter(|(_, counted, killed)| counted != killed)
        .collect();
    none(checks, "cgroups (path, own count, processes killed) whose counts differ", &differing);
    let all: u64 = storm.counted.iter().map(|counted| counted.oom_kills).sum();
    checks.equal(
        "the cgroups' counts together",
        Some(all),
        Some(storm.roster.killed().count() as u64),
        "the processes' ends",
    );
}

/// What is wrong with a logged decision, if something is: its cgroups are not the process's.
fn misplaced(oom: &LoggedOom, roster: &Roster) -> Option<String> {
    let decision = oom.decision.as_ref()?;
    let entry = roster.find(&String::from_utf8_lossy(&decision.comm))?;
    let home = Some(entry.home.path.as_bytes());
    let right = decision.pid == entry.pid
        && Some(decision.task_memcg.as_slice()) == home
        && decision.oom_memcg.as_deref() == home;
    (!right).then(|| format!("{decision:?} is about {entry:?}"))
}

/// Checks each incident of the storm against the roster.
pub fn incidents(checks: &mut Checks, incidents: &[Incident], roster: &Roster) {
    let wrong: Vec<_> = incidents.iter().flat_map(|incident| wrong(incident, roster)).collect();
    none(checks, "figures of incidents that are another's", &wrong);
}

/// Whether an incident leaves out what ran out. With tracepoints alone it may: the OOM killer, which a thread had
/// already called for, may kill after another victim has given its memory back, and then no limit is reached any more.
#[must_use]
pub fn leaves_scope_out(incident: &Incident) -> bool {
    incident.fields.missing.contains_key("scope.memcg")
}

/// What in an incident is not the victim's own. What is absent is excused where the incident says why, or that records
/// of it were lost.
#[must_use]
pub fn wrong(incident: &Incident, roster: &Roster) -> Vec<String> {
    let fields = &incident.fields;
    let parties = fields.victims.iter().map(|victim| &victim.comm).chain([&fields.trigger.comm]);
    if parties.flatten().all(|comm| number_in(comm).is_none()) {
        return Vec::new();
    }
    if fields.victims.is_empty() && fields.missing.contains_key("outcome") {
        // All but its decision was lost, and it claims no more than that.
        return Vec::new();
    }
    let [victim] = fields.victims.as_slice() else {
        let (count, outcome) = (fields.victims.len(), &fields.outcome);
        return vec![format!("the incident {:?} has {count} victims, outcome {outcome:?}", fields.id)];
    };
    let Some(entry) = find(roster, victim.comm.as_deref(), victim.pid) else {
        return vec![format!("the victim {:?} ({:?}) was never started", victim.pid, victim.comm)];
    };
    let (home, trigger, scope) = (&entry.home, &fields.trigger, &fields.scope);
    let memcg = scope.memcg.clone().unwrap_or_default();
    let mut found = Found { of: &entry.comm, incident, wrong: Vec::new() };
    found.text("outcome", fields.outcome.as_ref(), "killed");
    found.text("scope.kind", scope.kind.as_ref(), "memcg");
    found.text("scope.cause", scope.cause.as_ref(), "allocation");
    found.text("scope.memcg.path", memcg.path.as_ref(), &home.path);
    found.text("victims[0].cgroup", victim.cgroup.as_ref(), &home.path);
    found.text("trigger.cgroup", trigger.cgroup.as_ref(), &home.path);
    found.same("scope.memcg.id", memcg.id.as_ref(), &home.id);
    found.same("scope.capacity_bytes", scope.capacity_bytes.as_ref(), &home.limit_bytes);
    let lowest = scope.limits.first();
    found.text("scope.limits[0].path", lowest.and_then(|limit| limit.path.as_ref()), &home.path);
    let limit = lowest.and_then(|limit| limit.limit_bytes);
    found.same("scope.limits[0].limit_bytes", limit.as_ref(), &home.limit_bytes);
    let asker = find(roster, trigger.comm.as_deref(), trigger.pid);
    if asker.is_none_or(|asker| asker.home != entry.home) {
        let (pid, comm) = (trigger.pid, &trigger.comm);
        found
            .wrong
            .push(format!("{}: the trigger {pid:?} ({comm:?}) does not live in {}", entry.comm, home.path));
    }
    found.wrong
}

/// The process of that comm, if it has that pid.
fn find<'r>(roster: &'r Roster, comm: Option<&str>, pid: Option<u64>) -> Option<&'r Entry> {
    roster.find(comm?).filter(|entry| Some(entry.pid) == pid)
}

/// Collects what is wrong with one incident.
struct Found<'a> {
    of: &'a str,
    incident: &'a Incident,
    wrong: Vec<String>,
}

impl Found<'_> {
    fn text(&mut self, what: &str, ours: Option<&String>, expected: &str) {
        self.same(what, ours.map(String::as_str), expected);
    }

    fn same<T: PartialEq + Debug + ?Sized>(&mut self, what: &str, ours: Option<&T>, expected: &T) {
        if ours != Some(expected) && !(ours.is_none() && self.excused(what)) {
            self.wrong.push(format!("{}: {what} is {ours:?}, not {expected:?}", self.of));
        }
    }
}

impl Found<'_> {
    /// Whether a field may be absent: it, or what it is part of, is missing for a reason, or records were lost.
    fn excused(&self, what: &str) -> bool {
        let mut names = what.match_indices('.').map(|(at, _)| &what[..at]).chain([what]);
        let fields = &self.incident.fields;
        fields.lost_records != Some(0) || names.any(|name| fields.missing.contains_key(name))
    }
}

/// Fails if there is one of what must not be, with some examples.
pub fn none<T: Debug>(checks: &mut Checks, what: &str, found: &[T]) {
    checks.that(found.is_empty(), || {
        let examples: Vec<_> = found.iter().take(EXAMPLES).collect();
        format!("{} {what}, such as {examples:?}", found.len())
    });
}

#[cfg(test)]
#[path = "account_tests.rs"]
mod tests;
