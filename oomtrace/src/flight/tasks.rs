//! Processes as the kernel's iterator tells them, where it can be had: for a seventh of what /proc costs, and with what they have in
//! swap.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io::{self, Read},
};

use oomtrace_ebpf::{TaskSize, size};
use zerocopy::FromBytes as _;

use super::cgroups::Home;
use crate::record::of_run;

/// What is read at a time: so many records, to the byte.
const READ: usize = 128 * size_of::<TaskSize>();

/// A process that has memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    pub pid: u32,
    pub start_boot_ns: u64,
    /// In memory and in swap.
    pub pages: u64,
    /// 0: not known.
    pub memcg_id: u64,
    pub comm: [u8; 16],
    /// Whether it is one of the command's own that `oomtrace run` runs.
    pub of_run: Option<bool>,
}

impl Task {
    /// Reads all of them, and no more than one over `most`.
    ///
    /// # Errors
    /// It cannot be read, or lacks what nobody can be followed without.
    pub fn all(mut from: impl Read, most: usize) -> io::Result<Vec<Self>> {
        let mut room = [0; READ];
        let mut tasks = Vec::new();
        while tasks.len() <= most {
            let length = match from.read(&mut room) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let records = room.get(..length).unwrap_or_default();
            let records = records.chunks(size_of::<TaskSize>());
            for record in records.take(most.saturating_add(1).saturating_sub(tasks.len())) {
                let record = TaskSize::read_from_bytes(record).map_err(|_| lacking("half a record"))?;
                tasks.push(Self::of(&record)?);
            }
        }
        Ok(tasks)
    }

    fn of(record: &TaskSize) -> io::Result<Self> {
        const NEEDED: u32 = size::PID | size::START | size::PAGES;
        if record.present & NEEDED != NEEDED {
            return Err(lacking("a process without its id, its begin, or its size"));
        }
        let pages = |pages: i64| u64::try_from(pages).unwrap_or(0);
        let memcg_id = if record.present & size::MEMCG == 0 { 0 } else { record.memcg_id };
        Ok(Self {
            pid: record.pid,
            start_boot_ns: record.start_boot_ns,
            pages: pages(record.rss_pages).saturating_add(pages(record.swap_pages)),
            memcg_id,
            comm: record.comm,
            of_run: of_run(record.present >> size::WHOSE),
        })
    }

    /// Its name and its cgroup, in short; never 0.
    pub fn look(&self, home: Home) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.comm, home.key().map(|key| key.0)).hash(&mut hasher);
        hasher.finish().max(1)
    }
}

fn lacking(what: &str) -> io::Error {
    io::Error::other(format!("it has {what}"))
}
