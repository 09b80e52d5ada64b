//! Runs that a program missed.
//!
//! A program does not run on a processor on which it is running already. Where programs at tracepoints can be preempted
//! (7.x), one that waits for its turn again thus misses what other threads do there meanwhile: rounds of reclaim begin and
//! end unseen, and a stall would come out too short. The kernel counts such runs (`bpf_prog_info.recursion_misses`, 5.12).

use std::{
    mem,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
};

use aya::{Ebpf, programs::Program};
use aya_obj::generated::{bpf_attr, bpf_cmd, bpf_prog_info};
use oomtrace_ebpf::{Mark, RecordKind};
use zerocopy::{FromBytes as _, IntoBytes as _};

use super::hooks::Role;
use crate::host;

/// The programs of a role.
#[derive(Debug)]
pub struct Missed {
    programs: Vec<OwnedFd>,
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
        let programs = hooks.filter_map(|hook| descriptor(ebpf.program(hook.program)?)).collect();
        Self { programs, seen: 0, doubtful_until_ns: 0 }
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

    fn count(&self) -> u64 {
        self.programs.iter().filter_map(|program| misses(program.as_fd())).sum()
    }
}

fn descriptor(program: &Program) -> Option<OwnedFd> {
    program.fd().ok()?.as_fd().try_clone_to_owned().ok()
}

/// How many runs a program missed so far. 0 before 5.12, where none does; `None` if the kernel does not say.
fn misses(program: BorrowedFd<'_>) -> Option<u64> {
    // SAFETY: both are numbers and arrays of numbers, for which zeroes are valid.
    let (mut info, mut attr) = unsafe { (mem::zeroed::<bpf_prog_info>(), mem::zeroed::<bpf_attr>()) };
    attr.info.bpf_fd = u32::try_from(program.as_raw_fd()).ok()?;
    attr.info.info_len = u32::try_from(size_of_val(&info)).ok()?;
    attr.info.info = (&raw mut info).addr() as u64;
    // SAFETY: the kernel reads as much of `attr` as it is said to have, and writes as much to `info`.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            bpf_cmd::BPF_OBJ_GET_INFO_BY_FD as libc::c_long,
            &raw mut attr,
            size_of_val(&attr),
        )
    };
    (result == 0).then_some(info.recursion_misses)
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
        let mut missed = Missed { programs: Vec::new(), seen: 0, doubtful_until_ns: 500 };
        assert_eq!(unseen(&mut missed, record(RecordKind::Mark, 400, 3)), 1);
        assert_eq!(unseen(&mut missed, record(RecordKind::Mark, 500, 3)), 1);
        assert_eq!(unseen(&mut missed, record(RecordKind::Mark, 501, 3)), 0);
        assert_eq!(unseen(&mut missed, record(RecordKind::Mark, 400, 0)), 0, "it has no stall");
        assert_eq!(unseen(&mut missed, record(RecordKind::Close, 400, 3)), 0, "it is no mark");
        missed.enter(&mut [1, 2, 3]);
    }
}
