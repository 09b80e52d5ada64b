//! Who was started in a storm, and where.

use std::collections::BTreeMap;
use std::sync::Arc;

/// One cgroup of a storm, from when it was made until it was removed. The next of that name is another home.
#[derive(Debug, PartialEq, Eq)]
pub struct Home {
    /// The number that its tenants' comms begin with.
    pub number: usize,
    /// Its path in the memory hierarchy.
    pub path: String,
    /// Its id: its folder's inode number.
    pub id: u64,
    /// Its limit in bytes.
    pub limit_bytes: u64,
}

/// One process.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its comm, and that of its threads: no two processes of a storm share one.
    pub comm: String,
    /// Its pid.
    pub pid: u64,
    /// Where it lived.
    pub home: Arc<Home>,
    /// Whether it was killed; otherwise it ended by itself.
    pub killed: bool,
}

/// What one cgroup counted in its time.
#[derive(Debug, Clone)]
pub struct Counted {
    /// The cgroup.
    pub home: Arc<Home>,
    /// Its own count of OOM kills.
    pub oom_kills: u64,
    /// Whether it was removed after its last process.
    pub removed: bool,
}

/// Everyone.
#[derive(Debug, Default)]
pub struct Roster {
    entries: BTreeMap<String, Entry>,
}

/// The comm of process `serial` in cgroup `number`: at most 15 bytes, the most that the kernel keeps.
#[must_use]
pub fn comm(number: usize, serial: u64) -> String {
    format!("s{number:03}-{serial:07}")
}

/// The number of the cgroup that a comm names; None for a process that is no tenant of a storm.
#[must_use]
pub fn number_in(comm: &str) -> Option<usize> {
    let (number, serial) = comm.strip_prefix('s')?.split_once('-')?;
    let digits = |text: &str, count| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    (digits(number, 3) && digits(serial, 7)).then(|| number.parse().ok()).flatten()
}

impl Roster {
    /// Enters a process.
    pub fn enter(&mut self, entry: Entry) {
        self.entries.insert(entry.comm.clone(), entry);
    }

    /// The process of that comm.
    #[must_use]
    pub fn find(&self, comm: &str) -> Option<&Entry> {
        self.entries.get(comm)
    }

    /// Everyone who was killed.
    pub fn killed(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values().filter(|entry| entry.killed)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is nobody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the comms: a cgroup's number survives the kernel's 15 bytes, and no other process has one.
    #[test]
    fn a_comm_names_its_cgroup() {
        let longest = comm(999, 9_999_999);
        assert!(longest.len() <= 15, "{longest}");
        assert_eq!(number_in(&longest), Some(999));
        assert_eq!(number_in(&comm(7, 12)), Some(7));
        for other in ["sh", "s-", "s07-0000001", "s007-000001", "sshd-session", "s+07-0000001", ""] {
            assert_eq!(number_in(other), None, "{other}");
        }
    }
}
