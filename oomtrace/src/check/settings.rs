//! Settings by their names.

use std::collections::BTreeMap;

use crate::host::node::Node;

/// Each setting that the rules look at, as it stands.
pub(super) fn of(node: &Node) -> BTreeMap<&'static str, i64> {
    let set = &node.settings;
    let big = |number: Option<u64>| number.and_then(|number| i64::try_from(number).ok());
    let small = |number: Option<u32>| number.map(i64::from);
    let known = [
        ("kernel.panic", node.crash.panic_seconds),
        ("kernel.pid_max", big(set.pid_max)),
        ("kernel.threads-max", big(set.threads_max)),
        ("vm.admin_reserve_kbytes", big(set.admin_reserve_kbytes)),
        ("vm.min_free_kbytes", big(set.min_free_kbytes)),
        ("vm.oom_dump_tasks", small(node.oom_dump_tasks)),
        ("vm.oom_kill_allocating_task", small(set.oom_kill_allocating_task)),
        ("vm.overcommit_kbytes", big(set.overcommit_kbytes)),
        ("vm.overcommit_memory", small(set.overcommit_memory)),
        ("vm.overcommit_ratio", small(set.overcommit_ratio)),
        ("vm.panic_on_oom", small(set.panic_on_oom)),
        ("vm.swappiness", small(set.swappiness)),
        ("vm.user_reserve_kbytes", big(set.user_reserve_kbytes)),
        ("vm.watermark_scale_factor", small(set.watermark_scale_factor)),
    ];
    known.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}
