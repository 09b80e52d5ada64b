//! How the memory limit of a cgroup is raised: that is up to whoever made the cgroup.

use super::{
    finding::{Fix, Lasts},
    shell::quoted,
    systemd,
};
use crate::{
    host::container::Runtime,
    incident::{Cgroup, Limit, Place},
    profile::child::cgroup::is_of_run,
    text::printable,
    words::size,
};

const MORE: &str = "others on the machine have that much less; a leak only takes longer to fill it";

/// What a cgroup may have of swap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swap {
    /// That is not known.
    Unknown,
    /// As much as there is.
    Any,
    /// So many bytes.
    UpTo(u64),
}

impl Swap {
    /// That of a level at its limit. Version 1 has it in a limit of both.
    pub fn of(level: &Limit) -> Self {
        if level.swap_usage_bytes.is_some() {
            return level.swap_limit_bytes.map_or(Self::Any, Self::UpTo);
        }
        match (level.memsw_usage_bytes, level.memsw_limit_bytes) {
            (Some(_), Some(both)) => Self::UpTo(both.saturating_sub(level.limit_bytes.unwrap_or(both))),
            (Some(_), None) => Self::Any,
            (None, _) => Self::Unknown,
        }
    }

    /// The option of Docker's and Podman's that keeps it as it is: memory and swap together. Without it Docker refuses a limit beyond
    /// the one of both, and Podman doubles the memory.
    fn option(self, mib: u64) -> Option<String> {
        match self {
            Self::Unknown => None,
            Self::Any => Some("--memory-swap -1".to_owned()),
            Self::UpTo(bytes) => {
                Some(format!("--memory-swap {}m", mib.saturating_add(bytes.div_ceil(1 << 20))))
            }
        }
    }
}

/// A limit that leaves half as much room again, in MiB.
pub fn roomier_mib(limit_bytes: u64) -> u64 {
    limit_bytes.saturating_add(limit_bytes / 2).div_ceil(1 << 20).max(1)
}

/// How to give a cgroup more memory than its limit, and as much swap as it has.
pub fn raise(memcg: &Cgroup, limit_bytes: u64, swap: Swap) -> Fix {
    raise_above(memcg, limit_bytes, limit_bytes, swap)
}

/// The same where so much is needed.
pub fn raise_above(memcg: &Cgroup, limit_bytes: u64, needed_bytes: u64, swap: Swap) -> Fix {
    let path = memcg.path.as_deref().unwrap_or_default();
    let mib = roomier_mib(needed_bytes);
    let now = size(limit_bytes);
    let last = path.rsplit('/').next().unwrap_or_default();
    // It is gone with the command: the next one has what is asked for.
    if is_of_run(path) {
        return Fix::advice(
            format!("give the command more: `oomtrace run --cgroup-limit {mib}M` (now {now})"),
            MORE,
        );
    }
    let place = Place::of(Some(path.to_owned()));
    // A group that a container made within itself has a limit of its own.
    if let Some(container) = place.container.as_ref().filter(|container| last.contains(&container.id)) {
        let id = quoted(container.short_id());
        if container.pod_uid.is_some() {
            return Fix::advice(
                format!("raise resources.limits.memory (now {now}) of this container in its pod's manifest"),
                MORE,
            );
        }
        let by = |tool: &str, swap: String| {
            let command = format!("{tool} update --memory {mib}m {swap} {id}");
            Fix::untried(format!("raise the container's --memory (now {now})"), command, MORE)
        };
        return match (container.runtime, swap.option(mib)) {
            (Some(Runtime::Docker), Some(swap)) => by("docker", swap).lasting(Lasts::ForGood),
            // A user's own container is known to that user's Podman alone. Before 5.1 it forgot what it was told with a restart.
            (Some(Runtime::Podman), Some(swap)) if !path.contains("/user@") => by("podman", swap),
            _ => Fix::advice(
                format!(
                    "raise the container's memory limit (now {now}), and that of memory and swap by as much"
                ),
                MORE,
            ),
        };
    }
    if path == "/" {
        return Fix::advice(
            format!("raise the limit (now {now}) of this container, from outside of it"),
            MORE,
        );
    }
    if matches!(last, "kubepods" | "kubepods.slice") {
        return Fix::advice(
            format!(
                "run fewer pods on the node, or let the kubelet reserve less: all pods together may have {now}"
            ),
            MORE,
        );
    }
    if path.contains("kubepods") {
        return Fix::advice(
            format!(
                "raise resources.limits.memory of the pod's containers: the pod's limit (now {now}) is their sum"
            ),
            MORE,
        );
    }
    if let Some(unit) = systemd::owner(path) {
        let what = format!("raise MemoryMax= of {} (now {now})", printable(&unit));
        return systemd::change(path, &unit, &format!("MemoryMax={mib}M"), what, MORE);
    }
    let set = |mib: u64, file: String| format!("echo {mib}M > {}", quoted(&file));
    let command = match (memcg.hierarchy, swap) {
        (Some(0) | None, _) => set(mib, format!("/sys/fs/cgroup{path}/memory.max")),
        (Some(_), swap) => {
            let memory = set(mib, format!("/sys/fs/cgroup/memory{path}/memory.limit_in_bytes"));
            match swap {
                // Above the limit of both, that of memory is refused (mem_cgroup_resize_max(), mm/memcontrol.c).
                Swap::UpTo(bytes) => {
                    let both = mib.saturating_add(bytes.div_ceil(1 << 20));
                    let both = set(both, format!("/sys/fs/cgroup/memory{path}/memory.memsw.limit_in_bytes"));
                    format!("{both} && {memory}")
                }
                Swap::Any | Swap::Unknown => memory,
            }
        }
    };
    Fix::command(
        format!(
            "raise the limit (now {now}): for good in the settings of whatever made the group, and by hand until then"
        ),
        command,
        MORE,
    ).lasting(Lasts::WithGroup)
}

/// How to let a cgroup use swap.
pub fn allow_swap(path: &str, hierarchy: Option<u32>) -> Fix {
    const SLOWER: &str = "what is swapped out comes back slowly: the program may become slow before it dies";
    let place = Place::of(Some(path.to_owned()));
    let last = path.rsplit('/').next().unwrap_or_default();
    let v1 = hierarchy.is_some_and(|hierarchy| hierarchy != 0);
    if let Some(container) = place.container.as_ref().filter(|container| last.contains(&container.id)) {
        let what = if container.pod_uid.is_some() {
            "let the kubelet give pods swap (memorySwap.swapBehavior: LimitedSwap), or raise the memory limit"
        } else {
            "raise the container's --memory-swap, which is what it may have of memory and swap together"
        };
        return Fix::advice(what, SLOWER);
    }
    let by_systemd = !v1 && !path.contains("kubepods");
    if let Some(unit) = systemd::owner(path).filter(|_| by_systemd) {
        let what = format!("let {} use swap (MemorySwapMax=)", printable(&unit));
        return systemd::change(path, &unit, "MemorySwapMax=infinity", what, SLOWER);
    }
    let what = "let the group use swap";
    let set = |value: &str, file: String| format!("echo {value} > {}", quoted(&file));
    if v1 {
        let file = format!("/sys/fs/cgroup/memory{path}/memory.memsw.limit_in_bytes");
        return Fix::untried(what, set("-1", file), SLOWER).lasting(Lasts::WithGroup);
    }
    Fix::command(what, set("max", format!("/sys/fs/cgroup{path}/memory.swap.max")), SLOWER)
        .lasting(Lasts::WithGroup)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(path: &str, hierarchy: u32) -> Option<String> {
        let memcg = Cgroup { path: Some(path.to_owned()), id: None, hierarchy: Some(hierarchy) };
        raise(&memcg, 32 << 20, Swap::UpTo(16 << 20)).command
    }

    /// Guards the commands: each speaks to whoever owns the limit, with names as single words, and where nobody here does,
    /// there is none.
    #[test]
    fn whoever_made_the_cgroup_is_told() {
        let id = "4e9bf3a17c02".repeat(5) + "4e9b";
        let docker = format!("/system.slice/docker-{id}.scope");
        let podman = format!("/machine.slice/libpod-{id}.scope");
        let pod =
            format!("/kubepods.slice/kubepods-pod7a3c1f2e_0b1d_4c5e_9f60_718293a4b5c6.slice/crio-{id}.scope");
        let rootless = format!("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{id}.scope");
        let inner = format!("{docker}/inner");
        let inner_command = format!("echo 48M > /sys/fs/cgroup{inner}/memory.max");
        for (path, hierarchy, expected) in [
            ("/system.slice/web.service", 0, Some("systemctl set-property -- web.service MemoryMax=48M")),
            ("/system.slice", 0, Some("systemctl set-property -- system.slice MemoryMax=48M")),
            (
                "/user.slice/user-1000.slice/user@1000.service/app.slice/a b.service",
                0,
                Some(
                    "sudo -u '#1000' env XDG_RUNTIME_DIR=/run/user/1000 systemctl --user set-property -- 'a b.service' MemoryMax=48M",
                ),
            ),
            (docker.as_str(), 0, Some("docker update --memory 48m --memory-swap 64m 4e9bf3a17c02")),
            (podman.as_str(), 0, Some("podman update --memory 48m --memory-swap 64m 4e9bf3a17c02")),
            (pod.as_str(), 0, None),
            ("/system.slice/oomtrace-run-7", 0, None),
            (rootless.as_str(), 0, None),
            (inner.as_str(), 0, Some(inner_command.as_str())),
            ("/kubepods/burstable/pod7a3c1f2e-0b1d-4c5e-9f60-718293a4b5c6", 0, None),
            ("/web/$(reboot)", 0, Some("echo 48M > '/sys/fs/cgroup/web/$(reboot)/memory.max'")),
            (
                "/system.slice/web.service/worker",
                0,
                Some("echo 48M > /sys/fs/cgroup/system.slice/web.service/worker/memory.max"),
            ),
            (
                "/system.slice/x';reboot;'.service",
                0,
                Some(r"systemctl set-property -- 'x'\'';reboot;'\''.service' MemoryMax=48M"),
            ),
        ] {
            assert_eq!(command(path, hierarchy).as_deref(), expected, "{path}");
        }
    }

    /// Guards how long a change is said to stay: as long as whoever is told keeps it, whatever the names are.
    #[test]
    fn changes_stay_as_long_as_they_are_kept() {
        let id = "4e9bf3a17c02".repeat(5) + "4e9b";
        for (path, lasts) in [
            (format!("/docker/{id}"), Some(Lasts::ForGood)),
            (format!("/machine.slice/libpod-{id}.scope"), None),
            ("/systemctl-jobs".to_owned(), Some(Lasts::WithGroup)),
            ("/sysctl x".to_owned(), Some(Lasts::WithGroup)),
            ("/\u{1b}".to_owned(), Some(Lasts::WithGroup)),
        ] {
            let memcg = Cgroup { path: Some(path.clone()), id: None, hierarchy: Some(0) };
            assert_eq!(raise(&memcg, 32 << 20, Swap::Any).lasts, lasts, "{path}");
        }
    }

    /// Guards swap: a container that gets more memory may swap as much as before, and where that is not known there is no command.
    #[test]
    fn swap_stays_what_it_is() {
        let path = format!("/docker/{}", "4e9bf3a17c02".repeat(5) + "4e9b");
        let memcg = Cgroup { path: Some(path), id: None, hierarchy: Some(0) };
        for (swap, option) in [
            (Swap::UpTo(0), Some("--memory-swap 48m")),
            (Swap::UpTo(32 << 20), Some("--memory-swap 80m")),
            (Swap::Any, Some("--memory-swap -1")),
            (Swap::Unknown, None),
        ] {
            let command = raise(&memcg, 32 << 20, swap).command;
            let expected = option.map(|option| format!("docker update --memory 48m {option} 4e9bf3a17c02"));
            assert_eq!(command, expected);
        }
        let mut level = Limit { limit_bytes: Some(32), ..Limit::default() };
        assert_eq!(Swap::of(&level), Swap::Unknown);
        (level.memsw_usage_bytes, level.memsw_limit_bytes) = (Some(1), Some(48));
        assert_eq!(Swap::of(&level), Swap::UpTo(16));
        level.memsw_limit_bytes = None;
        assert_eq!(Swap::of(&level), Swap::Any);
        (level.swap_usage_bytes, level.swap_limit_bytes) = (Some(0), Some(0));
        assert_eq!(Swap::of(&level), Swap::UpTo(0));
    }

    /// Guards the commands that allow swap, as those above.
    #[test]
    fn swap_is_allowed_by_whoever_forbids_it() {
        for (path, hierarchy, expected) in [
            ("/system.slice/web.service", 0, "systemctl set-property -- web.service MemorySwapMax=infinity"),
            ("/a b", 0, "echo max > '/sys/fs/cgroup/a b/memory.swap.max'"),
            ("/web", 3, "echo -1 > /sys/fs/cgroup/memory/web/memory.memsw.limit_in_bytes"),
        ] {
            assert_eq!(allow_swap(path, Some(hierarchy)).command.as_deref(), Some(expected), "{path}");
        }
        let docker = format!("/docker/{}", "4e9bf3a17c02".repeat(5) + "4e9b");
        assert_eq!(allow_swap(&docker, Some(0)).command, None);
    }

    /// Guards version 1, where memory alone may have no more than memory and swap together.
    #[test]
    fn the_limit_of_both_is_raised_first() {
        let memcg = Cgroup { path: Some("/web".to_owned()), id: None, hierarchy: Some(4) };
        let command = |swap| raise(&memcg, 32 << 20, swap).command.unwrap_or_default();
        let memory = "echo 48M > /sys/fs/cgroup/memory/web/memory.limit_in_bytes";
        let both =
            |mib| format!("echo {mib}M > /sys/fs/cgroup/memory/web/memory.memsw.limit_in_bytes && {memory}");
        assert_eq!((command(Swap::UpTo(0)), command(Swap::UpTo(8 << 20))), (both(48), both(56)));
        assert_eq!((command(Swap::Any).as_str(), command(Swap::Unknown).as_str()), (memory, memory));
    }

    /// Guards the proposed limit: half as much again, never nothing, never more than fits.
    #[test]
    fn the_proposed_limit_is_roomier() {
        assert_eq!(roomier_mib(32 << 20), 48);
        assert_eq!(roomier_mib(1), 1);
        assert!(roomier_mib(u64::MAX) > 1 << 40);
    }
}
