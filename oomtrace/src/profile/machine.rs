//! What decides how a machine behaves when memory runs out, for whoever compares runs.

use std::{collections::BTreeMap, fs, path::Path};

use super::report::Machine;
use crate::host::Host;

/// Settings below /proc/sys, by the names that sysctl(8) has for them.
const SYSCTLS: [&str; 20] = [
    "kernel.numa_balancing",
    "kernel.pid_max",
    "kernel.threads-max",
    "vm.admin_reserve_kbytes",
    "vm.compaction_proactiveness",
    "vm.dirty_background_ratio",
    "vm.dirty_ratio",
    "vm.extfrag_threshold",
    "vm.min_free_kbytes",
    "vm.oom_kill_allocating_task",
    "vm.overcommit_kbytes",
    "vm.overcommit_memory",
    "vm.overcommit_ratio",
    "vm.page-cluster",
    "vm.panic_on_oom",
    "vm.swappiness",
    "vm.vfs_cache_pressure",
    "vm.watermark_boost_factor",
    "vm.watermark_scale_factor",
    "vm.zone_reclaim_mode",
];
/// Settings below /sys.
const FILES: [&str; 5] = [
    "kernel/mm/lru_gen/enabled",
    "kernel/mm/lru_gen/min_ttl_ms",
    "kernel/mm/transparent_hugepage/defrag",
    "kernel/mm/transparent_hugepage/enabled",
    "module/zswap/parameters/enabled",
];
/// A setting is a word or two.
const LONGEST: usize = 200;

/// Reads the machine below `root` (`/`). Settings that this kernel does not have are not there.
#[must_use]
pub fn read(root: &Path, host: &Host) -> Machine {
    let text = |path: std::path::PathBuf| {
        let text = fs::read_to_string(path).ok()?;
        let text: String = text.trim().chars().take(LONGEST).collect();
        (!text.is_empty()).then_some(text)
    };
    let sysctls = SYSCTLS.iter().filter_map(|name| {
        let path = root.join("proc/sys").join(name.replace('.', "/"));
        Some(((*name).to_owned(), text(path)?))
    });
    let files =
        FILES.iter().filter_map(|name| Some(((*name).to_owned(), text(root.join("sys").join(name))?)));
    Machine {
        host: host.name.clone(),
        kernel: host.kernel.clone(),
        cpus: host.cpus_online,
        memory_bytes: host.memory_bytes,
        swap_bytes: host.swap_bytes,
        page_bytes: host.page_bytes,
        sysctls: sysctls.chain(files).collect::<BTreeMap<_, _>>(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the names of settings against those that the kernel has, and that what is not there is left out.
    #[test]
    fn settings_are_the_kernels() {
        let host = Host::read(Path::new("/")).unwrap();
        let machine = read(Path::new("/"), &host);
        assert!(
            machine.sysctls.contains_key("vm.swappiness") && machine.sysctls.contains_key("kernel.pid_max")
        );
        assert!(read(Path::new("/nowhere"), &host).sysctls.is_empty());
    }
}
