//! What the kernel says of programs and of what they are attached by (bpf(2), `BPF_OBJ_GET_INFO_BY_FD`).

use std::{
    mem,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
};

use aya_obj::generated::{bpf_attr, bpf_cmd, bpf_link_info, bpf_link_type, bpf_prog_info};

/// A program's id, and how many runs it missed since it ran already on the same processor: 0 before 5.12, where none does
/// (`bpf_prog_info.recursion_misses`). `None` if the kernel does not say.
pub(super) fn of_program(program: BorrowedFd<'_>) -> Option<(u32, u64)> {
    // SAFETY: numbers and arrays of numbers, for which zeroes are valid.
    let mut info = unsafe { mem::zeroed::<bpf_prog_info>() };
    ask(program, &mut info)?;
    Some((info.id, info.recursion_misses))
}

/// The links that attach these programs to functions. None before 5.15, where programs are attached without one, and without
/// `CAP_SYS_ADMIN`.
pub(super) fn links_of(programs: &[u32]) -> Vec<OwnedFd> {
    let mut links = Vec::new();
    let mut last = 0;
    while !programs.is_empty()
        && let Some(id) = next_link(last)
    {
        let link = open_link(id);
        links.extend(
            link.filter(|link| of_link(link.as_fd()).is_some_and(|info| programs.contains(&info.prog_id))),
        );
        last = id;
    }
    links
}

/// How many calls went by unseen at the function that a link attaches a program to, since more returns of it were awaited than
/// there was room for, or since a probe was being handled already: 0 before 6.7, which does not say
/// (`bpf_link_info.perf_event.kprobe.missed`).
pub(super) fn misses_of_link(link: BorrowedFd<'_>) -> Option<u64> {
    let info = of_link(link).filter(|info| info.type_ == bpf_link_type::BPF_LINK_TYPE_PERF_EVENT as u32)?;
    // SAFETY: of a link of this type the kernel fills in this member, of which the event's kind says which of them counts;
    // all of them are numbers, which were zeroes before.
    Some(unsafe { info.__bindgen_anon_1.perf_event.__bindgen_anon_1.kprobe.missed })
}

fn open_link(id: u32) -> Option<OwnedFd> {
    let mut attr = zeroed();
    attr.__bindgen_anon_6.__bindgen_anon_1.link_id = id;
    let number = call(bpf_cmd::BPF_LINK_GET_FD_BY_ID, &mut attr)?;
    // SAFETY: the kernel has just given it to us.
    Some(unsafe { OwnedFd::from_raw_fd(i32::try_from(number).ok()?) })
}

fn of_link(link: BorrowedFd<'_>) -> Option<bpf_link_info> {
    // SAFETY: numbers, for which zeroes are valid.
    let mut info = unsafe { mem::zeroed::<bpf_link_info>() };
    ask(link, &mut info)?;
    Some(info)
}

fn next_link(after: u32) -> Option<u32> {
    let mut attr = zeroed();
    attr.__bindgen_anon_6.__bindgen_anon_1.start_id = after;
    call(bpf_cmd::BPF_LINK_GET_NEXT_ID, &mut attr)?;
    // SAFETY: the kernel has just written it.
    Some(unsafe { attr.__bindgen_anon_6.next_id })
}

fn ask<T>(of: BorrowedFd<'_>, info: &mut T) -> Option<()> {
    let mut attr = zeroed();
    attr.info.bpf_fd = u32::try_from(of.as_raw_fd()).ok()?;
    attr.info.info_len = u32::try_from(size_of::<T>()).ok()?;
    attr.info.info = (&raw mut *info).addr() as u64;
    call(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attr).map(drop)
}

fn zeroed() -> bpf_attr {
    // SAFETY: numbers and arrays of numbers, for which zeroes are valid.
    unsafe { mem::zeroed::<bpf_attr>() }
}

/// bpf(2): what it returns; `None`: it was refused.
fn call(command: bpf_cmd, attr: &mut bpf_attr) -> Option<libc::c_long> {
    // SAFETY: the kernel reads and writes as much of `attr` as it is said to have, and to what that points to as much as that
    // is said to have.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command as libc::c_long, &raw mut *attr, size_of::<bpf_attr>())
    };
    (result >= 0).then_some(result)
}
