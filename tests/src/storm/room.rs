//! How much room a storm's cgroups have.
//!
//! Each CPU keeps a stock of pages that are charged to a cgroup and not yet used (see
//! [`crate::machine::Machine::charge_stock_bytes`]), and gives it back too late for a cgroup that is at its
//! limit. Where there are many CPUs, a small cgroup would run out by these stocks before its tenants stand at
//! the gate.

use crate::size::{KIB, MIB};

/// See the module. In bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// The limit of cgroup 0.
    lowest: u64,
    /// What each further one has more, so that a limit tells its cgroup too. A multiple of every page size of
    /// x86-64.
    step: u64,
    /// What is left free before the gate: page tables and the like are charged too.
    pub slack: u64,
}

impl Room {
    /// That on a machine with so many online CPUs.
    #[must_use]
    pub fn of(cpus: u64) -> Self {
        let times = (cpus / 4).clamp(1, 4);
        Self { lowest: times * MIB, step: times * 16 * KIB, slack: times * 128 * KIB }
    }

    /// The limit of cgroup `number`.
    #[must_use]
    pub fn limit(self, number: usize) -> u64 {
        self.lowest + self.step * number as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the room: it grows with the CPUs, up to a size of which a small guest can hold very many, and
    /// each limit is one that the kernel does not round and that no other cgroup has.
    #[test]
    fn room_grows_with_the_cpus() {
        let figures = |cpus| (Room::of(cpus).limit(0), Room::of(cpus).slack);
        for few in [1, 2, 4, 7] {
            assert_eq!(figures(few), (MIB, 128 * KIB), "{few} CPUs");
        }
        assert_eq!(figures(8), (2 * MIB, 256 * KIB));
        for many in [16, 512] {
            assert_eq!(figures(many), (4 * MIB, 512 * KIB), "{many} CPUs");
        }
        for cpus in [1, 4, 16] {
            let limits: Vec<_> = (0..200).map(|number| Room::of(cpus).limit(number)).collect();
            assert!(limits.is_sorted_by(|one, next| one < next), "{limits:?}");
            assert!(limits.iter().all(|limit| limit % (4 * KIB) == 0), "{limits:?}");
        }
    }
}
