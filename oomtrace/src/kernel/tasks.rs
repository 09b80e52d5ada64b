//! The processes of the machine, by an iterator of the kernel's.

use std::{
    fs::File,
    io, mem,
    os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd},
};

use aya::programs::Iter;
use aya_obj::generated::{bpf_attach_type, bpf_attr, bpf_cmd};

use super::{load::Attached, roles, trampoline};

/// What each task is told by.
const PROGRAM: &str = "flight_tasks";
/// What it iterates over (`bpf_iter_reg_target()`).
const TARGET: &str = "task";
/// The function that stands for that (kernel/bpf/task_iter.c).
pub(super) const FUNCTION: &str = "bpf_iter_task";

/// A program that is called for each thread whenever it is read.
#[derive(Debug)]
pub struct Tasks(OwnedFd);

impl Tasks {
    /// Loads the program, which takes the privileges of whoever attaches.
    ///
    /// # Errors
    /// Why this kernel does not have it.
    pub fn attach(attached: &mut Attached) -> Result<Self, String> {
        let id =
            attached.task_iterator.ok_or("this kernel has no iterator over tasks (5.8 and later have)")?;
        let btf = trampoline::of_function(FUNCTION, id).map_err(|error| error.to_string())?;
        let program = attached.ebpf.program_mut(PROGRAM).ok_or("the eBPF object lacks the program")?;
        let program: &mut Iter = program.try_into().map_err(|error| roles::why(&error))?;
        program.load(TARGET, &btf).map_err(|error| roles::why(&error))?;
        let program = program.fd().map_err(|error| roles::why(&error))?.as_fd().as_raw_fd();
        // aya's own link gives one reading, and no second.
        let mut attr = zeroed();
        attr.link_create.__bindgen_anon_1.prog_fd = program.cast_unsigned();
        attr.link_create.attach_type = bpf_attach_type::BPF_TRACE_ITER as u32;
        call(bpf_cmd::BPF_LINK_CREATE, &mut attr)
            .map(Self)
            .map_err(|error| format!("the kernel does not attach it: {error}"))
    }

    /// Has all tasks be told anew: records ([`oomtrace_ebpf::TaskSize`]), one a process that has memory, until the end of the file.
    ///
    /// # Errors
    /// The kernel refuses. Before 5.19 this takes CAP_BPF.
    pub fn open(&self) -> io::Result<File> {
        let mut attr = zeroed();
        attr.iter_create.link_fd = self.0.as_raw_fd().cast_unsigned();
        call(bpf_cmd::BPF_ITER_CREATE, &mut attr).map(File::from)
    }
}

fn zeroed() -> bpf_attr {
    // SAFETY: numbers and arrays of numbers, for which zeroes are valid.
    unsafe { mem::zeroed::<bpf_attr>() }
}

/// bpf(2) for commands that open something.
fn call(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<OwnedFd> {
    // SAFETY: the kernel reads as much of `attr` as it is said to have.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command as libc::c_long, &raw mut *attr, size_of::<bpf_attr>())
    };
    let descriptor = i32::try_from(result).ok().filter(|descriptor| *descriptor >= 0);
    let descriptor = descriptor.ok_or_else(io::Error::last_os_error)?;
    // SAFETY: the kernel has just opened it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}
