//! Failures that are counted in the kernel: what the programs did not tell one by one.
//!
//! The programs tell identical failures once a second, as the next one comes. What comes after the last that was told is
//! read from their map of counts, once they have ceased.

use anyhow::Context as _;
use aya::{
    Ebpf, Pod,
    maps::{HashMap, MapData},
};
use oomtrace_ebpf::{
    AllocFailure, FAILURE_AGAIN_NS, FORK_KINDS, FailureCount, FailureKey, ForkFailure, ForkKey, Header,
    RecordKind, recent,
};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// After this long without another record, what was counted since the last one is told: the programs tell what comes later,
/// ns.
const SILENCE_NS: u64 = FAILURE_AGAIN_NS + FAILURE_AGAIN_NS / 5;
/// Kinds of failures that are waited for at once, at the most.
const WAITING: usize = FORK_KINDS as usize;

/// A record of a failure that is counted.
pub trait Counted: FromBytes + IntoBytes + Immutable + Copy {
    /// What names identical ones in the map.
    type Key: Pod + PartialEq;
    /// Its kind.
    const KIND: RecordKind;
    /// The map of counts.
    const MAP: &'static str;
    /// Whether what has ceased is taken out of the map: one that drops what is old by itself needs no help.
    const REMOVED: bool;

    /// What names it.
    fn key(&self) -> Self::Key;
    /// Its header.
    fn header(&mut self) -> &mut Header;
    /// When the first was, and how many there were until this.
    fn count(&mut self) -> (u64, &mut u64);
}

impl Counted for AllocFailure {
    type Key = FailureKey;
    const KIND: RecordKind = RecordKind::AllocFailure;
    const MAP: &'static str = recent::HURT.name;
    const REMOVED: bool = false;

    fn key(&self) -> FailureKey {
        [u64::from(self.what) << 32 | u64::from(self.task.pid), self.task.start_boot_ns]
    }

    fn header(&mut self) -> &mut Header {
        &mut self.header
    }

    fn count(&mut self) -> (u64, &mut u64) {
        (self.first_ns, &mut self.total)
    }
}

impl Counted for ForkFailure {
    type Key = ForkKey;
    const KIND: RecordKind = RecordKind::ForkFailure;
    const MAP: &'static str = "FORKS";
    const REMOVED: bool = true;

    fn key(&self) -> ForkKey {
        let word = |from: usize| {
            let bytes = self.task.comm.get(from..from + 8).and_then(|bytes| bytes.try_into().ok());
            u64::from_ne_bytes(bytes.unwrap_or_default())
        };
        let what = u64::from(self.errno) | u64::from(self.state) << 32 | u64::from(self.site) << 56;
        let namespace = self.pid_namespaces.first().map_or(0, |namespace| u64::from(namespace.inum));
        [what, self.cgroup_id, u64::from(self.task.uid) | namespace << 32, word(0), word(8)]
    }

    fn header(&mut self) -> &mut Header {
        &mut self.header
    }

    fn count(&mut self) -> (u64, &mut u64) {
        (self.first_ns, &mut self.total)
    }
}

/// Failures that were counted, and not told yet.
pub struct Untold<T: Counted> {
    counts: HashMap<MapData, T::Key, FailureCount>,
    /// What was told last of each, in the order of the time.
    told: Vec<T>,
}

impl<T: Counted> Untold<T> {
    /// Takes the map of what is loaded.
    pub fn of(ebpf: &mut Ebpf) -> anyhow::Result<Self> {
        let map =
            ebpf.take_map(T::MAP).with_context(|| format!("The eBPF object lacks the map {}", T::MAP))?;
        let counts = HashMap::try_from(map).context("The counts of failures cannot be read")?;
        Ok(Self { counts, told: Vec::new() })
    }

    /// Takes note of a record. `true`: it tells of such a failure.
    pub fn hear(&mut self, record: &[u8]) -> bool {
        let Ok(mut failure) = T::read_from_bytes(record) else { return false };
        if failure.header().kind != T::KIND as u16 {
            return false;
        }
        let key = failure.key();
        self.told.retain(|told| told.key() != key);
        // Of one too many, the rest is told with its next failure, or not at all.
        if self.told.len() < WAITING {
            self.told.push(failure);
        }
        true
    }

    /// When [`Self::due`] has something to do next, ns since boot.
    #[must_use]
    pub fn deadline_ns(&self) -> Option<u64> {
        self.told.iter().map(|told| due_ns(*told)).min()
    }

    /// A record for each whose failures have ceased, of those that were not told.
    pub fn due(&mut self, now_ns: u64) -> Vec<Vec<u8>> {
        let due: Vec<_> = self.told.extract_if(.., |told| due_ns(*told) <= now_ns).collect();
        let mut rests = Vec::new();
        for told in due {
            let key = told.key();
            let Ok(count) = self.counts.get(&key, 0) else { continue };
            let rest = remainder(told, count, now_ns);
            if T::REMOVED {
                match rest {
                    // It may go on: it is looked at once more.
                    Some(rest) if now_ns != u64::MAX => self.told.push(rest),
                    // One that cannot be removed stays, and goes on being counted.
                    _ => drop(self.counts.remove(&key)),
                }
            }
            rests.extend(rest.map(|rest| rest.as_bytes().to_vec()));
        }
        rests
    }
}

fn due_ns<T: Counted>(mut told: T) -> u64 {
    told.header().boot_ns.saturating_add(SILENCE_NS)
}

/// A record of what was counted since: it is no run's.
fn remainder<T: Counted>(told: T, [first_ns, total, _]: FailureCount, now_ns: u64) -> Option<T> {
    let mut rest = told;
    let boot_ns = now_ns.min(due_ns(told));
    *rest.header() = Header { trigger_tid: 0, opened_ns: 0, boot_ns, index: 0, lost: 0, ..*rest.header() };
    let (own_first_ns, own_total) = rest.count();
    if first_ns != own_first_ns || total <= *own_total {
        return None;
    }
    *own_total = total;
    Some(rest)
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
        let rest = remainder(told, [5, 10, 0], 90)
            .map(|rest| (rest.total, rest.header.opened_ns, rest.header.boot_ns));
        assert_eq!(rest, Some((10, 0, 90)));
        assert_eq!(remainder(told, [5, 3, 0], 90), None, "all is told");
        assert_eq!(remainder(told, [6, 10, 0], 90), None, "the count began anew");
    }

    /// Guards the name of a failed fork against the one that the programs count it by (`fork_failed()`): they must agree.
    #[test]
    fn forks_are_named_as_the_programs_name_them() {
        let mut fork = ForkFailure::new_zeroed();
        (fork.errno, fork.state, fork.site, fork.cgroup_id) = (11, 3, 2, 77);
        fork.task.uid = 1000;
        fork.pid_namespaces[0].inum = 5;
        fork.task.comm = *b"forker-of-all\0\0\0";
        let name = u64::from_ne_bytes(*b"forker-o");
        let rest = u64::from_ne_bytes(*b"f-all\0\0\0");
        assert_eq!(fork.key(), [0xb | 3 << 32 | 2 << 56, 77, 0x3e8 | 5 << 32, name, rest]);
    }
}
