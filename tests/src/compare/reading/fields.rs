//! Two tellings of one incident, field by field.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::checks::Checks;
use crate::incident::Incident;
use crate::machine::Machine;

use super::super::zones::{Zone, moved_bytes};

/// How far two figures may be apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// Not at all.
    Same,
    /// In any order.
    Set,
    /// Free blocks by order, which may come to so much more or less in all, in bytes.
    Blocks(u64),
    /// By so much: the one is of the decision, and the other of the log's line about it, or of the mark.
    Within(u64),
    /// They are each telling's own.
    Apart,
}

/// What each telling has of its own: where it comes from, when it was, what follows from fields that the other lacks, and what is
/// read at another time.
const APART: [&str; 15] = [
    "id",
    "seq",
    "time",
    "boot_ns",
    "tier",
    "source",
    "missing",
    "lost_records",
    "from_log",
    // Of what is missing depends what is found.
    "findings",
    // The kernel's own counters, where the other has the exact ones, with the error that it admits.
    "victims.rss.error_bytes",
    // Counted by looks at tasks, where the log lists those with memory.
    "ballot.examined",
    "ballot.unkillable",
    "ballot.computed",
    // Read once the victim is dead.
    "host_memory.swap_free_after_bytes",
];

/// What a process that runs may take or give back between its score and its row in the table, in bytes.
const RUNS: u64 = 4 << 20;

/// Compares, and keeps account of what only one of the two has.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    who: &'a str,
    machine: &'a Machine,
    live_alone: BTreeSet<String>,
    imported_alone: BTreeSet<String>,
    compared: BTreeSet<String>,
}

/// What matters for how far an incident's figures may be apart.
struct Case<'a> {
    live: &'a Incident,
    imported: &'a Incident,
    /// What earlier victims may still have been giving back.
    draining_bytes: u64,
    machine: &'a Machine,
}

impl<'a> Fields<'a> {
    pub(super) fn new(who: &'a str, machine: &'a Machine) -> Self {
        Self {
            who,
            machine,
            live_alone: BTreeSet::new(),
            imported_alone: BTreeSet::new(),
            compared: BTreeSet::new(),
        }
    }

    /// Compares one incident's two tellings.
    pub(super) fn compare(
        &mut self,
        checks: &mut Checks,
        live: &Incident,
        draining_bytes: u64,
        imported: &Incident,
    ) {
        let case = Case { live, imported, draining_bytes, machine: self.machine };
        self.value(checks, &case, ("", None), &live.json, &imported.json);
    }

    /// Checks that neither has what the other lacks, but for what names the machine, which a log does not,
    /// or, its kernel, in a header alone; and for what a runtime's files say of a container while it is there.
    pub(super) fn check_alike(&self, checks: &mut Checks) {
        let mut alone: Vec<_> = self.live_alone.union(&self.imported_alone).collect();
        let elsewhere = |field: &str| {
            ["boot_id", "host", "kernel"].contains(&field) || field.starts_with("victims.container.")
        };
        alone.retain(|field| !elsewhere(field));
        checks.that(alone.is_empty(), || format!("{}: only one of them has {alone:?}", self.who));
    }

    /// Notes what was compared, and what only one of the two had.
    pub(super) fn note(self, checks: &mut Checks) {
        let who = self.who;
        let list = |fields: BTreeSet<String>| Value::from(fields.into_iter().collect::<Vec<_>>());
        checks.note(&format!("{who}: compared"), list(self.compared));
        checks.note(&format!("{who}: only live"), list(self.live_alone));
        checks.note(&format!("{who}: only in the log"), list(self.imported_alone));
    }

    /// Compares two values at a path without indices, of the task `of`, if it is one's.
    fn value(
        &mut self,
        checks: &mut Checks,
        case: &Case<'_>,
        (path, of): (&str, Option<u64>),
        live: &Value,
        imported: &Value,
    ) {
        match (live, imported) {
            (Value::Object(live), Value::Object(imported)) => {
                let of = task(live).or(of);
                self.object(checks, case, (path, of), live, imported);
            }
            (Value::Array(live), Value::Array(imported)) if key(path).is_some() => {
                for (live, imported) in pairs(path, live, imported) {
                    self.value(checks, case, (path, of), live, imported);
                }
            }
            _ => self.leaf(checks, case, (path, of), live, imported),
        }
    }

    fn object(
        &mut self,
        checks: &mut Checks,
        case: &Case<'_>,
        (path, of): (&str, Option<u64>),
        live: &Map<String, Value>,
        imported: &Map<String, Value>,
    ) {
        for name in live.keys().chain(imported.keys().filter(|name| !live.contains_key(*name))) {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            if case.rule(&path, of) == Rule::Apart {
                continue;
            }
            match (live.get(name), imported.get(name)) {
                (Some(live), Some(imported)) => self.value(checks, case, (&path, of), live, imported),
                (Some(_), None) => drop(self.live_alone.insert(path)),
                (None, _) => drop(self.imported_alone.insert(path)),
            }
        }
    }

    fn leaf(
        &mut self,
        checks: &mut Checks,
        case: &Case<'_>,
        (path, of): (&str, Option<u64>),
        live: &Value,
        imported: &Value,
    ) {
        self.compared.insert(path.to_owned());
        let who = self.who;
        let apart = || match (live.as_i64(), imported.as_i64()) {
            (Some(live), Some(imported)) => Some(live.abs_diff(imported)),
            _ => None,
        };
        let holds = match case.rule(path, of) {
            Rule::Apart => true,
            Rule::Within(bound) => apart().is_some_and(|apart| apart <= bound),
            Rule::Same => live == imported || case.stands_for(path, of, imported),
            Rule::Set => set(live).is_some() && set(live) == set(imported),
            Rule::Blocks(bound) => {
                let bytes = |blocks| Some(pages(blocks)? * case.machine.page_bytes);
                bytes(live)
                    .zip(bytes(imported))
                    .is_some_and(|(live, imported)| live.abs_diff(imported) <= bound)
            }
        };
        checks.that(holds, || {
            let bound = match case.rule(path, of) {
                Rule::Within(bound) | Rule::Blocks(bound) => format!(", and at most {bound} is explained"),
                Rule::Same | Rule::Set | Rule::Apart => String::new(),
            };
            let whose = of.map(|task| format!(" of {task}")).unwrap_or_default();
            format!("{who}: {path}{whose} is {imported}, and was told live as {live}{bound}")
        });
    }
}

impl<'a> Case<'a> {
    /// How far a field's two values may be apart; `of` is the task that it belongs to.
    fn rule(&self, path: &str, of: Option<u64>) -> Rule {
        let page = self.machine.page_bytes;
        if APART.contains(&path) {
            return Rule::Apart;
        }
        let within = |bound| if bound == 0 { Rule::Same } else { Rule::Within(bound) };
        match path {
            "victims.rss_kernel.anon_bytes"
            | "victims.rss_kernel.file_bytes"
            | "victims.rss_kernel.shmem_bytes" => within(self.moved_bytes(of)),
            "victims.rss_kernel.total_bytes" => within(3 * self.moved_bytes(of)),
            "victims.total_vm_bytes" | "victims.pgtables_bytes" => within(self.busy_bytes(of)),
            "victims.rss.anon_bytes" | "victims.rss.file_bytes" | "victims.rss.shmem_bytes" => {
                within(self.moved_bytes(of) + self.machine.read_error_bytes())
            }
            "victims.rss.total_bytes" => within(3 * (self.moved_bytes(of) + self.machine.read_error_bytes())),
            "victims.swap_bytes" => within(self.swap_error_bytes()),
            "victims.points" if self.is_unscored() => Rule::Apart,
            "victims.points" => within((3 * self.moved_bytes(of) + self.machine.read_error_bytes()) / page),
            "candidates.points" => within(self.runs_bytes(of) / page),
            "candidates.rss_bytes" => within(self.runs_bytes(of)),
            "candidates.swap_bytes" => within(self.runs_bytes(of).max(self.swap_error_bytes())),
            // Of one that found nobody it is read at its end, while an earlier victim may be giving back its memory.
            "scope.limits.usage_bytes" if self.live.fields.outcome.as_deref() == Some("no_victim") => {
                Rule::Apart
            }
            "scope.limits.usage_bytes"
            | "scope.limits.swap_usage_bytes"
            | "scope.limits.memsw_usage_bytes" => Rule::Within(
                self.machine.charge_stock_bytes() + self.draining_bytes + self.busy_bytes(self.victim()),
            ),
            "zones.managed_bytes" | "zones.present_bytes" | "zones.lowmem_reserve_bytes" => Rule::Same,
            // kswapd takes the boost away as soon as it has had its turn.
            "zones.boost_bytes" => self.boost_bytes().map_or(Rule::Same, within),
            "zones.min_bytes" | "zones.low_bytes" | "zones.high_bytes" => {
                self.boost_bytes().map_or(Rule::Same, within)
            }
            "zones.free_by_order" => Rule::Blocks(moved_bytes(self.machine)),
            "trigger.gfp_flags" => Rule::Set,
            _ if path.starts_with("zones.") && path.ends_with("_bytes") => {
                Rule::Within(moved_bytes(self.machine))
            }
            "host_memory.mem_total_bytes" | "host_memory.swap_total_bytes" => Rule::Same,
            _ if path.starts_with("host_memory.") && path.ends_with("_bytes") => {
                Rule::Within(moved_bytes(self.machine))
            }
            _ => Rule::Same,
        }
    }

    /// Whether the log's thread id stands for a process: it names the thread that was found to have memory still.
    fn stands_for(&self, path: &str, of: Option<u64>, imported: &Value) -> bool {
        path == "victims.pid" && {
            let victims = &self.live.fields.victims;
            victims
                .iter()
                .any(|victim| victim.pid == of && victim.tid == imported.as_u64() && victim.tid.is_some())
        }
    }

    /// What the kernel's figure of swap, which is in the log, may be off from the exact one. Where nothing can be swapped both are 0.
    fn swap_error_bytes(&self) -> u64 {
        let swaps = self.machine.swap_bytes > 0 || self.machine.zram;
        if swaps { self.machine.read_error_bytes() } else { 0 }
    }

    /// Whether whoever asked was killed without anybody being scored (`vm.oom_kill_allocating_task`): hooks tell the 0 that is in
    /// `oom_control.chosen_points` then, and a reader of the log what the formula gives.
    fn is_unscored(&self) -> bool {
        self.live.json.pointer("/victims/0/points").and_then(Value::as_i64) == Some(0)
    }

    /// The chosen one.
    fn victim(&self) -> Option<u64> {
        self.live.fields.victims.first().and_then(|victim| victim.pid)
    }

    /// What a victim may have added to each of its counters between the mark and the line, in bytes: nothing if it asked for the
    /// memory itself, since then it is in the OOM killer.
    fn moved_bytes(&self, task: Option<u64>) -> u64 {
        let threads = self.threads(task);
        let asked = task.is_some() && task == self.live.fields.trigger.pid;
        let flushed = if asked { 0 } else { self.machine.held_back_bytes(threads) };
        flushed.max(self.busy_bytes(task))
    }

    /// What its other threads may have moved.
    fn busy_bytes(&self, task: Option<u64>) -> u64 {
        match self.threads(task) {
            0 | 1 => 0,
            threads => self.machine.counter_error_bytes(threads) + self.machine.charge_stock_bytes(),
        }
    }

    /// The same of one that was scored: most sleep, and others run.
    fn runs_bytes(&self, task: Option<u64>) -> u64 {
        let asked = task.is_some() && task == self.live.fields.trigger.pid;
        if asked && self.threads(task) <= 1 { 0 } else { RUNS }
    }

    /// How many threads a victim had. Some may have gone by the time that they were counted.
    fn threads(&self, task: Option<u64>) -> u64 {
        let victim = self.live.fields.victims.iter().find(|victim| victim.pid == task);
        victim.and_then(|victim| victim.threads).unwrap_or(1)
    }

    /// The largest boost of a zone's watermarks that either tells: with tracepoints alone the zones are told from the reclaim before
    /// the decision, and the boost may have come since.
    fn boost_bytes(&self) -> Option<u64> {
        let of = |incident: &'a Incident| {
            let zones = incident.json.get("zones")?.as_array()?;
            zones.iter().filter_map(|zone| zone.get("boost_bytes")?.as_u64()).max()
        };
        of(self.live).max(of(self.imported))
    }
}

/// The process that an object is about.
fn task(object: &Map<String, Value>) -> Option<u64> {
    object.get("pid").and_then(Value::as_u64)
}

/// By what the elements of a list are told apart; None for a list that is compared as a whole.
fn key(path: &str) -> Option<&'static [&'static str]> {
    match path {
        "victims" => Some(&["tid"]),
        "candidates" => Some(&["pid"]),
        "zones" => Some(&["node", "name"]),
        "scope.limits" => Some(&["path"]),
        _ => None,
    }
}

/// Elements of both lists that are about the same.
fn pairs<'v>(path: &str, live: &'v [Value], imported: &'v [Value]) -> Vec<(&'v Value, &'v Value)> {
    let keys = key(path).unwrap_or_default();
    let same = |one: &Value, other: &Value| {
        keys.iter().all(|key| one.get(key).is_some() && one.get(key) == other.get(key))
    };
    let pair = |live: &'v Value| imported.iter().find(|it| same(live, it)).map(|imported| (live, imported));
    live.iter().filter_map(pair).collect()
}

/// A list of words in no order; None for anything else.
fn set(value: &Value) -> Option<BTreeSet<&str>> {
    value.as_array()?.iter().map(Value::as_str).collect()
}

/// The pages of free blocks by order; None for anything else.
fn pages(value: &Value) -> Option<u64> {
    let blocks = value.as_array()?.iter().map(Value::as_u64).collect::<Option<Vec<_>>>()?;
    Some(Zone::block_pages(&blocks))
}
