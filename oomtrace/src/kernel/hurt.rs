//! Allocations that fail without a kill: whether the programs can tell them, and how many they did not tell one by one.

use std::{mem::MaybeUninit, ptr, thread};

use anyhow::Context as _;
use aya::{
    Ebpf, TestRun as _,
    maps::{HashMap, MapData},
    programs::{RawTracePoint, RawTracePointRunOptions},
};
use oomtrace_ebpf::{
    AllocFailure, FAILURE_AGAIN_NS, FailureCount, FailureKey, Header, MIRROR, RecordKind, recent,
};
use zerocopy::{FromBytes as _, IntoBytes as _};

/// After this long without another record, what was counted since the last one is told: the programs tell what comes later,
/// ns.
const SILENCE_NS: u64 = FAILURE_AGAIN_NS + FAILURE_AGAIN_NS / 5;
/// Processes that are waited for at once, at the most.
const WAITING: usize = 256;

/// Failures that were counted, and not told yet.
pub struct Untold {
    counts: HashMap<MapData, FailureKey, FailureCount>,
    /// What was told last of each process, in the order of the time.
    told: Vec<AllocFailure>,
}

impl Untold {
    /// Takes the map of what is loaded.
    pub fn of(ebpf: &mut Ebpf) -> anyhow::Result<Self> {
        let name = recent::HURT.name;
        let map = ebpf.take_map(name).with_context(|| format!("The eBPF object lacks the map {name}"))?;
        let counts = HashMap::try_from(map).context("The counts of failed allocations cannot be read")?;
        Ok(Self { counts, told: Vec::new() })
    }

    /// Takes note of a record, if it tells of such a failure.
    pub fn hear(&mut self, record: &[u8]) {
        let Ok(failure) = AllocFailure::read_from_bytes(record) else { return };
        if failure.header.kind != RecordKind::AllocFailure as u16 {
            return;
        }
        self.told.retain(|told| key(told) != key(&failure));
        // Of one too many, the rest is told with its next failure, or not at all.
        if self.told.len() < WAITING {
            self.told.push(failure);
        }
    }

    /// When [`Self::due`] has something to do next, ns since boot.
    #[must_use]
    pub fn deadline_ns(&self) -> Option<u64> {
        self.told.iter().map(due_ns).min()
    }

    /// A record for each process whose failures have ceased, of those that were not told.
    pub fn due(&mut self, now_ns: u64) -> Vec<Vec<u8>> {
        let due: Vec<_> = self.told.extract_if(.., |told| due_ns(told) <= now_ns).collect();
        let count = |told: &AllocFailure| self.counts.get(&key(told), 0).ok();
        due.iter()
            .filter_map(|told| Some(remainder(told, count(told)?, now_ns)?.as_bytes().to_vec()))
            .collect()
    }
}

fn due_ns(told: &AllocFailure) -> u64 {
    told.header.boot_ns.saturating_add(SILENCE_NS)
}

fn key(told: &AllocFailure) -> FailureKey {
    [u64::from(told.what) << 32 | u64::from(told.task.pid), told.task.start_boot_ns]
}

/// A record of what was counted since: it is no run's.
fn remainder(told: &AllocFailure, [first_ns, total, _]: FailureCount, now_ns: u64) -> Option<AllocFailure> {
    let header = Header {
        trigger_tid: 0,
        opened_ns: 0,
        boot_ns: now_ns.min(due_ns(told)),
        index: 0,
        lost: 0,
        ..told.header
    };
    (first_ns == told.first_ns && total > told.total).then_some(AllocFailure { header, total, ..*told })
}

/// Whether the programs read of a thread of ours which signals wait for it, and that it waits at no cgroup's limit: by that
/// they tell a failure from a victim on its way to its end.
///
/// An error says what differs.
pub fn check(ebpf: &mut Ebpf) -> Result<(), String> {
    // In a thread of its own, which ends with the signals that it has sent itself.
    thread::scope(|scope| {
        let checked = thread::Builder::new().stack_size(256 * 1024).spawn_scoped(scope, || look(ebpf));
        let checked = checked.map_err(|error| format!("no thread can be started: {error}"))?;
        checked.join().unwrap_or_else(|_| Err("the thread that looks at itself ended early".to_owned()))
    })
}

/// Two signals that are held back, one after the other.
fn look(ebpf: &mut Ebpf) -> Result<(), String> {
    let mut expected = read(ebpf)?;
    for signal in [libc::SIGURG, libc::SIGWINCH] {
        // SAFETY: the set is ours, sigemptyset() initialises it, and the signal is sent to this thread, which holds it back.
        unsafe {
            let mut set = MaybeUninit::<libc::sigset_t>::uninit();
            libc::sigemptyset(set.as_mut_ptr());
            libc::sigaddset(set.as_mut_ptr(), signal);
            libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), ptr::null_mut());
            libc::pthread_kill(libc::pthread_self(), signal);
        }
        expected |= 1 << (signal - 1);
        let seen = read(ebpf)?;
        if seen != expected {
            return Err(format!(
                "task_struct.pending is not where the types say: read by them, {seen:#x} waits for a thread for which \
                 {expected:#x} does"
            ));
        }
    }
    Ok(())
}

/// The signals that wait for this thread, as the program reads them.
fn read(ebpf: &mut Ebpf) -> Result<u64, String> {
    const KEY: FailureKey = [MIRROR, 0];
    let mut run = || -> anyhow::Result<FailureCount> {
        let program =
            ebpf.program_mut("hurt_mirror").context("the eBPF object lacks the program hurt_mirror")?;
        let program: &mut RawTracePoint = program.try_into()?;
        if program.fd().is_err() {
            program.load()?;
        }
        program.test_run(RawTracePointRunOptions::new())?;
        let map = ebpf.map_mut(recent::HURT.name).context("the eBPF object lacks the map")?;
        let mut counts: HashMap<_, FailureKey, FailureCount> = HashMap::try_from(map)?;
        let seen = counts.get(&KEY, 0)?;
        counts.remove(&KEY)?;
        Ok(seen)
    };
    match run() {
        Ok([signals, 0, _]) => Ok(signals),
        Ok(_) => Err("task_struct.memcg_in_oom is not where the types say".to_owned()),
        Err(error) => Err(format!("the program that looks at oomtrace itself cannot run: {error:#}")),
    }
}

#[cfg(test)]
mod tests {
    use zerocopy::FromZeros as _;

    use super::*;

    /// Guards the rest of a count: of the same series only, and only if there is one.
    #[test]
    fn the_rest_is_what_was_counted_since() {
        let mut told = AllocFailure::new_zeroed();
        (told.first_ns, told.total, told.header.opened_ns, told.header.boot_ns) = (5, 3, 7, 100);
        let rest = remainder(&told, [5, 10, 0], 90)
            .map(|rest| (rest.total, rest.header.opened_ns, rest.header.boot_ns));
        assert_eq!(rest, Some((10, 0, 90)));
        assert_eq!(remainder(&told, [5, 3, 0], 90), None, "all is told");
        assert_eq!(remainder(&told, [6, 10, 0], 90), None, "the count began anew");
    }
}
