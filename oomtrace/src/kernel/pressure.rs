//! How long threads waited while memory was freed for them: histograms that the kernel half keeps.
//!
//! They count what has ended. A wait whose beginning or end went unseen is in none of them; [`Pressures::unseen`] has how many
//! there were.

use anyhow::Context as _;
use aya::maps::{Array, HashMap, MapData};
use oomtrace_ebpf::{
    NO_ARGUMENT,
    histogram::{self, BUCKETS},
    reclaim,
    waits::{self, COMPACTION, FIRST_BUCKET, MAX_NS, RECLAIMED_PAGES, REST, TOTAL_NS, WaitKey, Waits},
    whose,
};

use super::{hooks::PRESSURE, load::Attached};
use crate::{
    host,
    profile::report::{Latency, Pressure, PressureKind, Whose},
    text,
};

/// The map of histograms.
pub(super) const MAP: &str = "PRESSURE";
/// The map of what is read again and again.
const WAITED: &str = "WAITED";

const WHOSE: [u32; 3] = [whose::UNKNOWN, whose::OWN, whose::BYSTANDER];
const KINDS: [u32; 3] = [reclaim::DIRECT, reclaim::MEMCG, COMPACTION];

/// The histograms.
pub struct Pressures {
    waits: HashMap<MapData, WaitKey, Waits>,
    waited: Array<MapData, u64>,
    /// Bytes of a page, where the kernel says how many were freed.
    page_bytes: Option<u64>,
}

impl Pressures {
    /// Takes the maps of what is attached; `None`: nothing counts (see the role's losses).
    ///
    /// # Errors
    /// The maps cannot be used.
    pub fn of(attached: &mut Attached) -> anyhow::Result<Option<Self>> {
        if !attached.shows(&PRESSURE) {
            return Ok(None);
        }
        let mut take = |name| {
            attached.ebpf.take_map(name).with_context(|| format!("The eBPF object lacks the map {name}"))
        };
        let waits = HashMap::try_from(take(MAP)?).context("The histograms cannot be read")?;
        let waited =
            Array::try_from(take(WAITED)?).context("The times that threads waited cannot be read")?;
        let told = attached.resolved.params.reclaimed_arg != NO_ARGUMENT;
        let mut pressures = Self { waits, waited, page_bytes: told.then(|| host::page_bytes().into()) };
        pressures.clear().context("The histograms cannot be prepared")?;
        Ok(Some(pressures))
    }

    /// What there is, most time first: at most [`waits::KEYS`].
    #[must_use]
    pub fn read(&mut self) -> Vec<Pressure> {
        let all = self.keys().into_iter().filter_map(|key| {
            let waits = self.waits.get(&key, 0).ok()?;
            pressure(&key, &waits, self.page_bytes)
        });
        let mut all: Vec<_> = all.collect();
        sort(&mut all);
        all
    }

    /// How long threads have waited in all, ns: what kcompactd does meanwhile is no wait.
    #[must_use]
    pub fn waited_ns(&self) -> u64 {
        let waited = KINDS.iter().filter_map(|kind| self.waited.get(kind, 0).ok());
        waited.fold(0, u64::saturating_add)
    }

    /// How many waits were not counted.
    #[must_use]
    pub fn unseen(&self) -> u64 {
        self.waited.get(&waits::UNSEEN, 0).unwrap_or(0)
    }

    /// Begins anew.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn clear(&mut self) -> anyhow::Result<()> {
        for key in self.keys().into_iter().filter(|key| name(key).is_some()) {
            self.waits.remove(&key)?;
        }
        // These are never taken out, so that nobody takes their place.
        for (kind, whose) in KINDS.into_iter().flat_map(|kind| WHOSE.map(|whose| (kind, whose))) {
            self.waits.insert(waits::key(REST, kind, whose), [0; FIRST_BUCKET + BUCKETS], 0)?;
        }
        for index in 0..waits::KINDS {
            self.waited.set(index, 0, 0)?;
        }
        Ok(())
    }

    /// There may be new ones meanwhile, so that they may come twice; but not without end.
    fn keys(&self) -> Vec<WaitKey> {
        let mut keys: Vec<_> =
            self.waits.keys().take(2 * waits::KEYS as usize).filter_map(Result::ok).collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }
}

/// The first two words of a key, unless it is one for the rest.
fn name(key: &WaitKey) -> Option<[u64; 2]> {
    let [first, second, _] = *key;
    Some([first, second]).filter(|name| *name != REST)
}

/// What a key has; `None`: nothing, or it is of a kind that is not known.
fn pressure(key: &WaitKey, waits: &Waits, page_bytes: Option<u64>) -> Option<Pressure> {
    let [.., what] = key;
    let half = |shift: u32| u32::try_from((what >> shift) & u64::from(u32::MAX)).unwrap_or(0);
    let kind = match half(0) {
        reclaim::DIRECT => PressureKind::DirectReclaim,
        reclaim::MEMCG => PressureKind::MemcgReclaim,
        COMPACTION => PressureKind::Compaction,
        _ => return None,
    };
    let whose = match half(32) {
        whose::OWN => Whose::Own,
        whose::BYSTANDER => Whose::Bystander,
        _ => Whose::Unknown,
    };
    let comm = name(key).map(|words| {
        let bytes = words.map(u64::to_ne_bytes);
        text::from_kernel(bytes.as_flattened())
    });
    let buckets: &[u64; BUCKETS] = waits.last_chunk()?;
    let highest = buckets.iter().rposition(|count| *count > 0)?;
    // Of two that ended at the same moment the kernel half may have missed the longer one, but not where it belongs.
    let (at_least, _) = histogram::bounds(highest);
    let [total_ns, max_ns, pages] = [TOTAL_NS, MAX_NS, RECLAIMED_PAGES].map(|at| waits[at]);
    Some(Pressure {
        kind,
        whose,
        comm,
        latency: Latency::of(buckets, total_ns, max_ns.max(at_least)),
        reclaimed_bytes: page_bytes
            .filter(|_| kind != PressureKind::Compaction)
            .map(|page_bytes| pages.saturating_mul(page_bytes)),
    })
}

fn sort(all: &mut [Pressure]) {
    let order = |one: &Pressure| (one.kind, one.whose, one.comm.clone());
    all.sort_by(|one, other| {
        let longer = other.latency.total_ns.cmp(&one.latency.total_ns);
        longer.then_with(|| order(one).cmp(&order(other)))
    });
}

#[cfg(test)]
mod tests {
    use PressureKind::{Compaction, DirectReclaim, MemcgReclaim};

    use super::*;

    fn waits(times: &[u64], pages: u64) -> Waits {
        let mut waits = [0; FIRST_BUCKET + BUCKETS];
        for ns in times {
            waits[TOTAL_NS] += ns;
            waits[FIRST_BUCKET + histogram::bucket(*ns)] += 1;
        }
        waits[RECLAIMED_PAGES] = pages;
        waits
    }

    fn words(name: &[u8; 16]) -> [u64; 2] {
        let (first, second) = name.split_at(8);
        [first, second].map(|half| u64::from_ne_bytes(half.try_into().unwrap()))
    }

    /// Guards what both halves agree on: whose it is, in what, under which name, how long, and how much it freed.
    #[test]
    fn a_key_and_its_waits_become_a_line() {
        let key = waits::key(words(b"stress-ng-vm\0\0\0\0"), reclaim::MEMCG, whose::OWN);
        let told = pressure(&key, &waits(&[1_000, 2_000_000], 33), Some(4096)).unwrap();
        assert_eq!((told.kind, told.whose), (MemcgReclaim, Whose::Own));
        assert_eq!((told.comm.as_deref(), told.reclaimed_bytes), (Some("stress-ng-vm"), Some(33 * 4096)));
        assert_eq!((told.latency.count, told.latency.total_ns), (2, 2_001_000));
        // The longest was missed: it is at least as long as the bucket that it is in.
        let max_ns = told.latency.max_ns.unwrap();
        assert!(max_ns > 1_500_000 && max_ns <= 2_000_000, "{max_ns}");
        assert_eq!(pressure(&key, &waits(&[], 0), Some(4096)), None, "nobody waited");
        assert_eq!(pressure(&key, &waits(&[1], 0), None).unwrap().reclaimed_bytes, None);
    }

    /// Guards the rest, which has no name, from a task without a name; and compaction, which frees nothing.
    #[test]
    fn the_rest_has_no_name() {
        let rest = waits::key(REST, COMPACTION, whose::UNKNOWN);
        let told = pressure(&rest, &waits(&[700], 0), Some(4096)).unwrap();
        assert_eq!((told.kind, told.whose, told.comm), (Compaction, Whose::Unknown, None));
        assert_eq!(told.reclaimed_bytes, None);
        let nameless = waits::key([0; 2], reclaim::DIRECT, whose::BYSTANDER);
        let told = pressure(&nameless, &waits(&[700], 0), None).unwrap();
        assert_eq!((told.whose, told.comm.as_deref()), (Whose::Bystander, Some("")));
        assert_eq!(pressure(&waits::key([0; 2], 9, 0), &waits(&[700], 0), None), None);
    }

    /// Guards the order: most time first.
    #[test]
    fn most_time_comes_first() {
        let line = |kind, times: &[u64]| {
            pressure(
                &waits::key(words(b"a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"), kind, whose::OWN),
                &waits(times, 0),
                None,
            )
        };
        let lines =
            [line(COMPACTION, &[600]), line(reclaim::DIRECT, &[600]), line(reclaim::MEMCG, &[500, 400])];
        let mut lines: Vec<_> = lines.into_iter().flatten().collect();
        sort(&mut lines);
        let kinds: Vec<_> = lines.iter().map(|line| line.kind).collect();
        assert_eq!(kinds, [MemcgReclaim, DirectReclaim, Compaction]);
    }
}
