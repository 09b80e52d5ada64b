//! The system calls that the agent makes with all of its outputs on, and what C libraries make of them.
//!
//! By subject; within one, the older calls that some architectures do not have follow in [`ALLOWED`] by `cfg`.

use libc::{
    SYS_accept4, SYS_bind, SYS_bpf, SYS_brk, SYS_capget, SYS_clock_getres, SYS_clock_gettime,
    SYS_clock_nanosleep, SYS_clone, SYS_clone3, SYS_close, SYS_close_range, SYS_connect, SYS_copy_file_range,
    SYS_dup, SYS_dup3, SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_pwait, SYS_epoll_pwait2, SYS_eventfd2,
    SYS_exit, SYS_exit_group, SYS_faccessat, SYS_faccessat2, SYS_fallocate, SYS_fchmod, SYS_fchmodat,
    SYS_fchown, SYS_fcntl, SYS_fdatasync, SYS_flock, SYS_fstat, SYS_fstatfs, SYS_fsync, SYS_ftruncate,
    SYS_futex, SYS_get_robust_list, SYS_getcpu, SYS_getcwd, SYS_getdents64, SYS_getegid, SYS_geteuid,
    SYS_getgid, SYS_getpeername, SYS_getpid, SYS_getppid, SYS_getpriority, SYS_getrandom, SYS_getresgid,
    SYS_getresuid, SYS_getrusage, SYS_getsockname, SYS_getsockopt, SYS_gettid, SYS_gettimeofday, SYS_getuid,
    SYS_inotify_add_watch, SYS_inotify_init1, SYS_inotify_rm_watch, SYS_ioctl, SYS_listen, SYS_lseek,
    SYS_madvise, SYS_membarrier, SYS_mkdirat, SYS_mlock, SYS_mlock2, SYS_mlockall, SYS_mmap, SYS_mprotect,
    SYS_mremap, SYS_msync, SYS_munlock, SYS_munlockall, SYS_munmap, SYS_nanosleep, SYS_newfstatat,
    SYS_openat, SYS_openat2, SYS_pidfd_send_signal, SYS_pipe2, SYS_ppoll, SYS_prctl, SYS_pread64, SYS_preadv,
    SYS_preadv2, SYS_prlimit64, SYS_pselect6, SYS_pwrite64, SYS_pwritev, SYS_pwritev2, SYS_read,
    SYS_readlinkat, SYS_readv, SYS_recvfrom, SYS_recvmmsg, SYS_recvmsg, SYS_renameat, SYS_renameat2,
    SYS_restart_syscall, SYS_rseq, SYS_rt_sigaction, SYS_rt_sigpending, SYS_rt_sigprocmask, SYS_rt_sigreturn,
    SYS_rt_sigtimedwait, SYS_sched_getaffinity, SYS_sched_getparam, SYS_sched_getscheduler,
    SYS_sched_setaffinity, SYS_sched_yield, SYS_sendfile, SYS_sendmmsg, SYS_sendmsg, SYS_sendto,
    SYS_set_robust_list, SYS_set_tid_address, SYS_setpriority, SYS_setsockopt, SYS_shutdown, SYS_sigaltstack,
    SYS_signalfd4, SYS_socket, SYS_socketpair, SYS_statfs, SYS_statx, SYS_sysinfo, SYS_syslog, SYS_tgkill,
    SYS_timerfd_create, SYS_timerfd_gettime, SYS_timerfd_settime, SYS_times, SYS_umask, SYS_uname,
    SYS_unlinkat, SYS_wait4, SYS_waitid, SYS_write, SYS_writev,
};

/// What an argument must be.
pub(super) enum If {
    /// One of these.
    OneOf(&'static [u64]),
    /// With these bits.
    Has(u64),
}

/// Calls with any arguments.
#[rustfmt::skip]
pub(super) const ALLOWED: &[i64] = &[
    // Memory. Executable mappings are what the C library loads its name services by when the webhook looks a host up.
    SYS_brk, SYS_madvise, SYS_membarrier, SYS_mlock, SYS_mlock2, SYS_mlockall, SYS_mmap, SYS_mprotect, SYS_mremap, SYS_msync,
    SYS_munlock, SYS_munlockall, SYS_munmap,
    // Threads, their signals and their ends. Children from before (the runner of programs, journalctl) may be waited for, and be
    // ended by the descriptors that were opened of them then: none of others' can be.
    SYS_pidfd_send_signal,
    SYS_exit, SYS_exit_group, SYS_futex, SYS_get_robust_list, SYS_getcpu, SYS_gettid, SYS_restart_syscall, SYS_rseq,
    SYS_rt_sigaction, SYS_rt_sigpending, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_rt_sigtimedwait, SYS_sched_getaffinity,
    SYS_sched_getparam, SYS_sched_getscheduler, SYS_sched_setaffinity, SYS_sched_yield, SYS_set_robust_list,
    SYS_set_tid_address, SYS_sigaltstack, SYS_tgkill, SYS_wait4, SYS_waitid,
    // In place of what the kernel's other filter refuses, see `filter.rs`.
    SYS_clone3,
    // Time and waiting.
    SYS_clock_getres, SYS_clock_gettime, SYS_clock_nanosleep, SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_pwait,
    SYS_epoll_pwait2, SYS_eventfd2, SYS_gettimeofday, SYS_inotify_add_watch, SYS_inotify_init1, SYS_inotify_rm_watch,
    SYS_nanosleep, SYS_ppoll, SYS_pselect6, SYS_signalfd4, SYS_timerfd_create, SYS_timerfd_gettime, SYS_timerfd_settime,
    // Descriptors.
    SYS_close, SYS_close_range, SYS_copy_file_range, SYS_dup, SYS_dup3, SYS_fcntl, SYS_flock, SYS_lseek, SYS_pipe2,
    SYS_pread64, SYS_preadv, SYS_preadv2, SYS_pwrite64, SYS_pwritev, SYS_pwritev2, SYS_read, SYS_readv, SYS_sendfile,
    SYS_write, SYS_writev,
    // Files: /proc, cgroups, the history, the log that is rotated.
    SYS_faccessat, SYS_faccessat2, SYS_fallocate, SYS_fchmod, SYS_fchmodat, SYS_fchown, SYS_fdatasync, SYS_fstat,
    SYS_fstatfs, SYS_fsync, SYS_ftruncate, SYS_getcwd, SYS_getdents64, SYS_mkdirat, SYS_newfstatat, SYS_openat, SYS_openat2,
    SYS_readlinkat, SYS_renameat, SYS_renameat2, SYS_statfs, SYS_statx, SYS_umask, SYS_unlinkat,
    // Connections, see `socket` below for which.
    SYS_accept4, SYS_bind, SYS_connect, SYS_getpeername, SYS_getsockname, SYS_getsockopt, SYS_listen, SYS_recvfrom,
    SYS_recvmmsg, SYS_recvmsg, SYS_sendmmsg, SYS_sendmsg, SYS_sendto, SYS_setsockopt, SYS_shutdown, SYS_socketpair,
    // What it is told of itself.
    SYS_capget, SYS_getegid, SYS_geteuid, SYS_getgid, SYS_getpid, SYS_getppid, SYS_getpriority, SYS_setpriority, SYS_getrandom,
    SYS_getresgid, SYS_getresuid, SYS_getrusage, SYS_getuid, SYS_sysinfo, SYS_times, SYS_uname,
    // What newer architectures do without.
    #[cfg(target_arch = "x86_64")] libc::SYS_access,
    #[cfg(target_arch = "x86_64")] libc::SYS_dup2,
    #[cfg(target_arch = "x86_64")] libc::SYS_epoll_wait,
    #[cfg(target_arch = "x86_64")] libc::SYS_getrlimit,
    #[cfg(target_arch = "x86_64")] libc::SYS_lstat,
    #[cfg(target_arch = "x86_64")] libc::SYS_mkdir,
    #[cfg(target_arch = "x86_64")] libc::SYS_open,
    #[cfg(target_arch = "x86_64")] libc::SYS_poll,
    #[cfg(target_arch = "x86_64")] libc::SYS_readlink,
    #[cfg(target_arch = "x86_64")] libc::SYS_rename,
    #[cfg(target_arch = "x86_64")] libc::SYS_select,
    #[cfg(target_arch = "x86_64")] libc::SYS_stat,
    #[cfg(target_arch = "x86_64")] libc::SYS_time,
    #[cfg(target_arch = "x86_64")] libc::SYS_unlink,
];

/// Commands of bpf(2) (include/uapi/linux/bpf.h): to look into maps that are there, at objects that are open, and to read what
/// an iterator that is attached has. Nothing is loaded, made or attached.
const BPF: &[u64] = &[
    1,  // BPF_MAP_LOOKUP_ELEM
    2,  // BPF_MAP_UPDATE_ELEM
    3,  // BPF_MAP_DELETE_ELEM
    4,  // BPF_MAP_GET_NEXT_KEY
    15, // BPF_OBJ_GET_INFO_BY_FD
    21, // BPF_MAP_LOOKUP_AND_DELETE_ELEM
    24, // BPF_MAP_LOOKUP_BATCH
    25, // BPF_MAP_LOOKUP_AND_DELETE_BATCH
    33, // BPF_ITER_CREATE
    34, // BPF_LINK_DETACH
];

/// What prctl(2) may do: names, and questions. Neither capabilities nor filters.
const PRCTL: &[u64] = &[
    3,           // PR_GET_DUMPABLE
    15,          // PR_SET_NAME
    16,          // PR_GET_NAME
    21,          // PR_GET_SECCOMP
    23,          // PR_CAPBSET_READ
    39,          // PR_GET_NO_NEW_PRIVS
    0x4155_5856, // PR_GET_AUXV
    0x5356_4d41, // PR_SET_VMA: C libraries name their memory
];

/// What ioctl(2) may do.
const IOCTL: &[u64] = &[
    0x2401, // PERF_EVENT_IOC_DISABLE: a probe is detached
    0x5401, // TCGETS: is it a terminal?
    0x5413, // TIOCGWINSZ
    0x541b, // FIONREAD
    0x5421, // FIONBIO
    0x5450, // FIONCLEX
    0x5451, // FIOCLEX
];

/// Calls that depend on an argument, by its place.
pub(super) const RESTRICTED: &[(i64, u8, If)] = &[
    (SYS_bpf, 0, If::OneOf(BPF)),
    // A thread, and no process.
    (SYS_clone, 0, If::Has(libc::CLONE_THREAD.cast_unsigned() as u64)),
    (SYS_ioctl, 1, If::OneOf(IOCTL)),
    (SYS_prctl, 0, If::OneOf(PRCTL)),
    // Its own limits.
    (SYS_prlimit64, 0, If::OneOf(&[0])),
    // Of a thread of its own. A higher one than it has takes CAP_SYS_NICE.
    (SYS_setpriority, 1, If::OneOf(&[0])),
    // AF_UNIX: the service manager, name services. AF_INET, AF_INET6: webhook, metrics. AF_NETLINK: which addresses a host
    // has, for looking up others (`__check_pf()`, glibc).
    (SYS_socket, 0, If::OneOf(&[1, 2, 10, 16])),
    // SYSLOG_ACTION_SIZE_BUFFER: how large the kernel log may get is a matter of findings.
    (SYS_syslog, 0, If::OneOf(&[10])),
];
