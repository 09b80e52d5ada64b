//! The tools that are measured: how each is started, and when it is armed.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::pread;

use crate::deadline::Deadline;
use crate::process::{die_with_us, end, terminate, wait_exit};

/// How long a tool may take to be armed, or to end. bpftrace takes some seconds on an emulated machine.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often is looked whether a tool is armed.
const POLL: Duration = Duration::from_micros(500);
/// The kernel's list of kprobes.
const KPROBES: &str = "/sys/kernel/debug/kprobes/list";
/// The functions that the other tools probe.
const KILLS: &str = "oom_kill_process";
const FORKS: &str = "copy_process";

/// A tool that reports OOM kills.
#[derive(Debug)]
pub struct Tool {
    /// Its name in the figures.
    pub name: &'static str,
    command: Vec<String>,
    sign: Sign,
}

/// What shows that it is armed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    /// It says this on standard error.
    Says(&'static str),
    /// Its kprobe at this function is in the kernel's list. It becomes active a little later, when its program is attached.
    Kprobe(&'static str),
}

/// A tool that is armed. Dropping it kills it.
#[derive(Debug)]
pub struct Armed {
    child: Child,
    /// Its standard error: a file in memory and no pipe, so that no thread has to read it. A further thread
    /// here would make each fork dearer that is measured beside the tool.
    said: File,
}

/// oomtrace with its usual ring and these options, ready once all its hooks are in place.
pub fn oomtrace(path: &Path, options: &[&str]) -> Tool {
    let path = path.to_string_lossy().into_owned();
    let options = options.iter().map(|option| (*option).to_owned());
    let command = [path, "--ring-size".to_owned(), "256K".to_owned()].into_iter().chain(options).collect();
    Tool { name: "oomtrace", command, sign: Sign::Says("complete") }
}

/// The other tools.
pub fn peers() -> Vec<Tool> {
    let tool = |name, command: &[&str]| Tool {
        name,
        command: command.iter().map(|word| (*word).to_owned()).collect(),
        sign: Sign::Kprobe(KILLS),
    };
    vec![tool("oomkill", &["oomkill"]), tool("oomkill.bt", &["bpftrace", "/usr/bin/oomkill.bt"])]
}

/// The nearest there is for forks that fail: bpftrace with one line of its language. It says who, and the error.
pub fn fork_peer() -> Tool {
    // A pointer or, at the very end of the address space, an error: IS_ERR_VALUE() (include/linux/err.h). This bpftrace
    // (0.17) has returned values unsigned.
    const LINE: &str = "kretprobe:copy_process /retval >= (uint64)-4095/ \
                        { printf(\"%s %d: %d\\n\", comm, pid, retval); }";
    let command = ["bpftrace", "-e", LINE].map(str::to_owned).to_vec();
    Tool { name: "bpftrace kretprobe:copy_process", command, sign: Sign::Kprobe(FORKS) }
}

/// The nearest there is to `oomtrace run`: bpftrace with the latency of reclaim and compaction by name, OOM kills, and forks that
/// fail.
pub fn pressure_peer() -> Tool {
    const PROGRAM: &str = "tracepoint:vmscan:mm_vmscan_direct_reclaim_begin, \
                           tracepoint:vmscan:mm_vmscan_memcg_reclaim_begin { @began[tid] = nsecs; } \
                           tracepoint:vmscan:mm_vmscan_direct_reclaim_end, tracepoint:vmscan:mm_vmscan_memcg_reclaim_end \
                           /@began[tid]/ { @reclaim_us[comm] = hist((nsecs - @began[tid]) / 1000); delete(@began[tid]); } \
                           tracepoint:compaction:mm_compaction_begin { @compacts[tid] = nsecs; } \
                           tracepoint:compaction:mm_compaction_end /@compacts[tid]/ \
                           { @compaction_us[comm] = hist((nsecs - @compacts[tid]) / 1000); delete(@compacts[tid]); } \
                           kprobe:oom_kill_process { @kills[comm] = count(); } \
                           kretprobe:copy_process /retval >= (uint64)-4095/ { @forks_failed[comm, retval] = count(); }";
    let command = ["bpftrace", "-e", PROGRAM].map(str::to_owned).to_vec();
    Tool { name: "bpftrace", command, sign: Sign::Kprobe(FORKS) }
}

impl Tool {
    /// The same by another name.
    pub fn named(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    /// The same, ready as soon as it reports kills, though not yet all that it will tell of them.
    pub fn reporting(self) -> Self {
        Self { sign: Sign::Says("armed"), ..self }
    }

    /// Starts it with `stdout` as its standard output, and waits until it is armed.
    pub fn start(&self, stdout: Stdio) -> Result<Armed> {
        let deadline = Deadline::after(PATIENCE);
        let before = if let Sign::Kprobe(function) = self.sign { kprobes(function)? } else { 0 };
        let [program, arguments @ ..] = self.command.as_slice() else { bail!("a tool has no program") };
        let mut command = Command::new(program);
        let said: File =
            memfd_create("said", MemfdFlags::CLOEXEC).context("cannot make a file in memory")?.into();
        let stderr = said.try_clone().context("cannot share a file in memory")?;
        command.args(arguments).stdin(Stdio::null()).stdout(stdout).stderr(stderr);
        die_with_us(&mut command);
        let child = command.spawn().with_context(|| format!("cannot start {program}"))?;
        let mut armed = Armed { child, said };
        while !match self.sign {
            Sign::Says(word) => armed.words()?.contains(word),
            Sign::Kprobe(function) => kprobes(function)? > before,
        } {
            deadline.left("a tool to be armed")?;
            if let Some(status) = armed.child.try_wait().context("cannot ask whether a tool has ended")? {
                bail!(
                    "{program} ended with {status} before it was armed; it said: {}",
                    armed.words()?.trim_end()
                );
            }
            sleep(POLL);
        }
        Ok(armed)
    }
}

impl Armed {
    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end and waits until it has.
    pub fn stop(mut self) -> Result<()> {
        terminate(&self.child)?;
        wait_exit(&mut self.child, Deadline::after(PATIENCE), "a tool to end").map(drop)
    }

    /// What it has said so far.
    fn words(&self) -> Result<String> {
        // Not by the position that the tool writes at, which it shares with us. Little, since this is asked
        // often while the tool starts, on the same processor.
        let mut bytes = vec![0; 4096];
        let count = pread(&self.said, bytes.as_mut_slice(), 0).context("cannot read a file in memory")?;
        bytes.truncate(count);
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

impl Drop for Armed {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// How many kprobes, and kretprobes, there are at the start of a function.
fn kprobes(function: &str) -> Result<usize> {
    let list = fs::read_to_string(KPROBES)
        .with_context(|| format!("cannot read {KPROBES}; mount debugfs on /sys/kernel/debug"))?;
    Ok(count(&list, function))
}

fn count(list: &str, function: &str) -> usize {
    let start = format!(" {function}+0x0");
    list.lines().filter(|line| line.contains(&start) && !line.contains("[DISABLED]")).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the sign of being armed: neither another place nor a probe that is off counts.
    #[test]
    fn counts_active_probes_at_the_start_of_the_function() {
        let list = "ffffffff812a  k  oom_kill_process+0x0    [FTRACE]\n\
                    ffffffff812a  k  oom_kill_process+0x0    [DISABLED][FTRACE]\n\
                    ffffffff812b  k  oom_kill_process+0x10\n\
                    ffffffff812c  r  copy_process+0x0    [FTRACE]\n\
                    ffffffff812d  r  __copy_process+0x0    [FTRACE]\n";
        assert_eq!(count(list, KILLS), 1);
        assert_eq!(count(list, FORKS), 1);
    }
}
