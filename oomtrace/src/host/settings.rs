//! How the machine is set up to run out of memory, and of processes: what findings are made from.

use std::{fs, path::Path, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{meminfo_bytes, sysctl};

/// What is set, and what there is of what the settings are about. What cannot be read is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// `vm.min_free_kbytes`: what the kernel keeps free for itself.
    pub min_free_kbytes: Option<u64>,
    /// `vm.watermark_scale_factor`, in 10,000ths of a zone.
    pub watermark_scale_factor: Option<u32>,
    /// `vm.compact_unevictable_allowed`: whether locked memory may be moved to put free memory together.
    pub compact_unevictable_allowed: Option<u32>,
    /// `vm.panic_on_oom`: 0 (kill), 1 (panic, where the whole machine is short), 2 (always panic).
    pub panic_on_oom: Option<u32>,
    /// `vm.oom_kill_allocating_task`: unless 0, whoever asks dies.
    pub oom_kill_allocating_task: Option<u32>,
    /// `vm.overcommit_memory`: 0 (within reason), 1 (promise anything), 2 (promise no more than there is).
    pub overcommit_memory: Option<u32>,
    /// `vm.overcommit_ratio`, percent.
    pub overcommit_ratio: Option<u32>,
    /// `vm.overcommit_kbytes`: in place of that, unless 0.
    pub overcommit_kbytes: Option<u64>,
    /// `vm.admin_reserve_kbytes`.
    pub admin_reserve_kbytes: Option<u64>,
    /// `vm.user_reserve_kbytes`.
    pub user_reserve_kbytes: Option<u64>,
    /// `vm.swappiness`.
    pub swappiness: Option<u32>,
    /// `kernel.pid_max`.
    pub pid_max: Option<u64>,
    /// `kernel.threads-max`.
    pub threads_max: Option<u64>,
    /// The machine's memory (`MemTotal`).
    pub memory_bytes: Option<u64>,
    /// Swap space (`SwapTotal`).
    pub swap_total_bytes: Option<u64>,
    /// What of it is free (`SwapFree`).
    pub swap_free_bytes: Option<u64>,
    /// What may be promised where `overcommit_memory` is 2 (`CommitLimit`).
    pub commit_limit_bytes: Option<u64>,
    /// What is promised (`Committed_AS`).
    pub committed_bytes: Option<u64>,
    /// Memory set aside for huge pages of all sizes (`Hugetlb`).
    pub huge_pages_bytes: Option<u64>,
    /// What of those of the usual size nobody uses or has reserved (`HugePages_Free` less `HugePages_Rsvd`, × `Hugepagesize`).
    pub huge_pages_free_bytes: Option<u64>,
}

impl Settings {
    /// Reads the machine below `root` (`/`).
    #[must_use]
    pub fn read(root: &Path) -> Self {
        let meminfo = fs::read_to_string(root.join("proc/meminfo")).unwrap_or_default();
        let bytes = |key| meminfo_bytes(&meminfo, key);
        let huge_page_bytes = bytes("Hugepagesize");
        // Those that somebody has reserved, to use them later, are counted as free.
        let huge_pages_free = plain(&meminfo, "HugePages_Free")
            .map(|free| free.saturating_sub(plain(&meminfo, "HugePages_Rsvd").unwrap_or(0)));
        Self {
            min_free_kbytes: number(root, "vm/min_free_kbytes"),
            watermark_scale_factor: number(root, "vm/watermark_scale_factor"),
            compact_unevictable_allowed: number(root, "vm/compact_unevictable_allowed"),
            panic_on_oom: number(root, "vm/panic_on_oom"),
            oom_kill_allocating_task: number(root, "vm/oom_kill_allocating_task"),
            overcommit_memory: number(root, "vm/overcommit_memory"),
            overcommit_ratio: number(root, "vm/overcommit_ratio"),
            overcommit_kbytes: number(root, "vm/overcommit_kbytes"),
            admin_reserve_kbytes: number(root, "vm/admin_reserve_kbytes"),
            user_reserve_kbytes: number(root, "vm/user_reserve_kbytes"),
            swappiness: number(root, "vm/swappiness"),
            pid_max: number(root, "kernel/pid_max"),
            threads_max: number(root, "kernel/threads-max"),
            memory_bytes: bytes("MemTotal"),
            swap_total_bytes: bytes("SwapTotal"),
            swap_free_bytes: bytes("SwapFree"),
            commit_limit_bytes: bytes("CommitLimit"),
            committed_bytes: bytes("Committed_AS"),
            huge_pages_bytes: bytes("Hugetlb"),
            huge_pages_free_bytes: huge_pages_free.and_then(|pages| pages.checked_mul(huge_page_bytes?)),
        }
    }
}

/// Settings that are looked at when something happens, but not too often.
#[derive(Debug, Default)]
pub struct Watched {
    /// What was read last, and when, ns since boot.
    last: Option<(u64, Settings)>,
}

/// How long settings are taken to be what they were, ns.
const STALE_NS: u64 = 100_000_000;

impl Watched {
    /// What there is below `root` at `now_ns`, if that is something else than what was told last.
    pub fn newer(&mut self, root: &Path, now_ns: u64) -> Option<Settings> {
        if self.last.as_ref().is_some_and(|(read_ns, _)| now_ns.saturating_sub(*read_ns) < STALE_NS) {
            return None;
        }
        let settings = Settings::read(root);
        let known = self.last.replace((now_ns, settings.clone()));
        known.is_none_or(|(_, known)| known != settings).then_some(settings)
    }
}

fn number<T: FromStr>(root: &Path, name: &str) -> Option<T> {
    sysctl::text(root, name)?.parse().ok()
}

/// A line of /proc/meminfo that has no unit.
fn plain(meminfo: &str, key: &str) -> Option<u64> {
    meminfo.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards what is read: each setting by itself, from its own file, and what is not there, or is no number, is absent.
    #[test]
    fn each_setting_is_read_by_itself() {
        let root = std::env::temp_dir().join(format!("oomtrace-settings-{}", std::process::id()));
        assert_eq!(Settings::read(&root), Settings::default());
        for (file, text) in [
            ("sys/vm/min_free_kbytes", "67584\n"),
            ("sys/vm/panic_on_oom", "1\n"),
            ("sys/vm/swappiness", "sixty\n"),
            ("sys/kernel/pid_max", "4194304\n"),
            (
                "meminfo",
                "MemTotal: 4 kB\nSwapTotal: 3 kB\nSwapFree: 2 kB\nCommitted_AS: 1 kB\nHugePages_Total: 9\n\
                 HugePages_Free:    8\nHugePages_Rsvd: 1\nHugepagesize:       2048 kB\nHugetlb: 18432 kB\n",
            ),
        ] {
            let path = root.join("proc").join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let settings = Settings::read(&root);
        fs::remove_dir_all(&root).unwrap();
        let expected = Settings {
            min_free_kbytes: Some(67_584),
            panic_on_oom: Some(1),
            pid_max: Some(4_194_304),
            memory_bytes: Some(4096),
            swap_total_bytes: Some(3072),
            swap_free_bytes: Some(2048),
            committed_bytes: Some(1024),
            huge_pages_bytes: Some(18 << 20),
            huge_pages_free_bytes: Some(14 << 20),
            ..Settings::default()
        };
        assert_eq!(settings, expected);
    }

    /// Guards a storm: settings are read ten times a second at most, and told when they have changed.
    #[test]
    fn settings_are_told_when_they_change() {
        let root = std::env::temp_dir().join(format!("oomtrace-watched-{}", std::process::id()));
        let file = root.join("proc/sys/vm/panic_on_oom");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        let mut watched = Watched::default();
        let mut told = |text: &str, now_ns| {
            fs::write(&file, text).unwrap();
            watched.newer(&root, now_ns).and_then(|settings| settings.panic_on_oom)
        };
        assert_eq!(told("0", 5), Some(0));
        assert_eq!(told("1", 6), None, "too soon");
        assert_eq!(told("1", 5 + STALE_NS), Some(1));
        assert_eq!(told("1", 5 + 2 * STALE_NS), None, "nothing new");
        fs::remove_dir_all(&root).unwrap();
    }
}
