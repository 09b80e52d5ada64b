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
    /// What attaches them to functions, by id, with what it missed until now. Not held: that would keep them attached.
    links: Vec<(u32, u64)>,
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
        let links = info::links_of(&ids).into_iter().map(|link| (link, 0)).collect();
        Self { programs, links, seen: 0, doubtful_until_ns: 0 }
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

    fn count(&mut self) -> u64 {
        // Once detached, a link says nothing more.
        for (link, missed) in &mut self.links {
            *missed = info::misses_of_link(*link).unwrap_or(*missed);
        }
        let of_programs =
            self.programs.iter().filter_map(|program| Some(info::of_program(program.as_fd())?.1));
        of_programs.chain(self.links.iter().map(|(_, missed)| *missed)).sum()
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
        let mut missed = Missed { programs: Vec::new(), links: Vec::new(), seen: 0, doubtful_until_ns: 500 };
        assert_eq!(unseen(&mut missed, record(RecordKind::Mark, 400, 3)), 1);
        assert_eq!(unseen(&mut missed, record(RecordKind::Mark, 500, 3)), 1);
        assert_eq!(unseen(&mut missed, record(RecordKind::Mark, 501, 3)), 0);
        assert_eq!(unseen(&mut missed, record(RecordKind::Mark, 400, 0)), 0, "it has no stall");
        assert_eq!(unseen(&mut missed, record(RecordKind::Close, 400, 3)), 0, "it is no mark");
        missed.enter(&mut [1, 2, 3]);
    }
}
