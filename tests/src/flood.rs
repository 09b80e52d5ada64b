//! Record files of very many forks that fail: a real failure, as often as is asked for, each time with all its records. It was
//! recorded on Linux 6.12 with `oomtrace --record`, as a shell in /system.slice/web.service, whose pids.max was 3, started its
//! third `sleep`. The file has a head and frames (oomtrace/src/record/file.rs), of which only what is said here is changed.

use std::io::Write;

use anyhow::{Context, Result, anyhow};
use oomtrace_ebpf::{Cmdline, ForkFailure, Header, Kin, Level, PidsLevel, RecordKind, TaskFacts};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// What is repeated.
const RECORDED: &[u8] = include_bytes!("../fixtures/streams/6.12-fork.oomtrace");
/// From one failure to the next: 100,000 a second.
const APART_NS: u64 = 10_000;
/// Of a frame, before the record: its kind, 1, and the clock's offset.
const BEFORE: usize = 1 + size_of::<i64>();

/// Process ids that are given: the kernel takes them up to 2^22 (`PID_MAX_LIMIT`, include/linux/threads.h).
const FIRST_PID: u32 = 1000;
const PIDS: u32 = 4_000_000;

/// How the failures are like each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flood {
    /// In everything. Each is told all the same: the kernel half says how many there have been.
    Identical,
    /// In nothing that tells failures apart: each has a process, a name and a cgroup of its own.
    Different,
}

/// What was recorded.
struct Recording {
    /// What the file begins with.
    head: &'static [u8],
    /// The frames of the failure, without lengths and checksums.
    frames: Vec<&'static [u8]>,
    /// When it failed, ns since boot.
    boot_ns: u64,
}

impl Flood {
    /// Writes a record file of so many failures.
    pub fn write(self, failures: u32, mut to: impl Write) -> Result<()> {
        let recording = Recording::read(RECORDED)?;
        to.write_all(recording.head).context("cannot write the head of a record file")?;
        let mut frame = Vec::new();
        for at in 0..failures {
            let now = recording.boot_ns + u64::from(at) * APART_NS;
            for recorded in &recording.frames {
                frame.clear();
                frame.extend_from_slice(recorded);
                self.change(at, now, frame.get_mut(BEFORE..).context("a frame has no record")?)?;
                let length = u32::try_from(frame.len()).context("a frame is too long")?.to_le_bytes();
                let mut crc = crc32fast::Hasher::new();
                crc.update(&length);
                crc.update(&frame);
                for bytes in [&length[..], &frame, &crc.finalize().to_le_bytes()] {
                    to.write_all(bytes).context("cannot write a frame of a record file")?;
                }
            }
        }
        to.flush().context("cannot write a record file")
    }

    /// Makes a record that of the failure at this place, and at this time.
    fn change(self, at: u32, now: u64, record: &mut [u8]) -> Result<()> {
        let kind = kind(record)?;
        let pid = FIRST_PID + at % PIDS;
        let own = self == Self::Different;
        edit(record, |header: &mut Header| {
            header.boot_ns = now;
            if header.trigger_tid != 0 {
                header.opened_ns = now;
                header.trigger_tid = if own { pid } else { header.trigger_tid };
            }
        })?;
        if kind == RecordKind::ForkFailure {
            edit(record, |failure: &mut ForkFailure| {
                if own {
                    (failure.first_ns, failure.total) = (now, 1);
                } else {
                    failure.total = u64::from(at) + 1;
                }
            })?;
        }
        if own { differ(at, kind, pid, record) } else { Ok(()) }
    }
}

impl Recording {
    fn read(file: &'static [u8]) -> Result<Self> {
        const CUT: &str = "the recording ends in the middle";
        let number = |at: usize| -> Result<usize> {
            let bytes = file.get(at..).and_then(|rest| rest.first_chunk()).context(CUT)?;
            usize::try_from(u32::from_le_bytes(*bytes)).context("a length is out of range")
        };
        // Magic and version; the session and its checksum, each frame and its own.
        let (head, mut rest) = file.split_at_checked(16 + number(12)? + 4).context(CUT)?;
        let (mut frames, mut boot_ns) = (Vec::new(), None);
        while let Some(length) = rest.first_chunk() {
            let length = usize::try_from(u32::from_le_bytes(*length)).context("a length is out of range")?;
            let frame = rest.get(4..4 + length).context(CUT)?;
            rest = rest.get(8 + length..).context(CUT)?;
            let record = frame.get(BEFORE..).context(CUT)?;
            match kind(record)? {
                RecordKind::KernelLog => continue,
                RecordKind::ForkFailure => boot_ns = Some(header(record)?.boot_ns),
                _ => {}
            }
            frames.push(frame);
        }
        Ok(Self { head, frames, boot_ns: boot_ns.context("no failure was recorded")? })
    }
}

/// Gives a record a process and a cgroup that are no other failure's.
fn differ(at: u32, kind: RecordKind, pid: u32, record: &mut [u8]) -> Result<()> {
    let start_boot_ns = 1_000_000_000 + u64::from(at);
    let cgroup = 1_000_000 + u64::from(at);
    match kind {
        RecordKind::Cmdline => edit(record, |cmdline: &mut Cmdline| {
            (cmdline.pid, cmdline.start_boot_ns) = (pid, start_boot_ns);
        }),
        RecordKind::Kin => edit(record, |kin: &mut Kin| {
            (kin.pid, kin.start_boot_ns) = (pid, start_boot_ns);
            (kin.pid_in_initial, kin.ns_pid) = (pid, pid);
        }),
        RecordKind::Level => edit(record, |level: &mut Level| {
            level.leaf_id = cgroup;
            if level.depth == 0 {
                level.id = cgroup;
                level.name_len = call(&mut level.name, &format!("web-{at}.service"));
            }
        }),
        RecordKind::PidsLevel => edit(record, |level: &mut PidsLevel| {
            level.leaf_id = cgroup;
            if level.depth == 0 {
                level.id = cgroup;
                level.name_len = call(&mut level.name, &format!("web-{at}.service"));
            }
        }),
        RecordKind::ForkFailure => edit(record, |failure: &mut ForkFailure| {
            failure.cgroup_id = cgroup;
            let task: &mut TaskFacts = &mut failure.task;
            (task.pid, task.tid, task.start_boot_ns, task.memcg_id) = (pid, pid, start_boot_ns, cgroup);
            call(&mut task.comm, &format!("web-{at}"));
        }),
        _ => Ok(()),
    }
}

/// Writes a name with its NUL; returns the length of both.
fn call(to: &mut [u8], name: &str) -> i32 {
    let with_nul = name.bytes().chain([0]);
    let mut length = 0;
    to.fill(0);
    for (to, byte) in to.iter_mut().zip(with_nul) {
        *to = byte;
        length += 1;
    }
    length
}

/// Changes what a record begins with.
fn edit<T: FromBytes + IntoBytes + Immutable>(record: &mut [u8], change: impl FnOnce(&mut T)) -> Result<()> {
    let (mut head, _) = T::read_from_prefix(record).map_err(|_| anyhow!("a record is too short"))?;
    change(&mut head);
    head.write_to_prefix(record).map_err(|_| anyhow!("a record is too short"))
}

fn header(record: &[u8]) -> Result<Header> {
    let (header, _) = Header::read_from_prefix(record).map_err(|_| anyhow!("a record has no header"))?;
    Ok(header)
}

fn kind(record: &[u8]) -> Result<RecordKind> {
    let kind = header(record)?.kind;
    RecordKind::from_raw(kind).with_context(|| format!("there is no kind {kind} of records"))
}
