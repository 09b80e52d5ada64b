//! How long it takes until a victim has ended, and until its memory is free.

use anyhow::{Context, Result};
use serde_json::Value;

use super::{Needs, Scenario};
use crate::compare::Expected;
use crate::eat::{Eat, word};
use crate::ftrace::{Event, Trace};
use crate::incident::kind;
use crate::machine::Pace;
use crate::size::MIB;
use crate::stage::Stage;
use crate::tracer::Tracer;
use crate::watch::read;

/// Guards the relief: each victim's own, told once, at the times that the kernel's trace has.
pub const SCENARIO: Scenario = Scenario {
    name: "relief",
    guards: "victims end and their memory is freed when the kernel's trace says that they do",
    needs: Needs::Memcg,
    kills: 3,
    once: false,
    run,
};

/// What is traced.
const MARK: &str = "mark_victim";
const EXIT: &str = "sched_process_exit";
const EXIT_MMAP: &str = "exit_mmap";
/// How far the times may be apart in any case, in ns: both sources look at the clock one after the other.
const APART_NS: u64 = 1_000_000;
/// The same where processors are emulated, on a host that has fewer: one may stand still in between.
const APART_EMULATED_NS: u64 = 20_000_000;
/// The same where time is exact. They were at most 19,000 apart, after 2,000,000 and more; an interrupt may come in between.
const APART_EXACT_NS: u64 = 100_000;
/// With tracepoints only, the mark is the first that tells of a victim. One that has ended this soon after it, in ns, may
/// have been too quick.
const QUICK_NS: u64 = 100_000;

fn run(stage: &mut Stage<'_>) -> Result<()> {
    // 5.10 has no such tracepoint as the last.
    let events = ["oom/mark_victim", "sched/sched_process_exit", "mmap/exit_mmap"];
    let trace =
        match Trace::record(&events).or_else(|_| Trace::record(events.split_last().map_or(&[], |it| it.1))) {
            Ok(trace) => trace,
            Err(error) => {
                stage.skipped = Some(format!("the kernel's trace of processes cannot be had: {error:#}"));
                return Ok(());
            }
        };
    let tree = stage.tree()?;
    let group = tree.group("relieved")?;
    group.set_limit(48 * MIB)?;
    let mut members = Vec::new();
    if stage.machine.unified() {
        group.set_oom_group()?;
        for (name, megabytes) in [("relieved-one", 3), ("relieved-two", 5)] {
            let mut member =
                stage.eater(name, &Eat { anon: megabytes * MIB, ..Eat::default() }, Some(&group))?;
            member.fill_and_hold(stage.deadline)?;
            members.push(member);
        }
    }
    let mut chosen =
        stage.eater("relieved-chosen", &Eat { anon: 64 * MIB, ..Eat::default() }, Some(&group))?;
    let first_group = tree.group("before")?;
    first_group.set_limit(24 * MIB)?;
    let mut first =
        stage.eater("relieved-before", &Eat { anon: 40 * MIB, ..Eat::default() }, Some(&first_group))?;
    // By itself: it is to be heard until the relief.
    let mut oomtrace = stage.tracer(&["--json"])?;

    let watch = crate::watch::Watch::begin(None, &[], stage.deadline)?;
    // Another one before: an emulator takes milliseconds to translate what runs for the first time, between one source's
    // look at the clock and the other's.
    first.order(word::FILL)?;
    first.killed(stage.deadline)?;
    if let Some(oomtrace) = &mut oomtrace {
        await_reliefs(oomtrace, 1, stage);
    }
    chosen.order(word::FILL)?;
    chosen.killed(stage.deadline)?;
    for member in &mut members {
        member.killed(stage.deadline)?;
    }
    let victims: Vec<_> = std::iter::once(&chosen).chain(&members).map(|member| &member.facts).collect();
    let expected = [
        Expected::kill(&first.facts, &first.facts, &first_group),
        Expected { victims: victims.clone(), ..Expected::kill(&chosen.facts, &chosen.facts, &group) },
    ];
    let pids: Vec<_> = victims.iter().map(|victim| victim.pid()).collect();
    let killed: Vec<_> = std::iter::once(first.pid()).chain(pids.iter().copied()).collect();
    let mut seen = watch.finish(&killed, stage.deadline)?;
    if let Some(mut oomtrace) = oomtrace {
        await_reliefs(&mut oomtrace, 2, stage);
        seen.traced = Some(read(oomtrace.stop(stage.deadline)?)?);
    }
    let text = trace.text()?;
    stage.keep_text("trace", &text)?;
    if let Some(traced) = &seen.traced {
        stage.keep_output("oomtrace", &traced.output)?;
    }
    stage.judge(&seen, &expected, &victims);

    let Some(traced) = &seen.traced else { return Ok(()) };
    let reliefs: Vec<_> = traced.objects.iter().filter(|object| kind(object) == "relief").collect();
    stage.checks.equal("reliefs", Some(reliefs.len()), Some(expected.len()), "the scenario");
    let incident = traced.incident_of(chosen.pid()).context("oomtrace does not report the kill")?;
    let id = |relief: &&&Value| relief.get("id").and_then(Value::as_str) == incident.fields.id.as_deref();
    let relief = reliefs.iter().find(id).context("no relief has the incident's id")?;
    let told = relief.get("victims").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    stage.checks.equal("victims relieved", Some(told.len()), Some(pids.len()), "the scenario");
    for (index, pid) in pids.into_iter().enumerate() {
        let times =
            Times::of(&text, pid).with_context(|| format!("the kernel's trace does not tell of {pid}"))?;
        let figures = told.iter().find(|told| told.get("pid").and_then(Value::as_u64) == Some(pid));
        let quick = incident.fields.tier.as_deref() == Some("tracepoint") && times.exited_ns < QUICK_NS;
        Told { pid, figures, index, missing: relief.get("missing"), quick }.compare(stage, times);
    }
    Ok(())
}

/// What was told of a victim's end.
struct Told<'a> {
    pid: u64,
    figures: Option<&'a Value>,
    /// Its place among the victims, and why a figure of one of them is missing.
    index: usize,
    missing: Option<&'a Value>,
    /// Whether it may have ended before it was known for a victim.
    quick: bool,
}

impl Told<'_> {
    /// Compares it with when things happened by the kernel's trace.
    fn compare(&self, stage: &mut Stage<'_>, times: Times) {
        let bound = match stage.machine.pace() {
            Pace::Real => APART_NS,
            Pace::Emulated => APART_EMULATED_NS,
            Pace::Exact => APART_EXACT_NS,
        };
        let (pid, checks) = (self.pid, &mut stage.checks);
        for (name, actual) in [("exited_ns", Some(times.exited_ns)), ("freed_ns", times.freed_ns)] {
            let Some(actual) = actual else { continue };
            let ours = self.figure(name);
            let unseen = stage.machine.misses_events() || (self.quick && name == "exited_ns");
            if unseen && ours.is_none() && self.is_excused(name) {
                checks.note(&format!("{name} of {pid} went unseen; it was"), actual);
            } else {
                let bound = bound.max(actual / 20);
                checks.within(&format!("{name} of {pid}"), ours, Some(actual), bound, "the kernel's trace");
            }
        }
        if times.freed_ns.is_none() {
            // Before it ended, on the kernels whose trace does not tell.
            let freed = self.figure("freed_ns");
            checks.that(freed.is_some_and(|ns| ns <= times.exited_ns + bound), || {
                format!("{pid} is said to be free after {freed:?} ns, and ended after {} ns", times.exited_ns)
            });
        }
        checks.note(&format!("{pid} ended after, ns"), times.exited_ns);
    }

    fn figure(&self, name: &str) -> Option<u64> {
        self.figures?.get(name)?.as_u64()
    }

    /// Whether a figure's absence has a reason.
    fn is_excused(&self, name: &str) -> bool {
        self.missing.is_some_and(|missing| missing.get(format!("victims[{}].{name}", self.index)).is_some())
    }
}

/// Waits for so many reliefs' lines. That they do not come is found by the comparison.
fn await_reliefs(tracer: &mut Tracer, count: usize, stage: &Stage<'_>) {
    let is_relief =
        |line: &Vec<u8>| crate::incident::object(line).is_ok_and(|object| kind(&object) == "relief");
    let patience = stage.deadline.or_after(std::time::Duration::from_secs(40));
    let _absent_is_found_by_the_comparison = tracer
        .until(patience, "a relief", |lines| lines.iter().filter(|line| is_relief(line)).count() >= count);
}

/// When things happened to a process of one thread, in ns since its mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Times {
    exited_ns: u64,
    /// None where the kernel's trace does not tell.
    freed_ns: Option<u64>,
}

impl Times {
    /// Those of a process in a trace.
    fn of(trace: &str, pid: u64) -> Option<Self> {
        let events: Vec<_> =
            trace.lines().filter_map(|line| Event::read(line, &[MARK, EXIT, EXIT_MMAP])).collect();
        let marked = events.iter().find(|event| event.name == MARK && event.number("pid") == Some(pid))?;
        let first = |name: &str, from_ns: u64| {
            let of = |event: &&Event<'_>| event.name == name && event.tid == pid && event.at_ns >= from_ns;
            events.iter().find(of).map(|event| event.at_ns.saturating_sub(marked.at_ns))
        };
        // The signal comes before the mark, and may be quicker. An exec calls exit_mmap() too, but not after the mark.
        Some(Self { exited_ns: first(EXIT, 0)?, freed_ns: first(EXIT_MMAP, marked.at_ns) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the witness: a process's own times, from its mark on.
    #[test]
    fn finds_a_processs_times() {
        let line =
            |tid: u64, at: &str, said: &str| format!("     eater-{tid}     [000] .....    {at}: {said}\n");
        let trace = [
            line(9, "1.000000", "exit_mmap: mt_mod 0000, DESTROY"),
            line(7, "2.000000", "mark_victim: pid=9 comm=eater total-vm=42504kB"),
            line(8, "2.000100", "exit_mmap: mt_mod 0000, DESTROY"),
            line(9, "2.001000", "sched_process_exit: comm=eater pid=9 prio=120 group_dead=true"),
            line(9, "2.003000", "exit_mmap: mt_mod 0000, DESTROY"),
        ];
        let of = |lines: &[String]| Times::of(&lines.concat(), 9);
        assert_eq!(of(&trace), Some(Times { exited_ns: 1_000_000, freed_ns: Some(3_000_000) }));
        assert_eq!(of(&trace[..4]), Some(Times { exited_ns: 1_000_000, freed_ns: None }));
        assert_eq!(of(&trace[..3]), None);
        assert_eq!(Times::of(&trace.concat(), 8), None);
    }
}
