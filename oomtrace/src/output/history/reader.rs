//! Looking into a history, while an agent writes it or none does.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OpenFlags, params_from_iter, types::Value};
use rustix::{
    fs::{Access, access},
    io::Errno,
};

use super::{
    database::with,
    entry::Entry,
    error::{HistoryError, is_damage, words},
    found::{By, Place, Row, Top, Totals},
    insert::{knows, last_seen_ns},
    query::{Condition, Query},
    schema::{CURRENT, Is, OLDEST_READ},
};
use crate::output::Message;

/// Rows that are read at once. What is read holds the file's log back, so nothing is read while somebody looks at what was.
const BATCH: usize = 256;

/// See the module.
#[derive(Debug)]
pub struct Reader {
    connection: Connection,
    path: PathBuf,
    version: u32,
}

impl Reader {
    /// Opens a history to be read, with no more rights than that takes.
    ///
    /// # Errors
    /// There is none, it may not be read, it is damaged, or of a later version.
    pub fn open(path: &Path) -> Result<Self, HistoryError> {
        let unreadable = |why: String| HistoryError::Unreadable { path: path.to_owned(), why };
        // SQLite says of all these that it cannot open the file. It must not be opened and closed beside SQLite, whose locks would go.
        if let Err(error) = access(path, Access::READ_OK) {
            return Err(unreadable(match error {
                Errno::NOENT => {
                    "there is no such file; oomtrace agent writes one, and --database names another"
                        .to_owned()
                }
                Errno::ACCESS => "permission denied; root can read it, and so can its group".to_owned(),
                _ => std::io::Error::from(error).to_string(),
            }));
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let opened = Connection::open_with_flags(path, flags)
            .and_then(|connection| Is::of(&connection).map(|is| (connection, is)))
            .or_else(|error| {
                // Whoever may not write to the folder cannot make the index of the log. But where there is no log, nobody has
                // the file open, and nothing changes.
                if is_damage(&error) || with(path, "-wal").exists() {
                    return Err(error);
                }
                let uri = format!("file:{}?immutable=1", escaped(path));
                let connection = Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI)?;
                Is::of(&connection).map(|is| (connection, is))
            });
        let (connection, is) = opened.map_err(|error| explained(path, &error))?;
        let version = match is {
            Is::History(found) if found > CURRENT => {
                return Err(HistoryError::Newer { path: path.to_owned(), found, known: CURRENT });
            }
            Is::History(found) if found >= OLDEST_READ => found,
            Is::Empty => {
                return Err(unreadable("nothing is in it yet".to_owned()));
            }
            Is::History(_) | Is::Foreign => return Err(HistoryError::Foreign(path.to_owned())),
        };
        let prepared = connection.busy_timeout(std::time::Duration::from_secs(5)).and_then(|()| {
            connection.execute_batch(
                "PRAGMA query_only = ON; PRAGMA cache_size = -1024; PRAGMA temp_store = MEMORY;",
            )
        });
        prepared.map_err(|error| explained(path, &error))?;
        Ok(Self { connection, path: path.to_owned(), version })
    }

    /// Whether what a message tells is in it.
    pub fn knows(&self, message: &Message) -> Result<bool, HistoryError> {
        let Some(entry) = Entry::of(message, jiff::Timestamp::now()) else { return Ok(false) };
        knows(&self.connection, &entry.witness).map_err(|error| self.explained(&error))
    }

    /// When a host was watched last, ns since 1970, as far as is known.
    pub fn last_seen_ns(&self, host: &str) -> Result<Option<i64>, HistoryError> {
        last_seen_ns(&self.connection, host).map_err(|error| self.explained(&error))
    }

    /// Hands over what a query finds, the oldest first, until `to` has enough.
    pub fn each(&self, query: &Query, to: &mut dyn FnMut(Row) -> bool) -> Result<(), HistoryError> {
        let first = self.first(query).map_err(|error| self.explained(&error))?;
        let Some(mut next) = first else { return Ok(()) };
        loop {
            let rows = self.batch(query, next).map_err(|error| self.explained(&error))?;
            let full = rows.len() >= BATCH;
            for row in rows {
                next = (row.at_ns, row.id.saturating_add(1));
                if !to(row) {
                    return Ok(());
                }
            }
            if !full {
                return Ok(());
            }
        }
    }

    /// Where a query begins: at the oldest, or at the last of as many as are wanted.
    fn first(&self, query: &Query) -> rusqlite::Result<Option<(i64, i64)>> {
        let Some(limit) = query.limit else { return Ok(Some((i64::MIN, i64::MIN))) };
        if limit == 0 {
            return Ok(None);
        }
        let condition = Condition::of(query, self.version);
        let sql = format!(
            "SELECT at_ns, events.id FROM events WHERE {} ORDER BY at_ns DESC, events.id DESC LIMIT {limit}",
            condition.sql
        );
        let mut newest = self.connection.prepare(&sql)?;
        let mut rows = newest.query(params_from_iter(condition.values))?;
        let mut first = None;
        while let Some(row) = rows.next()? {
            first = Some((row.get(0)?, row.get(1)?));
        }
        Ok(first)
    }

    fn batch(&self, query: &Query, (at_ns, id): (i64, i64)) -> rusqlite::Result<Vec<Row>> {
        let mut condition = Condition::of(query, self.version);
        condition.add("(at_ns, events.id) >= (?, ?)", [Value::from(at_ns), Value::from(id)]);
        let sql = format!(
            "SELECT kind, incident, at_ns, time_ns, host, boot_id, source, scope, cause, outcome, limit_at, asked_by, count, line,
                    events.id
             FROM events WHERE {} ORDER BY at_ns, events.id LIMIT {BATCH}",
            condition.sql
        );
        let mut some = self.connection.prepare_cached(&sql)?;
        let mut rows: Vec<_> = some
            .query_map(params_from_iter(condition.values), Row::read)?
            .collect::<rusqlite::Result<_>>()?;
        let mut tasks = self.connection.prepare_cached(
            "SELECT pid, comm, uid, verdict, total_vm_bytes, rss_bytes, cgroup, container_id, container_name, pod_name,
                    namespace
             FROM tasks WHERE event = ?1 ORDER BY place",
        )?;
        for row in &mut rows {
            row.tasks = tasks.query_map([row.id], Place::read)?.collect::<rusqlite::Result<_>>()?;
        }
        Ok(rows)
    }

    /// How much there is.
    pub fn totals(&self, query: &Query) -> Result<Totals, HistoryError> {
        let totals = || -> rusqlite::Result<Totals> {
            let Condition { sql, values } = Condition::of(query, self.version);
            let kinds = self.top(
                &format!("SELECT kind, count(*) FROM events WHERE {sql} GROUP BY kind ORDER BY 2 DESC, 1"),
                values.clone(),
            )?;
            let span = format!("SELECT min(at_ns), max(at_ns) FROM events WHERE {sql}");
            let (first, last): (Option<i64>, Option<i64>) =
                self.connection.query_row(&span, params_from_iter(values.clone()), |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })?;
            let victims = format!(
                "SELECT count(*) FROM events JOIN tasks ON tasks.event = events.id
                 WHERE {sql} AND {VICTIMS}"
            );
            let victims = self.connection.query_row(&victims, params_from_iter(values), |row| row.get(0))?;
            Ok(Totals { kinds, victims, span_ns: first.zip(last) })
        };
        totals().map_err(|error| self.explained(&error))
    }

    /// The most frequent names.
    pub(crate) fn most(&self, query: &Query, by: By, limit: u32) -> Result<Top, HistoryError> {
        let Condition { sql, values } = Condition::of(query, self.version);
        let what = match by {
            By::Victim => "coalesce(comm, '?')",
            By::Cgroup => "coalesce(cgroup, limit_at)",
            By::Container => {
                "coalesce(namespace || '/' || pod_name || '/' || container_name, pod_name || '/' || container_name,
                          container_name, substr(container_id, 1, 12))"
            }
            By::Cause => "replace(coalesce(scope || ' (' || nullif(cause, 'allocation') || ')', scope, cause, outcome, '?'), '_', ' ')",
        };
        let from = match by {
            By::Cause => format!("events WHERE {sql}"),
            By::Victim => {
                format!("events JOIN tasks ON tasks.event = events.id WHERE {sql} AND {VICTIMS}")
            }
            By::Cgroup | By::Container => {
                format!("events JOIN tasks ON tasks.event = events.id AND tasks.place = 0 WHERE {sql}")
            }
        };
        let sql = format!(
            "SELECT {what}, count(*) FROM {from} AND {what} IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {limit}"
        );
        self.top(&sql, values).map_err(|error| self.explained(&error))
    }

    /// How many happened in each of `count` spans of `step_ns`.
    pub(crate) fn rate(
        &self,
        query: &Query,
        begin_ns: i64,
        step_ns: i64,
        count: usize,
    ) -> Result<Vec<u64>, HistoryError> {
        let Condition { sql, values } = Condition::of(query, self.version);
        let sql = format!(
            "SELECT (at_ns - {begin_ns}) / {}, count(*) FROM events WHERE {sql} GROUP BY 1",
            step_ns.max(1)
        );
        let read = || -> rusqlite::Result<Vec<u64>> {
            let mut spans = vec![0; count];
            let mut rows = self.connection.prepare(&sql)?;
            let mut rows = rows.query(params_from_iter(values))?;
            while let Some(row) = rows.next()? {
                let at: i64 = row.get(0)?;
                if let Some(span) = usize::try_from(at).ok().and_then(|at| spans.get_mut(at)) {
                    *span = row.get(1)?;
                }
            }
            Ok(spans)
        };
        read().map_err(|error| self.explained(&error))
    }

    fn top(&self, sql: &str, values: Vec<Value>) -> rusqlite::Result<Top> {
        let mut counts = self.connection.prepare(sql)?;
        counts.query_map(params_from_iter(values), |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
    }

    fn explained(&self, error: &rusqlite::Error) -> HistoryError {
        explained(&self.path, error)
    }
}

/// Of an event's tasks those that died: who merely asked is no victim.
const VICTIMS: &str = "events.kind IN ('oom', 'userspace_kill') AND coalesce(outcome, 'killed') IN ('killed', 'already_exiting')";

fn explained(path: &Path, error: &rusqlite::Error) -> HistoryError {
    let (path, why) = (path.to_owned(), words(error));
    if is_damage(error) {
        HistoryError::Damaged { path, why }
    } else {
        HistoryError::Unreadable { path, why }
    }
}

/// A path in a URI (<https://www.sqlite.org/uri.html>).
fn escaped(path: &Path) -> String {
    let mut escaped = String::new();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' => escaped.push(char::from(*byte)),
            byte if byte.is_ascii_alphanumeric() => escaped.push(char::from(*byte)),
            byte => {
                // Writing to a String cannot fail.
                let _ = write!(escaped, "%{byte:02X}");
            }
        }
    }
    escaped
}
