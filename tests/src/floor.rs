//! The floor: the least that each tier must deliver, from the checked-in table `floor.json`.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::checks::Checks;
use crate::incident::Incident;

/// The table, compiled in because the guests that run the scenarios have no checkout.
const TABLE: &str = include_str!("../floor.json");

/// The whole table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Floor {
    #[serde(rename = "about")]
    _about: String,
    rules: Vec<Rule>,
}

/// Fields that must be there under some conditions.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    tiers: BTreeSet<String>,
    scopes: Option<BTreeSet<String>>,
    #[serde(default)]
    except_kernels: Vec<String>,
    /// By tier: causes for which that tier owes nothing of it.
    #[serde(default)]
    except_causes: BTreeMap<String, Vec<String>>,
    fields: Vec<String>,
}

impl Floor {
    /// Reads the checked-in table.
    pub fn checked_in() -> Result<Self> {
        serde_json::from_str(TABLE).context("floor.json does not have the form that its reader expects")
    }

    /// Checks that an incident has every field that its tier owes it, that a reason is given for each field of
    /// the table that it lacks anyway, and that no field is both there and called missing.
    pub fn check(&self, checks: &mut Checks, incident: &Incident) {
        let owed = self.owed(incident);
        checks
            .that(!owed.is_empty(), || format!("floor.json has no rule for tier {:?}", incident.fields.tier));
        let excused = excused(&incident.fields.missing);
        let chosen = chosen_alone(&incident.json);
        for field in self.of_scope(incident) {
            let absent = lacks(&chosen, field);
            let excepted = !owed.contains(field) || incident.lacks_its_log(field);
            checks.that(!absent || excepted, || format!("{field} is absent, below the tier's floor"));
            checks.that(!absent || is_excused(field, &excused), || {
                format!("{field} is absent, and `missing` gives no reason")
            });
        }
        for (field, reason) in &incident.fields.missing {
            checks.that(reason.as_str().is_some_and(|reason| !reason.trim().is_empty()), || {
                format!("`missing` gives {reason} as the reason for {field}")
            });
            checks.that(lacks(&incident.json, field), || {
                format!("{field} is there, and `missing` says it is not")
            });
        }
    }

    /// The fields that this incident must have.
    fn owed(&self, incident: &Incident) -> BTreeSet<&str> {
        let fields = &incident.fields;
        let (tier, kernel) =
            (fields.tier.as_deref().unwrap_or_default(), fields.kernel.as_deref().unwrap_or_default());
        let cause = fields.scope.cause.as_deref().unwrap_or_default();
        let excepted = |rule: &Rule| {
            rule.except_kernels.iter().any(|start| kernel.starts_with(start.as_str()))
                || rule.except_causes.get(tier).is_some_and(|causes| causes.iter().any(|each| each == cause))
        };
        let rules = self
            .rules
            .iter()
            .filter(|rule| rule.tiers.contains(tier) && rule.fits(incident) && !excepted(rule));
        rules.flat_map(|rule| rule.fields.iter().map(String::as_str)).collect()
    }

    /// All fields of the table that an incident of this scope can have, whatever its tier.
    fn of_scope(&self, incident: &Incident) -> BTreeSet<&str> {
        let rules = self.rules.iter().filter(|rule| rule.fits(incident));
        rules.flat_map(|rule| rule.fields.iter().map(String::as_str)).collect()
    }
}

impl Rule {
    /// Whether the rule is for this incident's scope.
    fn fits(&self, incident: &Incident) -> bool {
        let kind = incident.fields.scope.kind.as_deref().unwrap_or_default();
        self.scopes.as_ref().is_none_or(|scopes| scopes.contains(kind))
    }
}

/// An incident without those of its victims that nobody chose: of what died with the others, less is known.
fn chosen_alone(json: &Value) -> Value {
    let mut json = json.clone();
    if let Some(victims) = json.get_mut("victims").and_then(Value::as_array_mut) {
        let along =
            |victim: &Value| matches!(victim["verdict"].as_str(), Some("mm_shared" | "pidns_collateral"));
        victims.retain(|victim| !along(victim));
    }
    json
}

/// Whether `json` lacks the field at a path such as `victims[].rss.anon_bytes` or `victims[2].points`. With `[]`
/// every element must have it, and there must be one.
fn lacks(json: &Value, path: &str) -> bool {
    let (step, rest) = path.split_once('.').map_or((path, None), |(step, rest)| (step, Some(rest)));
    let (key, index) =
        step.split_once('[').map_or((step, None), |(key, index)| (key, index.strip_suffix(']')));
    let Some(value) = json.get(key) else { return true };
    let below = |value: &Value| rest.map_or(value.is_null(), |rest| lacks(value, rest));
    match (index, value.as_array()) {
        (None, _) => below(value),
        (Some(""), Some(elements)) => elements.is_empty() || elements.iter().any(below),
        (Some(index), Some(elements)) => {
            index.parse().ok().and_then(|at: usize| elements.get(at)).is_none_or(below)
        }
        (Some(_), None) => true,
    }
}

/// The fields for which `missing` gives a reason.
#[must_use]
pub fn excused(missing: &Map<String, Value>) -> BTreeSet<String> {
    missing.keys().map(|key| plain(key)).collect()
}

/// Whether a reason is given for `field`, or for something that it is a part of.
#[must_use]
pub fn is_excused(field: &str, excused: &BTreeSet<String>) -> bool {
    let field = plain(field);
    let wholes = field.match_indices('.').filter_map(|(dot, _)| field.get(..dot));
    wholes.chain([field.as_str()]).any(|path| excused.contains(path))
}

/// A path without its indices, so that `victims[0].points` and `victims[].points` are the same field.
fn plain(path: &str) -> String {
    let steps = path.split('.').map(|step| step.split('[').next().unwrap_or(step));
    steps.collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::tests::sample;

    fn failures(incident: &Value) -> Vec<String> {
        let mut checks = Checks::default();
        let incident = Incident::from_json(incident.clone()).unwrap();
        Floor::checked_in().unwrap().check(&mut checks, &incident);
        checks.failures().to_vec()
    }

    fn without(pointer: &str, key: &str) -> Value {
        let mut json = sample().json;
        json.pointer_mut(pointer).unwrap().as_object_mut().unwrap().remove(key).unwrap();
        json
    }

    /// Guards that a complete line is not below the floor.
    #[test]
    fn a_complete_line_passes() {
        assert_eq!(failures(&sample().json), [""; 0]);
    }

    /// Guards the floor itself: a field that the tier owes is missed, even with a reason.
    #[test]
    fn an_owed_field_is_missed() {
        let mut json = without("/trigger", "order");
        assert_eq!(failures(&json).len(), 2, "absent, and without a reason");
        json["missing"]["trigger.order"] = "not asked".into();
        assert_eq!(failures(&json), ["trigger.order is absent, below the tier's floor"]);
        assert_eq!(failures(&without("/victims/0/rss", "anon_bytes")).len(), 2);
        assert_eq!(failures(&without("/scope/memcg", "id")).len(), 2);
        assert_eq!(failures(&without("/scope/limits/1", "path")).len(), 2);
    }

    /// Guards the lower floor of the tracepoint tier: what it may leave out needs a reason, and no more.
    #[test]
    fn a_tier_may_lack_what_its_floor_leaves_out() {
        let mut json = without("/ballot", "examined");
        json["tier"] = "tracepoint".into();
        assert_eq!(failures(&json), ["ballot.examined is absent, and `missing` gives no reason"]);
        json["missing"]["ballot.examined"] = "no tracepoint has it".into();
        assert_eq!(failures(&json), [""; 0]);
        json["missing"]["ballot.examined"] = "".into();
        assert_eq!(failures(&json).len(), 1);
        json["tier"] = "teapot".into();
        assert!(failures(&json).iter().any(|failure| failure.contains("no rule")));
    }

    /// Guards reasons that are given for a whole object: they hold for its fields, and not for its neighbours.
    #[test]
    fn a_reason_for_the_whole_is_one_for_its_parts() {
        let excused = BTreeSet::from(["scope.memcg".to_owned()]);
        assert!(is_excused("scope.memcg.path", &excused) && is_excused("scope.memcg", &excused));
        assert!(!is_excused("scope.memcgs", &excused) && !is_excused("scope.kind", &excused));
        assert!(is_excused("victims[].rss.anon_bytes", &BTreeSet::from(["victims.rss".to_owned()])));
    }

    /// Guards `missing` against naming a field that is there.
    #[test]
    fn a_field_is_not_both_there_and_missing() {
        let mut json = sample().json;
        json["missing"]["victims[0].points"] = "because".into();
        assert_eq!(failures(&json), ["victims[0].points is there, and `missing` says it is not"]);
    }

    /// Guards a global incident, which has no memcg to owe.
    #[test]
    fn scopes_owe_what_they_can_have() {
        let mut json = without("/scope", "memcg");
        assert_eq!(failures(&json).len(), 6, "three fields, each absent and without a reason");
        json["scope"]["kind"] = "global".into();
        let owed = failures(&json);
        assert!(owed.iter().all(|failure| !failure.starts_with("scope.")), "{owed:?}");
        assert!(
            owed.iter().any(|failure| failure.starts_with("zones[].free_bytes is absent, below")),
            "{owed:?}"
        );
    }

    /// Guards a kernel that a rule excepts by the start of its name.
    #[test]
    fn kernels_can_be_excepted() {
        let rule = r#"{"about": "", "rules": [{"tiers": ["kprobe"], "except_kernels": ["5.10."], "fields": ["x"]}]}"#;
        let floor: Floor = serde_json::from_str(rule).unwrap();
        let owed = |kernel: &str| {
            let mut incident = sample();
            incident.fields.tier = Some("kprobe".to_owned());
            incident.fields.kernel = Some(kernel.to_owned());
            floor.owed(&incident).len()
        };
        assert_eq!((owed("5.10.0-32-amd64"), owed("5.100.1"), owed("6.1.0")), (0, 1, 1));
    }
}
