//! The filter of system calls, from the list to the kernel.
//!
//! A call that is not on the list fails with ENOSYS, as on a kernel that does not have it: a library that tries something new
//! falls back to what it did before, and the agent goes on. A filter that killed would make a C library's update a daemon that
//! dies at random on every node; and an attacker gets no more from a call that fails. The kernel logs each refusal
//! (SECCOMP_FILTER_FLAG_LOG): as audit record 1326, or in its log where no auditd runs.

use std::{collections::BTreeMap, io};

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};

use super::syscalls::{ALLOWED, If, RESTRICTED};

/// Fails as on a kernel without the call.
const REFUSED: SeccompAction = SeccompAction::Errno(libc::ENOSYS.cast_unsigned());

/// Loads the filter for all threads. How many kinds of calls it allows.
pub(super) fn load() -> io::Result<usize> {
    let rules = rules().map_err(io::Error::other)?;
    let count = rules.len();
    let quiet = compile(
        // Its flags are behind a pointer, where no filter sees whether a thread or a process is meant. C libraries fall back
        // to clone(2), with each thread: not worth a line in the log.
        BTreeMap::from([(libc::SYS_clone3, Vec::new())]),
        SeccompAction::Allow,
        REFUSED,
    )?;
    let list = compile(rules, REFUSED, SeccompAction::Allow)?;
    install(&quiet, libc::SECCOMP_FILTER_FLAG_TSYNC)?;
    install(&list, libc::SECCOMP_FILTER_FLAG_TSYNC | libc::SECCOMP_FILTER_FLAG_LOG)?;
    // Without clone3, which the first of both refuses.
    Ok(count.saturating_sub(1))
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// The list, in the filter's terms: a call without rules is allowed as it comes, and one with several if any fits.
fn rules() -> Result<Rules, seccompiler::BackendError> {
    let mut rules: Rules = ALLOWED.iter().map(|call| (*call, Vec::new())).collect();
    for (call, argument, condition) in RESTRICTED {
        let fits = |operator, value| {
            let length = SeccompCmpArgLen::Dword;
            SeccompRule::new(vec![SeccompCondition::new(*argument, length, operator, value)?])
        };
        let of_call = match condition {
            If::OneOf(values) => {
                values.iter().map(|value| fits(SeccompCmpOp::Eq, *value)).collect::<Result<Vec<_>, _>>()?
            }
            If::Has(bits) => vec![fits(SeccompCmpOp::MaskedEq(*bits), *bits)?],
        };
        rules.insert(*call, of_call);
    }
    Ok(rules)
}

fn compile(rules: Rules, otherwise: SeccompAction, if_on_list: SeccompAction) -> io::Result<BpfProgram> {
    let here = TargetArch::try_from(std::env::consts::ARCH).map_err(io::Error::other)?;
    let filter = SeccompFilter::new(rules, otherwise, if_on_list, here).map_err(io::Error::other)?;
    BpfProgram::try_from(filter).map_err(io::Error::other)
}

fn install(program: &BpfProgram, flags: libc::c_ulong) -> io::Result<()> {
    let len = u16::try_from(program.len()).map_err(io::Error::other)?;
    // The kernel only reads it, though its type has it otherwise. seccompiler's instruction is the kernel's (repr(C)).
    let filter = libc::sock_fprog { len, filter: program.as_ptr().cast_mut().cast() };
    // SAFETY: the pointer is to a sock_fprog of ours, whose pointer is to so many instructions.
    match unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const filter) }
    {
        0 => Ok(()),
        -1 => Err(io::Error::last_os_error()),
        thread => Err(io::Error::other(format!("thread {thread} has a filter of its own"))),
    }
}
