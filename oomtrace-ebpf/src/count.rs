//! What fails again and again: counted, and told once in [`FAILURE_AGAIN_NS`].

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    maps::{HashMap, LruHashMap},
};
use oomtrace_ebpf::{FAILURE_AGAIN_NS, FailureCount, RecordKind};

use crate::{
    ring::{add_one, count_lost},
    run::now,
};

/// A map of counts.
pub trait Counts<K> {
    /// The numbers of one that is counted already.
    fn find(&self, key: &K) -> Option<*mut FailureCount>;
    /// Begins to count one: `false` if another one was quicker, or if there is no room.
    fn begin(&self, key: &K, count: FailureCount) -> bool;
}

macro_rules! counts {
    ($($map:ident),+) => {$(
        impl<K> Counts<K> for $map<K, FailureCount> {
            #[inline(always)]
            fn find(&self, key: &K) -> Option<*mut FailureCount> {
                self.get_ptr_mut(key)
            }

            #[inline(always)]
            fn begin(&self, key: &K, count: FailureCount) -> bool {
                self.insert(key, count, u64::from(BPF_NOEXIST)).is_ok()
            }
        }
    )+};
}

counts!(HashMap, LruHashMap);

/// Counts one: when the first one was, and how many there are, if that is to be told now. Not if there is no way to (`busy`):
/// then a later one tells it.
#[inline(always)]
pub fn counted<K>(counts: &impl Counts<K>, key: &K, busy: bool, kind: RecordKind) -> Option<(u64, u64)> {
    let now = now();
    if let Some(count) = counts.find(key) {
        let count = count.cast::<u64>();
        // SAFETY: an element of three numbers may be reused but never unmapped. Others may fail so at the same time: the first
        // number stays as it is, the second is counted without losing one, and if two find that it is time to tell, both do,
        // each with a total of its own.
        unsafe {
            add_one(count.add(1));
            if busy || now.wrapping_sub(*count.add(2)) < FAILURE_AGAIN_NS {
                return None;
            }
            *count.add(2) = now;
            return Some((*count, *count.add(1)));
        }
    }
    if counts.begin(key, [now, 1, if busy { 0 } else { now }]) {
        return (!busy).then_some((now, 1));
    }
    match counts.find(key) {
        // SAFETY: as above.
        Some(count) => unsafe { add_one(count.cast::<u64>().add(1)) },
        None => count_lost(kind),
    }
    None
}
