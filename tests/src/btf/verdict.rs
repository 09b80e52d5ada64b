//! What came of a mutation: a right report, one that lacks something and says so, a refusal; or something wrong.

use std::collections::BTreeSet;
use std::fmt::{self, Display};

use serde_json::{Map, Value};

use super::fleet::Said;
use crate::checks::Checks;
use crate::compare::{Expected, same_zones, sequence};
use crate::floor::{excused, is_excused};
use crate::incident::{Fields, Incident, kind};
use crate::machine::Machine;
use crate::schema::Schema;
use crate::watch::{Seen, Traced, read};
use crate::witness::klog::LoggedOom;

/// What each report has of its own.
const OWN: [&str; 6] = ["id", "seq", "time", "boot_ns", "tier", "missing"];

/// How far two oomtraces may be apart in what they note of one moment, in ns: a fleet's programs run one after the other,
/// which takes an emulator milliseconds the first time.
const FLEET_NS: u64 = 40_000_000;
/// The same where processors are emulated, on a host that has fewer: one may stand still in between.
const FLEET_EMULATED_NS: u64 = 500_000_000;
/// How far in what they note of a round of reclaim.
const ROUND_NS: u64 = 1_000_000;

/// What oomtrace made of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// All figures are there and right.
    Right,
    /// These are absent, for a reason; the others are right.
    Absent(Vec<String>),
    /// It does not trace with such type information, and says so.
    Refused(String),
    /// What it must not do.
    Wrong(Vec<String>),
}

impl Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Right => formatter.write_str("right"),
            Self::Absent(fields) => write!(formatter, "absent: {}", fields.join(", ")),
            Self::Refused(sentence) => write!(formatter, "refused: {sentence}"),
            Self::Wrong(failures) => write!(formatter, "WRONG: {}", failures.join("; ")),
        }
    }
}

/// The kill that all saw, and what is known of it.
#[derive(Debug)]
pub struct Trial<'a> {
    /// The kill as it was provoked.
    pub expected: &'a Expected<'a>,
    /// The log's account.
    pub logged: &'a LoggedOom,
    /// All that was seen.
    pub seen: &'a Seen,
    /// The machine.
    pub machine: &'a Machine,
    /// The schema of the lines.
    pub schema: &'a Schema,
    /// The report of the oomtrace with the kernel's own type information; it agrees with all witnesses.
    pub control: &'a Incident,
    /// How many incidents that one reported.
    pub incidents: usize,
    /// What it told of victims later: the lines of reliefs.
    pub reliefs: &'a [Value],
}

impl Trial<'_> {
    /// Judges one oomtrace.
    #[must_use]
    pub fn verdict(&self, said: Said) -> Verdict {
        if !said.traced {
            return refusal(&said);
        }
        let in_time = said.in_time;
        let traced = match read(said.output) {
            Ok(traced) => traced,
            Err(error) => return Verdict::Wrong(vec![format!("{error:#}")]),
        };
        let mut checks = Checks::default();
        traced.check_course(self.machine.misses_events(), &mut checks);
        sequence(&mut checks, &traced.incidents);
        self.schema.check(&mut checks, &traced.objects);
        checks.equal(
            "number of incidents",
            Some(traced.incidents.len()),
            Some(self.incidents),
            "the control",
        );
        let absent = match self.reports(&traced).as_slice() {
            [report] => self.compare(&mut checks, report),
            reports => {
                let victims = traced.incidents.iter().flat_map(|incident| &incident.fields.victims);
                let pids: Vec<_> = victims.map(|victim| victim.pid).collect();
                checks.fail(format!(
                    "the kill is reported {} times, the victims' pids are {pids:?}",
                    reports.len()
                ));
                Vec::new()
            }
        };
        self.relieved(&mut checks, &traced);
        let (mut failures, _) = checks.into_parts();
        if !in_time && failures.is_empty() {
            failures.push("the kill is reported only at the end".to_owned());
        }
        match (failures.is_empty(), absent.is_empty()) {
            (false, _) => Verdict::Wrong(failures),
            (true, false) => Verdict::Absent(absent),
            (true, true) => Verdict::Right,
        }
    }

    /// The reports of the kill: those that name the victim; if none does, the first that names nobody. (Others' kills
    /// are none of ours, and come later.)
    fn reports<'t>(&self, traced: &'t Traced) -> Vec<&'t Incident> {
        let ours = self.expected.victims.first().map(|victim| victim.pid());
        let named = |incident: &&Incident| {
            incident.fields.victims.iter().any(|victim| victim.pid.or(victim.tid) == ours)
        };
        let nameless = |incident: &&Incident| {
            incident.fields.victims.iter().all(|victim| victim.pid.or(victim.tid).is_none())
        };
        let named: Vec<_> = traced.incidents.iter().filter(named).collect();
        if named.is_empty() { traced.incidents.iter().find(nameless).into_iter().collect() } else { named }
    }

    /// Compares a report with the witnesses, once its gaps are noted and filled; and with the control
    /// what no witness tells. Gives the gaps.
    fn compare(&self, checks: &mut Checks, report: &Incident) -> Vec<String> {
        let mut filled = report.json.clone();
        let mut gaps = Gaps { excused: excused(&report.fields.missing), ..Gaps::default() };
        let unscored = report.fields.candidates.is_empty();
        // Where programs can be preempted (7.x), the control may have missed a part, and says so.
        if self.control.fields.stall.is_none() && self.machine.preempts_programs() {
            filled.as_object_mut().map(|filled| filled.remove("stall"));
        }
        let mut control = self.control_beside(report);
        // What figures come to is for those who find it: it is the same for the same figures.
        for json in [&mut filled, &mut control] {
            json.as_object_mut().map(|json| json.remove("findings"));
        }
        gaps.fill(&mut filled, &control, "");
        // Without a ballot a victim's score is computed from its memory at the mark, and may differ from the kernel's.
        if unscored && let Some(filled) = filled.as_object_mut() {
            filled.remove("candidates");
            filled.remove("ballot");
        }
        for field in gaps.unexcused {
            checks.fail(format!("{field} is absent, and `missing` gives no reason"));
        }
        for field in gaps.invented {
            checks.fail(format!("{field} is there, and this kill has none"));
        }
        match Incident::from_json(filled) {
            Ok(filled) => {
                self.unwitnessed(checks, &filled);
                if !unscored {
                    self.candidates(checks, &filled);
                }
                let about = (self.machine, None);
                // Types that lack a function leave its hook out.
                let expected = Expected { starting: unscored, ..self.expected.clone() };
                expected.check_reported(checks, &filled, self.logged, self.seen, about);
            }
            Err(error) => checks.fail(format!("{error:#}")),
        }
        gaps.excusable
    }

    /// The control, with those of the report's command lines that came too late for it. They are compared with /proc.
    fn control_beside(&self, report: &Incident) -> Value {
        let mut control = self.control.json.clone();
        let of = |json: &Value, field: &str| json.pointer(&format!("/victims/0/{field}")).cloned();
        if of(&control, "cmdline").is_none()
            && let Some(victim) = control.pointer_mut("/victims/0").and_then(Value::as_object_mut)
        {
            let ours = ["cmdline", "cmdline_truncated"].map(|field| (field, of(&report.json, field)));
            victim.extend(ours.into_iter().filter_map(|(field, ours)| Some((field.to_owned(), ours?))));
        }
        control
    }

    /// Compares with the control what no witness tells: they read the same memory in the same stopped kernel.
    fn unwitnessed(&self, checks: &mut Checks, report: &Incident) {
        same_zones(checks, report, self.control, self.machine);
        // Where programs can be preempted (7.x), two that run at one tracepoint may see it long apart, and a round
        // may be the first of a stall for one of them only.
        let stalls = report.fields.stall.zip(self.control.fields.stall);
        if let Some((ours, theirs)) = stalls.filter(|_| !self.machine.preempts_programs()) {
            checks.equal("stall.rounds", Some(ours.rounds), Some(theirs.rounds), "the control");
            // Each notes the time at both ends of each round.
            let bound = self.apart_ns() + theirs.rounds * ROUND_NS;
            checks.within(
                "stall.duration_ns",
                Some(ours.duration_ns),
                Some(theirs.duration_ns),
                bound,
                "the control",
            );
        }
        let levels = |incident: &Incident| -> Vec<Value> {
            let limits = incident.json.pointer("/scope/limits").and_then(Value::as_array);
            limits.cloned().unwrap_or_default()
        };
        for (level, control) in levels(report).iter().zip(&levels(self.control)) {
            let path = control.get("path").and_then(Value::as_str).unwrap_or_default();
            for field in ["swap_usage_bytes", "memsw_usage_bytes", "usage_bytes"] {
                let what = format!("scope.limits[{path}].{field}");
                let [ours, theirs] = [level, control].map(|level| level.get(field).and_then(Value::as_u64));
                // One whose reason is given is filled in; what neither has is no figure.
                if ours.or(theirs).is_some() {
                    // Either may have what CPUs hold back, or lack it.
                    let slack = 2 * self.machine.charge_stock_bytes();
                    checks.within(&what, ours, theirs, slack, "the control");
                }
            }
            let [ours, theirs] = [level, control].map(|level| level.get("oom_group").cloned());
            if ours.is_some() || theirs.is_some() {
                checks.equal(&format!("scope.limits[{path}].oom_group"), ours, theirs, "the control");
            }
        }
    }

    /// Compares the times of the victim's relief with the control's: what is told of, both saw. It may be absent, for a
    /// reason: tracing ends soon after the kill.
    fn relieved(&self, checks: &mut Checks, traced: &Traced) {
        let pid = self.expected.victims.first().map(|victim| victim.pid());
        let marked = self.reports(traced).first().and_then(|report| report.fields.boot_ns);
        let [ours, theirs] =
            [traced.objects.as_slice(), self.reliefs].map(|objects| victim_relieved(objects, pid));
        for field in ["exited_ns", "freed_ns"] {
            // Each counts from where its own program was at the mark: one after the other.
            let at =
                |victim: Option<&Value>, marked: Option<u64>| Some(marked? + victim?.get(field)?.as_u64()?);
            if let Some((ours, theirs)) = at(ours, marked).zip(at(theirs, self.control.fields.boot_ns)) {
                checks.within(field, Some(ours), Some(theirs), self.apart_ns(), "the control, since boot");
            }
        }
    }

    /// How far two oomtraces may be apart in what they note of one moment, in ns.
    fn apart_ns(&self) -> u64 {
        if self.machine.disposable { FLEET_EMULATED_NS } else { FLEET_NS }
    }

    /// Compares the candidates with the control's: all hooks saw the same scores. What a process of several threads
    /// uses may have changed from one hook to the next.
    fn candidates(&self, checks: &mut Checks, report: &Incident) {
        let [ours, theirs] = [report, self.control].map(|incident| &incident.fields);
        let count = |fields: &Fields| Some(fields.candidates.len());
        checks.equal("number of candidates", count(ours), count(theirs), "the control");
        checks.that(ours.ballot == theirs.ballot, || {
            format!("ballot is {:?}, the control says {:?}", ours.ballot, theirs.ballot)
        });
        for (index, (ours, theirs)) in ours.candidates.iter().zip(&theirs.candidates).enumerate() {
            let moved = theirs.pid.map_or(0, |pid| self.moved_bytes(pid));
            for (field, ours, theirs) in [
                ("rss_bytes", ours.rss_bytes, theirs.rss_bytes),
                ("swap_bytes", ours.swap_bytes, theirs.swap_bytes),
            ] {
                // What neither has is no figure.
                if ours.or(theirs).is_some() {
                    checks.within(
                        &format!("candidates[{index}].{field}"),
                        ours,
                        theirs,
                        moved,
                        "the control",
                    );
                }
            }
            let [ours, theirs] = [ours, theirs].map(|it| (it.pid, &it.comm, it.points, it.oom_score_adj));
            checks.that(ours == theirs, || {
                format!("candidates[{index}] is {ours:?}, the control says {theirs:?}")
            });
        }
    }

    /// How much memory process `pid` may have moved while the hooks ran, in bytes: one that has several threads,
    /// as only the trigger has.
    fn moved_bytes(&self, pid: u64) -> u64 {
        let several = self.expected.trigger.filter(|eater| eater.pid() == pid && eater.threads() > 1);
        several.map_or(0, |eater| {
            self.machine.counter_error_bytes(eater.threads()) + self.machine.charge_stock_bytes()
        })
    }
}

/// What a relief among these lines tells of a process.
fn victim_relieved(objects: &[Value], pid: Option<u64>) -> Option<&Value> {
    let reliefs = objects.iter().filter(|object| kind(object) == "relief");
    let victims = reliefs.filter_map(|relief| relief.get("victims")?.as_array()).flatten();
    victims.into_iter().find(|victim| pid.is_some() && victim.get("pid").and_then(Value::as_u64) == pid)
}

/// A refusal, if it is one: exit status 3, with a sentence.
fn refusal(said: &Said) -> Verdict {
    let words = said.output.said();
    // Hooks may be in place before the one that a forced tier takes proves not to be had.
    let lines: Vec<&str> = words.lines().filter(|line| !line.contains("armed in")).map(str::trim).collect();
    let sentence = lines.join(" ");
    let clear = sentence.contains(' ') && sentence.ends_with('.') && !sentence.contains("panicked");
    match said.output.status.code() {
        Some(3) if clear && said.output.stdout.is_empty() => Verdict::Refused(sentence),
        _ => Verdict::Wrong(vec![format!("it ended with {} and said: {sentence}", said.output.status)]),
    }
}

/// What a report lacks of another.
#[derive(Debug, Default)]
struct Gaps {
    /// Fields for which it gives a reason.
    excused: BTreeSet<String>,
    /// Gaps with a reason.
    excusable: Vec<String>,
    /// Gaps without.
    unexcused: Vec<String>,
    /// What it has beyond the other.
    invented: Vec<String>,
}

impl Gaps {
    /// Fills the gaps of `ours` from `theirs`, and notes them.
    fn fill(&mut self, ours: &mut Value, theirs: &Value, path: &str) {
        match (ours, theirs) {
            (Value::Object(ours), Value::Object(theirs)) => self.fill_object(ours, theirs, path),
            (Value::Array(ours), Value::Array(theirs)) if theirs.iter().all(Value::is_object) => {
                for (index, value) in theirs.iter().enumerate() {
                    let path = format!("{path}[{index}]");
                    if let Some(ours) = ours.get_mut(index) {
                        self.fill(ours, value, &path);
                    } else {
                        self.gap(path);
                        ours.push(value.clone());
                    }
                }
            }
            _ => {}
        }
    }

    fn fill_object(&mut self, ours: &mut Map<String, Value>, theirs: &Map<String, Value>, path: &str) {
        let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        let is_own = |key: &String| path.is_empty() && OWN.contains(&key.as_str());
        self.invented.extend(
            ours.keys().filter(|key| !theirs.contains_key(*key) && !is_own(key)).map(|key| below(key)),
        );
        for (key, value) in theirs.iter().filter(|(key, _)| !is_own(key)) {
            let path = below(key);
            match (ours.get_mut(key), value) {
                (Some(ours), value) => self.fill(ours, value, &path),
                // Its parts may have reasons, each its own.
                (None, Value::Object(parts)) if !is_excused(&path, &self.excused) => {
                    let mut object = Map::new();
                    self.fill_object(&mut object, parts, &path);
                    ours.insert(key.clone(), object.into());
                }
                (None, value) => {
                    self.gap(path);
                    ours.insert(key.clone(), value.clone());
                }
            }
        }
    }

    /// Notes a gap.
    fn gap(&mut self, path: String) {
        let gaps = if is_excused(&path, &self.excused) { &mut self.excusable } else { &mut self.unexcused };
        gaps.push(path);
    }
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
