//! What is kept of a message: its line of JSON, and what is searched for, in columns.

use jiff::Timestamp;
use serde::Serialize;

use super::witness::Witness;
use crate::{
    explain::Finding,
    incident::{Common, Event, ForkFailure, Incident, Outcome, Place, Proof, Relief, UserKill, Victim},
    output::{Json, LineKind, Message},
};

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Who it is, to tell whether it is known already.
    pub witness: Witness,
    /// The id of the incident.
    pub incident: Option<String>,
    /// By which lines are in order, ns since 1970.
    pub at_ns: i64,
    pub host: Option<String>,
    pub source: Option<String>,
    pub scope: Option<String>,
    pub cause: Option<String>,
    pub outcome: Option<String>,
    pub limit_at: Option<String>,
    pub asked_by: Option<String>,
    pub count: u64,
    pub tasks: Vec<Task>,
    pub findings: Vec<Concluded>,
    /// As JSON has it, without its newline.
    pub line: String,
}

/// A victim, or whose fork or allocation failed.
#[derive(Clone, Debug, Default)]
pub(super) struct Task {
    pub pid: Option<u32>,
    /// Of the thread: by this one logs name it.
    pub tid: Option<u32>,
    pub comm: Option<String>,
    pub uid: Option<u32>,
    pub verdict: Option<String>,
    pub total_vm_bytes: Option<u64>,
    pub rss_bytes: Option<u64>,
    pub place: Place,
}

/// A finding.
#[derive(Clone, Debug)]
pub(super) struct Concluded {
    pub id: &'static str,
    pub severity: Option<String>,
    pub summary: String,
}

impl Entry {
    /// Of a message, if it is one that is kept. `now`: what has no time of its own is in order by that.
    pub fn of(message: &Message, now: Timestamp) -> Option<Self> {
        let mut line = Json::line(message);
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        let line = String::from_utf8(line).ok().filter(|line| !line.is_empty())?;
        let entry = match message {
            Message::Incident(Event::Opened(_)) => return None,
            Message::Incident(Event::Closed(incident)) => Self::of_incident(incident, now),
            Message::Incident(Event::Relieved(relief)) => Self::of_relief(relief, now),
            Message::Incident(Event::UserKill(kill)) => Self::of_user_kill(kill, now),
            Message::Incident(Event::ForkFailure(failure)) => Self::of_fork(failure, now),
            Message::Incident(Event::AllocFailure(failure)) => {
                let task = &failure.task;
                let task = Task {
                    pid: task.pid,
                    tid: task.tid.or(task.pid),
                    comm: task.comm.clone(),
                    uid: task.uid,
                    place: task.place.clone(),
                    ..Task::default()
                };
                let limit_at = failure.memcg.as_ref().and_then(|memcg| memcg.path.clone());
                let entry = Self::new(LineKind::AllocFailure, &failure.common, vec![task], limit_at, now);
                Self { cause: word(failure.what), count: failure.count, ..entry }
            }
            Message::Loss(loss) => {
                let place = Some(loss.place.to_owned());
                let count = loss.counts.values().fold(0_u64, |sum, count| sum.saturating_add(*count));
                let entry = Self::new(LineKind::Loss, &loss.common, Vec::new(), place.clone(), now);
                Self { cause: place, limit_at: None, count, ..entry }
            }
            Message::Status(status) => {
                let state = word(status.state);
                let entry = Self::new(LineKind::Status, &status.common, Vec::new(), state.clone(), now);
                Self { cause: state, limit_at: None, ..entry }
            }
        };
        Some(Self { line, ..entry })
    }

    fn of_incident(incident: &Incident, now: Timestamp) -> Self {
        let scope = &incident.scope;
        let mut tasks: Vec<_> = incident.victims.iter().map(Task::of_victim).collect();
        let trigger = &incident.trigger;
        if tasks.is_empty() {
            // Nobody died: it is known by who asked.
            tasks.push(Task {
                pid: trigger.pid,
                tid: trigger.tid.or(trigger.pid),
                comm: trigger.comm.clone(),
                uid: trigger.uid,
                place: trigger.place.clone(),
                ..Task::default()
            });
        }
        let limit_at = scope.memcg.as_ref().and_then(|memcg| memcg.path.clone());
        let entry = Self::new(LineKind::Oom, &incident.common, tasks, limit_at, now);
        let mut witness = Witness {
            name: Some(incident.id.clone()),
            kmsg_seq: incident.kmsg_seq,
            nobody: incident.outcome == Some(Outcome::NoVictim),
            ..entry.witness
        };
        if witness.nobody {
            witness.cgroup.clone_from(&entry.limit_at);
        }
        Self {
            witness,
            incident: Some(incident.id.clone()),
            scope: word(scope.kind),
            cause: word(scope.cause),
            outcome: word(incident.outcome),
            asked_by: trigger.comm.clone(),
            findings: concluded(&incident.findings),
            ..entry
        }
    }

    fn of_relief(relief: &Relief, now: Timestamp) -> Self {
        let tasks: Vec<_> = relief
            .victims
            .iter()
            .map(|victim| Task {
                pid: Some(victim.pid),
                tid: Some(victim.pid),
                comm: victim.comm.clone(),
                ..Task::default()
            })
            .collect();
        // A log tells it of one victim at a time.
        let pids: Vec<_> = relief.victims.iter().map(|victim| victim.pid.to_string()).collect();
        let name = format!("{}/{}", relief.id, pids.join(","));
        let entry = Self::new(LineKind::Relief, &relief.common, tasks, None, now);
        let witness = Witness { name: Some(name), ..entry.witness };
        let findings = concluded(&relief.findings);
        Self { witness, incident: Some(relief.id.clone()), findings, ..entry }
    }

    fn of_user_kill(kill: &UserKill, now: Timestamp) -> Self {
        let tasks = kill.victims.iter().map(Task::of_victim).collect();
        let limited = kill.limits.iter().find(|limit| limit.limit_bytes.is_some());
        let entry = Self::new(
            LineKind::UserspaceKill,
            &kill.common,
            tasks,
            limited.map(|limit| limit.path.clone()),
            now,
        );
        Self { asked_by: kill.killer.comm.clone(), findings: concluded(&kill.findings), ..entry }
    }

    fn of_fork(failure: &ForkFailure, now: Timestamp) -> Self {
        let task = &failure.task;
        let mut place = task.place.clone();
        // Where forks are counted by the limit, its cgroup is what is known.
        if failure.proof == Proof::Count && place.cgroup.is_none() {
            place = Place::of(failure.limit_at.clone());
        }
        let task = Task {
            pid: task.pid,
            tid: task.tid.or(task.pid),
            comm: task.comm.clone(),
            uid: task.uid,
            place,
            ..Task::default()
        };
        let limit_at = failure.limit_at.clone();
        let entry = Self::new(LineKind::ForkFailure, &failure.common, vec![task], limit_at, now);
        let findings = concluded(&failure.findings);
        Self { cause: word(failure.cause), count: failure.count, findings, ..entry }
    }

    /// What all have. `at`: what tells it from others of its kind at the same moment.
    fn new(kind: LineKind, common: &Common, tasks: Vec<Task>, at: Option<String>, now: Timestamp) -> Self {
        let witness = Witness::new(kind, common, tasks.first(), at.as_deref());
        Self {
            at_ns: witness.time_ns.unwrap_or_else(|| nanoseconds(now)),
            witness,
            incident: None,
            host: common.host.clone(),
            source: word(common.source),
            scope: None,
            cause: None,
            outcome: None,
            limit_at: at,
            asked_by: None,
            count: 1,
            tasks,
            findings: Vec::new(),
            line: String::new(),
        }
    }

    /// What it takes in memory, about.
    pub fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.line.len()
            + self.tasks.len() * (size_of::<Task>() + 128)
            + self.findings.iter().map(|finding| 64 + finding.summary.len()).sum::<usize>()
    }
}

impl Task {
    fn of_victim(victim: &Victim) -> Self {
        let kernels = || victim.rss_kernel.map(|rss| rss.total_bytes);
        Self {
            pid: victim.pid,
            tid: victim.tid.or(victim.pid),
            comm: victim.comm.clone(),
            uid: victim.uid,
            verdict: word(victim.verdict),
            total_vm_bytes: victim.total_vm_bytes,
            rss_bytes: victim.rss.map(|rss| rss.total_bytes).or_else(kernels),
            place: victim.place.clone(),
        }
    }
}

fn concluded(findings: &[Finding]) -> Vec<Concluded> {
    let one = |finding: &Finding| Concluded {
        id: finding.id,
        severity: word(finding.conclusion.severity),
        summary: finding.conclusion.summary.clone(),
    };
    findings.iter().map(one).collect()
}

/// The word that JSON has for a value.
fn word(value: impl Serialize) -> Option<String> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => Some(word),
        _ => None,
    }
}

/// Since 1970: 64 bits last until 2262.
pub(super) fn nanoseconds(time: Timestamp) -> i64 {
    i64::try_from(time.as_nanosecond()).unwrap_or(i64::MAX)
}
