//! Maps from which the kernel drops what was used least recently.

/// How many free elements a processor that ever inserted one may keep for itself: `LOCAL_FREE_TARGET`
/// (kernel/bpf/bpf_lru_list.c). When none are left for the next processor, elements in use are dropped instead.
const KEPT_FREE: u32 = 128;

/// A map of the kind `BPF_MAP_TYPE_LRU_HASH`.
pub struct Recent {
    /// Its name in the object.
    pub name: &'static str,
    /// How many elements it holds before the first is dropped.
    pub holds: u32,
}

/// What threads reclaimed.
pub const RECLAIM: Recent = Recent { name: "RECLAIM", holds: 1024 };
/// Kills that are to be marked next.
pub const KILLING: Recent = Recent { name: "KILLING", holds: 256 };
/// Victims that are expected to end.
pub const DYING: Recent = Recent { name: "DYING", holds: 512 };

/// Allocations that failed, by process.
pub const HURT: Recent = Recent { name: "HURT", holds: 256 };

/// Forks that are failing, by thread.
pub const FORKING: Recent = Recent { name: "FORKING", holds: 256 };

/// What daemons in user space have sent.
pub const SENT: Recent = Recent { name: "SENT", holds: 512 };

/// Threads that compact a zone.
pub const COMPACTING: Recent = Recent { name: "COMPACTING", holds: 256 };

/// All of them.
pub const ALL: [Recent; 7] = [RECLAIM, KILLING, DYING, HURT, FORKING, SENT, COMPACTING];

impl Recent {
    /// The size at which it holds as many on a machine of `cpus` possible processors.
    #[must_use]
    pub const fn max_entries(&self, cpus: u32) -> u32 {
        self.holds.saturating_add(cpus.saturating_mul(KEPT_FREE))
    }
}
