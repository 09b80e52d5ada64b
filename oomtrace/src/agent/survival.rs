//! Whether the agent will live through what it is there to report: what stands against it, in sentences that say what to do.

use std::{fs, path::Path};

use crate::host::{cgroup::Hierarchy, memcg_files::limit_bytes};

/// What it takes with all outputs on, and some more, bytes.
const NEEDED_BYTES: u64 = 32 << 20;

/// What endangers this process on the machine below `root` (`/`). Nothing is said of what cannot be read.
#[must_use]
pub fn weaknesses(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let own = root.join("proc/self");
    let read = |name: &str| fs::read_to_string(own.join(name)).ok();
    if let Some(adj) = read("oom_score_adj").and_then(|text| text.trim().parse::<i32>().ok())
        && adj > -900
    {
        found.push(format!(
            "its oom_score_adj is {adj}, so the kernel may kill oomtrace itself: set OOMScoreAdjust=-999 in its unit, or give it \
             CAP_SYS_RESOURCE"
        ));
    }
    let locked = read("status").and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("VmLck:"))?.trim();
        line.strip_suffix(" kB")?.trim().parse::<u64>().ok()
    });
    if locked == Some(0) {
        found.push(
            "its memory is not locked, so that it may have to wait for a disk when memory is short: run it as root, or set \
             LimitMEMLOCK=infinity"
                .to_owned(),
        );
    }
    if let Some(sentence) = cgroup(root, &read("cgroup").unwrap_or_default()) {
        found.push(sentence);
    }
    found
}

/// What its memory cgroup, by the text of /proc/self/cgroup, has against it.
fn cgroup(root: &Path, text: &str) -> Option<String> {
    let hierarchy = Hierarchy::find(root, "memory").ok()?;
    let path = hierarchy.path_in(text, "memory")?;
    // What protects and limits the root of a hierarchy is the machine.
    if path == "/" {
        return None;
    }
    let bytes = |name: &str| limit_bytes(&hierarchy.text(path, name)?);
    if !hierarchy.is_unified() {
        let limit = bytes("memory.limit_in_bytes").filter(|limit| *limit < NEEDED_BYTES)?;
        return Some(format!(
            "its memory cgroup {path} may have {limit} bytes, and it needs up to {NEEDED_BYTES}: raise the limit"
        ));
    }
    if let Some(limit) = bytes("memory.max").filter(|limit| *limit < NEEDED_BYTES) {
        return Some(format!(
            "its memory cgroup {path} may have {limit} bytes, and it needs up to {NEEDED_BYTES}: raise memory.max"
        ));
    }
    let least = hierarchy.text(path, "memory.min")?;
    (least.trim() == "0").then(|| {
        format!(
            "nothing protects the memory of its cgroup {path} from being reclaimed: set MemoryMin=16M in its unit (memory.min)"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(adj: &str, locked: &str, cgroup: &str, files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("proc/self/oom_score_adj", adj);
        write("proc/self/status", &format!("Name:\toomtrace\nVmLck:\t{locked} kB\n"));
        write("proc/self/cgroup", cgroup);
        write("proc/self/mountinfo", "31 24 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
        write("sys/fs/cgroup/cgroup.controllers", "cpu memory pids\n");
        for (path, text) in files {
            write(&format!("sys/fs/cgroup/system.slice/oomtrace.service/{path}"), text);
        }
        root
    }

    /// Guards that a unit as ours is told nothing, and each weakness by itself what to do.
    #[test]
    fn each_weakness_is_named_and_no_other() {
        const UNIT: &str = "0::/system.slice/oomtrace.service\n";
        let said = |adj, locked, files: &[(&str, &str)]| weaknesses(tree(adj, locked, UNIT, files).path());
        let sound = [("memory.max", "max\n"), ("memory.min", "16777216\n")];
        assert!(said("-999\n", "4096", &sound).is_empty());
        let found = said("0\n", "4096", &sound);
        assert!(found.len() == 1 && found[0].contains("OOMScoreAdjust"), "{found:?}");
        let found = said("-999\n", "0", &sound);
        assert!(found.len() == 1 && found[0].contains("LimitMEMLOCK"), "{found:?}");
        let found = said("-999\n", "4096", &[("memory.max", "max\n"), ("memory.min", "0\n")]);
        assert!(found.len() == 1 && found[0].contains("MemoryMin=16M"), "{found:?}");
        let found = said("-999\n", "4096", &[("memory.max", "8388608\n"), ("memory.min", "0\n")]);
        assert!(found.len() == 1 && found[0].contains("8388608"), "{found:?}");
        assert!(said("-999\n", "4096", &[]).is_empty(), "what cannot be read is no weakness");
    }

    /// Guards that the machine's own group is none to complain about.
    #[test]
    fn the_root_protects_itself() {
        assert!(weaknesses(tree("-1000\n", "4096", "0::/\n", &[]).path()).is_empty());
    }
}
