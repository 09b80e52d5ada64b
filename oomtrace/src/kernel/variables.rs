//! Tells the programs where the kernel keeps what a fork goes by and no type information leads to: how many threads there are
//! and may be, and how much memory is and may be promised. What /proc tells of these comes too late: by then it may have
//! changed again.

use anyhow::Context as _;
use aya::{
    Pod,
    maps::{Array, MapData},
};
use oomtrace_ebpf::Variables;

use super::{hooks::FORK_FAILURE, load::Attached, symbols::Symbols};

const NAMES: [&str; 10] = [
    "nr_threads",
    "max_threads",
    "pid_max",
    "sysctl_overcommit_memory",
    "sysctl_overcommit_ratio",
    "sysctl_overcommit_kbytes",
    "total_swap_pages",
    "vm_committed_as",
    "sysctl_user_reserve_kbytes",
    "sysctl_admin_reserve_kbytes",
];

#[repr(transparent)]
#[derive(Clone, Copy)]
struct Value(Variables);
// SAFETY: addresses without padding between them.
unsafe impl Pod for Value {}

/// What [`tell`] has to have looked for: nothing where no hook shows forks.
#[must_use]
pub fn wanted(attached: &Attached) -> &'static [&'static str] {
    let hooked = |role: &super::roles::RoleStatus| role.role == FORK_FAILURE.name && !role.hooks.is_empty();
    if attached.roles.iter().any(hooked) { &NAMES } else { &[] }
}

/// Tells the programs those that are known. Of the others, userspace has what /proc says.
pub fn tell(attached: &mut Attached, symbols: &Symbols) -> anyhow::Result<()> {
    if wanted(attached).is_empty() {
        return Ok(());
    }
    let [
        threads,
        threads_max,
        pid_max,
        overcommit_memory,
        overcommit_ratio,
        overcommit_kbytes,
        swap_pages,
        committed,
        user_reserve_kbytes,
        admin_reserve_kbytes,
    ] = NAMES.map(|name| symbols.get(name).map_or(0, |symbol| symbol.address));
    let variables = Variables {
        threads,
        threads_max,
        pid_max,
        overcommit_memory,
        overcommit_ratio,
        overcommit_kbytes,
        swap_pages,
        committed,
        user_reserve_kbytes,
        admin_reserve_kbytes,
    };
    let map = attached.ebpf.map_mut("VARIABLES").context("The eBPF object lacks the map VARIABLES")?;
    let mut map: Array<&mut MapData, Value> = map.try_into().context("VARIABLES cannot be used")?;
    map.set(0, Value(variables), 0).context("VARIABLES cannot be written")
}
