//! The process that lives in a storm's cgroup: `scenarios tenant`, started by [`crate::storm::group::Group`].
//!
//! Whatever it needs besides what it eats it has before it joins its cgroup. Then it fills the cgroup up, says so by
//! one byte on standard output, and waits for the end of standard input: that is the gate at which all tenants of a
//! wave stand. Behind it they eat until they are killed, or have had all that they were to have.

use std::fs;
use std::hint::black_box;
use std::io::{Read, Write, stdin, stdout};
use std::path::PathBuf;
use std::sync::{Arc, Barrier};
use std::thread;

use anyhow::{Context, Result};
use clap::Args;
use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::{disable_transparent_huge_pages, set_name};

/// Who to be, and how much to eat.
#[derive(Debug, Clone, Args)]
pub struct Tenant {
    /// The comm to take.
    #[arg(long)]
    name: String,
    /// The cgroup.procs file of the cgroup to join.
    #[arg(long)]
    cgroup_procs: PathBuf,
    /// Bytes to eat before the gate.
    #[arg(long)]
    fill: usize,
    /// Bytes to eat behind it, all threads together.
    #[arg(long)]
    more: usize,
    /// Threads that eat behind it, the first one included.
    #[arg(long, default_value_t = 1)]
    threads: usize,
}

/// Lives until it is killed or has eaten everything.
pub fn run(tenant: &Tenant) -> Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL)).context("cannot ask to die with the parent")?;
    // A kernel without huge pages refuses, which comes to the same: memory is charged page by page.
    let _no_huge_pages = disable_transparent_huge_pages(true);
    let name = std::ffi::CString::new(tenant.name.clone()).context("a name cannot hold a NUL")?;
    set_name(&name).context("cannot set the name")?;
    let page = rustix::param::page_size();
    let threads = tenant.threads.max(1);
    let share = tenant.more / threads;
    let gate = Arc::new(Barrier::new(threads));
    let helpers: Vec<_> = (1..threads)
        .map(|_| {
            let gate = Arc::clone(&gate);
            thread::spawn(move || {
                let mut memory = untouched(share);
                gate.wait();
                gate.wait();
                touch(&mut memory, page);
            })
        })
        .collect();
    let (mut first, mut more) = (untouched(tenant.fill), untouched(share));
    gate.wait();

    let file = tenant.cgroup_procs.display();
    fs::write(&tenant.cgroup_procs, "0").with_context(|| format!("cannot join the cgroup by {file}"))?;
    touch(&mut first, page);
    stdout()
        .write_all(b".")
        .and_then(|()| stdout().flush())
        .context("nobody listens to the tenant any more")?;
    stdin().read_to_end(&mut Vec::new()).context("cannot wait at the gate")?;
    gate.wait();
    touch(&mut more, page);
    for helper in helpers {
        let _panicked_is_over_too = helper.join();
    }
    black_box(first);
    Ok(())
}

/// Memory that is mapped and not yet there: zeroed memory of this size comes from the kernel as it is.
fn untouched(bytes: usize) -> Vec<u8> {
    vec![0; bytes]
}

/// Writes to each page.
fn touch(memory: &mut [u8], page: usize) {
    for byte in memory.iter_mut().step_by(page) {
        *byte = 1;
    }
    black_box(memory);
}
