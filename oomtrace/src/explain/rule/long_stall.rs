//! Programs waited long before something was killed.

use super::{super::finding::Fix, Case, Conclusion, Rule};
use crate::{host::node::Node, words::duration};

pub const RULE: Rule = Rule {
    incident: Some(holds),
    node: Some(|node| of_node(node).into_iter().collect()),
    ..Rule::new("long-stall", include_str!("../../../docs/findings/long-stall.md"))
};

/// From here on people notice.
const LONG_NS: u64 = 1_000_000_000;

fn holds(case: &Case<'_>) -> Option<Conclusion> {
    let stall = case.incident.stall.filter(|stall| stall.duration_ns >= LONG_NS)?;
    let told = Conclusion::warning(format!(
        "whoever asked for memory waited {} before the kernel killed, and everybody else who asked likely did, too",
        duration(stall.duration_ns)
    ))
    .with("stall_ns", stall.duration_ns)
    .with("rounds", stall.rounds);
    let fix = if case.nodes_ran_out() {
        kill_earlier()
    } else {
        Fix::advice(
            "set memory.high (MemoryHigh=) below the limit and watch memory.pressure of the group: it shows before it hurts",
            "the group is slowed down from there on",
        )
    };
    Some(told.fix(fix))
}

/// Share of a minute in which everybody waited, in hundredths of a percent, from which on people notice.
const PRESSED: u32 = 1000;

/// Before anything was killed: everybody waits for memory now.
fn of_node(node: &Node) -> Option<Conclusion> {
    let pressure = node.pressure.filter(|pressure| pressure.full_minute >= PRESSED)?;
    let told = Conclusion::warning(format!(
        "all programs waited for memory in {} % of the last minute: the machine is slow, and may be for long before anything is killed",
        pressure.full_minute / 100
    ))
    .with("full_minute_hundredths_percent", pressure.full_minute)
    .with("full_five_minutes_hundredths_percent", pressure.full_five_minutes);
    Some(told.fix(kill_earlier()))
}

fn kill_earlier() -> Fix {
    Fix::advice(
        "have systemd-oomd or earlyoom kill earlier, by pressure (PSI) or by what is free; less swap, or faster one, shortens it, too",
        "they kill where the kernel might have gone on",
    )
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{global, ids, memcg};
    use crate::incident::Stall;

    /// Guards a second or more against less, and a stall that is not known.
    #[test]
    fn a_second_is_long() {
        for (mut incident, first) in [(memcg(), "memcg-limit"), (global(), "node-exhausted")] {
            incident.stall = Some(Stall { rounds: 9, duration_ns: 1_000_000_000 });
            assert_eq!(ids(&incident), [first, "long-stall"]);
            incident.stall = Some(Stall { rounds: 9, duration_ns: 999_999_999 });
            assert_eq!(ids(&incident), [first]);
        }
    }
}
