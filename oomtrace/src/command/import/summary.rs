//! What a log had in all: who died, where, what ran out; the first and the last.

use std::collections::HashMap;

use jiff::tz::TimeZone;

use crate::{
    incident::{Incident, ScopeKind, WallTime},
    text::printable,
};

/// Names that are told of each kind.
const TOLD: usize = 5;
/// Names that are counted, at most: what comes later is counted together.
const NAMES: usize = 10_000;

/// See the module.
#[derive(Debug, Default)]
pub struct Summary {
    victims: Counts,
    places: Counts,
    causes: Counts,
    /// Incidents without a time are in neither.
    first: Option<WallTime>,
    last: Option<WallTime>,
}

/// How often each.
#[derive(Debug, Default)]
struct Counts(HashMap<String, u64>);

impl Summary {
    /// Takes in what is shown.
    pub fn note(&mut self, incident: &Incident) {
        for victim in &incident.victims {
            self.victims.add(victim.comm.as_deref().unwrap_or("?"));
        }
        self.causes.add(cause(incident));
        let place = incident.victims.first().map(|victim| &victim.place);
        let limited = incident.scope.memcg.as_ref().and_then(|memcg| memcg.path.as_deref());
        if let Some(place) = place.and_then(|place| place.cgroup.as_deref()).or(limited) {
            self.places.add(place);
        }
        if let Some(time) = incident.common.time {
            if self.first.is_none_or(|first| time.0 < first.0) {
                self.first = Some(time);
            }
            if self.last.is_none_or(|last| time.0 > last.0) {
                self.last = Some(time);
            }
        }
    }

    /// Lines for people, none if there was nothing.
    pub fn lines(&self, zone: &TimeZone) -> Vec<String> {
        let mut lines = Vec::new();
        let say = |time: WallTime| time.0.to_zoned(zone.clone()).strftime("%F %T %:z").to_string();
        if let (Some(first), Some(last)) = (self.first, self.last) {
            lines.push(format!("first {}, last {}", say(first), say(last)));
        }
        for (label, counts) in
            [("victims", &self.victims), ("causes", &self.causes), ("cgroups", &self.places)]
        {
            if let Some(line) = counts.line() {
                lines.push(format!("{label}: {line}"));
            }
        }
        lines
    }
}

/// What ran out, in a few words.
fn cause(incident: &Incident) -> &'static str {
    match incident.scope.kind {
        Some(ScopeKind::Global) => "the machine's memory",
        Some(ScopeKind::Memcg) => "a memory cgroup's limit",
        Some(ScopeKind::Cpuset) => "a cpuset's nodes",
        Some(ScopeKind::Mempolicy) => "a memory policy's nodes",
        None => "not known",
    }
}

impl Counts {
    fn add(&mut self, name: &str) {
        let name = if self.0.len() < NAMES || self.0.contains_key(name) { name } else { "others" };
        let count = self.0.entry(name.to_owned()).or_default();
        *count = count.saturating_add(1);
    }

    fn line(&self) -> Option<String> {
        let mut counts: Vec<_> = self.0.iter().collect();
        counts.sort_by(|(one, many), (other, more)| more.cmp(many).then_with(|| one.cmp(other)));
        let told: Vec<_> =
            counts.iter().take(TOLD).map(|(name, count)| format!("{} {count}", printable(name))).collect();
        let more = counts.len().saturating_sub(TOLD);
        let rest = if more > 0 { format!(", and {more} more") } else { String::new() };
        (!told.is_empty()).then(|| format!("{}{rest}", told.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::tests::memcg;

    /// Guards what people read first: the most frequent first, hostile names escaped, and times in order whatever the order of
    /// the logs.
    #[test]
    fn most_frequent_first() {
        let mut summary = Summary::default();
        assert!(summary.lines(&TimeZone::UTC).is_empty());
        for (seconds, comm) in [(200, "java"), (100, "java"), (300, "a\u{1b}[2J")] {
            let mut incident = memcg();
            incident.victims[0].comm = Some(comm.to_owned());
            incident.common.time = Some(WallTime::from_ns(seconds * 1_000_000_000));
            summary.note(&incident);
        }
        let lines = summary.lines(&TimeZone::UTC);
        assert_eq!(lines[0], "first 1970-01-01 00:01:40 +00:00, last 1970-01-01 00:05:00 +00:00");
        assert_eq!(lines[1], "victims: java 2, a\\u{1b}[2J 1");
        assert_eq!(lines[2], "causes: a memory cgroup's limit 3");
    }
}
