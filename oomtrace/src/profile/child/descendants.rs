//! The processes below one, by what /proc tells of their parents.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// A process, told from a later one with its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// Its number.
    pub pid: i32,
    /// When it started, in the kernel's ticks since boot.
    started: u64,
}

/// What a process's `stat` has of it.
struct Stat {
    parent: i32,
    started: u64,
    has_ended: bool,
}

/// All processes below `pid` that have not ended, on the machine below `root` (`/`). oomtrace is the subreaper of all that it starts, so
/// that none gets out.
pub fn below(root: &Path, pid: i32) -> BTreeSet<Process> {
    let all = all(&root.join("proc"));
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for (child, stat) in &all {
        children.entry(stat.parent).or_default().push(*child);
    }
    let (mut found, mut ahead) = (BTreeSet::new(), vec![pid]);
    // Each is the child of one, so that this ends: whoever was taken is not there any more.
    while let Some(parent) = ahead.pop() {
        for child in children.remove(&parent).unwrap_or_default() {
            ahead.push(child);
            if let Some(stat) = all.get(&child).filter(|stat| !stat.has_ended) {
                found.insert(Process { pid: child, started: stat.started });
            }
        }
    }
    found
}

/// Whether a process has ended, and is only there until its parent asks how; or is gone.
pub fn has_ended(root: &Path, pid: i32) -> bool {
    stat(&root.join("proc").join(pid.to_string())).is_none_or(|stat| stat.has_ended)
}

fn all(proc: &Path) -> BTreeMap<i32, Stat> {
    let entries = fs::read_dir(proc).into_iter().flatten().flatten();
    let numbered = entries.filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        // Gone meanwhile.
        Some((pid, stat(&entry.path())?))
    });
    numbered.collect()
}

fn stat(folder: &Path) -> Option<Stat> {
    let text = fs::read(folder.join("stat")).ok()?;
    // The name is in brackets, and may have some of its own.
    let behind = text.iter().rposition(|byte| *byte == b')')?.checked_add(1)?;
    let rest = str::from_utf8(text.get(behind..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    // State is the third field, the parent the fourth, the time of the start the 22nd (proc_pid_stat(5)).
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    Some(Stat { parent, started: fields.nth(17)?.parse().ok()?, has_ended: matches!(state, "Z" | "X") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(processes: &[(i32, &str, &str, i32)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (pid, comm, state, parent) in processes {
            let folder = root.path().join(format!("proc/{pid}"));
            fs::create_dir_all(&folder).unwrap();
            let zeroes = "0 ".repeat(17);
            fs::write(folder.join("stat"), format!("{pid} ({comm}) {state} {parent} {zeroes}4{pid} 0\n"))
                .unwrap();
        }
        fs::create_dir_all(root.path().join("proc/sys")).unwrap();
        root
    }

    /// Guards who is below whom: through any number of levels, through those that have ended, whatever their names.
    #[test]
    fn all_levels_are_below() {
        let root = tree(&[
            (1, "init", "S", 0),
            (10, "oomtrace", "S", 1),
            (11, "sh) S 1 (", "S", 10),
            (12, "gone", "Z", 11),
            (13, "deep\n", "D", 12),
            (20, "other", "S", 1),
        ]);
        let found = below(root.path(), 10);
        assert_eq!(
            found.iter().map(|process| (process.pid, process.started)).collect::<Vec<_>>(),
            [(11, 411), (13, 413)]
        );
        assert!(below(root.path(), 20).is_empty() && below(root.path(), 99).is_empty());
    }

    /// Guards against trees that are none: a snapshot in which two are each other's parents does not keep us for ever.
    #[test]
    fn circles_end() {
        let root = tree(&[(5, "a", "S", 6), (6, "b", "S", 5), (7, "c", "S", 7)]);
        assert_eq!(below(root.path(), 5).len(), 2);
        assert_eq!(below(root.path(), 7).len(), 1);
    }

    /// Guards that who has ended is not counted, and who is not there neither.
    #[test]
    fn the_ended_have_ended() {
        let root = tree(&[(5, "a", "Z", 1), (6, "b", "R", 1)]);
        assert!(has_ended(root.path(), 5) && has_ended(root.path(), 7) && !has_ended(root.path(), 6));
    }
}
