//! The record format that the two halves of oomtrace share.
//!
//! The programs (this package's binary, built for the BPF target) write these records into a ring buffer;
//! userspace decodes them once, at the edge. Everything here is `no_std`, `repr(C)` and free of padding, so a
//! record is the same bytes on both sides. Sizes in pages or bytes are raw kernel values; nothing is converted
//! in the kernel half.

#![no_std]

pub mod histogram;
mod layout;
pub mod recent;
mod record;
pub mod waits;

pub use layout::{ABSENT, Field, Layout, NO_ARGUMENT, Params};
pub use record::{
    AllocFailure, Allowed, Ancestor, CMDLINE_WORDS, Candidate, Close, Cmdline, DAEMON_AGAIN_NS, DAEMONS,
    Decision, FAILURE_AGAIN_NS, FORK_KINDS, FORK_LEVELS, FailureCount, FailureKey, ForkFailure, ForkHost,
    ForkKey, Header, KernelLog, Kin, Level, MAX_ANCESTORS, MAX_CANDIDATES, MAX_CHILDREN, MAX_LEVELS,
    MAX_ORDERS, MAX_ZONES, MIRROR, Mark, MmFacts, NAME_LEN, NAMESPACE_COUNTERS, NO_LIMIT_PAGES,
    NODE_COUNTERS, NODE_ID, NODE_WORDS, NamespaceLevel, Namespaces, Node, PidNamespace, PidsLevel,
    PidsRefused, RELIEF_PATIENCE_NS, RSS_ANON, RSS_FILE, RSS_SHMEM, RSS_SWAP, RecordKind, Relief, Struck,
    TEXT_LEN, TaskFacts, TaskSize, UserKill, UserLevel, Variables, Zone, chain, close, decision, failure,
    fork, fork_host, forking, kin, level, mm, namespaces, pids_refused, reclaim, relief, site, size, struck,
    task, whose, zone,
};
