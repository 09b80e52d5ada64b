//! The history as an agent keeps it, and what goes wrong with files.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    thread,
};

use super::*;
use crate::{
    explain::tests::memcg,
    incident::{Incident, WallTime},
    output::{Json, LineKind},
    session::Source,
};

mod faults;
mod killed;

/// A folder of a test's own, gone with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(of: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("oomtrace-history-{of}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    /// Where the history is.
    fn file(&self) -> PathBuf {
        self.0.join("state/history.db")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn settings(path: &Path) -> HistorySettings {
    HistorySettings { path: path.to_owned(), max_age: Duration::from_hours(24 * 90), max_bytes: 64 << 20 }
}

fn open(path: &Path) -> (History, Arc<Health>) {
    let health = Health::new("history");
    let history = History::open(settings(path), Arc::clone(&health)).unwrap();
    (history, health)
}

/// An incident of its own, a second after the one before.
fn incident(number: u32) -> Incident {
    let mut incident = memcg();
    incident.id = format!("0123abcd-{number:x}-7");
    incident.common.boot_id = Some("0123abcd".to_owned());
    incident.common.seq = u64::from(number);
    incident.common.boot_ns = Some(u64::from(number) * 1_000_000_000);
    incident.common.time = Some(WallTime::from_ns(
        i128::from(nanoseconds_now()) - 1_000_000_000_000 + i128::from(number) * 1_000_000_000,
    ));
    incident.victims[0].pid = Some(1000 + number);
    incident.victims[0].tid = Some(1000 + number);
    incident
}

fn nanoseconds_now() -> i64 {
    entry::nanoseconds(Timestamp::now())
}

fn message(incident: Incident) -> Arc<Message> {
    Arc::new(Message::Incident(Event::Closed(Box::new(incident))))
}

/// Tells a history of incidents, and lets it write.
fn tell(history: &mut History, incidents: impl IntoIterator<Item = Incident>) {
    for incident in incidents {
        history.take(&message(incident)).unwrap();
    }
    history.flush().unwrap();
}

/// Ids of the incidents in a file, the oldest first.
fn ids(path: &Path) -> Vec<String> {
    let mut ids = Vec::new();
    Reader::open(path)
        .unwrap()
        .each(&Query::default(), &mut |row| {
            ids.extend(row.incident);
            true
        })
        .unwrap();
    ids
}

fn expected(numbers: impl IntoIterator<Item = u32>) -> Vec<String> {
    numbers.into_iter().map(|number| incident(number).id).collect()
}

/// Guards what is kept: the line to the byte, in order, for others of the group to read, while it is being written.
#[test]
fn lines_come_back_as_they_were_told() {
    let scratch = Scratch::new("lines");
    let (mut history, health) = open(&scratch.file());
    let mut hostile = incident(2);
    hostile.victims[0].comm = Some("a\"\n\u{1b}[2J'; DROP TABLE events; --".to_owned());
    tell(&mut history, [incident(3), incident(1), hostile.clone()]);
    assert_eq!(ids(&scratch.file()), expected([1, 2, 3]));
    let mut lines = Vec::new();
    let reader = Reader::open(&scratch.file()).unwrap();
    reader
        .each(&Query::default(), &mut |row| {
            lines.push(row.line);
            true
        })
        .unwrap();
    let line = Json::line(&message(hostile));
    assert_eq!(lines[1].as_bytes(), line.strip_suffix(b"\n").unwrap());
    assert_eq!((health.messages_written(), health.messages_lost()), (3, 0));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(scratch.file().parent().unwrap()), 0o750);
    for end in ["", "-wal", "-shm"] {
        assert_eq!(mode(&database::with(&scratch.file(), end)), 0o640, "{end}");
    }
    assert!(reader.last_seen_ns(&Host::read(Path::new("/")).unwrap().name).unwrap().is_some());
}

/// Guards exactly-once across what an agent is told: the same again, and the log's witness of what was seen live, and the other way around.
#[test]
fn nothing_is_kept_twice() {
    let scratch = Scratch::new("twice");
    let (mut history, health) = open(&scratch.file());
    let log = |number: u32| {
        let mut log = incident(number);
        log.id = format!("log-{number}");
        log.common.source = Source::Import;
        log.victims[0].pid = None;
        log
    };
    tell(&mut history, [incident(1), incident(1), log(1)]);
    tell(&mut history, [log(20), incident(20), log(20)]);
    let (mut seen, mut logged) = (incident(40), log(60));
    (seen.kmsg_seq, logged.kmsg_seq) = (Some(9), Some(9));
    tell(&mut history, [seen, logged]);
    assert_eq!(ids(&scratch.file()), [incident(1).id, "log-20".to_owned(), incident(40).id]);
    assert_eq!(health.messages_written(), 8, "whatever was there before is there");
    let reader = Reader::open(&scratch.file()).unwrap();
    assert!(reader.knows(&message(incident(1))).unwrap() && reader.knows(&message(log(1))).unwrap());
    assert!(!reader.knows(&message(incident(2))).unwrap());
}

/// Guards the same where nobody was killed, through the file: programs in the kernel tell who asked, the log tells others who asked, too.
#[test]
fn a_shortage_without_victims_is_kept_once() {
    let scratch = Scratch::new("nobody");
    let (mut history, _) = open(&scratch.file());
    let nobody = |number: u32, asks: u32, source: Source| {
        let mut one = incident(number);
        one.victims.clear();
        one.outcome = Some(crate::incident::Outcome::NoVictim);
        one.id = format!("{number}-{asks}");
        (one.trigger.pid, one.trigger.tid) = (Some(asks), Some(asks));
        one.common.source = source;
        one
    };
    tell(&mut history, [nobody(1, 7, Source::Ebpf)]);
    tell(&mut history, [nobody(1, 8, Source::Import), nobody(3, 9, Source::Import)]);
    assert_eq!(ids(&scratch.file()), ["1-7"]);
    tell(
        &mut history,
        [nobody(20, 8, Source::Import), nobody(21, 7, Source::Ebpf), nobody(22, 7, Source::Ebpf)],
    );
    assert_eq!(ids(&scratch.file()), ["1-7", "20-8"]);
    tell(&mut history, [nobody(60, 7, Source::Ebpf), nobody(62, 7, Source::Ebpf)]);
    assert_eq!(ids(&scratch.file()), ["1-7", "20-8", "60-7", "62-7"]);
    tell(&mut history, [nobody(80, 7, Source::Kmsg), nobody(81, 7, Source::Kmsg)]);
    assert_eq!(ids(&scratch.file()).len(), 6, "the log has both");
}

/// Guards files of an earlier version: they are read as they are, and an agent brings them up with what they have.
#[test]
fn an_older_history_is_brought_up() {
    let scratch = Scratch::new("older");
    let path = scratch.file();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut old = rusqlite::Connection::open(&path).unwrap();
    schema::migrate_to(&mut old, 1).unwrap();
    let mut kept = incident(1);
    kept.victims[0].place = crate::incident::Place::of(Some("/system.slice/web.service".to_owned()));
    kept.findings = crate::explain::of_incident(&kept, None);
    let finding = kept.findings[0].id;
    let line = Json::line(&message(kept.clone()));
    let line = String::from_utf8(line).unwrap();
    old.execute(
        "INSERT INTO events (kind, name, incident, at_ns, source, count, line) VALUES ('oom', ?1, ?1, 1, 'ebpf', 1, ?2)",
        [&kept.id, line.trim_end()],
    )
    .unwrap();
    old.execute("INSERT INTO tasks (event, place, comm) VALUES (1, 0, 'app')", []).unwrap();
    drop(old);
    let by = |cause: &str| Query { cause: Some(cause.to_owned()), ..Query::default() };
    let found = |query: &Query| Reader::open(&path).unwrap().totals(query).unwrap().victims;
    assert_eq!(ids(&path), expected([1]), "version 1 is read");
    assert_eq!(found(&by(finding)), 0, "it has no findings");
    let (mut history, _) = open(&path);
    tell(&mut history, [incident(2)]);
    assert_eq!(ids(&path), expected([1, 2]));
    assert_eq!(found(&by(finding)), 1, "from the line that it kept");
    let unit: String = rusqlite::Connection::open(&path)
        .unwrap()
        .query_row("SELECT unit FROM tasks WHERE event = 1", [], |row| row.get(0))
        .unwrap();
    assert_eq!(unit, "web.service");
}

/// Guards files that are not ours to write: of a later version, of another program, of another agent.
#[test]
fn what_is_not_ours_is_refused_with_a_sentence() {
    let scratch = Scratch::new("refused");
    let path = scratch.file();
    let refused =
        |path: &Path| History::open(settings(path), Health::new("history")).unwrap_err().to_string();
    let (history, _) = open(&path);
    assert!(refused(&path).contains("in use by another oomtrace agent"), "{}", refused(&path));
    drop(history);
    let other = rusqlite::Connection::open(&path).unwrap();
    other.pragma_update(None, "user_version", 77).unwrap();
    for said in [refused(&path), Reader::open(&path).unwrap_err().to_string()] {
        assert!(said.contains("version 77") && said.contains("up to 2"), "{said}");
    }
    other.pragma_update(None, "application_id", 1).unwrap();
    for said in [refused(&path), Reader::open(&path).unwrap_err().to_string()] {
        assert!(said.contains("another program's"), "{said}");
    }
    let none = Reader::open(&scratch.0.join("none.db")).unwrap_err().to_string();
    assert!(none.contains("no such file"), "{none}");
}

/// Guards a reload of the settings: the new history waits for the one that is ending, on its own thread.
#[test]
fn a_history_takes_over_from_one_that_ends() {
    let scratch = Scratch::new("over");
    let path = scratch.file();
    let (mut old, _) = open(&path);
    old.take(&message(incident(1))).unwrap();
    let ending = thread::spawn(move || {
        thread::sleep(Duration::from_millis(300));
        old.end();
    });
    let (mut new, health) = open(&path);
    ending.join().unwrap();
    tell(&mut new, [incident(2)]);
    assert_eq!((ids(&path), health.failing()), (expected([1, 2]), None));
}

/// Guards retention by size: the file itself gets smaller, the oldest goes, and the newest stays even where it alone is too large.
#[test]
fn a_history_stays_within_its_size() {
    let scratch = Scratch::new("size");
    let path = scratch.file();
    let health = Health::new("history");
    let most = 512 * 1024;
    let small = HistorySettings { max_bytes: most, ..settings(&path) };
    let mut history = History::open(small.clone(), Arc::clone(&health)).unwrap();
    for number in 0..40 {
        tell(&mut history, (number * 25..number * 25 + 25).map(incident));
    }
    for _ in 0..200 {
        if history.rest().unwrap() > Duration::from_secs(1) {
            break;
        }
    }
    let kept = ids(&path);
    assert!(kept.len() > 50 && kept.len() < 900, "{}", kept.len());
    assert_eq!(kept, expected(1000 - u32::try_from(kept.len()).unwrap()..1000));
    let size = |path: &Path| fs::metadata(path).unwrap().size();
    let (file, wal) = (size(&path), size(&database::with(&path, "-wal")));
    assert!(file <= most && wal <= most, "{file} and {wal} bytes");
    drop(history);
    let mut history = History::open(HistorySettings { max_bytes: 1, ..small }, health).unwrap();
    for _ in 0..200 {
        history.rest();
    }
    assert_eq!(ids(&path), expected([999]));
}

/// Guards retention by age, and the history against a clock that is wrong: nothing is too old by it before it has gone evenly for an hour.
#[test]
fn what_is_too_old_goes_once_the_clock_is_trusted() {
    let scratch = Scratch::new("age");
    let path = scratch.file();
    let (mut history, _) = open(&path);
    let day = Duration::from_hours(24);
    tell(&mut history, [incident(1), incident(2), incident(3)]);
    let young = HistorySettings { max_age: day, ..settings(&path) };
    let connection = &history.database.as_ref().unwrap().connection;
    let later = Timestamp::now() + day * 2;
    while retention::step(connection, &young, later, false).unwrap() {}
    assert_eq!(ids(&path).len(), 3, "the clock is not trusted");
    while retention::step(connection, &young, later, true).unwrap() {}
    assert_eq!(ids(&path), expected([3]), "the newest stays");
    let (hour_ns, wall) = (3_600_000_000_000, 1_700_000_000_000_000_000);
    let mut schedule = Schedule::new(0, 0);
    assert!(!schedule.trusts(hour_ns - 1, 0) && schedule.trusts(hour_ns, 0));
    assert!(!schedule.trusts(hour_ns, wall), "it jumped");
    assert!(!schedule.trusts(hour_ns * 2 - 1, wall) && schedule.trusts(hour_ns * 2, wall + 1_000_000));
}

/// Guards what the next agent looks for in the kernel log: from when this host was watched last, and not from its own start.
#[test]
fn it_is_known_until_when_the_host_was_watched() {
    let scratch = Scratch::new("watched");
    let (mut history, _) = open(&scratch.file());
    assert_eq!(history.watched_until(), None);
    tell(&mut history, [incident(1)]);
    let last = Timestamp::now();
    drop(history);
    thread::sleep(Duration::from_millis(50));
    let (mut history, _) = open(&scratch.file());
    tell(&mut history, [incident(2)]);
    let watched = history.watched_until().unwrap();
    assert!(watched <= last && last.duration_since(watched).as_secs() < 10, "{watched} {last}");
}

/// Guards kills where not everything can be held: what killed nobody goes first, and the newest never.
#[test]
fn kills_are_held_the_longest() {
    let mut held = Held::default();
    let relief = |number: u32| {
        let mut entry = Entry::of(&message(incident(number)), Timestamp::now()).unwrap();
        entry.witness.kind = LineKind::Relief;
        entry
    };
    let kill = |number: u32| Entry::of(&message(incident(number)), Timestamp::now()).unwrap();
    assert_eq!((held.push(kill(0)), held.push(relief(1))), (0, 0));
    let (mut number, mut gone) = (2, 0);
    while gone == 0 {
        gone += held.push(kill(number));
        number += 1;
    }
    let kinds: Vec<_> = held.entries().map(|entry| entry.witness.kind).collect();
    assert!(kinds.iter().all(|kind| *kind == LineKind::Oom), "the relief is gone");
    while held.push(kill(number)) == 0 {
        number += 1;
    }
    let first = held.entries().next().unwrap().incident.clone();
    assert_ne!(first, Some(incident(0).id), "then the oldest");
    let mut large = kill(number + 1);
    large.line = "x".repeat(2 * held::MOST_BYTES);
    held.push(large);
    assert_eq!(held.len(), 1);
}

/// Guards the speed of a history that is full: what is alike, and what is shown next, is found by an index, however much there is.
#[test]
fn nothing_is_looked_for_row_by_row() {
    let scratch = Scratch::new("plan");
    let (mut history, _) = open(&scratch.file());
    tell(&mut history, (0..20).map(incident));
    let connection = &history.database.as_ref().unwrap().connection;
    let condition = query::Condition::of(&Query::default(), schema::CURRENT).sql;
    let next = format!(
        "SELECT line FROM events WHERE {condition} AND (at_ns, id) >= (1, 1) ORDER BY at_ns, id LIMIT 9"
    );
    for sql in [insert::ALIKE, &next] {
        let mut plan = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let nothing = vec![rusqlite::types::Value::Null; plan.parameter_count()];
        let steps: Vec<String> = plan
            .query_map(rusqlite::params_from_iter(nothing), |row| row.get(3))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let slow = |step: &&String| {
            (step.contains("SCAN") && !step.contains("alike"))
                || step.contains("(kind=?)")
                || step.contains("TEMP B-TREE FOR ORDER")
        };
        assert_eq!(steps.iter().filter(slow).count(), 0, "{steps:#?}");
    }
}

/// Guards the thread that writes, whose stack is small.
#[test]
fn a_small_stack_is_enough() {
    let scratch = Scratch::new("stack");
    let path = scratch.file();
    let within = path.clone();
    let work = move || {
        let (mut history, _) = open(&within);
        tell(&mut history, (0..50).map(incident));
        history.rest();
        history.end();
    };
    thread::Builder::new().stack_size(256 * 1024).spawn(work).unwrap().join().unwrap();
    assert_eq!(ids(&path).len(), 50);
}
