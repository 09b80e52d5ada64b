//! What `oomtrace history --json` knows of the machine's starts.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::checks::Checks;

/// The units that exceed their limit: before the agent is there, and while it traces.
const KILLED: [&str; 2] = ["oom-before-agent.service", "oom-after-agent.service"];

/// The incidents in it.
#[derive(Debug)]
pub struct History(Vec<Value>);

impl History {
    /// Reads lines of JSON.
    pub fn parse(text: &str) -> Result<Self> {
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        let objects = lines.map(|line| {
            serde_json::from_str::<Value>(line)
                .with_context(|| format!("a line of the history is no JSON: {line}"))
        });
        let objects = objects.collect::<Result<Vec<_>>>()?;
        Ok(Self(objects.into_iter().filter(|object| object["type"] == "oom").collect()))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it has what the units came to.
    #[must_use]
    pub fn has_both_kills(&self) -> bool {
        KILLED.iter().all(|unit| self.of(unit).next().is_some())
    }

    /// Whether it has a panic.
    #[must_use]
    pub fn has_panic(&self) -> bool {
        self.panics().next().is_some()
    }

    fn of(&self, unit: &str) -> impl Iterator<Item = &Value> {
        self.0.iter().filter(move |incident| {
            incident["scope"]["memcg"]["path"]
                .as_str()
                .is_some_and(|path| path.ends_with(&format!("/{unit}")))
        })
    }

    fn panics(&self) -> impl Iterator<Item = &Value> {
        self.0.iter().filter(|incident| incident["outcome"] == "panic")
    }

    /// Each unit's process was killed, and is told of once.
    pub fn judge_kills(&self, checks: &mut Checks) {
        for unit in KILLED {
            let incidents: Vec<_> = self.of(unit).collect();
            checks.that(incidents.len() == 1, || {
                format!("the history has {} incidents in {unit}: {}", incidents.len(), self.told())
            });
            for incident in incidents {
                let victim = &incident["victims"][0];
                checks.equal("the victim's comm", victim["comm"].as_str(), Some("tail"), unit);
                checks.equal("the outcome", incident["outcome"].as_str(), Some("killed"), unit);
            }
        }
    }

    /// What the agent saw itself lacks nothing for want of rights or of files that the unit hides.
    pub fn judge_sight(&self, checks: &mut Checks) {
        let live = self.0.iter().filter(|incident| incident["source"] == "ebpf");
        let mut count = 0;
        for incident in live {
            count += 1;
            for field in
                ["victims[0].rss_kernel", "victims[0].cmdline", "scope.constraint", "trigger.gfp_mask"]
            {
                let reason = &incident["missing"][field];
                checks.that(reason.is_null(), || format!("{field} is missing: {reason}"));
            }
        }
        checks.that(count > 0, || "the agent saw no kill itself".to_owned());
    }

    /// The panic is told of once, as the machine's own, and nothing is told of beside.
    pub fn judge_panic(&self, checks: &mut Checks) {
        let panics: Vec<_> = self.panics().collect();
        checks
            .that(panics.len() == 1, || format!("the history has {} panics: {}", panics.len(), self.told()));
        for panic in panics {
            checks.equal("the panic's scope", panic["scope"]["kind"].as_str(), Some("global"), "this test");
        }
        let expected = KILLED.len() + 1;
        checks.that(self.0.len() == expected, || {
            format!("the history has {} incidents in place of {expected}: {}", self.0.len(), self.told())
        });
    }

    /// Where each is known from, in order.
    #[must_use]
    pub fn sources(&self) -> Vec<Value> {
        self.0.iter().map(|incident| incident["source"].clone()).collect()
    }

    fn told(&self) -> String {
        let one = |incident: &Value| {
            let [time, outcome, source] = ["time", "outcome", "source"].map(|name| &incident[name]);
            let scope = &incident["scope"];
            format!("{time} {outcome} from {source} in {} {}", scope["kind"], scope["memcg"]["path"])
        };
        self.0.iter().map(one).collect::<Vec<_>>().join("; ")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn history(incidents: &[Value]) -> History {
        let lines: Vec<_> = incidents.iter().map(ToString::to_string).collect();
        History::parse(&lines.join("\n")).unwrap()
    }

    fn kill(unit: &str) -> Value {
        json!({"type": "oom", "outcome": "killed", "victims": [{"comm": "tail"}],
            "scope": {"kind": "memcg", "memcg": {"path": format!("/system.slice/{unit}")}}})
    }

    /// Guards "exactly once": one too few, and the same from two sources, are failures.
    #[test]
    fn each_incident_is_there_once() {
        let panic = json!({"type": "oom", "outcome": "panic", "scope": {"kind": "global"}});
        let all = [kill(KILLED[0]), kill(KILLED[1]), panic, json!({"type": "relief"})];
        let failures = |history: &History| {
            let mut checks = Checks::default();
            history.judge_kills(&mut checks);
            history.judge_panic(&mut checks);
            checks.failures().len()
        };
        assert!(history(&all).has_both_kills() && history(&all).has_panic());
        assert_eq!(failures(&history(&all)), 0);
        for place in 0..3 {
            let mut less = all.to_vec();
            let one = less.remove(place);
            assert!(failures(&history(&less)) > 0, "{one}");
            let twice = [all.to_vec(), vec![one]].concat();
            assert!(failures(&history(&twice)) > 0);
        }
        assert!(!history(&all[..1]).has_both_kills() && !history(&all[..2]).has_panic());
        assert!(History::parse("no JSON").is_err());
    }
}
