//! What is asked of a history, as SQL.

use jiff::Timestamp;
use rusqlite::types::Value;

use super::{entry::nanoseconds, schema::WITH_FINDINGS};
use crate::output::LineKind;

/// What is asked for. In patterns * stands for anything.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// From then on.
    pub since: Option<Timestamp>,
    /// Before then.
    pub until: Option<Timestamp>,
    /// One of its tasks has this name.
    pub comm: Option<String>,
    /// One of its tasks was in the container with an id that begins so, or of this name, or in the pod of this name.
    pub container: Option<String>,
    /// One of its tasks was in this memory cgroup or below it; or that one was at its limit.
    pub cgroup: Option<String>,
    /// What ran out, how, why a fork failed, or a finding's id.
    pub cause: Option<String>,
    /// Which kinds; none: [`LineKind::OF_INCIDENTS`].
    pub kinds: Vec<LineKind>,
    /// The newest of these, at the most.
    pub limit: Option<u32>,
}

/// A condition with its values.
pub(super) struct Condition {
    pub sql: String,
    pub values: Vec<Value>,
}

impl Condition {
    /// Of a query, for a file of this version.
    pub fn of(query: &Query, version: u32) -> Self {
        let mut condition = Self { sql: String::new(), values: Vec::new() };
        let kinds = if query.kinds.is_empty() { &LineKind::OF_INCIDENTS[..] } else { &query.kinds };
        let marks = vec!["?"; kinds.len()].join(", ");
        condition.add(
            &format!("events.kind IN ({marks})"),
            kinds.iter().map(|kind| kind.name().to_owned().into()),
        );
        for (when, test) in [(query.since, "events.at_ns >= ?"), (query.until, "events.at_ns < ?")] {
            if let Some(when) = when {
                condition.add(test, [nanoseconds(when).into()]);
            }
        }
        if let Some(comm) = &query.comm {
            condition.add_of_task("comm GLOB ?", [glob(comm)]);
        }
        if let Some(container) = &query.container {
            // People know the first digits of an id.
            let (begin, whole) = (glob(&format!("{container}*")), glob(container));
            condition.add_of_task(
                "(container_id GLOB ? OR container_name GLOB ? OR pod_name GLOB ?)",
                [begin, whole.clone(), whole],
            );
        }
        if let Some(cgroup) = &query.cgroup {
            let path = cgroup.trim_end_matches('/');
            let (own, below) = (glob(if path.is_empty() { "/" } else { path }), glob(&format!("{path}/*")));
            condition.add(
                "(limit_at GLOB ? OR limit_at GLOB ? OR EXISTS (SELECT 1 FROM tasks
                  WHERE event = events.id AND (cgroup GLOB ? OR cgroup GLOB ?)))",
                [own.clone(), below.clone(), own, below],
            );
        }
        if let Some(cause) = &query.cause {
            let pattern = glob(&cause.to_ascii_lowercase());
            let (found, mut values) = if version >= WITH_FINDINGS {
                let found =
                    " OR EXISTS (SELECT 1 FROM findings WHERE event = events.id AND findings.id GLOB ?)";
                (found, vec![pattern.clone()])
            } else {
                ("", Vec::new())
            };
            values.extend([pattern.clone(), pattern.clone(), pattern]);
            condition.add(&format!("(scope GLOB ? OR cause GLOB ? OR outcome GLOB ?{found})"), values);
        }
        condition
    }

    /// One more of it.
    pub fn add(&mut self, sql: &str, values: impl IntoIterator<Item = Value>) {
        self.sql.push_str(if self.sql.is_empty() { "" } else { " AND " });
        self.sql.push_str(sql);
        self.values.extend(values);
    }

    fn add_of_task(&mut self, sql: &str, values: impl IntoIterator<Item = Value>) {
        self.add(&format!("EXISTS (SELECT 1 FROM tasks WHERE event = events.id AND {sql})"), values);
    }
}

/// A pattern of ours as one of SQLite's, where brackets mean something.
fn glob(pattern: &str) -> Value {
    pattern.replace('[', "[[]").into()
}
