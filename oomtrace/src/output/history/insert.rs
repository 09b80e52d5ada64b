//! Entries to rows, and whether an entry is there already.

use jiff::Timestamp;
use rusqlite::{Connection, Row, params};

use super::{
    entry::{Entry, nanoseconds},
    error::Fault,
    witness::Witness,
};
use crate::{host::Host, output::LineKind};

/// Rows that may be about the same thing.
pub(super) const ALIKE: &str = "
    SELECT events.name, boot_id, boot_ns, time_ns, kmsg_seq, source IN ('import', 'kmsg'), tid, comm,
           total_vm_bytes,
           CASE WHEN outcome IS 'no_victim' THEN limit_at ELSE coalesce(cgroup, limit_at) END, outcome IS 'no_victim'
    FROM (
        SELECT id FROM events WHERE kind = ?1 AND name = ?2
        UNION ALL SELECT id FROM events WHERE kmsg_seq = ?3
        UNION ALL SELECT event FROM tasks WHERE tid = ?4 AND comm IS ?5
        UNION ALL SELECT id FROM events WHERE kind = ?1 AND at_ns BETWEEN ?6 AND ?7
    ) AS alike
    CROSS JOIN events ON events.id = alike.id
    LEFT JOIN tasks ON tasks.event = events.id AND tasks.place = 0
    WHERE events.kind = ?1";
/// How far around what names nobody others may be about the same thing, ns.
const AROUND_NS: i64 = 10_000_000_000;

const EVENT: &str = "
    INSERT INTO events (kind, name, incident, at_ns, time_ns, boot_ns, boot_id, host, source, kmsg_seq, scope, cause,
                        outcome, limit_at, asked_by, count, line)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, coalesce(?9, '?'), ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)";
const TASK: &str = "
    INSERT INTO tasks (event, place, pid, tid, comm, uid, verdict, total_vm_bytes, rss_bytes, cgroup, container_id,
                       container_name, pod_name, namespace, unit)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)";
const FINDING: &str =
    "INSERT INTO findings (event, place, id, severity, summary) VALUES (?1, ?2, ?3, coalesce(?4, '?'), ?5)";
const BOOT: &str = "
    INSERT INTO boots (boot_id, host, kernel, memory_bytes, swap_bytes, cpus, first_seen_ns, last_seen_ns)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7)
    ON CONFLICT (boot_id) DO UPDATE SET
        host = excluded.host, memory_bytes = excluded.memory_bytes, swap_bytes = excluded.swap_bytes,
        cpus = excluded.cpus, last_seen_ns = max(last_seen_ns, excluded.last_seen_ns)";

/// Whether something is known already.
pub(super) fn knows(connection: &Connection, witness: &Witness) -> rusqlite::Result<bool> {
    let around = witness.time_ns.filter(|_| witness.kind == LineKind::ForkFailure || witness.nobody);
    let mut alike = connection.prepare_cached(ALIKE)?;
    let mut rows = alike.query(params![
        witness.kind.name(),
        witness.name,
        witness.kmsg_seq.and_then(integer),
        witness.tid,
        witness.comm,
        around.map(|at| at.saturating_sub(AROUND_NS)),
        around.map(|at| at.saturating_add(AROUND_NS)),
    ])?;
    while let Some(row) = rows.next()? {
        if witness.is(&stored(row, witness.kind)?) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn stored(row: &Row<'_>, kind: LineKind) -> rusqlite::Result<Witness> {
    let natural = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
    Ok(Witness {
        kind,
        name: row.get(0)?,
        boot_id: row.get(1)?,
        boot_ns: natural(row.get(2)?),
        time_ns: row.get(3)?,
        kmsg_seq: natural(row.get(4)?),
        logged: row.get(5)?,
        tid: row.get(6)?,
        comm: row.get(7)?,
        total_vm_bytes: natural(row.get(8)?),
        cgroup: row.get(9)?,
        nobody: row.get(10)?,
    })
}

/// Writes what is not there yet: all of it, or none.
pub(super) fn write<'a>(
    connection: &mut Connection,
    entries: impl Iterator<Item = &'a Entry>,
    host: Option<&Host>,
    now: Timestamp,
) -> Result<(), Fault> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    for entry in entries {
        if !knows(&transaction, &entry.witness)? {
            insert(&transaction, entry)?;
        }
    }
    seen(&transaction, host, now)?;
    transaction.commit()?;
    Ok(())
}

/// Notes that the machine is watched at this moment.
pub(super) fn seen(connection: &Connection, host: Option<&Host>, now: Timestamp) -> rusqlite::Result<()> {
    let Some((host, boot_id)) = host.and_then(|host| Some((host, host.boot_id.as_ref()?))) else {
        return Ok(());
    };
    connection.prepare_cached(BOOT)?.execute(params![
        boot_id,
        host.name,
        host.kernel,
        host.memory_bytes.and_then(integer),
        host.swap_bytes.and_then(integer),
        host.cpus_online,
        nanoseconds(now),
    ])?;
    Ok(())
}

/// When a host was watched last, ns since 1970.
pub(super) fn last_seen_ns(connection: &Connection, host: &str) -> rusqlite::Result<Option<i64>> {
    connection.query_row("SELECT max(last_seen_ns) FROM boots WHERE host = ?1", [host], |row| row.get(0))
}

fn insert(connection: &Connection, entry: &Entry) -> rusqlite::Result<()> {
    let witness = &entry.witness;
    connection.prepare_cached(EVENT)?.execute(params![
        witness.kind.name(),
        witness.name,
        entry.incident,
        entry.at_ns,
        witness.time_ns,
        witness.boot_ns.and_then(integer),
        witness.boot_id,
        entry.host,
        entry.source,
        witness.kmsg_seq.and_then(integer),
        entry.scope,
        entry.cause,
        entry.outcome,
        entry.limit_at,
        entry.asked_by,
        integer(entry.count).unwrap_or(i64::MAX),
        entry.line,
    ])?;
    let event = connection.last_insert_rowid();
    for (place, task) in (0_i64..).zip(&entry.tasks) {
        let container = task.place.container.as_ref();
        connection.prepare_cached(TASK)?.execute(params![
            event,
            place,
            task.pid,
            task.tid,
            task.comm,
            task.uid,
            task.verdict,
            task.total_vm_bytes.and_then(integer),
            task.rss_bytes.and_then(integer),
            task.place.cgroup,
            container.map(|container| &container.id),
            container.and_then(|container| container.name.as_ref()),
            container.and_then(|container| container.pod_name.as_ref()),
            container.and_then(|container| container.namespace.as_ref()),
            task.place.unit,
        ])?;
    }
    for (place, finding) in (0_i64..).zip(&entry.findings) {
        connection.prepare_cached(FINDING)?.execute(params![
            event,
            place,
            finding.id,
            finding.severity,
            finding.summary
        ])?;
    }
    Ok(())
}

/// SQLite's integers have a sign. What has no place in one is absent.
fn integer(number: u64) -> Option<i64> {
    i64::try_from(number).ok()
}
