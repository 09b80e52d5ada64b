//! What is found in a history.

/// A line that is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the columns of the table, which docs/history.md explains")]
pub struct Row {
    pub kind: String,
    pub incident: Option<String>,
    pub at_ns: i64,
    pub time_ns: Option<i64>,
    pub host: Option<String>,
    pub boot_id: Option<String>,
    pub source: String,
    pub scope: Option<String>,
    pub cause: Option<String>,
    pub outcome: Option<String>,
    pub limit_at: Option<String>,
    pub asked_by: Option<String>,
    pub count: u64,
    pub line: String,
    /// Its victims, or whoever it happened to.
    pub tasks: Vec<Place>,
    pub id: i64,
}

/// Who it happened to, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the same")]
pub struct Place {
    pub pid: Option<u32>,
    pub comm: Option<String>,
    pub uid: Option<u32>,
    pub verdict: Option<String>,
    pub total_vm_bytes: Option<u64>,
    pub rss_bytes: Option<u64>,
    pub cgroup: Option<String>,
    pub container_id: Option<String>,
    pub container_name: Option<String>,
    pub pod_name: Option<String>,
    pub namespace: Option<String>,
}

/// How often something is there.
pub type Top = Vec<(String, u64)>;

/// What a query comes to in all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Lines by their type.
    pub kinds: Top,
    /// Processes that were killed.
    pub victims: u64,
    /// When the first and the last happened, ns since 1970.
    pub span_ns: Option<(i64, i64)>,
}

/// By what lines are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// The victims' names.
    Victim,
    /// Their cgroups.
    Cgroup,
    /// Their containers.
    Container,
    /// What ran out, or why.
    Cause,
}

impl Row {
    pub(super) fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            kind: row.get(0)?,
            incident: row.get(1)?,
            at_ns: row.get(2)?,
            time_ns: row.get(3)?,
            host: row.get(4)?,
            boot_id: row.get(5)?,
            source: row.get(6)?,
            scope: row.get(7)?,
            cause: row.get(8)?,
            outcome: row.get(9)?,
            limit_at: row.get(10)?,
            asked_by: row.get(11)?,
            count: row.get(12)?,
            line: row.get(13)?,
            tasks: Vec::new(),
            id: row.get(14)?,
        })
    }
}

impl Place {
    pub(super) fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            pid: row.get(0)?,
            comm: row.get(1)?,
            uid: row.get(2)?,
            verdict: row.get(3)?,
            total_vm_bytes: row.get(4)?,
            rss_bytes: row.get(5)?,
            cgroup: row.get(6)?,
            container_id: row.get(7)?,
            container_name: row.get(8)?,
            pod_name: row.get(9)?,
            namespace: row.get(10)?,
        })
    }
}
