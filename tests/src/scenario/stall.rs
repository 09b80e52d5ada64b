//! How long a thread reclaims in vain before it runs the OOM killer.

use std::fs;

use anyhow::{Context, Result};

use super::{Needs, Scenario};
use crate::compare::Expected;
use crate::eat::{Eat, word};
use crate::ftrace::{Event, Trace};
use crate::incident::Stall;
use crate::machine::Pace;
use crate::size::MIB;
use crate::stage::Stage;
use crate::witness::cgroup::{Cgroup, Version};

/// Guards the stall: it is the trigger's, not the victim's, no round is missed or counted twice, and the time is that
/// inside the rounds.
pub const SCENARIO: Scenario = Scenario {
    name: "stall",
    guards: "rounds of reclaim and the time in them before a kill are those that the kernel's trace has of the trigger",
    needs: Needs::Memcg,
    kills: 2,
    once: true,
    run,
};

/// The cgroup's limit in bytes.
const LIMIT: u64 = 48 * MIB;
/// Rounds with more than this between them belong to different stalls, in ns.
const APART_NS: u64 = 100_000_000;
/// How far the durations may be apart in any case, in ns: both sources note the time at each end of each round, one
/// after the other.
const APART_EACH_NS: u64 = 1_000_000;
/// How far they may be apart for each round where processors are emulated, in ns: one may stand still between one
/// source's look at the clock and the other's. A round takes about as long there.
const APART_EMULATED_NS: u64 = 1_000_000;

/// How far they may be apart where time is exact, in ns. 18 rounds were at most 8,000 apart, of 700,000 and more; the
/// kernel's trace has microseconds, and an interrupt may come in between.
const APART_EXACT_NS: u64 = 100_000;

/// What is traced.
const EVENTS: [&str; 5] = [
    "vmscan/mm_vmscan_direct_reclaim_begin",
    "vmscan/mm_vmscan_direct_reclaim_end",
    "vmscan/mm_vmscan_memcg_reclaim_begin",
    "vmscan/mm_vmscan_memcg_reclaim_end",
    "oom/mark_victim",
];

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let trace = match Trace::record(&EVENTS) {
        Ok(trace) => trace,
        Err(error) => {
            stage.skipped = Some(format!("the kernel's trace of reclaim cannot be had: {error:#}"));
            return Ok(());
        }
    };
    let tree = stage.tree()?;
    let group = tree.group("stalled")?;
    group.set_limit(LIMIT)?;
    let sleeper = Eat { anon: 28 * MIB, ..Eat::default() };
    let asker = Eat { anon: 24 * MIB, adj: Some(1), ..Eat::default() };
    let mut big = stage.eater("stall-sleeper", &sleeper, Some(&group))?;
    let mut small = stage.eater("stall-asker", &asker, Some(&group))?;
    big.fill_and_hold(stage.deadline)?;

    let watch = stage.watch(&[])?;
    reclaim_in_vain(&group)?;
    small.order(word::FILL)?;
    big.killed(stage.deadline)?;
    let survived = small.survived(stage.deadline)?;
    let expected = Expected::kills(&big.facts, &small.facts, survived, &group, LIMIT);
    let seen = stage.finish(watch, &expected)?;
    let text = trace.text()?;
    stage.keep_text("trace", &text)?;

    stage.judge(&seen, &expected, &[&big.facts, &small.facts]);
    for victim in [&big.facts, &small.facts].into_iter().take(expected.len()) {
        let traced = stall(&text, small.pid(), victim.pid());
        let checks = &mut stage.checks;
        checks.that(traced.is_some(), || {
            format!("the kernel's trace does not have {} mark {}", small.facts.label(), victim.label())
        });
        let (Some(traced), Some(output)) = (traced, &seen.traced) else { continue };
        let ours = output.incident_of(victim.pid()).and_then(|incident| incident.fields.stall);
        let (rounds, duration) = (ours.map(|stall| stall.rounds), ours.map(|stall| stall.duration_ns));
        let reason =
            output.incident_of(victim.pid()).and_then(|incident| incident.fields.missing.get("stall"));
        if stage.machine.misses_events() && ours.is_none() && reason.is_some() {
            checks.note("part of it went unseen, rounds", traced.rounds);
            continue;
        }
        checks.equal("stall.rounds", rounds, Some(traced.rounds), "the kernel's trace");
        let apart = match stage.machine.pace() {
            Pace::Real => APART_EACH_NS,
            Pace::Emulated => APART_EACH_NS.max(APART_EMULATED_NS * traced.rounds),
            Pace::Exact => APART_EXACT_NS,
        };
        // Where tracepoints can be preempted another thread may run between the one source's look at the clock and the other's: the
        // round is as long as that for one of them.
        let preempted = if stage.machine.misses_events() { longest_round_ns(&text, small.pid()) } else { 0 };
        let bound = apart.max(traced.duration_ns / 20) + preempted;
        checks.within("stall.duration_ns", duration, Some(traced.duration_ns), bound, "the kernel's trace");
    }
    let first = stall(&text, small.pid(), big.pid());
    stage.checks.that(first.is_some_and(|stall| stall.rounds > 0), || {
        "the kernel's trace has no round of reclaim before the kill: the scenario proves nothing".to_owned()
    });
    stage.checks.note("rounds by the kernel's trace", first.map(|stall| stall.rounds));
    stage.checks.note("duration by the kernel's trace, ns", first.map(|stall| stall.duration_ns));
    Ok(())
}

/// Has this thread reclaim a cgroup's memory, none of which can be had, without an OOM. What the tracepoints run is
/// then warm: an emulator takes milliseconds to translate it, between one source's look at the clock and the other's.
fn reclaim_in_vain(group: &Cgroup) -> Result<()> {
    let writes: &[(&str, &str)] = match group.version() {
        Version::V1 => &[("memory.force_empty", "0")],
        Version::V2 => &[("memory.high", "0"), ("memory.high", "max")],
    };
    let dir = group.dir().context("the cgroup has no folder")?;
    for (file, value) in writes {
        fs::write(dir.join(file), value).with_context(|| format!("cannot write {value} to {file}"))?;
    }
    Ok(())
}

/// What thread `tid` reclaimed before it marked `victim`: since it marked another, or paused. None without the mark.
fn stall(trace: &str, tid: u64, victim: u64) -> Option<Stall> {
    let names = EVENTS.map(|event| event.rsplit('/').next().unwrap_or(event));
    let mut stall = Stall::default();
    let (mut begun_ns, mut seen_ns) = (None, 0);
    let events = trace.lines().filter_map(|line| Event::read(line, &names));
    for event in events.filter(|event| event.tid == tid) {
        if event.name == "mark_victim" {
            if event.number("pid") == Some(victim) {
                return Some(stall);
            }
            stall = Stall::default();
        } else if event.name.ends_with("_begin") {
            if event.at_ns.saturating_sub(seen_ns) > APART_NS {
                stall = Stall::default();
            }
            begun_ns = Some(event.at_ns);
            seen_ns = event.at_ns;
        } else if let Some(begun_ns) = begun_ns.take() {
            stall.rounds += 1;
            stall.duration_ns += event.at_ns.saturating_sub(begun_ns);
            seen_ns = event.at_ns;
        }
    }
    None
}

/// The longest of that thread's rounds.
fn longest_round_ns(trace: &str, tid: u64) -> u64 {
    let names = EVENTS.map(|event| event.rsplit('/').next().unwrap_or(event));
    let events = trace.lines().filter_map(|line| Event::read(line, &names)).filter(|event| event.tid == tid);
    let (mut begun_ns, mut longest_ns) = (None, 0);
    for event in events {
        if event.name.ends_with("_begin") {
            begun_ns = Some(event.at_ns);
        } else if let Some(begun_ns) = begun_ns.take() {
            longest_ns = longest_ns.max(event.at_ns.saturating_sub(begun_ns));
        }
    }
    longest_ns
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rounds of 7 ms and 5 ms, a pause of 100 ms exactly and one of a little more, as 7.2 tells of them.
    fn trace(pause: &str) -> String {
        let begin =
            "mm_vmscan_memcg_reclaim_begin: order=0 gfp_flags=GFP_HIGHUSER_MOVABLE pid=9 memcg_id=361 ";
        let end = "mm_vmscan_memcg_reclaim_end: nr_reclaimed=0 pid=9 memcg_id=361 ";
        let mark = "mark_victim: pid=8 comm=stall-sleeper total-vm=42504kB anon-rss=29184kB";
        [
            ("9", "18.000000", begin),
            ("9", "18.007000", end),
            ("7", "18.008000", begin),
            ("9", pause, begin),
            ("7", "18.110000", end),
            ("9", "18.112001", end),
            ("9", "18.113000", mark),
            ("9", "18.113001", end),
            ("9", "18.114000", begin),
            ("9", "18.115000", end),
            ("9", "18.116000", "mark_victim: pid=9 comm=stall-asker total-vm=42504kB anon-rss=29184kB"),
        ]
        .map(|(tid, at, said)| format!("     stall-asker-{tid}     [000] .l...    {at}: {said}\n"))
        .concat()
    }

    /// Guards the witness: another thread's rounds, an end without a beginning and what came before another mark or a
    /// pause do not count.
    #[test]
    fn counts_a_threads_rounds() {
        let of = |rounds, duration_ns| Some(Stall { rounds, duration_ns });
        assert_eq!(stall(&trace("18.107000"), 9, 8), of(2, 12_001_000));
        assert_eq!(stall(&trace("18.107001"), 9, 8), of(1, 5_000_000));
        assert_eq!(stall(&trace("18.107001"), 9, 9), of(1, 1_000_000));
        assert_eq!(stall(&trace("18.107001"), 7, 8), None);
        assert_eq!(stall("", 9, 8), None);
        assert_eq!(longest_round_ns(&trace("18.107001"), 9), 7_000_000);
        assert_eq!(longest_round_ns("", 9), 0);
    }
}
