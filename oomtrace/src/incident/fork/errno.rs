//! Errors that a fork can fail with (include/uapi/asm-generic/errno-base.h).

pub(super) const EINTR: u32 = 4;
pub(super) const EAGAIN: u32 = 11;
pub(super) const ENOMEM: u32 = 12;
pub(super) const ENFILE: u32 = 23;
pub(super) const EMFILE: u32 = 24;
pub(super) const ENOSPC: u32 = 28;

/// The name of one, if it is among them.
pub(super) fn name(errno: u32) -> Option<&'static str> {
    Some(match errno {
        EINTR => "EINTR",
        EAGAIN => "EAGAIN",
        ENOMEM => "ENOMEM",
        ENFILE => "ENFILE",
        EMFILE => "EMFILE",
        ENOSPC => "ENOSPC",
        _ => return None,
    })
}
