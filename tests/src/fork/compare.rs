//! Compares failures as oomtrace tells them with the truth of how they were brought about.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::checks::Checks;
use crate::fork::cause::MAPPED;
use crate::fork::truth::{Level, Truth};
use crate::incident::kind;
use crate::machine::Machine;
use crate::watch::Traced;

/// By how much a count of the machine's threads may have moved until it was looked at.
const THREADS_MOVE: u64 = 16;
/// The same of memory that is charged or promised by others, in bytes.
const OTHERS_MOVE: u64 = 4 << 20;
/// Children are counted up to this.
const MOST_CHILDREN: u64 = 256;
/// What hooks prove.
const PROVED: [&str; 3] = ["pids_max", "pid_max", "pidns_dead"];

/// The failures that an oomtrace told.
pub fn failures(traced: &Traced) -> impl Iterator<Item = &Value> {
    traced.objects.iter().filter(|object| kind(object) == "fork_failure")
}

/// The tier that it told them in.
#[must_use]
pub fn tier(traced: &Traced) -> Option<&str> {
    traced.objects.first().and_then(|status| text(status, "/tier"))
}

/// A text in a line.
#[must_use]
pub fn text<'a>(line: &'a Value, pointer: &str) -> Option<&'a str> {
    line.pointer(pointer).and_then(Value::as_str)
}

fn number(line: &Value, pointer: &str) -> Option<u64> {
    line.pointer(pointer).and_then(Value::as_u64)
}

/// How many failures lines tell of.
fn count(lines: &[&Value]) -> u64 {
    lines.iter().filter_map(|line| number(line, "/count")).sum()
}

/// The one finding that failures for a cause come to.
fn rule(cause: &str) -> Option<String> {
    match cause {
        "other" => None,
        "rlimit_nproc" => Some("fork-nproc".to_owned()),
        cause => Some(format!("fork-{}", cause.replace('_', "-"))),
    }
}

/// What failures have in common: name, user, cause, and whose limit it is.
type Common = (String, u64, String, Option<String>);

/// Compares, and has what it found go to `checks`.
#[derive(Debug)]
pub struct Judge<'a> {
    /// Where findings go.
    pub checks: &'a mut Checks,
    /// The machine.
    pub machine: &'a Machine,
    /// oomtrace's tier.
    pub tier: &'a str,
    /// Whether a limit, and whose it is, may be left out where that is said with a reason: it may be gone, together with what
    /// it was brought about with, by the time that somebody looks.
    pub lenient: bool,
    /// How many failures' limits, or whose they are, were left out so.
    pub left_out: u64,
    /// How many forks it says went by unseen: none of its hooks, or not that which proves the cause, may have seen one of
    /// them.
    pub unseen: u64,
}

impl Judge<'_> {
    /// Compares all lines about tasks of these names, and of forkers, with what is true of them.
    pub fn compare<'l>(&mut self, truths: &[Truth], lines: impl Iterator<Item = &'l Value>) {
        let told = self.told(truths, lines);
        let mut expected: BTreeMap<Common, Vec<&Truth>> = BTreeMap::new();
        for truth in truths.iter().filter(|truth| truth.count > 0) {
            let Some(cause) = truth.cause else { continue };
            let mut key = (truth.comm.clone(), truth.uid, cause.to_owned(), self.place(truth));
            if self.may_lack_limit(truth) && !told.contains_key(&key) {
                key.3 = None;
            }
            expected.entry(key).or_default().push(truth);
        }
        for (key, lines) in &told {
            self.checks.that(expected.contains_key(key), || {
                format!("{} failures of {key:?} are told, and there were none: {}", count(lines), lines[0])
            });
        }
        for (key, truths) in &expected {
            let lines = told.get(key).map_or(&[][..], Vec::as_slice);
            self.group(key, truths, lines);
        }
    }

    fn by_tracepoints(&self) -> bool {
        self.tier == "tracepoint"
    }

    /// The lines in question, by what they have in common.
    fn told<'l>(
        &self,
        truths: &[Truth],
        lines: impl Iterator<Item = &'l Value>,
    ) -> BTreeMap<Common, Vec<&'l Value>> {
        let ours = |comm: &str| comm.ends_with("-forker") || truths.iter().any(|truth| truth.comm == comm);
        // What a filter of system calls refuses looks like the kernel's own refusal where these alone are seen.
        let filtered = |comm: &str| {
            self.by_tracepoints() && truths.iter().any(|truth| truth.comm == comm && !truth.reached)
        };
        let mut told: BTreeMap<Common, Vec<&Value>> = BTreeMap::new();
        for line in lines {
            let Some(comm) = text(line, "/task/comm").filter(|comm| ours(comm) && !filtered(comm)) else {
                continue;
            };
            let key = (
                comm.to_owned(),
                number(line, "/task/uid").unwrap_or(u64::MAX),
                text(line, "/cause").unwrap_or_default().to_owned(),
                text(line, "/limit_at").map(str::to_owned),
            );
            told.entry(key).or_default().push(line);
        }
        told
    }

    /// Whether its limit, and whose it is, may be left out.
    fn may_lack_limit(&self, truth: &Truth) -> bool {
        // Arguments are at hand in one tier alone.
        let elsewhere = truth.elsewhere && self.tier != "trampoline";
        let unled = truth.own_user_namespace && !self.machine.is_at_least(5, 14);
        self.lenient || elsewhere || unled
    }

    /// Whose limit it is, in oomtrace's words.
    fn place(&self, truth: &Truth) -> Option<String> {
        let of_namespaces = truth.namespace.is_some();
        match &truth.level {
            // Which descriptors there may be is not told.
            _ if truth.cause == Some("fd_limit") => None,
            Level::Machine => Some("host".to_owned()),
            Level::Cgroup { path, .. } => Some(path.clone()),
            Level::PidNamespace { inode, .. } if of_namespaces || truth.cause == Some("pid_max") => {
                inode.map(|inode| format!("PID namespace {inode}"))
            }
            Level::UserNamespace { inode, .. } => Some(format!("user namespace {inode}")),
            // Processes are counted for all of them together.
            Level::User { uid, .. } if !of_namespaces && !self.machine.is_at_least(5, 14) => {
                Some(format!("uid {uid}"))
            }
            Level::User { uid, namespace } => Some(format!("uid {uid} in user namespace {namespace}")),
            Level::PidNamespace { .. } | Level::Task => None,
        }
    }

    /// Compares the failures that have all in common.
    fn group(&mut self, key: &Common, truths: &[&Truth], lines: &[&Value]) {
        let (comm, _, cause, _) = key;
        let of = |field: &str| format!("{field} of {comm}, {cause}");
        let failures = truths.iter().map(|truth| truth.count).sum();
        let told = count(lines);
        // All but one of them.
        let escaped = truths.iter().filter(|truth| truth.may_escape).count().saturating_sub(1) as u64;
        self.checks.that(told <= failures && failures - told <= self.unseen + escaped, || {
            format!("{} is {told}, and {} more went by unseen, of {failures}", of("count"), self.unseen)
        });
        let (Some(first), Some(truth)) = (lines.first(), truths.first()) else { return };
        let pids: Vec<u64> = truths.iter().map(|truth| truth.pid).collect();
        let pid = number(first, "/task/pid");
        self.checks.that(pid.is_some_and(|pid| pids.contains(&pid)), || {
            format!("{} is {pid:?}, not of {pids:?}", of("task.pid"))
        });
        let errors: Vec<u64> =
            truth.errno.iter().chain(truth.hidden).filter_map(|errno| u64::try_from(*errno).ok()).collect();
        let proof = if self.by_tracepoints() || !PROVED.contains(&cause.as_str()) { "state" } else { "hook" };
        for line in lines {
            let errno = number(line, "/errno");
            self.checks.that(errno.is_some_and(|errno| errors.contains(&errno)), || {
                format!("{} is {errno:?}, not of {errors:?}", of("errno"))
            });
            self.findings(key, line);
            let told = text(line, "/proof");
            self.checks.that(told == Some(proof) || (self.unseen > 0 && told == Some("state")), || {
                format!("{} is {told:?}, not {proof}", of("proof"))
            });
        }
        // Where it was the same all the time: what dies loses them.
        if let Some(children) = truth.children.filter(|_| cause != "fatal_signal")
            && truths.iter().all(|each| each.children == truth.children)
        {
            let expected = Some(children.min(MOST_CHILDREN));
            self.checks.equal(&of("task.children"), number(first, "/task/children"), expected, "/proc");
        }
        self.limit(key, truth, first);
        // In version 2 a task is in one cgroup.
        if self.machine.unified()
            && let Some(cgroup) = truth.cgroup.as_deref()
        {
            self.checks.equal(&of("task.cgroup"), text(first, "/task/cgroup"), Some(cgroup), "the set-up");
        }
    }

    /// Compares what a failure comes to, where that is told: the first of those that are alike has it, unless ten others of the same
    /// second have.
    fn findings(&mut self, (comm, _, cause, _): &Common, line: &Value) {
        let Some(found) = line.get("findings").and_then(Value::as_array) else { return };
        let ids: Vec<_> = found.iter().filter_map(|finding| text(finding, "/id")).collect();
        let rule = rule(cause);
        self.checks.that(ids.iter().copied().eq(rule.as_deref()), || {
            format!("the findings of {comm} are {ids:?}, not {rule:?} alone")
        });
    }

    /// Compares the limit, and what is in use of it.
    fn limit(&mut self, (comm, _, cause, place): &Common, truth: &Truth, line: &Value) {
        // How many descriptors there may be is not told.
        if cause == "fd_limit" {
            return;
        }
        let of = |field: &str| format!("{field} of {comm}, {cause}");
        let keys = if truth.unit == "bytes" { ["limit_bytes", "usage_bytes"] } else { ["limit", "usage"] };
        let [limit, usage] = keys.map(|key| line.get(key).and_then(Value::as_u64));
        let lacks =
            (truth.limit.is_some() && limit.is_none()) || (place.is_none() && self.place(truth).is_some());
        if lacks && self.may_lack_limit(truth) {
            self.left_out += 1;
            let reasons = ["limit", "limit_bytes", "limit_at"].map(|key| line["missing"].get(key));
            self.checks.that(reasons.iter().flatten().next().is_some(), || {
                format!("{} is left out without a reason", of("limit"))
            });
            return;
        }
        if truth.namespace.is_some() {
            self.checks.equal(&of("namespace"), text(line, "/namespace"), truth.namespace, "the set-up");
            let (nested, levels) = (line.get("nested").and_then(Value::as_bool), truth.unit == "levels");
            self.checks.equal(&of("nested"), nested, Some(levels), "the set-up");
        }
        if let Some(expected) = truth.limit {
            self.checks.equal(&of("limit"), limit, Some(expected), "the set-up");
        }
        if let Some(expected) = truth.usage {
            let bound = match cause.as_str() {
                "threads_max" => THREADS_MOVE,
                // Where it is read late, what the forker's next attempt was promised by then, before that was refused in turn: at
                // most all of its own.
                "overcommit" => MAPPED + OTHERS_MOVE,
                "memcg_kmem" => self.machine.charge_stock_bytes() + OTHERS_MOVE,
                _ => 0,
            };
            self.checks.within(&of("usage"), usage, Some(expected), bound, "the set-up");
        }
    }
}
