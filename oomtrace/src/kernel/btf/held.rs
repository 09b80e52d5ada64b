//! The BTF that the running kernel holds for its own verifier, by bpf(2).
//!
//! It is what [`super::VMLINUX`] shows, but that file comes a page at a time up to Linux 6.15, a thousand reads for
//! what is one copy here. Kernels before 5.11 give it no id, others none before its first use, and ids take
//! `CAP_SYS_ADMIN`: then there is still the file.

use std::ffi::c_int;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::LIMIT;

/// `enum bpf_cmd` (include/uapi/linux/bpf.h).
const BPF_OBJ_GET_INFO_BY_FD: c_int = 15;
const BPF_BTF_GET_FD_BY_ID: c_int = 19;
const BPF_BTF_GET_NEXT_ID: c_int = 23;

/// Programs loaded earlier in the life of the machine may have BTF of lower ids; so many are looked at.
const LOOKS: usize = 64;

/// The name that it goes by (`btf_parse_vmlinux()`, kernel/bpf/btf.c), with its NUL.
const NAME: [u8; NAME_LEN as usize] = *b"vmlinux\0";
const NAME_LEN: u32 = 8;

/// The part of `union bpf_attr` that asks for an id or a descriptor.
#[repr(C)]
#[derive(Default)]
struct ById {
    id: u32,
    next_id: u32,
    open_flags: u32,
}

/// The part of `union bpf_attr` that asks what is behind a descriptor.
#[repr(C)]
struct ByFd {
    fd: c_int,
    info_len: u32,
    info: u64,
}

/// `struct bpf_btf_info`.
#[repr(C)]
#[derive(Default)]
struct Info {
    btf: u64,
    btf_size: u32,
    id: u32,
    name: u64,
    name_len: u32,
    kernel_btf: u32,
}

/// The bytes, unless this kernel, or these rights, do not give them.
pub(super) fn vmlinux() -> Option<Vec<u8>> {
    let mut id = 0;
    for _ in 0..LOOKS {
        let mut next = ById { id, ..ById::default() };
        bpf(BPF_BTF_GET_NEXT_ID, &mut next)?;
        id = next.next_id;
        let fd = bpf(BPF_BTF_GET_FD_BY_ID, &mut ById { id, ..ById::default() })?;
        // SAFETY: the kernel made the descriptor for this call, and nobody else has it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        if let Some(size) = size(&fd) {
            return copy(&fd, size);
        }
    }
    None
}

/// The size of this BTF in bytes, if it is the kernel's own.
fn size(fd: &OwnedFd) -> Option<u32> {
    let mut name = [0_u8; NAME_LEN as usize];
    let info =
        Info { name: name.as_mut_ptr().expose_provenance() as u64, name_len: NAME_LEN, ..Info::default() };
    // A longer name is cut short, and that is an error (ENOSPC).
    let info = describe(fd, info)?;
    (info.kernel_btf != 0 && name == NAME && u64::from(info.btf_size) <= LIMIT).then_some(info.btf_size)
}

fn copy(fd: &OwnedFd, size: u32) -> Option<Vec<u8>> {
    let mut bytes = vec![0_u8; size as usize];
    let info = describe(
        fd,
        Info { btf: bytes.as_mut_ptr().expose_provenance() as u64, btf_size: size, ..Info::default() },
    )?;
    (info.btf_size == size).then_some(bytes)
}

/// Fills in `info`, and the buffers that it points to, which must have the sizes that it says.
fn describe(fd: &OwnedFd, mut info: Info) -> Option<Info> {
    let info_len = u32::try_from(size_of::<Info>()).ok()?;
    bpf(
        BPF_OBJ_GET_INFO_BY_FD,
        &mut ByFd { fd: fd.as_raw_fd(), info_len, info: (&raw mut info).expose_provenance() as u64 },
    )?;
    Some(info)
}

/// bpf(2). `T` is the part of `union bpf_attr` that the command uses.
fn bpf<T>(command: c_int, attr: &mut T) -> Option<c_int> {
    // SAFETY: the kernel reads and writes no more of the attributes than their size, and of what they point to no more
    // than they say.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size_of::<T>()) };
    c_int::try_from(result).ok().filter(|result| *result >= 0)
}

#[cfg(test)]
mod tests {
    use super::super::VMLINUX;

    /// Guards that both ways to this kernel's types give the same, where this kernel and these rights give both.
    #[test]
    fn what_the_kernel_holds_is_what_it_shows() {
        let (Some(held), Ok(shown)) = (super::vmlinux(), std::fs::read(VMLINUX)) else {
            println!("skipped: this kernel does not show its types both ways, or not to this user");
            return;
        };
        assert!(held == shown, "{} bytes held and {} shown", held.len(), shown.len());
    }
}
