//! Tells the programs where the kernel keeps what a fork goes by and no type information leads to: how many threads there are
//! and may be, and how much memory is and may be promised. What /proc tells of these comes late: by then it may have changed
//! again.

use std::path::Path;

use anyhow::Context as _;
use aya::{
    Ebpf, Pod,
    maps::{Array, MapData},
};
use oomtrace_ebpf::Variables;

use super::symbols::{KALLSYMS, Symbols};

/// The kernel's names of them, and where their addresses go.
type Place = (&'static str, fn(&mut Variables) -> &mut u64);

const PLACES: [Place; 10] = [
    ("nr_threads", |variables| &mut variables.threads),
    ("max_threads", |variables| &mut variables.threads_max),
    ("pid_max", |variables| &mut variables.pid_max),
    ("sysctl_overcommit_memory", |variables| &mut variables.overcommit_memory),
    ("sysctl_overcommit_ratio", |variables| &mut variables.overcommit_ratio),
    ("sysctl_overcommit_kbytes", |variables| &mut variables.overcommit_kbytes),
    ("total_swap_pages", |variables| &mut variables.swap_pages),
    ("vm_committed_as", |variables| &mut variables.committed),
    ("sysctl_user_reserve_kbytes", |variables| &mut variables.user_reserve_kbytes),
    ("sysctl_admin_reserve_kbytes", |variables| &mut variables.admin_reserve_kbytes),
];

/// The kernel's names of them.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    PLACES.into_iter().map(|(name, _)| name)
}

#[repr(transparent)]
#[derive(Clone, Copy)]
struct Value(Variables);
// SAFETY: addresses without padding between them.
unsafe impl Pod for Value {}

/// What the programs are to be told.
pub struct Places(Option<Array<MapData, Value>>);

impl Places {
    /// Takes the map of what is loaded.
    pub fn of(ebpf: &mut Ebpf) -> anyhow::Result<Self> {
        let map = ebpf.take_map("VARIABLES").context("The eBPF object lacks the map VARIABLES")?;
        Ok(Self(Some(map.try_into().context("The places of variables cannot be told")?)))
    }

    /// Tells them, the first time. It takes some 40 ms to find them, so only who sees a fork fail does: the first failure is
    /// judged by what /proc says right after it. So are all where the kernel hides its symbols.
    pub fn tell(&mut self) {
        let Some(mut map) = self.0.take() else { return };
        let symbols = Symbols::of(Path::new(KALLSYMS), &PLACES.map(|(name, _)| name));
        let mut variables = Variables::default();
        for (name, place) in PLACES {
            *place(&mut variables) = symbols.get(name).map_or(0, |symbol| symbol.address);
        }
        // An array of one takes it; what is not told is read from /proc.
        let _ = map.set(0, Value(variables), 0);
    }
}
