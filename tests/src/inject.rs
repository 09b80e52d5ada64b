//! Errors that a function of the kernel's returns in place of its own work, for one process alone.
//!
//! A program of type `fmod_ret` does that (`bpf_trampoline`, kernel/bpf/trampoline.c), where a security module may fail a call
//! anyway: at functions whose names begin with `security_` (`check_attach_modify_return()`, kernel/bpf/verifier.c). Kernels
//! as distributions build them have nothing else to fail an allocation by.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result};
use rustix::process::{Resource, Rlimit, setrlimit};

use crate::btf::{Btf, VMLINUX, kind};

/// What has a function return an error. Dropped, it is over.
#[derive(Debug)]
pub struct Injection {
    _program: OwnedFd,
    _link: OwnedFd,
}

/// `enum bpf_cmd`, `enum bpf_prog_type` and `enum bpf_attach_type` (include/uapi/linux/bpf.h).
const PROG_LOAD: libc::c_int = 5;
const RAW_TRACEPOINT_OPEN: libc::c_int = 17;
const TRACING: u32 = 26;
const MODIFY_RETURN: u32 = 26;
/// `BPF_FUNC_get_current_pid_tgid`.
const CURRENT_PID: i32 = 14;

/// One instruction: operation, registers, offset, number.
type Instruction = (u8, u8, i16, i32);

impl Injection {
    /// Has `function` return `-errno` to the process `pid` from now on.
    pub fn begin(function: &str, pid: u64, errno: i32) -> Result<Self> {
        let pid = i32::try_from(pid).context("a process id is out of range")?;
        let btf = Btf::read(Path::new(VMLINUX))?;
        let id = btf.find(&[kind::FUNC], function);
        let id = id.with_context(|| format!("this kernel has no function {function}()"))?;
        let program: [Instruction; 7] = [
            // r0 = the process in the upper half, the thread in the lower
            (0x85, 0, 0, CURRENT_PID),
            // r0 >>= 32
            (0x77, 0, 0, 32),
            // if r0 == pid, skip two
            (0x15, 0, 2, pid),
            // return 0: the function goes about its work
            (0xb7, 0, 0, 0),
            (0x95, 0, 0, 0),
            // return the error
            (0xb7, 0, 0, -errno),
            (0x95, 0, 0, 0),
        ];
        // Up to 5.10 programs are accounted as locked memory.
        let _ = setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None });
        let program = load(&program, id).with_context(|| format!("{function}() cannot be made to fail"))?;
        let mut attributes = Attributes::default();
        attributes.number(8, program.as_raw_fd().cast_unsigned());
        let link = attributes.call(RAW_TRACEPOINT_OPEN).context("the program cannot be attached")?;
        Ok(Self { _program: program, _link: link })
    }
}

fn load(program: &[Instruction], function: u32) -> Result<OwnedFd> {
    let text: Vec<u8> = program
        .iter()
        .flat_map(|(operation, registers, offset, number)| {
            let mut bytes = [*operation, *registers, 0, 0, 0, 0, 0, 0];
            bytes[2..4].copy_from_slice(&offset.to_ne_bytes());
            bytes[4..].copy_from_slice(&number.to_ne_bytes());
            bytes
        })
        .collect();
    let mut attributes = Attributes::default();
    attributes.number(0, TRACING);
    attributes.number(4, u32::try_from(program.len()).context("the program is too long")?);
    attributes.pointer(8, text.as_ptr());
    attributes.pointer(16, c"GPL".as_ptr().cast());
    attributes.number(68, MODIFY_RETURN);
    attributes.number(108, function);
    Ok(attributes.call(PROG_LOAD)?)
}

/// `union bpf_attr`, by places in it: these do not move. What is not set is 0.
#[derive(Default)]
struct Attributes([u64; 16]);

impl Attributes {
    fn number(&mut self, at: usize, number: u32) {
        // The lower half comes first.
        self.0[at / 8] |= u64::from(number) << (at % 8 * 8);
    }

    fn pointer(&mut self, at: usize, to: *const u8) {
        self.0[at / 8] = to as u64;
    }

    fn call(&self, command: libc::c_int) -> io::Result<OwnedFd> {
        // SAFETY: the attributes are as long as said; what they point to is kept by the caller, and only read.
        let fd = unsafe { libc::syscall(libc::SYS_bpf, command, self.0.as_ptr(), size_of_val(&self.0)) };
        let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0).ok_or_else(io::Error::last_os_error)?;
        // SAFETY: the kernel has just given it to us, and to nobody else.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}
