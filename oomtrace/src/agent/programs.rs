//! What the programs in the kernel cost, as the kernel counts it.

use std::{
    fs,
    os::fd::{AsFd as _, AsRawFd as _},
};

use crate::kernel::load::Attached;

/// A program that is loaded.
#[derive(Clone, Debug)]
pub struct Program {
    name: String,
    descriptor: i32,
}

/// Those that are loaded. They can be asked as long as they are.
#[must_use]
pub fn programs(attached: &Attached) -> Vec<Program> {
    let loaded = attached.ebpf.programs().filter_map(|(name, program)| {
        Some(Program { name: name.to_owned(), descriptor: program.fd().ok()?.as_fd().as_raw_fd() })
    });
    loaded.collect()
}

impl Program {
    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How long it has run, ns, and how often. Both stay 0 while the kernel does not count (`bpf_prog_show_fdinfo()`,
    /// kernel/bpf/syscall.c: since 5.1).
    #[must_use]
    pub fn cost(&self) -> Option<(u64, u64)> {
        cost(&fs::read_to_string(format!("/proc/self/fdinfo/{}", self.descriptor)).ok()?)
    }
}

fn cost(fdinfo: &str) -> Option<(u64, u64)> {
    let field = |key: &str| fdinfo.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok());
    Some((field("run_time_ns:")?, field("run_cnt:")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the kernel's own form.
    #[test]
    fn fdinfo() {
        let text = "pos:\t0\nflags:\t02000002\nprog_type:\t26\nprog_jited:\t1\nrun_time_ns:\t1234\nrun_cnt:\t5\nrecursion_misses:\t0\n";
        assert_eq!(cost(text), Some((1234, 5)));
        assert_eq!(cost("pos:\t0\n"), None);
    }
}
