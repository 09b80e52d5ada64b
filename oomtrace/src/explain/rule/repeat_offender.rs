//! The same dies again and again.

use super::{super::finding::Fix, Case, Conclusion, Rule};
use crate::{host::node::Node, text::printable, words::duration};

pub const RULE: Rule = Rule {
    incident: Some(holds),
    node: Some(of_node),
    ..Rule::new("repeat-offender", include_str!("../../../docs/findings/repeat-offender.md"))
};

/// From here on it is no accident.
const OFTEN: u64 = 3;

fn holds(case: &Case<'_>) -> Option<Conclusion> {
    let times = case.times.filter(|times| times.count >= OFTEN)?;
    let told = Conclusion::warning(format!(
        "{} has been killed for memory {} times within {}: it does not get by with what it has, and is started anew all the same",
        times.who,
        times.count,
        duration(times.window_ns)
    ))
    .with("who", times.who.as_str())
    .with("kills", times.count)
    .with("window_ns", times.window_ns);
    Some(told.fix(compare()))
}

/// Groups in which something was killed again and again since they were made.
fn of_node(node: &Node) -> Vec<Conclusion> {
    let told = node.groups.iter().filter_map(|group| {
        let kills = group.memory.as_ref()?.oom_kills;
        (kills >= OFTEN).then(|| {
            Conclusion::notice(format!(
                "{kills} processes of {} have been killed for memory since it was made",
                printable(&group.path)
            ))
            .with("cgroup", group.path.as_str())
            .with("kills", kills)
            .fix(compare())
        })
    });
    told.collect()
}

fn compare() -> Fix {
    Fix::advice(
        "compare its kills: if it dies after about the same time each run, it leaks; if it dies while it starts, or under load, the limit \
         is too small for it",
        "none",
    )
}

#[cfg(test)]
mod tests {
    use super::super::super::{Explainer, tests::memcg_in};
    use crate::incident::Event;

    fn ids(explainer: &mut Explainer, path: &str, seconds: u64) -> Vec<&'static str> {
        let mut incident = memcg_in(path);
        incident.common.boot_ns = Some(seconds * 1_000_000_000);
        let mut event = Event::Closed(Box::new(incident));
        explainer.complete(&mut event, None);
        let Event::Closed(incident) = event else { panic!("another event") };
        incident.findings.iter().map(|finding| finding.id).collect()
    }

    /// Guards the third time within an hour, against the second, another one's, and one long after.
    #[test]
    fn three_times_are_no_accident() {
        let mut explainer = Explainer::default();
        for (path, seconds, repeated) in
            [("/a", 1, false), ("/a", 60, false), ("/b", 61, false), ("/a", 120, true), ("/a", 9000, false)]
        {
            let expected: &[_] =
                if repeated { &["memcg-limit", "repeat-offender"] } else { &["memcg-limit"] };
            assert_eq!(ids(&mut explainer, path, seconds), expected, "{path} {seconds}");
        }
    }
}
