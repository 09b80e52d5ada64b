//! What rules about failed forks have in common.

use super::{
    finding::{Conclusion, Fix, Lasts},
    shell::quoted,
    systemd,
};
use crate::{
    incident::{ForkCause, ForkFailure, Place, Proof},
    profile::child::cgroup::is_of_run,
    text::printable,
};

/// A conclusion with the evidence that every failed fork has.
pub fn told(failure: &ForkFailure, summary: impl Into<String>) -> Conclusion {
    let told = Conclusion::warning(summary)
        .with_known("errno", failure.errno_name)
        .with_known("limit", failure.limit)
        .with_known("usage", failure.usage)
        .with_known("limit_bytes", failure.limit_bytes)
        .with_known("usage_bytes", failure.usage_bytes)
        .with_known("limit_at", failure.limit_at.as_deref());
    // What is left when everything else can be ruled out.
    let inferred =
        failure.proof == Proof::State && matches!(failure.cause, ForkCause::ThreadsMax | ForkCause::Memory);
    if inferred { told.likely() } else { told }
}

/// That there may be a leak of processes.
pub fn find_leak() -> Fix {
    Fix::advice(
        "find what leaks processes: look at who has most of them (ps -eLo user,cgroup,comm | sort | uniq -c | sort -n | tail)",
        "none",
    )
}

/// A conclusion about a failure of one cause, and of no other.
pub fn about(
    failure: &ForkFailure,
    cause: ForkCause,
    summary: impl FnOnce() -> String,
) -> Option<Conclusion> {
    (failure.cause == cause).then(|| told(failure, summary()))
}

/// A limit twice as high, or twice what there is: a limit can be set below that.
pub fn doubled(limit: Option<u64>, usage: Option<u64>) -> Option<u64> {
    Some(limit?.max(usage.unwrap_or(0)).max(1).saturating_mul(2))
}

/// How a limit of the whole machine is raised that lets nobody fork, root neither: a shell that is open does so by itself, and could
/// not start sysctl(8) for it.
pub fn set_without_fork(file: &str, value: u64) -> String {
    format!("echo {value} > /proc/sys/{file}")
}

/// A cgroup that holds as many processes and threads as it may, as far as it is known.
#[derive(Clone, Copy, Debug)]
pub struct FullGroup<'a> {
    /// Its path.
    pub path: Option<&'a str>,
    /// The number of the hierarchy: 0 is version 2's.
    pub hierarchy: Option<u32>,
    /// What it may hold.
    pub limit: Option<u64>,
    /// What it holds.
    pub usage: Option<u64>,
}

/// How the limit of a cgroup's processes is raised, by whoever set it.
pub fn raise_pids_max(full: FullGroup<'_>) -> Fix {
    const MORE: &str =
        "a leak or a fork bomb has that much more room, and every process takes memory of the kernel's";
    let Some(path) = full.path else {
        return Fix::advice("raise pids.max of that cgroup (TasksMax= of its unit)", MORE);
    };
    let more = doubled(full.limit, full.usage).map(|limit| limit.to_string());
    if is_of_run(path) {
        let most = more.as_deref().unwrap_or("N");
        return Fix::advice(format!("allow the command more: `oomtrace run --pids-limit {most}`"), MORE);
    }
    if path == "/" {
        return Fix::advice("raise the limit of this container's processes, from outside of it", MORE);
    }
    let place = Place::of(Some(path.to_owned()));
    if place.container.is_some() || path.contains("kubepods") {
        return Fix::advice("raise the container's --pids-limit, or the kubelet's podPidsLimit", MORE);
    }
    if let Some(unit) = systemd::owner(path) {
        let property = format!("TasksMax={}", more.as_deref().unwrap_or("infinity"));
        return systemd::change(
            path,
            &unit,
            &property,
            format!("raise TasksMax= of {}", printable(&unit)),
            MORE,
        );
    }
    let what =
        "raise pids.max of that group: for good in the settings of whatever made it, and by hand until then";
    let mount = match full.hierarchy {
        Some(0) => "/sys/fs/cgroup",
        // Where distributions mount the controller of version 1.
        Some(_) => "/sys/fs/cgroup/pids",
        None => return Fix::advice(what, MORE),
    };
    let more = more.as_deref().unwrap_or("max");
    Fix::command(what, format!("echo {more} > {}", quoted(&format!("{mount}{path}/pids.max"))), MORE)
        .lasting(Lasts::WithGroup)
}
