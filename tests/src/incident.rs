//! A line of oomtrace's JSON output. Every figure is optional here: which ones must be there is for the floor
//! table to say, and what they must be for the comparisons.

use std::iter;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Map, Value};

/// An incident, with the line it was read from.
#[derive(Debug, Clone, Default)]
pub struct Incident {
    /// Its typed fields.
    pub fields: Fields,
    /// The whole object.
    pub json: Value,
}

/// The fields of an incident that the comparisons use.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are those of the JSON schema, which documents them")]
pub struct Fields {
    pub schema: Option<String>,
    pub id: Option<String>,
    pub seq: Option<u64>,
    pub time: Option<String>,
    pub boot_ns: Option<u64>,
    pub host: Option<String>,
    pub boot_id: Option<String>,
    pub kernel: Option<String>,
    pub tier: Option<String>,
    pub source: Option<String>,
    pub scope: Scope,
    pub trigger: Trigger,
    pub outcome: Option<String>,
    pub victims: Vec<Victim>,
    pub candidates: Vec<Candidate>,
    pub ballot: Option<Ballot>,
    pub stall: Option<Stall>,
    pub missing: Map<String, Value>,
    pub lost_records: Option<u64>,
}

/// What ran out.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are those of the JSON schema, which documents them")]
pub struct Scope {
    pub kind: Option<String>,
    pub cause: Option<String>,
    pub constraint: Option<String>,
    pub memcg: Option<Memcg>,
    pub capacity_bytes: Option<u64>,
    pub limits: Vec<Limit>,
}

/// The memory cgroup whose limit was reached.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are those of the JSON schema, which documents them")]
pub struct Memcg {
    pub path: Option<String>,
    pub id: Option<u64>,
    pub hierarchy: Option<u64>,
}

/// One level of the victim's cgroup.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are those of the JSON schema, which documents them")]
pub struct Limit {
    pub path: Option<String>,
    pub usage_bytes: Option<u64>,
    pub limit_bytes: Option<u64>,
    pub swap_usage_bytes: Option<u64>,
    pub swap_limit_bytes: Option<u64>,
    pub memsw_limit_bytes: Option<u64>,
}

/// Who asked.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are those of the JSON schema, which documents them")]
pub struct Trigger {
    pub ns_pid: Option<u64>,
    pub ancestors: Option<Vec<Ancestor>>,
    pub pid: Option<u64>,
    pub tid: Option<u64>,
    pub comm: Option<String>,
    pub uid: Option<u64>,
    pub cmdline: Option<Vec<String>>,
    pub cmdline_truncated: bool,
    pub cgroup: Option<String>,
    pub gfp_mask: Option<u64>,
    pub gfp_flags: Option<Vec<String>>,
    pub order: Option<i64>,
}

/// Who was chosen.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are those of the JSON schema, which documents them")]
pub struct Victim {
    pub ns_pid: Option<u64>,
    pub ancestors: Option<Vec<Ancestor>>,
    pub pid: Option<u64>,
    pub tid: Option<u64>,
    pub ppid: Option<u64>,
    pub comm: Option<String>,
    pub uid: Option<u64>,
    pub cmdline: Option<Vec<String>>,
    pub cmdline_truncated: bool,
    pub threads: Option<u64>,
    pub verdict: Option<String>,
    pub oom_score_adj: Option<i64>,
    pub points: Option<i64>,
    pub total_vm_bytes: Option<u64>,
    pub rss: Rss,
    pub rss_kernel: Rss,
    pub swap_bytes: Option<u64>,
    pub pgtables_bytes: Option<u64>,
    pub cgroup: Option<String>,
    pub start_time: Option<String>,
}

/// A process from which another one descends.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are those of the JSON schema, which documents them")]
pub struct Ancestor {
    pub pid: Option<u64>,
    pub comm: Option<String>,
}

/// Resident memory.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are those of the JSON schema, which documents them")]
pub struct Rss {
    pub anon_bytes: Option<u64>,
    pub file_bytes: Option<u64>,
    pub shmem_bytes: Option<u64>,
    pub total_bytes: Option<u64>,
    pub error_bytes: Option<u64>,
}

/// Who could have been chosen.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are those of the JSON schema, which documents them")]
pub struct Candidate {
    pub pid: Option<u64>,
    pub comm: Option<String>,
    pub points: Option<i64>,
    pub rss_bytes: Option<u64>,
    pub swap_bytes: Option<u64>,
    pub oom_score_adj: Option<i64>,
}

/// How many were looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are those of the JSON schema, which documents them")]
pub struct Ballot {
    pub examined: Option<u64>,
    pub unkillable: Option<u64>,
    #[serde(default)]
    pub computed: bool,
}

/// What the trigger reclaimed in vain.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of the JSON schema, which documents them")]
pub struct Stall {
    pub rounds: u64,
    pub duration_ns: u64,
}

impl Victim {
    /// Whether the kernel itself killed it, and so logs and counts it: one that was merely marked, or that ends with
    /// the victim, it does not.
    #[must_use]
    pub fn is_logged(&self) -> bool {
        matches!(self.verdict.as_deref(), Some("killed" | "group_killed"))
    }
}

/// What `missing` says then.
const NO_LOG: [&str; 5] = [
    "the kernel log d",
    "which is not read",
    "the decision came before",
    "is not known in this tier",
    "the log has no report before this kill",
];

impl Incident {
    /// Whether a field is missing since the kernel log, which has it, did not say (it tells of ten runs in five seconds), or
    /// was not asked.
    #[must_use]
    pub fn lacks_its_log(&self, field: &str) -> bool {
        // A reason may be given for what the field is a part of.
        let parts = field.match_indices('.').filter_map(|(dot, _)| field.get(..dot));
        let reason = iter::once(field).chain(parts).find_map(|path| self.fields.missing.get(path)?.as_str());
        matches!(self.fields.tier.as_deref(), Some("tracepoint" | "kmsg"))
            && reason.is_some_and(|reason| NO_LOG.iter().any(|words| reason.contains(words)))
    }

    /// Reads an incident from its JSON object.
    pub fn from_json(json: Value) -> Result<Self> {
        let fields =
            Fields::deserialize(&json).context("an oom line does not have the fields of its schema")?;
        Ok(Self { fields, json })
    }

    /// Whether one of the victims is process `pid`.
    #[must_use]
    pub fn has_victim(&self, pid: u64) -> bool {
        self.fields.victims.iter().any(|victim| victim.pid == Some(pid))
    }
}

/// The object on one line of output.
pub fn object(line: &[u8]) -> Result<Value> {
    let text = || String::from_utf8_lossy(line).into_owned();
    let value: Value =
        serde_json::from_slice(line).with_context(|| format!("not a line of JSON: {}", text()))?;
    if value.is_object() { Ok(value) } else { anyhow::bail!("not a JSON object: {}", text()) }
}

/// The `type` of a line's object.
#[must_use]
pub fn kind(object: &Value) -> &str {
    object.get("type").and_then(Value::as_str).unwrap_or_default()
}

/// Ids of what a line says was found.
#[must_use]
pub fn found(object: &Value) -> Vec<String> {
    let findings = object.get("findings").and_then(Value::as_array).into_iter().flatten();
    findings.filter_map(|finding| finding.get("id").and_then(Value::as_str)).map(str::to_owned).collect()
}

/// The pids of the victims of the incidents among `lines`; other lines have none.
#[must_use]
pub fn victim_pids(lines: &[Vec<u8>]) -> Vec<u64> {
    pids(lines, "oom")
}

/// The same of the reliefs.
#[must_use]
pub fn relieved_pids(lines: &[Vec<u8>]) -> Vec<u64> {
    pids(lines, "relief")
}

fn pids(lines: &[Vec<u8>], of: &str) -> Vec<u64> {
    let objects = lines.iter().filter_map(|line| object(line).ok()).filter(|object| kind(object) == of);
    let victims = objects.filter_map(|object| object.get("victims")?.as_array().cloned());
    victims.flatten().filter_map(|victim| victim.get("pid")?.as_u64()).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An incident as a trampoline tier writes it, hand-made after the contract: pid 4121 in /t/leaf, killed for
    /// the limit of /t (48 MiB) when it asked for more itself. Another process there scored less, and a third must
    /// not be killed.
    pub const LINE: &str = include_str!("../fixtures/incident/memcg.json");

    /// The incident of [`LINE`].
    pub fn sample() -> Incident {
        Incident::from_json(object(LINE.trim().as_bytes()).unwrap()).unwrap()
    }

    /// Guards the reading of a line: fields land where the comparisons look for them.
    #[test]
    fn reads_the_documented_line() {
        let fields = sample().fields;
        assert_eq!(fields.scope.memcg.unwrap().path.as_deref(), Some("/t"));
        assert_eq!(fields.victims.first().unwrap().rss_kernel.anon_bytes, Some(47_149_056));
        assert_eq!(fields.trigger.order, Some(0));
        assert_eq!(fields.candidates.get(1).unwrap().points, Some(1970));
        assert_eq!(fields.ballot, Some(Ballot { examined: Some(3), unkillable: Some(1), computed: false }));
    }

    /// Guards that waiting for a victim is not satisfied by another kind of line, or by another pid.
    #[test]
    fn finds_the_victims_pids() {
        let status = br#"{"type":"status","state":"armed","victims":[{"pid":1}]}"#.to_vec();
        let lines = [status, LINE.trim().as_bytes().to_vec(), b"garbage".to_vec()];
        assert_eq!(victim_pids(&lines), [4121]);
        assert!(sample().has_victim(4121) && !sample().has_victim(1));
    }

    /// Guards against output that is no object a line.
    #[test]
    fn refuses_what_is_no_object() {
        assert!(object(b"[1]").is_err() && object(b"{").is_err() && object(b"\xff").is_err());
    }
}
