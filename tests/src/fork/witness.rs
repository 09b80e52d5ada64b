//! The kernel's own account of failures: what its functions returned, by probes of its own (kretprobe events of tracefs).

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::OFlags;

use crate::ftrace::{Event, detached};

/// The functions, in the order in which `copy_process()` calls them, and the type of what each returns. The last is that
/// itself.
const FUNCTIONS: [(&str, &str); 17] = [
    ("copy_creds", "s32"),
    ("create_user_ns", "s32"),
    ("sched_fork", "s32"),
    ("security_task_alloc", "s32"),
    ("copy_semundo", "s32"),
    ("mm_init", "s64"),
    ("__vm_enough_memory", "s32"),
    ("copy_namespaces", "s32"),
    ("copy_pid_ns", "s64"),
    ("copy_net_ns", "s64"),
    ("copy_utsname", "s64"),
    ("copy_thread", "s32"),
    ("alloc_pid", "s64"),
    ("cgroup_can_fork", "s32"),
    ("pids_can_fork", "s32"),
    ("futex_hash_allocate_default", "s32"),
    (COPY_PROCESS, "s64"),
];
/// What makes every process and thread.
pub const COPY_PROCESS: &str = "copy_process";
/// What the trace buffer of each processor may take, in KiB.
const BUFFER: &str = "8192";

/// Probes on what functions return. Dropping it removes them.
#[derive(Debug)]
pub struct Returns {
    tracing: PathBuf,
    instance: PathBuf,
    /// Each function and its probe's name.
    probes: Vec<(&'static str, String)>,
    /// What is recorded, without waiting for more; None at the end, when nobody may look at it.
    pipe: Option<File>,
    /// The file system, mounted nowhere.
    _mount: OwnedFd,
}

/// How often each function returned an error, by thread and error number.
pub type Counts = BTreeMap<(u64, &'static str, i32), u64>;

impl Returns {
    /// Begins to watch. None where the kernel has no probes.
    pub fn watch() -> Result<Option<Self>> {
        let mount = detached().context("tracefs cannot be had; run as root")?;
        let tracing = PathBuf::from(format!("/proc/self/fd/{}", mount.as_raw_fd()));
        if !tracing.join("kprobe_events").exists() {
            return Ok(None);
        }
        let instance = tracing.join(format!("instances/oomtrace-fork-{}", std::process::id()));
        fs::create_dir(&instance).context("cannot make a trace instance")?;
        let flags = i32::try_from(OFlags::NONBLOCK.bits()).context("O_NONBLOCK is out of range")?;
        let pipe = OpenOptions::new().read(true).custom_flags(flags).open(instance.join("trace_pipe"));
        let pipe = Some(pipe.context("cannot open a trace instance")?);
        let mut returns = Self { tracing, instance, probes: Vec::new(), pipe, _mount: mount };
        returns.write("buffer_size_kb", BUFFER)?;
        for (function, kind) in FUNCTIONS {
            let name = format!("fork_{}_{function}", std::process::id());
            let made = returns.append(&format!("r:oomtrace/{name} {function} ret=$retval:{kind}"));
            // Some of them are inlined, or are not in every kernel.
            if made.is_err() && function != COPY_PROCESS {
                continue;
            }
            made?;
            returns.probes.push((function, name.clone()));
            // Pointers to what is no error are negative numbers too.
            returns.write(&format!("events/oomtrace/{name}/filter"), "ret < 0 && ret >= -4095")?;
            returns.write(&format!("events/oomtrace/{name}/enable"), "1")?;
        }
        Ok(Some(returns))
    }

    /// What was returned since the last time.
    pub fn take(&mut self) -> Result<Counts> {
        let mut text = Vec::new();
        // Read so, the lines are gone from the buffer; there is no end, only nothing more for now.
        let pipe = self.pipe.as_mut().context("the trace instance is gone")?;
        match pipe.read_to_end(&mut text) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => {
                return Err(error).context("cannot read the trace");
            }
            _ => {}
        }
        let text = String::from_utf8_lossy(&text);
        let names: Vec<&str> = self.probes.iter().map(|(_, name)| name.as_str()).collect();
        let mut counts = Counts::new();
        for event in text.lines().filter_map(|line| Event::read(line, &names)) {
            let function = self.probes.iter().find(|(_, name)| name == event.name);
            let error = event.fields.rsplit_once("ret=-").and_then(|(_, number)| number.trim().parse().ok());
            let (Some((function, _)), Some(error)) = (function, error) else { continue };
            *counts.entry((event.tid, *function, error)).or_default() += 1;
        }
        Ok(counts)
    }

    /// Makes sure that nothing was lost so far.
    pub fn ensure_whole(&self) -> Result<()> {
        let overrun = self.number("overrun")?;
        ensure!(overrun == 0, "the trace buffer was too small: {overrun} lines are lost");
        let missed = self.missed()?;
        ensure!(missed == 0, "probes missed {missed} returns");
        Ok(())
    }

    /// The sum of a figure over all processors' buffers.
    fn number(&self, name: &str) -> Result<u64> {
        let folders = fs::read_dir(self.instance.join("per_cpu")).context("cannot list trace buffers")?;
        let mut sum = 0;
        for folder in folders.filter_map(Result::ok) {
            let stats =
                fs::read_to_string(folder.path().join("stats")).context("cannot read a buffer's figures")?;
            let line = stats.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            sum += line
                .and_then(|number| number.trim().parse::<u64>().ok())
                .context("a buffer lacks a figure")?;
        }
        Ok(sum)
    }

    /// How many returns the probes missed.
    fn missed(&self) -> Result<u64> {
        let text = fs::read_to_string(self.tracing.join("kprobe_profile"))
            .context("cannot read the counts of probes")?;
        let of = |name: &str| {
            let line = text.lines().find(|line| line.split_whitespace().next() == Some(name))?;
            line.split_whitespace().nth(2)?.parse::<u64>().ok()
        };
        let missed = self.probes.iter().map(|(_, name)| of(name).context("a probe is not counted"));
        missed.sum()
    }

    fn write(&self, file: &str, value: &str) -> Result<()> {
        fs::write(self.instance.join(file), value)
            .with_context(|| format!("cannot write {value} to tracefs' {file}"))
    }

    fn append(&self, line: &str) -> Result<()> {
        let file = OpenOptions::new().append(true).open(self.tracing.join("kprobe_events"));
        file.and_then(|mut file| file.write_all(line.as_bytes())).context("cannot change probes")
    }

    /// Removes the probes. Only what nobody uses can be removed.
    fn remove(&mut self) -> Result<()> {
        self.pipe = None;
        for (_, name) in &self.probes {
            self.write(&format!("events/oomtrace/{name}/enable"), "0")?;
        }
        fs::remove_dir(&self.instance).context("cannot remove a trace instance")?;
        self.probes.iter().try_for_each(|(_, name)| self.append(&format!("-:oomtrace/{name}")))
    }
}

impl Drop for Returns {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            eprintln!("{error:#}");
        }
    }
}

/// How often `copy_process()` failed for a thread with that error.
#[must_use]
pub fn failed(counts: &Counts, tid: u64, error: i32) -> u64 {
    counts.get(&(tid, COPY_PROCESS, error)).copied().unwrap_or_default()
}
