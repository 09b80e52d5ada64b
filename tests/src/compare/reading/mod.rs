//! Whether what is made of the kernel's log of a scenario tells the same as what was told by hooks: an import of it, and an oomtrace
//! that follows it.

mod fields;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use serde_json::Value;

use crate::checks::Checks;
use crate::incident::{Incident, kind};
use crate::machine::Machine;
use crate::size::KIB;
use crate::witness::comm::same_name;
use crate::witness::klog::LoggedOom;

use fields::Fields;

/// One log, as it is, as it was read, and as it was told live.
#[derive(Debug, Clone, Copy)]
pub struct Reading<'a> {
    /// Who read it, in a failure's words.
    pub who: &'static str,
    /// The lines that each oomtrace told.
    pub told: &'a [Vec<Value>],
    /// The lines that it came to.
    pub read: &'a [Value],
    /// The log.
    pub log: &'a [LoggedOom],
    /// The machine.
    pub machine: &'a Machine,
    /// Whether it may begin in the middle of a report: its beginning was overwritten, or it was marked while others were killed.
    pub cut: bool,
    /// Whether that was by the same log: then neither has a field that the other lacks.
    pub alike: bool,
    /// Why there may be kills in the log that no oomtrace told of.
    pub untraced: Option<&'a str>,
}

/// The runs of the OOM killer among lines.
fn incidents(lines: &[Value]) -> Vec<Incident> {
    let ooms = lines.iter().filter(|line| kind(line) == "oom").cloned();
    ooms.filter_map(|oom| Incident::from_json(oom).ok()).collect()
}

/// Threads that the kernel itself says it killed.
fn killed(incident: &Incident) -> BTreeSet<u64> {
    let victims = incident.fields.victims.iter().filter(|victim| victim.is_logged());
    victims.filter_map(|victim| victim.tid.or(victim.pid)).collect()
}

/// Whether both are about one run of the OOM killer: they share a victim, or both had none to choose, one trigger, one limit and, if
/// both have it, one record of the log: who gets nothing may ask again at once.
fn same(live: &Incident, imported: &Incident) -> bool {
    let (ours, theirs) = (killed(imported), killed(live));
    if !ours.is_empty() || !theirs.is_empty() {
        return ours.intersection(&theirs).next().is_some() && near(live, imported);
    }
    let record = |it: &Incident| it.json.get("kmsg_seq").and_then(Value::as_u64);
    let one_trigger =
        live.fields.trigger.tid.is_some() && live.fields.trigger.tid == imported.fields.trigger.tid;
    let one_record = record(live).zip(record(imported)).is_none_or(|(live, imported)| live == imported);
    one_trigger && one_record && asks_again(live, imported)
}

/// Whether both found nobody to kill at one limit, soon after each other: that is told live once a second.
fn asks_again(told: &Incident, again: &Incident) -> bool {
    let one_place = told.fields.outcome == again.fields.outcome && limited(told) == limited(again);
    killed(again).is_empty() && killed(told).is_empty() && one_place && near(told, again)
}

/// How far printk's clock may be from the trace's: it is not set right by the time server, and a slow console holds up what follows.
const CLOCKS_NS: u64 = 5_000_000_000;

/// Whether they are of one time, as far as it is known.
fn near(live: &Incident, imported: &Incident) -> bool {
    let both = live.fields.boot_ns.zip(imported.fields.boot_ns);
    both.is_none_or(|(live, imported)| live.abs_diff(imported) <= CLOCKS_NS)
}

/// Compares them. What is not in the log, since it was overwritten or held back, is nobody's to tell.
pub fn check(checks: &mut Checks, reading: Reading<'_>) {
    let who = reading.who;
    let imported = incidents(reading.read);
    let mut matched = BTreeSet::new();
    let mut fields = Fields::new(who, reading.machine);
    let told: Vec<_> = reading.told.iter().map(|lines| incidents(lines)).collect();
    let all = told.iter().flat_map(|told| (0..).zip(told).map(move |(at, live)| (told.get(..at), live)));
    for (earlier, live) in all {
        let draining = draining_bytes(earlier.unwrap_or_default(), live);
        let found: Vec<usize> =
            (0..).zip(&imported).filter(|(_, it)| same(live, it)).map(|(at, _)| at).collect();
        let logged = reading.log.iter().find(|oom| killed(live).iter().any(|tid| oom.killed(*tid).is_some()));
        if let (Some(logged), false) = (logged, killed(live).is_empty()) {
            checks.equal(
                &format!("{who}: incidents of a kill that was told live"),
                Some(found.len()),
                Some(1),
                &label(live),
            );
            let all: BTreeSet<u64> = logged.kills.iter().map(|kill| kill.pid).collect();
            for at in &found {
                let told = imported.get(*at).map(killed);
                checks.equal(&format!("{who}: killed threads"), told, Some(all.clone()), "the log");
            }
        }
        for at in found {
            let Some(imported) = imported.get(at) else { continue };
            matched.insert(at);
            fields.compare(checks, live, draining, imported);
        }
    }
    for logged in reading.log {
        figures(checks, who, &imported, logged);
    }
    let headless = |at: usize, it: &Incident| at == 0 && it.fields.trigger.tid.is_none();
    let is_cut = |at: usize, it: &Incident| reading.cut && headless(at, it);
    let is_again = |it: &Incident| {
        let same = |at: &usize| imported.get(*at).is_some_and(|told| asks_again(told, it));
        matched.iter().any(same)
    };
    let alone = (0..).zip(&imported).filter(|(at, _)| !matched.contains(at));
    let alone: Vec<_> = alone.filter(|(at, it)| !is_cut(*at, it) && !is_again(it)).collect();
    match reading.untraced {
        Some(why) => {
            checks.note(
                &format!("{who}: incidents that were not told live"),
                format!("{}: {why}", alone.len()),
            );
        }
        None => {
            for (_, alone) in alone {
                checks.fail(format!("{who}: told by nobody live: {}", label(alone)));
            }
        }
    }
    let headless = reading.log.iter().filter(|oom| oom.invoked.is_none() && !oom.kills.is_empty()).count();
    if headless > 0 {
        checks.note(&format!("{who}: runs whose header the kernel held back"), headless);
    }
    if reading.alike {
        fields.check_alike(checks);
    }
    fields.note(checks);
}

/// The cgroup at its limit.
fn limited(incident: &Incident) -> Option<&str> {
    incident.fields.scope.memcg.as_ref()?.path.as_deref()
}

/// What earlier victims of the same limit may still have been giving back, in bytes.
fn draining_bytes(earlier: &[Incident], live: &Incident) -> u64 {
    let of_it =
        earlier.iter().filter(|it| limited(it).is_some() && limited(it) == limited(live) && near(it, live));
    of_it.flat_map(|it| &it.fields.victims).filter_map(|victim| victim.rss_kernel.total_bytes).sum()
}

/// An incident in a failure's words.
fn label(incident: &Incident) -> String {
    let who: Vec<_> =
        incident.fields.victims.iter().map(|victim| (victim.tid, victim.comm.as_deref())).collect();
    let outcome = incident.fields.outcome.as_deref().unwrap_or("no outcome");
    format!("{outcome} of {who:?}, trigger {:?}", incident.fields.trigger.tid)
}

/// Checks each victim's figures against its line of the log, which they are read from.
fn figures(checks: &mut Checks, who: &str, imported: &[Incident], logged: &LoggedOom) {
    let mut seen = BTreeSet::new();
    // The first of a group has two lines.
    for kill in logged.kills.iter().filter(|kill| seen.insert(kill.pid)) {
        let of_it = |incident: &&Incident| killed(incident).contains(&kill.pid);
        let victims = imported.iter().filter(of_it).flat_map(|incident| &incident.fields.victims);
        let same_size = Some(kill.total_vm_kb * KIB);
        let mut victims = victims.filter(|victim| {
            victim.tid.or(victim.pid) == Some(kill.pid) && victim.total_vm_bytes == same_size
        });
        let Some(victim) = victims.next() else {
            checks.fail(format!(
                "{who}: nothing of the kill of {} ({}), of {} kB",
                kill.pid,
                kill.comm.escape_ascii(),
                kill.total_vm_kb
            ));
            continue;
        };
        let rss = &victim.rss_kernel;
        let total_kb = kill.anon_rss_kb + kill.file_rss_kb + kill.shmem_rss_kb;
        for (what, ours, logged_kb) in [
            ("pgtables_bytes", victim.pgtables_bytes, kill.pgtables_kb),
            ("rss_kernel.anon_bytes", rss.anon_bytes, kill.anon_rss_kb),
            ("rss_kernel.file_bytes", rss.file_bytes, kill.file_rss_kb),
            ("rss_kernel.shmem_bytes", rss.shmem_bytes, kill.shmem_rss_kb),
            ("rss_kernel.total_bytes", rss.total_bytes, total_kb),
        ] {
            checks.equal(&format!("{who}: {what} of {}", kill.pid), ours, Some(logged_kb * KIB), "the log");
        }
        checks.equal(&format!("{who}: uid of {}", kill.pid), victim.uid, Some(kill.uid), "the log");
        let adj = victim.oom_score_adj;
        checks.equal(
            &format!("{who}: oom_score_adj of {}", kill.pid),
            adj,
            Some(kill.oom_score_adj),
            "the log",
        );
        checks.that(victim.comm.as_deref().is_some_and(|comm| same_name(comm, &kill.comm)), || {
            format!(
                "{who}: comm of {} is {:?}, the log says {}",
                kill.pid,
                victim.comm,
                kill.comm.escape_ascii()
            )
        });
    }
}
