//! Logs of the time when no agent was watching.

use std::{
    cell::RefCell,
    fs,
    io::{self, Read},
    os::unix::fs::PermissionsExt as _,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use super::*;
use crate::{
    host::wall_clock_offset_ns,
    incident::{Incident, Outcome, WallTime},
    output::{
        Health, Sink as _,
        history::{History, HistorySettings},
    },
};

const BOOT: &str = "01234567-89ab-cdef-0123-456789abcdef";

/// A machine with a history and logs.
struct Machine {
    root: PathBuf,
    history: History,
    gap: Gap,
    since: Option<Timestamp>,
}

impl Machine {
    fn new(of: &str) -> Self {
        let root = std::env::temp_dir().join(format!("oomtrace-recover-{of}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(&root).unwrap();
        let settings = HistorySettings {
            path: root.join("history.db"),
            max_age: Duration::from_hours(1000),
            max_bytes: 16 << 20,
        };
        let history = History::open(settings, Health::new("history")).unwrap();
        let mut host = Host::read(Path::new("/")).unwrap();
        host.boot_id = Some(BOOT.to_owned());
        let gap = Gap { host, armed_boot_ns: boot_ns() };
        Self { root, history, gap, since: None }
    }

    fn reader(&self) -> Reader {
        Reader::open(&self.root.join("history.db")).unwrap()
    }

    /// What is told, the next times too if it is kept.
    fn recover(&mut self, keep: bool, work: impl FnOnce(&mut Recovery<'_>)) -> (Vec<Incident>, Recovered) {
        let told = RefCell::new(Vec::new());
        let reader = self.reader();
        let mut to = |message: Message| {
            told.borrow_mut().push(message);
            true
        };
        let mut recovery = Recovery {
            gap: &self.gap,
            since: self.since.unwrap_or(Timestamp::now() - FIRST_LOOK),
            history: &reader,
            to: &mut to,
            told: Told::default(),
            followed: HashSet::new(),
            explainer: Explainer::default(),
            recovered: Recovered::default(),
            over: false,
        };
        work(&mut recovery);
        let recovered = recovery.recovered;
        let mut incidents = Vec::new();
        for message in told.into_inner() {
            if let Message::Incident(Event::Closed(incident)) = &message {
                incidents.push((**incident).clone());
            }
            if keep {
                self.history.take(&Arc::new(message)).unwrap();
            }
        }
        self.history.flush().unwrap();
        (incidents, recovered)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// /dev/kmsg: one record at a time, and then nothing for now.
struct Kmsg(std::vec::IntoIter<String>);

impl Read for Kmsg {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let Some(record) = self.0.next() else { return Err(io::ErrorKind::WouldBlock.into()) };
        to[..record.len()].copy_from_slice(record.as_bytes());
        Ok(record.len())
    }
}

/// What the kernel writes as it kills.
fn report(pid: u32) -> [String; 3] {
    [
        format!("thing{pid} invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0"),
        format!(
            "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=/web,task=java,pid={pid},uid=0"
        ),
        format!(
            "Out of memory: Killed process {pid} (java) total-vm:4000kB, anon-rss:500kB, file-rss:0kB, shmem-rss:0kB, UID:0 \
             pgtables:100kB oom_score_adj:0"
        ),
    ]
}

/// A log with a kill of each of these at so many seconds since boot.
fn kmsg(kills: &[(u32, u64)]) -> Kmsg {
    let lines = kills.iter().flat_map(|(pid, second)| report(*pid).map(|line| (*second, line)));
    let records: Vec<_> = (100..)
        .zip(lines)
        .map(|(seq, (second, line))| format!("3,{seq},{},-;{line}\n", second * 1_000_000))
        .collect();
    Kmsg(records.into_iter())
}

fn pids(incidents: &[Incident]) -> Vec<u32> {
    incidents.iter().filter_map(|incident| incident.victims.first()?.pid).collect()
}

/// Guards what was killed while no agent ran: it is told with all that the log has and this boot's names, and not again by the next agent; what
/// tracing tells itself is not told.
#[test]
fn this_boots_kills_are_told_once() {
    let mut machine = Machine::new("boot");
    let now = boot_ns() / 1_000_000_000;
    let kills = [(11, now.saturating_sub(20)), (12, now.saturating_sub(10)), (13, now + 1_000_000)];
    let (incidents, recovered) = machine.recover(true, |recovery| kernel::records(kmsg(&kills), recovery));
    assert_eq!(pids(&incidents), [11, 12]);
    assert_eq!((recovered.incidents, recovered.known), (2, 0));
    let first = &incidents[0];
    assert_eq!(first.common.boot_id.as_deref(), Some(BOOT));
    assert_eq!(first.common.host.as_deref(), Some(machine.gap.host.name.as_str()));
    assert!(first.common.kernel.is_some() && first.common.time.is_some() && first.kmsg_seq == Some(102));
    assert!(!first.findings.is_empty(), "it is explained");
    let (again, recovered) = machine.recover(true, |recovery| kernel::records(kmsg(&kills), recovery));
    assert_eq!((again.len(), recovered.known), (0, 2));
    machine.since = Some(Timestamp::now());
    let (early, _) =
        machine.recover(true, |recovery| kernel::records(kmsg(&[(14, now.saturating_sub(20))]), recovery));
    assert!(early.is_empty(), "that was watched");
}

/// Guards exactly-once against what an agent saw live before it ended: the log has it, too.
#[test]
fn what_was_seen_live_is_known() {
    let mut machine = Machine::new("live");
    let at_ns = boot_ns().saturating_sub(20_000_000_000);
    let mut live = crate::explain::tests::memcg();
    live.common.boot_id = Some(BOOT.to_owned());
    live.common.boot_ns = Some(at_ns);
    live.common.time = Some(WallTime::from_ns(i128::from(at_ns) + i128::from(wall_clock_offset_ns())));
    (live.victims[0].pid, live.victims[0].tid) = (Some(11), Some(11));
    live.victims[0].comm = Some("java".to_owned());
    machine.history.take(&Arc::new(Message::Incident(Event::Closed(Box::new(live))))).unwrap();
    machine.history.flush().unwrap();
    let log = kmsg(&[(11, at_ns / 1_000_000_000 + 1), (12, at_ns / 1_000_000_000 + 1)]);
    let (incidents, recovered) = machine.recover(true, |recovery| kernel::records(log, recovery));
    assert_eq!((pids(&incidents), recovered.known), (vec![12], 1));
}

/// A program in the place of journalctl.
fn program(machine: &Machine, script: &str) -> PathBuf {
    let path = machine.root.join("usr/bin/journalctl");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// What journalctl says of a kill so long ago, in another boot.
fn exported(pid: u32, seconds_ago: i64) -> String {
    let at_us = Timestamp::now().as_microsecond() - seconds_ago * 1_000_000;
    report(pid)
        .map(|line| {
            format!(
                "__CURSOR=s=1\n__REALTIME_TIMESTAMP={at_us}\n__MONOTONIC_TIMESTAMP=50000000\n_BOOT_ID={}\n_TRANSPORT=kernel\n\
                 SYSLOG_IDENTIFIER=kernel\nSYSLOG_FACILITY=0\n_HOSTNAME=web1\n_SOURCE_MONOTONIC_TIMESTAMP=50000000\nMESSAGE={line}\n\n",
                "f".repeat(32)
            )
        })
        .concat()
}

fn journal(program: &Path, patience: Duration) -> Journal {
    Journal::start(program, 1_000_000, patience).unwrap()
}

/// Guards earlier boots: the journal is asked for all of them and for no more than the gap, and what is kept as it ends or hangs is used.
#[test]
fn earlier_boots_are_in_the_journal() {
    let mut machine = Machine::new("journal");
    fs::write(machine.root.join("export"), exported(21, 3600)).unwrap();
    let (export, asked) = (machine.root.join("export"), machine.root.join("asked"));
    let well = program(&machine, &format!("echo \"$@\" >{}; cat {}", asked.display(), export.display()));
    let patience = Duration::from_secs(20);
    let (incidents, recovered) =
        machine.recover(true, |recovery| journal::read_by(journal(&well, patience), recovery).unwrap());
    assert_eq!((pids(&incidents), recovered.incidents), (vec![21], 1));
    assert_eq!(incidents[0].common.boot_id.as_deref(), Some("ffffffff-ffff-ffff-ffff-ffffffffffff"));
    let asked = fs::read_to_string(asked).unwrap();
    assert!(
        asked.contains("--since=@") && asked.contains("_TRANSPORT=kernel") && !asked.contains("-k"),
        "{asked}"
    );
    let (again, recovered) =
        machine.recover(true, |recovery| journal::read_by(journal(&well, patience), recovery).unwrap());
    assert_eq!((again.len(), recovered.known), (0, 1));
    fs::write(machine.root.join("export"), exported(22, 60)).unwrap();
    let ill = program(&machine, &format!("cat {}; exit 3", export.display()));
    let mut failed = None;
    let (incidents, _) =
        machine.recover(true, |recovery| failed = journal::read_by(journal(&ill, patience), recovery).err());
    assert_eq!(pids(&incidents), [22]);
    assert!(failed.unwrap().to_string().contains("exit status: 3"));
    fs::write(machine.root.join("export"), exported(23, 60)).unwrap();
    let hung = program(&machine, &format!("cat {}; exec sleep 600", export.display()));
    let (begun, mut failed) = (Instant::now(), None);
    let (incidents, _) = machine.recover(true, |recovery| {
        failed = journal::read_by(journal(&hung, Duration::from_secs(1)), recovery).err();
    });
    assert_eq!(pids(&incidents), [23]);
    assert!(failed.unwrap().to_string().contains("too long"));
    assert!(begun.elapsed() < Duration::from_secs(10));
}

/// Guards what a panic leaves behind: told with the time of its file, and known by the next agent though the dump stays; a machine without
/// any of these logs is no trouble.
#[test]
fn a_panic_is_in_pstore() {
    let mut machine = Machine::new("pstore");
    let places = Places::below(&machine.root);
    let folder = &places.dumps[0];
    fs::create_dir_all(folder).unwrap();
    let dump = folder.join("dmesg-ramoops-0");
    let text = "Panic#1 Part1\n\
        <4>[   49.000000] thing invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0\n\
        <0>[   49.100000] Kernel panic - not syncing: Out of memory: system-wide panic_on_oom is enabled\n\
        <4>[   50.100000] ---[ end Kernel panic - not syncing: Out of memory: system-wide panic_on_oom is enabled ]---\n";
    fs::write(&dump, text).unwrap();
    let written = SystemTime::now() - Duration::from_mins(10);
    File::options().write(true).open(&dump).unwrap().set_modified(written).unwrap();
    let (incidents, recovered) = machine.recover(true, |recovery| {
        dumps::read(dumps::open(&places.dumps, &mut Vec::new()), recovery);
    });
    assert_eq!(incidents.len(), 1, "{recovered:?}");
    assert_eq!(incidents[0].outcome, Some(Outcome::Panic));
    let at = incidents[0].common.time.unwrap().0;
    let before = Timestamp::try_from(written).unwrap().duration_since(at);
    assert!((900..=1200).contains(&before.as_millis()), "{before:?}");
    assert_eq!(recovered.unread, Vec::<String>::new());
    let (again, recovered) = machine.recover(true, |recovery| {
        dumps::read(dumps::open(&places.dumps, &mut Vec::new()), recovery);
    });
    assert_eq!((again.len(), recovered.known), (0, 1));
}

/// Guards the whole of it on a machine that has none of these logs, and from a thread: what cannot be read is said.
#[test]
fn a_machine_without_logs_is_no_trouble() {
    let machine = Machine::new("none");
    let places = Places::below(&machine.root);
    let (reader, gap) = (machine.reader(), &machine.gap);
    // It lowers the priority of its thread.
    let recovered = std::thread::scope(|scope| {
        scope.spawn(move || recover(Logs::open(&places, None), gap, &reader, &mut |_| true)).join().unwrap()
    });
    assert_eq!(recovered.incidents, 0);
    assert_eq!(recovered.unread.len(), 1, "{recovered:?}");
    assert!(recovered.unread[0].contains("dev/kmsg cannot be read"), "{recovered:?}");
}
