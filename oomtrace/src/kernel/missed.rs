//! Runs that a program missed.
//!
//! A function's return is seen as far as there is room to wait for it: where too many tasks are within it at once, the rest
//! return unseen (`maxactive`, kernel/kprobes.c). The kernel counts these (6.7).
//!
//! A program does not run on a processor on which it is running already. Where programs at tracepoints can be preempted
//! (7.x), one that waits for its turn again thus misses what other threads do there meanwhile: rounds of reclaim begin and
//! end unseen, and a stall would come out too short. The kernel counts such runs (`bpf_prog_info.recursion_misses`, 5.12).

use std::os::fd::{AsFd as _, OwnedFd};

use aya::{Ebpf, programs::Program};
use oomtrace_ebpf::{Mark, RecordKind};
use zerocopy::{FromBytes as _, IntoBytes as _};

use super::{hooks::Role, info};
use crate::host;

/// The programs of a role.
#[derive(Debug)]
pub struct Missed {
    programs: Vec<OwnedFd>,
    /// What attaches them to functions. They are held from the beginning, while it is allowed to open them, until
    /// [`Self::release`].
    links: Vec<OwnedFd>,
    /// What these had missed when they were given back.
    of_links: u64,
    /// Misses that have been seen.
    seen: u64,
    /// When the last new one was seen, ns since boot: what a mark before then tells of a stall may lack something.
    doubtful_until_ns: u64,
}

impl Missed {
    /// Takes those of `role` that are loaded. The count begins where they were attached.
    #[must_use]
    pub fn of(ebpf: &Ebpf, role: &Role) -> Self {
        let hooks = role.choices.iter().flat_map(|choice| choice.hooks);
        let programs: Vec<_> = hooks.filter_map(|hook| descriptor(ebpf.program(hook.program)?)).collect();
        let ids: Vec<_> =
            programs.iter().filter_map(|program| Some(info::of_program(program.as_fd())?.0)).collect();
        let links = info::links_of(&ids);
        Self { programs, links, of_links: 0, seen: 0, doubtful_until_ns: 0 }
    }

    /// Enters into a mark's record that a part of its stall may have gone unseen. Other records stay as they are.
    pub fn enter(&mut self, record: &mut [u8]) {
        let Ok(mut mark) = Mark::read_from_bytes(record) else { return };
        if mark.header.kind != RecordKind::Mark as u16 || mark.stall_rounds == 0 {
            return;
        }
        let count = self.count();
        if count > self.seen {
            self.seen = count;
            self.doubtful_until_ns = host::boot_ns();
        }
        if mark.header.boot_ns <= self.doubtful_until_ns {
            mark.stall_unseen = mark.stall_unseen.saturating_add(1);
            record.copy_from_slice(mark.as_bytes());
        }
    }

    /// Runs that were missed since this was asked last.
    pub fn more(&mut self) -> u64 {
        let (count, seen) = (self.count(), self.seen);
        self.seen = count;
        count.saturating_sub(seen)
    }

    /// Gives back what keeps the programs attached: whoever loaded them can detach them then.
    pub fn release(&mut self) {
        self.of_links = self.of_links();
        self.links.clear();
    }

    fn count(&self) -> u64 {
        let of_programs =
            self.programs.iter().filter_map(|program| Some(info::of_program(program.as_fd())?.1));
        of_programs.sum::<u64>().saturating_add(self.of_links())
    }

    fn of_links(&self) -> u64 {
        let missed = self.links.iter().filter_map(|link| info::misses_of_link(link.as_fd()));
        missed.sum::<u64>().saturating_add(self.of_links)
    }
}

fn descriptor(program: &Program) -> Option<OwnedFd> {
    program.fd().ok()?.as_fd().try_clone_to_owned().ok()
}

#[cfg(test)]
mod tests {
    use zerocopy::FromZeros as _;

    use super::*;

    fn record(kind: RecordKind, boot_ns: u64, rounds: u32) -> Vec<u8> {
        let mut mark = Mark::new_zeroed();
        mark.header.kind = kind as u16;
        mark.header.boot_ns = boot_ns;
        mark.stall_rounds = rounds;
        mark.as_bytes().to_vec()
    }

    fn unseen(missed: &mut Missed, mut record: Vec<u8>) -> u32 {
        missed.enter(&mut record);
        Mark::read_from_bytes(&record).unwrap().stall_unseen
    }

    /// Guards that a miss concerns every mark before it was noticed, and none after it.
    #[test]
    fn a_miss_casts_doubt_on_the_marks_before() {
        let mut missed =
            Missed { programs: Vec::new(), links: Vec::new(), of_links: 0, seen: 0, doubtful_until_ns: 500 };
        assert_eq!(unseen(&mut missed, record(RecordKind::Mark, 400, 3)), 1);
        assert_eq!(unseen(&mut missed, record(RecordKind::Mark, 500, 3)), 1);
        assert_eq!(unseen(&mut missed, record(RecordKind::Mark, 501, 3)), 0);
        assert_eq!(unseen(&mut missed, record(RecordKind::Mark, 400, 0)), 0, "it has no stall");
        assert_eq!(unseen(&mut missed, record(RecordKind::Close, 400, 3)), 0, "it is no mark");
        missed.enter(&mut [1, 2, 3]);
    }
}
